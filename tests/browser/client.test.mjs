/** The client library against a WebSocket and a clock of our own: no server and no browser. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { createChat } from '../../static/chat-client.js';

/** Lets everything that is already settled run; the clock stands still meanwhile. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** @type {FakeSocket[]} */
let sockets;

class FakeSocket {
  sent = [];
  closed = false;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    sockets.push(this);
  }

  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; }

  // The server's side.
  open() { this.onopen?.({}); }
  end(code = 1006, reason = '') { this.onclose?.({ code, reason }); }
  say(frame) { this.onmessage?.({ data: JSON.stringify(frame) }); }
  answer(type, data, more) { this.say({ type: REPLIES[type], data, ref: this.request(type).ref, ...more }); }
  request(type) { return this.sent.findLast((frame) => frame.type === type); }
}

const REPLIES = {
  hello: 'welcome', join: 'join_ack', message: 'message_sent', dm: 'dm_sent', room_history: 'room_history',
  leave: 'leave_ack', auth: 'auth_ack', ping: 'pong',
};

const welcome = (epoch = 'e1') => ({ userId: 7, username: 'ann', role: null, server: 'test', epoch, lastId: 0, limits: {} });
const message = (id) => ({ id, seq: id, fromUser: 1, username: 'bob', content: `m${id}`, timestamp: '2026-01-15T12:00:00.123Z', room: 'general' });
const last = () => sockets.at(-1);
const answerWith = (status, body = {}) => async () => ({ status, json: async () => body });

function client(options = {}) {
  return createChat({ url: 'ws://chat.test/ws', token: 'a.b.c', WebSocket: FakeSocket, fetch: answerWith(200), ...options });
}

/** A client that is connected and has been welcomed. */
async function connected(options) {
  const chat = client(options);
  const ready = chat.connect();
  await settle();
  last().open();
  last().answer('hello', welcome());
  await ready;
  return chat;
}

async function joined(chat, room = 'general') {
  const promise = chat.join(room);
  last().answer('join', { room, status: 'ok', lastId: 0, lastSeq: 0 });
  return promise;
}

function record(chat, type) {
  const seen = [];
  chat.on(type, (data) => seen.push(data));
  return seen;
}

beforeEach(() => {
  sockets = [];
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
});

afterEach(() => mock.timers.reset());

test('the token travels as a subprotocol, and hello is the first request', async () => {
  await connected();
  assert.equal(last().url, 'ws://chat.test/ws');
  assert.deepEqual(last().protocols, ['chat.v1', 'bearer.a.b.c']);
  assert.equal(last().sent[0].type, 'hello');
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
  const first = chat.send('general', 'one');
  const second = chat.send('general', 'two');
  const [a, b] = last().sent.slice(-2);
  assert.equal(typeof a.ref, 'number');
  assert.notEqual(a.nonce, b.nonce);
  last().say({ type: 'message_sent', data: { id: 2, seq: 2 }, ref: b.ref });
  last().say({ type: 'message_sent', data: { id: 1, seq: 1 }, ref: a.ref });
  assert.equal((await first).id, 1);
  assert.equal((await second).id, 2);

  const history = chat.roomHistory('general', { limit: 10, after: 5 });
  assert.deepEqual({ ...last().request('room_history'), ref: 0 }, { type: 'room_history', room: 'general', limit: 10, after: 5, ref: 0 });
  last().answer('room_history', [message(6)], { hasMore: true });
  assert.deepEqual(await history, { messages: [message(6)], hasMore: true });
});

test('an error with a ref rejects its request; one without is an event', async () => {
  const chat = await connected();
  const errors = record(chat, 'error');
  const promise = chat.dm(99, 'hello');
  const data = { code: 'rate_limited', message: 'too fast', field: 'to', retryAfterMs: 250 };
  last().say({ type: 'error', message: 'too fast', data, ref: last().request('dm').ref });
  await assert.rejects(promise, { name: 'ChatError', code: 'rate_limited', message: 'too fast', field: 'to', retryAfterMs: 250 });
  assert.equal(errors.length, 0);
  last().say({ type: 'error', message: 'no JSON', data: { code: 'invalid_json', message: 'no JSON' } });
  assert.equal(errors[0].code, 'invalid_json');
});

