/** The inspector of frames and the composer of raw ones: what they show, what they copy, and what they say beforehand. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { asCurl, asJavaScript, asJson, asWscat } from '../../static/inspector-copy.js';
import { FrameLog, LOG_MAX_BYTES, LOG_MAX_FRAMES, matches } from '../../static/inspector-log.js';
import { checkFrame } from '../../static/raw-check.js';
import { HIDDEN, atTokens, withoutToken } from '../../static/secrets.js';
import { Person, stage } from './harness.mjs';

const NASTY = 'It\'s "quoted", $HOME `id` $(id) !! \\ \n second line \t 100% & ; | > < * ? ~ # {a,b} ümläut 🦀 </script>';

/** Values that are no text and do not become one, half a character, and what is too deep to be written again. */
const HOSTILE = [
  '{"type":"join","room":{"toString":1}}', '{"type":{"toString":1},"room":[{"toString":1}]}', '{"type":"dm","to":{"toString":1},"ref":{"toString":1}}',
  '{"type":"resume","after":{"toString":1},"rooms":[{"toString":1}]}', '{"type":"dm_history","with":{"toString":1},"limit":{"toString":1}}',
  '{"type":"resume_ack","data":{"complete":true,"replayed":{"toString":1}}}', '{"type":"resume_ack","data":{"reason":{"toString":1}}}',
  '{"type":"message","data":{"room":{"toString":1}}}', '{"type":"dm","data":{"fromUser":{"toString":1}}}', '{"type":"room_history","room":"\\ud800"}',
  `{"type":"message","content":${'['.repeat(30_000)}${']'.repeat(30_000)},"ref":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
];

const { browser, server } = await stage();

const arrive = async (options) => (await Person.arrive(browser, server, options)).asGuest();
const frames = (person, filter = {}) => person.page.locator('#frames .frame', filter);
const tool = (person, name) => person.page.locator('#inspector').getByRole('tab', { name, exact: true }).click();

/** The arguments that bash gives to the command which this text calls. */
async function argumentsOf(command, text) {
  const script = `${command}() { printf '%s\\0' "$@"; }\n${text}`;
  const { stdout } = await promisify(execFile)('bash', ['-c', script], { env: { ...process.env, TOKEN: 'the.token.here' } });
  return stdout.split('\0').slice(0, -1);
}

// Pure parts.

test('a reply is laid to its request by its ref, also where two requests bear the same one', () => {
  const log = new FrameLog();
  const frame = (direction, text, socket = 1) => log.record('1', 7, { socket, direction, text, bytes: text.length });
  const first = frame('out', '{"type":"message","room":"a","content":"x","nonce":"n","ref":1}');
  const second = frame('out', '{"type":"message","room":"a","content":"x","nonce":"n","ref":1}');
  const text = frame('out', '{"type":"ping","ref":"1"}');
  const other = frame('in', '{"type":"pong","ref":1}', 2);
  const refused = frame('in', '{"type":"error","message":"m","data":{"code":"rate_limited"},"ref":1}');
  const sent = frame('in', '{"type":"message_sent","data":{"room":"a","id":4,"seq":2,"duplicate":true},"ref":1}');
  const pong = frame('in', '{"type":"pong","ref":"1"}');
  assert.equal(other.partner, undefined, 'another connection has refs of its own');
  assert.deepEqual([refused.partner, sent.partner, pong.partner], [first, second, text]);
  assert.ok(sent.roundTripMs >= 0);
  assert.deepEqual(refused.places, ['room:a'], 'an error is about the place that was asked for');
  assert.deepEqual(sent.receipt, { key: 'room:a', seq: 2, id: 4 });
});

test('the log is bounded in frames and in bytes, and keeps the newest', () => {
  const log = new FrameLog();
  for (let n = 1; n <= LOG_MAX_FRAMES + 50; n += 1) log.record('1', 1, { socket: 1, direction: 'out', text: `{"type":"ping","ref":${n}}`, bytes: 20 });
  assert.equal(log.entries.length, LOG_MAX_FRAMES);
  assert.equal(log.entries.at(-1).n, LOG_MAX_FRAMES + 50);
  for (let n = 0; n < 5; n += 1) log.record('1', 1, { socket: 1, direction: 'in', text: '{}', bytes: LOG_MAX_BYTES / 4 });
  assert.equal(log.entries.length, 4, 'four quarters are all that fits');
});

test('what came is shown as what it is, whatever it is', () => {
  const log = new FrameLog();
  for (const text of ['null', '[]', '7', '"x"', '{', '', '{"type":null}', '{"type":{},"data":[null,7,{"id":{}}]}', '{"type":"message","data":null}', '{"type":"room_history","data":[{}],"room":{}}', ...HOSTILE]) {
    const entry = log.record('1', 1, { socket: 1, direction: 'in', text, bytes: text.length });
    assert.equal(typeof entry.type, 'string');
    assert.equal(matches(entry, { text: 'nothing that is there', message: { id: 1 } }), false);
    for (const copied of [asJson(text), asWscat(text, { origin: 'http://h' }), asCurl(text, { origin: 'http://h' })]) assert.notEqual(copied, undefined);
  }
});

test('a frame as a wscat command is one shell word, byte for byte, and without the token', async () => {
  const text = JSON.stringify({ type: 'message', room: "o'clock", content: NASTY, ref: 1 });
  const command = asWscat(text, { origin: 'http://127.0.0.1:3000' });
  assert.ok(command.includes('$TOKEN'));
  assert.deepEqual(await argumentsOf('wscat', command),
    ['-c', 'ws://127.0.0.1:3000/ws', '-s', 'chat.v1', '-H', 'Authorization: Bearer the.token.here', '-w', '2', '-x', text]);
  const own = await argumentsOf('wscat', asWscat(text, { origin: 'https://chat.example', token: 'my.own.token' }));
  assert.deepEqual(own.slice(1, 6), ['wss://chat.example/ws', '-s', 'chat.v1', '-H', 'Authorization: Bearer my.own.token']);
  const auth = await argumentsOf('wscat', asWscat('{"type":"auth","token":"(hidden)","ref":2}', { origin: 'http://h' }));
  assert.equal(auth.at(-1), '{"type":"auth","token":"the.token.here","ref":2}');
  // What says (hidden) in any other place is text: the token is not told there.
  const told = '{"type":"auth","content":"(hidden) and \\"token\\":\\"(hidden)\\"","\\"token":"(hidden)","token":"(hidden)"}';
  for (const given of [undefined, 'the.token.here']) {
    const [said] = (await argumentsOf('wscat', asWscat(told, { origin: 'http://h', token: given }))).slice(-1);
    assert.equal(said, told.replace(/"\(hidden\)"}$/, '"the.token.here"}'));
  }
});

test('a token is hidden wherever it stands, in whatever it is written, and the rest stays as it was', () => {
  const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjo3fQ.c2lnbmF0dXJl';
  const escaped = jwt.replace('e', '\\u0065').replace('.', '\\u002e');
  for (const [text, shown] of [
    [`{"type":"auth","token":"${jwt}","ref":2}`, '{"type":"auth","token":"(hidden)","ref":2}'],
    [`{"type":"auth", "data":{"token":"${jwt}"}}`, '{"type":"auth", "data":{"token":"(hidden)"}}'],
    [`{"type":"auth","access_token":"${jwt}","jwt":"${jwt}"}`, '{"type":"auth","access_token":"(hidden)","jwt":"(hidden)"}'],
    [`[[{"a":["${jwt}", 1.0]}]]`, '[[{"a":["(hidden)", 1.0]}]]'],
    [`{"a":"${jwt}","a":"x"}`, '{"a":"(hidden)","a":"x"}'],
    [`{"a":"${escaped}","a":"x"}`, '{"a":"(hidden)","a":"x"}'],
    [`{"content":"see \\"Bearer ${jwt}\\", \u00e4"}`, '{"content":"see \\"Bearer (hidden)\\", \u00e4"}'],
    [`{"${jwt}":1}`, '{"(hidden)":1}'],
    [`{"type":"auth","token":"${jwt}`, '{"type":"auth","token":"(hidden)'],
    [`{"token": tok${jwt}}`, '{"token": tok(hidden)}'],
    [`curl -H 'Authorization: Bearer ${jwt}'`, "curl -H 'Authorization: Bearer (hidden)'"],
    [`https://h/?t=${jwt}&a.b.${jwt}.`, 'https://h/?t=(hidden)&a.b.(hidden).'],
    ['eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjo3fQ.', '(hidden)'],
    ['{"a":"my own one"} my own one', '{"a":"(hidden)"} (hidden)'],
    ['{"refreshToken":"anything"}', '{"refreshToken":"(hidden)"}'],
  ]) assert.equal(withoutToken(text, 'my own one'), shown);
  for (const text of ['{"a":"heyJude.is.good", "tokens":7,"token":null}', '{"type":"message","content":"a.b.c \\u00e4 1.0"}', 'eyJhbGciOiJIUzI1NiJ9.only', '$& (hidden)', '{"', '"\\']) {
    assert.equal(withoutToken(text), text);
  }
  const before = process.cpuUsage(); // its own work, whatever else the machine has to do
  for (const text of ['eyJ', 'eyJhbGciOiJIUzI1NiJ9', 'eyJ.', '"a\\', '"', '"a": ', '{"token":']) withoutToken(text.repeat(64_000 / text.length), jwt);
  assert.ok(process.cpuUsage(before).user < 1_000_000, 'a frame of the largest size is no work');
  assert.equal(atTokens('{"token":"$TOKEN","b":{"token" : "$TOKEN"},"c":"$TOKEN","d":"\\"token\\":\\"$TOKEN\\""}', '$TOKEN', () => '7'),
    '{"token":7,"b":{"token" : 7},"c":"$TOKEN","d":"\\"token\\":\\"$TOKEN\\""}');
  assert.equal(HIDDEN, '(hidden)');
});

