/** Characters that turn the order of text around: names may not hold them, and in messages they reach no further than the message. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, Server, stage } from './harness.mjs';

const CONTROLS = ['\u061c', '\u200e', '\u200f', '\u202a', '\u202b', '\u202c', '\u202d', '\u202e', '\u2066', '\u2067', '\u2068', '\u2069',
  '\u2028', '\u2029', '\ufeff', '\u0000', '\u0007', '\u001b', '\u007f', '\u0085'];
const code = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;

/** What turns text around, or leaves something open that would. */
const TURNING = [
  '\u202eevil txt.exe',
  '\u202e\u202e\u202e deeper and deeper',
  'ends with an override \u202e',
  '\u2066\u2067\u2068 isolates that nobody ends',
  '\u2069\u2069\u2069\u202c\u202c ends that nobody began',
  '\u2069\u202e out of the isolate, then around',
  '\u202b embedded \u202a and not \u202d closed',
  'שלום עולם',
  'مرحبا, Hello (123)',
  '\u200f\u061c(a) [b] 1-2',
  'first line\n\u202esecond line\u2029third',
];

const { browser, server } = await stage(Server.start('--rate-limit', '0'));

const post = async (path, body, token) => {
  const answer = await fetch(new URL(path, server.url), {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
  });
  return { status: answer.status, body: await answer.json() };
};

test('a name with any of them is refused, in words that name the character: guests, accounts, rooms', async () => {
  const { token } = (await post('/api/v1/auth/guest', {})).body;
  for (const char of CONTROLS) {
    for (const [path, body, field] of [
      ['/api/v1/auth/guest', { username: `a${char}b` }, 'username'],
      ['/api/v1/auth/register', { username: `a${char}b`, password: 'long enough for this' }, 'username'],
      ['/api/v1/rooms', { name: `a${char}b` }, undefined],
    ]) {
      const { status, body: { error } } = await post(path, body, token);
      assert.equal(status, 400, `${path} with ${code(char)}`);
      assert.ok(error.message.includes(code(char)), error.message);
      if (field) assert.equal(error.field, field);
    }
  }
});

test('the page shows that reason beside the name, and beside the room', async () => {
  const ann = await Person.arrive(browser, server);
  const { page } = ann;
  for (const char of ['\u202e', '\u2067', '\u200f']) {
    await page.getByLabel('Your name').fill(`a${char}b`);
    await page.getByLabel('Your name').press('Enter');
    await page.locator('#guest-form .problem', { hasText: code(char) }).waitFor();
  }
  await ann.asGuest();
  await page.locator('#join-name').fill('a\u202eb');
  await page.locator('#join-name').press('Enter');
  await page.locator('#join-problem', { hasText: 'U+202E' }).waitFor();
  await ann.leave();
});

/** Where everything around the message stands, to the pixel, and every letter of the text before and after it. */
const around = (page) => page.evaluate(() => {
  const letters = (root) => {
    const places = [];
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      for (let at = 0; at < node.data.length; at += 1) {
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + 1);
        const { left, width } = range.getBoundingClientRect();
        places.push([node.data[at], Math.round(left), Math.round(width)]);
      }
    }
    return places;
  };
  const messages = [...document.querySelectorAll('#messages .message')];
  const middle = messages.at(-2);
  return {
    before: letters(messages.at(-3)), after: letters(messages.at(-1)),
    name: letters(middle.querySelector('.message-head .name')), id: letters(middle.querySelector('.message-head .user-id')),
    time: [...letters(middle.querySelector('.message-head time'))].map(([, left, width]) => [left, width]),
    row: [...document.querySelectorAll('#rooms .conversation-name, #rooms .when, #rooms .last-text')].map((node) => { const { left, right } = node.getBoundingClientRect(); return [left, right]; }),
    head: letters(document.querySelector('.talk-head')), me: letters(document.querySelector('.identity')),
    sideways: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  };
});

/** The places when the last three messages are one paragraph, and the second of them an override that nobody ends. */
const inOneLine = async (page, unicodeBidi) => {
  const undo = await page.evaluateHandle((unicodeBidi) => {
    const touched = [];
    const set = (node, style) => { touched.push(node); Object.assign(node.style, style); };
    const messages = [...document.querySelectorAll('#messages .message')].slice(-3);
    for (const message of messages) {
      for (const node of [message, ...message.querySelectorAll('.message-main, .message-head, .message-head *, .content')]) set(node, { display: 'inline', unicodeBidi: 'normal' });
      set(message.querySelector('.content'), { display: 'inline', unicodeBidi });
    }
    const content = messages[1].querySelector('.content');
    const text = content.textContent;
    content.textContent = '\u202eturned';
    return () => {
      content.textContent = text;
      for (const { style } of touched) for (const name of ['display', 'unicode-bidi']) style.removeProperty(name);
    };
  }, unicodeBidi);
  const seen = await around(page);
  await undo.evaluate((undo) => undo());
  return seen;
};

