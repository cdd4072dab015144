/** What waits to be sent, through a reload of the page: the same messages, once, in order, by nobody else. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { ME, client, connected, dm, jwt, last, memory, record, settle, sockets, welcome } from './fakes.mjs';

const KEY = 'chat-outbox:ws://chat.test/ws';
const TOKEN = jwt({ user_id: ME });

beforeEach(() => {
  sockets.length = 0;
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
});

afterEach(() => mock.timers.reset());

const contents = (list) => list.map(({ content }) => content);
const sends = (socket) => socket.sent.filter(({ type }) => type === 'message' || type === 'dm');
const receipt = ({ nonce }, id) => ({ status: 'ok', id, seq: id, timestamp: '2026-01-15T12:00:00.123Z', nonce });

/** The server stores what was sent last. */
function store(id) {
  const sent = sends(last()).at(-1);
  last().answer(sent.type, receipt(sent, id));
}

/** A page that wrote three messages which nobody stored, and is gone: the tab's storage is what is left. */
async function leftBehind(options = {}) {
  const storage = memory();
  const chat = await connected({ token: TOKEN, storage, ...options });
  chat.on('unsent', () => {});
  for (const send of [chat.send('general', 'one'), chat.dm(8, 'two'), chat.send('garden', 'three')]) send.catch(() => {});
  await settle();
  sockets.length = 0;
  return memory(storage.items);
}

test('what was not stored is sent after a reload, in order, under the same nonces, before what is new', async () => {
  const storage = await leftBehind();
  const kept = JSON.parse(storage.items.get(KEY));
  assert.deepEqual(contents(kept), ['one', 'two', 'three']);

  const chat = client({ token: TOKEN, storage });
  const stored = record(chat, 'stored');
  const early = chat.send('general', 'four');
  const ready = chat.connect();
  await settle();
  last().open();
  assert.deepEqual(sends(last()), [], 'not before the server has said who this is');
  last().answer('hello', welcome());
  await ready;
  for (let id = 1; id <= 4; id += 1) store(id);
  assert.deepEqual(contents(sends(last())), ['one', 'two', 'three', 'four']);
  assert.deepEqual(sends(last()).slice(0, 3).map(({ nonce }) => nonce), kept.map(({ nonce }) => nonce));
  assert.equal((await early).id, 4);
  assert.deepEqual(stored.map(({ content, room, to, receipt: { id } }) => [content, room, to, id]),
    [['one', 'general', undefined, 1], ['two', undefined, 8, 2], ['three', 'garden', undefined, 3], ['four', 'general', undefined, 4]]);
  await settle();
  assert.equal(storage.items.has(KEY), false, 'what is stored is forgotten');
  chat.close();
});

test('a page sees what is restored before there is a connection, and every send as an event', async () => {
  const storage = await leftBehind();
  const chat = client({ token: TOKEN, storage });
  const queued = record(chat, 'queued');
  chat.connect();
  await settle();
  assert.deepEqual(contents(chat.outbox), ['one', 'two', 'three']);
  assert.deepEqual(Object.keys(chat.outbox[1]).sort(), ['content', 'nonce', 'to']);
  assert.ok(queued.every(({ restored }) => restored) && queued.length === 3);
  chat.send('general', 'four', { nonce: 'n4' }).catch(() => {});
  assert.deepEqual(queued[3], { room: 'general', content: 'four', nonce: 'n4', restored: false });
  chat.close();
});

test('a token that does not say whose it is restores at the welcome, still in order', async () => {
  const storage = await leftBehind();
  const chat = client({ storage });
  const ready = chat.connect();
  const four = chat.send('general', 'four');
  await settle();
  last().open();
  assert.deepEqual(contents(chat.outbox), ['four']);
  assert.deepEqual(sends(last()), []);
  last().answer('hello', welcome());
  await ready;
  assert.deepEqual(contents(chat.outbox), ['one', 'two', 'three', 'four']);
  assert.deepEqual(contents(sends(last())), ['one']);
  for (let id = 1; id <= 4; id += 1) store(id);
  assert.equal((await four).id, 4);
  chat.close();
});

