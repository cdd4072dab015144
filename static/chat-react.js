/**
 * chat-client.js for React 18 and later: the conversations of one user as a snapshot that changes when they do.
 *
 *     const chat = useChat({ token, rooms: ['general'] });
 *     chat.rooms.general.messages.map((message) => <li key={message.id}>{message.content}</li>);
 *     chat.send('general', 'Hello!');
 *
 * `createChatStore` is the same without React, and what several components share: `useChat(store)`.
 *
 * What holds:
 * - A snapshot never changes; a new one is made when something did, and what did not change in it stays the same object.
 * - A conversation has each message once, in the order of `seq`. One's own that are not stored yet, or were refused, are in
 *   `outbox`; `retry` is never a second message.
 * - The connection belongs to the store: it opens with the first subscriber, and closes shortly after the last one has
 *   gone, so that a remount (StrictMode does one) keeps it.
 * - A client that was made elsewhere and passed in is listened to, and neither connected nor closed.
 * - `useChat` with another user or another server in its options is another store; the one before is closed at once, and
 *   never asks for the token of the one after it. A renewed token of the same user is the same store, with all that waits.
 *
 * What it does not do: keep anything across a reload, except for the outbox when it is given a `storage`.
 */

import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { createChat, userOf } from './chat-client.js';

const PAGE = 50;
export const KEEP_MESSAGES = 500; // of a conversation; whoever loads earlier ones keeps as many as there were then
const RELEASE_MS = 250;
const TRY_AGAIN_MS = 2_000;
const PASSING_REFUSALS = new Set(['rate_limited', 'unavailable', 'internal', 'timeout']);

/**
 * @typedef {import('./chat-client.js').ChatClient} ChatClient
 * @typedef {import('./chat-client.js').ChatError} ChatError
 * @typedef {import('./chat-client.js').Message} Message
 * @typedef {import('./chat-client.js').History} History
 * @typedef {import('./chat-client.js').Receipt} Receipt
 * @typedef {import('./chat-client.js').Waiting} Waiting
 * @typedef {import('./chat-client.js').Place} Place
 * @typedef {import('./chat-client.js').Options & {rooms?: readonly string[]}} ChatOptions `rooms`: those to be in
 * @typedef {{readonly code: string, readonly message: string}} Problem
 * @typedef {'new' | 'loading' | 'ready' | 'failed'} Status `failed`: the server refuses it, `error` says why
 * @typedef {Readonly<{messages: readonly Message[], hasMore: boolean, lastSeq: number, unread: number, status: Status,
 *   error: Problem | null}>} Conversation `hasMore`: there are earlier ones; `unread`: of others, since `markRead`
 * @typedef {Readonly<Waiting & {status: 'waiting' | 'failed', error: Problem | null, restored: boolean}>} Unstored
 * @typedef {Readonly<{id: number, username: string, role: string | null}>} Me
 * @typedef {{send(room: string, text: string): Promise<Receipt>, dm(userId: number, text: string): Promise<Receipt>,
 *   join(room: string): void, leave(room: string): void, loadEarlier(place: Place): Promise<void>,
 *   markRead(place: Place): void, retry(nonce: string): void, discard(nonce: string): void, client: ChatClient}} Actions
 *   `loadEarlier` also opens DMs that nobody has written in yet
 * @typedef {Readonly<{state: import('./chat-client.js').State, me: Me | null, error: Problem | null,
 *   rooms: Readonly<Record<string, Conversation>>, dms: Readonly<Record<number, Conversation>>,
 *   outbox: readonly Unstored[]} & Actions>} Snapshot
 * @typedef {{subscribe(listener: () => void): () => void, getSnapshot(): Snapshot, getServerSnapshot(): Snapshot,
 *   setRooms(rooms: readonly string[]): void, setToken(token: string): void, close(): void, client: ChatClient}} Store
 *   `setToken`: the same user's next one; `close`: at once, where nobody subscribes any more
 * @typedef {{key: unknown, store: Store, own: boolean, token?: string, getToken?: import('./chat-client.js').Options['getToken']}} Line
 *   What one `useChat` has for one key; `own`: it made the store. The others are the options that may change meanwhile
 * @typedef {{place: Place, messages: Message[], hasMore: boolean, lastSeq: number, unread: number, status: Status,
 *   error: Problem | null, keep: number, busy: boolean, view: Conversation | null}} Talk `busy`: it is being joined, or
 *   earlier ones are on the way
 */

