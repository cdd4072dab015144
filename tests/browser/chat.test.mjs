/** The lists beside the conversation: who is there, what was said last, and what came while one was away. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, stage } from './harness.mjs';

const { browser, server } = await stage();

test('a room shows its last message live, and a room of somebody else is one click away', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest('ann-of-lists');
  await ann.page.locator('#join-name').fill('attic');
  await ann.page.locator('#join-name').press('Enter');
  await ann.page.locator('#talk-name', { hasText: '#attic' }).waitFor();
  await ann.write('Dust everywhere');
  await ann.page.locator('#rooms .last-text', { hasText: 'You: Dust everywhere' }).waitFor();

  const bob = await (await Person.arrive(browser, server)).asGuest();
  await bob.page.locator('#more-rooms .conversation', { hasText: 'attic' }).click();
  await bob.sees('Dust everywhere');
  await bob.page.locator('#more-rooms .conversation', { hasText: 'attic' }).waitFor({ state: 'detached' });
  await ann.leave();
  await bob.leave();
});

test('people are listed with who is online, a click writes to them, and a DM waits for who was away', async () => {
  const cid = await (await Person.arrive(browser, server)).asGuest('cid-who-leaves');
  const session = await cid.page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server')));
  await cid.leave();
  const bob = await (await Person.arrive(browser, server)).asGuest('bob-who-stays');
  const row = bob.page.locator('#people-list .conversation', { hasText: 'cid-who-leaves' });
  await row.filter({ hasText: 'away' }).waitFor();
  await row.click();
  await bob.write('Read this when you are back');
  await bob.stored('Read this when you are back');

  const back = await Person.arrive(browser, server);
  await back.openTab('Paste a token');
  await back.page.locator('#token-input').fill(session.token);
  await back.page.getByRole('button', { name: 'Use this token' }).click();
  await back.connected();
  await back.page.locator('#people-list .conversation', { hasText: 'bob-who-stays' }).filter({ hasText: 'online' }).waitFor();
  await back.page.locator('#dms .conversation.unread .last-text', { hasText: 'Read this' }).waitFor();
  await back.page.locator('#dms .conversation').click();
  await back.sees('Read this when you are back');
  assert.deepEqual(await back.contents(), ['Read this when you are back']);
  await bob.leave();
  await back.leave();
});
