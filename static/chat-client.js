/**
 * A client for chat-server: one WebSocket that is kept open, a promise for every request, typed events.
 * It needs nothing but a WebSocket and `fetch`, both of which can be passed in.
 *
 *     const chat = createChat({ token });
 *     chat.on('message', (message) => console.log(message.username, message.content));
 *     await chat.connect();
 *     await chat.join('general');
 *     await chat.send('general', 'Hello!'); // resolves once the server has stored it
 *
 * What it keeps through cuts and restarts of the server:
 * - `message` and `dm` carry each message once and in order. After a cut the server replays what was missed; when it
 *   cannot, `reset` brings the newest messages of every conversation instead, and what is live goes on from there.
 * - `send` and `dm` wait while there is no connection, and are stored once and in the order of the calls. With a `storage`
 *   (`sessionStorage` is one) they outlive a reload of the page too, from when the token or the server has told whose they
 *   are. Nobody else ever sends them: when a token or the server names another user, they fail here and wait there.
 * - Clients may share a storage and a key, as two tabs do where all tabs have one: each writes what it changed into what
 *   is there. What one has left, another of the same user sends, and both may: it is stored once. A storage that answers
 *   with promises cannot promise that nothing is written between a read and a write: with such a one each client needs a
 *   key of its own.
 * - With `getToken`, a fresh token is asked for before the old one expires, or once after the server refused it.
 *
 * A DM that this client sent is the result of its call, and no `dm` event; one sent by another device of the same
 * person is an event.
 *
 * What it does not do: keep messages, or speak for a second person. Whoever shows earlier messages asks for the history. A
 * `reset` knows the people with whom there were DMs on this client; somebody else's first DM may be among what it skips.
 */

const REQUEST_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 15_000;
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const STABLE_AFTER_MS = 10_000;
const QUIET_MS = 25_000; // the server's own pings are invisible to a script, so silence is probed with a request
const PONG_TIMEOUT_MS = 10_000;
const BUSY_WAIT_MS = 1_000; // where the server names no time of its own
const BUSY_TRIES = 4;
const OUTBOX_MAX = 1_000; // sends that wait
const KEPT_MAX = 1_000; // sends in a storage, of all who share it
const STORAGE_TIMEOUT_MS = 5_000;
const FRAME_MAX_BYTES = 64 * 1024; // a larger frame ends the connection, and again when it is sent again
const RESUME_ROOMS_MAX = 500;
const RESUME_NAMES_MAX_BYTES = FRAME_MAX_BYTES - 1_024;
const RESET_PAGE = 50;
const GAP_PAGE = 500;
const GAP_MAX = 1_000; // a larger gap is a reset of that conversation
const LOADS_AT_ONCE = 8;
const TOKEN_TIMEOUT_MS = 15_000;
/** Visible, but in no name of a subprotocol (RFC 9110 section 5.6.2): a backend's own kind of token may be such. */
const NO_SUBPROTOCOL = /^(?=.*[^!#$%&'*+\-.^_`|~0-9A-Za-z])[!-~]+$/;
const REFRESH_EARLIEST_MS = 60_000; // before the token expires: a tenth of what it has left, within these two
const REFRESH_LATEST_MS = 10_000;
const REFRESH_GAP_MS = 10_000; // between two tokens that hardly live
const OPEN = 1; // `readyState` of a WebSocket; what follows is closing and closed
const TIMER_MAX_MS = 2 ** 31 - 1; // a timer that is set to more goes off at once
const PERMANENT_REFUSALS = new Set(['forbidden', 'room_not_found', 'invalid_field']);
const BUSY_REFUSALS = new Set(['rate_limited', 'unavailable', 'internal']);

/**
 * @typedef {'idle' | 'connecting' | 'open' | 'reconnecting' | 'closed'} State
 * @typedef {{state: State, attempt: number, retryAt?: number, reason?: string}} StateChange `retryAt` (ms) while waiting
 * @typedef {{id: number, seq: number, fromUser: number, username: string, content: string, timestamp: string,
 *   room?: string, to?: number, nonce?: string}} Message
 * @typedef {{status: 'ok', id: number, seq: number, timestamp: string, nonce?: string, duplicate?: boolean}} Receipt
 * @typedef {{room: string, status: 'ok', lastId: number, lastSeq: number}} Joined
 * @typedef {{messages: Message[], hasMore: boolean}} History
 * @typedef {{limit?: number, before?: number, after?: number}} Page
 * @typedef {{userId: number, username: string, role: string | null, server: string, epoch: string, lastId: number,
 *   limits: Record<string, number>}} Welcome
 * @typedef {{room: string, with?: undefined} | {with: number, room?: undefined}} Place a room, or the DMs with a user
 * @typedef {{nonce: string, room?: string, to?: number, content: string}} Waiting a send that has no outcome yet
 * @typedef {{direction: 'in' | 'out', text: string, at: number, bytes: number}} RawFrame
 * @typedef {{code: string, message: string}} Refusal
 * @typedef {{state: StateChange, message: Message, dm: Message, error: ChatError, welcome: Welcome, frame: RawFrame,
 *   close: {code: number, reason: string}, refused: Refusal, queued: Waiting & {restored: boolean},
 *   stored: Waiting & {receipt: Receipt}, unsent: Waiting & {error: ChatError},
 *   reconnected: {replayed: number, complete: boolean, reason?: string}, reset: Reset}} Events
 * @typedef {{reason: string, newLog: boolean, rooms: {room: string, messages: Message[], hasMore: boolean, lastSeq: number}[],
 *   dms: {with: number, messages: Message[], hasMore: boolean, lastSeq: number}[]}} Reset instead of a replay: forget what
 *   you have of these conversations, this is their newest page. `reason` is the server's (`too_many`, `ahead`, `behind`,
 *   `epoch`), a refusal's code, or `gap`. `newLog`: all ids are other ones than before
 * @typedef {{send(text: string): void, close(code?: number): void, onopen: ((event: any) => any) | null,
 *   onmessage: ((event: any) => any) | null, onclose: ((event: any) => any) | null, readyState?: number}} Socket
 * @typedef {{getItem(key: string): string | null | Promise<string | null>, setItem(key: string, value: string): unknown,
 *   removeItem(key: string): unknown}} KeyValueStorage
 * @typedef {{url?: string, token?: string, getToken?: (ask: {fresh: boolean}) => string | Promise<string>,
 *   WebSocket?: new (url: string, protocols: string[]) => Socket, fetch?: typeof fetch, storage?: KeyValueStorage,
 *   storageKey?: string}} Options `fresh`: the server refused the last one, or will soon
 * @typedef {Chat} ChatClient what `createChat` makes
 * @typedef {{token: string, at: number, until: number, tries: number}} Plan when the token is to be renewed: not before
 *   `at`, and after `until` it has expired
 * @typedef {{resolve(frame: any): void, reject(error: ChatError): void, timer: any, nonce?: string}} Pending
 * @typedef {Waiting & {user: number}} Kept
 * @typedef {{user: number, fields: Waiting, restored: boolean, promise: Promise<any>, resolve(receipt: any): void,
 *   reject(error: ChatError): void}} Outgoing `user`: who wrote it, 0 while nobody has said who that is
 * @typedef {{key: string, room?: string, peer?: number, joined: boolean, joins: number, apart: boolean, held: boolean,
 *   seq?: number, id: number, end: number, queue: Message[], own: Map<number, number>}} Talk A room, or the DMs with
 *   `peer`. All up to `seq` (message `id`) has been delivered or is history; all up to `end` is known to exist; `queue`
 *   has come and must wait. `own`: ids by `seq` of DMs that we sent. `joins` are under way; `apart`: to be joined by itself;
 *   `held`: it waits for something
 */

/** An `error` frame, or one of the library's own codes: `disconnected`, `timeout`, `outbox_full`, `cancelled`, `missing`, `storage`, `token`. */
export class ChatError extends Error {
  /** @param {string} code @param {string} message @param {{field?: string, retryAfterMs?: number, nonce?: string}} [more] */
  constructor(code, message, { field, retryAfterMs, nonce } = {}) {
    super(message);
    this.name = 'ChatError';
    this.code = code;
    this.field = field;
    this.retryAfterMs = retryAfterMs;
    /** Of a send: pass it to another try, and the server keeps the message once. */
    this.nonce = nonce;
  }
}

/** 128 random bits. Not `crypto.randomUUID`: pages on plain http, other than localhost, do not have it. */
export function newNonce() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {number} attempt */
const jitter = (attempt) => Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt);

/** @param {string} text */
const bytesOf = (text) => new TextEncoder().encode(text).length;

/** What a JWT says about itself. Only the server can verify it. @param {string} token @returns {Record<string, unknown>} */
function claimsOf(token) {
  try {
    const binary = atob((token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/'));
    return Object(JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (char) => char.charCodeAt(0)))));
  } catch {
    return {};
  }
}

