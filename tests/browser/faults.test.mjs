/** The faults at a click: each button breaks what it says, and tells truly what the client made of it. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { judge, verdict } from '../../static/faults-judge.js';
import { Person, Server, stage, tooFast } from './harness.mjs';

const { browser, server } = await stage();

/** Somebody in a room of their own, with the faults before them. */
async function arrive(room, { at = server, prepare = async () => {}, ...options } = {}) {
  const person = await Person.arrive(browser, at, options);
  await prepare(person.page);
  await person.asGuest();
  await person.page.locator('#join-name').fill(room);
  await person.page.locator('#join-name').press('Enter');
  await person.page.locator('#talk-name', { hasText: `#${room}` }).waitFor();
  await person.page.locator('#inspector').getByRole('tab', { name: 'Faults' }).click();
  await person.page.locator('#faults-line', { hasText: `#${room}` }).waitFor();
  return person;
}

const report = (person) => person.page.locator('#fault-reports .report').first();
const step = (person, text) => report(person).locator('li', { hasText: text });

async function start(person, name) {
  await person.page.locator('#inspector').getByRole('button', { name, exact: true }).click();
  await report(person).locator('summary', { hasText: name }).waitFor();
}

/** The verdict, once there is one. */
async function concluded(person, kind = 'good') {
  await report(person).locator(`.report-verdict.${kind}`).waitFor();
  return report(person).locator('.report-verdict').innerText();
}

/** Waits until these are the messages on the screen, which is drawn a moment after they came. */
async function shows(person, expected) {
  await person.page.waitForFunction((texts) => {
    const shown = [...document.querySelectorAll('#messages .content')].map((node) => node.textContent);
    return JSON.stringify(shown) === JSON.stringify(texts);
  }, expected).catch(() => {});
  assert.deepEqual(await person.contents(), expected);
}

const written = (from, to = 5) => Array.from({ length: to - from + 1 }, (_, index) => `written meanwhile: ${from + index} of ${to}`);

// The judge.

test('the judge finds what is missing, what is twice, and nothing where all is well', () => {
  const at = (key, ...seqs) => seqs.map((seq) => ({ key, seq }));
  const find = (arrived, before = {}, until = {}) => judge({ before: new Map(Object.entries(before)), arrived, until: new Map(Object.entries(until)) })
    .map(({ missing, twice }) => ({ missing, twice }));
  const whole = [{ missing: [], twice: [] }];
  assert.deepEqual(find(at('room:a', 3, 4, 5), { 'room:a': 2 }, { 'room:a': 5 }), whole);
  assert.deepEqual(find(at('room:a', 5, 3, 4)), whole, 'where nobody knows what was before, it begins with the first');
  assert.deepEqual(find(at('room:a', 4, 5), { 'room:a': 2 }), [{ missing: [3], twice: [] }], 'at the beginning');
  assert.deepEqual(find(at('room:a', 3, 5), { 'room:a': 2 }), [{ missing: [4], twice: [] }], 'in the middle');
  assert.deepEqual(find(at('room:a', 3), { 'room:a': 2 }, { 'room:a': 5 }), [{ missing: [4, 5], twice: [] }], 'at the end');
  assert.deepEqual(find([], { 'room:a': 2 }, { 'room:a': 3 }), [{ missing: [3], twice: [] }], 'all of it');
  assert.deepEqual(find(at('room:a', 3, 4, 4), { 'room:a': 2 }), [{ missing: [], twice: [4] }]);
  assert.deepEqual(find(at('room:a', 2, 3), { 'room:a': 2 }), [{ missing: [], twice: [2] }], 'what was there before');
  assert.deepEqual(find([...at('room:a', 1), ...at('dm:7', 1)], { 'room:a': 0, 'dm:7': 0 }), [...whole, ...whole], 'every conversation counts for itself');
  const findings = judge({ before: new Map([['room:a', 2], ['dm:7', 0]]), arrived: [...at('room:a', 4, 4), ...at('dm:7', 1)] });
  assert.deepEqual(verdict(findings), { ok: false, text: 'Not whole: #a missing 3 twice 4.' });
  assert.equal(verdict([]).ok, true);
});

// The buttons.