test('a storage that answers with promises is waited for', async () => {
  const inner = await leftBehind();
  const later = (call) => async (...given) => { await settle(); return call(...given); };
  const storage = { getItem: later(inner.getItem), setItem: later(inner.setItem), removeItem: later(inner.removeItem) };
  const chat = client({ token: TOKEN, storage });
  chat.connect();
  chat.send('general', 'four').catch(() => {});
  for (let turn = 0; turn < 5; turn += 1) await settle();
  assert.deepEqual(contents(chat.outbox), ['one', 'two', 'three', 'four']);
  for (let turn = 0; turn < 5; turn += 1) await settle();
  assert.deepEqual(contents(JSON.parse(inner.items.get(KEY))), ['one', 'two', 'three', 'four']);
  last().open();
  last().answer('hello', welcome());
  for (let id = 1; id <= 4; id += 1) store(id);
  for (let turn = 0; turn < 9; turn += 1) await settle();
  assert.equal(inner.items.has(KEY), false, 'the last write wins');
  chat.close();
});

test('another user never sends what somebody left, and its writer finds it again', async () => {
  const storage = await leftBehind();
  const other = await connected({ token: jwt({ user_id: 9 }), storage }, { userId: 9 });
  assert.deepEqual(other.outbox, []);
  other.send('general', 'mine').catch(() => {});
  await settle();
  assert.deepEqual(contents(sends(last())), ['mine']);
  other.close();
  await settle();
  const back = await connected({ token: TOKEN, storage });
  assert.deepEqual(contents(back.outbox), ['one', 'two', 'three']);
  back.close();
});

test('a token that names a user whom the server reads in another way sends nothing of theirs', async () => {
  const storage = await leftBehind();
  const chat = client({ token: TOKEN, storage });
  const unsent = record(chat, 'unsent');
  const ready = chat.connect();
  await settle();
  assert.equal(chat.outbox.length, 3);
  last().open();
  last().answer('hello', welcome({ userId: 9 }));
  await ready;
  assert.deepEqual(sends(last()), []);
  assert.deepEqual(unsent.map(({ error }) => error.code), ['forbidden', 'forbidden', 'forbidden']);
  await settle();
  assert.deepEqual(contents(JSON.parse(storage.items.get(KEY))), ['one', 'two', 'three']);
  chat.close();
});

test('a client whose token becomes another user\'s sends nothing and is closed', async () => {
  for (const token of [jwt({ user_id: 9 }), 'opaque']) {
    let tokens = [TOKEN, token];
    const chat = await connected({ token: undefined, getToken: () => tokens.shift() ?? token });
    const refused = record(chat, 'refused');
    last().end();
    await settle();
    chat.send('general', 'mine').catch(() => {});
    mock.timers.tick(1_000);
    await settle();
    if (chat.state !== 'closed') {
      last().open();
      last().answer('hello', welcome({ userId: 9 }));
    }
    assert.equal(chat.state, 'closed');
    assert.deepEqual(sends(last()), []);
    assert.equal(refused[0].code, 'forbidden');
  }
});

/** An attempt at a connection that fails, and the next one after it. */
async function again() {
  last().end();
  await settle();
  mock.timers.tick(1_000);
  await settle();
}

