/** The page without a mouse. */

import { test } from 'node:test';
import { Person, Server, launchBrowser } from './harness.mjs';

test('somebody signs in, joins a room, writes, and opens a DM with the keyboard alone', async (t) => {
  const browser = await launchBrowser();
  t.after(() => browser.close());
  const server = await Server.start();
  t.after(() => server.stop());
  const bob = await (await Person.arrive(browser, server)).asGuest('bob');
  const ann = await Person.arrive(browser, server);
  const { page } = ann;
  const tabTo = async (selector) => {
    for (let presses = 0; presses < 40; presses += 1) {
      if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`40 presses of Tab do not reach ${selector}`);
  };
  await tabTo('#guest-name');
  await page.keyboard.type('ann');
  await page.keyboard.press('Enter');
  await ann.connected();
  await page.locator('#people-list .conversation', { hasText: 'bob' }).waitFor();
  await tabTo('#join-name');
  await page.keyboard.type('keys');
  await page.keyboard.press('Enter');
  await page.locator('#talk-name', { hasText: '#keys' }).waitFor();
  await tabTo('#composer-text');
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  await ann.stored('typed');
  await tabTo('#people-list .conversation');
  await page.keyboard.press('Enter');
  await page.locator('#talk-name', { hasText: 'bob' }).waitFor();
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/keys.png` });
  await ann.leave();
  await bob.leave();
});
