/** The conversations as snapshots, without React: order, once, cuts, and what waits. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { FakeSocket, ME, answerWith, client, connected, dm, jwt, last, memory, message, resumed, settle, sockets, welcome } from './fakes.mjs';
import { KEEP_MESSAGES, createChatStore } from './react.mjs';

beforeEach(() => {
  sockets.length = 0;
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
});

afterEach(() => mock.timers.reset());

const OPTIONS = { url: 'ws://chat.test/ws', token: 'a.b.c', WebSocket: FakeSocket, fetch: answerWith(200) };
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const seqs = ({ messages }) => messages.map(({ seq }) => seq);
const snap = (store) => store.getSnapshot();
const receipt = ({ nonce }, id) => ({ status: 'ok', id, seq: id, timestamp: '2026-01-15T12:00:00.123Z', nonce });

/** A store with a subscriber, which the server has welcomed. */
async function opened(options = {}, hello = {}) {
  const store = createChatStore({ ...OPTIONS, ...options });
  const changes = [];
  const stop = store.subscribe(() => changes.push(snap(store)));
  await settle();
  last().open();
  last().answer('hello', welcome(hello));
  await settle();
  return { store, changes, stop };
}

/** A store that is in `general` and has its newest messages. */
async function inRoom(numbers = [], { hasMore = false } = {}) {
  const all = await opened({ rooms: ['general'] });
  const end = numbers.at(-1) ?? 0;
  last().answer('join', { room: 'general', status: 'ok', lastId: end, lastSeq: end });
  await settle();
  last().answer('room_history', numbers.map((number) => message(number)), { hasMore });
  await settle();
  return all;
}

/** A cut, and a connection after it on which `resume` was answered. */
async function cut(answer = {}, hello = {}) {
  last().end();
  await settle();
  mock.timers.tick(1_000);
  await settle();
  last().open();
  last().answer('resume', resumed(answer));
  last().answer('hello', welcome(hello));
  await settle();
}

test('nothing is opened before somebody subscribes, nor by asking for a snapshot', async () => {
  const store = createChatStore({ ...OPTIONS, rooms: ['general'] });
  assert.equal(snap(store).state, 'idle');
  assert.deepEqual(Object.keys(snap(store).rooms), ['general']);
  assert.deepEqual(snap(store).rooms.general, { messages: [], hasMore: false, lastSeq: 0, unread: 0, status: 'new', error: null });
  await settle();
  assert.equal(sockets.length, 0);
});

test('a snapshot is the same until something changes, and what did not change stays the same in the next one', async () => {
  const { store } = await inRoom([1, 2]);
  store.getSnapshot().join('garden');
  last().answer('join', { room: 'garden', status: 'ok', lastId: 2, lastSeq: 0 });
  await settle();
  last().answer('room_history', [], { hasMore: false });
  await settle();
  const before = snap(store);
  assert.equal(snap(store), before);
  last().message(3);
  const after = snap(store);
  assert.notEqual(after, before);
  assert.equal(after.rooms.garden, before.rooms.garden);
  assert.equal(after.outbox.length, 0);
  assert.deepEqual([seqs(before.rooms.general), seqs(after.rooms.general)], [[1, 2], [1, 2, 3]]);
  assert.equal(after.send, before.send);
  assert.throws(() => { after.rooms.general.messages.push(1); }, TypeError);
  assert.throws(() => { after.rooms.attic = 1; }, TypeError);
  store.client.close();
});

test('a room is joined, read and shown in order, with what came meanwhile', async () => {
  const { store } = await opened({ rooms: ['general'] });
  last().answer('join', { room: 'general', status: 'ok', lastId: 3, lastSeq: 3 });
  await settle();
  last().message(4);
  assert.equal(snap(store).rooms.general.status, 'loading');
  last().answer('room_history', [2, 3, 4].map((number) => message(number)), { hasMore: true });
  await settle();
  const { general } = snap(store).rooms;
  assert.deepEqual([seqs(general), general.hasMore, general.lastSeq, general.status, general.unread], [[2, 3, 4], true, 4, 'ready', 1]);
  assert.deepEqual(snap(store).me, { id: ME, username: 'ann', role: null });
  snap(store).markRead({ room: 'general' });
  assert.equal(snap(store).rooms.general.unread, 0);
  store.client.close();
});

