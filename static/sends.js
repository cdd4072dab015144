/**
 * What somebody wrote and the server does not have yet: shown as waiting, on its way, kept, or refused. The client sends
 * it, once and in order, and keeps what waits through a reload; what was refused is kept here, in the session, until it
 * is tried again or discarded. The client's events are what is believed, for they also tell of a send before the reload.
 */

import { newNonce } from './chat-client.js';

/** @typedef {import('./conversations.js').Conversation} Conversation */

export class Sends {
  #chat;
  #session;
  #remember;
  #changed;
  #placeOf;
  #seen;

  /**
   * @param {{chat: any, session: import('./session.js').Session, remember(): void, changed(): void, seen(conversation: Conversation, message: {id: number, seq: number}): void,
   *   placeOf(fields: {room?: string, to?: number}, opens?: boolean): Conversation | undefined}} options
   */
  constructor({ chat, session, remember, changed, placeOf, seen }) {
    this.#chat = chat;
    this.#session = session;
    this.#remember = remember;
    this.#changed = changed;
    this.#placeOf = placeOf;
    this.#seen = seen;
    session.failed ??= [];
    for (const { room, to, ...failed } of session.failed) placeOf({ room, to })?.timeline.put({ ...failed, status: 'failed' });
    chat.on('queued', (waiting) => this.#queued(waiting));
    chat.on('stored', (waiting) => this.#stored(waiting));
    chat.on('unsent', (waiting) => this.#unsent(waiting));
  }

  /** @param {Conversation} conversation @param {string} content */
  send(conversation, content, nonce = newNonce()) {
    conversation.timeline.put({ nonce, content, at: Date.now(), status: this.#onItsWay });
    return this.#deliver(conversation, nonce, content);
  }

  /** @param {Conversation} conversation @param {string} nonce */
  retry(conversation, nonce) {
    const outgoing = find(conversation, nonce);
    if (!outgoing) return;
    Object.assign(outgoing, { status: this.#onItsWay, reason: undefined });
    this.#forgetFailed(nonce);
    this.#deliver(conversation, nonce, outgoing.content);
  }

  /** @param {Conversation} conversation @param {string} nonce */
  discard(conversation, nonce) {
    this.#chat.cancel(nonce);
    conversation.timeline.drop(nonce);
    this.#forgetFailed(nonce);
    this.#changed();
  }

  /** What is on its way waits as long as there is no connection. @param {Conversation} conversation @param {boolean} isOpen */
  connection({ timeline }, isOpen) {
    for (const outgoing of timeline.outgoing) {
      if (outgoing.status === 'sending' || outgoing.status === 'waiting') outgoing.status = isOpen ? 'sending' : 'waiting';
    }
  }

  get #onItsWay() { return this.#chat.state === 'open' ? 'sending' : 'waiting'; }

  #deliver({ kind, room, peer }, nonce, content) {
    this.#changed();
    const sent = kind === 'room' ? this.#chat.send(room, content, { nonce }) : this.#chat.dm(peer, content, { nonce });
    return sent.catch(() => undefined);
  }

  #queued({ room, to, nonce, content }) {
    const outgoing = this.#placeOf({ room, to }, true).timeline.put({ nonce, content, at: Date.now(), status: this.#onItsWay });
    outgoing.queued = true;
    this.#forgetFailed(nonce);
    this.#changed();
  }

  #stored({ room, to, nonce, content, receipt }) {
    const conversation = this.#placeOf({ room, to });
    if (!conversation) return;
    const { timeline, key, hasMore } = conversation;
    const { read, user } = this.#session;
    if (read[key] === receipt.seq - 1) read[key] = receipt.seq;
    if (hasMore && receipt.id < timeline.messages[0]?.id) timeline.drop(nonce); // stored long ago, and not loaded
    else timeline.stored({ nonce, content }, receipt, user.username);
    this.#seen(conversation, { ...receipt, content, username: user.username, fromUser: user.id });
    this.#remember();
    this.#changed();
  }

  /** The client keeps what it could not finish, so only a refusal is the end of it. */
  #unsent({ room, to, nonce, content, error }) {
    const conversation = this.#placeOf({ room, to });
    const outgoing = conversation && find(conversation, nonce);
    if (!outgoing || error.code === 'cancelled') return;
    if (error.code === 'disconnected' && outgoing.queued) outgoing.status = 'held';
    else {
      Object.assign(outgoing, { status: 'failed', reason: error.message, queued: false });
      this.#session.failed.push({ room, to, nonce, content, at: outgoing.at, reason: error.message });
      this.#remember();
    }
    this.#changed();
  }

  #forgetFailed(nonce) {
    this.#session.failed = this.#session.failed.filter((failed) => failed.nonce !== nonce);
    this.#remember();
  }
}

const find = ({ timeline }, nonce) => timeline.outgoing.find((outgoing) => outgoing.nonce === nonce);
