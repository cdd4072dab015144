/** The token: renewed before it expires, whatever the clocks say, and never asked for again and again. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { ME, client, connected, jwt, last, record, settle, sockets, welcome } from './fakes.mjs';

const NOW = 1_000_000_000;
const DAY_MS = 86_400_000;

beforeEach(() => {
  sockets.length = 0;
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: NOW });
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const seconds = (ms) => Math.round(ms / 1000);

/** A token that the server made `age` ago, for `life`, by a clock that is `ahead` of ours. */
const token = (life, { age = 0, ahead = 0 } = {}) => {
  const iat = seconds(Date.now() + ahead - age);
  return jwt({ user_id: ME, iat, exp: iat + seconds(life) });
};

/** Moves the clock in small steps, and lets everything run that is due; the server answers pings, and `auth` where `accepts`. */
async function pass(ms, { step = 1_000, accepts = false } = {}) {
  for (let left = ms; left > 0; left -= step) {
    mock.timers.tick(Math.min(step, left));
    await settle();
    const socket = last();
    for (const frame of socket.sent.slice(socket.answered ?? 0)) {
      if (frame.type === 'ping') socket.say({ type: 'pong', ref: frame.ref });
      if (frame.type === 'auth' && accepts) socket.say({ type: 'auth_ack', data: { exp: expOf(frame.token) }, ref: frame.ref });
    }
    socket.answered = socket.sent.length;
  }
}

const auths = () => last().requests('auth');
const expOf = (text) => JSON.parse(atob(text.split('.')[1])).exp;
/** What the server says to the last `auth`. */
const accept = () => last().answer('auth', { exp: expOf(last().request('auth').token) });

/** Gives tokens of this life, and remembers when each was asked for. */
function issuer(life, more) {
  const asks = [];
  const getToken = ({ fresh }) => {
    asks.push({ fresh, at: Date.now() - NOW });
    return token(life, more);
  };
  return { asks, getToken };
}

for (const [life, early] of [[60_000, 10_000], [300_000, 30_000], [3_600_000, 60_000]]) {
  test(`a token that lives ${life / 1000} s is renewed ${early / 1000} s before its end, on the open connection`, async () => {
    const { asks, getToken } = issuer(life);
    const chat = await connected({ token: undefined, getToken });
    await pass(life - early - 1_000);
    assert.equal(asks.length, 1);
    await pass(1_000);
    assert.deepEqual(asks[1], { fresh: true, at: life - early });
    assert.equal(auths().length, 1);
    accept();
    await settle();
    await pass(life - early);
    assert.equal(auths().length, 2, 'and so is the next one');
    assert.equal(sockets.length, 1);
    chat.close();
  });
}

test('a token of 30 days does not set off a timer at once, and is renewed after 30 days', async () => {
  const { asks, getToken } = issuer(30 * DAY_MS);
  const late = [];
  const { setTimeout: given } = globalThis;
  mock.method(globalThis, 'setTimeout', (callback, ms, ...more) => {
    late.push(ms);
    return given(callback, ms, ...more);
  });
  const chat = await connected({ token: undefined, getToken });
  await settle();
  assert.ok(late.every((ms) => ms <= 2 ** 31 - 1), `${Math.max(...late)} ms is more than a timer can`);
  await pass(30 * DAY_MS - 70_000, { step: 1_800_000 });
  assert.deepEqual(asks.filter(({ fresh }) => fresh), []);
  await pass(20_000);
  assert.equal(asks.filter(({ fresh }) => fresh).length, 1);
  chat.close();
});

test('a failed fetch is tried again until the token has expired, and then the server decides', async () => {
  let fails = true;
  let asks = 0;
  const getToken = ({ fresh }) => {
    if (!fresh) return token(300_000);
    asks += 1;
    if (fails) throw new TypeError('fetch failed');
    return token(300_000);
  };
  mock.method(Math, 'random', () => 0.5);
  const chat = await connected({ token: undefined, getToken });
  const errors = record(chat, 'error');
  await pass(280_000);
  assert.ok(asks >= 3 && asks <= 8, `${asks} tries in 10 s`);
  assert.deepEqual(errors.map(({ code }) => code), ['token'], 'told once');
  fails = false;
  await pass(10_000);
  assert.equal(auths().length, 1);
  accept();
  await settle();
  assert.equal(chat.state, 'open');

  fails = true;
  await pass(900_000);
  const before = asks;
  await pass(900_000);
  assert.equal(asks, before, 'a token that expired long ago is not worth a try');
  assert.equal(errors.length, 3, 'that it failed, and that it was given up');
  chat.close();
});