/**
 * The chat of `options`, or of a client or store that several components share. Another `url`, `storageKey` or user (whom
 * `token` names) is another connection; the other options are those of the first call, except for `getToken` and a renewed
 * `token`, which are always the last ones. Who signs in through `getToken` alone is not known here: give such a component
 * a `key` of the user.
 * @param {ChatOptions | ChatClient | Store} source @returns {Snapshot}
 */
export function useChat(source) {
  const key = keyOf(source);
  const [held, setLine] = useState(() => lineOf(source, key));
  let line = held;
  if (held.key !== key) {
    line = lineOf(source, key);
    setLine(line);
  }
  const { store } = line;
  const { token, getToken, rooms } = isOptions(source) ? source : /** @type {ChatOptions} */ ({});
  const drawn = useRef(line);
  useEffect(() => { line.getToken = getToken; });
  useEffect(() => {
    const before = drawn.current;
    drawn.current = line;
    if (before !== line && before.own) before.store.close();
  }, [line]);
  useEffect(() => {
    if (token === undefined || token === line.token) return;
    line.token = token;
    store.setToken(token);
  }, [line, store, token]);
  const names = rooms?.join('\n'); // which is in no name
  useEffect(() => {
    if (names !== undefined) store.setRooms(names === '' ? [] : names.split('\n'));
  }, [store, names]);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, store.getServerSnapshot);
}

/** @param {ChatOptions | ChatClient} [source] @returns {Store} */
export function createChatStore(source = {}) {
  return isOptions(source) ? new ChatStore(createChat(source), true, source.rooms) : new ChatStore(source, false);
}

/** @param {ChatOptions | ChatClient | Store} source @returns {source is ChatOptions} */
const isOptions = (source) => !('getSnapshot' in source) && !('reconnectNow' in source);

/** What makes it another connection. @param {ChatOptions | ChatClient | Store} source @returns {unknown} */
const keyOf = (source) => (isOptions(source)
  ? JSON.stringify([source.url, source.token && (userOf(source.token) ?? source.token), source.storageKey, Boolean(source.getToken)])
  : source);

/** @type {WeakMap<ChatClient, Store>} of clients that were passed in: their components see the same messages */
const shared = new WeakMap();

/** @param {ChatOptions | ChatClient | Store} source @param {unknown} key @returns {Line} */
function lineOf(source, key) {
  if ('getSnapshot' in source) return { key, store: source, own: false };
  if (!isOptions(source)) {
    const store = shared.get(source) ?? createChatStore(source);
    shared.set(source, store);
    return { key, store, own: false };
  }
  const { token, getToken } = source;
  /** @type {Line} */ const line = { key, store: /** @type {any} */ (null), own: true, token, getToken };
  // The function of this key's last drawing: a store that is being replaced must not ask for the next one's token.
  const asked = getToken && ((/** @type {{fresh: boolean}} */ ask) => /** @type {NonNullable<Line['getToken']>} */ (line.getToken)(ask));
  line.store = createChatStore({ ...source, getToken: asked });
  return line;
}

/** @param {{code: string, message: string}} error @returns {Problem} */
const problemOf = ({ code, message }) => Object.freeze({ code, message });

/** @param {Place} place */
const placeKey = (place) => (place.room === undefined ? `dm:${place.with}` : `room:${place.room}`);

/** Nothing happens before the first `subscribe`: React makes stores that it throws away. */
class ChatStore {
  /** @type {Map<string, Talk>} */ #talks = new Map();
  /** @type {Map<string, Unstored>} */ #outbox = new Map();
  /** @type {Me | null} */ #me = null;
  /** @type {Problem | null} */ #error = null;
  /** @type {Set<{listener: () => void}>} */ #subscribers = new Set();
  /** @type {Snapshot | null} */ #snapshot = null;
  /** @type {Set<string>} those of `setRooms` */ #asked = new Set();
  #owned;
  #listening = false;
  /** @type {any} */ #release = 0;
  /** @type {any} */ #again = 0;
  /** @type {Actions} */ #actions;
  /** @type {Snapshot} */ #first;

