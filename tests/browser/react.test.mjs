/** The hook in React, with a document but no browser: against a WebSocket of our own, and once against the real server. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import WebSocket from 'ws';
import { FakeSocket, ME, answerWith, connected, jwt, last, memory, message, resumed, settle, sockets, welcome } from './fakes.mjs';
import { Server, TornNetwork } from './harness.mjs';
import { React, StrictMode, act, createChatStore, createRoot, h, hydrateRoot, place, renderToString, useChat } from './react.mjs';

const OPTIONS = { url: 'ws://chat.test/ws', WebSocket: FakeSocket, fetch: answerWith(200) };
const roots = [];
const complaints = [];

beforeEach(() => {
  sockets.length = complaints.length = 0;
  // React says here what it does not like: a snapshot that is never the same, an update outside `act`, a hydration that differs.
  mock.method(console, 'error', (...words) => words.join(' ').includes('ExperimentalWarning') || complaints.push(words.join(' ')));
});

afterEach(async () => {
  await act(async () => { for (const root of roots.splice(0)) root.unmount(); });
  if (clock) {
    mock.timers.tick(10_000); // whoever let go of a connection has closed it
    mock.timers.reset();
  }
  clock = false;
  mock.restoreAll();
  assert.deepEqual(complaints, []);
});

let clock = false;
function stopClock() {
  clock = true;
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
}

/** Counts how often it is drawn, and gives its snapshot out. */
const view = { draws: 0, chat: null };
function Room({ source, strict: _strict }) {
  view.chat = useChat(source);
  view.draws += 1;
  const { state, rooms, outbox } = view.chat;
  const items = (rooms.general?.messages ?? []).map(({ id, content }) => h('li', { key: id }, content));
  return h('section', null, h('p', null, state), h('ol', null, items), h('ul', null, outbox.map(({ nonce, content }) => h('li', { key: nonce }, content))));
}

async function render(element, into = place()) {
  const root = createRoot(into);
  roots.push(root);
  view.draws = 0;
  await act(async () => { root.render(element); });
  return { root, into };
}

const room = (more = {}) => h(Room, { source: { ...OPTIONS, token: 'a.b.c', rooms: ['general'], ...more } });
const strict = (element) => h(StrictMode, null, element);
const shown = (into, list = 'ol') => [...into.querySelectorAll(`${list} li`)].map((item) => item.textContent);
/** Lets the server do something, and React draw it. */
const server = (does) => act(async () => { await does(last()); await settle(); await settle(); });

/** The server welcomes, and the room is joined and read. */
async function greet(numbers = []) {
  const end = numbers.at(-1) ?? 0;
  await server((socket) => { socket.open(); socket.answer('hello', welcome()); });
  await server((socket) => socket.answer('join', { room: 'general', status: 'ok', lastId: end, lastSeq: end }));
  await server((socket) => socket.answer('room_history', numbers.map((number) => message(number)), { hasMore: false }));
}

test('StrictMode, which mounts twice, makes one connection and keeps it', async () => {
  stopClock();
  const { into } = await render(strict(room()));
  await act(async () => { mock.timers.tick(10_000); await settle(); });
  assert.equal(sockets.length, 1);
  assert.equal(last().closed, false);
  await greet([1]);
  assert.deepEqual(shown(into), ['m1']);
  assert.equal(last().requests('join').length, 1);
});

test('options that are written anew with every draw are the same chat, and the drawing comes to rest', async () => {
  stopClock();
  const { root } = await render(strict(room()));
  await greet([1]);
  const { draws } = view;
  for (let turn = 0; turn < 5; turn += 1) await act(async () => { root.render(strict(room())); });
  assert.equal(sockets.length, 1);
  assert.ok(view.draws - draws <= 10, `${view.draws - draws} draws for 5`);
  const still = view.draws;
  await act(async () => { await settle(); });
  assert.equal(view.draws, still);
});

