/** The client library against the real server: random scripts of sends, reloads and cuts, while the server is killed now and then. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { createChat } from '../../static/chat-client.js';
import { memory } from './fakes.mjs';
import { Server, TornNetwork } from './harness.mjs';
import { seeded } from './model.mjs';

const SCRIPTS = 200;
const AT_ONCE = 10;
const STEPS = 40;
const KILLS = 5;
const HEALS_WITHIN_MS = 30_000;

let server;
let people;
let isOver = false; // a script failed, and the others are not worth going on with

before(async () => {
  server = await Server.start('--rate-limit', '0');
  people = await Promise.all(Array.from({ length: 3 * AT_ONCE }, async () => {
    const answer = await fetch(`${server.url}api/v1/auth/guest`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
    return answer.json();
  }));
});

after(() => server?.stop());

/** A socket as a browser has it: an error is no more than what precedes its end. */
class Socket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { perMessageDeflate: false });
    this.on('error', () => {});
  }
}

/** Somebody whose page is reloaded now and then; what waits to be sent is all that outlives it. */
class User {
  #network;
  #token;
  #storage = memory();
  rooms = new Set();
  shown = new Map(); // of this page: room or peer to messages, in the order in which they came
  written = []; // {nonce, content}, in the order of the calls
  stored = new Map(); // nonce to receipts
  problems = [];
  resets = 0;

  constructor(network, { token, user }) {
    this.#network = network;
    this.#token = token;
    this.id = user.id;
    this.load();
  }