test('a fresh token that the server refuses is not followed by another one', async () => {
  const { asks, getToken } = issuer(300_000);
  const chat = await connected({ token: undefined, getToken });
  const errors = record(chat, 'error');
  await pass(270_000);
  last().refuse('auth', { code: 'unauthorized', message: 'signature does not match' });
  await pass(29_000);
  assert.equal(asks.length, 2);
  assert.deepEqual(errors.map(({ code }) => code), ['unauthorized']);

  last().end(4401, 'token expired');
  await settle();
  assert.deepEqual(asks.map(({ fresh }) => fresh), [false, true, true], 'but when the old one is over, once');
  last().open();
  last().end(4401, 'token expired');
  await pass(600_000, { step: 10_000 });
  assert.equal(chat.state, 'closed');
  assert.equal(asks.length, 3);
});

test('the same token again is no fresh one, and is not sent', async () => {
  const same = token(300_000);
  let asks = 0;
  const chat = await connected({ token: undefined, getToken: () => { asks += 1; return same; } });
  await pass(600_000);
  assert.deepEqual(auths(), []);
  assert.ok(asks < 15, `${asks} times in ten minutes`);
  assert.equal(chat.state, 'open');
  chat.close();
});

for (const [words, ahead] of [['an hour behind', 3_600_000], ['an hour ahead', -3_600_000]]) {
  test(`a clock that is ${words} renews a token of 15 minutes in time, and no more often`, async () => {
    const { asks, getToken } = issuer(900_000, { ahead });
    const chat = await connected({ token: undefined, getToken });
    await pass(3_600_000, { step: 5_000, accepts: true });
    const fresh = asks.filter((ask) => ask.fresh).map(({ at }) => at);
    assert.ok(fresh.length >= 4 && fresh.length <= 5, `${fresh.length} in an hour`);
    const gaps = fresh.slice(1).map((at, index) => at - fresh[index]);
    assert.ok(gaps.every((gap) => gap < 900_000), `they would have expired: ${gaps}`);
    assert.equal(sockets.length, 1);
    chat.close();
  });
}

test('tokens that hardly live do not make a storm', async () => {
  for (const life of [0, 1_000, 3_000]) {
    sockets.length = 0;
    const { asks, getToken } = issuer(life);
    const chat = await connected({ token: undefined, getToken });
    await pass(30_000, { step: 100, accepts: true });
    assert.ok(asks.length <= 31, `${asks.length} asked for in 30 s`);
    chat.close();
  }
});

test('a machine that slept beyond the end of its token gets a fresh one at the next connection', async () => {
  const { asks, getToken } = issuer(300_000);
  const chat = await connected({ token: undefined, getToken });
  mock.timers.setTime(NOW + DAY_MS); // its timers did not run
  last().end(4401, 'token expired');
  await settle();
  assert.equal(asks.at(-1).fresh, true);
  const fresh = last();
  fresh.open();
  fresh.answer('hello', welcome());
  await settle();
  assert.equal(chat.state, 'open');
  assert.equal(sockets.length, 2);
  chat.close();
});

test('a machine that wakes up shortly before that asks at once', async (t) => {
  const listeners = new Map();
  globalThis.document = { visibilityState: 'visible', addEventListener: (type, handler) => listeners.set(type, handler), removeEventListener() {} };
  t.after(() => { delete globalThis.document; });
  const { asks, getToken } = issuer(3_600_000);
  const chat = await connected({ token: undefined, getToken });
  const real = Date.now;
  mock.method(Date, 'now', () => real() + 3_590_000);
  listeners.get('visibilitychange')();
  mock.timers.tick(1);
  await settle();
  assert.equal(asks.at(-1).fresh, true);
  assert.equal(auths().length, 1);
  chat.close();
});