test('a frame as a curl command: histories by their paths, and a reason where HTTP has nothing', async () => {
  const origin = 'http://h:1';
  const urlOf = async (frame) => (await argumentsOf('curl', asCurl(JSON.stringify(frame), { origin }).text))[1];
  assert.equal(await urlOf({ type: 'room_history', room: 'a/b ?&#\'', limit: 10, before: 7 }), `${origin}/api/v1/rooms/a%2Fb%20%3F%26%23'/messages?limit=10&before=7`);
  assert.equal(await urlOf({ type: 'dm_history', with: 7, after: 0, ref: 1 }), `${origin}/api/v1/dms/7/messages?after=0`);
  for (const type of ['join', 'leave', 'hello', 'resume', 'auth', 'ping']) {
    assert.match(asCurl(JSON.stringify({ type }), { origin }).reason, /not available over HTTP/);
  }
  assert.ok(asCurl('no frame', { origin }).reason);
});

test('a curl command reads the history of a room whose name would be a step in a path', async () => {
  const { token } = await (await fetch(new URL('/api/v1/auth/guest', server.url), { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })).json();
  for (const room of ['..', '.', 'a/../b', '%2e%2e']) {
    const [send, read] = [{ type: 'message', room, content: `in ${room}` }, { type: 'room_history', room }]
      .map((frame) => asCurl(JSON.stringify(frame), { origin: new URL(server.url).origin, token }).text);
    await promisify(execFile)('bash', ['-c', send]);
    const { stdout } = await promisify(execFile)('bash', ['-c', read]);
    assert.deepEqual(JSON.parse(stdout).messages.map(({ content }) => content), [`in ${room}`]);
  }
});

