/** One person who has a keyboard and nothing else: every step by keys, the focus always somewhere, and always to be seen. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, Server, stage } from './harness.mjs';

const STOPS_MAX = 40; // to anything on the page, however many messages there are

const { browser, server } = await stage(Server.start('--rate-limit', '0'));

/** Where the focus is, and whether anybody could see that it is there. */
function focusNow() {
  const node = document.activeElement;
  if (!node || node === document.body) return { id: '', name: 'the body', lost: true };
  const draws = (target) => {
    const style = getComputedStyle(target);
    return (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
  };
  // A field may leave it to the box around it.
  const seen = draws(node) || (node.matches('input, textarea, select') && [node.parentElement, node.parentElement.parentElement].some((box) => box.matches(':focus-within') && draws(box)));
  const { width, height } = node.getBoundingClientRect();
  const name = node.getAttribute('aria-label') ?? (node.textContent.trim().slice(0, 60) || node.localName);
  return { id: node.id, name, seen: seen && width > 0 && height > 0, tag: node.localName, className: node.className };
}

class Keys {
  constructor(person) {
    this.person = person;
    this.page = person.page;
  }

  async press(key) {
    await this.page.keyboard.press(key);
    return this.now(key);
  }

  async now(key) {
    const focus = await this.page.evaluate(focusNow);
    this.last = focus;
    return { ...focus, key };
  }

  /** By Tab until the focus is on what `selector` names; every stop on the way can be seen. */
  async to(selector, key = 'Tab') {
    const way = [];
    for (let stops = 0; stops < STOPS_MAX; stops += 1) {
      const focus = await this.press(key);
      way.push(`${focus.tag}#${focus.id} ${focus.name}`);
      if (focus.lost) continue; // past the last stop is the browser itself
      assert.ok(focus.seen, `the focus on ${way.at(-1)} cannot be seen`);
      if (await this.page.evaluate((selector) => document.activeElement.matches(selector), selector)) return;
    }
    assert.fail(`Tab does not lead to ${selector}:\n${way.join('\n')}`);
  }

  type(text) { return this.page.keyboard.type(text); }

  /** After something has happened: the focus is on something, and where it is expected. */
  async isOn(selector) {
    await this.page.waitForFunction((selector) => document.activeElement.matches(selector), selector);
    const focus = await this.now();
    assert.ok(focus.seen, `the focus on ${selector} cannot be seen`);
  }

  /** The focus is not on the body. */
  async notLost(after) {
    const focus = await this.now();
    assert.ok(!focus.lost, `the focus is lost after ${after}`);
  }
}

async function bySignIn(options) {
  const person = await Person.arrive(browser, server, options);
  const keys = new Keys(person);
  await keys.isOn('#guest-name');
  return { person, keys, page: person.page };
}

test('in as a guest, a room, messages old and new, a DM, and out, by keys alone', async () => {
  const bob = await (await Person.arrive(browser, server)).asGuest('Bob');
  const token = await bob.page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server')).token);
  for (let n = 1; n <= 60; n += 1) {
    const answer = await fetch(`${server.url}api/v1/chat/messages`, {
      method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify({ room: 'garden', content: `old ${n}` }),
    });
    assert.equal(answer.status, 201);
  }

  const { person, keys, page } = await bySignIn();
  // The other ways in: along their tabs by the arrows, and back.
  await keys.to('#tab-login');
  for (const tab of ['#tab-register', '#tab-token', '#tab-login']) {
    await keys.press('ArrowRight');
    await keys.isOn(tab);
  }
  await keys.to('#guest-name', 'Shift+Tab');
  await keys.type('Keys only');
  await keys.press('Enter');
  await person.connected();
  await keys.isOn('#composer-text');
  await keys.type('written by keys');
  await keys.press('Enter');
  await person.stored('written by keys');
  await keys.isOn('#composer-text');

  await keys.to('#join-name', 'Shift+Tab');
  await keys.type('garden');
  await keys.press('Enter');
  await person.message('old 60').waitFor();
  await keys.isOn('#composer-text');

  // The list is one stop, and the composer the next. Earlier messages come by themselves as the focus goes up.
  const onMessage = (text) => keys.isOn(`#messages .message[aria-label$=": ${text}"]`);
  await keys.press('Shift+Tab');
  await onMessage('old 60');
  await keys.press('Tab');
  await keys.isOn('#composer-text');
  await keys.press('Shift+Tab');
  await keys.press('ArrowUp');
  await onMessage('old 59');
  await keys.press('ArrowDown');
  await onMessage('old 60');
  await keys.press('Home');
  await onMessage('old 11');
  await person.message('old 1').waitFor({ state: 'attached' });
  await page.locator('#earlier').waitFor({ state: 'hidden' });
  await onMessage('old 11');
  await keys.press('ArrowUp');
  await onMessage('old 10');
  await keys.press('Home');
  await onMessage('old 1');
  await page.waitForFunction(() => document.querySelector('#scroller').scrollTop === 0);
  await page.locator('#jump').waitFor();
  await keys.press('Tab');
  await keys.isOn('#jump');
  await keys.press('Enter');
  await keys.isOn('#composer-text');

  // To whoever wrote, by their name; what there is to a message comes with Right, and goes with Left.
  await keys.to('#messages .message', 'Shift+Tab');
  await keys.press('End');
  await onMessage('old 60');
  await keys.press('ArrowRight');
  await keys.isOn('#messages button.name');
  await keys.press('ArrowLeft');
  await onMessage('old 60');
  await keys.press('ArrowRight');
  await keys.press('Enter');
  await page.locator('#talk-line', { hasText: 'Direct' }).waitFor();
  await keys.isOn('#composer-text');
  await keys.type('just for Bob');
  await keys.press('Enter');
  await person.stored('just for Bob');
  await bob.page.locator('#dms .badge').waitFor();
  await keys.to('#leave', 'Shift+Tab');
  await keys.press('Enter');
  await page.locator('#dms .conversation').waitFor({ state: 'detached' });
  await keys.isOn('#composer-text');

  await keys.to('#signout', 'Shift+Tab');
  await keys.press('Enter');
  await page.locator('#signin').waitFor();
  await keys.isOn('#guest-name');
  await person.leave();
  await bob.leave();
});

test('what is redrawn keeps the focus: a message that is stored while one stands on what there is to it', async (t) => {
  const own = await Server.start();
  t.after(() => own.stop());
  const person = await (await Person.arrive(browser, own)).asGuest();
  const bob = await (await Person.arrive(browser, own)).asGuest('Bob');
  const keys = new Keys(person);
  const { page } = person;
  await bob.write('the first word');
  await person.sees('the first word');
  await own.kill();
  await page.locator('#pill[data-state=reconnecting]').waitFor();
  await keys.isOn('#composer-text');
  await keys.type('written in the dark');
  await keys.press('Enter');
  await page.locator('.outgoing.waiting').waitFor();
  await keys.to('#messages .message', 'Shift+Tab');
  await keys.isOn('#messages .outgoing[aria-label^="You, waiting for the connection"]');
  await keys.press('ArrowRight');
  assert.equal(keys.last.name, 'Discard');
  await own.run();
  await person.stored('written in the dark');
  await keys.isOn('#messages .message:not(.outgoing)[aria-label$="written in the dark"], #messages .message:not(.outgoing) button');
  await keys.press('Escape');
  await keys.isOn('#messages .message[aria-label$="written in the dark"]');
  await person.leave();
  await bob.leave();
});

test('the tools: opened, their tabs by arrows, frames filtered and read, and closed', async () => {
  const { person, keys, page } = await bySignIn({ viewport: { width: 1150, height: 900 } });
  await keys.press('Enter');
  await person.connected();
  await keys.to('#inspector-toggle', 'Shift+Tab');
  await keys.press('Enter');
  await page.locator('#inspector').waitFor();
  await keys.isOn('#inspector-toggle');
  await keys.to('#tool-tab-frames');
  for (const tab of ['raw', 'faults', 'token', 'server', 'frames']) {
    await keys.press('ArrowRight');
    await keys.isOn(`#tool-tab-${tab}[aria-selected=true]`);
    await page.locator(`#tool-${tab}`).waitFor();
    // In by Tab and out again: no tool keeps the focus.
    await keys.to('#tools-close');
    await keys.press('Tab');
    await keys.notLost(`Tab into ${tab}`);
    await keys.to(`#tool-tab-${tab}`, 'Shift+Tab');
  }
  await keys.to('#filter-text');
  await keys.type('welcome');
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 1);
  await keys.to('#frames summary');
  await keys.press('Enter');
  await page.locator('#frames details[open] pre').waitFor();
  await keys.to('#filter-text', 'Shift+Tab');
  await keys.press('Control+a');
  await keys.press('Delete');
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length > 1);
  await keys.to('#tools-close', 'Shift+Tab');
  await keys.press('Enter');
  await page.locator('#inspector').waitFor({ state: 'hidden' });
  await keys.isOn('#inspector-toggle');
  await person.leave();
});

