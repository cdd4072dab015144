/** What the client library keeps through cuts: every message once and in order, in both directions. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { ME, answerWith, client, connected, dm, joined, last, message, record, resumed, settle, sockets, welcome } from './fakes.mjs';

beforeEach(() => {
  sockets.length = 0;
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  mock.method(Math, 'random', () => 0); // no wait before the next connection
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const ids = (messages) => messages.map(({ id }) => id);

/** The next connection, as far as its handshake. */
async function reopen() {
  await settle();
  mock.timers.tick(1);
  await settle();
  last().open();
}

/** A cut, and a connection on which the server answers as it would; `ack` says what is particular about it. */
async function cutAndResume(ack, hello) {
  last().end();
  await reopen();
  last().answer('resume', resumed(ack));
  last().answer('hello', welcome(hello));
}

/** Answers the newest request for the history of `room`, or of the DMs with a user. */
function answerHistory(place, messages, hasMore = false) {
  const type = typeof place === 'string' ? 'room_history' : 'dm_history';
  const { ref } = last().sent.findLast((frame) => frame.type === type && (frame.room ?? frame.with) === place);
  last().say({ type, data: messages, hasMore, ref });
}

test('a resume is possible before any message was received', async () => {
  const chat = await connected({}, { lastId: 40 });
  await joined(chat, 'general', { lastId: 40, lastSeq: 0 });
  const seen = record(chat, 'message');
  const reconnected = record(chat, 'reconnected');
  await cutAndResume({ lastId: 45, replayed: 5 }, { lastId: 45 });
  const [resume, hello, ...more] = last().sent;
  assert.equal(hello.type, 'hello');
  assert.deepEqual({ ...resume, ref: 0 }, { type: 'resume', after: 40, rooms: ['general'], epoch: 'e1', ref: 0 });
  assert.deepEqual(more, [], 'one request brings everything');
  assert.deepEqual(reconnected, [{ replayed: 5, complete: true }]);
  for (const seq of [1, 2, 3, 4, 5]) last().say({ type: 'message', data: message(40 + seq, { seq }) });
  assert.deepEqual(ids(seen), [41, 42, 43, 44, 45]);
  chat.close();
});

test('the cursor moves with what is live and with what is replayed, and never back', async () => {
  const chat = await connected();
  await joined(chat);
  const seen = record(chat, 'message');
  last().message(1, 2);
  await cutAndResume({ replayed: 3, lastId: 5 });
  assert.equal(last().request('resume').after, 2);
  last().message(3, 4); // and the connection ends before number 5
  await cutAndResume({ replayed: 1, lastId: 5 });
  assert.equal(last().request('resume').after, 4);
  last().message(5);
  await cutAndResume({ lastId: 5 });
  assert.equal(last().request('resume').after, 5);
  await cutAndResume({ lastId: 5 });
  assert.equal(last().request('resume').after, 5, 'two cuts without a message between them');
  assert.deepEqual(ids(seen), [1, 2, 3, 4, 5]);
  chat.close();
});

test('a connection that ends before its `resume` is answered leaves the cursor where it was', async () => {
  const chat = await connected();
  await joined(chat);
  last().message(1);
  last().end();
  await reopen();
  last().answer('hello', welcome({ lastId: 9 }));
  await cutAndResume();
  assert.equal(last().request('resume').after, 1);
  chat.close();
});

test('what a join counted belongs to the history, also when it is replayed', async () => {
  const chat = await connected({}, { lastId: 10 });
  await joined(chat, 'general', { lastId: 30, lastSeq: 20 });
  const seen = record(chat, 'message');
  await cutAndResume({ replayed: 3, lastId: 31 });
  assert.equal(last().request('resume').after, 10);
  for (const seq of [19, 20, 21]) last().say({ type: 'message', data: message(10 + seq, { seq }) });
  assert.deepEqual(seen.map(({ seq }) => seq), [21]);
  chat.close();
});

