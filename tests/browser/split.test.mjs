/** Two guests side by side on one page: they are two people who talk to each other, and nothing of one is the other's. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Person, Server, stage } from './harness.mjs';

const { browser, server } = await stage();

/** The page of both, and each of them: `left` and `right` have what a Person has, for their half. */
async function arrive(on = server, options = {}) {
  const both = await Person.arrive(browser, on, options);
  const side = (suffix) => {
    const find = (id) => both.page.locator(`#${id}${suffix}`);
    const message = (text) => find('messages').locator('.message:not(.outgoing)').filter({ has: both.page.getByText(text, { exact: true }) });
    return {
      find,
      message,
      connected: () => both.page.locator(`#pill${suffix}[data-state=open]`).waitFor({ state: 'attached' }),
      async write(text) {
        await find('composer-text').fill(text);
        await find('composer-text').press('Enter');
      },
      async sees(text) {
        await message(text).first().waitFor({ state: 'attached' });
        assert.equal(await message(text).count(), 1, `"${text}" is shown more than once`);
      },
      stored: (text) => message(text).locator('.stored').waitFor({ state: 'attached' }),
      contents: () => find('messages').locator('.content').allTextContents(),
      id: async () => Number(/user (\d+)/.exec(await find('me-line').textContent())[1]),
      name: () => find('me-name').textContent(),
    };
  };
  return Object.assign(both, { left: side(''), right: side('-2') });
}

async function together(on, options) {
  const both = await arrive(on, options);
  await both.page.getByRole('button', { name: 'Try it with two guests side by side' }).click();
  await both.left.connected();
  await both.right.connected();
  return both;
}

test('one click on the sign-in card gives two guests, each of whom sees what the other writes, once', async () => {
  const both = await together();
  const { left, right, page } = both;
  assert.notEqual(await left.name(), await right.name());
  await left.write('from the left');
  await right.sees('from the left');
  await left.stored('from the left');
  await right.write('from the right');
  await left.sees('from the right');
  await right.stored('from the right');
  for (const side of [left, right]) assert.deepEqual(await side.contents(), ['from the left', 'from the right']);
  const ids = await page.evaluate(() => [...document.querySelectorAll('[id]')].map(({ id }) => id));
  assert.equal(new Set(ids).size, ids.length, 'no id is there twice');
  const [a, b] = await Promise.all(['#person', '#person-2'].map((id) => page.locator(id).boundingBox()));
  assert.ok(a.x + a.width <= b.x + 1 && Math.abs(a.y - b.y) < 1, 'they stand side by side');
  await both.leave();
});

test('one click in the bar does the same for somebody who is here already', async () => {
  const both = await arrive();
  await both.asGuest('Was here before');
  await both.write('before there were two');
  await both.page.locator('#split-toggle').click();
  await both.right.connected();
  await both.right.sees('before there were two');
  await both.right.write('now we are two');
  await both.left.sees('now we are two');
  assert.equal(await both.left.name(), 'Was here before');
  await both.leave();
});

test('each has drafts, unread messages and direct messages of their own, and a reload keeps both', async () => {
  const both = await together();
  const { left, right, page } = both;
  await left.find('dm-id').fill(String(await right.id()));
  await left.find('dm-id').press('Enter');
  await left.write('between the two of us');
  await left.stored('between the two of us');
  await right.find('dms').locator('.badge').waitFor();
  assert.equal(await left.find('dms').locator('.badge').count(), 0, 'one’s own message is not unread');
  assert.equal(await right.message('between the two of us').count(), 0, 'the right has #general open');
  await left.find('composer-text').fill('a draft on the left');
  await right.find('composer-text').fill('a draft on the right');

  const names = [await left.name(), await right.name()];
  await page.reload();
  await left.connected();
  await right.connected();
  assert.deepEqual([await left.name(), await right.name()], names);
  await left.sees('between the two of us');
  assert.equal(await left.find('composer-text').inputValue(), 'a draft on the left');
  assert.equal(await right.find('composer-text').inputValue(), 'a draft on the right');
  await right.find('dms').locator('.badge').waitFor();
  await right.find('dms').locator('.conversation').click();
  await right.sees('between the two of us');
  await right.find('dms').locator('.badge').waitFor({ state: 'detached' });
  assert.equal(await right.find('composer-text').inputValue(), '', 'a draft belongs to its conversation');
  await both.leave();
});

