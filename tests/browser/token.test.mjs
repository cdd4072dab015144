/** The token doctor: what it sees by itself, what the server says, and what the command line says, of the same tokens. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, test } from 'node:test';
import { cleanToken, explainClaim, expiryText, readToken } from '../../static/token.js';
import { Person, Server, stage } from './harness.mjs';

const SECRET = 'a secret that is only used by these tests'; // the harness's, for a server with another backend
const NOW = Math.floor(Date.now() / 1000);
const LATER = NOW + 50_000;

const { browser, server } = await stage(Server.startIntegrated()); // takes the tokens that are signed here

const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

function signed(claims, header = { alg: 'HS256', typ: 'JWT' }) {
  const message = `${part(header)}.${part(claims)}`;
  return `${message}.${createHmac('sha256', SECRET).update(message).digest('base64url')}`;
}

const GOOD = signed({ user_id: 7, username: 'ann', exp: LATER });
const [HEADER, CLAIMS, SIGNATURE] = GOOD.split('.');

/** Tokens that the server refuses, and what can be seen of it without the key. */
const BAD = [
  ['no exp', signed({ user_id: 7, username: 'ann' }), /There is no exp/],
  ['exp as a string', signed({ user_id: 7, username: 'ann', exp: String(LATER) }), /exp is a string/],
  ['expired', signed({ user_id: 7, username: 'ann', exp: NOW - 10_000 }), /It has expired/],
  ['nbf ahead', signed({ user_id: 7, username: 'ann', exp: LATER, nbf: NOW + 10_000 }), /not valid yet \(nbf\)/],
  ['iat ahead', signed({ user_id: 7, username: 'ann', exp: LATER, iat: NOW + 10_000 }), /in the future \(iat\)/],
  ['nbf as a string', signed({ user_id: 7, username: 'ann', exp: LATER, nbf: 'soon' }), /nbf is a string/],
  ['alg none', signed({ user_id: 7, username: 'ann', exp: LATER }, { alg: 'none' }), /alg is none/],
  ['another alg', signed({ user_id: 7, username: 'ann', exp: LATER }, { alg: 'RS256' }), /alg is RS256/],
  ['no alg', signed({ user_id: 7, username: 'ann', exp: LATER }, { typ: 'JWT' }), /names no alg/],
  ['crit', signed({ user_id: 7, username: 'ann', exp: LATER }, { alg: 'HS256', crit: ['b64'] }), /has crit/],
  ['no user id', signed({ username: 'ann', exp: LATER }), /There is no user id/],
  ['user_id as a string', signed({ user_id: '7', username: 'ann', exp: LATER }), /user_id is a string/],
  ['a fraction of a user', signed({ user_id: 1.5, username: 'ann', exp: LATER }), /user_id is no integer/],
  ['user 0, with a good sub', signed({ user_id: 0, sub: '7', username: 'ann', exp: LATER }), /user_id must be 1 or more/],
  ['a user beyond 2^53', signed(`{"user_id":9007199254740992,"username":"ann","exp":${LATER}}`), /larger than 2\^53/],
  ['sub in letters', signed({ sub: 'ann', username: 'ann', exp: LATER }), /sub is a string/],
  ['two parts', `${HEADER}.${CLAIMS}`, /2 parts; a JWT has three/],
  ['one part', 'nonsense', /one part; a JWT has three/],
  ['four parts', `${GOOD}.x`, /4 parts/],
  ['padding', `${HEADER}=.${CLAIMS}.${SIGNATURE}`, /header is no base64url: = at the end/],
  ['base64 instead of base64url', `${HEADER}.${CLAIMS}.${SIGNATURE.slice(0, -1)}+`, /signature is no base64url: \+ is written as -/],
  ['a letter missing', `${HEADER}.${CLAIMS}.AAAAA`, /signature is no base64url: a letter is missing/],
  ['no signature', `${HEADER}.${CLAIMS}.`, /signature is no base64url: nothing stands there/],
  ['a header that is no JSON', `${part('no JSON')}.${CLAIMS}.${SIGNATURE}`, /header is no JSON object/],
  ['claims that are a list', signed('[1]'), /claims are no JSON object/],
  ['too long', signed({ user_id: 7, username: 'ann', exp: LATER, pad: 'x'.repeat(9_000) }), /bytes; at most 8192/],
];

const reasonOf = async (token) => {
  const answer = await fetch(new URL('/api/v1/auth/me', server.url), { headers: { authorization: `Bearer ${token}` } });
  return { status: answer.status, body: await answer.json() };
};

