/** The client library in a real browser, against the real server, through torn connections and a kill. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server, TornNetwork, launchBrowser, tooFast } from './harness.mjs';

const NAMES = ['ann', 'bob'];
const EACH = 150; // to the room, and half as many DMs

let browser;

before(async () => { browser = await launchBrowser(); });
after(() => browser?.close());

/** Two clients that share a room, in a page of `url`. Everything that they tell is written down in the page. */
async function twoClients(t, url) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(error.message));
  await page.goto(url);
  await page.evaluate(async (names) => {
    const { createChat } = await import('/chat-client.js');
    window.people = [];
    for (const username of names) {
      const answer = await fetch('/api/v1/auth/guest', {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username }),
      });
      const { token, user } = await answer.json();
      const person = { id: user.id, token, messages: [], dms: [], receipts: [], errors: [], reconnected: [], resets: [], sockets: 0 };
      const Counted = class extends WebSocket {
        constructor(...given) {
          super(...given);
          person.sockets += 1;
        }
      };
      const chat = createChat({ token, WebSocket: Counted });
      chat.on('message', (message) => person.messages.push(message));
      chat.on('dm', (message) => person.dms.push(message));
      chat.on('reconnected', (event) => person.reconnected.push(event));
      chat.on('reset', (event) => person.resets.push(event));
      chat.on('error', (error) => person.errors.push(error.message));
      chat.on('refused', (refusal) => person.errors.push(refusal.message));
      person.chat = chat;
      window.people.push(person);
      await chat.connect();
      await chat.join('general');
    }
  }, NAMES);
  return { page, problems };
}

/** Both send to the room and to each other for a while; `done` in the page once everything is stored. */
function sendBoth(page, each, pauseMs) {
  return page.evaluate(async ({ each, pauseMs }) => {
    window.written = 0;
    const sending = window.people.map(async ({ chat, receipts, errors }, index) => {
      const peer = window.people[1 - index].id;
      const promises = [];
      const keep = (promise, kind) => promises.push(promise.then((receipt) => receipts.push({ ...receipt, kind }), (error) => errors.push(error.message)));
      for (let number = 1; number <= each; number += 1) {
        keep(chat.send('general', `${index}: ${number}`), 'message');
        if (number % 2) keep(chat.dm(peer, `${index}: direct ${number}`), 'dm');
        window.written += 1;
        if (pauseMs) await new Promise((resolve) => { setTimeout(resolve, Math.random() * 2 * pauseMs); });
      }
      await Promise.all(promises);
    });
    await Promise.all(sending);
  }, { each, pauseMs });
}

/** Waits until everybody has everything, and gives what they have. */
async function told(page, room, direct) {
  // A DM that one sent is known by its receipt, so half of them are events.
  await page.waitForFunction(({ room, direct }) => window.people.every(({ messages, dms, resets }) => resets.length > 0
    || (messages.length >= room && dms.length >= direct)), { room, direct });
  return page.evaluate(() => window.people.map(({ chat, ...person }) => person));
}

function assertEverythingOnce(people, each) {
  const direct = Math.ceil(each / 2);
  const upTo = (count) => Array.from({ length: count }, (_, index) => index + 1);
  for (const [index, { messages, dms, receipts, errors, resets }] of people.entries()) {
    const who = NAMES[index];
    assert.deepEqual(errors, [], who);
    assert.deepEqual(resets, [], who);
    assert.deepEqual(messages.map(({ seq }) => seq), upTo(2 * each), `${who}: the room, in order`);
    assert.equal(new Set(messages.map(({ content }) => content)).size, 2 * each, `${who}: each once`);
    assert.deepEqual(dms.map(({ content }) => content), upTo(each).filter((n) => n % 2).map((n) => `${1 - index}: direct ${n}`), `${who}: DMs`);
    const own = receipts.filter(({ kind }) => kind === 'dm').map(({ seq }) => seq);
    assert.deepEqual([...own, ...dms.map(({ seq }) => seq)].sort((a, b) => a - b), upTo(2 * direct), `${who}: both sides of the DMs`);
    const echoes = messages.filter(({ content }) => content.startsWith(`${index}:`));
    assert.deepEqual(echoes.map(({ content }) => content), upTo(each).map((n) => `${index}: ${n}`), `${who}: in the order of the calls`);
    const kept = receipts.filter(({ kind }) => kind === 'message');
    assert.deepEqual(kept.map(({ nonce }) => nonce), echoes.map(({ nonce }) => nonce), `${who}: receipts and echoes are of the same messages`);
  }
}

