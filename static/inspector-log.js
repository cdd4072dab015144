/**
 * The frames that went over the wire, of everybody on this page, the newest of them: what each is about, and which reply
 * belongs to which request. In memory only, and bounded in number and in bytes. Pure data: no page in here.
 */

export const LOG_MAX_FRAMES = 1_000;
export const LOG_MAX_BYTES = 16 * 1024 * 1024;
const GIST_CHARS = 120;
const WAITING_MAX = 2_000; // requests without a reply, of which each connection forgets its own when it ends

/**
 * @typedef {{key: string, seq: number, id: number}} Arrival `key` names a conversation: `room:general`, `dm:7`
 * @typedef {{n: number, who: string, at: number, note: string}} Note
 * @typedef {import('./wire.js').Recorded & {n: number, who: string, at: number, clock: number, type: string,
 *   places: string[], ids: number[], nonces: string[], gist: string, bad: boolean, arrival?: Arrival, receipt?: Arrival,
 *   page?: Arrival[], partner?: Entry, roundTripMs?: number, note?: undefined}} Entry `partner`: the request of a reply, and the reverse
 * @typedef {{who?: string, direction?: string, type?: string, place?: string, text?: string,
 *   message?: {id?: number, nonce?: string} | null}} Filter
 */

export class FrameLog {
  /** @type {(Entry | Note)[]} oldest first */ entries = [];
  #bytes = 0;
  #next = 1;
  /** @type {Map<string, Entry[]>} requests that wait for a reply */ #waiting = new Map();
  #listeners = new Set();

  /** @param {string} who @param {number} me @param {import('./wire.js').Recorded} frame */
  record(who, me, frame) {
    /** @type {Entry} */
    const entry = { ...frame, n: this.#next++, who, at: Date.now(), clock: performance.now(), ...summary(frame.text, frame.direction, me) };
    const { ref } = entry;
    if (ref !== undefined && !entry.lost) this.#pair(`${who} ${frame.socket} `, typeof ref === 'string' ? JSON.stringify(ref) : say(ref), entry);
    this.#add(entry);
    return entry;
  }

  /** Something that is no frame but explains those around it. @param {string} who @param {string} note */
  note(who, note) {
    this.#add({ n: this.#next++, who, at: Date.now(), note });
  }

