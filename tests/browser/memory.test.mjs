/** What a page remembers: what waits to be sent, through a reload; tokens that are renewed; histories, from the top. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Conversations } from '../../static/conversations.js';
import { newSession } from '../../static/session.js';
import { Person, Server, stage } from './harness.mjs';

const STATIC = fileURLToPath(new URL('../../static', import.meta.url));
const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
const { browser, server } = await stage();

/** A server of one's own, to be killed. */
async function ownServer(t, ...flags) {
  const own = await Server.start(...flags);
  t.after(() => own.stop());
  return own;
}

/** A reload while no server is there: in its place stands what has its files and nothing else, as a cache would. */
async function reloadOffline(t, { page }, { address }) {
  const standIn = http.createServer(async (request, response) => {
    const name = new URL(request.url, 'http://localhost').pathname.slice(1) || 'index.html';
    const type = TYPES[path.extname(name).slice(1)];
    if (!type || name.includes('/')) return request.socket.destroy();
    response.setHeader('content-type', type);
    response.setHeader('cache-control', 'no-store');
    response.setHeader('connection', 'close');
    response.end(await readFile(path.join(STATIC, name)));
  });
  standIn.on('upgrade', (_request, socket) => socket.destroy());
  const [host, port] = address.split(':');
  await new Promise((resolve) => { standIn.listen(Number(port), host, resolve); });
  const close = () => new Promise((resolve) => { standIn.close(resolve); standIn.closeAllConnections(); });
  t.after(close);
  await page.reload();
  return async function back(own) {
    await close();
    await own.run();
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
  };
}

/** What the server has of a room or of the DMs with somebody, to whom this token belongs. */
async function history(at, token, place) {
  const url = new URL(`/api/v1/${place}/messages?limit=200`, at.url);
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 200);
  return (await answer.json()).messages.map(({ content }) => content);
}

async function post(at, token, body) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(new URL('/api/v1/chat/messages', at.url), { method: 'POST', headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `posting was refused: ${answer.status}`);
}

async function join({ page }, room) {
  await page.locator('#join-name').fill(room);
  await page.locator('#join-name').press('Enter');
  await page.locator('#talk-name', { hasText: `#${room}` }).waitFor();
}

async function openDm({ page }, id) {
  await page.locator('#dm-id').fill(String(id));
  await page.locator('#dm-id').press('Enter');
}

const THREE = ['one', 'two', 'three'];

test('what waits stands under its own name, also below what somebody else said', async (t) => {
  const own = await ownServer(t);
  const [ann, bob] = await Promise.all(['ann', 'bob'].map(async (name) => (await Person.arrive(browser, own)).asGuest(name)));
  await bob.write('last');
  await ann.sees('last');
  await own.kill();
  await ann.page.locator('#pill[data-state=reconnecting]').waitFor();
  for (const text of THREE) await ann.write(text);
  const waiting = ann.page.locator('.outgoing.waiting');
  await waiting.nth(2).waitFor();
  assert.deepEqual(await waiting.locator('.message-head:not(.unseen) .name').allTextContents(), ['ann'], 'once for all three');
  assert.ok(await waiting.first().locator('.name').isVisible());
  for (const person of [ann, bob]) await person.leave();
});

test('what was written while the server was down survives a reload, and is stored once and in order', async (t) => {
  const own = await ownServer(t);
  const ann = await (await Person.arrive(browser, own)).asGuest();
  await join(ann, 'down');
  await ann.write('before');
  await ann.stored('before');
  await own.kill();
  await ann.page.locator('#pill[data-state=reconnecting]').waitFor();
  for (const text of THREE) await ann.write(text);
  await ann.page.locator('.outgoing.waiting').nth(2).waitFor();

  const back = await reloadOffline(t, ann, own);
  await ann.page.locator('#pill[data-state=reconnecting]').waitFor();
  await ann.page.locator('.outgoing.waiting').nth(2).waitFor();
  assert.deepEqual(await ann.contents(), THREE, 'after the reload they are shown, waiting');
  await ann.write('four');
  await ann.page.locator('.outgoing', { hasText: 'two' }).getByRole('button', { name: 'Discard' }).click();
  await ann.page.locator('.outgoing', { hasText: 'two' }).waitFor({ state: 'detached' });

  await back(own);
  for (const text of ['before', 'one', 'three', 'four']) await ann.stored(text);
  const expected = ['before', 'one', 'three', 'four'];
  assert.deepEqual(await ann.contents(), expected);
  assert.deepEqual(await history(own, await ann.token(), 'rooms/down'), expected);
  await ann.page.reload();
  await ann.sees('four');
  assert.deepEqual(await ann.contents(), expected, 'and once more nothing goes out again');
  assert.deepEqual(await history(own, await ann.token(), 'rooms/down'), expected);
  await ann.leave();
});

