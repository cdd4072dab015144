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
export declare const KEEP_MESSAGES = 500;
export type ChatClient = import('./chat-client.js').ChatClient;
export type ChatError = import('./chat-client.js').ChatError;
export type Message = import('./chat-client.js').Message;
export type History = import('./chat-client.js').History;
export type Receipt = import('./chat-client.js').Receipt;
export type Waiting = import('./chat-client.js').Waiting;
export type Place = import('./chat-client.js').Place;
export type ChatOptions = import('./chat-client.js').Options & {
    rooms?: readonly string[];
};
export type Problem = {
    readonly code: string;
    readonly message: string;
};
export type Status = 'new' | 'loading' | 'ready' | 'failed';
export type Conversation = Readonly<{
    messages: readonly Message[];
    hasMore: boolean;
    lastSeq: number;
    unread: number;
    status: Status;
    error: Problem | null;
}>;
export type Unstored = Readonly<Waiting & {
    status: 'waiting' | 'failed';
    error: Problem | null;
    restored: boolean;
}>;
export type Me = Readonly<{
    id: number;
    username: string;
    role: string | null;
}>;
export type Actions = {
    send(room: string, text: string): Promise<Receipt>;
    dm(userId: number, text: string): Promise<Receipt>;
    join(room: string): void;
    leave(room: string): void;
    loadEarlier(place: Place): Promise<void>;
    markRead(place: Place): void;
    retry(nonce: string): void;
    discard(nonce: string): void;
    client: ChatClient;
};
export type Snapshot = Readonly<{
    state: import('./chat-client.js').State;
    me: Me | null;
    error: Problem | null;
    rooms: Readonly<Record<string, Conversation>>;
    dms: Readonly<Record<number, Conversation>>;
    outbox: readonly Unstored[];
} & Actions>;
export type Store = {
    subscribe(listener: () => void): () => void;
    getSnapshot(): Snapshot;
    getServerSnapshot(): Snapshot;
    setRooms(rooms: readonly string[]): void;
    setToken(token: string): void;
    close(): void;
    client: ChatClient;
};
export type Line = {
    key: unknown;
    store: Store;
    own: boolean;
    token?: string;
    getToken?: import('./chat-client.js').Options['getToken'];
};
export type Talk = {
    place: Place;
    messages: Message[];
    hasMore: boolean;
    lastSeq: number;
    unread: number;
    status: Status;
    error: Problem | null;
    keep: number;
    busy: boolean;
    view: Conversation | null;
};
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
export declare function useChat(source: ChatOptions | ChatClient | Store): Snapshot;
/** @param {ChatOptions | ChatClient} [source] @returns {Store} */
export declare function createChatStore(source?: ChatOptions | ChatClient): Store;