test('what one user wrote before any connection is never sent as the next one, and is that user\'s again later', async () => {
  for (const kept of [false, true]) {
    const storage = kept ? await leftBehind() : undefined;
    let token = TOKEN;
    const chat = client({ token: undefined, getToken: () => token, storage });
    const unsent = record(chat, 'unsent');
    const ready = chat.connect();
    const unknown = chat.send('general', 'before anybody was named').catch((error) => error);
    await settle();
    const private_ = chat.send('general', 'private').catch((error) => error);
    token = jwt({ user_id: 9 });
    await again();
    assert.equal((await private_).code, 'forbidden');
    assert.equal((await unknown).code, 'forbidden', 'it was written by the first one who was named');
    assert.deepEqual(contents(chat.outbox), []);
    chat.send('general', 'of the other').catch(() => {});
    last().open();
    last().answer('hello', welcome({ userId: 9 }));
    await ready;
    assert.deepEqual(contents(sends(last())), ['of the other']);
    const left = kept ? ['one', 'two', 'three'] : [];
    assert.deepEqual(contents(unsent), [...left, 'before anybody was named', 'private']);
    await settle();
    chat.close();
    if (!kept) continue;
    assert.deepEqual(JSON.parse(storage.items.get(KEY)).map(({ user, content }) => [user, content]),
      [...[...left, 'before anybody was named', 'private'].map((content) => [ME, content]), [9, 'of the other']]);
    const back = await connected({ token: TOKEN, storage });
    assert.deepEqual(contents(back.outbox), [...left, 'before anybody was named', 'private']);
    back.close();
  }
});

test('a connection that does not say whose it is before the welcome sends nothing before it', async () => {
  for (const storage of [undefined, memory()]) {
    const tokens = [TOKEN, 'opaque'];
    const chat = client({ token: undefined, getToken: () => tokens.shift() ?? 'opaque', storage });
    chat.connect();
    await settle();
    const promise = chat.send('general', 'private').catch((error) => error);
    await again();
    last().open();
    assert.deepEqual(sends(last()), []);
    last().answer('hello', welcome({ userId: 9 }));
    assert.equal((await promise).code, 'forbidden');
    assert.deepEqual(sends(last()), []);
    chat.close();
  }
});

test('a user who comes back before anybody was welcomed gets back what the storage kept', async () => {
  const storage = memory();
  const tokens = [TOKEN, jwt({ user_id: 9 }), TOKEN];
  const chat = client({ token: undefined, getToken: () => tokens.shift(), storage });
  chat.connect();
  await settle();
  chat.send('general', 'mine').catch(() => {});
  await again();
  assert.deepEqual(contents(chat.outbox), []);
  await again();
  assert.deepEqual(contents(chat.outbox), ['mine']);
  last().open();
  last().answer('hello', welcome());
  assert.deepEqual(contents(sends(last())), ['mine']);
  chat.close();
});

test('what was written before anybody was named belongs to the first one who is welcomed', async () => {
  const storage = memory();
  const tokens = ['opaque one', 'opaque other'];
  const chat = client({ token: undefined, getToken: () => tokens.shift(), storage });
  chat.connect();
  chat.send('general', 'whose').catch(() => {});
  await settle();
  await again();
  assert.equal(storage.items.size, 0, 'nothing is kept in no name');
  last().open();
  last().answer('hello', welcome({ userId: 9 }));
  await settle();
  assert.deepEqual(contents(sends(last())), ['whose']);
  assert.deepEqual(JSON.parse(storage.items.get(KEY)).map(({ user }) => user), [9]);
  chat.close();
});

test('two tabs with the same leftovers make one message of each', async () => {
  const storage = await leftBehind();
  const nonces = [];
  for (const copy of [memory(storage.items), memory(storage.items)]) {
    const chat = await connected({ token: TOKEN, storage: copy });
    for (let id = 1; id <= 3; id += 1) store(id);
    nonces.push(sends(last()).map(({ nonce }) => nonce));
    await settle();
    assert.deepEqual([chat.outbox, copy.items.size], [[], 0]);
    chat.close();
  }
  assert.deepEqual(nonces[0], nonces[1], 'which the server takes for the same ones');
});

