/** The left pane, used by people in a real browser: what was said last, which rooms there are, who is here. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { People } from '../../static/people.js';
import { Person, Server, TornNetwork, stage } from './harness.mjs';

const { browser, server: common } = await stage();

/** A server of this test's own, where it matters who else is here. */
async function ownServer(t, ...flags) {
  const server = await Server.start(...flags);
  t.after(() => server.stop());
  return server;
}

const guest = async (server, name) => (await Person.arrive(browser, server)).asGuest(name);

async function join(person, room) {
  await person.page.locator('#join-name').fill(room);
  await person.page.locator('#join-name').press('Enter');
  await person.page.locator('#talk-name', { hasText: `#${room}` }).waitFor();
}

async function tell(person, text) {
  await person.write(text);
  await person.stored(text);
}

async function writeTo(person, id, ...texts) {
  await person.page.locator('#dm-id').fill(String(id));
  await person.page.locator('#dm-id').press('Enter');
  await person.page.locator('#talk-line', { hasText: `with user ${id}` }).waitFor();
  for (const text of texts) await tell(person, text);
}

const row = (person, list, name) => person.page.locator(`#${list} .conversation`, { hasText: name });

/** The page looks again when it is seen again; what a test waits for is then not ten seconds away. */
const lookAgain = (person) => person.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));

/** Hides the page from itself, and shows it. */
const setHidden = (person, hidden) => person.page.evaluate((value) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);

/** From here on no question about people is answered. */
const holdPeople = (person) => person.page.route(/\/api\/v1\/users/, () => {});

/** Every question for a list that the page asks, by its path. */
function questionsOf({ page }) {
  const asked = [];
  page.on('request', (request) => {
    const { pathname } = new URL(request.url());
    if (/^\/api\/v1\/(users|rooms|dms)$/.test(pathname)) asked.push(pathname);
  });
  return asked;
}

async function post(server, path, body, token) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(new URL(path, server.url), { method: 'POST', headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 201, path);
  return answer.json();
}

async function register(server, username) {
  const answer = await fetch(new URL('/api/v1/auth/register', server.url), {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username, password: 'correct horse battery' }),
  });
  assert.equal(answer.status, 201);
  return (await answer.json()).user.id;
}

async function logIn(server, username) {
  const person = await Person.arrive(browser, server);
  await person.openTab('Log in');
  await person.page.locator('#login-name').fill(username);
  await person.page.locator('#login-password').fill('correct horse battery');
  await person.page.getByRole('button', { name: 'Log in' }).click();
  await person.connected();
  return person;
}

test('empty lists say what to do', async (t) => {
  const ann = await guest(await ownServer(t), 'ann');
  await ann.page.locator('#nobody', { hasText: 'Open a second tab' }).waitFor();
  await ann.page.locator('#no-dms', { hasText: 'Click a person' }).waitFor();
  await ann.page.locator('#no-rooms', { hasText: 'Type a name' }).waitFor();
  await row(ann, 'rooms', 'general').getByText('Nothing written yet').waitFor();
  await ann.leave();
});

test('a room that one is not looking at shows its last message and how many are unread', async (t) => {
  const server = await ownServer(t);
  const ann = await guest(server, 'ann');
  const bob = await guest(server, 'bob');
  await join(ann, 'garden');
  await tell(bob, 'first');
  await tell(bob, 'second');
  const general = row(ann, 'rooms', 'general');
  await general.locator('.badge', { hasText: /^2 unread$/ }).waitFor();
  assert.equal(await general.locator('.last-text').textContent(), 'bob: second');
  assert.match(await general.locator('time').textContent(), /^\d\d:\d\d$/);

  // It is what the server tells, and not only what this page has heard.
  await ann.page.reload();
  await general.locator('.last-text', { hasText: 'bob: second' }).waitFor();
  await general.locator('.badge', { hasText: /^2 unread$/ }).waitFor();

  await general.click();
  await general.locator('.badge').waitFor({ state: 'detached' });
  await tell(ann, 'mine');
  await general.locator('.last-text', { hasText: 'You: mine' }).waitFor();
  await ann.leave();
  await bob.leave();
});