  /** @param {ChatClient} client @param {boolean} owned @param {readonly string[]} [rooms] */
  constructor(client, owned, rooms = []) {
    this.client = client;
    this.#owned = owned;
    this.#actions = {
      client, send: this.#send, dm: this.#dm, join: this.#join, leave: this.#leave, loadEarlier: this.#loadEarlier,
      markRead: this.#markRead, retry: this.#retry, discard: this.#discard,
    };
    for (const room of rooms) this.#talk({ room });
    this.#asked = new Set(rooms);
    this.#first = this.getSnapshot();
  }

  // What React asks for; all of it is the same function for ever.

  /** @param {() => void} listener */
  subscribe = (listener) => {
    const subscriber = { listener };
    if (this.#subscribers.size === 0) this.#start();
    this.#subscribers.add(subscriber);
    return () => {
      if (this.#subscribers.delete(subscriber) && this.#subscribers.size === 0) this.#stopLater();
    };
  };

  /** @returns {Snapshot} */
  getSnapshot = () => (this.#snapshot ??= this.#draw());

  getServerSnapshot = () => this.#first;

  /** Joins those that are new in the list, and leaves those that are no longer in it. @param {readonly string[]} rooms */
  setRooms = (rooms) => {
    const [before, now] = [this.#asked, new Set(rooms)];
    this.#asked = now;
    for (const room of before) if (!now.has(room)) this.#leave(room);
    for (const room of now) if (!before.has(room)) this.#join(room);
  };

  // The connection.

  #start() {
    clearTimeout(this.#release);
    this.#listen();
    const { client } = this;
    if (this.#owned && (client.state === 'idle' || client.state === 'closed')) client.connect();
  }

  #stopLater() {
    if (!this.#owned) return;
    clearTimeout(this.#release);
    this.#release = setTimeout(this.close, RELEASE_MS);
  }

  close = () => {
    clearTimeout(this.#release);
    if (!this.#owned || this.#subscribers.size > 0) return;
    clearTimeout(this.#again);
    this.client.close();
  };

  /** One that was refused is tried again with it. @param {string} token */
  setToken = (token) => {
    const { client } = this;
    client.setToken(token);
    if (this.#owned && this.#subscribers.size > 0 && client.state === 'closed') client.connect();
  };

  #listen() {
    if (this.#listening) return;
    this.#listening = true;
    const { client } = this;
    client.on('state', () => this.#changed());
    client.on('welcome', (welcome) => this.#welcome(welcome));
    client.on('error', (error) => this.#failed(error));
    client.on('refused', (refusal) => this.#failed(refusal));
    client.on('message', (message) => this.#arrived({ room: /** @type {string} */ (message.room) }, message));
    client.on('dm', (message) => this.#arrived({ with: message.fromUser === this.#me?.id ? Number(message.to) : message.fromUser }, message));
    client.on('reset', (reset) => this.#reset(reset));
    client.on('queued', ({ restored, ...waiting }) => this.#put({ ...waiting, restored, status: 'waiting', error: null }));
    client.on('stored', (stored) => this.#stored(stored));
    client.on('unsent', (unsent) => this.#unsent(unsent));
    for (const room of client.rooms) this.#talk({ room });
    for (const waiting of client.outbox) this.#put({ ...waiting, restored: false, status: 'waiting', error: null });
    if (client.state === 'open') client.hello().catch(() => {}); // says who we are
  }

  /** @param {import('./chat-client.js').Welcome} welcome */
  #welcome({ userId, username, role }) {
    if (this.#me?.id !== userId || this.#me.username !== username) this.#me = Object.freeze({ id: userId, username, role });
    this.#error = null;
    this.#changed();
    this.#settleIn();
  }

  /** What is left to do on this connection: rooms that are not joined, conversations that nobody has read yet. */
  #settleIn() {
    const joined = new Set(this.client.rooms);
    for (const talk of this.#talks.values()) {
      if (talk.status === 'failed') continue;
      if (talk.place.room !== undefined && !joined.has(talk.place.room)) this.#enter(talk);
      else if (talk.status === 'new') this.#load(talk);
    }
  }

  /** @param {{code: string, message: string}} error */
  #failed(error) {
    this.#error = problemOf(error);
    this.#changed();
  }

  // Conversations.

  /** @param {Place} place @returns {Talk} */
  #talk(place) {
    const key = placeKey(place);
    let talk = this.#talks.get(key);
    if (!talk) {
      talk = { place, messages: [], hasMore: false, lastSeq: 0, unread: 0, status: 'new', error: null, keep: KEEP_MESSAGES, busy: false, view: null };
      this.#talks.set(key, talk);
    }
    return talk;
  }

  /** @param {Talk} talk */
  #isHere(talk) { return this.#talks.get(placeKey(talk.place)) === talk; }

  /** @param {Talk} talk */
  async #enter(talk) {
    if (talk.busy) return;
    talk.busy = true;
    const room = /** @type {string} */ (talk.place.room);
    try {
      const { lastSeq } = await this.client.join(room);
      if (!this.#isHere(talk)) return; // it was left, which was said after the join
      this.#set(talk, { lastSeq: Math.max(talk.lastSeq, lastSeq), hasMore: talk.hasMore || lastSeq > 0 });
    } catch (error) {
      return this.#refused(talk, /** @type {ChatError} */ (error));
    } finally {
      talk.busy = false;
    }
    await this.#load(talk);
  }

  /** The newest page. @param {Talk} talk */
  async #load(talk) {
    if (talk.status === 'loading') return;
    this.#set(talk, { status: 'loading', error: null });
    try {
      const page = await this.client.history(talk.place, { limit: PAGE });
      if (this.#isHere(talk)) this.#newest(talk, page);
    } catch (error) {
      this.#refused(talk, /** @type {ChatError} */ (error));
    }
  }

  /** @param {Talk} talk @param {ChatError} error */
  #refused(talk, error) {
    if (!this.#isHere(talk)) return;
    const passes = error.code === 'disconnected' || PASSING_REFUSALS.has(error.code);
    this.#set(talk, passes ? { status: 'new' } : { status: 'failed', error: problemOf(error) });
    if (!PASSING_REFUSALS.has(error.code)) return; // the next connection tries again
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.client.state === 'open' && this.#settleIn(), error.retryAfterMs ?? TRY_AGAIN_MS);
  }

  /** What we have before this page is let go where it does not reach up to it. @param {Talk} talk @param {History} page */
  #newest(talk, { messages, hasMore }) {
    const first = messages[0]?.seq ?? 1;
    const older = talk.messages.filter(({ seq }) => seq < first);
    const reaches = !hasMore || older.at(-1)?.seq === first - 1;
    const newer = talk.messages.filter(({ seq }) => seq >= first);
    this.#set(talk, {
      status: 'ready', error: null, messages: reaches ? talk.messages : newer,
      hasMore: reaches && older.length > 0 ? talk.hasMore : hasMore,
    });
    this.#add(talk, messages);
  }

  /** @param {Talk} talk @param {readonly Message[]} incoming */
  #add(talk, incoming) {
    for (const { fromUser, nonce } of incoming) if (nonce && fromUser === this.#me?.id) this.#outbox.delete(nonce);
    const known = new Set(talk.messages.map(({ seq }) => seq));
    const fresh = incoming.filter(({ seq }) => !known.has(seq));
    if (fresh.length === 0) return this.#changed();
    const messages = [...talk.messages, ...fresh].sort((a, b) => a.seq - b.seq);
    const { keep } = talk;
    const hasMore = talk.hasMore || messages.length > keep;
    const lastSeq = Math.max(talk.lastSeq, /** @type {Message} */ (messages.at(-1)).seq);
    this.#set(talk, { messages: messages.slice(-keep), hasMore, lastSeq });
  }

  /** @param {Place} place @param {Message} message */
  #arrived(place, message) {
    const isNew = !this.#talks.has(placeKey(place));
    const talk = this.#talk(place);
    if (isNew) talk.hasMore = message.seq > 1;
    if (message.fromUser !== this.#me?.id) talk.unread += 1;
    this.#add(talk, [message]);
    if (isNew) this.#load(talk);
  }

  /** @param {import('./chat-client.js').Reset} reset */
  #reset({ newLog, rooms, dms }) {
    if (newLog) for (const talk of this.#talks.values()) this.#set(talk, { messages: [], hasMore: false, lastSeq: 0, unread: 0, status: 'new' });
    /** @type {[Place, History & {lastSeq: number}][]} */
    const pages = [];
    for (const page of rooms) pages.push([{ room: page.room }, page]);
    for (const page of dms) pages.push([{ with: page.with }, page]);
    for (const [place, { messages, hasMore, lastSeq }] of pages) {
      const talk = this.#talks.get(placeKey(place));
      const unread = talk && Math.min(messages.length, talk.unread + Math.max(0, lastSeq - talk.lastSeq));
      if (talk) this.#set(talk, { messages: [...messages], hasMore, lastSeq, unread, keep: KEEP_MESSAGES, status: 'ready', error: null });
    }
    this.#settleIn();
  }

  // What is on its way.

  /** @param {Unstored} entry */
  #put(entry) {
    this.#outbox.set(entry.nonce, Object.freeze(entry));
    this.#changed();
  }

  /** A receipt is our message; of a DM there is no other sign. @param {Waiting & {receipt: Receipt}} stored */
  #stored({ nonce, room, to, content, receipt: { id, seq, timestamp } }) {
    this.#outbox.delete(nonce);
    const talk = this.#talks.get(placeKey(room === undefined ? { with: Number(to) } : { room }));
    if (!talk || !this.#me) return this.#changed();
    const place = room === undefined ? { to } : { room };
    this.#add(talk, [{ id, seq, timestamp, nonce, content, fromUser: this.#me.id, username: this.#me.username, ...place }]);
  }

  /** @param {Waiting & {error: ChatError}} unsent */
  #unsent({ error, ...waiting }) {
    const restored = this.#outbox.get(waiting.nonce)?.restored ?? false;
    const ofAnother = error.code === 'forbidden' && error.field === 'user'; // who is here now is not to read it
    if (error.code !== 'cancelled' && !ofAnother) return this.#put({ ...waiting, restored, status: 'failed', error: problemOf(error) });
    this.#outbox.delete(waiting.nonce);
    this.#changed();
  }

  // What a component calls. A failure is in the snapshot too, so nobody has to catch it.

  /** @param {string} room @param {string} text */
  #send = (room, text) => {
    this.#listen();
    return quiet(this.client.send(room, text));
  };

  /** @param {number} userId @param {string} text */
  #dm = (userId, text) => {
    this.#listen();
    this.#open({ with: userId });
    return quiet(this.client.dm(userId, text));
  };

  /** @param {Place} place */
  #open(place) {
    const talk = this.#talk(place);
    if (talk.status === 'failed') this.#set(talk, { status: 'new', error: null });
    this.#changed();
    if (this.client.state === 'open' && this.#me) this.#settleIn();
    return talk;
  }

  /** @param {string} room */
  #join = (room) => { this.#open({ room }); };

  /** @param {string} room */
  #leave = (room) => {
    if (!this.#talks.delete(placeKey({ room }))) return;
    this.#changed();
    this.client.leave(room).catch(() => {}); // without a connection there is nothing to leave
  };

  /** @param {Place} place */
  #loadEarlier = async (place) => {
    const [first] = this.#talks.get(placeKey(place))?.messages ?? [];
    const talk = this.#open(place);
    if (!first || talk.busy || !talk.hasMore) return;
    talk.busy = true;
    try {
      const { messages, hasMore } = await this.client.history(place, { limit: PAGE, before: first.id });
      if (talk.messages[0] !== first) return;
      const keep = Math.max(talk.keep, messages.length + talk.messages.length);
      this.#set(talk, { messages: [...messages, ...talk.messages], hasMore, keep });
    } catch (error) {
      if (/** @type {ChatError} */ (error).code !== 'disconnected') this.#failed(/** @type {ChatError} */ (error));
    } finally {
      talk.busy = false;
    }
  };

  /** @param {Place} place */
  #markRead = (place) => {
    const talk = this.#talks.get(placeKey(place));
    if (talk?.unread) this.#set(talk, { unread: 0 });
  };

  /** @param {string} nonce */
  #retry = (nonce) => {
    const entry = this.#outbox.get(nonce);
    if (entry?.status !== 'failed') return;
    const { room, to, content } = entry;
    /** @type {Promise<Receipt>} */
    const sent = room === undefined ? this.client.dm(Number(to), content, { nonce }) : this.client.send(room, content, { nonce });
    quiet(sent);
  };

  /** @param {string} nonce */
  #discard = (nonce) => {
    if (this.#outbox.get(nonce)?.status === 'failed') {
      this.#outbox.delete(nonce);
      this.#changed();
    } else this.client.cancel(nonce);
  };

  // Snapshots.

  /** @param {Talk} talk @param {Partial<Talk>} change */
  #set(talk, change) {
    Object.assign(talk, change, { view: null });
    this.#changed();
  }

  #changed() {
    this.#snapshot = null;
    for (const { listener } of [...this.#subscribers]) listener();
  }

  /** @returns {Snapshot} */
  #draw() {
    /** @type {Record<string, Conversation>} */ const rooms = Object.create(null); // a room may be called `__proto__`
    /** @type {Record<number, Conversation>} */ const dms = {};
    for (const talk of this.#talks.values()) {
      const view = (talk.view ??= viewOf(talk));
      if (talk.place.room === undefined) dms[talk.place.with] = view;
      else rooms[talk.place.room] = view;
    }
    return Object.freeze({
      state: this.client.state, me: this.#me, error: this.#error, rooms: Object.freeze(rooms), dms: Object.freeze(dms),
      outbox: Object.freeze([...this.#outbox.values()]), ...this.#actions,
    });
  }
}

/** @param {Talk} talk @returns {Conversation} */
const viewOf = ({ messages, hasMore, lastSeq, unread, status, error }) => Object.freeze({
  messages: Object.freeze([...messages]), hasMore, lastSeq, unread, status, error,
});

/** @template T @param {Promise<T>} promise @returns {Promise<T>} */
function quiet(promise) {
  promise.catch(() => {});
  return promise;
}