test('a restored send can be taken back, and a repeat of it is the same send', async () => {
  const storage = await leftBehind();
  const chat = client({ token: TOKEN, storage });
  const unsent = record(chat, 'unsent');
  chat.connect();
  await settle();
  const [one, , three] = chat.outbox;
  assert.equal(chat.cancel(three.nonce), true);
  assert.deepEqual(unsent.map(({ content, error }) => [content, error.code]), [['three', 'cancelled']]);
  const again = chat.send('general', 'one', { nonce: one.nonce });
  await settle();
  assert.deepEqual(contents(chat.outbox), ['one', 'two']);
  assert.deepEqual(contents(JSON.parse(storage.items.get(KEY))), ['one', 'two']);
  last().open();
  last().answer('hello', welcome());
  store(1);
  assert.equal((await again).id, 1);
  chat.close();
});

test('`close` keeps what waits, and the next connection sends it', async () => {
  const storage = memory();
  const chat = await connected({ token: TOKEN, storage });
  const unsent = record(chat, 'unsent');
  const promise = chat.send('general', 'one');
  chat.close();
  await assert.rejects(promise, { code: 'disconnected' });
  assert.equal(unsent[0].error.code, 'disconnected');
  await settle();
  assert.deepEqual(contents(JSON.parse(storage.items.get(KEY))), ['one']);
  const [nonce] = [unsent[0].nonce];
  chat.connect();
  await settle();
  last().open();
  assert.deepEqual(sends(last()).map((sent) => sent.nonce), [nonce]);
  chat.close();
});

/** All goes on as without a storage. */
async function opensAndStores(chat) {
  last().open();
  last().answer('hello', welcome());
  const sent = chat.send('general', 'x');
  store(1);
  assert.equal((await sent).id, 1);
  chat.close();
}

test('a storage with something else in it costs the memory and nothing more', async () => {
  for (const text of ['{', '7', '[{"user":7}]', '[{"user":7,"nonce":"n","content":"x","room":"a","to":3}]', 'null[']) {
    const storage = memory([[KEY, text]]);
    const chat = client({ token: TOKEN, storage });
    const errors = record(chat, 'error');
    chat.connect();
    await settle();
    assert.deepEqual(errors.map(({ code }) => code), ['storage'], text);
    await opensAndStores(chat);
  }
});

test('a storage that fails to be read is not written over, and what it holds is found at the next connection', async () => {
  for (const settled of [(call) => call(), async (call) => call()]) {
    const held = JSON.stringify([{ user: ME, nonce: 'n1', room: 'general', content: 'kept' }, { user: 9, nonce: 'n1', room: 'general', content: 'of the other' }]);
    const inner = memory([[KEY, held]]);
    let fails = true;
    const read = () => { if (fails) throw new Error('not now'); return inner.getItem(KEY); };
    const chat = client({ token: TOKEN, storage: { ...inner, getItem: () => settled(read) } });
    const errors = record(chat, 'error');
    chat.connect();
    await settle();
    chat.send('general', 'new').catch(() => {});
    await settle();
    assert.equal(inner.items.get(KEY), held, 'nothing is lost');
    assert.deepEqual(errors.map(({ code }) => code), ['storage'], 'told once');
    fails = false;
    chat.send('general', 'newer').catch(() => {});
    await settle();
    assert.deepEqual(contents(JSON.parse(inner.items.get(KEY))), ['kept', 'of the other', 'new', 'newer']);
    await again();
    await settle();
    assert.deepEqual(contents(chat.outbox), ['kept', 'new', 'newer']);
    chat.close();
  }
});

test('a storage that never answers does not hold the connection', async () => {
  const never = () => new Promise(() => {});
  const chat = client({ token: TOKEN, storage: { getItem: never, setItem: never, removeItem: never } });
  const errors = record(chat, 'error');
  chat.connect();
  await settle();
  assert.equal(sockets.length, 0);
  mock.timers.tick(5_000);
  await settle();
  assert.deepEqual([sockets.length, errors.map(({ code }) => code)], [1, ['storage']]);
  await opensAndStores(chat);
});