test('a room that somebody else made is found under More rooms, and joined by a click', async (t) => {
  const server = await ownServer(t);
  const ann = await guest(server, 'ann');
  const bob = await guest(server, 'bob');
  await join(bob, 'tea & <cake>');
  await tell(bob, 'The kettle is on');
  await lookAgain(ann);
  const listed = row(ann, 'more-rooms', 'tea & <cake>');
  await listed.getByText('1 member').waitFor();
  await listed.click();
  await ann.sees('The kettle is on');
  await listed.waitFor({ state: 'detached' });
  await row(ann, 'rooms', 'tea & <cake>').locator('.last-text', { hasText: 'bob: The kettle is on' }).waitFor();
  await ann.page.locator('#no-rooms').waitFor();

  await ann.page.getByRole('button', { name: 'Leave' }).click();
  await listed.waitFor();
  await ann.leave();
  await bob.leave();
});

test('more rooms than fit come when asked for, page after page, and the focus goes on with them', async (t) => {
  const server = await ownServer(t);
  const ann = await guest(server, 'ann');
  const token = await ann.page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server')).token);
  const names = Array.from({ length: 70 }, (_, number) => `room ${String(number).padStart(2, '0')}`);
  for (const name of names) {
    const answer = await fetch(new URL('/api/v1/rooms', server.url), {
      method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body: JSON.stringify({ name }),
    });
    assert.equal(answer.status, 201);
  }
  await lookAgain(ann);
  const shown = ann.page.locator('#more-rooms .conversation-name');
  const more = ann.page.getByRole('button', { name: 'Show more rooms' });
  let last = 5;
  await shown.nth(last - 1).waitFor();
  while (last < names.length) {
    assert.equal(await shown.count(), last);
    await more.press('Enter');
    await shown.nth(last).waitFor();
    await ann.page.waitForFunction((name) => document.activeElement.textContent.includes(name), names[last]);
    last = Math.min(last + 20, names.length);
    await shown.nth(last - 1).waitFor();
  }
  await more.waitFor({ state: 'hidden' });
  assert.deepEqual(await shown.allTextContents(), names);
  await ann.leave();
});

test('who is online goes away when they leave, and comes back', async (t) => {
  const server = await ownServer(t);
  const network = await TornNetwork.before(server);
  t.after(() => network.close());
  const ann = await guest(server, 'ann');
  const bob = await guest(network, 'bob');
  await lookAgain(ann);
  const listed = ann.page.locator('#people-list').getByRole('button', { name: 'bob online' });
  await listed.waitFor();
  await listed.focus();

  network.cut();
  await bob.page.locator('#pill[data-state=reconnecting]').waitFor();
  // Without a nudge: the page asks by itself now and then.
  await ann.page.locator('#people-list').getByRole('button', { name: 'bob away' }).waitFor();
  await ann.page.locator('#nobody').waitFor();
  assert.match(await ann.page.evaluate(() => document.activeElement.textContent), /bob/, 'the focus stays where it was');
  network.restore();
  await bob.page.evaluate(() => window.dispatchEvent(new Event('online')));
  await bob.connected();
  await lookAgain(ann);
  await listed.waitFor();
  await ann.page.locator('#nobody').waitFor({ state: 'hidden' });
  await ann.leave();
  await bob.leave();
});

test('a click on a person opens the direct messages with them, and what one writes arrives', async (t) => {
  const server = await ownServer(t);
  const bob = await guest(server, 'bob');
  const ann = await guest(server, 'ann');
  await row(ann, 'people-list', 'bob').click();
  await ann.page.locator('#talk-name', { hasText: 'bob' }).waitFor();
  await tell(ann, 'Are you there?');
  const news = row(bob, 'dms', 'ann');
  await news.locator('.last-text', { hasText: 'Are you there?' }).waitFor();
  await news.locator('.badge', { hasText: '1' }).waitFor();
  await bob.page.locator('#no-dms').waitFor({ state: 'hidden' });
  await news.click();
  await bob.sees('Are you there?');
  await row(ann, 'dms', 'bob').locator('.last-text', { hasText: 'You: Are you there?' }).waitFor();
  await ann.leave();
  await bob.leave();
});