test('messages are shown in order and once, through a cut', async () => {
  stopClock();
  const { into } = await render(strict(room()));
  await greet([1, 2]);
  await server((socket) => socket.message(3));
  await act(async () => { view.chat.send('general', 'mine'); });
  assert.deepEqual(shown(into, 'ul'), ['mine']);
  const { nonce } = last().request('message');
  await server((socket) => socket.end());
  assert.equal(into.querySelector('p').textContent, 'reconnecting');
  await act(async () => { mock.timers.tick(1_000); await settle(); });
  await server((socket) => { socket.open(); socket.answer('resume', resumed({ replayed: 2, lastId: 5 })); socket.answer('hello', welcome()); });
  await server((socket) => {
    assert.equal(socket.request('message').nonce, nonce);
    socket.message(4);
    socket.say({ type: 'message', data: message(5, { fromUser: 7, content: 'mine', nonce }) });
    socket.answer('message', { status: 'ok', id: 5, seq: 5, timestamp: message(5).timestamp, nonce, duplicate: true });
  });
  assert.deepEqual(shown(into), ['m1', 'm2', 'm3', 'm4', 'mine']);
  assert.deepEqual(shown(into, 'ul'), []);
});

test('an unmount closes the connection', async () => {
  stopClock();
  const { root } = await render(strict(room()));
  await greet();
  await act(async () => { root.unmount(); });
  await act(async () => { mock.timers.tick(10_000); await settle(); });
  assert.ok(last().closed);
  assert.equal(sockets.length, 1);
});

test('another token is another connection, and the old one is closed', async () => {
  stopClock();
  const { root, into } = await render(strict(room()));
  await greet([1]);
  const [old] = sockets;
  await act(async () => { root.render(strict(room({ token: 'd.e.f' }))); });
  assert.deepEqual(shown(into), [], 'what somebody else may have read is gone');
  await act(async () => { mock.timers.tick(10_000); await settle(); });
  assert.equal(sockets.length, 2);
  assert.ok(old.closed);
  assert.deepEqual([last().closed, last().protocols[1]], [false, 'bearer.d.e.f']);
});

test('`getToken` may be another function with every draw: the last one is asked, by the same connection', async () => {
  stopClock();
  const asked = [];
  const draw = (name) => strict(room({ token: undefined, getToken: () => { asked.push(name); return name; } }));
  const { root } = await render(draw('first'));
  await greet();
  await act(async () => { root.render(draw('second')); });
  assert.equal(sockets.length, 1);
  await server((socket) => socket.end(4401, 'token expired'));
  assert.deepEqual([asked[0], asked.at(-1)], ['first', 'second']);
});

test('a connection that is replaced ends at once, and never asks for the token of the one after it', async () => {
  stopClock();
  mock.method(Math, 'random', () => 0.2); // 100 ms until the next attempt
  const draw = (url, token) => strict(room({ url, token: undefined, getToken: () => token }));
  const { root } = await render(draw('ws://one.test/ws', jwt({ user_id: 1 })));
  await greet();
  const before = view.chat.client;
  await server((socket) => socket.end());
  await act(async () => { root.render(draw('ws://other.test/ws', jwt({ user_id: 2 }))); });
  assert.equal(before.state, 'closed', 'before its next attempt');
  await act(async () => { before.connect(); await settle(); }); // whoever kept it, and a new attempt that is under way already
  before.close();
  await act(async () => { mock.timers.tick(10_000); await settle(); });
  const told = sockets.map(({ url, protocols }) => [new URL(url).host, JSON.parse(atob(protocols[1].split('.')[2])).user_id]);
  assert.deepEqual(told.map(String), ['one.test,1', 'other.test,2', 'one.test,1']);
});