test('in a message they turn nothing but the message itself: names, times and the next messages stay where they are', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest('Ann');
  const { page } = ann;
  const guests = [];
  for (const name of ['Bob (left)', 'Cid [1-2]', 'Dan!']) guests.push((await post('/api/v1/auth/guest', { username: name })).body.token);
  const say = (at, content) => post('/api/v1/chat/messages', { room: 'general', content }, guests[at]);
  const three = async (middle) => {
    const count = await page.locator('#messages .message').count();
    await say(0, 'before: (1) a-b [c]');
    assert.equal((await say(1, middle)).status, 201);
    await say(2, 'after: (2) d-e [f]');
    await page.waitForFunction((count) => document.querySelectorAll('#messages .message').length === count + 3, count);
    // The list of rooms is drawn with the next frame.
    await page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
    await page.locator('#rooms .last-text', { hasText: 'after: (2) d-e [f]' }).waitFor();
    assert.equal(await page.locator('#messages .content').nth(-2).evaluate((node) => node.textContent), middle, 'the text is what was written');
    const seen = await around(page);
    seen.head = seen.head.filter(([letter]) => !/\d/.test(letter)); // the count goes on
    return seen;
  };
  for (let n = 0; n < 4; n += 1) await three('plain'); // as many digits as later
  const plain = await three('plain');
  const times = ({ time, head, before, after, ...rest }) => ({ time: time.length, head: head.map(([letter]) => letter).join(''), before: stable(before), after: stable(after), ...rest });
  for (const text of TURNING) assert.deepEqual(times(await three(text)), times(plain), JSON.stringify(text));

  // Where the measure would notice: everything in one paragraph, in which the second text turns what follows it unless it is isolated.
  const [isolated, bare] = [await inOneLine(page, 'isolate'), await inOneLine(page, 'normal')];
  assert.deepEqual([isolated.before, isolated.name], [bare.before, bare.name], 'what stands before is not turned');
  assert.notDeepEqual(isolated.after, bare.after, 'letters that are turned stand in other places');

  // As a line in the frames they are escapes, and the line is no wider for it.
  const gists = await page.locator('#frames .frame-gist').allTextContents();
  assert.ok(gists.some((gist) => gist.includes('\\u202e')), 'the frames show the character as its escape');
  assert.ok(!/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(gists.join('')), 'no control stays in a line of the frames');
  await ann.leave();
});

/** The time of a message goes on during the test; its letters do not matter, their places do not either. */
const stable = (letters) => letters.filter(([letter]) => !/[\d:]/.test(letter));

test('where messages are quoted they are isolated too: drafts, the DM of a stranger, and names written from right to left', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest('Ann again');
  const { page } = ann;
  const id = await ann.id();
  const stranger = (await post('/api/v1/auth/guest', { username: 'שלום (1)' })).body;
  await post('/api/v1/chat/messages', { to: id, content: TURNING[0] }, stranger.token);
  await page.locator('#dms .conversation').click();
  await ann.sees(TURNING[0]);
  const naked = await page.evaluate(() => {
    const turning = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (!turning.test(node.data) || node.parentElement.closest('.unseen')) continue;
      const around = node.parentElement.closest('body bdi, body [dir]');
      if (!around || !/isolate|plaintext/.test(getComputedStyle(around).unicodeBidi)) found.push(node.parentElement.outerHTML.slice(0, 120));
    }
    return found;
  });
  assert.deepEqual(naked, [], 'every text of somebody else stands in an element that isolates it');
  const line = await page.locator('#dms .conversation').evaluate((button) => {
    const [name, userId] = ['.conversation-name', '.user-id'].map((part) => button.querySelector(part)?.getBoundingClientRect());
    return !userId || name.right <= userId.left + 1;
  });
  assert.ok(line, 'the id stands after the name');
  await page.locator('#composer-text').fill(TURNING[5]);
  assert.equal(await page.locator('#composer-text').getAttribute('dir'), 'auto');
  await ann.openTab('Faults');
  await page.locator('#faults-line', { hasText: 'Ann again' }).waitFor();
  await ann.leave();
});
