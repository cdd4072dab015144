/**
 * What this tab keeps, for every part of the page: sessionStorage where it can be used. A browser may forbid it, and it
 * may be full; then it is kept in memory, so that the page works all the same and only a reload forgets. Nothing throws.
 */

/** @type {Map<string, string>} what could not be stored */ const unstored = new Map();

/** @param {string} key @returns {string | null} */
export function recall(key) {
  try {
    return unstored.get(key) ?? sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} value @returns {boolean} whether it outlives a reload */
export function keep(key, value) {
  try {
    sessionStorage.setItem(key, value);
    unstored.delete(key);
    return true;
  } catch {
    unstored.set(key, value);
    return false;
  }
}

/** @param {string} key */
export function forget(key) {
  unstored.delete(key);
  try {
    sessionStorage.removeItem(key);
  } catch {
    // Where it is forbidden nothing was stored.
  }
}

/** @param {string} key @returns {unknown} null where there is nothing, or what is no JSON */
export function recallJson(key) {
  try {
    return JSON.parse(recall(key) ?? 'null');
  } catch {
    return null;
  }
}

/** For the chat client, which says it when something would not outlive a reload. */
export const storage = {
  getItem: recall,
  removeItem: forget,
  setItem(key, value) { if (!keep(key, value)) throw new Error('this browser keeps nothing more for the page'); },
};