test('a renewed token of the same user is the same connection, renewed, and what waits is sent', async () => {
  stopClock();
  const draw = (number) => strict(room({ token: jwt({ user_id: ME, number }) }));
  const { root, into } = await render(draw(1));
  await greet([1]);
  await act(async () => { root.render(draw(2)); });
  assert.deepEqual([sockets.length, shown(into)], [1, ['m1']]);
  assert.equal(last().request('auth').token, jwt({ user_id: ME, number: 2 }));
  await server((socket) => socket.answer('auth', { exp: 4_000_000_000 }));

  await server((socket) => socket.end());
  let outcome;
  await act(async () => { view.chat.send('general', 'typed offline').then((receipt) => { outcome = receipt; }); });
  await act(async () => { root.render(draw(3)); });
  assert.deepEqual([shown(into, 'ul'), shown(into)], [['typed offline'], ['m1']]);
  await act(async () => { mock.timers.tick(1_000); await settle(); });
  assert.deepEqual([sockets.length, last().protocols[1]], [2, `bearer.${jwt({ user_id: ME, number: 3 })}`]);
  await server((socket) => { socket.open(); socket.answer('resume', resumed({ lastId: 1 })); socket.answer('hello', welcome()); });
  await server((socket) => socket.answer('message', { status: 'ok', id: 2, seq: 2, timestamp: message(2).timestamp, nonce: socket.request('message').nonce }));
  assert.equal(outcome.id, 2);
  assert.deepEqual([shown(into, 'ul'), shown(into)], [[], ['m1', 'typed offline']]);
});

test('a renewed token ends a refusal of the one before it', async () => {
  stopClock();
  const draw = (number) => strict(room({ token: jwt({ user_id: ME, number }) }));
  const { root, into } = await render(draw(1));
  await greet([1]);
  await server((socket) => socket.end(4401, 'token expired'));
  assert.equal(into.querySelector('p').textContent, 'closed');
  await act(async () => { root.render(draw(2)); });
  await act(async () => { await settle(); });
  assert.deepEqual([sockets.length, last().protocols[1]], [2, `bearer.${jwt({ user_id: ME, number: 2 })}`]);
});

test('another user\'s token is another chat: what waited fails there, and is kept for whoever wrote it', async () => {
  stopClock();
  const storage = memory();
  const draw = (user) => strict(room({ token: jwt({ user_id: user }), storage }));
  const { root, into } = await render(draw(ME));
  await greet([1]);
  await server((socket) => socket.end());
  let code;
  await act(async () => { view.chat.send('general', 'typed offline').catch((error) => { code = error.code; }); });
  await act(async () => { root.render(draw(9)); await settle(); });
  assert.equal(code, 'disconnected');
  assert.deepEqual([shown(into), shown(into, 'ul')], [[], []]);
  await server((socket) => { socket.open(); socket.answer('hello', welcome({ userId: 9 })); });
  await act(async () => { view.chat.send('general', 'mine'); await settle(); });
  assert.deepEqual(last().requests('message').map(({ content }) => content), ['mine']);
  assert.deepEqual([...storage.items.values()].flatMap(JSON.parse).map(({ user, content }) => [user, content]), [[ME, 'typed offline'], [9, 'mine']]);
  await act(async () => { root.render(draw(ME)); await settle(); });
  assert.deepEqual(shown(into, 'ul'), ['typed offline']);
});

test('another list of rooms joins what is new in it', async () => {
  stopClock();
  const { root } = await render(strict(room()));
  await greet();
  await act(async () => { root.render(strict(room({ rooms: ['general', 'garden'] }))); });
  assert.deepEqual(last().requests('join').map((join) => join.room), ['general', 'garden']);
  await act(async () => { root.render(strict(room({ rooms: ['garden'] }))); });
  assert.equal(last().request('leave').room, 'general');
});

test('a store that several components share is one connection, until the last of them is gone', async () => {
  stopClock();
  const store = createChatStore({ ...OPTIONS, token: 'a.b.c', rooms: ['general'] });
  const two = (both) => strict(h(React.Fragment, null, h(Room, { source: store }), both && h(Room, { source: store })));
  const { root, into } = await render(two(true));
  await greet([1]);
  assert.deepEqual([sockets.length, shown(into)], [1, ['m1', 'm1']]);
  await act(async () => { root.render(two(false)); });
  await act(async () => { mock.timers.tick(10_000); await settle(); });
  assert.equal(last().closed, false);
});

test('a component that is replaced by another keeps the connection of their store', async () => {
  stopClock();
  const store = createChatStore({ ...OPTIONS, token: 'a.b.c', rooms: ['general'] });
  const { root, into } = await render(h(Room, { source: store }));
  await greet([1]);
  await act(async () => { root.render(h('p', null, 'loading')); });
  await act(async () => { mock.timers.tick(100); await settle(); });
  await act(async () => { root.render(h(Room, { source: store })); });
  await act(async () => { mock.timers.tick(10_000); await settle(); });
  assert.deepEqual([sockets.length, last().closed, shown(into)], [1, false, ['m1']]);
});