test('what was missed in a cut is there once and in order, and the state is told', async () => {
  const { store, changes } = await inRoom([1, 2]);
  const cutting = cut({ replayed: 2, lastId: 4 });
  await settle();
  assert.equal(snap(store).state, 'reconnecting');
  await cutting;
  last().message(3, 4, 5);
  assert.deepEqual(seqs(snap(store).rooms.general), [1, 2, 3, 4, 5]);
  assert.equal(last().request('join'), undefined, 'the resume did that');
  assert.ok(changes.every(({ rooms }) => seqs(rooms.general).every((seq, index, all) => index === 0 || seq === all[index - 1] + 1)));
  store.client.close();
});

for (const echoFirst of [true, false]) {
  test(`an own message is shown once: first ${echoFirst ? 'its echo, then its receipt' : 'its receipt, then its echo'}`, async () => {
    const { store, changes } = await inRoom([1]);
    snap(store).send('general', 'mine');
    assert.deepEqual(snap(store).outbox.map(({ content, room, status }) => [content, room, status]), [['mine', 'general', 'waiting']]);
    const sent = last().request('message');
    const echo = () => last().say({ type: 'message', data: message(2, { fromUser: ME, username: 'ann', content: 'mine', nonce: sent.nonce }) });
    const acknowledge = () => last().answer('message', receipt(sent, 2));
    for (const step of echoFirst ? [echo, acknowledge] : [acknowledge, echo]) {
      step();
      const { rooms, outbox } = snap(store);
      assert.deepEqual([seqs(rooms.general), outbox], [[1, 2], []]);
    }
    for (const { rooms, outbox } of changes) {
      const times = rooms.general.messages.filter(({ content }) => content === 'mine').length + outbox.length;
      assert.ok(times <= 1, 'never in both');
    }
    assert.equal(snap(store).rooms.general.unread, 0);
    store.client.close();
  });
}

test('a refused message can be tried again as the same message, or let go', async () => {
  const { store } = await inRoom();
  snap(store).send('general', 'one');
  const { nonce } = last().request('message');
  last().refuse('message', { code: 'storage_full', message: 'no space' });
  const [failed] = snap(store).outbox;
  assert.deepEqual([failed.status, failed.error], ['failed', { code: 'storage_full', message: 'no space' }]);
  snap(store).retry(nonce);
  assert.equal(snap(store).outbox[0].status, 'waiting');
  assert.deepEqual(last().requests('message').map((sent) => sent.nonce), [nonce, nonce]);
  last().refuse('message', { code: 'storage_full', message: 'no space' });
  snap(store).discard(nonce);
  assert.deepEqual(snap(store).outbox, []);

  last().end();
  snap(store).send('general', 'two');
  snap(store).discard(snap(store).outbox[0].nonce);
  assert.deepEqual([snap(store).outbox, store.client.outbox], [[], []]);
  store.client.close();
});

test('DMs: a first one opens the conversation and reads it, an own one is known by its receipt', async () => {
  const { store } = await opened();
  last().dm(5, { seq: 3, fromUser: 8, username: 'cay' });
  assert.deepEqual([seqs(snap(store).dms[8]), snap(store).dms[8].hasMore, snap(store).dms[8].unread], [[3], true, 1]);
  await settle();
  last().answer('dm_history', [dm(3, { seq: 2, fromUser: 8 }), dm(5, { seq: 3, fromUser: 8 })], { hasMore: true });
  await settle();
  snap(store).dm(8, 'hello');
  last().answer('dm', { to: 8, ...receipt(last().request('dm'), 6), seq: 4 });
  assert.deepEqual(seqs(snap(store).dms[8]), [2, 3, 4]);
  const own = snap(store).dms[8].messages.at(-1);
  assert.deepEqual([own.fromUser, own.username, own.to, own.content, own.id], [ME, 'ann', 8, 'hello', 6]);
  assert.deepEqual(snap(store).outbox, []);
  store.client.close();
});

