/**
 * The rooms and direct messages of the person who is signed in: what is in them, what is unread, what is on its way.
 * It speaks to the chat client and to the session's memory, and knows nothing of the page; `changed` tells whoever draws.
 * That every message comes once and in order, and every send is stored once, is the client's work.
 */

import { newConversation } from './conversation.js';
import { History } from './history.js';
import { Sends } from './sends.js';

/** @typedef {import('./conversation.js').Conversation} Conversation */

/** Why the newest messages came instead of those that were missed, in words. */
const RESET_REASONS = {
  too_many: 'too much was missed',
  epoch: 'the server has another history than before',
  ahead: 'the server has a shorter history than before',
};

export class Conversations {
  /** @type {Map<string, Conversation>} */ #all = new Map();
  #chat;
  #session;
  #remember;
  #changed;
  #history;
  #sends;
  #isAnotherLog = false; // than the one that was seen before: nothing of it was read here, however many came first

  /**
   * @param {{chat: any, session: import('./session.js').Session, remember(): void, changed(): void}} options
   */
  constructor({ chat, session, remember, changed }) {
    this.#chat = chat;
    this.#session = session;
    this.#remember = remember;
    this.#changed = changed;
    this.#history = new History({
      chat, changed, merge: (conversation, messages) => this.#merge(conversation, messages), told: (conversation, message) => this.#told(conversation, message),
    });
    for (const room of session.rooms) this.#add({ key: `room:${room}`, kind: 'room', room, name: room });
    for (const { id, name } of session.dms) this.#add({ key: `dm:${id}`, kind: 'dm', peer: id, name });
    if (!this.#all.has(session.active)) session.active = this.#all.keys().next().value ?? '';
    this.#sends = new Sends({
      chat, session, remember, changed, placeOf: (fields, opens) => this.#placeOf(fields, opens), seen: (conversation, message) => this.#told(conversation, message),
    });
  }

  get list() { return [...this.#all.values()]; }
  get active() { return this.#all.get(this.#session.active); }
  get totalUnread() { return this.list.reduce((sum, conversation) => sum + this.unread(conversation), 0); }

  unread(conversation) {
    return Math.max(0, conversation.lastSeq - (this.#session.read[conversation.key] ?? conversation.lastSeq));
  }

  draft(conversation) { return this.#session.drafts[conversation.key] ?? ''; }

  setDraft(conversation, text) {
    if (text) this.#session.drafts[conversation.key] = text;
    else delete this.#session.drafts[conversation.key];
    this.#remember();
  }

  /**
   * At every connection, before anything else of it: the log that the server has. What was remembered by the numbers of
   * another log says nothing of this one.
   */
  welcomed(epoch) {
    const session = this.#session;
    const another = session.epoch !== undefined && session.epoch !== epoch;
    session.epoch = epoch;
    if (another) {
      this.#isAnotherLog = true;
      session.closed = {};
      session.read = Object.fromEntries(this.list.map(({ key }) => [key, 0])); // nothing of it was seen here
      for (const conversation of this.list) {
        if (conversation.status === 'ready') this.#history.unload(conversation);
        Object.assign(conversation, { last: null, lastSeq: 0, newSince: -1 });
      }
    }
    this.#remember();
  }

  /** The first connection of this page: join what the session remembers. */
  async start() {
    await Promise.all(this.list.map((conversation) => (conversation.kind === 'room'
      ? this.#joinKnown(conversation)
      : this.#history.peek(conversation))));
    if (this.active) await this.load(this.active);
  }

  /** What the server lists of its rooms. @param {import('./directory.js').Room[]} rooms */
  async toldOfRooms(rooms) {
    for (const { name, lastMessage } of rooms) this.#last(this.#all.get(`room:${name}`), lastMessage);
    this.#changed();
    // It tells of so many rooms; of others that one is in, the room itself tells.
    const names = new Set(rooms.map(({ name }) => name));
    for (const conversation of this.list) {
      const { kind, room, last, lastSeq } = conversation;
      if (kind === 'room' && !names.has(room) && !last && lastSeq > 0) await this.#history.peek(conversation);
    }
  }

  /** The direct conversations that the server has, newest first: also those that began while nobody was here. */
  async toldOfDms(dms) {
    const session = this.#session;
    const news = [];
    for (const { with: { id, username }, lastSeq, lastMessage } of dms) {
      const key = `dm:${id}`;
      if (!this.#all.has(key) && session.closed?.[key] >= lastSeq) continue;
      if (!this.#all.has(key) && session.read[key] === undefined) news.push(key);
      const conversation = this.#add({ key, kind: 'dm', peer: id, name: username });
      conversation.name = username;
      this.#told(conversation, lastMessage);
    }
    this.#saveList();
    for (const key of news) {
      const conversation = this.#all.get(key);
      const lastRead = conversation && await this.#lastOwn(conversation);
      // Unless it was read meanwhile, or put away.
      if (this.#all.has(key)) session.read[key] ??= lastRead;
      this.#remember();
      this.#changed();
    }
  }

  /** Of what another tab or day has read nothing is known; what one has answered was read. @returns {Promise<number>} its `seq` */
  async #lastOwn(conversation) {
    const isOwn = ({ fromUser }) => fromUser === this.#session.user.id;
    if (isOwn(conversation.last)) return conversation.last.seq;
    const { messages } = await this.#history.page(conversation).catch(() => ({ messages: [] }));
    if (messages.length === 0 && this.#isAnotherLog) return 0;
    return messages.findLast(isOwn)?.seq ?? (messages[0] ?? conversation.last).seq - 1;
  }

  #told(conversation, message) {
    this.#seen(conversation, message.seq);
    this.#last(conversation, message);
  }

  #last(conversation, message) {
    if (conversation && message && message.id > (conversation.last?.id ?? 0)) conversation.last = message;
  }

  /** A later connection: what the last one left undone. The client itself brings what was missed. */
  async reconnected() {
    this.welcomed(this.#chat.cursor.epoch);
    const missing = this.list.filter(({ kind, room }) => kind === 'room' && !this.#chat.rooms.includes(room));
    await Promise.all(missing.map((conversation) => this.#joinKnown(conversation)));
    const unseen = this.list.filter(({ kind, lastSeq }) => kind === 'dm' && lastSeq === 0);
    await Promise.all(unseen.map((conversation) => this.#history.peek(conversation)));
    if (this.active) await this.load(this.active);
  }

  /** The client could not bring everything that was missed: these are the newest messages. */
  reset({ reason, newLog, rooms, dms }) {
    const { read } = this.#session;
    if (reason === 'ahead') this.#session.closed = {}; // how long they were is not true any more
    const because = RESET_REASONS[reason] ?? 'the connection could not go on where it was';
    const pages = [...rooms.map((page) => [`room:${page.room}`, page]), ...dms.map((page) => [`dm:${page.with}`, page])];
    for (const [key, { messages, hasMore, lastSeq }] of pages) {
      const conversation = this.#all.get(key);
      if (!conversation) continue;
      const notice = `History was reloaded: ${because}.${hasMore ? ' Some may be missing above.' : ''}`;
      conversation.timeline.clear();
      Object.assign(conversation, { status: 'ready', hasMore, lastSeq, notice, last: null });
      if (read[key] > lastSeq) read[key] = lastSeq;
      if (newLog) conversation.newSince = -1;
      this.#merge(conversation, messages);
    }
    this.#changed();
  }

  /** What is on its way waits as long as there is no connection. */
  connection(isOpen) {
    for (const conversation of this.#all.values()) this.#sends.connection(conversation, isOpen);
    this.#changed();
  }

  dismissNotice(conversation) {
    conversation.notice = '';
    this.#changed();
  }

  /** Joins a room, making it if need be, and shows it. Throws the server's reason. */
  async join(room) {
    const joined = await this.#chat.join(room);
    const conversation = this.#add({ key: `room:${room}`, kind: 'room', room, name: room });
    this.#seen(conversation, joined.lastSeq);
    this.markRead(conversation);
    this.select(conversation.key);
  }

  /** Leaves a room, or closes a direct conversation. What still waits there is not sent any more. */
  async close(conversation) {
    for (const { nonce } of conversation.timeline.outgoing) this.discard(conversation, nonce);
    this.#all.delete(conversation.key);
    if (conversation.kind === 'dm') (this.#session.closed ??= {})[conversation.key] = conversation.lastSeq;
    delete this.#session.read[conversation.key];
    delete this.#session.drafts[conversation.key];
    if (this.#session.active === conversation.key) this.#session.active = this.#all.keys().next().value ?? '';
    this.#saveList();
    if (this.active) this.load(this.active);
    // Without a connection there is nothing to leave: the next one does not join the room.
    if (conversation.kind === 'room') await this.#chat.leave(conversation.room).catch(() => {});
  }

  openDm(userId, name = `user ${userId}`) {
    this.#add({ key: `dm:${userId}`, kind: 'dm', peer: userId, name });
    this.select(`dm:${userId}`);
  }

  select(key) {
    this.#session.active = key;
    const { active } = this;
    if (active) {
      active.newSince = this.unread(active) > 0 ? this.#session.read[key] : -1;
      active.readingBack = false;
      this.load(active);
    }
    this.#saveList();
  }

  markRead(conversation) {
    if (this.#session.read[conversation.key] === conversation.lastSeq) return;
    this.#session.read[conversation.key] = conversation.lastSeq;
    this.#saveList();
  }

  load(conversation) { return this.#history.load(conversation); }
  loadEarlier(conversation) { return this.#history.loadEarlier(conversation); }

  /** After a failure: a room that could not be joined has to be, or nothing that is written later would come. */
  async loadAgain(conversation) {
    if (conversation.kind === 'room' && !this.#chat.rooms.includes(conversation.room)) {
      Object.assign(conversation, { status: 'new', reason: '' });
      this.#changed();
      await this.#joinKnown(conversation);
      if (conversation.status === 'failed') return;
    }
    await this.load(conversation);
  }

  /** A live or replayed message. @returns {Conversation} the conversation it belongs to */
  receive(message) {
    const conversation = message.room === undefined ? this.#dmOf(message) : this.#all.get(`room:${message.room}`);
    if (!conversation) return undefined;
    const { read } = this.#session;
    read[conversation.key] ??= this.#session.closed?.[conversation.key] ?? (this.#isAnotherLog ? 0 : message.seq - 1);
    if (message.fromUser === this.#session.user.id && read[conversation.key] === message.seq - 1) read[conversation.key] = message.seq;
    this.#seen(conversation, message.seq);
    this.#last(conversation, message);
    if (conversation.status !== 'new') this.#merge(conversation, [message]);
    if (!conversation.readingBack && conversation.timeline.trim()) conversation.hasMore = true;
    this.#remember();
    this.#changed();
    return conversation;
  }

  /** @returns {Promise<import('./chat-client.js').Receipt | undefined>} none when it was not stored, which is shown */
  send(conversation, content, nonce) { return this.#sends.send(conversation, content, nonce); }
  retry(conversation, nonce) { this.#sends.retry(conversation, nonce); }
  discard(conversation, nonce) { this.#sends.discard(conversation, nonce); }

  /** Where a send goes. One that was left meanwhile is there again: nothing goes out unseen. */
  #placeOf({ room, to }, opens = false) {
    const known = this.#all.get(room === undefined ? `dm:${to}` : `room:${room}`);
    if (known || !opens) return known;
    const added = this.#add(room === undefined ? { key: `dm:${to}`, kind: 'dm', peer: to, name: `user ${to}` } : { key: `room:${room}`, kind: 'room', room, name: room });
    this.#saveList();
    return added;
  }

  async #joinKnown(conversation) {
    if (conversation.status === 'ready') this.#history.unload(conversation); // nobody kept it whole while it was not joined
    try {
      const { lastSeq } = await this.#chat.join(conversation.room);
      this.#session.read[conversation.key] ??= lastSeq;
      this.#seen(conversation, lastSeq);
    } catch (error) {
      if (error.code === 'disconnected') return;
      conversation.status = 'failed';
      conversation.reason = error.message;
    }
    this.#changed();
  }

  #merge(conversation, messages) {
    conversation.timeline.merge(messages);
    this.#last(conversation, messages.at(-1));
    for (const { seq, fromUser, username } of messages) {
      this.#seen(conversation, seq);
      if (fromUser === conversation.peer) conversation.name = username;
    }
    this.#saveList();
  }

  #seen(conversation, seq) {
    if (!conversation || seq <= conversation.lastSeq) return;
    conversation.lastSeq = seq;
    this.#changed();
  }

  #dmOf({ fromUser, username, to }) {
    const incoming = fromUser !== this.#session.user.id;
    const peer = incoming ? fromUser : to;
    const name = incoming ? username : peer === fromUser ? username : `user ${peer}`;
    const known = this.#all.get(`dm:${peer}`);
    if (known) return known;
    const conversation = this.#add({ key: `dm:${peer}`, kind: 'dm', peer, name });
    this.#saveList();
    return conversation;
  }

  #add(fields) {
    const known = this.#all.get(fields.key);
    if (known) return known;
    const conversation = newConversation(fields, this.#session.user.id);
    this.#all.set(fields.key, conversation);
    return conversation;
  }

  #saveList() {
    this.#session.rooms = this.list.filter(({ kind }) => kind === 'room').map(({ room }) => room);
    this.#session.dms = this.list.filter(({ kind }) => kind === 'dm').map(({ peer, name }) => ({ id: peer, name }));
    this.#remember();
    this.#changed();
  }
}
