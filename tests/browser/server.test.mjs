/** The view of the server: its numbers move, its charts have points and gaps, and it says who may not see it. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Person, Server, stage } from './harness.mjs';

const { browser, server } = await stage();

/** Opens the tools at the server; its panel. */
async function openView(person) {
  const { page } = person;
  if (!await page.locator('#inspector').isVisible()) await page.getByRole('button', { name: 'Tools' }).click();
  await page.getByRole('tab', { name: 'Server' }).click();
  return page.getByRole('tabpanel', { name: 'Server' });
}

async function guestAtTheView(own = server) {
  const person = await (await Person.arrive(browser, own)).asGuest();
  const view = await openView(person);
  await view.locator('[data-state=live]').waitFor();
  return { person, view };
}

const stats = async (own = server) => (await fetch(new URL('/api/v1/stats', own.url))).json();
const numberOf = (view, name) => view.locator('.server-numbers > div').filter({ has: view.page().getByText(name, { exact: true }) }).locator('dd');
const chartOf = (view, title) => view.locator('.chart').filter({ has: view.page().getByText(title, { exact: true }) });
/** The pieces of a chart's first line, and its points. */
const lineOf = async (chart) => {
  const path = await chart.locator('.chart-line').first().getAttribute('d') ?? '';
  return { pieces: path.split('M').length - 1, points: path.split(/[ML]/).length - 1 };
};

/** Waits until `check` holds; what it looks at last is in the failure. */
async function until(page, look, check) {
  let seen;
  const deadline = Date.now() + 20_000;
  do {
    seen = await look();
    if (check(seen)) return seen;
    await page.evaluate(() => new Promise(requestAnimationFrame));
  } while (Date.now() < deadline);
  return assert.fail(`in vain; last seen: ${JSON.stringify(seen)}`);
}

test('the numbers move with what is sent, and so do the charts', async () => {
  const { person: ann, view } = await guestAtTheView();
  const bob = await (await Person.arrive(browser, server)).asGuest();
  const before = (await stats()).messages.stored;
  for (const text of ['one', 'two', 'three']) {
    await bob.write(text);
    await bob.stored(text);
  }
  await numberOf(view, 'Messages in').getByText(`${before + 3} since the start`).waitFor();
  await numberOf(view, 'Users online').getByText('2', { exact: true }).waitFor();
  await numberOf(view, 'Connections').getByText('2', { exact: true }).waitFor();
  await numberOf(view, 'Rooms in use').getByText('1, joined 2 times').waitFor();
  const words = (title) => chartOf(view, title).getByRole('img').getAttribute('aria-label');
  for (const [title, pattern] of [
    ['Connections', /^Connections: now \d+; over the last 5 minutes .*2$/],
    ['Messages in, per second', /^Messages in, per second: now [\d.]+; over the last 5 minutes 0 to [\d.]+$/],
    ['Messages out, per second', /0 to [\d.]+$/],
    ['Commit latency', /(always|to) [\d.]+ m?s$/],
    ['Writes in a commit', /(always|to) [\d.]+$/],
    ['Outboxes', /^Outboxes: now all .+, largest .+; over/],
  ]) await until(ann.page, () => words(title), (found) => pattern.test(found));
  const grown = await until(ann.page, () => lineOf(chartOf(view, 'Connections')), ({ points }) => points >= 3);
  assert.ok(grown.pieces >= 1);
  assert.ok((await lineOf(chartOf(view, 'Commit latency'))).points >= 1);
  await bob.leave();
  await numberOf(view, 'Users online').getByText('1', { exact: true }).waitFor();
  await ann.leave();
});

