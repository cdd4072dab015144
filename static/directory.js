/**
 * Who and what there is on this server: rooms, people with who is online, and one's direct conversations, also those that
 * came while one was away. Asked gently: at once after connecting, then now and then, and never while the page is hidden.
 * A server without these lists costs the lists and nothing else.
 */

import { rooms, users, dms } from './api.js';

const EVERY_MS = 12_000;

/**
 * @param {{token(): string, signal: AbortSignal, changed(lists: {rooms: any[], people: any[], dms: any[]}): void}} options
 */
export function createDirectory({ token, signal, changed }) {
  let timer = 0;
  let asking = false;

  async function ask() {
    clearTimeout(timer);
    if (asking || document.hidden || signal.aborted) return;
    asking = true;
    const lists = await Promise.all([rooms, users, dms].map((list) => list(token()).catch(() => null)));
    asking = false;
    if (signal.aborted) return;
    const [{ rooms: allRooms = null } = {}, { users: people = null } = {}, { dms: talks = null } = {}] = lists.map((list) => list ?? {});
    changed({ rooms: allRooms, people, dms: talks });
    timer = setTimeout(ask, EVERY_MS);
  }

  document.addEventListener('visibilitychange', ask, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  return { ask };
}