test('a DM that came while one was signed out is there after signing in, and one that was closed stays closed', async (t) => {
  const server = await ownServer(t);
  const id = await register(server, 'ann-of-the-garden');
  const bob = await guest(server, 'bob');
  const cid = await guest(server, 'cid');
  await writeTo(bob, id, 'We have not met', 'but here I am');
  await writeTo(cid, id, 'Me too');

  const ann = await logIn(server, 'ann-of-the-garden');
  const names = ann.page.locator('#dms .conversation-name');
  await row(ann, 'dms', 'bob').locator('.badge', { hasText: /^2 / }).waitFor();
  await row(ann, 'dms', 'cid').locator('.badge', { hasText: /^1 / }).waitFor();
  assert.deepEqual(await names.allTextContents(), ['cid', 'bob'], 'the newest first');
  await row(ann, 'dms', 'bob').click();
  await ann.sees('but here I am');
  assert.deepEqual(await ann.contents(), ['We have not met', 'but here I am']);
  await row(ann, 'dms', 'bob').locator('.badge').waitFor({ state: 'detached' });
  await ann.page.getByRole('button', { name: 'Close', exact: true }).click();
  await row(ann, 'dms', 'bob').waitFor({ state: 'detached' });

  // While the page is being loaded anew nobody listens.
  await ann.page.goto('about:blank');
  await tell(cid, 'Still there?');
  await ann.page.goto(server.url);
  await ann.connected();
  await row(ann, 'dms', 'cid').locator('.badge', { hasText: /^2 / }).waitFor();
  await ann.page.locator('#people-list .conversation').first().waitFor();
  assert.deepEqual(await names.allTextContents(), ['cid'], 'what was closed stays closed');
  await tell(bob, 'Hello again');
  await row(ann, 'dms', 'bob').locator('.last-text', { hasText: 'Hello again' }).waitFor();
  for (const person of [ann, bob, cid]) await person.leave();
});

test('a hidden page does not ask, a page that is seen again asks at once, and one question at a time', async (t) => {
  const server = await ownServer(t);
  const ann = await Person.arrive(browser, server);
  await ann.page.clock.install();
  let underWay = 0;
  let most = 0;
  const asked = [];
  const isList = (request) => /\/api\/v1\/(users|rooms|dms)/.test(request.url());
  ann.page.on('request', (request) => {
    if (!isList(request)) return;
    asked.push(new URL(request.url()).pathname);
    underWay += 1;
    most = Math.max(most, underWay);
  });
  for (const end of ['requestfinished', 'requestfailed']) ann.page.on(end, (request) => { if (isList(request)) underWay -= 1; });
  /** After this every question that was asked before has been seen. */
  const mark = async (name) => {
    const path = `/healthz?${name}`;
    await Promise.all([ann.page.waitForRequest((request) => request.url().endsWith(path)), ann.page.evaluate((to) => fetch(to).then((answer) => answer.text()), path)]);
  };

  await ann.asGuest('ann');
  await ann.page.locator('#nobody').waitFor();
  const round = ['/api/v1/rooms', '/api/v1/users'];
  assert.deepEqual(asked, ['/api/v1/dms', ...round]);

  const once = ann.page.waitForResponse((answer) => answer.url().includes('/api/v1/users'));
  await ann.page.clock.runFor(10_500);
  await once;
  await mark('visible');
  assert.deepEqual(asked, ['/api/v1/dms', ...round, ...round], 'now and then while it is seen');

  await setHidden(ann, true);
  await ann.page.clock.runFor(60_000);
  await mark('hidden');
  assert.equal(asked.length, 5, 'a hidden page asks nothing');

  const again = ann.page.waitForResponse((answer) => answer.url().includes('/api/v1/users'));
  await setHidden(ann, false);
  await lookAgain(ann);
  await again;
  await mark('seen');
  // A minute on the page's clock alone looks like a dead connection: whoever has come back asks for the DMs too.
  assert.deepEqual(asked.slice(5).filter((path) => path !== '/api/v1/dms').slice(0, 2), round);
  assert.equal(most, 1, 'one question at a time');
  await ann.leave();
});