test('earlier messages come in pages, and nothing is let go that was asked for', async () => {
  const { store } = await inRoom(range(51, 100), { hasMore: true });
  for (const [from, to] of [[26, 50], [1, 25]]) {
    const loading = snap(store).loadEarlier({ room: 'general' });
    snap(store).loadEarlier({ room: 'general' });
    assert.equal(last().requests('room_history').filter(({ before }) => before === to + 1).length, 1, 'one page at a time');
    last().answer('room_history', range(from, to).map((number) => message(number)), { hasMore: from > 1 });
    await loading;
  }
  const { general } = snap(store).rooms;
  assert.deepEqual([seqs(general), general.hasMore], [range(1, 100), false]);
  await snap(store).loadEarlier({ room: 'general' });
  assert.equal(last().requests('room_history').length, 3, 'there are no more');
  store.client.close();
});

test(`a conversation keeps its newest ${KEEP_MESSAGES}, and more only when earlier ones were asked for`, async () => {
  const { store } = await inRoom([1]);
  last().message(...range(2, KEEP_MESSAGES + 10));
  const { general } = snap(store).rooms;
  assert.deepEqual([general.messages.length, general.messages[0].seq, general.hasMore], [KEEP_MESSAGES, 11, true]);
  const loading = snap(store).loadEarlier({ room: 'general' });
  last().answer('room_history', range(1, 10).map((number) => message(number)), { hasMore: false });
  await loading;
  last().message(KEEP_MESSAGES + 11);
  assert.deepEqual([snap(store).rooms.general.messages.length, snap(store).rooms.general.messages[0].seq], [KEEP_MESSAGES + 10, 2]);
  store.client.close();
});

test('a reset replaces what was there', async () => {
  const { store } = await inRoom([1, 2]);
  last().end();
  await settle();
  mock.timers.tick(1_000);
  await settle();
  last().open();
  last().answer('resume', resumed({ complete: false, reason: 'too_many', lastId: 5_000 }));
  last().answer('hello', welcome());
  await settle();
  last().answer('room_history', range(2001, 2050).map((number) => message(number)), { hasMore: true });
  await settle();
  const { general } = snap(store).rooms;
  assert.deepEqual([seqs(general), general.hasMore, general.lastSeq], [range(2001, 2050), true, 2050]);
  store.client.close();
});

test('a hole is never shown as if nothing was missing: what lies before it goes', async () => {
  const { store } = await opened();
  last().dm(5, { seq: 3, fromUser: 8 }); // its history is asked for, and the connection is cut before the answer
  await cut();
  last().dm(95, { seq: 90, fromUser: 8 });
  for (const request of last().requests('dm_history').slice(0, 1)) {
    last().say({ type: 'dm_history', data: range(41, 90).map((seq) => dm(seq + 5, { seq, fromUser: 8 })), with: 8, hasMore: true, ref: request.ref });
  }
  await settle();
  await settle();
  const shown = seqs(snap(store).dms[8]);
  assert.deepEqual(shown, range(shown[0], 90));
  store.client.close();
});

test('a room that is refused says why, one that is refused for now is tried again', async () => {
  const { store } = await opened({ rooms: ['secret', 'busy'] });
  const [secret, busy] = last().requests('join');
  last().say({ type: 'error', message: 'no', data: { code: 'room_not_found', message: 'no such room' }, ref: secret.ref });
  last().say({ type: 'error', message: 'no', data: { code: 'rate_limited', message: 'later', retryAfterMs: 700 }, ref: busy.ref });
  await settle();
  assert.deepEqual([snap(store).rooms.secret.status, snap(store).rooms.secret.error.code], ['failed', 'room_not_found']);
  mock.timers.tick(700);
  await settle();
  assert.deepEqual(last().requests('join').map(({ room }) => room), ['secret', 'busy', 'busy']);
  snap(store).join('secret');
  assert.equal(last().requests('join').length, 4, 'unless somebody asks');
  store.client.close();
});