test('both people of the split view keep what they wrote, each their own, in a room and in their DMs', async (t) => {
  const own = await ownServer(t);
  const ann = await (await Person.arrive(browser, own, { viewport: { width: 1800, height: 1000 } })).asGuest();
  const { page } = ann;
  await page.getByRole('button', { name: 'Two guests side by side' }).click();
  await page.locator('#pill-2[data-state=open]').waitFor();
  const idOf = async (suffix) => Number(/user (\d+)/.exec(await page.locator(`#me-line${suffix}`).textContent())[1]);
  const [first, second] = [await idOf(''), await idOf('-2')];
  await page.locator('#dm-id').fill(String(second));
  await page.locator('#dm-id').press('Enter');
  await page.locator('#talk-name', { hasText: `user ${second}` }).waitFor();
  await own.kill();
  for (const suffix of ['', '-2']) await page.locator(`#pill${suffix}[data-state=reconnecting]`).waitFor();
  const write = async (suffix, text) => {
    await page.locator(`#composer-text${suffix}`).fill(text);
    await page.locator(`#composer-text${suffix}`).press('Enter');
  };
  for (const text of THREE) {
    await write('', `dm ${text}`);
    await write('-2', `room ${text}`);
  }
  await page.locator('#composer-text').fill('a draft of the first');
  await page.locator('#composer-text-2').fill('a draft of the second');
  const back = await reloadOffline(t, ann, own);
  for (const suffix of ['', '-2']) await page.locator(`#messages${suffix} .outgoing.waiting`).nth(2).waitFor();
  assert.equal(await page.locator('#composer-text').inputValue(), 'a draft of the first');
  assert.equal(await page.locator('#composer-text-2').inputValue(), 'a draft of the second');

  await back(own);
  for (const suffix of ['', '-2']) await page.locator(`#messages${suffix} .own .stored`).nth(2).waitFor();
  const dms = THREE.map((text) => `dm ${text}`);
  assert.deepEqual(await page.locator('#messages .content').allTextContents(), dms);
  assert.deepEqual(await page.locator('#messages-2 .content').allTextContents(), THREE.map((text) => `room ${text}`));
  assert.deepEqual(await history(own, await ann.token('chat-server-2'), `dms/${first}`), dms);
  assert.deepEqual(await history(own, await ann.token(), 'rooms/general'), THREE.map((text) => `room ${text}`));
  await ann.leave();
});

test('who signs out takes what waits with them: the next person sends none of it', async (t) => {
  const own = await ownServer(t);
  const ann = await (await Person.arrive(browser, own)).asGuest();
  await own.kill();
  await ann.page.locator('#pill[data-state=reconnecting]').waitFor();
  await ann.write('never sent');
  await ann.page.locator('.outgoing.waiting').waitFor();
  await ann.page.getByRole('button', { name: 'Sign out' }).click();
  assert.deepEqual(await ann.page.evaluate(() => Object.keys(sessionStorage).filter((key) => key.startsWith('chat-server:'))), []);
  await own.run();
  await ann.page.reload();
  await ann.asGuest();
  await ann.write('from somebody else');
  await ann.stored('from somebody else');
  assert.deepEqual(await ann.contents(), ['from somebody else']);
  assert.deepEqual(await history(own, await ann.token(), 'rooms/general'), ['from somebody else']);
  await ann.leave();
});