test('what is no outbox stays where it is until there is something to keep', async () => {
  const storage = memory([[KEY, '{"of":"somebody"}']]);
  const chat = await connected({ token: TOKEN, storage });
  await settle();
  assert.equal(storage.items.get(KEY), '{"of":"somebody"}');
  chat.send('general', 'x').catch(() => {});
  await settle();
  assert.deepEqual(contents(JSON.parse(storage.items.get(KEY))), ['x']);
  chat.close();
});

test('of what a storage holds only what a send is made of becomes a frame', async () => {
  const kept = { user: ME, nonce: 'n1', room: 'general', content: 'hi', type: 'leave', ref: 'mine', token: 'x', data: {} };
  const storage = memory([[KEY, JSON.stringify([kept, { ...kept, nonce: 'n2', content: '\ud800' }, { ...kept, nonce: 'n3', room: undefined, to: -1 }])]]);
  const chat = client({ token: TOKEN, storage });
  const queued = record(chat, 'queued');
  const ready = chat.connect();
  await settle();
  last().open();
  last().answer('hello', welcome());
  await ready;
  assert.deepEqual(queued, [{ nonce: 'n1', room: 'general', content: 'hi', restored: true }]);
  assert.deepEqual({ ...last().sent.at(-1), ref: 0 }, { type: 'message', nonce: 'n1', room: 'general', content: 'hi', ref: 0 });
  store(1);
  await settle();
  assert.deepEqual(chat.outbox, [], 'and what no server could answer holds nothing up');
  chat.close();
});

test('what is whole among broken entries is still sent', async () => {
  const whole = { user: ME, nonce: 'n1', room: 'general', content: 'whole' };
  const storage = memory([[KEY, JSON.stringify([null, whole, { ...whole, content: 3 }])]]);
  const chat = await connected({ token: TOKEN, storage });
  assert.deepEqual(contents(sends(last())), ['whole']);
  chat.close();
});

test('a full or forbidden storage is told once, and messages are sent all the same', async () => {
  const storage = memory();
  let full = true;
  const set = storage.setItem;
  storage.setItem = (...given) => {
    if (full) throw new DOMException('full', 'QuotaExceededError');
    set(...given);
  };
  const chat = await connected({ token: TOKEN, storage });
  const errors = record(chat, 'error');
  for (let number = 1; number <= 3; number += 1) {
    chat.send('general', `number ${number}`).catch(() => {});
    await settle();
  }
  assert.deepEqual(errors.map(({ code }) => code), ['storage']);
  store(1);
  assert.deepEqual(contents(sends(last())), ['number 1', 'number 2']);
  full = false;
  chat.send('general', 'number 4').catch(() => {});
  await settle();
  assert.equal(JSON.parse(storage.items.get(KEY)).length, 3, 'when there is room again, all is kept');
  chat.close();

  const throwing = { getItem() { throw new DOMException('no', 'SecurityError'); }, setItem() { throw new Error('no'); }, removeItem() { throw new Error('no'); } };
  const other = await connected({ token: TOKEN, storage: throwing });
  other.send('general', 'x').catch(() => {});
  assert.equal(sends(last()).length, 1);
  other.close();
});