test('without `getToken` nothing is asked, and 4401 is the end', async () => {
  const chat = await connected({ token: token(60_000) });
  await pass(59_000);
  assert.deepEqual(auths(), []);
  const states = record(chat, 'state');
  last().end(4401, 'token expired');
  await settle();
  assert.deepEqual(states.at(-1), { state: 'closed', attempt: 0, reason: 'token expired' });
});

test('a fresh token that could not be fetched after 4401 is asked for again, as fresh', async () => {
  const asks = [];
  let fails = true;
  const getToken = ({ fresh }) => {
    asks.push(fresh);
    if (fresh && fails) throw new TypeError('fetch failed');
    return fresh ? 'fresh' : 'old';
  };
  const chat = await connected({ token: undefined, getToken });
  last().end(4401, 'token expired');
  await settle();
  assert.equal(chat.state, 'reconnecting');
  fails = false;
  mock.timers.tick(30_000);
  await settle();
  assert.deepEqual(asks, [false, true, true]);
  assert.deepEqual(last().protocols, ['chat.v1', 'bearer.fresh']);
  chat.close();
});

test('a `getToken` that never answers does not hold the client for ever', async () => {
  let asks = 0;
  const chat = client({ token: undefined, getToken: () => { asks += 1; return asks === 1 ? new Promise(() => {}) : 'a.b.c'; } });
  const states = record(chat, 'state');
  chat.connect();
  await settle();
  mock.timers.tick(15_000);
  await settle();
  assert.match(states.at(-1).reason, /no answer/);
  mock.timers.tick(500);
  await settle();
  assert.equal(sockets.length, 1);
  chat.close();
});

test('`auth` by hand is a renewal too: the next one is planned by the new token', async () => {
  const { asks, getToken } = issuer(300_000);
  const chat = await connected({ token: undefined, getToken });
  await pass(200_000);
  const renewed = chat.auth(token(300_000));
  accept();
  await renewed;
  await pass(200_000);
  assert.equal(asks.length, 1);
  await pass(70_000);
  assert.equal(asks.length, 2);
  chat.close();
});

test('`setToken` renews an open connection, and the next one is made with it', async () => {
  const [one, other] = [token(300_000), token(600_000)];
  const chat = await connected({ token: one });
  chat.setToken(other);
  assert.deepEqual(auths().map((frame) => frame.token), [other]);
  accept();
  await settle();
  const sent = chat.send('general', 'x').catch((error) => error);
  last().end();
  await settle();
  mock.timers.tick(1_000);
  await settle();
  assert.deepEqual(last().protocols, ['chat.v1', `bearer.${other}`]);
  last().open();
  assert.deepEqual(last().requests('message').map(({ content }) => content), ['x'], 'it is known whose token it is');
  assert.deepEqual(auths(), []);
  chat.close();
  assert.equal((await sent).code, 'disconnected');
});

test('`setToken` before and during an attempt reaches the server', async () => {
  const [one, other, third] = [token(300_000), token(400_000), token(500_000)];
  const chat = client({ token: one });
  chat.setToken(other);
  const ready = chat.connect();
  await settle();
  assert.deepEqual(last().protocols, ['chat.v1', `bearer.${other}`]);
  chat.setToken(third);
  assert.deepEqual(last().sent, []);
  last().open();
  assert.deepEqual(last().sent.map(({ type }) => type), ['hello', 'ping', 'auth']);
  last().answer('hello', welcome());
  await ready;
  accept();
  await settle();
  assert.equal(auths()[0].token, third);
  chat.close();
});

test('`setToken` with another user\'s token ends the client before anything is sent in that name', async () => {
  const chat = await connected({ token: token(300_000) });
  const refused = record(chat, 'refused');
  const before = sockets.length;
  last().end();
  chat.setToken(jwt({ user_id: 9 }));
  chat.send('general', 'mine').catch(() => {});
  await settle();
  mock.timers.tick(1_000);
  await settle();
  assert.deepEqual([chat.state, refused[0].code, sockets.length], ['closed', 'forbidden', before]);
});
