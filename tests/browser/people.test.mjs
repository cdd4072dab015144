/** The left pane, used by people in a real browser: what was said last, which rooms there are, who is here. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, Server, TornNetwork, stage } from './harness.mjs';

const { browser, server: common } = await stage();

/** A server of this test's own, where it matters who else is here. */
async function ownServer(t) {
  const server = await Server.start();
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
  let last = 8;
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
  await ann.page.locator('#no-rooms').waitFor();
  const round = ['/api/v1/users', '/api/v1/rooms'];
  assert.deepEqual(asked, ['/api/v1/dms', ...round]);

  const once = ann.page.waitForResponse((answer) => answer.url().includes('/api/v1/rooms'));
  await ann.page.clock.runFor(10_500);
  await once;
  await mark('visible');
  assert.deepEqual(asked, ['/api/v1/dms', ...round, ...round], 'now and then while it is seen');

  await setHidden(ann, true);
  await ann.page.clock.runFor(60_000);
  await mark('hidden');
  assert.equal(asked.length, 5, 'a hidden page asks nothing');

  const again = ann.page.waitForResponse((answer) => answer.url().includes('/api/v1/rooms'));
  await setHidden(ann, false);
  await lookAgain(ann);
  await again;
  await mark('seen');
  assert.deepEqual(asked.slice(5, 7), round);
  assert.equal(most, 1, 'one question at a time');
  await ann.leave();
});

test('a server that does not tell costs the lists and nothing else', async (t) => {
  const server = await ownServer(t);
  const ann = await Person.arrive(browser, server);
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

test('each of two guests side by side has lists of their own', async (t) => {
  const ann = await guest(await ownServer(t), 'ann');
  await ann.page.getByRole('button', { name: 'Two guests' }).click();
  await ann.page.locator('#people-list-2').getByRole('button', { name: 'ann online' }).click();
  await ann.page.locator('#talk-name-2', { hasText: 'ann' }).waitFor();
  assert.equal(await ann.page.locator('#people-list').getByText('ann', { exact: true }).count(), 0, 'nobody is in the own list');
  await ann.page.locator('#composer-text-2').fill('From the other side');
  await ann.page.locator('#composer-text-2').press('Enter');
  await ann.page.locator('#dms .last-text', { hasText: 'From the other side' }).waitFor();
  await ann.leave();
});
