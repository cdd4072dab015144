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
 * What it does not do: keep messages. After `reconnected`, ask for the history after the last id you have.
 */

const REQUEST_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 15_000;
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const STABLE_AFTER_MS = 10_000;
const QUIET_MS = 25_000; // the server's own pings are invisible to a script, so silence is probed with a request
const PONG_TIMEOUT_MS = 10_000;
const PERMANENT_REFUSALS = new Set(['forbidden', 'room_not_found', 'invalid_field']);

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
 * @typedef {{direction: 'in' | 'out', text: string, at: number, bytes: number}} RawFrame
 * @typedef {{code: string, message: string}} Refusal
 * @typedef {{state: StateChange, message: Message, dm: Message, error: ChatError, welcome: Welcome, frame: RawFrame,
 *   close: {code: number, reason: string}, refused: Refusal,
 *   reconnected: {rooms: Joined[], newLog: boolean}}} Events `newLog`: other ids than before; forget what you have
 * @typedef {{send(text: string): void, close(code?: number): void, onopen: ((event: any) => any) | null,
 *   onmessage: ((event: any) => any) | null, onclose: ((event: any) => any) | null}} Socket
 * @typedef {{url?: string, token?: string, getToken?: (ask: {fresh: boolean}) => string | Promise<string>,
 *   WebSocket?: new (url: string, protocols: string[]) => Socket, fetch?: typeof fetch}} Options
 * @typedef {{resolve(frame: any): void, reject(error: ChatError): void, timer: any, nonce?: string}} Pending
 */

/** An `error` frame, or one of the library's own codes: `disconnected`, `timeout`. */
export class ChatError extends Error {
  /** @param {string} code @param {string} message @param {{field?: string, retryAfterMs?: number, nonce?: string}} [more] */
  constructor(code, message, { field, retryAfterMs, nonce } = {}) {
    super(message);
    this.name = 'ChatError';
    this.code = code;
    this.field = field;
    this.retryAfterMs = retryAfterMs;
    /** Of a send: pass it to the next try, and the server keeps the message once. */
    this.nonce = nonce;
  }
}