// On the page.

test('the copied curl command, run by a real bash, stores what was written to the byte', async () => {
  const ann = await arrive({ permissions: ['clipboard-read', 'clipboard-write'] });
  const { page } = ann;
  await ann.write(NASTY);
  await page.locator('#messages .stored').first().waitFor();
  const sent = frames(ann, { hasText: 'message' }).locator('visible=true').and(page.locator('.out')).last();
  await sent.locator('summary').click();
  const copied = async (name) => {
    await page.evaluate(() => navigator.clipboard.writeText(''));
    await sent.getByRole('button', { name, exact: true }).click();
    return page.evaluate(async () => {
      let text = '';
      for (; text === ''; await new Promise(requestAnimationFrame)) text = await navigator.clipboard.readText();
      return text;
    });
  };
  const token = await page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server')).token);
  const command = await copied('curl');
  assert.ok(!command.includes(token) && command.includes('$TOKEN'), 'nobody asked for the token');
  const run = async (text) => JSON.parse((await promisify(execFile)('bash', ['-c', text], { env: { ...process.env, TOKEN: token } })).stdout);
  const stored = await run(command);
  assert.equal(stored.content, NASTY);
  const anew = await run(command.replace(/"nonce":"[^"]+"/, '"nonce":"another"'));
  assert.equal(anew.content, NASTY);
  assert.ok(anew.id > stored.id);

  await sent.getByLabel('with my token').check();
  assert.equal((await run((await copied('curl')).replace('TOKEN', 'NOTHING'))).id, stored.id, 'the same nonce, the same message');
  assert.ok((await copied('wscat')).includes(token));
  assert.deepEqual(JSON.parse(await copied('JSON')).content, NASTY);
  await ann.leave();
});

test('the copied JavaScript runs: with the client library, and with a bare WebSocket where the library has no call', async () => {
  const ann = await arrive();
  const token = await ann.page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server')).token);
  const where = { origin: new URL(server.url).origin, token };
  const run = (source) => ann.page.evaluate(async (text) => {
    const said = [];
    const loud = console.log;
    const heard = new Promise((resolve) => { console.log = (line) => { said.push(line); resolve(); }; });
    const body = text.replace(/^import (.*) from (.*);$/m, 'const $1 = await import($2);');
    await new (Object.getPrototypeOf(async () => {}).constructor)(body)();
    await heard;
    console.log = loud;
    return said[0];
  }, source);
  const receipt = await run(asJavaScript(JSON.stringify({ type: 'message', room: 'script', content: NASTY, nonce: 'js', ref: 1 }), where));
  assert.equal(receipt.status, 'ok');
  const page = await run(asJavaScript('{"type":"room_history","room":"script","limit":3}', where));
  assert.equal(page.messages[0].content, NASTY);
  assert.equal(JSON.parse(await run(asJavaScript('{"type":"resume","after":0,"rooms":[]}', where))).type, 'resume_ack');
  await ann.leave();
});

test('where the clipboard is forbidden the text is there to be copied by hand', async () => {
  const ann = await arrive();
  await ann.page.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); });
  const hello = frames(ann, { hasText: 'hello' }).first();
  await hello.locator('summary').click();
  const curl = hello.getByRole('button', { name: /^curl/ });
  assert.equal(await curl.isDisabled(), true);
  assert.match(await curl.getAttribute('title'), /not available over HTTP/);
  await hello.getByRole('button', { name: 'JSON', exact: true }).click();
  const area = ann.page.locator('dialog textarea');
  await area.waitFor();
  assert.equal(JSON.parse(await area.inputValue()).type, 'hello');
  assert.equal(await area.evaluate((node) => node.selectionEnd - node.selectionStart === node.value.length), true);
  await ann.page.keyboard.press('Escape');
  await area.waitFor({ state: 'detached' });
  await ann.leave();
});