test('every fault that can be seen without the key is seen, and nothing is said of a good token', async () => {
  for (const [name, token, words] of BAD) {
    const { faults } = readToken(token);
    assert.ok(faults.some((fault) => words.test(fault)), `${name}: ${JSON.stringify(faults)}`);
    assert.equal((await reasonOf(token)).status, 401, name);
  }
  for (const claims of [
    { user_id: 7, username: 'ann', exp: LATER },
    { sub: '7', preferred_username: 'ann', exp: LATER, iat: NOW, nbf: NOW },
    { id: 7, name: 'ann', exp: LATER, aud: ['a'], iss: 'b' },
    { user_id: null, sub: 7, name: 'ann', exp: LATER },
  ]) {
    const token = signed(claims);
    assert.deepEqual([readToken(token).faults, readToken(token).hints], [[], []], JSON.stringify(claims));
    assert.equal((await reasonOf(token)).body.user.id, 7, JSON.stringify(claims));
  }
});

test('what was pasted along is left out and named, and a name that is missing is a hint', () => {
  for (const [pasted, words] of [
    [`Bearer ${GOOD}`, /the word Bearer\./],
    [`"${GOOD}"`, /quotes\./],
    [`Authorization: Bearer ${GOOD}\n`, /the word Bearer\./],
    [`${GOOD.slice(0, 20)}\n  ${GOOD.slice(20)}`, /white space\./],
    [`"bearer ${GOOD.slice(0, 20)}\n${GOOD.slice(20)}"`, /the word Bearer, quotes and white space\./],
  ]) {
    assert.equal(cleanToken(pasted), GOOD);
    assert.match(readToken(pasted).hints.join(), words);
    assert.deepEqual(readToken(pasted).faults, []);
  }
  assert.deepEqual(readToken(` ${GOOD}\n`).hints, []);
  assert.match(readToken(signed({ user_id: 7, exp: LATER })).hints.join(), /There is no name/);
  assert.match(readToken(signed({ user_id: 7, name: ' ', exp: LATER })).hints.join(), /name is blank/);
});

test('the claim that the server takes is named, and the time that is left is told in words', () => {
  assert.match(explainClaim('sub', { user_id: 1, sub: 'x' }), /not looked at, since user_id/);
  assert.match(explainClaim('sub', { sub: '1' }), /this one is taken/);
  assert.match(explainClaim('name', { username: 'a', name: 'b' }), /since username is there/);
  assert.match(explainClaim('role', { role: 7 }), /taken as user/);
  const day = 86_400;
  assert.equal(expiryText({ exp: 1_000_000 + 29 * day + 3 * 3600 }, 1_000_000_000), 'expires in 29 d 3 h');
  assert.equal(expiryText({ exp: 1_000_000 - 180 }, 1_000_000_000), 'expired 3 min ago');
  assert.equal(expiryText({}, 0), 'no expiry');
});

/** Signed in, with the tools open at the doctor. */
async function atTheDoctor(token) {
  const person = await Person.arrive(browser, server);
  await person.page.locator('#token-input').fill(token);
  await person.page.getByRole('button', { name: 'Use this token' }).click();
  await person.connected();
  await person.page.getByRole('tab', { name: 'Token' }).click();
  return { person, doctor: person.page.getByRole('tabpanel', { name: 'Token' }) };
}

test('a claim may be named like what every object has', () => {
  const claims = JSON.parse('{"constructor":1,"toString":2,"hasOwnProperty":3,"__proto__":4,"user_id":7}');
  for (const name of Object.keys(claims).filter((name) => name !== 'user_id')) assert.equal(explainClaim(name, claims), 'not looked at here', name);
});

test('the token of this session is explained, and the server says whose it is', async () => {
  const { person, doctor } = await atTheDoctor(await server.token('--user-id', '7', '--username', 'ann', '--ttl', '3630s'));
  await doctor.locator('.token-verdict[data-state=good]', { hasText: 'user 7, ann, role user' }).waitFor();
  assert.match(await doctor.locator('.claims-expiry').textContent(), /^expires in 1 h \d+ s/);
  const list = await doctor.locator('.claims-list').textContent();
  for (const words of ['who this is: this one is taken', 'what others see: this one is taken', 'when it ends', 'when it was issued']) {
    assert.ok(list.includes(words), `${words} in ${list}`);
  }
  assert.deepEqual(JSON.parse(await doctor.locator('pre').first().textContent()), { typ: 'JWT', alg: 'HS256' });
  assert.equal(JSON.parse(await doctor.locator('pre').last().textContent()).user_id, 7);
  assert.equal(await doctor.locator('.token-faults li').count(), 0);
  await person.leave();
});