test('a message that overtakes the answer to its join is kept until then', async () => {
  const chat = await connected();
  const seen = record(chat, 'message');
  const joining = chat.join('general');
  last().message(20, 21);
  assert.deepEqual(seen, []);
  last().answer('join', { room: 'general', status: 'ok', lastId: 20, lastSeq: 20 });
  await joining;
  last().message(21, 22);
  assert.deepEqual(ids(seen), [21, 22]);
  chat.leave('general').catch(() => {});
  last().message(23);
  assert.deepEqual(ids(seen), [21, 22], 'what was on its way when the room was left is not for us any more');
  assert.deepEqual(chat.rooms, []);
  chat.close();
});

test('the late frames of a socket that has ended are not heard', async () => {
  const chat = await connected();
  await joined(chat);
  const seen = record(chat, 'message');
  const old = last();
  last().message(1);
  await cutAndResume({ replayed: 1, lastId: 2 });
  old.message(2, 3);
  old.end(4403);
  assert.deepEqual(ids(seen), [1]);
  assert.equal(chat.state, 'open');
  last().message(2);
  assert.deepEqual(ids(seen), [1, 2]);
  chat.close();
});

for (const reason of ['too_many', 'ahead', 'behind', 'epoch']) {
  test(`the histories come instead of the replay: ${reason}`, async () => {
    const chat = await connected();
    await joined(chat);
    await joined(chat, 'garden');
    const events = [];
    for (const type of ['message', 'dm', 'reset', 'reconnected']) chat.on(type, (data) => events.push([type, data]));
    last().message(1);
    last().dm(2, { seq: 1 });
    events.length = 0;

    const newLog = reason === 'epoch';
    const epoch = newLog ? 'e2' : 'e1';
    await cutAndResume({ complete: false, reason, epoch, lastId: 60 }, { epoch, lastId: 60 });
    assert.deepEqual(events.splice(0), [['reconnected', { replayed: 0, complete: false, reason }]]);
    assert.ok(last().requests('room_history').every(({ limit }) => limit === 50));
    const page = [message(58, { seq: 40 }), message(61, { seq: 41 })];
    const direct = [dm(59, { seq: 4 })];
    last().say({ type: 'message', data: page[1] }); // live, and in the history that comes later
    last().say({ type: 'message', data: message(62, { seq: 42 }) });
    answerHistory('general', page, true);
    answerHistory('garden', []);
    assert.deepEqual(events, [], 'nothing is live before the histories are there');
    answerHistory(1, direct);
    await settle();
    assert.deepEqual(events.shift(), ['reset', {
      reason, newLog,
      rooms: [{ room: 'general', messages: page, hasMore: true, lastSeq: 41 }, { room: 'garden', messages: [], hasMore: false, lastSeq: 0 }],
      dms: [{ with: 1, messages: direct, hasMore: false, lastSeq: 4 }],
    }].map((part) => JSON.parse(JSON.stringify(part))));
    assert.deepEqual(events.map(([type, { id }]) => [type, id]), [['message', 62]]);

    await cutAndResume({ epoch, lastId: 62 }, { epoch, lastId: 62 });
    assert.deepEqual([last().request('resume').after, last().request('resume').epoch], [62, epoch]);
    chat.close();
  });
}

test('after a reset the cursor is where the server said, also when that is earlier', async () => {
  const chat = await connected({}, { lastId: 90 });
  const resets = record(chat, 'reset');
  await cutAndResume({ complete: false, reason: 'ahead', lastId: 50 });
  await settle();
  assert.deepEqual(resets, [{ reason: 'ahead', newLog: false, rooms: [], dms: [] }]);
  await cutAndResume();
  assert.equal(last().request('resume').after, 50);
  chat.close();
});