test('every frame has its time, its size and, for a reply, its round trip; a reply leads to its request and back', async () => {
  const ann = await arrive();
  const welcome = frames(ann, { hasText: 'welcome' });
  await welcome.waitFor();
  assert.match(await welcome.locator('time').textContent(), /^\d\d:\d\d:\d\d\.\d{3}$/);
  assert.match(await welcome.locator('.frame-size').textContent(), /^\d+ B$/);
  assert.match(await welcome.locator('.frame-trip').textContent(), /^[\d.]+ m?s$/);
  await welcome.locator('summary').click();
  await welcome.getByRole('button', { name: 'Its request' }).click();
  const hello = frames(ann, { hasText: 'hello' }).first();
  await hello.getByRole('button', { name: /Its reply, .* later/ }).click();
  await ann.page.waitForFunction(() => document.activeElement.matches('summary') && document.activeElement.textContent.includes('welcome'));
  await ann.leave();
});

test('frames are filtered by type, room, direction and text, and what is filtered out is still there afterwards', async () => {
  const ann = await arrive();
  const { page } = ann;
  await page.locator('#join-name').fill('garden');
  await page.locator('#join-name').press('Enter');
  await page.locator('#talk-name', { hasText: '#garden' }).waitFor();
  await ann.write('tomatoes');
  await ann.stored('tomatoes');
  await frames(ann, { hasText: 'message_sent' }).waitFor();
  await frames(ann, { hasText: 'tomatoes' }).nth(1).waitFor();
  const all = await frames(ann).count();
  const shown = () => frames(ann).evaluateAll((nodes) => nodes.map((node) => [node.classList[1], node.querySelector('.frame-type').textContent].join(' ')));

  await page.getByLabel('Type').selectOption('join_ack');
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 2);
  assert.deepEqual(await shown(), ['in join_ack', 'in join_ack']);
  await page.getByLabel('Room or person').selectOption('room:garden');
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 1);
  await page.getByLabel('Type').selectOption('');
  await page.getByLabel('Direction', { exact: true }).selectOption('out');
  await page.locator('#frames .frame.in').first().waitFor({ state: 'detached' });
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 3);
  assert.deepEqual(await shown(), ['out join', 'out room_history', 'out message']);
  await page.getByLabel('Only frames with this text').fill('TOMATO');
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 1);
  assert.deepEqual(await shown(), ['out message']);
  for (const name of ['Room or person', 'Direction']) await page.getByLabel(name, { exact: true }).selectOption('');
  await page.getByLabel('Only frames with this text').fill('');
  await page.waitForFunction((count) => document.querySelectorAll('#frames .frame').length === count, all);
  await ann.leave();
});

test('paused, nothing moves and nothing is lost; cleared, it begins anew', async () => {
  const ann = await arrive();
  const { page } = ann;
  await frames(ann, { hasText: 'room_history' }).nth(1).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  const before = await frames(ann).count();
  await ann.write('while it is paused');
  await ann.stored('while it is paused');
  await page.locator('#frames-line', { hasText: /^Paused, 3 held back\.$/ }).waitFor();
  assert.equal(await frames(ann).count(), before);
  await page.getByRole('button', { name: 'Resume' }).click();
  await frames(ann, { hasText: 'while it is paused' }).first().waitFor();
  assert.equal(await frames(ann).count(), before + 3);
  await page.getByRole('button', { name: 'Clear' }).click();
  await frames(ann).first().waitFor({ state: 'detached' });
  await ann.write('afterwards');
  await frames(ann, { hasText: 'message_sent' }).waitFor();
  await frames(ann, { hasText: 'afterwards' }).nth(1).waitFor();
  assert.equal(await frames(ann).count(), 3);
  await ann.leave();
});