  /** A connection's end: nothing on it is answered any more. @param {string} who @param {number} socket */
  ended(who, socket) {
    for (const key of this.#waiting.keys()) if (key.startsWith(`${who} ${socket} `)) this.#waiting.delete(key);
  }

  /** Forgets everything, or what is of one person. @param {string} [who] */
  clear(who) {
    this.entries = who === undefined ? [] : this.entries.filter((entry) => entry.who !== who);
    this.#bytes = this.entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
  }

  /** @param {(entry: Entry | Note) => void} listener @returns {() => void} stops it */
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #pair(prefix, ref, entry) {
    const key = prefix + ref;
    const waiting = this.#waiting.get(key);
    if (entry.direction === 'out') {
      this.#waiting.set(key, [...(waiting ?? []), entry]);
      if (this.#waiting.size > WAITING_MAX) this.#waiting.delete(this.#waiting.keys().next().value);
      return;
    }
    const request = waiting?.shift();
    if (!request) return;
    if (waiting.length === 0) this.#waiting.delete(key);
    request.partner = entry;
    Object.assign(entry, { partner: request, roundTripMs: entry.clock - request.clock });
    // An error names no place of its own, and a message that was refused has no other frame.
    if (entry.places.length === 0) entry.places = request.places;
  }

  #add(entry) {
    this.entries.push(entry);
    this.#bytes += sizeOf(entry);
    while (this.entries.length > LOG_MAX_FRAMES || (this.#bytes > LOG_MAX_BYTES && this.entries.length > 1)) {
      const gone = this.entries.shift();
      this.#bytes -= sizeOf(gone);
      if (gone.partner) gone.partner.partner = undefined; // else pairs would keep each other
    }
    for (const listener of [...this.#listeners]) listener(entry);
  }
}

const sizeOf = (entry) => entry.bytes ?? 0;

/** Whether the filter lets it through. Notes go with the frames of their person, where nothing narrower is asked for. */
export function matches(entry, { who = '', direction = '', type = '', place = '', text = '', message = null }) {
  if (who && entry.who !== who) return false;
  if (entry.note !== undefined) return !direction && !type && !place && !message && contains(entry.note, text);
  if (direction && entry.direction !== direction) return false;
  if (type && entry.type !== type) return false;
  if (place && !entry.places.includes(place)) return false;
  if (message && !speaksOf(entry, message) && !(entry.partner && speaksOf(entry.partner, message))) return false;
  return contains(entry.text, text);
}

const contains = (text, part) => !part || text.toLowerCase().includes(part.toLowerCase());
const speaksOf = ({ ids, nonces }, { id, nonce }) => (id !== undefined && ids.includes(id)) || (Boolean(nonce) && nonces.includes(nonce));

/** What a frame is about, read from what came: anything may be anything. */
function summary(text, direction, me) {
  const frame = parse(text);
  const data = object(frame?.data);
  const list = Array.isArray(frame?.data) ? frame.data.filter((item) => item && typeof item === 'object') : null;
  const type = frame && typeof frame === 'object' && frame.type !== undefined ? say(frame.type) : '?';
  const live = direction === 'in' && (type === 'message' || type === 'dm');
  const receipt = type === 'message_sent' || type === 'dm_sent';
  const messages = list ?? (live || receipt ? [data] : []);
  return {
    type,
    ref: frame?.ref ?? undefined,
    places: placesOf(frame, data, live, me),
    ids: messages.map(({ id }) => id),
    nonces: [frame?.nonce, ...messages.map(({ nonce }) => nonce)].filter((nonce) => typeof nonce === 'string'),
    gist: gist(frame, data, list),
    bad: type === 'error' || frame === null,
    arrival: live ? arrival(data, me) : undefined,
    receipt: receipt ? arrival({ ...data, fromUser: me }, me) : undefined,
    page: list ? list.map((message) => arrival(message, me)) : undefined,
  };
}

/** Any value of JSON in words. One that is an object may have a `toString` of its own, and may be deeper than can be written. */
export function say(value) {
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    return JSON.stringify(value);
  } catch {
    return '…';
  }
}

const object = (value) => (value && typeof value === 'object' && !Array.isArray(value) ? value : {});

function arrival({ room, fromUser, to, seq, id }, me) {
  return { key: room === undefined ? `dm:${say(fromUser === me ? to : fromUser)}` : `room:${say(room)}`, seq, id };
}

function placesOf(frame, data, live, me) {
  if (!frame || typeof frame !== 'object') return [];
  if (live && data.room === undefined) return [arrival(data, me).key];
  const rooms = [frame.room, data.room, ...(Array.isArray(frame.rooms) ? frame.rooms : [])];
  const peers = [frame.to, frame.with, data.to];
  const named = (prefix, values) => values.filter((value) => value !== undefined && value !== null).map((value) => `${prefix}:${say(value)}`);
  return [...new Set([...named('room', rooms), ...named('dm', peers)])];
}

/** A frame's most telling value. */
function gist(frame, data, list) {
  if (!frame) return '';
  if (list) return `${list.length} message${list.length === 1 ? '' : 's'}`;
  if (frame.type === 'resume') return `after ${say(frame.after)}`;
  if (frame.type === 'resume_ack') return data.complete ? `${say(data.replayed)} replayed` : say(data.reason ?? '');
  const told = frame.content ?? data.content ?? data.message ?? frame.room ?? data.room ?? frame.to ?? frame.with ?? data.username ?? '';
  return say(told).slice(0, GIST_CHARS);
}

export function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