test('a server that does not tell costs the lists and nothing else', async () => {
  const ann = await Person.arrive(browser, common);
  await ann.page.route(/\/api\/v1\/(users|rooms|dms)/, (route) => route.fulfill({ status: 404, body: 'no such path' }));
  const answered = ann.page.waitForResponse((answer) => answer.url().includes('/api/v1/rooms'));
  await ann.asGuest('ann');
  await answered;
  await tell(ann, 'It works all the same');
  await row(ann, 'rooms', 'general').locator('.last-text', { hasText: 'You: It works all the same' }).waitFor();
  assert.equal(await ann.page.locator('#people-part').isVisible(), false);
  assert.equal(await ann.page.locator('#more-part').isVisible(), false);
  await ann.leave();
});

test('the keyboard alone finds a person and writes to them, also on a phone', async (t) => {
  const server = await ownServer(t);
  const bob = await guest(server, 'bob');
  const ann = await (await Person.arrive(browser, server, { viewport: { width: 390, height: 844 } })).asGuest('a-name-of-sixty-four-characters-that-has-nowhere-to-break-at-all!');
  await join(bob, 'a room whose name is so long that it has to be cut, as is right');
  const { page } = ann;
  await page.locator('#back').press('Enter');
  await lookAgain(ann);
  await row(ann, 'more-rooms', 'a room whose').waitFor();
  const outside = await page.locator('#sidebar').evaluate((pane) => [...pane.querySelectorAll('.conversation, .when, .user-id')]
    .filter((node) => node.getBoundingClientRect().right > pane.getBoundingClientRect().right).length);
  assert.equal(outside, 0, 'nothing sticks out of the pane');
  await page.locator('#rooms .conversation').focus();
  const isBob = () => page.evaluate(() => document.activeElement.closest('#people-list') !== null && document.activeElement.textContent.includes('bob'));
  for (let steps = 0; !(await isBob()); steps += 1) {
    assert.ok(steps < 12, 'bob is a few steps away');
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await page.locator('#talk-name', { hasText: 'bob' }).waitFor();
  await tell(ann, 'By keyboard');
  await row(bob, 'dms', 'a-name-of').locator('.last-text', { hasText: 'By keyboard' }).waitFor();
  await ann.leave();
  await bob.leave();
});

test('somebody who speaks is in the list at once, also when the server does not answer', async (t) => {
  const server = await ownServer(t);
  const ann = await guest(server, 'ann');
  await ann.page.locator('#nobody').waitFor();
  await holdPeople(ann);
  const bob = await guest(server, 'bob');
  await tell(bob, 'Is anybody here?');
  await ann.sees('Is anybody here?');
  await ann.page.locator('#people-list').getByRole('button', { name: 'bob online' }).waitFor();
  assert.equal(await ann.page.locator('#nobody').isVisible(), false);

  const cid = await guest(server, 'cid');
  await writeTo(cid, await ann.id(), 'And me');
  await ann.page.locator('#people-list').getByRole('button', { name: 'cid online' }).waitFor();
  assert.equal(await row(ann, 'people-list', 'ann').count(), 0);
  for (const person of [ann, bob, cid]) await person.leave();
});

test('many who begin to speak are one question, and then as few as may be', async (t) => {
  const server = await ownServer(t, '--rate-limit', '0');
  const ann = await guest(server, 'ann');
  await ann.page.locator('#nobody').waitFor();
  const tokens = [];
  for (let number = 0; number < 40; number += 1) tokens.push((await post(server, '/api/v1/auth/guest', { username: `stranger ${number}` })).token);
  const asked = questionsOf(ann);
  const begin = Date.now();
  for (const [number, token] of tokens.entries()) await post(server, '/api/v1/chat/messages', { room: 'general', content: `word ${number}` }, token);
  await ann.sees('word 39');
  // Nobody of them has a connection, and that is what the server says.
  await ann.page.locator('#nobody').waitFor();
  const rounds = asked.filter((path) => path === '/api/v1/rooms').length;
  const most = 1 + Math.ceil((Date.now() - begin) / 2_000);
  assert.ok(rounds >= 1 && rounds <= most, `${rounds} rounds, ${most} at most`);
  await ann.leave();
});

test('whoever writes without a connection is believed once, and counts as here again when the server says so', () => {
  const ann = { id: 1, username: 'ann', online: true };
  const backend = { id: 2, username: 'backend', online: false };
  const word = { fromUser: 2, username: 'backend' };
  const people = new People(1);
  people.told(people.asking(), [ann, backend], true);
  assert.ok(people.heard(word), 'that is news');
  assert.deepEqual(people.list(), [{ ...backend, online: true }]);
  const round = people.asking();
  people.heard({ fromUser: 3, username: 'cid' });
  people.told(round, [ann, backend], true);
  assert.deepEqual(people.list().map(({ username, online }) => [username, online]), [['cid', true], ['backend', false]], 'cid was heard after the question');
  assert.ok(!people.heard(word), 'no news any more');
  assert.equal(people.list()[1].online, false);
  people.told(people.asking(), [ann, { ...backend, online: true }], true);
  assert.deepEqual(people.list().map(({ username, online }) => [username, online]), [['backend', true], ['cid', false]]);
  assert.ok(!people.heard({ fromUser: 1, username: 'ann' }), 'oneself is not in the list');
  people.told(people.asking(), [ann], false);
  assert.deepEqual(people.list().map(({ online }) => online), [true, true], 'where the server tells of some only, those who talk are here');
});

test('a list that fails says so quietly, keeps what was there, and comes back', async (t) => {
  const server = await ownServer(t);
  const bob = await guest(server, 'bob');
  const ann = await guest(server, 'ann');
  await row(ann, 'people-list', 'bob').waitFor();
  await ann.page.route(/\/api\/v1\/(users|rooms)/, (route) => route.fulfill({ status: 503, contentType: 'application/json', body: '{"error":{"code":"unavailable","message":"not now"}}' }));
  await lookAgain(ann);
  for (const list of ['people', 'rooms']) await ann.page.locator(`#${list}-failing`, { hasText: 'It is tried again' }).waitFor();
  assert.ok(await row(ann, 'people-list', 'bob').isVisible());
  await ann.page.unroute(/\/api\/v1\/(users|rooms)/);
  await ann.page.locator('#people-failing').waitFor({ state: 'hidden' }); // by itself
  await ann.page.locator('#rooms-failing').waitFor({ state: 'hidden' });
  await ann.leave();
  await bob.leave();
});

test('without a connection nothing is asked, and with the next one at once', async (t) => {
  const server = await ownServer(t);
  const network = await TornNetwork.before(server);
  t.after(() => network.close());
  const ann = await Person.arrive(browser, network);
  await ann.page.clock.install();
  await ann.asGuest('ann');
  await ann.page.locator('#nobody').waitFor();
  network.cut();
  await ann.page.locator('#pill[data-state=reconnecting]').waitFor();
  const asked = questionsOf(ann);
  await ann.page.clock.runFor(60_000);
  await lookAgain(ann);
  await ann.page.evaluate(() => {});
  assert.deepEqual(asked, []);
  network.restore();
  const last = ann.page.waitForResponse((answer) => answer.url().includes('/api/v1/users'));
  await ann.page.evaluate(() => window.dispatchEvent(new Event('online')));
  assert.equal((await last).status(), 200);
  assert.deepEqual(asked, ['/api/v1/dms', '/api/v1/rooms', '/api/v1/users']);
  await ann.leave();
});

test('a redraw takes the focus from no row, also when rows move or the row itself goes', async (t) => {
  const server = await ownServer(t);
  const ann = await guest(server, 'ann');
  const bob = await guest(server, 'bob');
  const cid = await guest(server, 'cid');
  const id = await ann.id();
  await writeTo(bob, id, 'first');
  await writeTo(cid, id, 'second');
  await row(ann, 'dms', 'cid').waitFor();
  await row(ann, 'dms', 'bob').focus();
  await tell(bob, 'third'); // now bob stands before cid
  await row(ann, 'dms', 'bob').locator('.badge', { hasText: /^2 unread$/ }).waitFor();
  const names = ann.page.locator('#dms .conversation-name');
  assert.deepEqual(await names.allTextContents(), ['bob', 'cid']);
  const focused = () => ann.page.evaluate(() => document.activeElement.closest('li')?.textContent ?? document.activeElement.localName);
  assert.match(await focused(), /bob/);
  await tell(cid, 'fourth');
  await row(ann, 'dms', 'cid').locator('.badge', { hasText: /^2 unread$/ }).waitFor();
  assert.match(await focused(), /bob/);
  await ann.page.getByRole('button', { name: /bob.*2 unread/ }).waitFor(); // what a screen reader says

  await join(bob, 'pantry');
  await join(bob, 'quarry');
  await lookAgain(ann);
  await row(ann, 'more-rooms', 'quarry').waitFor();
  await row(ann, 'more-rooms', 'pantry').focus();
  const answered = ann.page.waitForResponse((answer) => answer.url().includes('/api/v1/rooms'));
  await ann.page.route(/\/api\/v1\/rooms/, async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    await route.fulfill({ response: answer, json: { ...body, rooms: body.rooms.filter(({ name }) => name !== 'pantry') } });
  });
  await lookAgain(ann);
  await answered;
  await row(ann, 'more-rooms', 'pantry').waitFor({ state: 'detached' });
  assert.match(await focused(), /quarry/, 'its neighbour has it');
  for (const person of [ann, bob, cid]) await person.leave();
});