test('a message leads to the frames that made it, by keyboard as well, and a frame leads to its message', async () => {
  const ann = await arrive();
  const bob = await arrive();
  const { page } = ann;
  for (const text of ['the first of two', 'the second of two']) {
    await ann.write(text);
    await ann.stored(text);
  }
  await bob.sees('the first of two');
  const button = ann.message('the first of two').getByRole('button', { name: /^The frames of message/ });
  await button.focus();
  await page.keyboard.press('Enter');
  await page.locator('#frames-about', { hasText: 'The frames of message' }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 3);
  const types = await frames(ann).locator('.frame-type').allTextContents();
  assert.deepEqual(types.sort(), ['message', 'message', 'message_sent'], 'the request, the receipt, the echo');
  assert.equal(await frames(ann, { hasText: 'the second of two' }).count(), 0);

  await page.locator('#join-name').fill('elsewhere');
  await page.locator('#join-name').press('Enter');
  await page.locator('#talk-name', { hasText: '#elsewhere' }).waitFor();
  const receipt = frames(ann, { hasText: 'message_sent' });
  await receipt.locator('summary').click();
  await receipt.getByRole('button', { name: 'Show the message' }).click();
  await page.locator('#messages .message.found', { hasText: 'the first of two' }).waitFor();
  await page.getByRole('button', { name: 'Show all' }).click();
  await frames(ann, { hasText: 'the second of two' }).first().waitFor();

  // Without a nonce it is the id by which they are found, and the ref by which the request is.
  await tool(ann, 'Raw');
  await page.locator('#raw-text').fill('{"type":"message","room":"general","content":"by hand","ref":"by-hand"}');
  await page.locator('#raw-send').click();
  await ann.openConversation('general');
  await ann.message('by hand').getByRole('button', { name: /^The frames of message/ }).click();
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 3);
  assert.equal(await frames(ann, { hasText: 'raw' }).count(), 1);

  // Somebody else's: only what came.
  await bob.message('the second of two').hover();
  await bob.message('the second of two').getByRole('button', { name: /^The frames of message/ }).click();
  await bob.page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 1);
  for (const person of [ann, bob]) await person.leave();
});

test('a burst of 5,000 frames does not freeze the page, and the newest 1,000 are there', async () => {
  const ann = await arrive();
  const { page } = ann;
  // The socket under the page's own, so that what is measured is what comes in.
  const longest = await page.evaluate(async () => {
    const { send } = WebSocket.prototype;
    const socket = await new Promise((resolve) => {
      WebSocket.prototype.send = function (text) { WebSocket.prototype.send = send; resolve(this); send.call(this, text); };
      document.querySelector('#tool-tab-raw').click();
      document.querySelector('#raw-text').value = '{"type":"ping"}';
      document.querySelector('#raw-text').dispatchEvent(new Event('input'));
      document.querySelector('#raw-send').click();
      document.querySelector('#tool-tab-frames').click();
    });
    let gap = 0;
    let last = performance.now();
    let watching = true;
    const watch = () => {
      gap = Math.max(gap, performance.now() - last);
      last = performance.now();
      if (watching) requestAnimationFrame(watch);
    };
    requestAnimationFrame(watch);
    const done = new Promise((resolve) => { socket.addEventListener('message', ({ data }) => data.includes('"burst-5000"') && resolve()); });
    for (let n = 1; n <= 5_000; n += 1) {
      socket.send(`{"type":"ping","ref":"burst-${n}"}`);
      if (n % 100 === 0) await new Promise((resolve) => { setTimeout(resolve); }); // this loop is not what is measured
    }
    await done;
    watching = false;
    return gap;
  });
  await page.getByLabel('Only frames with this text').fill('"burst-5000"');
  await page.waitForFunction(() => document.querySelectorAll('#frames > *').length === 1);
  await frames(ann).locator('summary').click();
  assert.match(await frames(ann).locator('pre').textContent(), /burst-5000/);
  await page.getByLabel('Only frames with this text').fill('');
  await page.waitForFunction(() => document.querySelectorAll('#frames > *').length === 1_000);
  assert.ok(longest < 2_000, `the page stood still for ${Math.round(longest)} ms`);
  await ann.write('still alive');
  await ann.stored('still alive');
  await ann.leave();
});

test('a raw frame with anything in it goes out, is shown, and opens', async () => {
  const ann = await arrive();
  const { page } = ann;
  for (const [count, text] of [HOSTILE[0], HOSTILE[9], HOSTILE[4]].entries()) {
    await tool(ann, 'Raw');
    await page.locator('#raw-text').fill(text);
    await page.locator('#raw-send').click();
    await tool(ann, 'Frames');
    const row = frames(ann, { has: page.locator('.tag', { hasText: 'raw' }) }).nth(count);
    await row.locator('summary').click();
    await row.locator('.copies').waitFor();
    assert.deepEqual(JSON.parse(await row.locator('pre').textContent()), JSON.parse(text));
  }
  await frames(ann, { hasText: 'error' }).nth(2).waitFor();
  await ann.leave();
});

test('a large frame is cut in the list and whole on demand, and markup in frames is text', async () => {
  const ann = await arrive();
  const { page } = ann;
  const payload = '<img src=x onerror=alert(1)><script>alert(1)</script>';
  await ann.write(payload + 'x'.repeat(12_000));
  const sent = frames(ann, { hasText: payload.slice(0, 20) }).and(page.locator('.out'));
  await sent.locator('summary').click();
  assert.ok((await sent.locator('pre').textContent()).length < 9_000);
  await sent.getByRole('button', { name: /^Show all/ }).click();
  assert.equal(JSON.parse(await sent.locator('pre').textContent()).content.length, payload.length + 12_000);
  await tool(ann, 'Raw');
  await page.locator('#raw-text').fill(`{"type":"${payload}","${payload}":1,"ref":"<b>"}`);
  await page.locator('#raw-send').click();
  await page.locator('#raw-answer pre', { hasText: '<b>' }).waitFor();
  assert.equal(await page.locator('#inspector :is(script, img, b)').count(), 0);
  await ann.leave();
});

