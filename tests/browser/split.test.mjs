/** Two guests side by side in one page. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Person, Server, launchBrowser } from './harness.mjs';

let browser;
let server;

before(async () => {
  browser = await launchBrowser();
  server = await Server.start();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function together(options) {
  const both = await Person.arrive(browser, server, options);
  await both.page.getByRole('button', { name: 'Try it with two guests side by side' }).click();
  for (const suffix of ['', '-2']) await both.page.locator(`#pill${suffix}[data-state=open]`).waitFor({ state: 'attached' });
  return both;
}

test('one click signs two guests in, they talk, and a reload keeps both and their drafts', async () => {
  const both = await together();
  const { page } = both;
  await both.write('from the left');
  await page.locator('#messages-2 .content', { hasText: 'from the left' }).waitFor();
  await page.locator('#composer-text-2').fill('from the right');
  await page.locator('#composer-text-2').press('Enter');
  await both.sees('from the right');
  await page.locator('#composer-text').fill('left draft');
  await page.locator('#composer-text-2').fill('right draft');
  const names = () => page.locator('.person-name').allTextContents();
  const before = await names();
  assert.notEqual(before[0], before[1]);

  await page.reload();
  await page.locator('#messages-2 .content', { hasText: 'from the right' }).waitFor();
  await both.sees('from the left');
  assert.deepEqual(await names(), before);
  assert.equal(await page.locator('#composer-text').inputValue(), 'left draft');
  assert.equal(await page.locator('#composer-text-2').inputValue(), 'right draft');
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), []);
  await both.leave();
});

test('the second side opens and closes by keyboard, and is the same guest when it comes back', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  const { page } = ann;
  const toggle = page.locator('#split-toggle');
  await toggle.focus();
  await page.keyboard.press('Enter');
  await page.locator('#pill-2[data-state=open]').waitFor();
  const name = await page.locator('#person-name-2').textContent();
  await page.locator('#person-close-2').focus();
  await page.keyboard.press('Enter');
  await page.locator('#person-2').waitFor({ state: 'hidden' });
  assert.equal(await toggle.evaluate((node) => node === document.activeElement), true, 'the focus goes back to the button');
  await page.keyboard.press('Enter');
  await page.locator('#pill-2[data-state=open]').waitFor();
  assert.equal(await page.locator('#person-name-2').textContent(), name);
  await ann.leave();
});

test('at 390 px one of the two is shown, and the other is one press away', async () => {
  const both = await together({ viewport: { width: 390, height: 844 } });
  const { page } = both;
  await both.write('for the other side');
  await both.stored('for the other side');
  assert.equal(await page.locator('#talk-2').isVisible(), false);
  await page.locator('#which-2').click();
  await page.locator('#talk-2').getByText('for the other side').waitFor();
  assert.equal(await page.locator('#talk').isVisible(), false);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
  await both.leave();
});