test('two clients whose connections are torn again and again miss nothing and see nothing twice', async (t) => {
  const server = await Server.start('--rate-limit', '0');
  t.after(() => server.stop());
  const network = await TornNetwork.before(server);
  t.after(() => network.close());
  const { page, problems } = await twoClients(t, network.url);
  const sending = sendBoth(page, EACH, 20);
  let tears = 0;
  const isDone = sending.then(() => true);
  while (!await Promise.race([isDone, sleep(50 + Math.random() * 300)])) {
    network.tear();
    tears += 1;
    await sleep(Math.random() * 50);
    // A browser says so when the network is back; without it the waits between the attempts would grow to half a minute.
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
  }
  await sending;
  const people = await told(page, 2 * EACH, Math.ceil(EACH / 2));
  assertEverythingOnce(people, EACH);
  assert.deepEqual(problems, []);
  assert.ok(tears >= 5, `${tears} tears`);
  for (const { reconnected, sockets } of people) {
    assert.ok(reconnected.length > 0 && reconnected.every(({ complete }) => complete));
    assert.ok(sockets <= tears + 1, `${sockets} connections for ${tears} tears`);
  }
  t.diagnostic(`${tears} tears, ${people.map(({ reconnected }) => reconnected.reduce((sum, { replayed }) => sum + replayed, 0))} replayed`);
});

test('a kill while both send loses nothing and doubles nothing', async (t) => {
  const server = await Server.start('--rate-limit', '0');
  t.after(() => server.stop());
  const { page, problems } = await twoClients(t, server.url);
  const sending = sendBoth(page, EACH, 10);
  await page.waitForFunction(() => window.written > 60);
  await server.kill();
  await server.run();
  await sending;
  assertEverythingOnce(await told(page, 2 * EACH, Math.ceil(EACH / 2)), EACH);
  assert.deepEqual(problems, []);
});

test('a sender of 1,000 sees each of them once', async (t) => {
  const server = await Server.start('--rate-limit', '0');
  t.after(() => server.stop());
  const { page } = await twoClients(t, server.url);
  const [ann, bob] = await page.evaluate(async () => {
    const [{ chat }] = window.people;
    const receipts = await Promise.all(Array.from({ length: 1_000 }, (_, index) => chat.send('general', `number ${index}`)));
    const nonces = receipts.map(({ nonce }) => nonce);
    const seen = ({ messages }) => messages.map(({ nonce }) => nonce);
    const all = () => window.people.every(({ messages }) => messages.length >= 1_000);
    while (!all()) await new Promise((resolve) => { setTimeout(resolve, 20); });
    return window.people.map((person) => ({ nonces, seen: seen(person), errors: person.errors }));
  });
  for (const { nonces, seen, errors } of [ann, bob]) {
    assert.deepEqual(errors, []);
    assert.equal(new Set(nonces).size, 1_000);
    assert.deepEqual(seen, nonces);
  }
});

test('a burst beyond the rate limit is slower, and no error', async (t) => {
  const server = await Server.start('--rate-limit', '50');
  t.after(() => server.stop());
  const { page } = await twoClients(t, server.url);
  const stop = await tooFast(server, await page.evaluate(() => window.people[0].token), 'elsewhere');
  t.after(stop);
  await page.exposeFunction('enough', stop);
  const { refusals, receipts } = await page.evaluate(async () => {
    const [{ chat }] = window.people;
    let refusals = 0;
    chat.on('frame', ({ direction, text }) => {
      if (direction !== 'in' || !text.includes('"rate_limited"')) return;
      refusals += 1;
      window.enough();
    });
    const receipts = await Promise.all(Array.from({ length: 140 }, (_, index) => chat.send('general', `number ${index}`)));
    return { refusals, receipts: receipts.map(({ seq }) => seq) };
  });
  assert.ok(refusals > 0, 'the limit was reached');
  assert.deepEqual(receipts, Array.from({ length: 140 }, (_, index) => index + 1));
});
