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
export type State = 'idle' | 'connecting' | 'open' | 'reconnecting' | 'closed';
export type StateChange = {
    state: State;
    attempt: number;
    retryAt?: number;
    reason?: string;
};
export type Message = {
    id: number;
    seq: number;
    fromUser: number;
    username: string;
    content: string;
    timestamp: string;
    room?: string;
    to?: number;
    nonce?: string;
};
export type Receipt = {
    status: 'ok';
    id: number;
    seq: number;
    timestamp: string;
    nonce?: string;
    duplicate?: boolean;
};
export type Joined = {
    room: string;
    status: 'ok';
    lastId: number;
    lastSeq: number;
};
export type History = {
    messages: Message[];
    hasMore: boolean;
};
export type Page = {
    limit?: number;
    before?: number;
    after?: number;
};
export type Welcome = {
    userId: number;
    username: string;
    role: string | null;
    server: string;
    epoch: string;
    lastId: number;
    limits: Record<string, number>;
};
export type Place = {
    room: string;
    with?: undefined;
} | {
    with: number;
    room?: undefined;
};
export type Waiting = {
    nonce: string;
    room?: string;
    to?: number;
    content: string;
};
export type RawFrame = {
    direction: 'in' | 'out';
    text: string;
    at: number;
    bytes: number;
};
export type Refusal = {
    code: string;
    message: string;
};
export type Events = {
    state: StateChange;
    message: Message;
    dm: Message;
    error: ChatError;
    welcome: Welcome;
    frame: RawFrame;
    close: {
        code: number;
        reason: string;
    };
    refused: Refusal;
    queued: Waiting & {
        restored: boolean;
    };
    stored: Waiting & {
        receipt: Receipt;
    };
    unsent: Waiting & {
        error: ChatError;
    };
    reconnected: {
        replayed: number;
        complete: boolean;
        reason?: string;
    };
    reset: Reset;
};
export type Reset = {
    reason: string;
    newLog: boolean;
    rooms: {
        room: string;
        messages: Message[];
        hasMore: boolean;
        lastSeq: number;
    }[];
    dms: {
        with: number;
        messages: Message[];
        hasMore: boolean;
        lastSeq: number;
    }[];
};
export type Socket = {
    send(text: string): void;
    close(code?: number): void;
    onopen: ((event: any) => any) | null;
    onmessage: ((event: any) => any) | null;
    onclose: ((event: any) => any) | null;
    readyState?: number;
};
export type KeyValueStorage = {
    getItem(key: string): string | null | Promise<string | null>;
    setItem(key: string, value: string): unknown;
    removeItem(key: string): unknown;
};
export type Options = {
    url?: string;
    token?: string;
    getToken?: (ask: {
        fresh: boolean;
    }) => string | Promise<string>;
    WebSocket?: new (url: string, protocols: string[]) => Socket;
    fetch?: typeof fetch;
    storage?: KeyValueStorage;
    storageKey?: string;
};
export type ChatClient = Chat;
export type Plan = {
    token: string;
    at: number;
    until: number;
    tries: number;
};
export type Pending = {
    resolve(frame: any): void;
    reject(error: ChatError): void;
    timer: any;
    nonce?: string;
};
export type Kept = Waiting & {
    user: number;
};
export type Outgoing = {
    user: number;
    fields: Waiting;
    restored: boolean;
    promise: Promise<any>;
    resolve(receipt: any): void;
    reject(error: ChatError): void;
};
export type Talk = {
    key: string;
    room?: string;
    peer?: number;
    joined: boolean;
    joins: number;
    apart: boolean;
    held: boolean;
    seq?: number;
    id: number;
    end: number;
    queue: Message[];
    own: Map<number, number>;
};
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
export declare class ChatError extends Error {
    code: string;
    field: string | undefined;
    retryAfterMs: number | undefined;
    /** Of a send: pass it to another try, and the server keeps the message once. */
    nonce: string | undefined;
    /** @param {string} code @param {string} message @param {{field?: string, retryAfterMs?: number, nonce?: string}} [more] */
    constructor(code: string, message: string, { field, retryAfterMs, nonce }?: {
        field?: string;
        retryAfterMs?: number;
        nonce?: string;
    });
}
/** 128 random bits. Not `crypto.randomUUID`: pages on plain http, other than localhost, do not have it. */
export declare function newNonce(): string;
/** Whose token it is, where it says so in the way that the server reads it. @param {string} token @returns {number | undefined} */
export declare function userOf(token: string): number | undefined;
/** @param {Options} [options] */
export declare function createChat(options?: Options): Chat;
declare class Chat {
    #private;
    /** @param {Options} options */
    constructor(options: Options);
    get state(): State;
    get rooms(): string[];
    /** What waits to be sent or is on its way, in this order. @returns {Waiting[]} */
    get outbox(): Waiting[];
    /** Up to which message of which log everything has been told. @returns {{epoch: string, lastId: number}} */
    get cursor(): {
        epoch: string;
        lastId: number;
    };
    /**
     * @template {keyof Events} T
     * @param {T} type @param {(data: Events[T]) => void} handler
     * @returns {() => void} stops listening
     */
    on<T extends keyof Events>(type: T, handler: (data: Events[T]) => void): () => void;
    /** Opens the connection and keeps it open until `close`. @returns {Promise<Welcome>} settled at the first welcome, or refusal */
    connect(): Promise<Welcome>;
    close(): void;
    /** Ends the wait between two attempts; of an attempt that is under way and fails, the wait after it. @returns {void} */
    reconnectNow(): void;
    /** What is written after the answer's `lastSeq` arrives as `message`. @param {string} room @returns {Promise<Joined>} */
    join(room: string): Promise<Joined>;
    /** @param {string} room @returns {Promise<{room: string, status: 'ok'}>} */
    leave(room: string): Promise<{
        room: string;
        status: 'ok';
    }>;
    /**
     * Resolves once the message is stored, however many connections that takes. Rejects when the server refuses it, or when
     * the client is closed: after `disconnected` the outcome is unknown, and with the error's `nonce` another try is the
     * same message.
     * @param {string} room @param {string} content @param {{nonce?: string}} [options] @returns {Promise<Receipt & {room: string}>}
     */
    send(room: string, content: string, { nonce }?: {
        nonce?: string;
    }): Promise<Receipt & {
        room: string;
    }>;
    /** Like `send`. @param {number} to @param {string} content @param {{nonce?: string}} [options] @returns {Promise<Receipt & {to: number}>} */
    dm(to: number, content: string, { nonce }?: {
        nonce?: string;
    }): Promise<Receipt & {
        to: number;
    }>;
    /** Takes back a send that is not on its way at the moment; its promise rejects with `cancelled`. @param {string} nonce @returns {boolean} */
    cancel(nonce: string): boolean;
    /** @param {Place} place @param {Page} [page] @returns {Promise<History>} */
    history(place: Place, page?: Page): Promise<History>;
    /** @param {string} room @param {Page} [page] @returns {Promise<History>} */
    roomHistory(room: string, { limit, before, after }?: Page): Promise<History>;
    /** @param {number} userId @param {Page} [page] @returns {Promise<History>} */
    dmHistory(userId: number, { limit, before, after }?: Page): Promise<History>;
    /** @returns {Promise<Welcome>} */
    hello(): Promise<Welcome>;
    /** Renews the open connection, and the ones after it. @param {string} token @returns {Promise<{exp: number}>} */
    auth(token: string): Promise<{
        exp: number;
    }>;
    /**
     * This user's next token, from whoever does not use `getToken`: the next connections are made with it, and an open one is
     * renewed. It does not connect a client that is closed; one of another user is refused, as `getToken` is.
     * @param {string} token
     */
    setToken(token: string): void;
    /** @returns {Promise<void>} */
    ping(): Promise<void>;
}
export {};