  load() {
    this.shown = new Map();
    this.resets = 0;
    const url = `${this.#network.url.replace('http', 'ws')}ws`;
    const chat = createChat({ url, getToken: () => this.#token, WebSocket: Socket, storage: this.#storage });
    this.chat = chat;
    chat.on('message', (message) => this.#show(message.room, message));
    chat.on('dm', (message) => this.#show(message.fromUser === this.id ? message.to : message.fromUser, message));
    chat.on('reset', ({ rooms, dms }) => {
      this.resets += 1;
      for (const { room, messages } of rooms) this.shown.set(room, [...messages]);
      for (const { with: peer, messages } of dms) this.shown.set(peer, [...messages]);
    });
    chat.on('stored', ({ nonce, receipt }) => this.stored.set(nonce, [...(this.stored.get(nonce) ?? []), receipt]));
    chat.on('unsent', ({ content, error }) => error.code === 'disconnected' || this.problems.push(`"${content}" was refused: ${error.message}`));
    chat.on('refused', ({ message }) => this.problems.push(`refused: ${message}`));
    chat.connect();
    for (const room of this.rooms) this.join(room);
  }

  async reload() {
    await sleep(0); // a page goes between two tasks
    this.chat.close();
    this.load();
  }

  #show(place, message) {
    const shown = this.shown.get(place) ?? [];
    const last = shown.at(-1);
    if (last && typeof place === 'string' && message.seq !== last.seq + 1) this.problems.push(`${place}: number ${message.seq} after ${last.seq}`);
    if (last && message.seq <= last.seq) this.problems.push(`${place}: number ${message.seq} is late or a repeat`);
    this.shown.set(place, [...shown, message]);
  }

  async join(room) {
    this.rooms.add(room);
    const { chat } = this;
    await chat.join(room).catch(() => {}); // cut off: it is tried again when all is well
  }

  write(content, { room, to }) {
    const nonce = `${content} of ${this.id}`;
    this.written.push({ nonce, content });
    (room === undefined ? this.chat.dm(to, content, { nonce }) : this.chat.send(room, content, { nonce })).catch(() => {});
  }

  /** Everything there is, asked for page by page. */
  async all(place) {
    const found = [];
    for (let more = true; more;) {
      const page = await this.chat.history(place, { limit: 500, after: found.at(-1)?.id ?? 0 }).catch(({ code, message }) => {
        assert.equal(code, 'disconnected', message);
      });
      if (page) found.push(...page.messages);
      else await sleep(20); // another script had the server killed
      more = page?.hasMore ?? !isOver;
    }
    return found;
  }
}

/** Until `holds`, or the reason why not is thrown. */
async function until(holds, words) {
  const end = Date.now() + HEALS_WITHIN_MS;
  while (!holds()) {
    assert.ok(!isOver, 'another script failed');
    assert.ok(Date.now() < end, `${words()} after ${HEALS_WITHIN_MS} ms`);
    await sleep(10);
  }
}

async function play(t, number, seed, mine) {
  const random = seeded(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const network = await TornNetwork.before(server);
  const users = mine.map((person) => new User(network, person));
  t.after(() => {
    for (const { chat } of users) chat.close();
    network.close();
  });
  const rooms = [`room ${number} a`, `room ${number} b`];
  const counts = { tears: 0, reloads: 0, resets: 0 };
  let texts = 0;
  for (const user of users) user.join(rooms[0]);
  for (let step = 0; step < STEPS && !isOver; step += 1) {
    const dice = random();
    const user = pick(users);
    if (dice < 0.6) {
      texts += 1;
      user.write(`${number}: ${texts}`, random() < 0.7 ? { room: pick(rooms) } : { to: pick(users).id });
    } else if (dice < 0.65) user.join(pick(rooms));
    else if (dice < 0.7) {
      counts.reloads += 1;
      await user.reload();
    } else if (dice < 0.8) {
      counts.tears += 1;
      network.tear();
    } else if (dice < 0.83) {
      network.cut();
      await sleep(random() * 50);
      network.restore();
    } else await sleep(random() * 30);
    if (random() < 0.3) for (const { chat } of users) chat.reconnectNow(); // as when a browser says that the network is back
  }

  // All is well again.
  for (const { chat } of users) chat.reconnectNow();
  await until(() => users.every(({ chat }) => chat.state === 'open'), () => 'not connected');
  for (const user of users) for (const room of rooms) {
    await until(() => user.chat.rooms.includes(room) || !user.join(room), () => `${room} cannot be joined`);
    user.write(`${number}: last in ${room}`, { room });
  }
  for (const user of users) for (const { id } of users) user.write(`${number}: last to ${id}`, { to: id });
  await until(() => users.every(({ chat }) => chat.outbox.length === 0), () => 'not everything is stored');
  for (const user of users) await check(user, users, rooms, number);
  for (const { chat, resets } of users) {
    chat.close();
    counts.resets += resets;
  }
  network.close();
  return { ...counts, texts };
}

async function check(user, users, rooms, number) {
  const who = `user ${user.id}`;
  const log = [];
  for (const room of rooms) {
    const all = await user.all({ room });
    await until(() => user.shown.get(room)?.at(-1)?.seq === all.at(-1).seq, () => `${who} has not seen all of ${room}`);
    const shown = user.shown.get(room).map(({ id }) => id);
    assert.deepEqual(shown, all.slice(-shown.length).map(({ id }) => id), `${who} in ${room}`);
    log.push(...all);
  }
  for (const { id: peer } of users) {
    const all = (await user.all({ with: peer })).filter(({ content }) => content.startsWith(`${number}: `));
    const incoming = all.filter(({ fromUser }) => fromUser !== user.id);
    const lastIn = incoming.at(-1);
    if (lastIn) await until(() => (user.shown.get(peer)?.at(-1)?.seq ?? 0) >= lastIn.seq, () => `${who} has not seen all of ${peer}`);
    const shown = (user.shown.get(peer) ?? []).filter(({ fromUser }) => fromUser === peer).map(({ id }) => id);
    if (peer !== user.id) assert.deepEqual(shown, incoming.map(({ id }) => id).slice(-shown.length), `${who} with ${peer}`);
    log.push(...all);
  }
  assert.deepEqual(user.problems, [], who);
  const own = log.filter(({ fromUser }) => fromUser === user.id).sort((a, b) => a.id - b.id);
  assert.deepEqual(own.map(({ nonce }) => nonce), user.written.map(({ nonce }) => nonce), `${who}: each stored once, in the order of the calls`);
  for (const { nonce, id } of own) assert.deepEqual(user.stored.get(nonce)?.map((receipt) => receipt.id), [id], `${who}: one receipt for ${nonce}`);
}

test(`${SCRIPTS} random scripts under cuts, reloads and kills of the server all converge`, async (t) => {
  const first = Number(process.env.SEED ?? Math.floor(Date.now() % 1_000_000) + process.pid);
  const total = { tears: 0, reloads: 0, resets: 0, texts: 0 };
  let next = 0;
  let kills = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async (_, lane) => {
    const mine = people.slice(3 * lane, 3 * lane + 3);
    while (next < SCRIPTS && !isOver) {
      const number = next++;
      if (number > 0 && number % Math.ceil(SCRIPTS / (KILLS + 1)) === 0) {
        kills += 1;
        await server.kill();
        await server.run();
      }
      try {
        const counts = await play(t, number, first + number, mine.slice(0, 2 + (number % 2)));
        for (const [name, count] of Object.entries(counts)) total[name] += count;
      } catch (error) {
        isOver = true;
        error.message = `SEED=${first}, script ${number}: ${error.message}`;
        throw error;
      }
    }
  }));
  assert.equal(kills, KILLS);
  t.diagnostic(`${total.texts} texts, ${total.tears} tears, ${total.reloads} reloads, ${total.resets} resets, ${kills} kills; seeds from ${first}`);
});

test('a DM comes at once to a client that has connected and asked for nothing', async () => {
  const url = `${server.url.replace('http', 'ws')}ws`;
  const connect = async ({ token }) => {
    const chat = createChat({ url, token, WebSocket: Socket });
    await chat.connect();
    return chat;
  };
  const writer = await connect(people[0]);
  const waits = [];
  for (let number = 1; number <= 3; number += 1) { // a machine that is busy is late once, the server's second is every time
    const reader = await connect(people[1]);
    const came = new Promise((resolve) => { reader.on('dm', resolve); });
    const asked = performance.now();
    await writer.dm(people[1].user.id, `at once, ${number}`);
    assert.equal((await came).content, `at once, ${number}`);
    waits.push(performance.now() - asked);
    reader.close();
  }
  writer.close();
  assert.ok(Math.min(...waits) < 700, `they took ${waits} ms`);
});