test('a send that loses its connection can be sent again with the same nonce', async () => {
  const chat = await connected();
  const lost = chat.send('general', 'hello').catch((error) => error);
  const { nonce } = last().request('message');
  last().end();
  const error = await lost;
  assert.equal(error.code, 'disconnected');
  assert.equal(error.nonce, nonce);
  await assert.rejects(chat.send('general', 'hello', { nonce }), { code: 'disconnected' });
  mock.timers.tick(500);
  await settle();
  last().open();
  chat.send('general', 'hello', { nonce: error.nonce }).catch(() => {});
  assert.equal(last().request('message').nonce, nonce);
  chat.close();
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

test('live messages come in id order and each once', async () => {
  const chat = await connected();
  const seen = record(chat, 'message');
  for (const id of [1, 2, 2, 1, 3]) last().say({ type: 'message', data: message(id) });
  last().say({ type: 'dm', data: { ...message(3), room: undefined, to: 7 } });
  assert.deepEqual(seen.map(({ id }) => id), [1, 2, 3]);
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

test('a new connection says hello, joins every room again, and tells when it is there', async () => {
  const chat = await connected();
  await joined(chat, 'general');
  await joined(chat, 'garden');
  await joined(chat, 'attic');
  chat.leave('attic').catch(() => {});
  const reconnected = record(chat, 'reconnected');
  last().end();
  mock.timers.tick(500);
  await settle();
  last().open();
  assert.deepEqual(last().sent.map(({ type, room }) => room ?? type), ['hello', 'general', 'garden']);
  last().answer('hello', welcome());
  for (const { room, ref } of last().sent.slice(1)) {
    assert.equal(reconnected.length, 0);
    last().say({ type: 'join_ack', data: { room, status: 'ok', lastId: 9, lastSeq: 4 }, ref });
  }
  await settle();
  assert.equal(reconnected.length, 1);
  assert.equal(reconnected[0].newLog, false);
  assert.deepEqual(reconnected[0].rooms.map(({ room }) => room), ['general', 'garden']);
  chat.close();
});

test('a room that is closed to us meanwhile is an error, and does not hold up the others', async () => {
  const chat = await connected();
  await joined(chat, 'general');
  await joined(chat, 'garden');
  const errors = record(chat, 'error');
  const reconnected = record(chat, 'reconnected');
  last().end();
  mock.timers.tick(500);
  await settle();
  last().open();
  const [, general, garden] = last().sent;
  last().answer('hello', welcome());
  last().say({ type: 'error', message: 'no', data: { code: 'forbidden', message: 'no' }, ref: general.ref });
  last().say({ type: 'join_ack', data: { room: 'garden', status: 'ok', lastId: 0, lastSeq: 0 }, ref: garden.ref });
  await settle();
  assert.equal(errors[0].code, 'forbidden');
  assert.equal(reconnected.length, 1);
  assert.deepEqual(chat.rooms, ['garden']);
  chat.close();
});

test('another epoch is another log: its smaller ids are no repeats', async () => {
  const chat = await connected();
  const seen = record(chat, 'message');
  const reconnected = record(chat, 'reconnected');
  last().say({ type: 'message', data: message(50) });
  last().end();
  mock.timers.tick(500);
  await settle();
  last().open();
  last().answer('hello', welcome('e2'));
  await settle();
  last().say({ type: 'message', data: message(3) });
  assert.equal(reconnected[0].newLog, true);
  assert.deepEqual(seen.map(({ id }) => id), [50, 3]);
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
  mock.timers.tick(24_999);
  assert.equal(dead.request('ping'), undefined);
  mock.timers.tick(1);
  dead.answer('ping');
  mock.timers.tick(25_000);
  assert.equal(dead.sent.filter(({ type }) => type === 'ping').length, 2);
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