/** 128 random bits. Not `crypto.randomUUID`: pages on plain http, other than localhost, do not have it. */
export function newNonce() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {Options} options */
export function createChat(options) {
  return new Chat(options);
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
  #askedFresh = false;
  #nextRef = 1;
  #lastId = 0;
  #epoch = '';
  /** @type {Set<string>} */ #rooms = new Set();
  /** @type {Map<unknown, Pending>} */ #pending = new Map();
  /** @type {Map<string, Set<(data: any) => void>>} */ #handlers = new Map();
  /** @type {Record<'retry' | 'watch' | 'stable', any>} */ #timers = { retry: 0, watch: 0, stable: 0 };

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#token = options.token ?? '';
    this.#url = options.url ?? `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
  }

  get state() { return this.#state; }
  get rooms() { return [...this.#rooms]; }

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
      this.#askedFresh = false;
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

  /** Ends the wait between two attempts. */
  reconnectNow() {
    if (this.#state === 'closed') this.connect();
    if (!this.#timers.retry) return;
    this.#clear('retry');
    this.#setState('reconnecting');
    this.#open();
  }

  /** @param {string} room @returns {Promise<Joined>} */
  async join(room) {
    const { data } = await this.#request('join', { room });
    this.#rooms.add(room);
    return data;
  }

  /** @param {string} room @returns {Promise<{room: string, status: 'ok'}>} */
  async leave(room) {
    this.#rooms.delete(room);
    return (await this.#request('leave', { room })).data;
  }

  /**
   * Resolves once the message is stored. After `disconnected` or `timeout` the outcome is unknown: send it again with
   * the error's `nonce`, and it is the same message.
   * @param {string} room @param {string} content @param {{nonce?: string}} [options] @returns {Promise<Receipt & {room: string}>}
   */
  async send(room, content, { nonce = newNonce() } = {}) {
    return (await this.#request('message', { room, content, nonce })).data;
  }

  /** Like `send`. @param {number} to @param {string} content @param {{nonce?: string}} [options] @returns {Promise<Receipt & {to: number}>} */
  async dm(to, content, { nonce = newNonce() } = {}) {
    return (await this.#request('dm', { to, content, nonce })).data;
  }

  /** @param {string} room @param {Page} [page] @returns {Promise<History>} */
  async roomHistory(room, { limit, before, after } = {}) {
    const { data, hasMore } = await this.#request('room_history', { room, limit, before, after });
    return { messages: data, hasMore };
  }

  /** @param {number} userId @param {Page} [page] @returns {Promise<History>} */
  async dmHistory(userId, { limit, before, after } = {}) {
    const { data, hasMore } = await this.#request('dm_history', { with: userId, limit, before, after });
    return { messages: data, hasMore };
  }

  /** @returns {Promise<Welcome>} */
  async hello() { return (await this.#request('hello')).data; }

  /** Renews the open connection, and the ones after it. @param {string} token @returns {Promise<{exp: number}>} */
  async auth(token) {
    const { data } = await this.#request('auth', { token });
    this.#token = token;
    return data;
  }

  /** @returns {Promise<void>} */
  async ping() { await this.#request('ping'); }

  // The connection: one attempt, its end, and what comes after.

  async #open(fresh = false) {
    const turn = ++this.#turn;
    try {
      const token = (await this.#options.getToken?.({ fresh })) ?? this.#token;
      if (turn !== this.#turn) return;
      this.#token = token;
    } catch (error) {
      if (turn === this.#turn) this.#retryLater(`no token: ${error instanceof Error ? error.message : error}`);
      return;
    }
    try {
      this.#attach(new (this.#options.WebSocket ?? WebSocket)(this.#url, ['chat.v1', `bearer.${this.#token}`]));
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
      this.#timers.stable = setTimeout(() => { this.#attempt = 0; this.#askedFresh = false; }, STABLE_AFTER_MS);
      this.#heard();
      this.#restore();
      this.#setState('open');
    };
    socket.onmessage = ({ data }) => this.#receive(String(data));
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
  }

  /**
   * The first requests of every connection: who am I, then every room again. This is the one place that brings a new
   * connection to where the last one was; what was missed in between is asked for by whoever hears `reconnected`.
   */
  async #restore() {
    const before = this.#epoch;
    const hello = this.hello(); // first on the wire: nothing else may arrive before the welcome
    const joins = [...this.#rooms].map((room) => this.join(room).catch((error) => this.#notRejoined(room, error)));
    try {
      const [welcome, ...joined] = await Promise.all([hello, ...joins]);
      if (!before) return;
      this.#emit('reconnected', { rooms: joined.flatMap((ack) => ack ?? []), newLog: welcome.epoch !== before });
    } catch (error) {
      if (error instanceof ChatError && error.code === 'timeout') this.#drop('no answer to hello');
    }
  }

  /** @param {string} room @param {ChatError} error */
  #notRejoined(room, error) {
    if (error.code === 'disconnected') throw error;
    if (PERMANENT_REFUSALS.has(error.code)) this.#rooms.delete(room);
    this.#emit('error', error);
  }

  /** @param {number} code @param {string} reason */
  async #ended(code, reason) {
    const opened = this.#opened;
    const turn = this.#letGo();
    this.#emit('close', { code, reason });
    if (turn !== this.#turn) return;
    if (code === 4403) return this.#refuse({ code: 'forbidden', message: reason || 'removed by a moderator' });
    this.#setState('reconnecting');
    if (turn !== this.#turn) return;
    if (code === 4401) return this.#unauthorized({ code: 'unauthorized', message: reason || 'the token expired' });
    const refusal = opened ? null : await this.#askWhy();
    if (turn !== this.#turn) return;
    if (refusal) return this.#unauthorized(refusal);
    this.#retryLater(reason);
  }

  /** A browser hides why a handshake failed, so the same question is asked over HTTP. @returns {Promise<Refusal | null>} */
  async #askWhy() {
    const url = new URL('/api/v1/auth/me', this.#url.replace(/^ws/, 'http'));
    try {
      const headers = { authorization: `Bearer ${this.#token}` };
      const signal = AbortSignal.timeout?.(CONNECT_TIMEOUT_MS);
      const answer = await (this.#options.fetch ?? fetch)(url, { headers, signal });
      if (answer.status !== 401) return null;
      const { error } = await answer.json().catch(() => ({}));
      return { code: error?.code ?? 'unauthorized', message: error?.message ?? 'the server refused the token' };
    } catch {
      return null; // no server there: that is worth another try
    }
  }

  /** @param {Refusal} refusal */
  #unauthorized(refusal) {
    if (!this.#options.getToken || this.#askedFresh) return this.#refuse(refusal);
    this.#askedFresh = true;
    this.#open(true);
  }

  /** @param {Refusal} refusal */
  #refuse(refusal) {
    this.#stop();
    this.#setState('closed', { reason: refusal.message });
    this.#emit('refused', refusal);
  }

  /** Full jitter: clients that lost the same server do not come back together. @param {string} [reason] */
  #retryLater(reason) {
    const delay = Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** this.#attempt++);
    this.#timers.retry = setTimeout(() => this.reconnectNow(), delay);
    this.#setState('reconnecting', { retryAt: Date.now() + delay, reason });
  }

  #wake = () => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    if (this.#state === 'reconnecting') this.reconnectNow();
    else if (this.#state === 'open') this.#probe();
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
    globalThis.removeEventListener?.('online', this.#wake);
    globalThis.document?.removeEventListener('visibilitychange', this.#wake);
  }

  /** Forgets the socket and everything that waits for it. */
  #letGo() {
    if (this.#socket) this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket = null;
    this.#opened = false;
    for (const name of /** @type {const} */ (['retry', 'watch', 'stable'])) this.#clear(name);
    for (const ref of [...this.#pending.keys()]) this.#fail(ref, 'disconnected', 'the connection ended before the answer');
    return ++this.#turn;
  }

  // Frames.

  /** @param {string} type @param {Record<string, unknown>} [fields] @returns {Promise<any>} the reply frame */
  #request(type, fields = {}) {
    const nonce = /** @type {string | undefined} */ (fields.nonce);
    const socket = this.#socket;
    if (!socket || !this.#opened) return Promise.reject(new ChatError('disconnected', 'not connected', { nonce }));
    const ref = this.#nextRef++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(ref, 'timeout', 'no answer within 15 s'), REQUEST_TIMEOUT_MS);
      this.#pending.set(ref, { resolve, reject, timer, nonce });
      socket.send(JSON.stringify({ type, ...fields, ref }));
      this.#raw('out', () => JSON.stringify({ type, ...fields, ...(type === 'auth' && { token: '(hidden)' }), ref }));
    });
  }

  /** @param {string} text */
  #receive(text) {
    this.#heard();
    this.#raw('in', () => text);
    const frame = JSON.parse(text);
    if (frame.type === 'welcome') this.#welcome(frame.data);
    if (frame.type === 'message' || frame.type === 'dm') this.#deliver(frame.type, frame.data);
    if (frame.type === 'error') this.#failed(frame);
    else this.#take(frame.ref)?.resolve(frame);
  }

  /** @param {Welcome} welcome */
  #welcome(welcome) {
    if (welcome.epoch !== this.#epoch) this.#lastId = 0;
    this.#epoch = welcome.epoch;
    this.#emit('welcome', welcome);
  }

  /** @param {'message' | 'dm'} type @param {Message} message */
  #deliver(type, message) {
    if (message.id <= this.#lastId) return;
    this.#lastId = message.id;
    this.#emit(type, message);
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

  /** @param {'retry' | 'watch' | 'stable'} name */
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
    this.#emit('frame', { direction, text, at: Date.now(), bytes: new TextEncoder().encode(text).length });
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