// Raw frames.

const REFUSED = [
  '', ' ', '{', '{"type":"ping"', '[1]', '"x"', '7', '{"type":"ping"}x', '{type:"ping"}', '{"type":\'ping\'}', '{"type":"ping",}', '{"a":01}', '{"a":"\t"}', '{"a":tru}', '\ufeff{"type":"ping"}',
  '{}', '{"type":7}', '{"type":null}', '{"type":"shout"}', '{"type":"shout","ref":"r"}',
  '{"type":"ping","ref":1.5}', '{"type":"ping","ref":{}}', `{"type":"ping","ref":"${'x'.repeat(65)}"}`, '{"type":"ping","ref":9223372036854775808}', '{"type":"hello"}', '{"type":"hello","ref":null}',
  '{"type":"join"}', '{"type":"join","room":7}', '{"type":"join","room":""}', '{"type":"join","room":" a"}', '{"type":"join","room":"a\\u202eb"}', '{"type":"join","room":"a\\nb"}',
  `{"type":"join","room":"${'é'.repeat(65)}"}`, '{"type":"join","room":"\\ud800"}', '{"type":"join","room":"a","room":"b"}', '{"type":"leave","room":"\\u00a0a"}',
  '{"type":"message","room":"a"}', '{"type":"message","content":"a"}', '{"type":"message","room":"a","content":""}', '{"type":"message","room":"a","content":" \\n\\u3000"}', '{"type":"message","room":"a","content":"a\\u0000"}',
  '{"type":"message","room":"a","content":"\\udc00"}', '{"type":"message","room":"a","content":["a"]}', '{"type":"message","room":"a","content":"a","nonce":""}', `{"type":"message","room":"a","content":"a","nonce":"${'n'.repeat(65)}"}`,
  '{"type":"message","room":"a","content":"a","nonce":7}', `{"type":"message","room":"a","content":"${'é'.repeat(8193)}"}`,
  '{"type":"dm","content":"a"}', '{"type":"dm","to":"7","content":"a"}', '{"type":"dm","to":0,"content":"a"}', '{"type":"dm","to":1.0,"content":"a"}', '{"type":"dm","to":9007199254740992,"content":"a"}', '{"type":"dm","to":1}',
  '{"type":"room_history","room":"a","limit":0}', '{"type":"room_history","room":"a","limit":"5"}', '{"type":"room_history","room":"a","before":0}', '{"type":"room_history","room":"a","after":-1}', '{"type":"room_history","room":"a","before":5,"after":5}',
  '{"type":"dm_history"}', '{"type":"dm_history","with":-1}', '{"type":"dm_history","with":1,"before":1e3}',
  '{"type":"resume","rooms":[]}', '{"type":"resume","after":0}', '{"type":"resume","after":-1,"rooms":[]}', '{"type":"resume","after":0,"rooms":"general"}', '{"type":"resume","after":0,"rooms":[7]}', '{"type":"resume","after":0,"rooms":[" a"]}',
  '{"type":"resume","after":0,"rooms":[],"epoch":7}', `{"type":"resume","after":0,"rooms":${JSON.stringify(Array.from({ length: 501 }, (_, index) => `r${index}`))}}`, '{"type":"auth"}', '{"type":"auth","token":7}',
];
const TAKEN = [
  '{"type":"ping"}', ' \n{"type":"ping","ref":-1}\t', '{"type":"ping","ref":null}', '{"type":"ping","room":7,"strange":{"deep":[1,2,{}]}}', '{"type":"hello","ref":"\\ud83e\\udd80"}', '{"type":"join","room":"general"}',
  `{"type":"join","room":"${'🦀'.repeat(64)}"}`, '{"type":"message","room":"general","content":"\\u00ab ok \\u00bb","nonce":"table-1"}', '{"type":"room_history","room":"general","limit":9999}', '{"type":"room_history","room":"nowhere","after":0}',
  '{"\\u0074ype":"ping"}', '{"type":"leave","room":"general"}', '{"type":"resume","after":0,"rooms":["general"],"epoch":null}',
];

