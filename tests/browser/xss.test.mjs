/** Markup in every field of the page stays text: no dialog, no report of the content security policy. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, Server, launchBrowser } from './harness.mjs';
import { PAYLOADS } from './payloads.mjs';

test('eighty payloads as messages, names, rooms, reasons and hash are shown as the text that they are', async (t) => {
  const browser = await launchBrowser();
  t.after(() => browser.close());
  const server = await Server.start('--rate-limit', '0');
  t.after(() => server.stop());
  assert.equal(new Set(PAYLOADS).size, 80);

  const name = '<img src=x onerror=alert(9)>';
  const eve = await (await Person.arrive(browser, server)).asGuest(name);
  const { page } = eve;
  for (const payload of PAYLOADS) await eve.write(payload);
  await eve.stored(PAYLOADS.at(-1));
  assert.deepEqual((await eve.contents()).slice(-80), PAYLOADS);
  assert.equal(await page.locator('#me-name').textContent(), name);

  // As rooms, and where one is too long or otherwise refused, as what the reason speaks of.
  for (const payload of PAYLOADS) {
    const problem = page.locator('#join-problem');
    await page.locator('#join-name').fill(payload);
    await page.locator('#join-name').press('Enter');
    const wanted = payload.slice(0, 64).trim();
    await page.waitForFunction((text) => document.getElementById('talk-name').textContent === `#${text}`
      || document.getElementById('join-problem').textContent !== '', wanted);
    assert.equal(await problem.locator('*').count(), 0);
    await page.evaluate((hash) => { location.hash = hash; }, payload);
  }
  assert.equal(await page.locator('#sidebar :is(script, img, iframe, object, details, a), #messages :is(script, img, iframe, object, details, a)').count(), 0);
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), []);
  await eve.leave();
});

test('a name with a bidi override is refused in words', async (t) => {
  const browser = await launchBrowser();
  t.after(() => browser.close());
  const server = await Server.start();
  t.after(() => server.stop());
  const eve = await Person.arrive(browser, server);
  for (const mark of ['\u202e', '\u2066', '\u200f', '\u0007']) {
    await eve.page.getByLabel('Your name').fill(`ann${mark}bob`);
    await eve.page.getByRole('button', { name: 'Continue as guest' }).click();
    await eve.page.locator('#guest-form [data-problem=username]:visible').waitFor();
  }
  await eve.leave();
});