/** Whose token it is, where it says so in the way that the server reads it. @param {string} token @returns {number | undefined} */
export function userOf(token) {
  const claims = claimsOf(token);
  const id = Number(claims.user_id ?? claims.sub ?? claims.id);
  return Number.isSafeInteger(id) && id > 0 ? id : undefined;
}

/** @param {number} user @param {Waiting} fields @param {boolean} restored @returns {Outgoing} */
function outgoing(user, fields, restored) {
  /** @type {any} */ const settle = {};
  const promise = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
  if (restored) promise.catch(() => {}); // whoever called is gone
  return { user, fields, restored, promise, ...settle };
}

/** @param {Options} [options] */
export function createChat(options = {}) {
  return new Chat(options);
}

/** Where the page came from; outside a page there is no such place. */
function pageUrl() {
  const { protocol, host } = globalThis.location ?? {};
  return host ? `${protocol === 'https:' ? 'wss' : 'ws'}://${host}/ws` : '';
}

/** Made whole here, since more than the WebSocket needs it. Throws for what is no place of a server. @param {string} given */
function socketUrl(given) {
  let url;
  try {
    url = new URL(given, globalThis.location?.href);
  } catch {
    throw new TypeError(`\`url\` is none, or relative where there is no page that it could be relative to: ${given}`);
  }
  url.protocol = url.protocol.replace('http', 'ws');
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') throw new TypeError(`\`url\` is no address of a WebSocket: ${url}`);
  return url.href;
}