test('the limits in force and the build are those that the server tells', async () => {
  const { person: ann, view } = await guestAtTheView();
  const { limits, build, epoch } = await stats();
  assert.deepEqual([limits.contentBytes, limits.ratePerSecond], [16_384, 50]);
  const limitsTable = await view.getByRole('table', { name: 'Limits in force' }).textContent();
  for (const words of ['One message16 KiB', 'One frame64 KiB', 'Sends of one user50 per second', 'Bytes of one history512 KiB', 'Messages of one history500']) {
    assert.ok(limitsTable.includes(words), `${words} in ${limitsTable}`);
  }
  const buildTable = await view.getByRole('table', { name: 'Build' }).textContent();
  for (const words of [`${build.version}, ${build.profile}`, build.sqlite, 'this server’s accounts', epoch]) {
    assert.ok(buildTable.includes(words), `${words} in ${buildTable}`);
  }
  assert.match(await numberOf(view, 'Storage').textContent(), /\d KiB and .+ of write-ahead log/);
  await ann.leave();
});

test('while the server is away the charts stay, and they go on with a gap', async (t) => {
  const own = await Server.start();
  t.after(() => own.stop());
  const { person: ann, view } = await guestAtTheView(own);
  const chart = chartOf(view, 'Connections');
  const before = await until(ann.page, () => lineOf(chart), ({ points }) => points >= 2);
  assert.equal(before.pieces, 1);
  await own.kill();
  await view.locator('[data-state=away]').getByText('The server does not answer').waitFor();
  await chart.getByText('–', { exact: true }).waitFor();
  assert.ok((await lineOf(chart)).points >= 2);
  await own.run();
  await view.locator('[data-state=live]').waitFor();
  const after = await until(ann.page, () => lineOf(chart), ({ pieces }) => pieces === 2);
  assert.ok(after.points > before.points);
  await ann.leave();
});

test('it asks only while it is shown, and while the page is seen', async () => {
  const ann = await Person.arrive(browser, server);
  const { page } = ann;
  let asked = 0;
  page.on('request', (request) => { asked += Number(request.url().endsWith('/api/v1/stats')); });
  await page.clock.install();
  await page.reload();
  await ann.asGuest();
  const view = await openView(ann);
  await view.locator('[data-state=live]').waitFor();
  await until(page, () => asked, (count) => count >= 3);

  const see = (isHidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);
  for (const [stop, goOn] of [
    [() => see(true), () => see(false)],
    [() => page.getByRole('tab', { name: 'Token' }).click(), () => page.getByRole('tab', { name: 'Server' }).click()],
    [() => page.getByRole('button', { name: 'Close the tools' }).click(), () => page.getByRole('button', { name: 'Tools' }).click()],
  ]) {
    await stop();
    // What was under way is over once another request has come back.
    await page.evaluate(() => fetch('/healthz').then((answer) => answer.text()));
    const before = asked;
    await page.clock.runFor(10_000);
    await page.evaluate(() => fetch('/healthz').then((answer) => answer.text()));
    assert.equal(asked, before);
    await goOn();
    await until(page, () => asked, (count) => count > before);
  }
  await ann.leave();
});

test('who may not see it is told who may, and the command that is named lets them in', async (t) => {
  const own = await Server.startIntegrated('--public-url', 'http://chat.example.org');
  t.after(() => own.stop());
  // From elsewhere: by a name that is not this machine's own.
  const elsewhere = await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium', headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP chat.example.org 127.0.0.1'],
  });
  t.after(() => elsewhere.close());
  const url = `http://chat.example.org:${own.address.split(':')[1]}/`;
  const ann = await Person.arrive(elsewhere, { url });
  const { page } = ann;
  const enter = async (token) => {
    await page.locator('#token-input').fill(token);
    await page.getByRole('button', { name: 'Use this token' }).click();
    await ann.connected();
    return openView(ann);
  };
  const token = await own.token('--user-id', '7', '--username', 'ann');
  const view = await enter(token);
  const answer = await page.evaluate(async (bearer) => {
    const got = await fetch('/api/v1/stats', { headers: { authorization: `Bearer ${bearer}` } });
    return { status: got.status, body: await got.json() };
  }, token);
  assert.equal(answer.status, 403);
  await view.locator('.server-reason').getByText(answer.body.error.message, { exact: true }).waitFor();
  assert.equal(await view.locator('.chart').first().isVisible(), false);
  const command = await view.locator('.command').textContent();
  assert.equal(command, 'chat-server token --role admin --user-id 7 --username ann');

  await page.getByRole('button', { name: 'Sign out' }).click();
  const admins = await enter(await own.token(...command.split(' ').slice(2)));
  await admins.locator('[data-state=live]').waitFor();
  await chartOf(admins, 'Connections').waitFor();
  // Over plain HTTP and by a name, a browser says that it ignores this header.
  ann.problems = ann.problems.filter((problem) => !problem.includes('Cross-Origin-Opener-Policy'));
  await ann.leave();
});