// The command line is held to the server's words for a longer table in tests/commands.rs.
test('of a bad token the page, the server and the command line give the same reason', async () => {
  const { person, doctor } = await atTheDoctor(GOOD);
  await doctor.getByRole('button', { name: 'Another token' }).click();
  for (const [name, token, words] of BAD.filter((_, index) => index % 3 === 0)) {
    await doctor.getByLabel('Token to look at').fill(token);
    const { message } = (await reasonOf(token)).body.error;
    await doctor.locator('.verdict-reason').getByText(message, { exact: true }).waitFor();
    assert.match(await doctor.locator('.token-faults').textContent(), words, name);
    const printed = await server.token('--check', token).then(() => '', ({ stdout }) => stdout);
    assert.match(printed, new RegExp(`^refused  ${RegExp.escape?.(message) ?? message.replace(/[^\w ]/g, '\\$&')}$`, 'm'), name);
  }
  // Back to what is true of this session.
  await doctor.getByRole('button', { name: 'This session’s token' }).click();
  await doctor.locator('.token-verdict[data-state=good]').waitFor();
  // A pasted token is nowhere but in memory.
  const kept = await person.page.evaluate(() => JSON.stringify(sessionStorage));
  assert.ok(!kept.includes(BAD[0][1]));
  await person.leave();
});

test('what the server cannot be asked, and a server that is away, are said as well', async (t) => {
  const own = await Server.start();
  t.after(() => own.stop());
  const ann = await (await Person.arrive(browser, own)).asGuest('ann');
  await ann.page.getByRole('tab', { name: 'Token' }).click();
  const doctor = ann.page.getByRole('tabpanel', { name: 'Token' });
  await doctor.locator('.token-verdict[data-state=good]').waitFor();
  await doctor.getByRole('button', { name: 'Another token' }).click();
  await doctor.getByLabel('Token to look at').fill(`${HEADER}.…`);
  await doctor.getByText('cannot carry some of these letters').waitFor();
  await doctor.getByLabel('Token to look at').fill('');
  await doctor.getByText('Paste a token to see').waitFor();
  await doctor.getByRole('button', { name: 'This session’s token' }).click();
  await doctor.locator('.token-verdict[data-state=good]').waitFor();
  await own.kill();
  await doctor.getByRole('button', { name: 'Ask again' }).click();
  await doctor.locator('.token-verdict[data-state=away]', { hasText: 'cannot be reached' }).waitFor();
  await ann.leave();
});

test('the time that is left counts down, and the fault comes with the last second', async () => {
  const eve = await Person.arrive(browser, server);
  const { page } = eve;
  const time = (NOW + 1_000) * 1000;
  await page.clock.install({ time });
  await page.reload();
  await page.clock.pauseAt(time + 60_000);
  await page.locator('#token-input').fill(signed({ user_id: 7, username: 'ann', exp: NOW + 1_060 + 65 }));
  const expiry = page.locator('#claims .claims-expiry');
  assert.equal(await expiry.textContent(), 'expires in 1 min 5 s');
  await page.clock.runFor(1_000);
  assert.equal(await expiry.textContent(), 'expires in 1 min 4 s');
  assert.match(await page.locator('#claims .claim-moment').textContent(), /\(in 1 min 4 s\)$/);
  assert.equal(await page.locator('#claims .token-faults li').count(), 0);
  await page.clock.runFor(64_000);
  assert.match(await page.locator('#claims .token-faults').textContent(), /It has expired/);
  await page.clock.runFor(180_000);
  assert.equal(await expiry.textContent(), 'expired 3 min ago');
  await eve.leave();
});

test('somebody who is not signed in can have a token checked, with the keyboard alone, and is not signed in by it', async () => {
  const eve = await Person.arrive(browser, server);
  const { page } = eve;
  await page.locator('#token-input').fill(`Bearer ${BAD[2][1]}`);
  await page.getByRole('button', { name: 'Use this token' }).focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  const { message } = (await reasonOf(BAD[2][1])).body.error;
  await page.locator('#claims .verdict-reason').getByText(message, { exact: true }).waitFor();
  await page.waitForFunction((words) => document.getElementById('announcer').textContent.includes(words), message);
  await page.locator('#token-input').fill(GOOD);
  assert.equal(await page.locator('#claims .token-verdict').isVisible(), false);
  await page.getByRole('button', { name: 'Check this token' }).click();
  await page.locator('#claims .token-verdict[data-state=good]', { hasText: 'user 7, ann' }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem('chat-server')), null);
  await eve.leave();
});

test('the doctor can be used with the keyboard alone', async () => {
  const { person, doctor } = await atTheDoctor(GOOD);
  const { page } = person;
  await page.getByRole('tab', { name: 'Faults' }).focus();
  await page.keyboard.press('ArrowRight');
  await doctor.locator('.token-verdict[data-state=good]').waitFor();
  await doctor.getByRole('button', { name: 'This session’s token' }).focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await doctor.getByRole('button', { name: 'Another token' }).getAttribute('aria-pressed'), 'true');
  await page.keyboard.insertText(BAD[0][1]);
  await doctor.locator('.token-verdict[data-state=bad]').waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Ask again');
  await person.leave();
});
