/**
 * Who and what there is on this server: its rooms, its people and who of them is online, and one's own direct
 * conversations, also those that came while one was away. Asked at once after (re)connecting and when the page is seen
 * again, soon when somebody speaks who was not known to be here, else gently; one request at a time; never while the
 * page is hidden or there is no connection. What the server does not tell, or not now, stays as it was. It draws nothing.
 */

import { exchange } from './api.js';
import { People } from './people.js';

const EVERY_MS = 10_000;
/** Between two rounds that nobody has asked for, however many people begin to speak. */
const SOON_MS = 2_000;
/** An answer that takes longer is as good as none. */
const PATIENCE_MS = 10_000;
const PAGE = 100;
const MORE = 20; // that "Show more" adds
const BOUND = { rooms: 5, people: 12, dms: 20 }; // of what is shown until one asks for more

/**
 * @typedef {{name: string, memberCount: number, lastMessage: import('./chat-client.js').Message | null}} Room
 * @typedef {'rooms' | 'people' | 'dms'} Kind
 * @typedef {ReturnType<typeof createDirectory>} Directory
 */

/**
 * @param {{chat: import('./chat-client.js').ChatClient, session: import('./session.js').Session,
 *   conversations: import('./conversations.js').Conversations, changed(): void, signal: AbortSignal}} options
 */
export function createDirectory({ chat, session, conversations, changed, signal }) {
  const people = new People(session.user.id);
  const bounds = { ...BOUND };
  const hasMore = { rooms: false, people: false, dms: false };
  const failing = { rooms: false, people: false, dms: false };
  let rooms = /** @type {Room[] | null} */ (null); // null: the server has not told
  let absent = new Set(); // what this server does not have, until the next connection
  let timer = 0;
  let lookedAt = -Infinity;
  let asking = false;
  let again = false; // somebody wanted to know while an answer was under way
  let soonDue = false;
  let dmsDue = true; // live ones come by themselves, so they are asked for once a connection

  const awake = () => !signal.aborted && !document.hidden && chat.state === 'open';
  const joined = () => new Set(conversations.list.filter(({ kind }) => kind === 'room').map(({ room }) => room));
  const others = () => { const mine = joined(); return (rooms ?? []).filter(({ name }) => !mine.has(name)); };

  /** @returns {Promise<any>} what was answered, null for any other outcome */
  async function ask(kind, path) {
    if (!awake() || absent.has(kind)) return null;
    try {
      const { status, body } = await exchange(path, { token: session.token, signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) });
      if (status === 404) absent.add(kind);
      return status === 200 ? body : null;
    } catch {
      return null; // the next time it may
    }
  }

  /** Page after page until there is `enough`. @returns {Promise<{entries: any[], hasMore: boolean} | null>} */
  async function walk(kind, path, field, cursorOf, enough) {
    const entries = [];
    let cursor = '';
    for (;;) {
      const page = await ask(kind, `${path}limit=${PAGE}${cursor}`);
      const isTold = Array.isArray(page?.[field]);
      if (isTold || awake()) failing[kind] = !isTold && !absent.has(kind);
      if (!isTold) return null;
      entries.push(...page[field]);
      if (!page.hasMore || page[field].length === 0 || enough(entries)) return { entries, hasMore: Boolean(page.hasMore) };
      cursor = `&${cursorOf(entries.at(-1))}`;
    }
  }

  async function askForPeople() {
    const round = people.asking();
    const users = (path) => walk('people', path, 'users', ({ id }) => `after=${id}`, (entries) => entries.length > bounds.people);
    const known = await users('/api/v1/users?');
    if (!known) return;
    // Where there are more than that, those who are online may be among the rest.
    const online = known.hasMore ? await users('/api/v1/users?online=true&') : { entries: [], hasMore: false };
    if (!online) return;
    people.told(round, [...known.entries, ...online.entries], !online.hasMore);
    hasMore.people = known.hasMore;
  }

  async function askForRooms() {
    const mine = joined();
    const answer = await walk('rooms', '/api/v1/rooms?', 'rooms', ({ name }) => `after=${encodeURIComponent(name)}`,
      (entries) => entries.filter(({ name }) => !mine.has(name)).length > bounds.rooms);
    if (!answer) return;
    rooms = answer.entries;
    hasMore.rooms = answer.hasMore;
    await conversations.toldOfRooms(rooms);
  }

  async function askForDms() {
    const answer = await walk('dms', '/api/v1/dms?', 'dms', ({ lastId }) => `before=${lastId}`, (entries) => entries.length > bounds.dms);
    if (!answer) return;
    dmsDue = false;
    hasMore.dms = answer.hasMore;
    await conversations.toldOfDms(answer.entries);
  }

  async function look() {
    clearTimeout(timer);
    again = true;
    if (asking) return;
    asking = true;
    while (again && awake()) {
      again = false;
      soonDue = false;
      lookedAt = Date.now();
      if (dmsDue) await askForDms();
      for (const part of [askForRooms, askForPeople]) { // as they stand on the page, so that nothing moves down
        await part();
        if (!signal.aborted) changed();
      }
    }
    asking = false;
    later();
  }

  function later() {
    clearTimeout(timer);
    const next = lookedAt + (soonDue ? SOON_MS : EVERY_MS);
    if (awake()) timer = setTimeout(look, Math.max(0, next - Date.now()));
  }

  /** At once, but no two rounds in a row: what comes meanwhile is one question. */
  function soon() {
    soonDue = true;
    if (!asking) later();
  }

  chat.on('state', ({ state }) => {
    clearTimeout(timer);
    if (state !== 'open') return;
    absent = new Set();
    dmsDue = true;
    look();
  });
  chat.on('reset', () => { // what was skipped may have been the first message of somebody
    dmsDue = true;
    soon();
  });
  document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : soon()), { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));

  /** As many as are to be shown, and whether there are more. */
  const bounded = (kind, all) => ({ shown: all.slice(0, bounds[kind]), hasMore: all.length > bounds[kind] || hasMore[kind] });

  return {
    /** The rooms that one has not joined; null as long as the server has not told. */
    get rooms() { return rooms && bounded('rooms', others()); },
    /** The others: those who are online first. */
    get people() { return people.isKnown ? bounded('people', people.list()) : null; },
    dms: (all) => bounded('dms', all),
    /** Whether the last question was not answered; there will be another. @param {Kind} kind */
    isFailing: (kind) => failing[kind],
    /** A message that has just come: whoever wrote it is here. */
    heard(message) {
      if (!people.heard(message)) return;
      changed();
      soon();
    },
    /** @param {Kind} kind */
    more(kind) {
      bounds[kind] += MORE;
      dmsDue ||= kind === 'dms';
      changed();
      look();
    },
  };
}