test('two tabs with one storage and one key keep what each of them wrote', async () => {
  const storage = memory();
  const [one, other] = [client({ token: TOKEN, storage }), client({ token: TOKEN, storage })];
  for (const chat of [one, other]) chat.connect();
  await settle();
  const [socketOfOne] = sockets;
  one.send('general', 'from one', { nonce: 'n1' }).catch(() => {});
  other.send('general', 'from the other', { nonce: 'n2' }).catch(() => {});
  const kept = () => contents(JSON.parse(storage.items.get(KEY) ?? '[]'));
  await settle();
  assert.deepEqual(kept(), ['from one', 'from the other']);
  socketOfOne.open();
  socketOfOne.answer('hello', welcome());
  socketOfOne.answer('message', receipt(sends(socketOfOne)[0], 1));
  await settle();
  assert.deepEqual(kept(), ['from the other']);

  // A third one takes what the other is still trying: both send it, and both are done with it.
  const third = await connected({ token: TOKEN, storage });
  assert.deepEqual(sends(last()).map(({ nonce }) => nonce), ['n2']);
  third.send('general', 'from the third').catch(() => {});
  store(2);
  await settle();
  assert.deepEqual(kept(), ['from the third']);
  sockets[1].open();
  sockets[1].answer('hello', welcome());
  sockets[1].answer('message', { ...receipt(sends(sockets[1])[0], 2), duplicate: true });
  await settle();
  assert.deepEqual([kept(), other.outbox], [['from the third'], []]);
  for (const chat of [one, other, third]) chat.close();
});

test('a storage keeps no more than 1,000 sends, and a client takes no more: the rest is neither lost nor silent', async () => {
  const entry = (number) => ({ user: ME, nonce: `n${number}`, room: 'general', content: `number ${number}` });
  const storage = memory([[KEY, JSON.stringify(Array.from({ length: 1_200 }, (_, number) => entry(number)))]]);
  const chat = client({ token: TOKEN, storage });
  const errors = record(chat, 'error');
  const ready = chat.connect();
  await settle();
  assert.equal(chat.outbox.length, 1_000);
  assert.match(errors[0].message, /^200 messages stay in the storage/);
  last().open();
  last().answer('hello', welcome());
  await ready;
  store(1);
  chat.send('general', 'one more').catch(() => {});
  await settle();
  const kept = JSON.parse(storage.items.get(KEY));
  assert.deepEqual([kept.length, kept.at(-1).content], [1_199, 'number 1199']);
  assert.deepEqual([errors.length, errors[1].code], [2, 'storage']);
  assert.match(errors[1].message, /1000 messages are kept already/);
  for (let id = 2; id <= 201; id += 1) store(id);
  await settle();
  assert.equal(JSON.parse(storage.items.get(KEY)).at(-1).content, 'one more', 'once there is room');
  chat.close();
});

test('two clients with keys of their own share a storage', async () => {
  const storage = memory();
  const [one, other] = [await connected({ token: TOKEN, storage, storageKey: 'a' }), await connected({ token: TOKEN, storage, storageKey: 'b' })];
  one.send('general', 'one').catch(() => {});
  other.send('general', 'two').catch(() => {});
  await settle();
  assert.deepEqual(['a', 'b'].map((key) => contents(JSON.parse(storage.items.get(key)))), [['one'], ['two']]);
  one.close();
  other.close();
});

test('a send that is refused at once is an event too', async () => {
  const chat = await connected();
  const [queued, unsent] = [record(chat, 'queued'), record(chat, 'unsent')];
  await assert.rejects(chat.send('general', '\ud800', { nonce: 'n' }), { code: 'invalid_field' });
  assert.deepEqual(queued, []);
  assert.deepEqual([unsent[0].nonce, unsent[0].error.code], ['n', 'invalid_field']);
  chat.close();
});

test('`history` asks for either kind, and `cursor` tells what has been told', async () => {
  const chat = await connected({}, { lastId: 3 });
  assert.deepEqual(chat.cursor, { epoch: 'e1', lastId: 3 });
  const room = chat.history({ room: 'general' }, { limit: 2, before: 9 });
  assert.deepEqual({ ...last().request('room_history'), ref: 0 }, { type: 'room_history', room: 'general', limit: 2, before: 9, ref: 0 });
  last().answer('room_history', [], { hasMore: true });
  assert.deepEqual(await room, { messages: [], hasMore: true });
  const direct = chat.history({ with: 8 });
  last().answer('dm_history', [dm(1)], { hasMore: false });
  assert.equal((await direct).messages.length, 1);
  last().dm(5);
  assert.equal(chat.cursor.lastId, 5);
  chat.close();
});
