/**
 * A small server in memory that keeps the protocol, and a network between it and its clients that can stop at any point.
 * Nothing happens by itself: whoever holds it moves one frame at a time, in either direction.
 */

const TIMESTAMP = '2026-01-15T12:00:00.123Z';
const HISTORY_MAX = 500;
const REPLIES = { join: 'join_ack', leave: 'leave_ack', message: 'message_sent', dm: 'dm_sent', auth: 'auth_ack', ping: 'pong', hello: 'welcome', resume: 'resume_ack' };

export class ModelServer {
  /** Everything that is stored, in order. */ log = [];
  epoch = 'epoch 1';
  up = true;
  /** @type {Connection[]} those that are open, or opening */ connections = [];
  /** How often each user's connection ended for a reason that was not the client's. */ causes = new Map();
  /** Where each user's client must stand: what it was told, and everything that has reached it since. */ cursors = new Map();
  problems = [];
  /** Asked before a request is handled: the code of a refusal, or nothing. */ fault = () => undefined;
  #nextId = 1;
  #random;
  #resumeMax;

  /** @param {{random(): number, resumeMax: number}} options */
  constructor({ random, resumeMax }) {
    this.#random = random;
    this.#resumeMax = resumeMax;
  }

  /** The class that a client takes for a WebSocket; the token is the user's id. */
  socketClass() {
    const server = this;
    return class {
      constructor(_url, protocols) {
        this.connection = new Connection(server, this, Number(protocols[1].split('.')[1]));
        server.connections.push(this.connection);
      }

      send(text) { this.connection.toServer.push(text); }
      close() { this.connection.leave(); }
    };
  }

  cause(user) { this.causes.set(user, (this.causes.get(user) ?? 0) + 1); }

  get lastId() { return this.log.at(-1)?.id ?? 0; }

  /** The messages of a room, or of the DMs between two users. */
  scope({ room, pair }) {
    return this.log.filter((message) => (room === undefined
      ? message.room === undefined && pairOf(message.fromUser, message.to) === pair
      : message.room === room));
  }

  /** A backup is put in place of the log: only the first `count` messages are left, and ids are given out again. */
  restore(count, epoch) {
    const lost = this.log.splice(count);
    this.epoch = epoch;
    this.#nextId = this.lastId + 1;
    return lost;
  }

  handle(connection, { type, ref, ...fields }) {
    const { user } = connection;
    connection.greeted = true;
    const code = this.fault(type, user, fields);
    if (code) return connection.reply({ type: 'error', message: code, data: { code, message: code, ...(code === 'rate_limited' && { retryAfterMs: 50 }) }, ref });
    const data = this[`on_${type}`](connection, fields, ref);
    if (data) connection.reply({ type: REPLIES[type], data, ref }, type === 'message' || type === 'dm');
  }

  on_hello({ user }) {
    return { userId: user, username: `user ${user}`, role: null, server: 'model', epoch: this.epoch, lastId: this.lastId, limits: {} };
  }

  on_join(connection, { room }) {
    connection.rooms.add(room);
    return { room, status: 'ok', lastId: this.lastId, lastSeq: this.scope({ room }).length };
  }

  on_leave(connection, { room }) {
    connection.rooms.delete(room);
    return { room, status: 'ok' };
  }

  on_ping() { return {}; }