test('a dropped connection: 1006, a wait, resume from the cursor, and what was written meanwhile comes once', async () => {
  const ann = await arrive('drop');
  await ann.write('before');
  await ann.stored('before');
  await start(ann, 'Drop the connection');
  assert.match(await concluded(ann), /^Nothing missed, nothing twice: #drop number 2 to 6\.$/);
  const steps = await report(ann).locator('li').allInnerTexts();
  const place = (pattern) => steps.findIndex((line) => pattern.test(line));
  const order = [/Nothing passes.*\n?.*simulated/s, /The client stands at message \d+$/, /5 messages were written to #drop over HTTP: number 2 to 6/, /gone \(1006\)\s+simulated/,
    /The client saw the connection end: 1006/, /It waits \d+ ms before attempt 1/, /It sent resume, after message \d+/, /resume_ack: 5 replayed, complete/, /it stood at \d+$/];
  assert.deepEqual(order.map(place).toSorted((a, b) => a - b), order.map(place), steps.join('\n'));
  assert.ok(order.every((pattern) => place(pattern) >= 0), steps.join('\n'));
  const [, cursor] = /stands at message (\d+)$/.exec(steps[1]);
  assert.ok(steps.some((line) => line.includes(`It sent resume, after message ${cursor}`)));
  await shows(ann, ['before', ...written(1)]);

  // The inspector has what was lost on the way, marked as such, and the note of the end.
  await ann.page.locator('#tool-tab-frames').click();
  await ann.page.locator('#frames .frame-note', { hasText: 'closed with 1006 (simulated)' }).waitFor();
  await ann.page.locator('#frames .frame.in:not(.lost)', { hasText: 'written meanwhile: 5 of 5' }).waitFor();
  // The last of them may come when the connection is gone already, and is then nobody's frame.
  const lost = await ann.page.locator('#frames .frame.lost', { hasText: 'written meanwhile' }).count();
  assert.ok(lost >= 1 && lost <= 5, `${lost}`);
  assert.equal(await ann.page.locator('#frames .frame.in:not(.lost)', { hasText: 'written meanwhile' }).count(), 5);
  await ann.leave();
});

test('a sleeping phone that wakes up finds its connection dead and gets what it slept through', async () => {
  const ann = await arrive('wake');
  await start(ann, 'Go silent');
  await report(ann).getByRole('button', { name: 'Wake up now' }).click();
  assert.match(await concluded(ann), /#wake number 1 to 5/);
  await step(ann, 'Woke up, and found the connection dead (1006)').waitFor();
  await shows(ann, written(1));
  await ann.leave();
});

test('a silence that nobody ends is ended by the watchdog of the client', async () => {
  const ann = await arrive('watchdog', { prepare: (page) => page.clock.install() });
  const { page } = ann;
  await start(ann, 'Go silent');
  await report(ann).locator('.report-waiting', { hasText: 'Waiting for the client’s watchdog' }).waitFor();
  await page.clock.fastForward(26_000); // quiet for 25 s: it asks
  await page.locator('#tool-tab-frames').click();
  await page.locator('#frames .frame.out.lost', { hasText: 'ping' }).waitFor();
  await page.clock.fastForward(11_000); // no answer within 10 s: it gives up
  await page.locator('#frames .frame-note', { hasText: 'closed with 1006: no answer to a ping' }).waitFor();
  await page.clock.fastForward(1_000);
  await page.locator('#tool-tab-faults').click();
  assert.match(await concluded(ann), /#watchdog number 1 to 5/);
  await ann.leave();
});

test('a slow reader gets everything, late, and at full speed again afterwards', async () => {
  const ann = await arrive('slow');
  await start(ann, 'Slow reader');
  assert.match(await concluded(ann), /#slow number 1 to 5/);
  const [, ms] = /held back: (\d+) ms/.exec(await step(ann, 'The longest').innerText());
  assert.ok(Number(ms) > 400, `held back for ${ms} ms only`);
  await shows(ann, written(1));
  await ann.page.locator('#faults-count').fill('40');
  await start(ann, 'Slow reader');
  await report(ann).getByRole('button', { name: 'Full speed now' }).click();
  assert.match(await concluded(ann), /#slow number 6 to 45/);
  await ann.leave();
});

test('after an expired token the page asks for a fresh one and the client goes on from its cursor, by itself', async () => {
  const ann = await arrive('expired');
  const old = await ann.token();
  await ann.renewable();
  await start(ann, 'Expired token');
  await step(ann, 'The client saw the connection end: 4401').waitFor();
  await step(ann, 'The page asked for a fresh token, and the client came back with it').waitFor();
  assert.match(await concluded(ann), /#expired number 1 to 5/);
  assert.equal(await step(ann, 'The client stopped').count(), 0);
  await ann.page.waitForFunction((token) => JSON.parse(sessionStorage.getItem('chat-server')).token !== token, old);
  await shows(ann, written(1));
  await ann.leave();
});

test('where another backend makes the tokens the client stops, does not try the same one again, and goes on from its cursor later', async (t) => {
  const own = await Server.startIntegrated();
  t.after(() => own.stop());
  const ann = await Person.arrive(browser, own);
  await ann.withToken(await own.token('--user-id', '1', '--username', 'ann'));
  await ann.page.locator('#join-name').fill('expired');
  await ann.page.locator('#join-name').press('Enter');
  await ann.page.locator('#talk-name', { hasText: '#expired' }).waitFor();
  await ann.page.locator('#inspector').getByRole('tab', { name: 'Faults' }).click();
  await start(ann, 'Expired token');
  await step(ann, 'The client saw the connection end: 4401').waitFor();
  await step(ann, 'The client stopped, and did not try the same token again').waitFor();
  await ann.page.locator('#pill[data-state=closed]', { hasText: 'Refused: the token expired (simulated)' }).waitFor();
  await report(ann).getByRole('button', { name: 'Connect again' }).click();
  assert.match(await concluded(ann), /#expired number 1 to 5/);
  await ann.connected();
  await shows(ann, written(1));
  await ann.leave();
});

test('a send that goes out twice is stored once, acknowledged twice, and on the screen once', async () => {
  const ann = await arrive('twice');
  const bob = await arrive('twice');
  await start(ann, 'Duplicate a send');
  assert.match(await concluded(ann), /^Stored once\. Nothing missed, nothing twice: #twice number 1\.$/);
  const acknowledged = await report(ann).locator('li', { hasText: 'Acknowledged as message' }).allInnerTexts();
  assert.equal(acknowledged.length, 2);
  assert.deepEqual(acknowledged.map((line) => line.includes('duplicate: true')), [false, true]);
  assert.equal(new Set(acknowledged.map((line) => /message \d+, number \d+/.exec(line)[0])).size, 1);
  await step(ann, 'On the screen: once').waitFor();
  await ann.write('and the next');
  await bob.sees('and the next');
  await shows(bob, ['This went over the wire twice', 'and the next']);
  await ann.page.locator('#tool-tab-frames').click();
  await ann.page.locator('#frames .frame.out', { hasText: 'again' }).waitFor();
  for (const person of [ann, bob]) await person.leave();
});

test('100 messages at once are stored in order, also where the server has to refuse some as too fast', async (t) => {
  const own = await Server.start('--rate-limit', '20');
  t.after(() => own.stop());
  let told;
  const refusal = new Promise((resolve) => { told = resolve; });
  const ann = await arrive('burst', { at: own, prepare: async (page) => {
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => { if (payload.includes('"rate_limited"')) told(); }));
  } });
  const bob = await arrive('burst', { at: own });
  const stop = await tooFast(own, await ann.token(), 'elsewhere');
  t.after(stop);
  await start(ann, 'Burst 100');
  await refusal;
  stop();
  assert.match(await concluded(ann), /#burst number 1 to 100/);
  await step(ann, 'Stored: 100,').waitFor();
  const [, refused, sent, again] = /too fast: (\d+); frames sent: (\d+), so (\d+) again/.exec(await step(ann, 'Refused as too fast').innerText());
  assert.ok(Number(refused) > 0, 'what is allowed was used up');
  assert.deepEqual([Number(sent), Number(again)], [100 + Number(refused), Number(refused)]);
  await step(ann, 'The order of the calls was kept').waitFor();
  await bob.sees('burst 100 of 100');
  await shows(bob, Array.from({ length: 100 }, (_, index) => `burst ${index + 1} of 100`));
  for (const person of [ann, bob]) await person.leave();
});

test('where too much was missed for a replay the report says so, and what came instead', async (t) => {
  const own = await Server.start('--resume-max', '3');
  t.after(() => own.stop());
  const ann = await arrive('many', { at: own });
  await start(ann, 'Drop the connection');
  await concluded(ann);
  await step(ann, 'Not replayed (too_many)').waitFor();
  await step(ann, 'resume_ack: not complete (too_many)').waitFor();
  await shows(ann, written(1));
  await ann.leave();
});

test('a frame that comes twice over the wire is told, and a message that nobody can bring back is told as missing', async () => {
  const troubled = (change) => ({
    prepare: (page) => page.routeWebSocket('**', (route) => {
      const far = route.connectToServer();
      far.onMessage((text) => { for (const frame of change(JSON.parse(text))) route.send(JSON.stringify(frame)); });
    }),
  });
  const lively = ({ type }) => type === 'message';
  const ann = await arrive('doubled', troubled((frame) => (lively(frame) && frame.data.seq === 3 ? [frame, frame] : [frame])));
  await start(ann, 'Drop the connection');
  assert.equal(await concluded(ann), 'Nothing missed, nothing twice: #doubled number 1 to 5. On the wire #doubled 3 came twice.');
  await ann.leave();

  const without = (frame) => (frame.type === 'room_history' ? { ...frame, data: frame.data.filter(({ seq }) => seq !== 3) } : frame);
  const bob = await arrive('holed', troubled((frame) => (lively(frame) && frame.data.seq === 3 ? [] : [without(frame)])));
  await start(bob, 'Drop the connection');
  assert.equal(await concluded(bob, 'bad'), 'Not whole: #holed missing 3.');
  await bob.leave();
});

test('in a direct conversation as in a room; and nothing is begun before the last one has ended', async () => {
  const bob = await (await Person.arrive(browser, server)).asGuest();
  const ann = await arrive('lobby');
  const { page } = ann;
  await page.locator('#dm-id').fill(String(await bob.id()));
  await page.locator('#dm-id').press('Enter');
  await page.locator('#faults-line', { hasText: 'DM with user' }).waitFor();
  for (const name of ['Drop the connection', 'Duplicate a send', 'Go silent']) {
    await start(ann, name);
    if (name === 'Go silent') {
      await report(ann).getByRole('button', { name: 'Wake up now' }).waitFor();
      assert.equal(await page.locator('#fault-drop').isDisabled(), true);
      await report(ann).getByRole('button', { name: 'Wake up now' }).click();
    }
    assert.match(await concluded(ann), /nothing missed, nothing twice/i);
  }
  await shows(ann, [...written(1), 'This went over the wire twice', ...written(1)]);
  await bob.page.locator('#dms .conversation').click();
  await bob.page.waitForFunction(() => document.querySelectorAll('#messages .content').length === 11);
  for (const person of [ann, bob]) await person.leave();
});

test('signing out in the middle ends the experiment, and the next person can begin one', async () => {
  const ann = await arrive('leaver');
  await start(ann, 'Go silent');
  await report(ann).getByRole('button', { name: 'Wake up now' }).waitFor();
  await ann.page.getByRole('button', { name: 'Sign out' }).click();
  await ann.asGuest();
  assert.equal(await concluded(ann, 'bad'), 'Given up: Signed out.');
  await start(ann, 'Duplicate a send');
  await concluded(ann);
  await ann.leave();
});

test('of two guests the fault is that of the one who has the focus', async () => {
  const ann = await arrive('general', { viewport: { width: 1800, height: 1000 } });
  const { page } = ann;
  await page.getByRole('button', { name: 'Two guests side by side' }).click();
  await page.locator('#pill-2[data-state=open]').waitFor();
  await page.locator('#composer-text-2').focus();
  const second = await page.locator('#me-name-2').textContent();
  await page.locator('#faults-line', { hasText: second }).waitFor();
  await start(ann, 'Go silent');
  await report(ann).locator('summary', { hasText: second }).waitFor();
  await report(ann).getByRole('button', { name: 'Wake up now' }).click();
  await page.locator('#pill-2[data-state=reconnecting]').waitFor();
  assert.equal(await page.locator('#pill[data-state=open]').count(), 1);
  await concluded(ann);
  await ann.leave();
});