test('a refused message shows the reason, is kept through a reload, and can be tried again or discarded', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  const { page } = ann;
  await openDm(ann, 999_999_999);
  for (const text of ['refused', 'refused too']) {
    await ann.write(text);
    await page.locator('.outgoing.failed', { hasText: text }).waitFor();
  }
  const failed = page.locator('.outgoing.failed');
  const reason = await failed.first().locator('.send-state').textContent();
  assert.match(reason, /^Not sent: .+ Try again Discard$/);
  await page.reload();
  await ann.connected();
  await failed.nth(1).waitFor();
  assert.equal(await failed.first().locator('.send-state').textContent(), reason);
  await failed.first().getByRole('button', { name: 'Discard' }).click();
  await failed.nth(1).waitFor({ state: 'detached' });
  await failed.getByRole('button', { name: 'Try again' }).click();
  await page.locator('.outgoing.failed', { hasText: 'refused too' }).waitFor();
  assert.deepEqual(await ann.contents(), ['refused too']);
  await failed.getByRole('button', { name: 'Discard' }).click();
  await page.reload();
  await page.locator('#empty', { hasText: 'Write the first one below' }).waitFor();
  await ann.leave();
});

for (const viewport of [{ width: 1440, height: 900 }, { width: 390, height: 844 }]) {
  test(`a history of 200 messages loads by scrolling up alone, and what one reads stays in its place, at ${viewport.width} px`, async (t) => {
    const own = await ownServer(t, '--rate-limit', '0');
    const ann = await (await Person.arrive(browser, own, { viewport })).asGuest();
    const { page } = ann;
    const lines = Array.from({ length: 200 }, (_, index) => `line ${index + 1}`);
    for (const content of lines) await post(own, await ann.token(), { room: 'general', content });
    await page.reload();
    await ann.sees('line 200');
    assert.equal(await page.locator('#messages .content').count(), 50);
    const asked = [];
    page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => asked.push(payload)));
    await page.reload();
    await ann.sees('line 200');
    for (const first of [101, 51, 1]) {
      const known = await page.locator('#messages .message').first().getAttribute('data-key');
      const before = await page.locator('#scroller').evaluate((node) => {
        node.scrollTop = 20;
        return node.querySelector('.message').getBoundingClientRect().top;
      });
      await ann.sees(`line ${first}`);
      const after = await page.locator(`#messages .message[data-key="${known}"]`).evaluate((node) => node.getBoundingClientRect().top);
      assert.ok(Math.abs(after - before) < 2, `moved by ${after - before} px`);
    }
    assert.deepEqual(await ann.contents(), lines);
    assert.equal(await page.getByRole('button', { name: 'Load earlier messages' }).isVisible(), false);
    const pages = asked.filter((text) => text.includes('room_history')).map((text) => JSON.parse(text).before);
    assert.equal(pages.length, new Set(pages).size, 'no page was asked for twice');
    await ann.leave();
  });
}

test('earlier messages that could not be loaded are asked for again by the button only', async (t) => {
  const own = await ownServer(t, '--rate-limit', '0');
  const ann = await Person.arrive(browser, own);
  let refuse = true;
  let refused = 0;
  await ann.page.routeWebSocket('**', (route) => {
    const far = route.connectToServer();
    route.onMessage((text) => {
      const { type, before, ref } = JSON.parse(text);
      if (!(refuse && type === 'room_history' && before)) return far.send(text);
      refused += 1;
      route.send(JSON.stringify({ type: 'error', ref, message: 'busy', data: { code: 'unavailable', message: 'busy' } }));
    });
  });
  await ann.asGuest();
  for (let number = 1; number <= 60; number += 1) await post(own, await ann.token(), { room: 'general', content: `line ${number}` });
  await ann.page.reload();
  await ann.sees('line 60');
  await ann.page.locator('#scroller').evaluate((node) => { node.scrollTop = 0; });
  const again = ann.page.getByRole('button', { name: 'Earlier messages could not be loaded. Try again' });
  await again.waitFor();
  await ann.write('drawn again');
  await ann.stored('drawn again');
  await ann.page.locator('#scroller').evaluate((node) => { node.scrollTop = 10; });
  await again.waitFor();
  assert.equal(refused, 1);
  refuse = false;
  await again.press('Enter');
  await ann.sees('line 1');
  await ann.leave();
});

