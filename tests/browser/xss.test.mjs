/** 80 texts that would like to be markup, through every way by which a text gets onto the page. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, test } from 'node:test';
import { Person, Server, stage } from './harness.mjs';
import { nameable, payloads, planted } from './payloads.mjs';

const SECRET = 'a secret that is only used by these tests'; // that of Server.startIntegrated

const { browser, server } = await stage(Server.start('--rate-limit', '0', '--new-rooms-per-minute', '10000'));

/** Somebody on the page, and every address that the page asked for. */
async function arrive(on, options) {
  const person = await Person.arrive(browser, on, options);
  person.asked = [];
  person.context.on('request', (request) => person.asked.push(request.url()));
  return person;
}

/** Nothing ran, nothing was planted, nobody else was asked, and the token is where it belongs. */
async function assertHarmless(person, on = server) {
  person.assertNoProblems();
  assert.deepEqual(await person.page.evaluate(planted), [], 'something of a text became a part of the page');
  assert.deepEqual(person.asked.filter((url) => !url.startsWith(on.url)), [], 'another host was asked');
  const kept = await person.page.evaluate(() => ({
    local: JSON.stringify({ ...localStorage }), cookie: document.cookie,
    names: Object.keys(sessionStorage).filter((key) => /eyJ[\w-]+\.eyJ/.test(sessionStorage[key])), address: location.href,
  }));
  assert.equal(kept.local, '{}', 'localStorage stays empty');
  assert.equal(kept.cookie, '');
  assert.deepEqual(kept.names.filter((name) => !/^chat-server(-2)?$/.test(name)), [], 'the token lies under the key of its session only');
  assert.ok(!/eyJ/.test(kept.address), 'no token in the address');
}

/** POSTs to the API, for somebody with this token. */
async function post(on, path, body, token) {
  const answer = await fetch(new URL(path, on.url), {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
  });
  return { status: answer.status, body: await answer.json() };
}

const tokenOf = (person) => person.page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server')).token);
const base64 = (value) => Buffer.from(value).toString('base64url');