test('a reset that is cut off begins again with the next connection, and is told once', async () => {
  const chat = await connected();
  await joined(chat);
  const resets = record(chat, 'reset');
  const seen = record(chat, 'message');
  await cutAndResume({ complete: false, reason: 'too_many', lastId: 60 });
  last().say({ type: 'message', data: message(61, { seq: 51 }) });
  await cutAndResume({ lastId: 62, replayed: 1 });
  assert.equal(last().request('resume').after, 61);
  last().say({ type: 'message', data: message(62, { seq: 52 }) });
  assert.deepEqual([resets.length, seen.length], [0, 0]);
  answerHistory('general', [message(61, { seq: 51 })], true);
  await settle();
  assert.equal(resets.length, 1);
  assert.equal(resets[0].reason, 'too_many');
  assert.deepEqual(ids(seen), [62]);
  chat.close();
});

test('a history that the server is too busy for is asked for again', async () => {
  const chat = await connected();
  await joined(chat);
  const resets = record(chat, 'reset');
  await cutAndResume({ complete: false, reason: 'too_many', lastId: 60 });
  last().refuse('room_history', { code: 'unavailable', message: 'busy' });
  await settle();
  mock.timers.tick(1_000);
  await settle();
  answerHistory('general', [message(60)]);
  await settle();
  assert.deepEqual(ids(resets[0].rooms[0].messages), [60]);
  chat.close();
});

test('a DM that comes before the replay is not taken for its end', async () => {
  const chat = await connected();
  const dms = record(chat, 'dm');
  const resets = record(chat, 'reset');
  last().dm(1, { seq: 1 });
  last().end();
  await reopen();
  last().answer('hello', welcome({ lastId: 9 }));
  last().dm(9, { seq: 3 });
  last().end();
  await reopen();
  assert.equal(last().request('resume').after, 1);
  last().answer('hello', welcome({ lastId: 9 }));
  last().dm(9, { seq: 3 });
  assert.deepEqual(ids(dms), [1]);
  last().answer('resume', resumed({ complete: false, reason: 'behind', lastId: 9 }));
  answerHistory(1, [dm(1, { seq: 1 }), dm(5, { seq: 2 }), dm(9, { seq: 3 })]);
  await settle();
  assert.deepEqual(ids(resets[0].dms[0].messages), [1, 5, 9]);
  last().dm(10, { seq: 4 });
  assert.deepEqual(ids(dms), [1, 10]);
  chat.close();
});

test('a room that is refused for good is dropped; one that is refused for now is joined, and its gap filled', async () => {
  const chat = await connected();
  await joined(chat, 'general');
  await joined(chat, 'garden');
  await joined(chat, 'attic');
  const errors = record(chat, 'error');
  const seen = record(chat, 'message');
  last().message(1);
  await cutAndResume({ refused: [{ room: 'garden', code: 'forbidden' }, { room: 'general', code: 'unavailable' }], lastId: 4 });
  assert.deepEqual(errors.map(({ code }) => code), ['forbidden', 'unavailable']);
  assert.deepEqual(chat.rooms, ['general', 'attic']);
  assert.deepEqual(last().requests('join').map(({ room }) => room), ['general']);
  last().refuse('join', { code: 'rate_limited', message: 'too fast', retryAfterMs: 300 });
  await settle();
  mock.timers.tick(300);
  await settle();
  last().answer('join', { room: 'general', status: 'ok', lastId: 4, lastSeq: 3 });
  await settle();
  assert.equal(last().request('room_history').after, 1);
  answerHistory('general', [message(2), message(3)]);
  await settle();
  assert.deepEqual(ids(seen), [1, 2, 3], 'nobody had to write again for the gap to be seen');
  chat.close();
});

test('more rooms than one `resume` takes, or a frame holds, are joined by themselves', async () => {
  const chat = await connected();
  const names = Array.from({ length: 510 }, (_, index) => `${index}`.padStart(64, '\u{1f33b}'));
  for (const name of names) await joined(chat, name, { lastSeq: 1 });
  await cutAndResume();
  const resume = last().request('resume');
  const alone = last().requests('join').map(({ room }) => room);
  assert.ok(Buffer.byteLength(JSON.stringify(resume)) <= 64 * 1024);
  assert.deepEqual([...resume.rooms, ...alone], names);
  assert.ok(resume.rooms.length > 200);
  chat.close();
});