test('two guests: opened, from one to the other, closed, and the way round the page is no trap', async () => {
  const { person, keys, page } = await bySignIn();
  await keys.press('Enter');
  await person.connected();
  await keys.to('#split-toggle', 'Shift+Tab');
  await keys.press('Enter');
  await page.locator('#pill-2[data-state=open]').waitFor();
  await keys.notLost('the second guest came in');
  await keys.to('#composer-text');
  await keys.type('from the left');
  await keys.press('Enter');
  await keys.to('#composer-text-2');
  await keys.type('from the right');
  await keys.press('Enter');
  await person.sees('from the left');
  await person.sees('from the right');

  // Once round the whole page: past the last stop it begins again.
  const round = new Set();
  let lost = 0;
  for (let stops = 0; stops < 2 * STOPS_MAX && lost < 2; stops += 1) {
    const focus = await keys.press('Tab');
    if (focus.lost) lost += 1;
    else round.add(focus.id);
  }
  for (const id of ['split-toggle', 'composer-text', 'composer-text-2', 'signout', 'signout-2', 'person-close-2']) assert.ok(round.has(id), `Tab comes by ${id}`);
  await keys.to('#person-close-2');
  await keys.press('Enter');
  await page.locator('#person-2').waitFor({ state: 'hidden' });
  await keys.isOn('#split-toggle');
  await person.leave();
});

test('on a narrow page: to the conversations and back, by keys alone', async () => {
  const { person, keys, page } = await bySignIn({ viewport: { width: 390, height: 844 } });
  await keys.press('Enter');
  await person.connected();
  await keys.isOn('#scroller');
  await keys.to('#back', 'Shift+Tab');
  await keys.press('Enter');
  await keys.isOn('#rooms .conversation');
  await keys.press('Enter');
  await keys.isOn('#scroller');
  await person.leave();
});