test('a join that a cut interrupts is made on the next connection', async () => {
  const { store } = await opened({ rooms: ['general'] });
  await cut();
  assert.equal(last().request('join').room, 'general');
  store.client.close();
});

test('another list of rooms joins and leaves what differs', async () => {
  const { store } = await inRoom([1]);
  store.setRooms(['general', 'garden']);
  assert.deepEqual(last().requests('join').map(({ room }) => room), ['general', 'garden']);
  store.setRooms(['garden']);
  assert.equal(last().request('leave').room, 'general');
  assert.deepEqual(Object.keys(snap(store).rooms), ['garden']);
  store.client.close();
});

test('a room may have any name', async () => {
  const { store } = await opened({ rooms: ['__proto__', 'constructor'] });
  assert.deepEqual(Object.keys(snap(store).rooms), ['__proto__', 'constructor']);
  assert.deepEqual(snap(store).rooms.__proto__.messages, []);
  store.client.close();
});

test('the last subscriber closes the connection a little later, and a new one keeps or renews it', async () => {
  const { store, stop } = await inRoom([1]);
  stop();
  const again = store.subscribe(() => {});
  mock.timers.tick(10_000);
  assert.deepEqual([snap(store).state, sockets.length], ['open', 1]);
  again();
  again();
  mock.timers.tick(10_000);
  assert.equal(snap(store).state, 'closed');
  assert.ok(last().closed);
  store.subscribe(() => {});
  await settle();
  assert.equal(sockets.length, 2);
  last().open();
  assert.deepEqual(last().request('resume').rooms, ['general']);
  store.client.close();
});

test('a refused token is told and not tried again', async () => {
  const { store } = await opened();
  last().end(4401, 'token expired');
  await settle();
  mock.timers.tick(60_000);
  await settle();
  assert.deepEqual([snap(store).state, snap(store).error], ['closed', { code: 'unauthorized', message: 'token expired' }]);
  assert.equal(sockets.length, 1);
});

test('what an earlier page left is shown as waiting, and can be taken back', async () => {
  const kept = [1, 2].map((number) => ({ user: ME, nonce: `n${number}`, room: 'general', content: `left ${number}` }));
  const storage = memory([['chat-outbox:ws://chat.test/ws', JSON.stringify(kept)]]);
  const { store } = await opened({ storage });
  assert.deepEqual(snap(store).outbox.map(({ nonce, status, restored }) => [nonce, status, restored]), [['n1', 'waiting', true], ['n2', 'waiting', true]]);
  snap(store).discard('n2');
  assert.deepEqual(snap(store).outbox.map(({ nonce }) => nonce), ['n1']);
  store.client.close();
});

test('what one user wrote is not shown to the next one who signs in', async () => {
  const tokens = [jwt({ user_id: ME }), jwt({ user_id: 9 })];
  const store = createChatStore({ ...OPTIONS, token: undefined, getToken: () => tokens.shift() });
  store.subscribe(() => {});
  await settle();
  const promise = snap(store).send('general', 'private').catch((error) => error);
  assert.deepEqual(snap(store).outbox.map(({ content }) => content), ['private']);
  last().end();
  await settle();
  mock.timers.tick(1_000);
  await settle();
  assert.equal((await promise).code, 'forbidden');
  assert.deepEqual(snap(store).outbox, []);
  store.client.close();
});

test('a client that was passed in is listened to, and neither opened nor closed', async () => {
  const idle = createChatStore(client());
  idle.subscribe(() => {})();
  await settle();
  assert.equal(sockets.length, 0);

  const chat = await connected();
  const joining = chat.join('general');
  last().answer('join', { room: 'general', status: 'ok', lastId: 0, lastSeq: 0 });
  await joining;
  const store = createChatStore(chat);
  const stop = store.subscribe(() => {});
  last().answer('hello', welcome());
  await settle();
  last().answer('room_history', [], { hasMore: false });
  last().message(1);
  assert.deepEqual([seqs(snap(store).rooms.general), snap(store).me.id], [[1], ME]);
  stop();
  mock.timers.tick(10_000);
  assert.equal(chat.state, 'open');
  chat.close();
});