test('a token that nears its end is renewed by the page, on the same connection, and the tab remembers the new one', async (t) => {
  const own = await ownServer(t, '--token-days', '1');
  const ann = await Person.arrive(browser, own);
  await ann.page.clock.install();
  let sockets = 0;
  ann.page.on('websocket', () => { sockets += 1; });
  await ann.asGuest();
  const old = await ann.token();
  await ann.renewable();
  await ann.page.clock.fastForward(24 * 3_600_000 - 50_000);
  await ann.page.waitForFunction((token) => JSON.parse(sessionStorage.getItem('chat-server')).token !== token, old);
  await ann.page.locator('#frames .frame.in', { hasText: 'auth' }).first().waitFor();
  await ann.write('still here');
  await ann.stored('still here');
  assert.equal(sockets, 1);
  await ann.leave();
});

/** Alice writes without a server, and her token ends meanwhile. */
async function endedWithSomethingToSay(t) {
  const own = await Server.startIntegrated();
  t.after(() => own.stop());
  const ann = await Person.arrive(browser, own);
  const { page } = ann;
  let asked = 0;
  page.on('request', (request) => { if (request.url().endsWith('/auth/refresh')) asked += 1; });
  const life = ann.lifeOf(3);
  await ann.withToken(await own.token('--user-id', '1', '--username', 'alice', '--ttl', `${life}s`));
  await own.kill();
  await page.locator('#pill[data-state=reconnecting]').waitFor();
  await ann.write('written before the end');
  await page.locator('.outgoing.waiting').waitFor();
  await page.waitForFunction(() => {
    const { token } = JSON.parse(sessionStorage.getItem('chat-server'));
    return JSON.parse(atob(token.split('.')[1])).exp * 1_000 < Date.now() - 1_000;
  }, undefined, { timeout: life * 1_000 + 16_000 });
  await own.run();
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  await page.locator('#pill[data-state=closed]', { hasText: 'expired' }).waitFor();
  await page.locator('.outgoing.held', { hasText: 'It is sent once you have signed in again' }).waitFor();
  await page.getByRole('button', { name: 'Sign in again' }).click();
  await page.locator('#signin-notice', { hasText: 'expired' }).waitFor();
  assert.equal(asked, 0);
  return { own, ann };
}

test('where another backend makes the tokens an ended one leads to the sign-in, with the reason, and the same person sends what waited', async (t) => {
  const { own, ann } = await endedWithSomethingToSay(t);
  await ann.withToken(await own.token('--user-id', '1', '--username', 'alice'));
  await ann.stored('written before the end');
  assert.deepEqual(await ann.contents(), ['written before the end']);
  await ann.leave();
});

test('somebody else who signs in after an ended token sends nothing of what waited', async (t) => {
  const { own, ann } = await endedWithSomethingToSay(t);
  await ann.withToken(await own.token('--user-id', '2', '--username', 'bob'));
  await ann.write('bob was here');
  await ann.stored('bob was here');
  assert.deepEqual(await ann.contents(), ['bob was here']);
  assert.deepEqual(await history(own, await ann.token(), 'rooms/general'), ['bob was here']);
  await ann.leave();
});

test('somebody else who comes and signs out again takes nothing along: what waited is sent when its writer is back', async (t) => {
  const { own, ann } = await endedWithSomethingToSay(t);
  const { page } = ann;
  await ann.withToken(await own.token('--user-id', '2', '--username', 'bob'));
  await own.kill();
  await page.locator('#pill[data-state=reconnecting]').waitFor();
  await ann.write('bob goes before this is sent');
  await page.locator('.outgoing.waiting').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  const kept = await page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server:outbox')));
  assert.deepEqual(kept.map(({ user, content }) => [user, content]), [[1, 'written before the end']]);
  await own.run();
  await page.reload();
  await ann.withToken(await own.token('--user-id', '1', '--username', 'alice'));
  await ann.stored('written before the end');
  assert.deepEqual(await history(own, await ann.token(), 'rooms/general'), ['written before the end']);
  await ann.leave();
});

