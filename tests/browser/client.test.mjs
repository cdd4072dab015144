/** The client library against a WebSocket and a clock of our own: no server and no browser. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { answerWith, client, connected, joined, last, message, record, settle, sockets, welcome } from './fakes.mjs';

beforeEach(() => {
  sockets.length = 0;
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
});

afterEach(() => mock.timers.reset());

test('the token travels as a subprotocol, and hello is the first request', async () => {
  await connected();
  assert.equal(last().url, 'ws://chat.test/ws');
  assert.deepEqual(last().protocols, ['chat.v1', 'bearer.a.b.c']);
  assert.equal(last().sent[0].type, 'hello');
});

test('a token with characters that no subprotocol can have travels in the query', async () => {
  const chat = client({ token: 'a+b/c==&' });
  chat.connect();
  await settle();
  assert.deepEqual([last().url, last().protocols], ['ws://chat.test/ws?token=a%2Bb%2Fc%3D%3D%26', ['chat.v1']]);
});

test('a client that asks for nothing says so, since the server pushes nothing before a request that is no `hello`', async () => {
  const chat = client();
  chat.connect();
  await settle();
  last().open();
  assert.deepEqual(last().sent.map(({ type }) => type), ['hello', 'ping']);
  last().answer('hello', welcome());
  last().answer('ping');
  last().end();
  await settle();
  mock.timers.tick(1_000);
  await settle();
  last().open();
  assert.deepEqual(last().sent.map(({ type }) => type), ['resume', 'hello']);
  chat.close();
});

test('the states follow the connection', async () => {
  const chat = client();
  const states = record(chat, 'state');
  assert.equal(chat.state, 'idle');
  chat.connect();
  await settle();
  last().open();
  last().end(1001, 'stopping');
  await settle();
  chat.close();
  assert.deepEqual(states.map(({ state }) => state), ['connecting', 'open', 'reconnecting', 'reconnecting', 'closed']);
});

test('a request resolves with the data of the reply that carries its ref', async () => {
  const chat = await connected();
  const first = chat.join('garden');
  const second = chat.join('attic');
  const [a, b] = last().sent.slice(-2);
  assert.equal(typeof a.ref, 'number');
  last().say({ type: 'join_ack', data: { room: 'attic', status: 'ok', lastId: 2, lastSeq: 2 }, ref: b.ref });
  last().say({ type: 'join_ack', data: { room: 'garden', status: 'ok', lastId: 2, lastSeq: 1 }, ref: a.ref });
  assert.equal((await first).lastSeq, 1);
  assert.equal((await second).lastSeq, 2);

  const history = chat.roomHistory('general', { limit: 10, after: 5 });
  assert.deepEqual({ ...last().request('room_history'), ref: 0 }, { type: 'room_history', room: 'general', limit: 10, after: 5, ref: 0 });
  last().answer('room_history', [message(6)], { hasMore: true });
  assert.deepEqual(await history, { messages: [message(6)], hasMore: true });
});

test('an error with a ref rejects its request; one without is an event', async () => {
  const chat = await connected();
  const errors = record(chat, 'error');
  const promise = chat.join('garden');
  const data = { code: 'rate_limited', message: 'too fast', field: 'room', retryAfterMs: 250 };
  last().refuse('join', data);
  await assert.rejects(promise, { name: 'ChatError', code: 'rate_limited', message: 'too fast', field: 'room', retryAfterMs: 250 });
  assert.equal(errors.length, 0);
  last().say({ type: 'error', message: 'no JSON', data: { code: 'invalid_json', message: 'no JSON' } });
  assert.equal(errors[0].code, 'invalid_json');
});

test('a request without an answer is over after 15 s', async () => {
  const chat = await connected();
  const promise = chat.leave('general').catch((error) => error);
  mock.timers.tick(14_999);
  last().say({ type: 'pong' });
  mock.timers.tick(1);
  assert.equal((await promise).code, 'timeout');
  chat.close();
});

test('the wait before an attempt is between nothing and a bound that doubles up to 30 s', async (t) => {
  const chat = client();
  const states = record(chat, 'state');
  t.mock.method(Math, 'random', () => 0.999);
  chat.connect();
  const waits = [];
  for (let attempt = 0; attempt < 9; attempt += 1) {
    await settle();
    last().end();
    await settle();
    waits.push(Math.round((states.at(-1).retryAt - Date.now()) / 0.999));
    mock.timers.tick(30_000);
  }
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);

  Math.random.mock.mockImplementation(() => 0);
  await settle();
  last().end();
  await settle();
  assert.equal(states.at(-1).retryAt, Date.now(), 'full jitter reaches down to no wait at all');
  chat.close();
});

test('ten quiet seconds on a connection forgive the failures before it', async (t) => {
  t.mock.method(Math, 'random', () => 0.999);
  const chat = client();
  const states = record(chat, 'state');
  chat.connect();
  for (let attempt = 0; attempt < 4; attempt += 1) {
    await settle();
    last().end();
    await settle();
    mock.timers.tick(30_000);
  }
  await settle();
  last().open();
  mock.timers.tick(10_000);
  last().end();
  await settle();
  assert.ok(states.at(-1).retryAt - Date.now() <= 500);
  chat.close();
});

test('a refused handshake is explained by the server and not tried again', async () => {
  const asked = [];
  const fetch = async (url, { headers }) => {
    asked.push([String(url), headers.authorization]);
    return { status: 401, json: async () => ({ error: { code: 'unauthorized', message: 'token expired 3 min ago' } }) };
  };
  const chat = client({ fetch });
  const refused = record(chat, 'refused');
  const ready = chat.connect();
  await settle();
  last().end();
  await settle();
  assert.deepEqual(asked, [['http://chat.test/api/v1/auth/me', 'Bearer a.b.c']]);
  assert.deepEqual(refused, [{ code: 'unauthorized', message: 'token expired 3 min ago' }]);
  assert.equal(chat.state, 'closed');
  await assert.rejects(ready, { message: 'token expired 3 min ago' });
  mock.timers.tick(120_000);
  await settle();
  assert.equal(sockets.length, 1);
});

test('somebody whom the backend does not let in is told, and neither asks again nor for another token', async () => {
  let given = 0;
  const error = { code: 'forbidden', message: 'the backend says: account suspended' };
  const fetch = async () => ({ status: 403, json: async () => ({ error }) });
  const chat = client({ getToken: () => `token${++given}`, fetch });
  const refused = record(chat, 'refused');
  chat.connect().catch(() => {});
  await settle();
  last().end();
  await settle();
  mock.timers.tick(120_000);
  await settle();
  assert.deepEqual([chat.state, refused, given, sockets.length], ['closed', [error], 1, 1]);
});

test('a server that is away is tried again', async () => {
  const chat = client({ fetch: async () => { throw new TypeError('fetch failed'); } });
  chat.connect();
  await settle();
  last().end();
  await settle();
  mock.timers.tick(500);
  await settle();
  assert.equal(sockets.length, 2);
  assert.equal(chat.state, 'reconnecting');
  chat.close();
});

test('an expired token asks once for a fresh one, and being removed ends it', async () => {
  const asks = [];
  const getToken = ({ fresh }) => { asks.push(fresh); return fresh ? 'fresh' : 'old'; };
  const chat = await connected({ token: undefined, getToken });
  last().end(4401, 'token expired');
  await settle();
  assert.deepEqual(asks, [false, true]);
  assert.deepEqual(last().protocols, ['chat.v1', 'bearer.fresh']);
  last().open();
  last().end(4401, 'token expired');
  await settle();
  assert.equal(chat.state, 'closed', 'a fresh token that is refused too is not asked for again');

  const removed = await connected();
  const refused = record(removed, 'refused');
  last().end(4403, 'removed by a moderator');
  await settle();
  assert.equal(removed.state, 'closed');
  assert.deepEqual(refused, [{ code: 'forbidden', message: 'removed by a moderator' }]);
});

test('a silent connection is probed after 25 s and given up 10 s later', async () => {
  const chat = await connected();
  const dead = last();
  const pings = dead.requests('ping').length;
  mock.timers.tick(24_999);
  assert.equal(dead.requests('ping').length, pings);
  mock.timers.tick(1);
  dead.answer('ping');
  mock.timers.tick(25_000);
  assert.equal(dead.requests('ping').length, pings + 2);
  mock.timers.tick(10_000);
  await settle();
  assert.ok(dead.closed);
  assert.equal(chat.state, 'reconnecting');
  mock.timers.tick(500);
  await settle();
  assert.equal(sockets.length, 2);
  chat.close();
});

test('`reconnectNow` ends the wait', async () => {
  const chat = await connected();
  last().end();
  await settle();
  chat.reconnectNow();
  await settle();
  assert.equal(sockets.length, 2);
  chat.reconnectNow();
  await settle();
  assert.equal(sockets.length, 2, 'an attempt that is under way is not doubled');
  chat.close();
});

test('who is told during an attempt that the network is back tries again at once when that attempt fails, and once', async (t) => {
  const listeners = new Map();
  globalThis.addEventListener = (type, handler) => listeners.set(type, handler);
  globalThis.removeEventListener = () => {};
  t.after(() => { delete globalThis.addEventListener; delete globalThis.removeEventListener; });
  t.mock.method(Math, 'random', () => 0.999);
  let explain = null; // ends the question why a handshake failed
  const chat = client({ fetch: () => new Promise((_, fail) => { explain = () => fail(new TypeError('fetch failed')); }) });
  const fails = async ({ told }) => {
    const before = sockets.length;
    if (told === 'in the handshake') listeners.get('online')();
    last().end();
    if (told === 'afterwards') listeners.get('online')();
    explain();
    await settle();
    mock.timers.tick(1);
    await settle();
    return sockets.length - before;
  };
  chat.connect().catch(() => {});
  await settle();
  for (const told of ['in the handshake', 'afterwards']) {
    assert.equal(await fails({ told }), 1, told);
    assert.equal(await fails({}), 0, 'and then it waits as before');
    mock.timers.tick(30_000);
    await settle();
  }
  listeners.get('online')();
  last().open();
  last().answer('hello', welcome());
  assert.equal(await fails({}), 0, 'a connection that was made needs no hurry when it ends');
  chat.close();
});

test('to a connection whose end is on its way nothing is sent, and what was to be sent goes out on the next one', async () => {
  const chat = await connected();
  const sent = chat.send('general', 'one');
  last().end();
  await settle();
  mock.timers.tick(500);
  await settle();
  const ending = last();
  ending.readyState = 2; // a browser knows of the end before it says so
  ending.open();
  await assert.rejects(chat.join('garden'), { code: 'disconnected' });
  assert.deepEqual(ending.sent, []);
  ending.end(1001, 'stopping');
  await settle();
  mock.timers.tick(1_000);
  await settle();
  last().open();
  last().answer('hello', welcome());
  last().answer('message', { status: 'ok', id: 1, seq: 1, timestamp: '2026-01-15T12:00:00.123Z' });
  assert.equal((await sent).id, 1);
  chat.close();
});

test('`close` at any moment of an attempt leaves no connection behind', async () => {
  for (const options of [{}, { token: undefined, getToken: () => 'a.b.c' }, { token: undefined, getToken: async () => 'a.b.c' }]) {
    for (let moment = 0; moment < 30; moment += 1) {
      const chat = client(options);
      chat.connect();
      for (let step = 0; step < moment; step += 1) await null;
      chat.close();
      await settle();
      assert.ok(sockets.every(({ closed }) => closed), `${moment} steps after the beginning`);
    }
  }
  assert.ok(sockets.length > 0, 'some of them had begun');
});

test('after `close` nothing is tried again', async () => {
  const chat = await connected();
  const socket = last();
  chat.close();
  assert.ok(socket.closed);
  mock.timers.tick(120_000);
  await settle();
  assert.equal(sockets.length, 1);
  assert.equal(chat.state, 'closed');
});

test('the raw frames show both directions and never a token', async () => {
  const chat = await connected();
  const frames = record(chat, 'frame');
  const renewed = chat.auth('secret.new.token');
  last().answer('auth', { exp: 4_000_000_000 });
  assert.deepEqual(await renewed, { exp: 4_000_000_000 });
  assert.deepEqual(frames.map(({ direction }) => direction), ['out', 'in']);
  assert.equal(last().request('auth').token, 'secret.new.token');
  assert.ok(!frames.some(({ text }) => text.includes('secret')));
  assert.equal(frames[1].bytes, Buffer.byteLength(frames[1].text));

  last().end();
  mock.timers.tick(500);
  await settle();
  assert.deepEqual(last().protocols, ['chat.v1', 'bearer.secret.new.token'], 'the next connection uses the new token');
  chat.close();
});

test('a handler that throws does not stop the others, and one that is taken off hears nothing more', async (t) => {
  const thrown = [];
  const chat = await connected();
  await joined(chat);
  const later = t.mock.method(globalThis, 'queueMicrotask', (callback) => {
    try { callback(); } catch (error) { thrown.push(error.message); }
  });
  const seen = [];
  const stop = chat.on('message', () => { throw new Error('mine'); });
  const off = chat.on('message', ({ id }) => seen.push(id));
  last().say({ type: 'message', data: message(1) });
  stop();
  off();
  last().say({ type: 'message', data: message(2) });
  later.mock.restore();
  chat.close();
  assert.deepEqual(seen, [1]);
  assert.deepEqual(thrown, ['mine'], 'the error is reported, not swallowed');
});

test('a `url` that is relative to the page is made whole, and comes back after a cut', async (t) => {
  t.after(() => { delete globalThis.location; });
  for (const [page, url, whole] of [['http://chat.test/app/#top', '/ws', 'ws://chat.test/ws'], ['https://chat.test:8443/app/', '../ws?a=1', 'wss://chat.test:8443/ws?a=1'],
    ['http://chat.test/', 'https://other.test/ws', 'wss://other.test/ws'], ['http://chat.test/', undefined, 'ws://chat.test/ws']]) {
    globalThis.location = new URL(page);
    const asked = [];
    const chat = client({ url, fetch: async (address) => { asked.push(String(address)); return answerWith(200)(); } });
    chat.connect();
    await settle();
    assert.equal(last().url, whole);
    const before = sockets.length;
    last().end();
    await settle();
    mock.timers.tick(1_000);
    await settle();
    assert.equal(sockets.length, before + 1, 'another attempt');
    assert.equal(last().url, whole);
    assert.deepEqual(asked, [new URL('/api/v1/auth/me', whole.replace('ws', 'http')).href]);
    chat.close();
  }
});

test('a `url` that leads nowhere is told at once', () => {
  assert.throws(() => client({ url: '/ws' }), /`url` is none, or relative where there is no page/);
  for (const url of ['', 'ws://', 'http://a b/']) assert.throws(() => client({ url }), TypeError, url);
  for (const url of ['ftp://chat.test/ws', 'file:///ws', 'javascript:0']) assert.throws(() => client({ url }), /no address of a WebSocket/, url);
});