/** A token made by hand. */
function forge(claims, secret) {
  const head = `${base64('{"alg":"HS256","typ":"JWT"}')}.${base64(JSON.stringify(claims))}`;
  return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`;
}

const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;

/** The texts of all that `selector` finds, once there are `count`. */
async function texts(person, selector, count) {
  await person.page.waitForFunction(([selector, count]) => document.querySelectorAll(selector).length >= count, [selector, count]);
  return person.page.locator(selector).allTextContents();
}

test('as messages in a room and in a DM, in the frames of the inspector, in drafts, and back from the history', async () => {
  const ann = await (await arrive(server)).asGuest();
  const bob = (await post(server, '/api/v1/auth/guest', {})).body;
  for (const to of [{ room: 'general' }, { to: await ann.id() }]) {
    for (const content of payloads) assert.equal((await post(server, '/api/v1/chat/messages', { ...to, content }, bob.token)).status, 201);
  }
  assert.deepEqual(await texts(ann, '#messages .content', 80), payloads);
  await ann.page.locator('#dms .conversation').click();
  await ann.page.locator('#empty').waitFor({ state: 'hidden' });
  await ann.page.waitForFunction(() => document.querySelector('#talk-line').textContent.includes('80 messages'));
  if (await ann.page.locator('#messages .content').count() < 80) await ann.page.locator('#earlier').evaluate((button) => button.click());
  assert.deepEqual(await texts(ann, '#messages .content', 80), payloads, 'in the DM');

  // Every frame as it came, in its line and opened.
  assert.ok(await ann.page.locator('#frames').isVisible());
  await ann.page.waitForFunction(() => document.querySelectorAll('#frames .frame.in').length >= 160);
  const frames = await ann.page.evaluate(async () => {
    const all = [...document.querySelectorAll('#frames .frame.in')];
    const opened = all.map((frame) => new Promise((resolve) => { frame.addEventListener('toggle', resolve, { once: true }); }));
    for (const frame of all) frame.open = true;
    await Promise.all(opened);
    return all.map((frame) => frame.querySelector('pre').textContent);
  });
  const inFrames = frames.map((text) => { try { return JSON.parse(text); } catch { return {}; } }).filter(({ type }) => type === 'message' || type === 'dm').map(({ data }) => data.content);
  for (const text of payloads) assert.equal(inFrames.filter((content) => content === text).length, 2, `in the frames: ${text}`);
  await assertHarmless(ann);

  // Written by oneself: a draft, then a message of one's own, and the raw composer with what was sent before.
  await ann.openConversation('general');
  const composer = ann.page.locator('#composer-text');
  for (const text of payloads.slice(0, 10)) await ann.write(text);
  await composer.fill(payloads.join(' '));
  await ann.openTab('Raw');
  // All of them by hand, in two halves: what was sent before is a list of 50.
  for (const half of [payloads.slice(0, 40), payloads.slice(40)]) {
    await ann.page.evaluate((half) => {
      const text = document.querySelector('#raw-text');
      for (const content of half) {
        text.value = JSON.stringify({ type: content, room: content, content, ref: content.slice(0, 64) });
        text.dispatchEvent(new Event('input', { bubbles: true }));
        document.querySelector('#raw-send').click();
      }
    }, half);
    const last = JSON.stringify(half.at(-1).slice(0, 64));
    await ann.page.waitForFunction((last) => document.querySelector('#raw-answer pre')?.textContent.includes(`"ref": ${last}`), last);
    const before = await ann.page.locator('#raw-history').textContent();
    for (const text of half) assert.ok(before.includes(JSON.stringify({ type: text }).slice(0, 60).replace(/}$/, '')), `in what was sent before: ${text}`);
  }
  // Each of them went out as it is, and each was refused by name of its field.
  await ann.openTab('Frames');
  await ann.page.locator('#filter-text').fill('unknown_type');
  await ann.page.waitForFunction((count) => document.querySelectorAll('#frames .frame.in').length === count, payloads.length);
  await ann.page.locator('#filter-text').fill('');
  await assertHarmless(ann);

  await ann.page.reload();
  await ann.connected();
  await ann.page.waitForFunction(() => document.querySelectorAll('#messages .content').length >= 50);
  assert.equal(await composer.inputValue(), payloads.join(' '), 'the draft is what was written');
  assert.deepEqual((await ann.contents()).slice(-10), payloads.slice(0, 10));
  await assertHarmless(ann);
  await ann.leave();
});

test('as names of guests and of rooms where the rules take them, and in the words of a refusal', async () => {
  const ann = await (await arrive(server)).asGuest();
  const token = await tokenOf(ann);
  const named = payloads.filter((text) => nameable.includes(text));
  const to = await ann.id();
  const guests = await Promise.all(payloads.map(async (username) => {
    const expected = nameable.includes(username) ? 201 : 400;
    const [guest, room] = await Promise.all([post(server, '/api/v1/auth/guest', { username }), post(server, '/api/v1/rooms', { name: username }, token)]);
    assert.equal(guest.status, expected, `${username}: ${JSON.stringify(guest.body)}`);
    assert.equal(room.status, expected, `room ${username}`);
    if (expected === 201) assert.equal((await post(server, '/api/v1/chat/messages', { to, content: 'hello' }, guest.body.token)).status, 201);
    return guest.body;
  }));
  // One after another, so that the order of the names is known.
  for (const guest of guests.filter((guest) => guest.token)) {
    assert.equal((await post(server, '/api/v1/chat/messages', { room: 'names', content: 'hello' }, guest.token)).status, 201);
  }
  await ann.page.evaluate((rooms) => addEventListener('pagehide', () => {
    const session = JSON.parse(sessionStorage.getItem('chat-server'));
    sessionStorage.setItem('chat-server', JSON.stringify({ ...session, rooms, active: 'room:names' }));
  }), ['names', ...named]);
  await ann.page.reload();
  await ann.connected();
  await ann.page.waitForFunction(() => document.querySelectorAll('#messages .name').length >= 50);
  while (await ann.page.locator('#messages .name').count() < named.length) {
    const count = await ann.page.locator('#messages .name').count();
    await ann.page.locator('#earlier').evaluate((button) => button.click());
    await ann.page.waitForFunction((count) => document.querySelectorAll('#messages .name').length > count, count);
  }
  assert.deepEqual(await texts(ann, '#messages .name', named.length), named);
  assert.deepEqual(await texts(ann, '#rooms .conversation-name', named.length + 1), ['names', ...named]);
  // Looked at and pressed in one step: an answer of the server may take the button away between two.
  await ann.page.waitForFunction((count) => {
    const more = document.querySelector('#dms-more');
    if (!more.hidden) more.click();
    return document.querySelectorAll('#dms .conversation-name').length >= count;
  }, named.length);
  assert.deepEqual((await texts(ann, '#dms .conversation-name', named.length)).sort(), [...named].sort());
  await assertHarmless(ann);

  // Each opened, so that it is in the head, the title and the composer as well.
  const heads = await ann.page.evaluate(async (count) => {
    const drawn = () => new Promise((resolve) => { requestAnimationFrame(resolve); });
    const seen = [];
    for (let at = 1; at <= count; at += 1) {
      document.querySelectorAll('#rooms .conversation')[at].click();
      const name = document.querySelectorAll('#rooms .conversation-name')[at].textContent;
      for (let tries = 0; tries < 400 && document.querySelector('#talk-name').textContent !== `#${name}`; tries += 1) await drawn();
      seen.push([document.querySelector('#talk-name').textContent, document.querySelector('#composer-text').placeholder]);
    }
    return seen;
  }, named.length);
  assert.deepEqual(heads, named.map((name) => [`#${name}`, `Write to #${name}`]));
  await assertHarmless(ann);

  // One signs in under such a name, and the next is told that it is taken.
  const [name] = nameable.filter((text) => text.includes('onerror'));
  const bob = await arrive(server);
  await bob.page.getByLabel('Your name').fill(name);
  await bob.page.getByLabel('Your name').press('Enter');
  const problem = bob.page.locator('#guest-form .problem:visible');
  await problem.waitFor();
  assert.ok((await problem.textContent()).includes(name));
  await assertHarmless(bob);

  // Whatever words a server finds for a refusal.
  const words = [...payloads];
  await bob.page.route('**/api/v1/auth/guest', (route) => {
    const [next] = words.splice(0, 1);
    return route.fulfill({ status: 400, contentType: 'application/json', body: JSON.stringify({ error: { code: next, message: next, field: next } }) });
  });
  const told = await bob.page.evaluate(async (count) => {
    const form = document.querySelector('#guest-form');
    const problem = () => [...form.querySelectorAll('.problem')].find((node) => !node.hidden)?.textContent;
    const said = [];
    while (said.length < count) {
      form.requestSubmit();
      while (form.querySelector('[type=submit]').disabled) await new Promise((resolve) => { setTimeout(resolve); });
      said.push(problem());
    }
    return said;
  }, payloads.length);
  assert.deepEqual(told, payloads);
  await assertHarmless(bob);
  await bob.leave();
  await ann.leave();
});