test('what the composer says of a frame is what the server answers: code, field and words', async () => {
  const ann = await arrive();
  const token = await ann.page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server')).token);
  const texts = [...REFUSED, ...TAKEN];
  const answers = await ann.page.evaluate(async ({ frames: list, bearer }) => {
    const socket = new WebSocket(`ws://${location.host}/ws`, ['chat.v1', `bearer.${bearer}`]);
    await new Promise((resolve) => { socket.onopen = resolve; });
    const found = [];
    for (const [index, text] of list.entries()) {
      const errors = [];
      await new Promise((resolve) => {
        socket.onmessage = ({ data }) => {
          const frame = JSON.parse(data);
          if (frame.type === 'error') errors.push(frame.data);
          if (frame.ref === `end-${index}`) resolve();
        };
        socket.send(text);
        socket.send(JSON.stringify({ type: 'ping', ref: `end-${index}` }));
      });
      found.push(errors[0] ?? null);
    }
    return found;
  }, { frames: texts, bearer: token });
  texts.forEach((text, index) => {
    const told = checkFrame(text).problem;
    const { code, field, message } = answers[index] ?? {};
    const shown = text.slice(0, 80);
    assert.equal(told?.code, code, `the code for ${shown}`);
    assert.equal(told?.field, field, `the field for ${shown}`);
    const words = (said) => said?.replace(/line \d+, column \d+/, 'line and column');
    assert.equal(words(told?.message), words(message), `the words for ${shown}`);
    assert.equal(Boolean(code), index < REFUSED.length, `whether it is refused: ${shown}`);
  });
  assert.deepEqual(checkFrame(`{"type":"ping","x":"${'x'.repeat(70_000)}"}`).problem.closes, 1009);
  assert.match(checkFrame('{\n  "type": "ping",\n  oops}').problem.message, /line 3, column 3/);
  assert.equal(checkFrame('{"type":"message","room":"a","content":"éé"}', { contentBytes: 3 }).problem.message, 'content has 4 bytes; at most 3 are allowed');
  await ann.leave();
});

test('every template is a frame that the server takes, and its reply is shown with the round trip', async () => {
  const ann = await arrive();
  const { page } = ann;
  await tool(ann, 'Raw');
  const replies = { join: 'join_ack', message: 'message_sent', dm: 'dm_sent', room_history: 'room_history', dm_history: 'dm_history', hello: 'welcome', resume: 'resume_ack', auth: 'auth_ack', ping: 'pong', leave: 'leave_ack' };
  for (const [type, reply] of Object.entries(replies)) {
    await page.locator('#raw-template').selectOption(type);
    await page.locator('#raw-verdict.good').waitFor();
    assert.match(await page.locator('#raw-text').inputValue(), /"ref": "raw-\d+"/);
    await page.locator('#raw-send').click();
    await page.locator('#raw-answer', { hasText: new RegExp(`^${reply}, `) }).waitFor();
  }
  // Its own replies have not disturbed the client: it goes on as before.
  await page.locator('#join-name').fill('general');
  await page.locator('#join-name').press('Enter');
  await ann.write('as before');
  await ann.stored('as before');
  await ann.sees('as before');
  await ann.leave();
});

test('an own token is never on the screen nor in the history, and a message with $TOKEN in it stays as it is', async () => {
  const ann = await arrive();
  const { page } = ann;
  const token = await page.evaluate(() => JSON.parse(sessionStorage.getItem('chat-server')).token);
  await tool(ann, 'Raw');
  await page.locator('#raw-template').selectOption('auth');
  await page.locator('#raw-send').click();
  await page.locator('#raw-answer', { hasText: /^auth_ack/ }).waitFor();
  for (const [place, pasted] of [`{"type":"auth","token":"${token}","ref":"pasted"}`, `{"type":"auth","token":"${token}"`,
    `{"type":"auth","data":{"token":"${token}"}}`, `{"type":"auth","access_token":"${token}","list":["${token}"],"token":"$TOKEN"}`,
    '{"type":"ping","deep":{"token":"$TOKEN"}}', `no JSON, but ${token}`].entries()) {
    await page.locator('#raw-text').fill(pasted);
    await page.locator('#raw-send').click();
    await page.locator('#raw-history li').nth(place + 1).waitFor();
  }
  await page.locator('#raw-text').fill('{"type":"message","room":"general","content":"my \\"token\\": \\"$TOKEN\\" and $TOKEN"}');
  await page.locator('#raw-send').click();
  await ann.sees('my "token": "$TOKEN" and $TOKEN');
  await page.locator('#raw-text').fill('');
  await tool(ann, 'Frames');
  for (const row of await frames(ann, { hasText: 'auth' }).all()) await row.locator('summary').click();
  assert.ok(!(await page.locator('body').innerHTML()).includes(token));
  const kept = await page.evaluate(() => sessionStorage.getItem('chat-server-raw'));
  assert.ok(kept.includes('$TOKEN') && !kept.includes(token));

  await page.reload();
  await ann.connected();
  await tool(ann, 'Raw');
  assert.ok(await page.locator('#raw-history button').count() > 5, 'a reload keeps it');
  await page.locator('#raw-text').fill('half written');
  await page.getByRole('button', { name: 'Sign out' }).click();
  assert.deepEqual(await page.evaluate(() => Object.keys(sessionStorage).filter((key) => key.includes('raw'))), [], 'whoever signs out leaves none of it');
  await ann.asGuest();
  await page.locator('#raw-history', { hasText: 'Nothing yet' }).waitFor();
  assert.equal(await page.locator('#raw-text').inputValue(), '');
  await ann.leave();
});

