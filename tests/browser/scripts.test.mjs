/** The client library against a model of the server, through random scripts of everything that can go wrong between them. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { createChat } from '../../static/chat-client.js';
import { settle } from './fakes.mjs';
import { ModelServer, pairOf, seeded } from './model.mjs';

const SCRIPTS = 200;
const STEPS = 400;
const RESUME_MAX = 12; // small, so that scripts reach it
const HEALED_WITHIN_MS = 5_000;
const ROOMS = ['general', 'garden', 'attic'];
const CODES = [1000, 1001, 1006, 1011, 1012, 1013, 4401]; // 1009 is the fault of what was sent, and refuses that

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 }));

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

/** Somebody with a client, who writes down everything that it tells. */
class User {
  #model;
  sent = []; // {content, room?, to?, outcome?}
  rooms = new Map(); // what is shown of each
  dms = new Map();
  resets = 0;
  problems = [];

  constructor(model, id) {
    this.#model = model;
    this.id = id;
    const Socket = model.socketClass();
    this.sockets = 0;
    const user = this;
    this.chat = createChat({
      url: 'ws://model/ws',
      getToken: () => String(id),
      WebSocket: class extends Socket { constructor(...given) { super(...given); user.sockets += 1; } },
      fetch: async () => ({ status: 200, json: async () => ({}) }),
    });
    this.chat.on('message', (message) => this.#show(this.rooms.get(message.room), message));
    this.chat.on('dm', (message) => this.#show(this.direct(message.fromUser === id ? message.to : message.fromUser), message));
    this.chat.on('reset', (reset) => this.#reset(reset));
    this.chat.on('welcome', ({ lastId }) => { this.since ??= lastId; });
    this.chat.on('refused', ({ message }) => this.problems.push(`refused: ${message}`));
  }

  direct(peer) {
    if (!this.dms.has(peer)) this.dms.set(peer, { messages: [] });
    return this.dms.get(peer);
  }

  #show(place, message) {
    if (!place) return this.problems.push(`a message of ${message.room}, which is not joined`);
    const expected = place.next;
    if (expected !== undefined && message.room !== undefined && message.seq !== expected) {
      this.problems.push(`${message.room}: number ${message.seq} where ${expected} was next`);
    }
    if (message.seq <= (place.messages.at(-1)?.seq ?? 0)) this.problems.push(`number ${message.seq} is late or a repeat`);
    place.messages.push(message);
    place.next = message.seq + 1;
  }

  #reset({ rooms, dms }) {
    this.resets += 1;
    for (const { room, messages, lastSeq } of rooms) this.rooms.set(room, { messages: [...messages], next: lastSeq + 1 });
    for (const { with: peer, messages, lastSeq } of dms) this.dms.set(peer, { messages: [...messages], next: lastSeq + 1 });
  }

  async join(room) {
    if (this.rooms.has(room)) return;
    try {
      const { lastSeq } = await this.chat.join(room);
      if (!this.rooms.has(room)) this.rooms.set(room, { messages: [], next: lastSeq + 1 });
    } catch {
      // Cut off: it is tried again when all is well.
    }
  }

  leave(room) {
    this.rooms.delete(room);
    this.chat.leave(room).catch(() => {});
  }

  write(content, { room, to }) {
    const entry = { content, room, to, outcomes: [] };
    this.sent.push(entry);
    const promise = room === undefined ? this.chat.dm(to, content) : this.chat.send(room, content);
    promise.then((receipt) => entry.outcomes.push(receipt), (error) => entry.outcomes.push(error));
  }
}

async function play(seed) {
  const random = seeded(seed);
  mock.method(Math, 'random', random);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const chance = (probability) => random() < probability;
  const model = new ModelServer({ random, resumeMax: RESUME_MAX });
  const users = [1, 2, 3].slice(0, 2 + Number(chance(0.5))).map((id) => new User(model, id));
  const faulty = chance(0.5); // whether the server is too busy now and then, or loses frames
  const restores = chance(0.3);
  const lost = new Set();
  const expired = new Set();
  let written = 0;
  let epochs = 1;

  model.fault = (type, _user, { room }) => {
    if (!faulty || !chance(0.05)) return undefined;
    if (type === 'message' || type === 'dm') return 'rate_limited';
    if (type === 'room_history' || type === 'dm_history' || type === 'resume_room' || (type === 'join' && room)) return pick(['unavailable', 'rate_limited']);
    return undefined;
  };

  const write = (user) => {
    const place = chance(0.6) ? { room: pick(ROOMS) } : { to: pick(users).id };
    user.write(`message ${written += 1} of user ${user.id}`, place);
  };
  const kill = (code) => { for (const connection of [...model.connections]) connection.end(code); };
  const deliver = (connection = pick(model.connections)) => {
    if (!connection) return;
    if (!connection.opened) connection.open();
    else if (chance(0.5)) connection.stepServer();
    else connection.stepClient();
  };

  for (const user of users) user.chat.connect();
  await settle();
  for (let step = 0; step < STEPS; step += 1) {
    const dice = random();
    if (dice < 0.72) for (let some = 0; some < 4; some += 1) deliver();
    else if (dice < 0.86) write(pick(users));
    else if (dice < 0.90) pick(users).join(pick(ROOMS));
    else if (dice < 0.905) pick(users).leave(pick(ROOMS));
    else if (dice < 0.95) mock.timers.tick(Math.floor(random() * 300));
    else if (dice < 0.975) {
      const connection = pick(model.connections);
      const code = pick(CODES);
      // A token that was fetched a moment ago and is refused too ends a client for good: not more than once each.
      if (connection && !(code === 4401 && expired.has(connection.user))) connection.end(code);
      if (connection && code === 4401) expired.add(connection.user);
    }
    else if (dice < 0.98) {
      const connection = pick(model.connections);
      if (connection && !connection.deaf) {
        connection.deaf = true;
        model.cause(connection.user);
      }
    } else if (dice < 0.985) { if (faulty) pick(model.connections)?.lose(); }
    else if (dice < 0.995) {
      kill(1006);
      model.up = !model.up;
    } else if (restores && chance(0.5)) {
      kill(1006);
      for (const { content } of model.restore(Math.floor(random() * (model.log.length + 1)), `epoch ${epochs += 1}`)) lost.add(content);
    }
    await settle();
  }

  // All is well again. Whoever waits for the next attempt is told that the network is back, as a browser does.
  model.up = true;
  model.fault = () => undefined;
  for (const connection of [...model.connections]) if (connection.deaf) connection.end(1006);
  await settle();
  const quiet = () => model.connections.length === users.length && model.connections.every(({ idle }) => idle)
    && users.every(({ chat }) => chat.state === 'open');
  /** Until nothing moves any more; in milliseconds of the clients' time. */
  const heal = async () => {
    let spent = 0;
    for (let still = 0; still < 3;) {
      for (const connection of [...model.connections]) {
        if (!connection.opened) connection.open();
        while (connection.toServer.length > 0 || connection.toClient.length > 0) {
          connection.stepServer();
          connection.stepClient();
          await settle();
        }
      }
      still = quiet() ? still + 1 : 0;
      assert.ok(spent < 40_000, 'it does not come to rest');
      mock.timers.tick(100);
      spent += 100;
      await settle();
    }
    return spent;
  };
  for (const { chat } of users) chat.reconnectNow();
  await settle();
  await heal();
  const before = users.map(({ sockets }) => sockets);

  // One more message everywhere shows every gap that is left.
  for (const user of users) for (const room of ROOMS) user.join(room);
  await heal();
  for (const user of users) {
    for (const room of ROOMS) user.write(`last of user ${user.id} in ${room}`, { room });
    for (const { id } of users) user.write(`last of user ${user.id} to ${id}`, { to: id });
  }
  const spent = await heal();
  assert.ok(spent <= HEALED_WITHIN_MS, `it took ${spent} ms to settle`);
  assert.deepEqual(users.map(({ sockets }) => sockets), before, 'no new connection without a cause');

  const contents = model.log.map(({ content }) => content);
  assert.deepEqual(model.problems, []);
  assert.equal(new Set(contents).size, contents.length, 'something is stored twice');
  for (const user of users) {
    check(model, user, users, lost);
    user.chat.close();
  }
  mock.timers.tick(60_000);
  await settle();
  assert.deepEqual(users.map(({ sockets }) => sockets), before, 'nobody connects again after `close`');
}

function check(model, user, users, lost) {
  const who = `user ${user.id}`;
  assert.deepEqual(user.problems, [], who);
  const ends = model.causes.get(user.id) ?? 0;
  assert.ok(user.sockets <= 1 + ends, `${who} made ${user.sockets} connections for ${ends} ends`);

  for (const { content, outcomes } of user.sent) {
    assert.equal(outcomes.length, 1, `${who}: "${content}" has ${outcomes.length} outcomes`);
    assert.ok(outcomes[0].status === 'ok', `${who}: "${content}" was refused: ${outcomes[0].message}`);
    const stored = model.log.filter((message) => message.content === content);
    assert.equal(stored.length, lost.has(content) ? Math.min(stored.length, 1) : 1, `${who}: "${content}" is stored ${stored.length} times`);
  }
  // In the order in which they were sent, and not only within a conversation. A restored backup may bring back a prefix only.
  const mine = model.log.filter(({ fromUser }) => fromUser === user.id).map(({ content }) => content);
  assert.deepEqual(mine, user.sent.map(({ content }) => content).filter((content) => mine.includes(content)), `${who}: the order`);

  for (const room of ROOMS) {
    const shown = user.rooms.get(room).messages;
    const all = model.scope({ room });
    assert.deepEqual(shown.map(({ id }) => id), all.slice(all.length - shown.length).map(({ id }) => id), `${who} in ${room}`);
  }
  for (const { id: peer } of users) {
    const all = model.scope({ pair: pairOf(user.id, peer) });
    const shown = user.dms.get(peer)?.messages ?? [];
    const receipts = user.sent.filter(({ to }) => to === peer).map(({ outcomes }) => outcomes[0]);
    const stored = receipts.filter(({ id, nonce }) => all.some((message) => message.id === id && message.nonce === nonce));
    const known = new Map([...stored.map(({ id, seq }) => [id, seq]), ...shown.map(({ id, seq }) => [id, seq])]);
    if (user.resets === 0) {
      assert.equal(known.size, shown.length + stored.length, `${who} with ${peer}: an own message came as an event too`);
      // Before the first welcome there are only one's own: what waited was sent on a connection that had none yet.
      const since = all.filter(({ id }) => id > user.since || stored.some((receipt) => receipt.id === id)).map(({ id }) => id);
      assert.deepEqual([...known.keys()].sort((a, b) => a - b), since, `${who} with ${peer}`);
    } else if (shown.length > 0) {
      const from = all.filter(({ seq }) => seq >= shown[0].seq).map(({ id }) => id);
      const seen = [...known].filter(([, seq]) => seq >= shown[0].seq).map(([id]) => id).sort((a, b) => a - b);
      assert.deepEqual(seen, from, `${who} with ${peer}, after a reset`);
    }
  }
}

test(`${SCRIPTS} random scripts of cuts, restarts, refusals and restored backups all converge`, async (t) => {
  const first = Number(process.env.SEED ?? Math.floor(Date.now() % 1_000_000) + process.pid);
  const scripts = process.env.SEED ? 1 : Number(process.env.SCRIPTS ?? SCRIPTS);
  for (let seed = first; seed < first + scripts; seed += 1) {
    try {
      await play(seed);
    } catch (error) {
      error.message = `SEED=${seed}: ${error.message}`;
      throw error;
    }
    mock.restoreAll();
    mock.timers.reset();
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  }
  t.diagnostic(`seeds ${first} to ${first + scripts - 1}`);
});
