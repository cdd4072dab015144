/** The page where the browser keeps nothing for it, nothing more, or something that no page of this version wrote. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadSession } from '../../static/session.js';
import { Person, stage } from './harness.mjs';

const { browser, server } = await stage();

/** Somebody whose page meets this before its first script. */
async function arriveWith(script, argument) {
  const person = await Person.arrive(browser, server);
  await person.page.addInitScript(script, argument);
  await person.page.reload();
  return person;
}

const forbid = () => Object.defineProperty(window, 'sessionStorage', {
  get() { throw new DOMException('Access is denied for this document.', 'SecurityError'); },
});

/** To the last byte, and again after whatever was removed. */
const fill = (page) => page.evaluate(() => {
  for (const size of [1 << 20, 1 << 16, 1 << 12, 256, 16, 1]) {
    try {
      for (let n = 0; ; n += 1) sessionStorage.setItem(`${size}-${n}`, 'x'.repeat(size));
    } catch {
      // The next smaller one may fit.
    }
  }
});

const tab = ({ page }, name) => page.locator('#inspector').getByRole('tab', { name, exact: true });

/** The tools open, change and close, a raw frame is sent, and the second guest comes and answers. */
async function useEverything(ann, words) {
  const { page } = ann;
  await page.locator('#tools-close').click();
  await page.locator('#inspector').waitFor({ state: 'hidden' });
  await page.locator('#inspector-toggle').click();
  await tab(ann, 'Raw').click();
  await page.locator('#raw-text').fill('{"type":"ping","ref":"mine"}');
  await page.locator('#raw-send').click();
  await page.locator('#raw-answer', { hasText: /^pong/ }).waitFor();
  await tab(ann, 'Faults').click();
  assert.equal(await tab(ann, 'Faults').getAttribute('aria-selected'), 'true');
  await page.locator('#tool-faults').waitFor();
  await page.locator('#split-toggle').click();
  await page.locator('#pill-2[data-state=open]').waitFor({ state: 'attached' });
  await page.locator('#composer-text-2').fill(words);
  await page.locator('#composer-text-2').press('Enter');
  await ann.sees(words);
  await page.locator('#person-close-2').click();
  await page.locator('#person-2').waitFor({ state: 'hidden' });
}

/** Also a reload brings nobody back. */
async function signsOutForGood(ann) {
  await ann.page.getByRole('button', { name: 'Sign out' }).click();
  await ann.page.getByLabel('Your name').waitFor();
  await ann.page.reload();
  await ann.page.getByLabel('Your name').waitFor();
  await ann.leave();
}

test('where the browser forbids its storage one signs in, talks, uses the tools, and signs out', async () => {
  const ann = await arriveWith(forbid);
  await ann.asGuest('Ann without storage');
  await ann.write('hello, all the same');
  await ann.stored('hello, all the same');
  await useEverything(ann, 'nothing is kept of this');
  await signsOutForGood(ann);
});

test('with a full storage everything still works, and an end of the session is one', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  await fill(ann.page);
  await useEverything(ann, 'nothing more is kept');
  await ann.write('there is no more room');
  await ann.stored('there is no more room');
  await signsOutForGood(ann);
});

test('a session that has not its shape is none: one is asked who one is, and comes in', async () => {
  const good = {
    token: 'x', user: { id: 1, username: 'a' }, rooms: ['general'], dms: [], read: {}, drafts: {}, active: 'room:general', failed: [],
  };
  const bad = [
    'no JSON', 'null', '[]', '"x"',
    { token: 'x', user: { id: 1, username: 'a' } },
    { ...good, token: { a: 1 } }, { ...good, token: '' },
    { ...good, user: {} }, { ...good, user: { id: '1', username: 'a' } },
    { ...good, rooms: {} }, { ...good, rooms: [null] },
    { ...good, dms: [null] }, { ...good, dms: [{ id: 0, name: 'a' }] },
    { ...good, read: null }, { ...good, read: { 'room:general': 'all' } },
    { ...good, drafts: { 'room:general': {} } }, { ...good, active: 7 },
    { ...good, closed: [] }, { ...good, failed: [{}] }, { ...good, failed: {} },
  ];
  const keep = (session) => {
    const text = typeof session === 'string' ? session : JSON.stringify(session);
    globalThis.sessionStorage = { getItem: () => text };
    return text;
  };
  for (const session of bad) {
    const text = keep(session);
    assert.equal(loadSession('chat-server'), null, text);
  }
  for (const session of [good, { ...good, closed: { 'dm:2': 5 }, mode: 'standalone', later: 'unknown' }]) {
    keep(session);
    assert.deepEqual(loadSession('chat-server'), session);
  }
  delete globalThis.sessionStorage;

  const ann = await Person.arrive(browser, server);
  for (const session of [bad[0], JSON.stringify(bad[4])]) {
    await ann.page.evaluate((text) => sessionStorage.setItem('chat-server', text), session);
    await ann.page.reload();
    await ann.page.getByLabel('Your name').waitFor();
    assert.ok(await ann.page.locator('#chat').isHidden(), session);
    ann.assertNoProblems();
  }
  await ann.asGuest();
  await ann.leave();
});