test('a wrong frame can be sent anyway, and the history comes back by the arrow and after a reload', async () => {
  const ann = await arrive();
  const { page } = ann;
  const text = page.locator('#raw-text');
  await tool(ann, 'Raw');
  await text.fill('{"type":"dm","to":0,"content":"x","ref":"mine"}');
  await page.locator('#raw-verdict.bad', { hasText: 'invalid_field: to must be an integer from 1 to' }).waitFor();
  await page.getByRole('button', { name: 'Send anyway' }).click();
  await page.locator('#raw-answer .problem', { hasText: 'error,' }).waitFor();
  assert.match(await page.locator('#raw-answer pre').textContent(), /"field": "to"/);
  await text.fill('{"type":"ping","ref":"again"}');
  await text.press('Control+Enter');
  await page.locator('#raw-answer', { hasText: /^pong/ }).waitFor();

  await text.fill('{"half');
  await text.press('Control+Home');
  await text.press('ArrowUp');
  assert.equal(await text.inputValue(), '{"type":"ping","ref":"again"}');
  await text.press('ArrowUp');
  assert.equal(await text.inputValue(), '{"type":"dm","to":0,"content":"x","ref":"mine"}');
  await text.press('ArrowUp');
  await text.press('ArrowDown');
  await text.press('ArrowDown');
  assert.equal(await text.inputValue(), '{"half', 'what was begun is still there');

  await page.reload();
  await ann.connected();
  assert.equal(await page.locator('#inspector').getByRole('tab', { name: 'Raw' }).getAttribute('aria-selected'), 'true');
  await page.locator('#raw-history button', { hasText: 'again' }).click();
  assert.equal(await text.inputValue(), '{"type":"ping","ref":"again"}');
  await ann.leave();
});

// The dock.

test('the tabs and the list of frames are walked with the arrow keys', async () => {
  const ann = await arrive();
  const { page } = ann;
  await frames(ann, { hasText: 'room_history' }).nth(1).waitFor();
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  await page.locator('#tool-tab-frames').focus();
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(), 'Raw');
  await page.locator('#tool-raw').waitFor();
  assert.equal(await page.locator('#tool-frames').isVisible(), false);
  await page.keyboard.press('End');
  assert.equal(await focused(), 'Server');
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(), 'Frames');

  await page.locator('#frames').focus();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.matches('#frames summary')), true);
  await page.keyboard.press('Home');
  const first = await focused();
  await page.keyboard.press('ArrowDown');
  assert.notEqual(await focused(), first);
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(), first);
  await page.keyboard.press('Enter');
  await page.locator('#frames details[open] pre').waitFor();
  assert.equal(await page.locator('#frames summary[tabindex="0"]').count(), 1, 'one stop for the Tab key');
  await ann.leave();
});

test('of two guests each has a mark, a filter shows one of them, and raw frames go over the one with the focus', async () => {
  const ann = await arrive({ viewport: { width: 1800, height: 1000 } });
  const { page } = ann;
  await page.getByRole('button', { name: 'Two guests side by side' }).click();
  await page.locator('#pill-2[data-state=open]').waitFor();
  await page.locator('#composer-text-2').fill('from the second');
  await page.locator('#composer-text-2').press('Enter');
  await ann.sees('from the second');
  const second = await page.locator('#me-name-2').textContent();
  await page.getByLabel('Whose frames').selectOption({ label: `2: ${second}` });
  await page.waitForFunction(() => new Set([...document.querySelectorAll('#frames .frame .avatar')].map((node) => node.className)).size === 1);
  await frames(ann, { hasText: 'message_sent' }).waitFor();

  // Of a message both ends are shown: the request, its receipt, and the echo of each.
  await ann.message('from the second').getByRole('button', { name: /^The frames of message/ }).click();
  await page.waitForFunction(() => document.querySelectorAll('#frames .frame').length === 4);
  assert.deepEqual((await frames(ann).locator('.avatar').allTextContents()).sort(), ['1', '2', '2', '2']);

  await page.locator('#composer-text-2').focus();
  await tool(ann, 'Raw');
  await page.locator('#raw-template').selectOption('hello');
  await page.locator('#raw-send').click();
  await page.locator('#raw-answer pre', { hasText: second }).waitFor();
  await ann.leave();
});

test('at 390 px the tools cover the chat, every one fits, and a frame leads out to its message', async () => {
  const ann = await arrive({ viewport: { width: 390, height: 844 } });
  const { page } = ann;
  await ann.write('small');
  await ann.stored('small');
  await page.getByRole('button', { name: 'Tools' }).click();
  for (const name of ['Raw', 'Faults', 'Token', 'Server', 'Frames']) {
    await tool(ann, name);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), name);
  }
  assert.equal(await page.locator('#messages').isVisible(), false);
  const receipt = frames(ann, { hasText: 'message_sent' });
  await receipt.locator('summary').click();
  await receipt.getByRole('button', { name: 'Show the message' }).click();
  await page.locator('#messages .message.found', { hasText: 'small' }).waitFor();
  assert.equal(await page.locator('#inspector').isVisible(), false);
  await ann.leave();
});