/** What is there already is passed on at once. @template T @param {T | Promise<T>} result @param {number} ms @param {string} who @returns {T | Promise<T>} */
function inTime(result, ms, who) {
  if (!isPromise(result)) return result;
  /** @type {any} */ let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${who} gave no answer`)), ms); });
  return Promise.race([result, late]).finally(() => clearTimeout(timer));
}

/** @param {any} value @returns {value is Promise<any>} */
const isPromise = (value) => typeof value?.then === 'function';

/** Why no server could answer this: what waits behind it would wait for ever. @param {Waiting} fields @returns {[code: string, message: string] | undefined} */
function flawOf(fields) {
  if (/\p{Surrogate}/u.test([fields.room, fields.nonce, fields.content].join(' '))) return ['invalid_field', 'room, nonce or content has half of a surrogate pair'];
  if (bytesOf(JSON.stringify(fields)) > FRAME_MAX_BYTES - 128) return ['too_large', 'content does not fit into a frame'];
  return undefined;
}

/** Of what a storage held, only what we know: these become frames. @param {any} held @returns {Kept[]} one, or none */
function keptOf(held) {
  const { user, nonce, content, room, to } = Object(held);
  if (!isId(user) || typeof nonce !== 'string' || typeof content !== 'string') return [];
  if (to === undefined ? typeof room !== 'string' : room !== undefined || !isId(to)) return [];
  const fields = { nonce, ...(to === undefined ? { room } : { to }), content };
  return flawOf(fields) ? [] : [{ user, ...fields }];
}

/** @param {unknown} value */
const isId = (value) => Number.isSafeInteger(value) && Number(value) > 0;

/** Which send it is. @param {{user: number, nonce: string}} kept */
const keptKey = ({ user, nonce }) => `${user} ${nonce}`;

/**
 * The outbox as it is kept in a storage: a list of sends, each with the user who wrote it, so that nobody else sends it.
 * Others write there too, so a write is what this client added and removed since, put into what is there by then; and
 * nothing is written over that could not be read. A storage that fails costs the memory and nothing else.
 */
class Shelf {
  loaded = false;
  /** @type {Kept[]} by the last load, and not taken yet */ #found = [];
  /** @type {Map<string, Kept | null>} what is not in the storage yet; null is to be removed from it */ #changes = new Map();
  /** @type {Promise<void> | null} */ #writing = null;
  #again = false; // there are changes that no write has tried
  /** @type {Set<string>} what has been told, until it is over */ #troubles = new Set();
  #storage;
  #key;
  #report;

  /** @param {KeyValueStorage} storage @param {string} key @param {(error: ChatError) => void} report */
  constructor(storage, key, report) {
    this.#storage = storage;
    this.#key = key;
    this.#report = report;
  }

  async load() {
    if (this.loaded) return;
    try {
      await inTime(this.#writing, STORAGE_TIMEOUT_MS, 'it');
      const { list } = this.#parse(await inTime(this.#storage.getItem(this.#key), STORAGE_TIMEOUT_MS, 'it'));
      this.#found = [...this.#merged(list).values()];
      this.loaded = true;
      this.#over('read');
    } catch (error) {
      this.#failed('read', error);
    }
  }

  /** @param {number} user @returns {Waiting[]} what this user left */
  take(user) {
    const mine = this.#found.filter((kept) => kept.user === user);
    this.#found = this.#found.filter((kept) => kept.user !== user);
    return mine.map(({ user: _user, ...fields }) => fields);
  }

  /** To be taken by whoever has written it; it is in the storage all along. @param {Outgoing} entry */
  give({ user, fields }) { this.#found.push({ user, ...fields }); }

  /** @param {Outgoing} entry */
  add({ user, fields }) { if (user) this.#change({ user, ...fields }, false); }

  /** @param {Outgoing} entry */
  remove({ user, fields }) { if (user) this.#change({ user, ...fields }, true); }

  /** @param {Kept} kept @param {boolean} removed */
  #change(kept, removed) {
    this.#changes.set(keptKey(kept), removed ? null : kept);
    this.#again = true;
    this.#writing ??= this.#write();
  }

  async #write() {
    await null; // the changes of one moment are one write
    while (this.#again) {
      this.#again = false;
      let step = 'read';
      try {
        // A storage that answers at once is written to before anybody else can: nothing is awaited then.
        const answer = inTime(this.#storage.getItem(this.#key), STORAGE_TIMEOUT_MS, 'it');
        const text = isPromise(answer) ? await answer : answer;
        const { list, isList } = this.#parse(text);
        step = 'write';
        const [changes, kept] = [[...this.#changes], this.#merged(list)];
        const result = inTime(this.#put(text, isList, [...kept.values()]), STORAGE_TIMEOUT_MS, 'it');
        if (isPromise(result)) await result;
        for (const [key, change] of changes) if (this.#changes.get(key) === change && (!change || kept.has(key))) this.#changes.delete(key);
        this.#over('read', 'write');
        this.#judge('keep', changes.every(([key, change]) => !change || kept.has(key)), `${KEPT_MAX} messages are kept already`);
      } catch (error) {
        this.#failed(step, error); // the next change tries all of it again
      }
    }
    this.#writing = null; // at once: a change between the last look and this would stay unwritten
  }

  /** @param {string | null} text what is there @param {boolean} isList @param {Kept[]} kept @returns {any} */
  #put(text, isList, kept) {
    const next = JSON.stringify(kept);
    if (kept.length > 0) return next === text ? undefined : this.#storage.setItem(this.#key, next);
    return text !== null && isList ? this.#storage.removeItem(this.#key) : undefined;
  }

  /** @param {Kept[]} list @returns {Map<string, Kept>} */
  #merged(list) {
    const kept = new Map(list.map((entry) => [keptKey(entry), entry]));
    for (const [key, change] of this.#changes) if (!change) kept.delete(key);
    for (const [key, change] of this.#changes) if (change && (kept.has(key) || kept.size < KEPT_MAX)) kept.set(key, change);
    return kept;
  }

  /** @param {string | null} text @returns {{list: Kept[], isList: boolean}} */
  #parse(text) {
    /** @type {unknown} */ let held;
    try { held = JSON.parse(text ?? '[]'); } catch { /* which is no list either */ }
    const isList = Array.isArray(held);
    const list = Array.isArray(held) ? held.flatMap(keptOf) : [];
    this.#judge('understand', Array.isArray(held) && list.length === held.length, 'it holds something else, which the next write replaces');
    return { list, isList };
  }

  /** @param {string} what @param {boolean} well @param {string} trouble */
  #judge(what, well, trouble) {
    if (well) this.#over(what);
    else this.#failed(what, trouble);
  }

  /** @param {string[]} whats */
  #over(...whats) { for (const what of whats) this.#troubles.delete(what); }

  /** Told once, until it is over. @param {string} what @param {unknown} error */
  #failed(what, error) {
    if (this.#troubles.has(what)) return;
    this.#troubles.add(what);
    const reason = error instanceof Error ? error.message : String(error);
    this.#report(new ChatError('storage', `the outbox may not outlive a reload, its storage failed to ${what}: ${reason}`));
  }
}

class Chat {
  /** @type {Options} */ #options;
  /** @type {string} */ #url;
  /** @type {string} */ #token;
  /** @type {State} */ #state = 'idle';
  /** @type {Socket | null} */ #socket = null;
  #opened = false;
  #turn = 0; // grows with every attempt and every end, so that late answers to an older one are known
  #attempt = 0;
  #hurried = false; // whether the next attempt does not wait: the one under way may have begun before the network was back
  /** @type {'' | 'wanted' | 'given'} after the server refused a token, until a connection with another lasts */ #fresh = '';
  /** @type {Plan} */ #plan = { token: '', at: Infinity, until: 0, tries: 0 };
  #presented = ''; // the token that this connection was made with, or renewed
  #proven = ''; // the one of the last welcome, or what the server took in its place
  #vouched = false; // whether it is known whom this connection speaks for
  #nextRef = 1;
  #me = 0;
  #epoch = ''; // of the log that `#cursor` is a place in; none before the first welcome
  #cursor = 0;
  #live = false; // whether what arrives continues what was delivered: not between the handshake and the answer to `resume`
  /** @type {Message[]} what came before that answer */ #early = [];
  /** @type {{reason: string, newLog: boolean} | null} a reset that has not been told yet */ #stale = null;
  /** @type {Map<string, Talk>} */ #talks = new Map();
  /** @type {Shelf | null} */ #shelf = null;
  #owner = 0; // who writes, as far as a token or a welcome told
  /** @type {Outgoing[]} */ #outbox = [];
  /** @type {Outgoing | null} */ #sending = null;
  /** @type {Map<unknown, Pending>} */ #pending = new Map();
  /** @type {Map<string, Set<(data: any) => void>>} */ #handlers = new Map();
  /** @type {Record<'retry' | 'watch' | 'stable' | 'pause' | 'refresh', any>} */
  #timers = { retry: 0, watch: 0, stable: 0, pause: 0, refresh: 0 };

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#token = options.token ?? '';
    this.#url = options.url == null ? pageUrl() : socketUrl(options.url);
    this.#owner = userOf(this.#token) ?? 0;
    const { storage, storageKey = `chat-outbox:${this.#url}` } = options;
    if (storage) this.#shelf = new Shelf(storage, storageKey, (error) => this.#emit('error', error));
  }

  get state() { return this.#state; }
  get rooms() { return this.#joined().map(({ room }) => /** @type {string} */ (room)); }
  /** What waits to be sent or is on its way, in this order. @returns {Waiting[]} */
  get outbox() { return this.#outbox.map(({ fields }) => ({ ...fields })); }
  /** Up to which message of which log everything has been told. @returns {{epoch: string, lastId: number}} */
  get cursor() { return { epoch: this.#epoch, lastId: this.#cursor }; }

  /**
   * @template {keyof Events} T
   * @param {T} type @param {(data: Events[T]) => void} handler
   * @returns {() => void} stops listening
   */
  on(type, handler) {
    const handlers = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, handlers.add(handler));
    return () => { handlers.delete(handler); };
  }

  /** Opens the connection and keeps it open until `close`. @returns {Promise<Welcome>} settled at the first welcome, or refusal */
  connect() {
    if (this.#state === 'open') return this.hello();
    const welcome = this.#firstWelcome();
    if (this.#state === 'idle' || this.#state === 'closed') {
      this.#attempt = 0;
      this.#fresh = '';
      globalThis.addEventListener?.('online', this.#wake);
      globalThis.document?.addEventListener('visibilitychange', this.#wake);
      this.#setState('connecting');
      this.#open();
    }
    return welcome;
  }

  close() {
    const socket = this.#socket;
    this.#stop();
    this.#setState('closed');
    socket?.close(1000);
  }

  /** Ends the wait between two attempts; of an attempt that is under way and fails, the wait after it. @returns {void} */
  reconnectNow() {
    if (this.#state === 'closed') return void this.connect();
    if (!this.#timers.retry) return void (this.#hurried = this.#state !== 'idle' && this.#state !== 'open');
    this.#clear('retry');
    this.#setState('reconnecting');
    this.#open();
  }

  /** What is written after the answer's `lastSeq` arrives as `message`. @param {string} room @returns {Promise<Joined>} */
  join(room) {
    const talk = this.#talk({ room });
    talk.joins += 1;
    return new Promise((resolve, reject) => this.#ask('join', { room }, ({ data }) => {
      talk.joins -= 1;
      resolve(data);
      this.#entered(talk, data);
    }, (error) => {
      talk.joins -= 1;
      if (talk.joins === 0 && !talk.joined) this.#forget(talk);
      reject(error);
    }));
  }

  /** @param {string} room @returns {Promise<{room: string, status: 'ok'}>} */
  async leave(room) {
    this.#talks.delete(`room:${room}`);
    return (await this.#request('leave', { room })).data;
  }

  /**
   * Resolves once the message is stored, however many connections that takes. Rejects when the server refuses it, or when
   * the client is closed: after `disconnected` the outcome is unknown, and with the error's `nonce` another try is the
   * same message.
   * @param {string} room @param {string} content @param {{nonce?: string}} [options] @returns {Promise<Receipt & {room: string}>}
   */
  send(room, content, { nonce = newNonce() } = {}) {
    return this.#post({ room, content, nonce });
  }

  /** Like `send`. @param {number} to @param {string} content @param {{nonce?: string}} [options] @returns {Promise<Receipt & {to: number}>} */
  dm(to, content, { nonce = newNonce() } = {}) {
    return this.#post({ to, content, nonce });
  }

  /** Takes back a send that is not on its way at the moment; its promise rejects with `cancelled`. @param {string} nonce @returns {boolean} */
  cancel(nonce) {
    const entry = this.#outbox.find(({ fields }) => fields.nonce === nonce);
    if (!entry || entry === this.#sending) return false;
    this.#settle(entry, new ChatError('cancelled', 'taken back before it was stored', { nonce }));
    return true;
  }

  /** @param {Place} place @param {Page} [page] @returns {Promise<History>} */
  history(place, page) {
    return place.room === undefined ? this.dmHistory(place.with, page) : this.roomHistory(place.room, page);
  }

  /** @param {string} room @param {Page} [page] @returns {Promise<History>} */
  async roomHistory(room, { limit, before, after } = {}) {
    const { data, hasMore } = await this.#request('room_history', { room, limit, before, after });
    return { messages: data, hasMore };
  }

  /** @param {number} userId @param {Page} [page] @returns {Promise<History>} */
  async dmHistory(userId, { limit, before, after } = {}) {
    const { data, hasMore } = await this.#request('dm_history', { with: userId, limit, before, after });
    this.#talk({ peer: userId }); // one that a reset has to bring
    return { messages: data, hasMore };
  }

  /** @returns {Promise<Welcome>} */
  async hello() { return (await this.#request('hello')).data; }

  /** Renews the open connection, and the ones after it. @param {string} token @returns {Promise<{exp: number}>} */
  async auth(token) {
    const data = await this.#present(token);
    this.#token = token;
    this.#planRefresh(true, data.exp);
    return data;
  }

  /**
   * This user's next token, from whoever does not use `getToken`: the next connections are made with it, and an open one is
   * renewed. It does not connect a client that is closed; one of another user is refused, as `getToken` is.
   * @param {string} token
   */
  setToken(token) {
    this.#token = token;
    if (!this.#me) this.#speaksFor(userOf(token) ?? 0);
    this.#catchUp();
  }

  /** @returns {Promise<void>} */
  async ping() { await this.#request('ping'); }

  // The connection: one attempt, its end, and what comes after.

  async #open() {
    const turn = ++this.#turn;
    try {
      await this.#shelf?.load();
      // Once more at the end: it may have been closed between the answer and here.
      if (turn !== this.#turn || !(await this.#takeToken(turn)) || turn !== this.#turn) return;
    } catch (error) {
      if (turn === this.#turn) this.#retryLater(`no token: ${error instanceof Error ? error.message : error}`);
      return;
    }
    try {
      this.#presented = this.#token;
      const inName = !NO_SUBPROTOCOL.test(this.#token);
      const url = inName ? this.#url : `${this.#url}${this.#url.includes('?') ? '&' : '?'}token=${encodeURIComponent(this.#token)}`;
      this.#attach(new (this.#options.WebSocket ?? WebSocket)(url, inName ? ['chat.v1', `bearer.${this.#token}`] : ['chat.v1']));
    } catch {
      // The constructor throws only for an address or a token that no handshake can carry.
      this.#refuse({ code: 'unauthorized', message: 'the address or the token has characters that cannot be sent' });
    }
  }

  /** @param {Socket} socket */
  #attach(socket) {
    this.#socket = socket;
    this.#opened = false;
    this.#timers.watch = setTimeout(() => this.#drop('no answer to the handshake'), CONNECT_TIMEOUT_MS);
    socket.onopen = () => {
      this.#opened = true;
      this.#hurried = false;
      this.#timers.stable = setTimeout(() => { this.#attempt = 0; this.#fresh = ''; }, STABLE_AFTER_MS);
      this.#heard();
      this.#resume();
      this.#catchUp();
      this.#setState('open');
    };
    socket.onmessage = ({ data }) => this.#receive(String(data));
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
  }

  /** @param {number} code @param {string} reason */
  async #ended(code, reason) {
    const opened = this.#opened;
    const sending = this.#sending;
    const turn = this.#letGo();
    if (code === 1009 && sending) this.#settle(sending, new ChatError('too_large', 'the connection does not take a frame of this size', sending.fields));
    this.#emit('close', { code, reason });
    if (turn !== this.#turn) return;
    if (code === 4403) return this.#refuse({ code: 'forbidden', message: reason || 'removed by a moderator' });
    this.#setState('reconnecting');
    if (turn !== this.#turn) return;
    if (code === 4401) return this.#unauthorized({ code: 'unauthorized', message: reason || 'the token expired' });
    const refusal = opened ? null : await this.#askWhy();
    if (turn !== this.#turn) return;
    // Somebody whom the backend does not let in gains nothing by another token.
    if (refusal?.code === 'forbidden') return this.#refuse(refusal);
    if (refusal) return this.#unauthorized(refusal);
    this.#retryLater(reason);
  }

  /** A browser hides why a handshake failed, so the same question is asked over HTTP. @returns {Promise<Refusal | null>} */
  async #askWhy() {
    try {
      const url = new URL('/api/v1/auth/me', this.#url.replace(/^ws/, 'http'));
      const headers = { authorization: `Bearer ${this.#token}` };
      const signal = AbortSignal.timeout?.(CONNECT_TIMEOUT_MS);
      const answer = await (this.#options.fetch ?? fetch)(url, { headers, signal });
      if (answer.status !== 401 && answer.status !== 403) return null;
      const { error } = await answer.json().catch(() => ({}));
      // A proxy has a 403 of its own, which may pass.
      if (answer.status === 403 && error?.code !== 'forbidden') return null;
      return { code: error?.code ?? 'unauthorized', message: error?.message ?? 'the server refused the token' };
    } catch {
      return null; // no server there: that is worth another try
    }
  }

  /** @param {Refusal} refusal */
  #unauthorized(refusal) {
    if (!this.#options.getToken || this.#fresh === 'given') return this.#refuse(refusal);
    this.#fresh = 'wanted';
    this.#open();
  }

  /** @param {Refusal} refusal */
  #refuse(refusal) {
    this.#stop();
    this.#setState('closed', { reason: refusal.message });
    this.#emit('refused', refusal);
  }

  /** Full jitter: clients that lost the same server do not come back together. @param {string} [reason] */
  #retryLater(reason) {
    const delay = this.#hurried ? 0 : jitter(this.#attempt++);
    this.#hurried = false;
    this.#timers.retry = setTimeout(() => this.reconnectNow(), delay);
    this.#setState('reconnecting', { retryAt: Date.now() + delay, reason });
  }

  #wake = () => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    if (this.#state === 'connecting' || this.#state === 'reconnecting') this.reconnectNow();
    else if (this.#state === 'open') {
      this.#probe();
      this.#armRefresh(); // a timer does not count while the machine sleeps
    }
  };

  #heard() {
    this.#clear('watch');
    this.#timers.watch = setTimeout(() => this.#probe(), QUIET_MS);
  }

  #probe() {
    this.#clear('watch');
    this.#timers.watch = setTimeout(() => this.#drop('no answer to a ping'), PONG_TIMEOUT_MS);
    this.ping().catch(() => {}); // its answer, like any frame, ends the wait
  }

  /** Gives up a socket that may never say that it is dead. @param {string} reason */
  #drop(reason) {
    const socket = this.#socket;
    if (!socket) return;
    this.#ended(1006, reason);
    socket.close();
  }

  #stop() {
    this.#letGo();
    this.#hurried = false;
    if (this.#shelf) this.#shelf.loaded = false; // what is in it stays for the next connection
    for (const entry of this.#outbox.splice(0)) this.#fails(entry, new ChatError('disconnected', 'closed before the answer', entry.fields));
    globalThis.removeEventListener?.('online', this.#wake);
    globalThis.document?.removeEventListener('visibilitychange', this.#wake);
  }

  /** Forgets the socket and everything that waits for it. */
  #letGo() {
    if (this.#socket) this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket = null;
    this.#opened = this.#live = this.#vouched = false;
    this.#sending = null;
    this.#early = [];
    for (const name of /** @type {const} */ (['retry', 'watch', 'stable', 'pause', 'refresh'])) this.#clear(name);
    for (const ref of [...this.#pending.keys()]) this.#fail(ref, 'disconnected', 'the connection ended before the answer');
    return ++this.#turn;
  }

  // The token: asked for before each connection, and again before it expires.

  /** @param {boolean} fresh @returns {Promise<string>} */
  async #askToken(fresh) {
    const { getToken } = this.#options;
    if (!getToken) return this.#token;
    return (await inTime(getToken({ fresh }), TOKEN_TIMEOUT_MS, '`getToken`')) ?? this.#token;
  }

  /** Renews the open connection. @param {string} token */
  async #present(token) {
    const { data } = await this.#request('auth', { token });
    if (this.#proven === this.#presented) this.#proven = token;
    this.#presented = token;
    return data;
  }

  /** Lets the open connection know of a token that came after it. */
  async #catchUp() {
    const token = this.#token;
    if (!this.#opened || token === this.#presented) return;
    try {
      const { exp } = await this.#present(token);
      if (token === this.#token) this.#planRefresh(true, exp);
    } catch (error) {
      if (/** @type {ChatError} */ (error).code !== 'disconnected') this.#emit('error', /** @type {ChatError} */ (error));
    }
  }

  /** Throws what `getToken` throws. @param {number} turn @returns {Promise<boolean>} whether to go on */
  async #takeToken(turn) {
    const fresh = this.#fresh === 'wanted';
    const token = await this.#askToken(fresh);
    if (turn !== this.#turn) return false;
    if (fresh) this.#fresh = 'given';
    const [user, before] = [userOf(token), userOf(this.#proven)];
    if (user && before && user !== before) {
      this.#refuse({ code: 'forbidden', message: 'the new token is another user\'s' });
      return false;
    }
    this.#vouched = token === this.#proven || (user !== undefined && user === before);
    this.#token = token;
    this.#speaksFor(this.#me || user || 0);
    return turn === this.#turn;
  }

  /**
   * `exp` and the clock here tell how long the token lives, and they may not agree: it never lives longer than it was made
   * for, and a new one that looks expired lives that long too. What is still wrong then, the server says with 4401.
   * @param {boolean} isNew whether it was made a moment ago @param {unknown} [expires]
   */
  #planRefresh(isNew, expires) {
    const token = this.#token;
    const { exp = expires, iat } = claimsOf(token);
    if (token !== this.#plan.token) this.#plan = { token, at: Infinity, until: 0, tries: 0 };
    if (this.#plan.at === Infinity && !this.#plan.until && typeof exp === 'number') {
      const now = Date.now();
      const life = typeof iat === 'number' ? (exp - iat) * 1_000 : Infinity;
      const byClock = exp * 1_000 - now;
      const left = Math.max(0, byClock > life || (isNew && byClock <= 0) ? life : byClock);
      if (left === Infinity) return;
      const early = Math.min(REFRESH_EARLIEST_MS, Math.max(REFRESH_LATEST_MS, left / 10));
      const soonest = isNew ? Math.max(1_000, Math.min(REFRESH_GAP_MS, left / 2)) : 0;
      Object.assign(this.#plan, { at: now + Math.max(soonest, left - early), until: now + Math.max(left, REFRESH_EARLIEST_MS) });
    }
    this.#armRefresh();
  }

  #armRefresh() {
    this.#clear('refresh');
    if (!this.#options.getToken || !this.#opened || this.#plan.at === Infinity) return;
    const wait = Math.max(0, this.#plan.at - Date.now());
    this.#timers.refresh = setTimeout(() => (wait > TIMER_MAX_MS ? this.#armRefresh() : this.#refresh()), Math.min(wait, TIMER_MAX_MS));
  }

  async #refresh() {
    const turn = this.#turn;
    const plan = this.#plan;
    plan.at = Infinity; // one at a time
    try {
      const token = await this.#askToken(true).catch((error) => { throw new ChatError('token', `no token: ${error?.message ?? error}`); });
      if (turn !== this.#turn) return void (plan.at = Date.now());
      if (token === this.#token) throw new ChatError('token', 'no token: `getToken` gave the same one again');
      await this.auth(token);
    } catch (thrown) {
      const error = /** @type {ChatError} */ (thrown);
      const mayPass = error.code === 'token' || BUSY_REFUSALS.has(error.code) || error.code === 'timeout' || error.code === 'disconnected';
      const wait = jitter(plan.tries++);
      if (mayPass && Date.now() + wait < plan.until) plan.at = Date.now() + wait; // else the server says when it is over
      if (turn !== this.#turn) return;
      if (plan.tries === 1 || plan.at === Infinity) this.#emit('error', error);
      if (plan === this.#plan) this.#armRefresh();
    }
  }

  // Where the last connection ended, and how the next one goes on from there.

  /**
   * The first requests of every connection: what did I miss, who am I, and then what waits to be sent. `resume` leads,
   * since nothing is pushed before the first request is handled: a DM that came before it would be ahead of the replay.
   */
  #resume() {
    /** @type {ChatError | null} */ let refusal = null;
    if (this.#epoch) {
      const request = { after: this.#cursor, rooms: this.#resumable(), epoch: this.#epoch };
      this.#ask('resume', request, ({ data }) => this.#resumed(data), (error) => {
        if (error.code === 'timeout') this.#unanswered(error);
        else refusal = error;
      });
    }
    this.#ask('hello', {}, ({ data }) => {
      if (!refusal) return;
      // No replay from this server, or not now: every room by itself, and the histories.
      this.#emit('error', refusal);
      for (const talk of this.#joined()) talk.apart = true;
      this.#resumed({ ...data, replayed: 0, complete: false, reason: refusal.code });
    }, (error) => { if (!this.#live) this.#unanswered(error); });
    // The server lets `hello` be followed by a `resume`, and pushes nothing before any other request, or for a second.
    if (!this.#epoch) this.#ask('ping', {}, () => {}, () => {});
    this.#pump();
  }

  /** @param {ChatError} error */
  #unanswered(error) {
    if (error.code !== 'disconnected') this.#drop(`no way in: ${error.message}`);
  }

  /** The rooms that one `resume` carries; the others are joined by themselves. */
  #resumable() {
    let left = RESUME_NAMES_MAX_BYTES;
    const rooms = [];
    for (const talk of this.#joined()) {
      const room = /** @type {string} */ (talk.room);
      if (!talk.apart) left -= bytesOf(JSON.stringify(room)) + 1;
      if (left < 0 || rooms.length === RESUME_ROOMS_MAX) talk.apart = true;
      if (!talk.apart) rooms.push(room);
    }
    return rooms;
  }

  /** @param {{epoch: string, lastId: number, replayed: number, complete: boolean, reason?: string, refused?: {room: string, code: string}[]}} ack */
  #resumed({ epoch, lastId, replayed, complete, reason, refused = [] }) {
    const turn = this.#turn;
    const newLog = epoch !== this.#epoch;
    this.#epoch = epoch;
    if (newLog) for (const talk of this.#talks.values()) Object.assign(talk, { seq: undefined, id: 0, end: 0, queue: [], own: new Map() });
    // A DM that came in between would be ahead of the replay.
    for (const message of this.#early.splice(0)) {
      this.#talkOf(message);
      if (complete) [complete, reason] = [false, 'behind'];
    }
    if (!complete || newLog) {
      this.#cursor = lastId;
      this.#stale = { reason: reason ?? 'epoch', newLog: newLog || Boolean(this.#stale?.newLog) };
    }
    this.#live = true;
    this.#emit('reconnected', { replayed, complete, ...(reason && { reason }) });
    for (const { room, code } of refused) this.#notJoined(this.#talks.get(`room:${room}`), new ChatError(code, `${room}: ${code}`));
    if (turn !== this.#turn) return;
    for (const talk of this.#joined()) if (talk.apart) this.#rejoin(talk);
    if (this.#stale) this.#reload();
    else this.#drainAll();
  }

  /** @param {Talk} talk @param {Joined} ack */
  #entered(talk, { lastSeq, lastId }) {
    if (talk.apart) talk.end = Math.max(talk.end, lastSeq);
    if (talk.seq === undefined) Object.assign(talk, { seq: lastSeq, id: lastId });
    talk.apart = false;
    if (talk.joined) return this.#drain(talk);
    Object.assign(talk, { joined: true, held: true });
    queueMicrotask(() => { // after whoever waits for `join` has heard of it
      talk.held = false;
      this.#drain(talk);
    });
  }

  /** @param {Talk | undefined} talk @param {ChatError} error */
  #notJoined(talk, error) {
    if (!talk || error.code === 'disconnected') return;
    talk.apart = true;
    if (PERMANENT_REFUSALS.has(error.code)) this.#forget(talk);
    this.#emit('error', error);
  }

  /** A room that the replay did not bring: joined by itself, its gap is filled from the history. @param {Talk} talk */
  async #rejoin(talk) {
    try {
      const { data } = await this.#patiently(() => this.#request('join', { room: talk.room }));
      this.#entered(talk, data);
    } catch (error) {
      this.#notJoined(talk, /** @type {ChatError} */ (error));
    }
  }

  /** Instead of a replay: the newest page of everything. A cut leaves it to the next connection. */
  async #reload() {
    const turn = this.#turn;
    const talks = [...this.#talks.values()].filter(({ joined, peer }) => joined || peer !== undefined);
    /** @type {Map<Talk, History>} */ const pages = new Map();
    while (talks.length > 0) {
      await Promise.all(talks.splice(0, LOADS_AT_ONCE).map(async (talk) => {
        try {
          pages.set(talk, await this.#page(talk, { limit: RESET_PAGE }));
        } catch (error) {
          if (/** @type {ChatError} */ (error).code !== 'disconnected') this.#emit('error', /** @type {ChatError} */ (error));
        }
      }));
      if (turn !== this.#turn) return;
    }
    const stale = /** @type {{reason: string, newLog: boolean}} */ (this.#stale);
    this.#stale = null;
    this.#restart(stale, pages);
    this.#drainAll();
  }

  /** Lets these conversations go on from these pages. @param {{reason: string, newLog: boolean}} why @param {Map<Talk, History>} pages */
  #restart(why, pages) {
    /** @type {Reset} */ const reset = { ...why, rooms: [], dms: [] };
    for (const [talk, { messages, hasMore }] of pages) {
      if (this.#talks.get(talk.key) !== talk) continue;
      const { seq: lastSeq = 0, id = 0 } = messages.at(-1) ?? {};
      Object.assign(talk, { seq: lastSeq, id });
      this.#stepOver(talk);
      if (talk.room === undefined) reset.dms.push({ with: /** @type {number} */ (talk.peer), messages, hasMore, lastSeq });
      else reset.rooms.push({ room: talk.room, messages, hasMore, lastSeq });
    }
    this.#emit('reset', reset);
  }

  // Delivery: each message once, in the order of its conversation.

  #joined() { return [...this.#talks.values()].filter(({ joined }) => joined); }

  /** @param {{room?: string, peer?: number}} place @returns {Talk} */
  #talk({ room, peer }) {
    const key = room === undefined ? `dm:${peer}` : `room:${room}`;
    let talk = this.#talks.get(key);
    if (!talk) {
      talk = { key, room, peer, joined: false, joins: 0, apart: false, held: false, id: 0, end: 0, queue: [], own: new Map() };
      this.#talks.set(key, talk);
    }
    return talk;
  }

  /** @param {Message} message @returns {Talk | undefined} none for a room that was left */
  #talkOf({ room, fromUser, to }) {
    return room === undefined ? this.#talk({ peer: fromUser === this.#me ? to : fromUser }) : this.#talks.get(`room:${room}`);
  }

  /** @param {Talk} talk */
  #forget(talk) {
    if (this.#talks.get(talk.key) === talk) this.#talks.delete(talk.key);
  }

  /** @param {Message} message */
  #arrive(message) {
    if (!this.#live) return void this.#early.push(message);
    this.#cursor = Math.max(this.#cursor, message.id);
    const talk = this.#talkOf(message);
    talk?.queue.push(message);
    if (talk) this.#drain(talk);
  }

  #drainAll() {
    for (const talk of [...this.#talks.values()]) this.#drain(talk);
  }

  /** Delivers what has come, as far as nothing is missing before it. @param {Talk} talk */
  #drain(talk) {
    talk.queue.sort((a, b) => a.seq - b.seq);
    while (this.#live && !this.#stale && !talk.held && (talk.joined || talk.room === undefined)) {
      const next = talk.queue[0];
      const until = next ? next.seq - 1 : talk.end;
      if (talk.seq !== undefined && talk.seq < until) {
        // Our own DM makes such a gap for as long as its receipt is on the way: it has no echo.
        const explained = talk.peer !== undefined && talk.peer === this.#sending?.fields.to;
        if (!explained) this.#fill(talk, until);
        return;
      }
      if (!next) return;
      talk.queue.shift();
      this.#deliver(talk, next);
    }
  }

  /** @param {Talk} talk @param {Message} message */
  #deliver(talk, message) {
    const { seq, id, nonce, fromUser } = message;
    if (talk.seq !== undefined && seq <= talk.seq) return;
    const receipted = talk.room === undefined && fromUser === this.#me
      && (talk.own.has(seq) || this.#outbox.some(({ fields }) => fields.nonce === nonce));
    Object.assign(talk, { seq, id });
    this.#stepOver(talk);
    if (!receipted) this.#emit(talk.room === undefined ? 'dm' : 'message', message);
  }

  /** Our own DMs are known by their receipts. @param {Talk} talk */
  #stepOver(talk) {
    if (talk.seq === undefined) return;
    for (const [seq, id] of [...talk.own].sort(([a], [b]) => a - b)) {
      if (seq === talk.seq + 1) Object.assign(talk, { seq, id });
      if (seq <= talk.seq) talk.own.delete(seq);
    }
  }

  /** Asks the history for what is missing up to `until`. @param {Talk} talk @param {number} until */
  async #fill(talk, until) {
    const turn = this.#turn;
    const over = () => turn !== this.#turn || this.#talks.get(talk.key) !== talk;
    talk.held = true;
    try {
      if (until - Number(talk.seq) > GAP_MAX) {
        const page = await this.#page(talk, { limit: RESET_PAGE });
        if (!over()) this.#restart({ reason: 'gap', newLog: false }, new Map([[talk, page]]));
        return;
      }
      let whole = true;
      for (let more = true; more && Number(talk.seq) < until;) {
        const { messages, hasMore } = await this.#page(talk, { limit: GAP_PAGE, after: talk.id });
        for (const message of messages) {
          if (over()) return;
          whole &&= message.seq <= Number(talk.seq) + 1;
          this.#deliver(talk, message);
        }
        more = hasMore && messages.length > 0;
      }
      if (over()) return;
      whole &&= Number(talk.seq) >= until;
      talk.seq = Math.max(Number(talk.seq), until); // asking once more would bring the same answer
      if (!whole) this.#emit('error', new ChatError('missing', `${talk.key}: the history lacks messages before number ${until + 1}`));
    } catch (error) {
      if (over() || /** @type {ChatError} */ (error).code === 'disconnected') return; // the next connection asks again
      talk.seq = until;
      this.#emit('error', /** @type {ChatError} */ (error));
    } finally {
      talk.held = false;
      this.#drain(talk);
    }
  }

  /** @param {Talk} talk @param {Page} page @returns {Promise<History>} */
  #page({ room, peer }, page) {
    return this.#patiently(() => (room === undefined ? this.dmHistory(/** @type {number} */ (peer), page) : this.roomHistory(room, page)));
  }

  /** Asks again when the server was too busy; a server that says nothing is given up. @template T @param {() => Promise<T>} ask @returns {Promise<T>} */
  async #patiently(ask) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await ask();
      } catch (thrown) {
        const error = /** @type {ChatError} */ (thrown);
        if (error.code === 'timeout') {
          this.#drop(error.message);
          throw new ChatError('disconnected', error.message);
        }
        if (!BUSY_REFUSALS.has(error.code) || tries === BUSY_TRIES) throw error;
        await new Promise((resolve) => { setTimeout(resolve, error.retryAfterMs ?? BUSY_WAIT_MS * tries); });
      }
    }
  }

  // The outbox.

  /** @param {Waiting} fields @returns {Promise<any>} */
  #post(fields) {
    const { nonce, room, to, content } = fields;
    const twin = this.#outbox.find(({ fields: other }) => other.nonce === nonce && other.room === room && other.to === to && other.content === content);
    if (twin) return twin.promise;
    const entry = outgoing(this.#owner, fields, false);
    const [code, message] = this.#unsendable(fields) ?? [];
    if (code) {
      this.#fails(entry, new ChatError(code, /** @type {string} */ (message), { nonce }));
      return entry.promise;
    }
    this.#outbox.push(entry);
    this.#shelf?.add(entry);
    this.#emit('queued', { ...fields, restored: false });
    this.#pump();
    return entry.promise;
  }

  /** @param {Waiting} fields @returns {[code: string, message: string] | undefined} */
  #unsendable(fields) {
    if (this.#state === 'closed') return ['disconnected', 'closed'];
    if (this.#outbox.length >= OUTBOX_MAX) return ['outbox_full', `${OUTBOX_MAX} messages wait to be sent already`];
    return flawOf(fields);
  }

  /**
   * Whoever a token or the server names is the one who writes. What somebody else wrote is not sent in that name: it waits in
   * the storage, for its own user. What was written before anybody was named is theirs. @param {number} user 0: it says nothing
   */
  #speaksFor(user) {
    this.#owner = user;
    if (!user) return;
    const others = this.#outbox.filter((entry) => entry.user && entry.user !== user);
    if (others.length > 0) this.#outbox = this.#outbox.filter((entry) => !others.includes(entry));
    for (const entry of this.#outbox) {
      if (entry.user) continue;
      entry.user = user;
      this.#shelf?.add(entry);
    }
    for (const entry of others) this.#shelf?.give(entry);
    this.#restore(user);
    for (const entry of others) this.#fails(entry, new ChatError('forbidden', 'written by another user', { ...entry.fields, field: 'user' }));
  }

  /** Takes what this user left behind, ahead of what was written since. @param {number} user */
  #restore(user) {
    const known = new Set(this.#outbox.map(({ fields }) => fields.nonce));
    const left = (this.#shelf?.take(user) ?? []).filter(({ nonce }) => !known.has(nonce));
    const more = left.splice(Math.max(0, OUTBOX_MAX - this.#outbox.length)).length;
    this.#outbox.unshift(...left.map((fields) => outgoing(user, fields, true)));
    for (const fields of left) this.#emit('queued', { ...fields, restored: true });
    if (more > 0) this.#emit('error', new ChatError('storage', `${more} messages stay in the storage until the next start: ${OUTBOX_MAX} wait to be sent already`));
  }

  /** One at a time: whatever is refused or cut off, nothing newer has overtaken it. */
  #pump() {
    const [first] = this.#outbox;
    if (!first || this.#sending || this.#timers.pause || !this.#opened) return;
    if (!this.#vouched) return; // not before it is known whose messages go out
    this.#sending = first;
    this.#ask(first.fields.room === undefined ? 'dm' : 'message', first.fields, ({ data }) => this.#settle(first, null, data), (error) => {
      this.#sending = null;
      if (error.code === 'disconnected') return; // the next connection sends it again
      if (error.code === 'timeout') return this.#drop('no answer to a send');
      if (error.code !== 'rate_limited') return this.#settle(first, error);
      this.#timers.pause = setTimeout(() => { this.#clear('pause'); this.#pump(); }, error.retryAfterMs ?? BUSY_WAIT_MS);
    });
  }

  /** @param {Outgoing} entry @param {ChatError | null} error @param {any} [receipt] */
  #settle(entry, error, receipt) {
    const place = this.#outbox.indexOf(entry);
    if (place < 0) return;
    this.#outbox.splice(place, 1);
    if (this.#sending === entry) this.#sending = null;
    this.#shelf?.remove(entry);
    if (error) this.#fails(entry, error);
    else {
      this.#emit('stored', { ...entry.fields, receipt });
      entry.resolve(receipt);
    }
    if (entry.fields.to !== undefined && !error) {
      const talk = this.#talk({ peer: entry.fields.to });
      if (talk.seq === undefined || receipt.seq > talk.seq) talk.own.set(receipt.seq, receipt.id);
      this.#stepOver(talk);
    }
    const talk = this.#talks.get(`dm:${entry.fields.to}`);
    if (talk) this.#drain(talk);
    this.#pump();
  }

  /** @param {Outgoing} entry @param {ChatError} error */
  #fails(entry, error) {
    this.#emit('unsent', { ...entry.fields, error });
    entry.reject(error);
  }

  // Frames.

  /** @param {string} type @param {Record<string, unknown>} [fields] @returns {Promise<any>} the reply frame */
  #request(type, fields = {}) {
    return new Promise((resolve, reject) => this.#ask(type, fields, resolve, reject));
  }

  /** Calls back while the reply is being taken in, before the frame that follows it. @param {string} type @param {Record<string, unknown>} fields @param {(frame: any) => void} resolve @param {(error: ChatError) => void} reject */
  #ask(type, fields, resolve, reject) {
    const nonce = /** @type {string | undefined} */ (fields.nonce);
    const socket = this.#socket;
    // One whose end is on its way takes nothing any more: a browser would complain in its console.
    if (!socket || !this.#opened || Number(socket.readyState) > OPEN) return reject(new ChatError('disconnected', 'not connected', { nonce }));
    const ref = this.#nextRef++;
    const timer = setTimeout(() => this.#fail(ref, 'timeout', 'no answer within 15 s'), REQUEST_TIMEOUT_MS);
    this.#pending.set(ref, { resolve, reject, timer, nonce });
    socket.send(JSON.stringify({ type, ...fields, ref }));
    this.#raw('out', () => JSON.stringify({ type, ...fields, ...(type === 'auth' && { token: '(hidden)' }), ref }));
  }

  /** @param {string} text */
  #receive(text) {
    this.#heard();
    this.#raw('in', () => text);
    const frame = JSON.parse(text);
    if (frame.type === 'welcome') this.#welcome(frame.data);
    if (frame.type === 'message' || frame.type === 'dm') this.#arrive(frame.data);
    if (frame.type === 'error') this.#failed(frame);
    else this.#take(frame.ref)?.resolve(frame);
  }

  /** The first one says where the log stands, so that a resume is possible before any message. @param {Welcome} welcome */
  #welcome(welcome) {
    if (this.#me && welcome.userId !== this.#me) return this.#refuse({ code: 'forbidden', message: 'the new token is another user\'s' });
    this.#me = welcome.userId;
    this.#vouched = true;
    this.#proven = this.#presented;
    this.#speaksFor(this.#me);
    const first = !this.#epoch;
    if (first) [this.#epoch, this.#cursor, this.#live] = [welcome.epoch, welcome.lastId, true];
    this.#emit('welcome', welcome);
    if (first) for (const message of this.#early.splice(0)) this.#arrive(message);
    this.#planRefresh(false);
    this.#pump();
  }

  /** @param {any} frame */
  #failed({ ref, message, data = {} }) {
    const pending = this.#take(ref);
    const error = new ChatError(data.code ?? 'error', data.message ?? message, { ...data, nonce: pending?.nonce });
    if (pending) pending.reject(error);
    else if (ref == null) this.#emit('error', error);
  }

  /** @param {unknown} ref @param {string} code @param {string} message */
  #fail(ref, code, message) {
    const pending = this.#take(ref);
    pending?.reject(new ChatError(code, message, { nonce: pending.nonce }));
  }

  /** @param {unknown} ref */
  #take(ref) {
    const pending = this.#pending.get(ref);
    this.#pending.delete(ref);
    clearTimeout(pending?.timer);
    return pending;
  }

  // Small things.

  #firstWelcome() {
    /** @type {Promise<Welcome>} */
    const promise = new Promise((resolve, reject) => {
      const finish = () => { offWelcome(); offState(); };
      const offWelcome = this.on('welcome', (welcome) => { finish(); resolve(welcome); });
      const offState = this.on('state', ({ state, reason = 'closed' }) => {
        if (state !== 'closed') return;
        finish();
        reject(new ChatError('disconnected', reason));
      });
    });
    promise.catch(() => {}); // whoever listens to the events instead has no use for it
    return promise;
  }

  /** @param {'retry' | 'watch' | 'stable' | 'pause' | 'refresh'} name */
  #clear(name) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = 0;
  }

  /** @param {State} state @param {{retryAt?: number, reason?: string}} [more] */
  #setState(state, more = {}) {
    this.#state = state;
    this.#emit('state', { state, attempt: this.#attempt, ...more });
  }

  /** @param {'in' | 'out'} direction @param {() => string} content */
  #raw(direction, content) {
    if (!this.#handlers.get('frame')?.size) return;
    const text = content();
    this.#emit('frame', { direction, text, at: Date.now(), bytes: bytesOf(text) });
  }

  /** A handler that throws must not stop the connection. @template {keyof Events} T @param {T} type @param {Events[T]} data */
  #emit(type, data) {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) {
      try {
        handler(data);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}
