/**
 * What this tab remembers: who is signed in, and where they were. It lives in sessionStorage, so that a reload keeps
 * it, two tabs can be two people, and closing the tab forgets the token. Each person of the page has a key of their own.
 * What waits to be sent is kept beside it by the client; what the server refused is in here, until it is sent or discarded.
 */

import { ApiError, refresh } from './api.js';
import { forget, keep, recallJson } from './storage.js';

const SAVE_AFTER_MS = 250;
const FINAL = new Set(['unauthorized', 'forbidden']); // asking again would not help

/** @typedef {{token: string, user: {id: number, username: string}, rooms: string[], dms: {id: number, name: string}[],
 *   read: Record<string, number>, drafts: Record<string, string>, active: string, mode?: string, epoch?: string, closed?: Record<string, number>,
 *   failed?: {room?: string, to?: number, nonce: string, content: string, at: number, reason: string}[]}} Session `mode`: of the server,
 *   when it was signed in to; `epoch`: of the log whose numbers are in here; `closed`: direct conversations that were put away, and how long they were: they come back with the next message;
 *   `failed`: what was refused, in the order of the refusals */

/** @param {string} key @returns {Session | null} */
export function loadSession(key) {
  const session = recallJson(key);
  return isSession(session) ? /** @type {Session} */ (session) : null;
}

const isText = (value) => typeof value === 'string';
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isUser = (value) => Number.isSafeInteger(value) && value > 0;
const isListOf = (isItem) => (value) => Array.isArray(value) && value.every((item) => isItem(item));
const isMapOf = (isItem) => (value) => isObject(value) && Object.values(value).every((item) => isItem(item));
const orNothing = (isIt) => (value) => value === undefined || isIt(value);

/** What every session has, and what it may have. */
const SHAPE = {
  token: (value) => isText(value) && value !== '',
  user: (value) => isObject(value) && isUser(value.id) && isText(value.username),
  rooms: isListOf(isText),
  dms: isListOf((dm) => isObject(dm) && isUser(dm.id) && isText(dm.name)),
  read: isMapOf(Number.isFinite),
  drafts: isMapOf(isText),
  active: isText,
  mode: orNothing(isText),
  epoch: orNothing(isText),
  closed: orNothing(isMapOf(Number.isFinite)),
  failed: orNothing(isListOf((send) => isObject(send) && isText(send.nonce) && isText(send.content) && (send.to === undefined ? isText(send.room) : isUser(send.to)))),
};

/** What another version left, or a hand, is no session: half of one would stop the page. */
const isSession = (value) => isObject(value) && Object.entries(SHAPE).every(([name, isIt]) => isIt(value[name]));

/** @returns {Session} */
export function newSession(token, user, mode) {
  return { token, user, mode, rooms: ['general'], dms: [], read: {}, drafts: {}, active: 'room:general', failed: [] };
}

/**
 * Remembers `session` as it is then, and whenever the returned function has been called, a moment later or when the page
 * goes, whichever comes first: in a busy room every message changes what is read.
 * @param {string} key @param {Session} session @param {AbortSignal} signal
 */
export function keepSession(key, session, signal) {
  let timer = 0;
  const save = () => {
    clearTimeout(timer);
    timer = 0;
    if (!signal.aborted) keep(key, JSON.stringify(session));
  };
  keep(key, JSON.stringify(session));
  addEventListener('pagehide', save, { signal });
  return () => { timer ||= setTimeout(save, SAVE_AFTER_MS); };
}

/** Where the client keeps what waits to be sent. @param {string} key */
export const outboxKey = (key) => `${key}:outbox`;

/** Also what waits to be sent: whoever signs out does not speak any more. What others left here waits for them. */
export function forgetSession(key, { user }) {
  forget(key);
  const waiting = recallJson(outboxKey(key));
  const left = Array.isArray(waiting) ? waiting.filter((send) => send?.user !== user.id) : [];
  if (left.length > 0) keep(outboxKey(key), JSON.stringify(left));
  else forget(outboxKey(key));
}

/** The token alone: the same person may come back, and what they wrote waits for them. */
export function endSession(key) {
  forget(key);
}

/**
 * What the client asks for a token. A server that makes its tokens itself gives a fresh one for a good one; another
 * backend's tokens are renewed there, so for them there is nothing to ask.
 * @param {Session} session @param {() => void} remember
 */
export function tokensOf(session, remember) {
  if (session.mode !== 'standalone') return undefined;
  return async ({ fresh }) => {
    if (!fresh) return session.token;
    try {
      const { token } = await refresh(session.token);
      session.token = token;
      remember();
    } catch (error) {
      // With the same token the client tries once, and then tells the server's reason. Anything else may pass.
      if (!(error instanceof ApiError && FINAL.has(error.code))) throw error;
    }
    return session.token;
  };
}