test('each of two guests side by side has lists of their own', async () => {
  const ann = await guest(common, 'one of two');
  await ann.page.getByRole('button', { name: 'Two guests' }).click();
  await ann.page.locator('#people-list-2').getByRole('button', { name: 'one of two online' }).click();
  await ann.page.locator('#talk-name-2', { hasText: 'one of two' }).waitFor();
  assert.equal(await ann.page.locator('#people-list').getByText('one of two', { exact: true }).count(), 0, 'nobody is in the own list');
  await ann.page.locator('#composer-text-2').fill('From the other side');
  await ann.page.locator('#composer-text-2').press('Enter');
  await ann.page.locator('#dms .last-text', { hasText: 'From the other side' }).waitFor();
  await ann.leave();
});

test('side by side, whoever speaks is in the other list at once, and in neither list twice', async (t) => {
  const ann = await guest(await ownServer(t), 'ann');
  await ann.page.locator('#nobody').waitFor();
  await holdPeople(ann);
  await ann.page.getByRole('button', { name: 'Two guests' }).click();
  await ann.page.locator('#pill-2[data-state=open]').waitFor();
  const second = await ann.page.locator('#me-name-2').textContent();
  await ann.page.locator('#composer-text-2').fill('From the other side');
  await ann.page.locator('#composer-text-2').press('Enter');
  await ann.sees('From the other side');
  await ann.page.locator('#people-list').getByRole('button', { name: `${second} online` }).waitFor();
  assert.equal(await ann.page.locator('#nobody').isVisible(), false);
  await tell(ann, 'Hello back');
  await ann.page.locator('#people-list-2').getByRole('button', { name: 'ann online' }).waitFor();
  assert.deepEqual(await ann.page.locator('#people-list .conversation-name').allTextContents(), [second]);
  assert.deepEqual(await ann.page.locator('#people-list-2 .conversation-name').allTextContents(), ['ann']);
  await ann.leave();
});