test('a room that could not be joined says why, and another try joins and loads it', async () => {
  const ann = await Person.arrive(browser, server);
  let refuse = true;
  await ann.page.routeWebSocket('**', (route) => {
    const far = route.connectToServer();
    route.onMessage((text) => {
      const { type, ref } = JSON.parse(text);
      if (refuse && type === 'join') route.send(JSON.stringify({ type: 'error', ref, message: 'closed for now', data: { code: 'forbidden', message: 'closed for now' } }));
      else if (refuse && type === 'room_history') route.send(JSON.stringify({ type: 'error', ref, message: 'closed for now', data: { code: 'forbidden', message: 'closed for now' } }));
      else far.send(text);
    });
  });
  await ann.asGuest();
  await ann.page.locator('#empty', { hasText: 'closed for now' }).waitFor();
  refuse = false;
  await ann.page.locator('#empty').getByRole('button', { name: 'Try again' }).press('Enter');
  const bob = await (await Person.arrive(browser, server)).asGuest();
  await ann.page.locator('#empty', { hasText: /closed for now|Joining|Loading/ }).waitFor({ state: 'detached' });
  await bob.write('is anybody there?');
  await ann.sees('is anybody there?');
  for (const person of [ann, bob]) await person.leave();
});

test('an empty pane says what to do: in a room, with a person, without a conversation, and without a connection', async (t) => {
  const own = await ownServer(t);
  const ann = await (await Person.arrive(browser, own)).asGuest();
  const { page } = ann;
  const empty = (text) => page.locator('#empty', { hasText: text }).waitFor();
  await empty('Say the first word below');
  await openDm(ann, 7);
  await empty('Only the two of you see');
  await own.kill();
  await page.locator('#pill[data-state=reconnecting]').waitFor();
  await openDm(ann, 8);
  await empty('The messages come with the connection');
  await own.run();
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  await empty('Only the two of you see');
  await ann.leave();
});

/** The page that Ann has in a room and in DMs of one log, of which one DM is closed, and then a server with another log on the same address. */
async function anotherLog(t) {
  const own = await Server.startIntegrated('--rate-limit', '0');
  t.after(() => own.stop());
  const [ofAnn, bob, cid] = await Promise.all(['ann', 'bob', 'cid'].map((name, at) => own.token('--user-id', String(at + 1), '--username', name)));
  const ann = await (await Person.arrive(browser, own)).withToken(ofAnn);
  const to = await ann.id();
  const { page } = ann;
  const talk = (name) => page.locator('#dms .conversation', { hasText: name });
  for (let n = 1; n <= 9; n += 1) for (const place of [{ room: 'general' }, { to }]) await post(own, bob, { ...place, content: `old ${n}` });
  await post(own, cid, { to, content: 'old of cid' });
  await talk('bob').click();
  await ann.sees('old 9');
  await page.locator('#leave').click();
  await talk('bob').waitFor({ state: 'detached' });
  await talk('cid').click();
  await ann.sees('old of cid');
  await ann.openConversation('general');
  await ann.sees('old 9');
  const speak = async () => {
    await history(own, ofAnn, 'rooms/general'); // so that the server has heard of her
    for (let n = 1; n <= 3; n += 1) for (const place of [{ room: 'general' }, { room: 'elsewhere' }, { to }]) await post(own, bob, { ...place, content: `new ${n}` });
  };
  return { own, ann, page, talk, speak };
}

/** So many unread, once all of it has come. */
const counts = (row, unread) => row.locator('.badge', { hasText: new RegExp(`^${unread} `) }).waitFor();

for (const reloaded of [false, true]) {
  test(`with another log nothing is taken for read, closed or last by the numbers of the one before${reloaded ? ', also after a reload' : ''}`, async (t) => {
    const { own, ann, page, talk, speak } = await anotherLog(t);
    await join(ann, 'elsewhere');
    await own.kill();
    await page.locator('#pill[data-state=reconnecting]').waitFor();
    if (reloaded) await page.goto('about:blank');
    else await page.context().setOffline(true); // so that it does not come back in the midst of what is said
    await own.renewLog();
    await own.run();
    await speak();
    if (reloaded) await page.goto(own.url);
    else await page.context().setOffline(false);
    await ann.connected();
    await talk('bob').waitFor();
    await counts(talk('bob'), 3); // a DM that was closed comes back with what is new
    const general = page.locator('#rooms .conversation', { hasText: 'general' });
    await counts(general, 3); // nothing of it was read
    await general.locator('.last-text', { hasText: 'new 3' }).waitFor();
    await ann.sees('new 3');
    await ann.openConversation('general');
    await ann.sees('new 3');
    assert.deepEqual((await ann.contents()).slice(-3), ['new 1', 'new 2', 'new 3']);
    await general.locator('.badge').waitFor({ state: 'detached' });
    await ann.leave();
  });
}

