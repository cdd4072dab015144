/**
 * What this tab remembers: who is signed in, and where they were. It lives in sessionStorage, so that a reload keeps
 * it, two tabs can be two people, and closing the tab forgets the token. Each person of the page has a key of their own.
 */

const SAVE_AFTER_MS = 250;

/** @typedef {{token: string, user: {id: number, username: string}, rooms: string[], dms: {id: number, name: string}[],
 *   read: Record<string, number>, drafts: Record<string, string>, active: string}} Session */

/** @param {string} key @returns {Session | null} */
export function loadSession(key) {
  try {
    const session = JSON.parse(sessionStorage.getItem(key) ?? 'null');
    return session?.token && session.user ? session : null;
  } catch {
    return null;
  }
}

/** @returns {Session} */
export function newSession(token, user) {
  return { token, user, rooms: ['general'], dms: [], read: {}, drafts: {}, active: 'room:general' };
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
    if (!signal.aborted) write(key, session);
  };
  write(key, session);
  addEventListener('pagehide', save, { signal });
  return () => { timer ||= setTimeout(save, SAVE_AFTER_MS); };
}

function write(key, session) {
  try {
    sessionStorage.setItem(key, JSON.stringify(session));
  } catch {
    // A full or forbidden storage costs the reload its memory, and nothing else.
  }
}

export function forgetSession(key) {
  sessionStorage.removeItem(key);
}