test('as claims of a token: forged ones on the sign-in card, real ones as users of an integrated server', async (t) => {
  const own = await Server.startIntegrated('--rate-limit', '0');
  t.after(() => own.stop());
  const tokens = payloads.map((text, index) => forge({ user_id: index + 2, username: text, role: text.slice(0, 60), iss: text, [text]: text, exp: inAnHour() }, 'a secret of somebody else altogether'));
  const ann = await arrive(own);
  await ann.page.locator('#token-input').waitFor();
  const shown = await ann.page.evaluate((tokens) => tokens.map((token) => {
    const input = document.querySelector('#token-input');
    input.value = token;
    input.dispatchEvent(new Event('input', { bubbles: true }));
    return [...document.querySelectorAll('#claims dd > bdi')].map((node) => node.textContent);
  }), tokens);
  payloads.forEach((text, index) => assert.ok(shown[index].filter((value) => value === JSON.stringify(text)).length >= 2, `as a claim: ${text} ${shown[index]}`));
  await ann.page.locator('#token-form [type=submit]').click();
  await ann.page.locator('#token-form .problem:visible').waitFor();
  for (const text of payloads) {
    await ann.page.locator('#token-input').fill(text);
    assert.equal(await ann.page.locator('#token-input').inputValue(), text);
  }
  await assertHarmless(ann, own);

  // Now with the right secret: the backend decides what its users are called.
  const real = payloads.map((text, index) => forge({ user_id: index + 2, username: text, exp: inAnHour() }, SECRET));
  await ann.page.locator('#token-input').fill(real[10]);
  await ann.page.locator('#token-form [type=submit]').click();
  await ann.connected();
  for (const token of real) assert.equal((await post(own, '/api/v1/chat/messages', { room: 'general', content: 'hello' }, token)).status, 201);
  const names = await texts(ann, '#messages .name', payloads.length);
  payloads.forEach((text, index) => assert.equal(names[index], nameable.includes(text) ? text : names[index], 'the name of a user of the backend'));
  assert.ok(nameable.includes(payloads[10]));
  assert.equal(await ann.page.locator('#me-name').textContent(), payloads[10]);
  await ann.openTab('Token');
  await ann.page.locator('#inspector .token-verdict[data-state=good]').waitFor();
  assert.ok((await ann.page.locator('#inspector .token-verdict').textContent()).includes(payloads[10]));
  await ann.page.getByRole('button', { name: 'Another token' }).click();
  await ann.page.locator('#doctor-input').fill(tokens[11]);
  await ann.page.locator('#inspector .token-verdict[data-state=bad]').waitFor();
  assert.ok((await ann.page.locator('#inspector .token-json').textContent()).includes(JSON.stringify(payloads[11])));
  await assertHarmless(ann, own);
  await ann.leave();
});

test('as the query and the hash of the address', async () => {
  const ann = await arrive(server);
  // One load with each as its hash, without 80 loads: a new hash is a new event, and the query holds them all in two addresses.
  for (let from = 0; from < payloads.length; from += 40) {
    const part = payloads.slice(from, from + 40).map(encodeURIComponent);
    await ann.page.goto(`${server.url}?${part.map((text, index) => `q${index}=${text}&${text}`).join('&')}#${part[0]}`);
    await ann.page.getByLabel('Your name').waitFor();
    await ann.page.evaluate((part) => { for (const text of part) location.hash = text; for (const text of part) location.hash = decodeURIComponent(text); }, part);
    await assertHarmless(ann);
  }
  await ann.asGuest();
  await assertHarmless(ann);
  await ann.leave();
});