  on_message(connection, { room, content, nonce }) {
    return { room, ...this.#store(connection, { room, content, nonce }) };
  }

  on_dm(connection, { to, content, nonce }) {
    return { to, ...this.#store(connection, { to, content, nonce }) };
  }

  #store(connection, { room, to, content, nonce }) {
    const { user } = connection;
    const known = this.log.find((message) => message.fromUser === user && message.nonce === nonce);
    if (known) return { status: 'ok', id: known.id, seq: known.seq, timestamp: TIMESTAMP, nonce, duplicate: true };
    const seq = this.scope({ room, pair: pairOf(user, to) }).length + 1;
    const message = { id: this.#nextId++, fromUser: user, username: `user ${user}`, content, timestamp: TIMESTAMP, seq, nonce, ...(room === undefined ? { to } : { room }) };
    this.log.push(message);
    for (const other of this.connections) {
      const receives = room === undefined ? other !== connection && (other.user === to || other.user === user) : other.rooms.has(room);
      if (receives && other.greeted) other.push(message);
    }
    return { status: 'ok', id: message.id, seq, timestamp: TIMESTAMP, nonce };
  }

  on_room_history(connection, { room, ...page }, ref) {
    connection.reply({ type: 'room_history', room, ...window(this.scope({ room }), page), ref });
  }

  on_dm_history(connection, { with: peer, ...page }, ref) {
    connection.reply({ type: 'dm_history', with: peer, ...window(this.scope({ pair: pairOf(connection.user, peer) }), page), ref });
  }

  on_resume(connection, { after, rooms, epoch }, ref) {
    const { user } = connection;
    if (after !== this.cursors.get(user)) this.problems.push(`user ${user} resumes after ${after}, and has ${this.cursors.get(user)}`);
    const refused = [];
    for (const room of rooms) {
      const code = this.fault('resume_room', user, { room });
      if (code) refused.push({ room, code });
      else connection.rooms.add(room);
    }
    const missed = this.log.filter(({ id, room, fromUser, to }) => id > after
      && (room === undefined ? fromUser === user || to === user : connection.rooms.has(room)));
    const reason = (epoch !== undefined && epoch !== this.epoch && 'epoch') || (after > this.lastId && 'ahead')
      || (after < connection.pushed && 'behind') || (missed.length > this.#resumeMax && 'too_many');
    const data = { epoch: this.epoch, lastId: this.lastId, rooms: [...connection.rooms], replayed: reason ? 0 : missed.length, complete: !reason };
    connection.reply({ type: 'resume_ack', data: { ...data, ...(reason && { reason }), ...(refused.length && { refused }) }, ref });
    if (!reason) for (const message of missed) connection.push(message);
  }

  /** Where in the queue an acknowledgement goes: it may overtake messages, but no reply. */
  overtaking(queue) {
    let place = queue.length;
    while (place > 0 && queue[place - 1].type in { message: 1, dm: 1 } && this.#random() < 0.3) place -= 1;
    return place;
  }
}

class Connection {
  /** @type {string[]} */ toServer = [];
  /** @type {any[]} */ toClient = [];
  rooms = new Set();
  greeted = false;
  opened = false;
  live = false; // what comes now continues what came before
  deaf = false; // takes everything and gives nothing: a connection that is dead without saying so
  pushed = 0; // the newest message that was sent here
  #server;
  #socket;

  constructor(server, socket, user) {
    this.#server = server;
    this.#socket = socket;
    this.user = user;
  }

  get idle() { return this.opened && (this.deaf || (this.toServer.length === 0 && this.toClient.length === 0)); }

  reply(frame, mayOvertake = false) {
    const place = mayOvertake ? this.#server.overtaking(this.toClient) : this.toClient.length;
    this.toClient.splice(place, 0, frame);
  }

  push(message) {
    this.pushed = Math.max(this.pushed, message.id);
    this.toClient.push({ type: message.room === undefined ? 'dm' : 'message', data: message });
  }

  /** The handshake, or its failure. */
  open() {
    if (!this.#server.up) return this.end(1006);
    this.opened = true;
    this.#socket.onopen?.({});
  }

  /** One request arrives and is handled. */
  stepServer() {
    if (this.deaf || this.toServer.length === 0) return;
    this.#server.handle(this, JSON.parse(this.toServer.shift()));
  }

  /** One frame arrives at the client. */
  stepClient() {
    if (this.deaf || this.toClient.length === 0) return;
    const frame = this.toClient.shift();
    this.#note(frame);
    this.#socket.onmessage?.({ data: JSON.stringify(frame) });
  }

  #note({ type, data }) {
    const { cursors } = this.#server;
    const isFirst = type === 'welcome' && !cursors.has(this.user);
    if (isFirst || type === 'resume_ack') this.live = true;
    if (isFirst || (type === 'resume_ack' && !data.complete)) cursors.set(this.user, data.lastId);
    if (this.live && (type === 'message' || type === 'dm')) cursors.set(this.user, Math.max(cursors.get(this.user), data.id));
  }

  /** Loses what was on its way to the client: one message of a room. */
  lose() {
    const place = this.toClient.findIndex(({ type }) => type === 'message');
    if (place >= 0) this.toClient.splice(place, 1);
  }

  end(code, reason = '') {
    this.leave();
    this.#server.cause(this.user);
    this.#socket.onclose?.({ code, reason });
  }

  leave() {
    const place = this.#server.connections.indexOf(this);
    if (place >= 0) this.#server.connections.splice(place, 1);
  }
}

function window(messages, { limit = 50, before, after }) {
  const bound = Math.min(limit, HISTORY_MAX);
  const found = messages.filter(({ id }) => (after === undefined || id > after) && (before === undefined || id < before));
  const data = after === undefined ? found.slice(-bound) : found.slice(0, bound);
  return { data, hasMore: found.length > data.length };
}

export const pairOf = (one, other) => `${Math.min(one, other)} and ${Math.max(one, other)}`;

/** Random numbers that the same seed gives again (mulberry32). */
export function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