test('a server that cannot replay is asked for each room and its history', async () => {
  const chat = await connected();
  await joined(chat);
  const errors = record(chat, 'error');
  const resets = record(chat, 'reset');
  last().message(1);
  last().end();
  await reopen();
  last().refuse('resume', { code: 'unknown_type', message: 'no such request' });
  last().answer('hello', welcome({ lastId: 2 }));
  last().answer('join', { room: 'general', status: 'ok', lastId: 2, lastSeq: 2 });
  answerHistory('general', [message(1), message(2)]);
  await settle();
  assert.equal(errors[0].code, 'unknown_type');
  assert.equal(resets[0].reason, 'unknown_type');
  assert.deepEqual(ids(resets[0].rooms[0].messages), [1, 2]);
  chat.close();
});

test('a gap in a live room is filled from the history before anything after it is delivered', async () => {
  const chat = await connected();
  await joined(chat);
  const seen = record(chat, 'message');
  last().message(1, 2, 3, 4, 5, 7, 8);
  assert.deepEqual(ids(seen), [1, 2, 3, 4, 5]);
  const asked = last().requests('room_history');
  assert.deepEqual(asked.map(({ after, limit }) => [after, limit]), [[5, 500]]);
  answerHistory('general', [message(6), message(7)]);
  await settle();
  assert.deepEqual(ids(seen), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(last().requests('room_history').length, 1);

  // A cut while the history is on its way: the next connection asks again.
  last().message(10);
  await cutAndResume({ lastId: 10 });
  await settle();
  assert.equal(last().request('resume').after, 10);
  assert.equal(last().request('room_history').after, 8);
  answerHistory('general', [message(9)]);
  await settle();
  assert.deepEqual(ids(seen), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  chat.close();
});

test('a gap that the history does not fill is told once and passed', async () => {
  const chat = await connected();
  await joined(chat);
  const seen = record(chat, 'message');
  const errors = record(chat, 'error');
  last().message(1, 3);
  answerHistory('general', [message(3)]);
  await settle();
  last().message(4);
  assert.deepEqual(ids(seen), [1, 3, 4]);
  last().message(6);
  answerHistory('general', []);
  await settle();
  last().message(7);
  assert.deepEqual(ids(seen), [1, 3, 4, 6, 7]);
  assert.deepEqual(errors.map(({ code }) => code), ['missing', 'missing']);
  assert.equal(sockets.length, 1, 'and is no reason to connect again');
  chat.close();
});

test('a gap too large to be filled is a reset of that conversation', async () => {
  const chat = await connected();
  await joined(chat);
  await joined(chat, 'garden');
  const seen = record(chat, 'message');
  const resets = record(chat, 'reset');
  last().message(1, 2_000);
  assert.equal(last().request('room_history').limit, 50);
  answerHistory('general', [message(1_999), message(2_000)], true);
  await settle();
  last().message(2_001);
  assert.deepEqual(ids(seen), [1, 2_001]);
  assert.deepEqual(resets.map(({ reason, rooms, dms }) => [reason, rooms.map(({ room }) => room), dms]), [['gap', ['general'], []]]);
  chat.close();
});

// The outbox.

const receipt = (id, more = {}) => ({ room: 'general', status: 'ok', id, seq: id, timestamp: '2026-01-15T12:00:00.123Z', ...more });
const contents = (socket) => socket.sent.filter(({ type }) => type === 'message' || type === 'dm').map(({ content }) => content);

test('what is sent without a connection waits, and goes out in order with the same nonces', async () => {
  const chat = client();
  const results = ['one', 'two', 'three'].map((content) => chat.send('general', content));
  const ready = chat.connect();
  await settle();
  last().open();
  last().answer('hello', welcome());
  await ready;
  assert.deepEqual(contents(last()), ['one'], 'one at a time, so that nothing can overtake');
  last().answer('message', receipt(1));
  assert.deepEqual(contents(last()), ['one', 'two']);
  const { nonce } = last().request('message');
  last().end(); // stored or not: nobody knows
  const late = chat.send('general', 'four');
  await reopen();
  last().answer('hello', welcome());
  assert.deepEqual(last().sent.map(({ type }) => type), ['resume', 'hello', 'message'], 'after the resume, without waiting for it');
  assert.equal(last().request('message').nonce, nonce);
  last().answer('resume', resumed());
  for (const [id, more] of [[2, { duplicate: true, nonce }], [3], [4]]) last().answer('message', receipt(id, more));
  assert.deepEqual(contents(last()), ['two', 'three', 'four']);
  assert.deepEqual(ids(await Promise.all([...results, late])), [1, 2, 3, 4]);
  assert.equal((await results[1]).duplicate, true);
  assert.equal(new Set(sockets.flatMap((socket) => socket.requests('message').map((sent) => sent.nonce))).size, 4);
  chat.close();
});

test('a nonce of the caller is used, and a nonce drawn here is drawn once', async () => {
  const chat = await connected();
  const promise = chat.send('general', 'mine', { nonce: 'n-1' });
  assert.equal(last().request('message').nonce, 'n-1');
  last().answer('message', receipt(1, { nonce: 'n-1' }));
  assert.equal((await promise).nonce, 'n-1');
  chat.close();
});

test('a refusal rejects its own send only; a closed client rejects them all, with their nonces', async () => {
  const chat = await connected();
  const results = ['a', 'b', 'c'].map((content) => chat.send('general', content).catch((error) => error));
  last().refuse('message', { code: 'storage_full', message: 'the disk is full' });
  const refused = await results[0];
  assert.deepEqual([refused.name, refused.code, typeof refused.nonce], ['ChatError', 'storage_full', 'string']);
  assert.deepEqual(contents(last()), ['a', 'b']);
  const { nonce } = last().request('message');
  chat.close();
  const [, b, c] = await Promise.all(results);
  assert.deepEqual([b.code, b.nonce, c.code], ['disconnected', nonce, 'disconnected']);
  await assert.rejects(chat.send('general', 'd'), { code: 'disconnected' });

  const removed = await connected();
  const lost = removed.dm(9, 'e').catch((error) => error);
  last().end(4403, 'removed by a moderator');
  await settle();
  assert.equal((await lost).code, 'disconnected');
});

test('too fast is not an error but a wait, and keeps the order', async () => {
  const chat = await connected();
  const results = [chat.send('general', 'a'), chat.send('general', 'b')];
  last().refuse('message', { code: 'rate_limited', message: 'too fast', retryAfterMs: 400 });
  results.push(chat.send('general', 'c'));
  mock.timers.tick(399);
  assert.deepEqual(contents(last()), ['a']);
  mock.timers.tick(1);
  for (const id of [1, 2, 3]) last().answer('message', receipt(id));
  assert.deepEqual(contents(last()), ['a', 'a', 'b', 'c']);
  assert.deepEqual(ids(await Promise.all(results)), [1, 2, 3]);
  chat.close();
});

test('a send without an answer ends the connection after 15 s, not the send', async () => {
  const chat = await connected();
  const promise = chat.send('general', 'hello');
  const dead = last();
  const { nonce } = dead.request('message');
  mock.timers.tick(14_999);
  dead.say({ type: 'pong' });
  assert.equal(chat.state, 'open');
  mock.timers.tick(1);
  assert.ok(dead.closed);
  await reopen();
  assert.equal(sockets.length, 2);
  last().answer('resume', resumed());
  assert.equal(last().request('message').nonce, nonce);
  last().answer('message', receipt(1));
  assert.equal((await promise).id, 1);
  chat.close();
});

test('the outbox is bounded, and takes back what is not on its way', async () => {
  const chat = await connected();
  const results = Array.from({ length: 1_000 }, (_, index) => chat.send('general', `m${index}`, { nonce: `n${index}` }).catch(({ code }) => code));
  await assert.rejects(chat.send('general', 'one more'), { code: 'outbox_full' });
  assert.equal(chat.cancel('n0'), false, 'it has been sent');
  assert.equal(chat.cancel('n1'), true);
  assert.equal(chat.cancel('n1'), false);
  assert.equal(await results[1], 'cancelled');
  last().answer('message', receipt(1));
  assert.deepEqual(contents(last()), ['m0', 'm2']);
  chat.close();
  assert.equal(await results[999], 'disconnected');
});

test('what no answer could come to is refused at once and holds up nothing', async () => {
  const chat = await connected();
  await assert.rejects(chat.send('general', 'half \ud83d'), { code: 'invalid_field' });
  await assert.rejects(chat.send('general', '\u0001'.repeat(20_000)), { code: 'too_large' });
  const whole = chat.send('general', 'whole \u{1f33b}');
  last().answer('message', receipt(1));
  await whole;
  const large = chat.send('general', 'too large for a proxy').catch(({ code }) => code);
  const next = chat.send('general', 'next');
  last().end(1009);
  assert.equal(await large, 'too_large', 'or it would end every connection');
  await reopen();
  last().answer('hello', welcome());
  last().answer('message', receipt(2));
  assert.equal((await next).id, 2);
  chat.close();
});

// Direct messages: the sender's own have no echo while they are live, but are replayed.

test('a DM of this client is the result of its call and never an event, however late its receipt is', async () => {
  const chat = await connected();
  const dms = record(chat, 'dm');
  const direct = (id, seq) => ({ to: 1, status: 'ok', id, seq, timestamp: '2026-01-15T12:00:00.123Z' });
  last().dm(1, { seq: 1 });
  const second = chat.dm(1, 'second');
  last().dm(3, { seq: 3 }); // the answer to it overtakes the receipt
  assert.deepEqual(ids(dms), [1]);
  last().answer('dm', direct(2, 2));
  await second;
  assert.deepEqual(ids(dms), [1, 3]);

  const fourth = chat.dm(1, 'fourth');
  const { nonce } = last().request('dm');
  await cutAndResume({ replayed: 1, lastId: 4 });
  last().say({ type: 'dm', data: dm(4, { seq: 4, fromUser: ME, to: 1, nonce }) });
  last().say({ type: 'dm', data: dm(5, { seq: 5, fromUser: ME, to: 1, nonce: 'of another device' }) });
  last().answer('dm', { ...direct(4, 4), duplicate: true });
  assert.equal((await fourth).duplicate, true);
  assert.deepEqual(ids(dms), [1, 3, 5]);
  assert.equal(last().request('dm_history'), undefined, 'no gap was seen');
  chat.close();
});

test('DMs to somebody who never answered are not replayed to their sender', async () => {
  const chat = await connected();
  const dms = record(chat, 'dm');
  for (const id of [1, 2]) {
    const sent = chat.dm(1, `m${id}`);
    last().answer('dm', { to: 1, status: 'ok', id, seq: id, timestamp: '2026-01-15T12:00:00.123Z' });
    await sent;
  }
  await cutAndResume({ replayed: 3, lastId: 3 });
  for (const id of [1, 2]) last().dm(id, { fromUser: ME, to: 1 });
  last().dm(3);
  assert.deepEqual(ids(dms), [3]);
  chat.close();
});

test('the first DMs of a stranger come with the replay, also when a later one came before it and was cut off', async () => {
  const chat = await connected({}, { lastId: 10 });
  const dms = record(chat, 'dm');
  last().end();
  await reopen();
  last().dm(13, { seq: 2, fromUser: 99 });
  await cutAndResume({ replayed: 2, lastId: 13 });
  last().dm(12, { seq: 1, fromUser: 99 });
  last().dm(13, { seq: 2, fromUser: 99 });
  assert.deepEqual(ids(dms), [12, 13]);
  chat.close();
});

// The ends of a connection.

for (const code of [1000, 1001, 1006, 1009, 1011, 1012, 1013]) {
  test(`close code ${code} is followed by one new connection that resumes`, async () => {
    const chat = await connected();
    await joined(chat);
    last().message(1);
    last().end(code, 'because');
    await reopen();
    assert.equal(sockets.length, 2);
    last().answer('hello', welcome());
    last().answer('resume', resumed());
    assert.equal(last().request('resume').after, 1);
    assert.equal(chat.state, 'open');
    for (let quiet = 0; quiet < 4; quiet += 1) {
      mock.timers.tick(25_000);
      last().answer('ping');
    }
    await settle();
    assert.equal(sockets.length, 2, 'one cause, one connection');
    chat.close();
  });
}

test('close code 4401 takes a fresh token once, and resumes with it', async () => {
  const asks = [];
  const getToken = ({ fresh }) => { asks.push(fresh); return fresh ? 'fresh' : 'old'; };
  const chat = await connected({ token: undefined, getToken }, { lastId: 3 });
  const unsent = chat.send('general', 'kept').catch(({ code }) => code);
  last().end(4401, 'token expired');
  await settle();
  last().open();
  assert.deepEqual(last().protocols, ['chat.v1', 'bearer.fresh']);
  assert.equal(last().request('resume').after, 3);
  assert.deepEqual(contents(last()), [], 'whose token it is, only the server knows');
  last().answer('hello', welcome({ lastId: 3 }));
  assert.deepEqual(contents(last()), ['kept']);
  const refused = record(chat, 'refused');
  last().end(4401, 'token expired');
  await settle();
  assert.equal(chat.state, 'closed');
  assert.equal(refused.length, 1);
  assert.equal(await unsent, 'disconnected');
  assert.deepEqual(asks, [false, true]);
});

for (const [code, options] of [[4401, {}], [4403, { getToken: () => 'another' }]]) {
  test(`close code ${code} ends it${code === 4401 ? ' where there is no other token' : ''}`, async () => {
    const chat = await connected(options);
    const refused = record(chat, 'refused');
    last().end(code, 'no');
    await settle();
    mock.timers.tick(120_000);
    await settle();
    assert.equal(chat.state, 'closed');
    assert.deepEqual(refused.map(({ message: reason }) => reason), ['no']);
    assert.equal(sockets.length, 1);
  });
}

test('a server that cannot say hello is left alone for a while', async () => {
  const chat = client({ fetch: answerWith(200) });
  chat.connect();
  await settle();
  last().open();
  last().refuse('hello', { code: 'unavailable', message: 'stopping' });
  await reopen();
  assert.equal(sockets.length, 2);
  last().answer('hello', welcome());
  assert.equal(last().request('resume'), undefined, 'nothing to resume from yet');
  chat.close();
});

test('after `close` nothing is heard; a later `connect` goes on from there', async () => {
  const chat = await connected();
  await joined(chat);
  const seen = record(chat, 'message');
  chat.on('message', ({ id }) => { if (id === 1) chat.close(); });
  const old = last();
  old.message(1, 2);
  assert.deepEqual(ids(seen), [1]);
  mock.timers.tick(60_000);
  await settle();
  assert.equal(sockets.length, 1);
  chat.connect();
  await reopen();
  last().answer('resume', resumed({ replayed: 1, lastId: 2 }));
  assert.equal(last().request('resume').after, 1);
  last().message(2);
  assert.deepEqual(ids(seen), [1, 2]);
  chat.close();
});