test('closing the second leaves the first as they were, and they come back as who they were', async () => {
  const both = await together();
  const { left, right, page } = both;
  const [first, second] = [await left.name(), await right.name()];
  await left.find('composer-text').fill('half a sentence');
  await page.locator('#person-close-2').click();
  await page.locator('#person-2').waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement.id), 'split-toggle', 'the focus is not lost');
  assert.equal(await left.find('composer-text').inputValue(), 'half a sentence');
  assert.equal(await left.name(), first);
  await left.write('alone again');
  await left.stored('alone again');
  await page.reload();
  await left.connected();
  assert.equal(await page.locator('#person-2').isVisible(), false, 'a reload does not bring them back');
  await page.locator('#split-toggle').click();
  await right.connected();
  assert.equal(await right.name(), second);
  await right.sees('alone again');
  await both.leave();
});

test('the server is killed and started again while both write: nothing missing and nothing twice, on either side', async (t) => {
  const own = await Server.start();
  t.after(() => own.stop());
  const both = await together(own);
  const { left, right, page } = both;
  const written = [];
  const write = async (side, text) => {
    written.push(text);
    await side.write(text);
  };
  for (let n = 0; n < 10; n += 1) await write(n % 2 ? left : right, `before ${n}`);
  await own.kill(); // some of them may not have been acknowledged yet
  for (let n = 0; n < 10; n += 1) await write(n % 2 ? left : right, `while it is down ${n}`);
  await page.locator('#pill[data-state=reconnecting]').waitFor();
  await page.locator('#pill-2[data-state=reconnecting]').waitFor();
  await own.run();
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  await left.connected();
  await right.connected();
  for (let n = 0; n < 4; n += 1) await write(n % 2 ? left : right, `after ${n}`);
  for (const side of [left, right]) {
    for (const text of written) await side.sees(text);
    await side.find('messages').locator('.outgoing').waitFor({ state: 'detached' });
    assert.deepEqual((await side.contents()).sort(), [...written].sort());
  }
  assert.deepEqual(await left.contents(), await right.contents(), 'in one order on both sides');
  await both.leave();
});

test('at 390 px one is shown at a time, a button leads to the other and says what is new there', async () => {
  const both = await together(server, { viewport: { width: 390, height: 844 } });
  const { left, right, page } = both;
  await left.write('on a small screen');
  await left.stored('on a small screen');
  assert.equal(await page.locator('#person-2').isVisible(), false);
  await page.locator('#which-2', { hasText: '(1)' }).waitFor();
  await page.locator('#which-2').click();
  await page.locator('#person-2').waitFor();
  assert.equal(await page.locator('#person').isVisible(), false);
  await right.sees('on a small screen');
  await right.write('I can read it');
  await right.stored('I can read it');
  await page.locator('#which-1', { hasText: '(1)' }).waitFor();
  await page.locator('#which-1').click();
  await left.sees('I can read it');
  await page.waitForFunction(() => !document.querySelector('#which-1').textContent.includes('('));
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), 'nothing stands out');
  await both.leave();
});

test('where guests are not let in, the second half says how one comes in', async (t) => {
  const own = await Server.startIntegrated();
  t.after(() => own.stop());
  const both = await arrive(own);
  assert.equal(await both.page.locator('#together').isVisible(), false, 'no button that cannot work');
  await both.page.locator('#token-input').fill(await own.token('--user-id', '1', '--username', 'ann'));
  await both.page.locator('#token-form [type=submit]').click();
  await both.left.connected();
  await both.page.locator('#split-toggle').click();
  await both.right.find('integrated-line').waitFor();
  await both.right.find('signin-notice').waitFor();
  assert.match(await both.right.find('signin-notice').textContent(), /backend|token/, 'it says why');
  await both.right.find('token-input').fill(await own.token('--user-id', '2', '--username', 'bob'));
  await both.right.find('token-form').locator('[type=submit]').click();
  await both.right.connected();
  await both.right.write('with a token of my own');
  await both.left.sees('with a token of my own');
  await both.leave();
});

test('where the door is closed to new guests, the second half says so and offers to log in', async (t) => {
  const open = await Server.start();
  t.after(() => open.stop());
  await fetch(`${open.url}api/v1/auth/register`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'ann', password: 'long enough for this' }) });
  await open.kill();
  await open.run('--no-signup');
  const both = await arrive(open);
  await both.page.locator('#login-name').fill('ann');
  await both.page.locator('#login-password').fill('long enough for this');
  await both.page.locator('#login-password').press('Enter');
  await both.left.connected();
  await both.page.locator('#split-toggle').click();
  await both.right.find('login-form').waitFor();
  await both.right.find('signin-notice').filter({ hasText: /guest|closed/i }).waitFor();
  await both.leave();
});