test('copies are quiet when all is well, and say what is wrong and which command helps when it is not', async () => {
  const ann = await Person.arrive(browser, server);
  const { page } = ann;
  const told = await stats();
  assert.deepEqual(told.sync, [], 'nothing is copied');
  let sync = [];
  await page.route('**/api/v1/stats', (route) => route.fulfill({ json: { ...told, sync } }));
  await ann.asGuest();
  const view = await openView(ann);
  await view.locator('[data-state=live]').waitFor();
  const copies = view.getByRole('region', { name: 'Copies' });
  assert.equal(await copies.count(), 0);

  const backend = { follower: 'backend', url: 'http://localhost:8080', position: 7, latest: 7, lag: 0, parked: 0, failing: null };
  const webhook = { ...backend, follower: 'webhook', url: 'https://hooks.example.org' };
  sync = [backend, webhook];
  await copies.waitFor();
  const lineOfCopy = (name) => copies.getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) });
  assert.equal(await lineOfCopy('Backend').innerText(), 'Backend\nhttp://localhost:8080\nup to date');
  assert.equal(await copies.locator('code:visible').count(), 0);

  const since = Date.now() - 60_000;
  sync = [{ ...backend, position: 5, lag: 2, failing: { since, reason: 'answered 503, \u202e<b>later</b>' } }, { ...webhook, parked: 1 }];
  const failing = lineOfCopy('Backend');
  await failing.getByText('2 behind', { exact: true }).waitFor();
  await failing.getByText('answered 503, \u202e<b>later</b>', { exact: true }).waitFor();
  assert.equal(await failing.locator('time').getAttribute('datetime'), new Date(since).toISOString());
  assert.deepEqual(await failing.locator('code:visible').allTextContents(), ['chat-server sync status']);
  await lineOfCopy('Webhook').getByText('1 message was refused and is parked.').waitFor();
  assert.deepEqual(await lineOfCopy('Webhook').locator('code:visible').allTextContents(), ['status', 'retry', 'skip'].map((what) => `chat-server sync ${what}`));

  // What somebody marks to copy it stays marked while the numbers go on.
  await failing.locator('code:visible').selectText();
  sync = [{ ...sync[0], lag: 3 }, { ...sync[1], parked: 2 }];
  await failing.getByText('3 behind', { exact: true }).waitFor();
  await lineOfCopy('Webhook').getByText('2 messages were refused and are parked.').waitFor();
  assert.equal(await page.evaluate(() => getSelection().toString()), 'chat-server sync status');

  sync = [backend];
  await lineOfCopy('Backend').getByText('up to date').waitFor();
  assert.equal(await copies.locator('code:visible').count(), 0);
  assert.equal(await copies.getByRole('listitem').count(), 1);
  sync = undefined; // an older server
  await copies.waitFor({ state: 'detached' });
  await ann.leave();
});

test('an older server, which does not tell how it is doing, is called that', async () => {
  const ann = await Person.arrive(browser, server);
  await ann.page.route('**/api/v1/stats', (route) => route.fulfill({ status: 404, json: { error: { code: 'invalid_field', message: 'there is no such path' } } }));
  await ann.asGuest();
  const view = await openView(ann);
  await view.getByText('This server is older').waitFor();
  await ann.page.unroute('**/api/v1/stats');
  await view.getByRole('button', { name: 'Ask again' }).press('Enter');
  await view.locator('[data-state=live]').waitFor();
  await ann.leave();
});