test('in another log a DM counts from its first message, also when only later ones come live', () => {
  const session = { ...newSession('t', { id: 1, username: 'ann' }, 'standalone'), epoch: 'before', closed: { 'dm:2': 9 } };
  const conversations = new Conversations({ chat: { on() {}, rooms: ['general'] }, session, remember() {}, changed() {} });
  const dm = (fromUser, seq) => ({ id: seq, seq, fromUser, to: 1, username: `user ${fromUser}`, content: 'x' });
  const put = conversations.receive(dm(2, 11));
  assert.equal(conversations.unread(put), 2, 'what was put away was read up to there');
  conversations.welcomed('after');
  for (const peer of [2, 3]) assert.equal(conversations.unread(conversations.receive(dm(peer, 2))), 2, 'the first came before the page was back');
});

test('a direct conversation that the list tells of while the history is reloaded counts what was not read', async () => {
  let answer;
  const history = new Promise((resolve) => { answer = resolve; });
  const session = newSession('t', { id: 1, username: 'ann' }, 'standalone');
  const conversations = new Conversations({ chat: { on() {}, rooms: ['general'], dmHistory: () => history }, session, remember() {}, changed() {} });
  const messages = [1, 2, 3].map((seq) => ({ id: seq, seq, fromUser: 2, to: 1, username: 'bob', content: `message ${seq}` }));
  const told = conversations.toldOfDms([{ with: { id: 2, username: 'bob' }, lastSeq: 3, lastMessage: messages[2] }]);
  conversations.reset({ reason: 'epoch', newLog: true, rooms: [], dms: [{ with: 2, messages, hasMore: false, lastSeq: 3 }] });
  answer({ messages, hasMore: false });
  await told;
  assert.equal(conversations.unread(conversations.list.find(({ peer }) => peer === 2)), 3);
});

test('in another log nothing of a direct conversation was read, also when its history cannot be had', async () => {
  const session = { ...newSession('t', { id: 1, username: 'ann' }, 'standalone'), epoch: 'before' };
  const chat = { on() {}, rooms: ['general'], dmHistory: async () => { throw new Error('not now'); } };
  const conversations = new Conversations({ chat, session, remember() {}, changed() {} });
  conversations.welcomed('after');
  const lastMessage = { id: 3, seq: 3, fromUser: 2, to: 1, username: 'bob', content: 'the third' };
  await conversations.toldOfDms([{ with: { id: 2, username: 'bob' }, lastSeq: 3, lastMessage }]);
  assert.equal(conversations.unread(conversations.list.find(({ peer }) => peer === 2)), 3);
});

test('where the log has become shorter, what was read of its lost end is not read of the new one', () => {
  const session = { ...newSession('t', { id: 1, username: 'ann' }, 'standalone'), read: { 'room:general': 9 }, closed: { 'dm:2': 50 } };
  const conversations = new Conversations({ chat: { on() {}, rooms: ['general'] }, session, remember() {}, changed() {} });
  const [general] = conversations.list;
  const message = (id) => ({ id, seq: id, room: 'general', fromUser: 2, username: 'bob', content: `message ${id}` });
  conversations.toldOfRooms([{ name: 'general', lastMessage: message(9) }]);
  conversations.reset({ reason: 'ahead', newLog: false, rooms: [{ room: 'general', messages: [message(3)], hasMore: false, lastSeq: 3 }], dms: [] });
  assert.deepEqual([conversations.unread(general), general.last.id, session.closed], [0, 3, {}]);
  conversations.receive(message(4));
  assert.deepEqual([conversations.unread(general), general.last.id], [1, 4]);
});
