/**
 * The messages of one conversation, in order, each once, and the own ones that are still on their way.
 * Pure data: no page and no connection in here.
 */

const KEEP = 400;
const TRIM_AT = 500; // some room between the two, so that not every message moves the whole list

/**
 * @typedef {import('./chat-client.js').Message} Message
 * @typedef {{nonce: string, content: string, at: number, status: 'sending' | 'waiting' | 'held' | 'failed', reason?: string,
 *   queued?: boolean}} Outgoing `held`: until somebody signs in again; `queued`: the client has it
 */

export class Timeline {
  /** @type {Message[]} */ messages = [];
  /** @type {Outgoing[]} */ outgoing = [];
  #ids = new Set();
  #me;

  /** @param {number} me */
  constructor(me) {
    this.#me = me;
  }

  /** @param {Message[]} incoming */
  merge(incoming) {
    const last = this.messages.at(-1)?.id ?? 0;
    const fresh = incoming.filter(({ id }) => !this.#ids.has(id));
    for (const message of fresh) this.#ids.add(message.id);
    this.messages.push(...fresh);
    if (fresh.some(({ id }) => id < last)) this.messages.sort((a, b) => a.id - b.id);
    const mine = new Set(incoming.filter(({ fromUser, nonce }) => nonce && fromUser === this.#me).map(({ nonce }) => nonce));
    if (mine.size > 0) this.outgoing = this.outgoing.filter(({ nonce }) => !mine.has(nonce));
  }

  /** The server has stored one of ours. @param {Outgoing} outgoing @param {{id: number, seq: number, timestamp: string}} receipt */
  stored({ nonce, content }, { id, seq, timestamp }, username) {
    this.merge([{ id, seq, timestamp, nonce, content, username, fromUser: this.#me }]);
  }

  /** What waits to be sent, or was refused. A nonce is one message, however often it is told. @param {Outgoing} outgoing */
  put(outgoing) {
    const known = this.outgoing.find(({ nonce }) => nonce === outgoing.nonce);
    if (known) return Object.assign(known, { status: outgoing.status, reason: outgoing.reason });
    this.outgoing.push(outgoing);
    return outgoing;
  }

  /** @param {string} nonce */
  drop(nonce) { this.outgoing = this.outgoing.filter((outgoing) => outgoing.nonce !== nonce); }

  /** Lets go of what is older: between it and the rest there would be a hole. @param {number} from an id */
  keepFrom(from) {
    this.messages = this.messages.filter(({ id }) => id >= from);
    this.#ids = new Set(this.messages.map(({ id }) => id));
  }

  /** Lets go of the oldest when a tab has been open for days. @returns {boolean} whether there was something to let go */
  trim() {
    if (this.messages.length <= TRIM_AT) return false;
    for (const { id } of this.messages.splice(0, this.messages.length - KEEP)) this.#ids.delete(id);
    return true;
  }

  clear() {
    this.messages = [];
    this.#ids.clear();
  }
}