test('a client that was passed in is shared too, and stays open', async () => {
  stopClock();
  const chat = await connected();
  const { root, into } = await render(strict(h(React.Fragment, null, h(Room, { source: chat }), h(Room, { source: chat }))));
  await server((socket) => socket.answer('hello', welcome()));
  await act(async () => { view.chat.join('general'); });
  await server((socket) => socket.answer('join', { room: 'general', status: 'ok', lastId: 0, lastSeq: 0 }));
  await server((socket) => socket.answer('room_history', [message(1)], { hasMore: false }));
  assert.deepEqual(shown(into), ['m1', 'm1']);
  await act(async () => { root.unmount(); });
  mock.timers.tick(10_000);
  assert.equal(chat.state, 'open');
  chat.close();
});

test('a server draws it without a connection, and the page takes that over', async () => {
  stopClock();
  const html = renderToString(room());
  assert.match(html, /<p>idle<\/p>/);
  assert.equal(sockets.length, 0);
  const into = place();
  into.append(...new window.DOMParser().parseFromString(html, 'text/html').body.childNodes);
  await act(async () => { roots.push(hydrateRoot(into, room())); await settle(); });
  assert.equal(sockets.length, 1);
  await greet([1]);
  assert.deepEqual(shown(into), ['m1']);
});

test('with the real server: two people, cuts, and every message once and in order', async (t) => {
  const real = await Server.start('--rate-limit', '0');
  t.after(() => real.stop());
  const network = await TornNetwork.before(real);
  t.after(() => network.close());
  class Socket extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      this.on('error', () => {});
    }
  }
  const url = `${network.url.replace('http', 'ws')}ws`;
  const chats = [];
  function Person({ token, number }) {
    chats[number] = useChat({ url, token, WebSocket: Socket, rooms: ['general'] });
    return h('ol', null, (chats[number].rooms.general?.messages ?? []).map(({ id, content }) => h('li', { key: id }, content)));
  }
  const tokens = await Promise.all(['ann', 'bob'].map(async (username) => {
    const answer = await fetch(`${real.url}api/v1/auth/guest`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username }) });
    return (await answer.json()).token;
  }));
  /** Lets React draw until this holds. */
  const until = async (holds) => {
    const end = Date.now() + 20_000;
    while (!holds()) {
      assert.ok(Date.now() < end, 'it does not come about');
      await act(async () => { await new Promise((resolve) => { setTimeout(resolve, 10); }); });
    }
  };
  const { into } = await render(strict(h(React.Fragment, null, tokens.map((token, number) => h(Person, { key: number, token, number })))));
  await until(() => chats.every(({ rooms }) => rooms.general.status === 'ready'));
  let ended = 0; // counted: an end that is followed by a connection at once is seen by nobody who looks now and then
  for (const { client } of chats) client.on('close', () => { ended += 1; });
  for (let number = 1; number <= 30; number += 1) {
    await act(async () => { chats[number % 2].send('general', `number ${number}`); });
    if (number % 6 === 0) {
      const before = ended;
      network.tear();
      await until(() => ended > before);
      await act(async () => { for (const { client } of chats) client.reconnectNow(); });
    }
  }
  await act(async () => { for (const { client } of chats) client.reconnectNow(); });
  await until(() => chats.every(({ rooms, outbox }) => rooms.general.messages.length >= 30 && outbox.length === 0));
  const [ann, bob] = [...into.querySelectorAll('ol')].map((list) => [...list.children].map((item) => item.textContent));
  assert.deepEqual(ann, bob);
  assert.equal(new Set(ann).size, 30);
  for (const mine of [0, 1]) {
    const own = ann.filter((text) => Number(text.split(' ')[1]) % 2 === mine);
    assert.deepEqual(own, [...own].sort((a, b) => Number(a.split(' ')[1]) - Number(b.split(' ')[1])), 'in the order in which they were written');
  }
  assert.deepEqual(chats[0].rooms.general.messages.map(({ seq }) => seq), Array.from({ length: 30 }, (_, index) => index + 1));
});
