/** The page, used by people in a real browser, against the real server. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Person, Server, TornNetwork, stage } from './harness.mjs';

const { browser, server } = await stage();

test('two guests talk in #general and by DM', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  const bob = await (await Person.arrive(browser, server)).asGuest();

  await ann.write('Hello everyone!');
  await bob.sees('Hello everyone!');
  await ann.stored('Hello everyone!');
  await ann.sees('Hello everyone!');

  // Bob starts a direct conversation by a click on Ann's name.
  await bob.message('Hello everyone!').locator('button.name').click();
  await bob.write('Just between us');
  await bob.stored('Just between us');
  await ann.page.locator('#dms .badge').waitFor();
  await ann.page.locator('#dms .conversation').click();
  await ann.sees('Just between us');
  await ann.page.locator('#messages .new').waitFor();
  await ann.page.locator('#dms .badge').waitFor({ state: 'detached' });
  await ann.write('Nobody else reads this');
  await bob.sees('Nobody else reads this');
  assert.deepEqual(await bob.contents(), ['Just between us', 'Nobody else reads this']);

  await bob.openConversation('general');
  await bob.sees('Hello everyone!');
  assert.equal(await bob.message('Just between us').count(), 0);
  await ann.leave();
  await bob.leave();
});

test('a DM starts by typing a user id, and an id that nobody has is refused in words', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  const bob = await (await Person.arrive(browser, server)).asGuest();
  await bob.page.locator('#dm-id').fill(String(await ann.id()));
  await bob.page.locator('#dm-id').press('Enter');
  await bob.write('Found you by your id');
  await bob.stored('Found you by your id');
  await ann.page.locator('#dms .conversation.unread').click();
  await ann.sees('Found you by your id');

  await bob.page.locator('#dm-id').fill('999999999');
  await bob.page.locator('#dm-id').press('Enter');
  await bob.write('Is anybody there?');
  await bob.page.locator('.outgoing.failed', { hasText: 'Not sent' }).waitFor();
  await bob.page.getByRole('button', { name: 'Discard' }).click();
  await bob.page.locator('.outgoing').waitFor({ state: 'detached' });
  await ann.leave();
  await bob.leave();
});

test('what is typed at once after a conversation was opened is typed there, and not into the one before', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  const bob = await (await Person.arrive(browser, server)).asGuest();
  await ann.page.locator('#join-name').fill('typed');
  await ann.page.locator('#join-name').press('Enter');
  await ann.page.locator('#talk-name', { hasText: '#typed' }).waitFor();
  // In one task, so that no frame can come between.
  await ann.page.evaluate((id) => {
    document.querySelector('#dm-id').value = id;
    document.querySelector('#dm-form').requestSubmit();
    const composer = document.querySelector('#composer-text');
    composer.value = 'for Bob';
    composer.dispatchEvent(new Event('input'));
    document.querySelector('#composer').requestSubmit();
  }, String(await bob.id()));
  await ann.stored('for Bob');
  assert.deepEqual(await ann.contents(), ['for Bob']);
  await ann.page.locator('#talk-line', { hasText: `with user ${await bob.id()}` }).waitFor();
  await bob.page.locator('#dms .conversation.unread').waitFor();
  await ann.leave();
  await bob.leave();
});

test('after kill -9 and a restart both reconnect by themselves, and the history is there, nothing twice', async (t) => {
  const own = await Server.start();
  t.after(() => own.stop());
  const ann = await (await Person.arrive(browser, own)).asGuest();
  const bob = await (await Person.arrive(browser, own)).asGuest();
  for (const text of ['one', 'two', 'three']) {
    await ann.write(text);
    await bob.sees(text);
  }

  await own.kill();
  await ann.page.locator('#pill[data-state=reconnecting]').waitFor();
  await bob.page.locator('#pill[data-state=reconnecting]').waitFor();
  await bob.write('written while the server was down');
  await bob.page.locator('.outgoing.waiting').waitFor();

  await own.run();
  await ann.connected();
  await bob.connected();
  await bob.stored('written while the server was down');
  await ann.sees('written while the server was down');
  await ann.write('five');
  await bob.sees('five');
  const expected = ['one', 'two', 'three', 'written while the server was down', 'five'];
  assert.deepEqual(await ann.contents(), expected);
  assert.deepEqual(await bob.contents(), expected);

  await ann.leave();
  await bob.leave();
});

/** Somebody whose connection can be cut, and somebody whose connection is good. */
async function apart(t, own) {
  const network = await TornNetwork.before(own);
  t.after(() => network.close());
  const ann = await (await Person.arrive(browser, network)).asGuest();
  const bob = await (await Person.arrive(browser, own)).asGuest();
  const away = async () => {
    network.cut();
    await ann.page.locator('#pill[data-state=reconnecting]').waitFor();
  };
  const back = async () => {
    network.restore();
    await ann.page.evaluate(() => window.dispatchEvent(new Event('online')));
    await ann.connected();
  };
  return { ann, bob, away, back };
}

test('what was missed while one was away comes with the connection: rooms, and the first DM of a stranger', async (t) => {
  const { ann, bob, away, back } = await apart(t, server);
  await ann.page.locator('#dm-id').fill(String(await bob.id()));
  await ann.page.locator('#dm-id').press('Enter');
  await ann.write('Mine, and sent before');
  await ann.stored('Mine, and sent before');
  const cid = await (await Person.arrive(browser, server)).asGuest();

  await away();
  await bob.write('While you were away');
  await bob.stored('While you were away');
  await cid.page.locator('#dm-id').fill(String(await ann.id()));
  await cid.page.locator('#dm-id').press('Enter');
  for (const text of ['We have not met', 'but here I am']) {
    await cid.write(text);
    await cid.stored(text);
  }
  await ann.write('Sent while away');
  await ann.page.locator('.outgoing.waiting').waitFor();
  await ann.write('Thought better of it');
  await ann.page.locator('.outgoing', { hasText: 'Thought better of it' }).getByRole('button', { name: 'Discard' }).click();

  await back();
  await ann.stored('Sent while away');
  assert.deepEqual(await ann.contents(), ['Mine, and sent before', 'Sent while away'], 'what is replayed to its sender shows once');
  await ann.page.locator('#dms .conversation.unread .badge', { hasText: '2' }).waitFor();
  await ann.page.locator('#rooms .conversation.unread').waitFor();
  await ann.page.locator('#dms .conversation.unread').click();
  await ann.sees('but here I am');
  assert.deepEqual(await ann.contents(), ['We have not met', 'but here I am']);
  await ann.openConversation('general');
  await ann.sees('While you were away');
  for (const person of [ann, bob, cid]) await person.leave();
});

test('when too much was missed the newest messages are shown, and that it is so', async (t) => {
  const own = await Server.start('--resume-max', '10');
  t.after(() => own.stop());
  const { ann, bob, away, back } = await apart(t, own);
  await ann.write('before');
  await bob.sees('before');
  await away();
  for (let number = 1; number <= 60; number += 1) await bob.write(`line ${number}`);
  await bob.stored('line 60');
  await back();
  await ann.sees('line 60');
  const notice = ann.page.locator('.history-notice', { hasText: 'History was reloaded: too much was missed' });
  await notice.waitFor();
  assert.ok(await notice.isVisible());
  if (process.env.SHOTS) await ann.page.screenshot({ path: `${process.env.SHOTS}/reset.png` });
  const lines = (from) => Array.from({ length: 61 - from }, (_, index) => `line ${from + index}`);
  assert.deepEqual(await ann.contents(), lines(11));
  await bob.write('live again');
  await ann.sees('live again');
  await ann.page.locator('#scroller').evaluate((node) => { node.scrollTop = 0; });
  await ann.sees('before');
  await notice.waitFor({ state: 'detached' });
  assert.deepEqual(await ann.contents(), ['before', ...lines(1), 'live again']);
  for (const person of [ann, bob]) await person.leave();
});

test('a reload keeps the session, the rooms, the draft, and shows the history', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  await ann.page.locator('#join-name').fill('garden');
  await ann.page.locator('#join-name').press('Enter');
  await ann.page.locator('#talk-name', { hasText: '#garden' }).waitFor();
  await ann.write('The tomatoes are in');
  await ann.stored('The tomatoes are in');
  await ann.page.locator('#composer-text').fill('half a thought');
  const id = await ann.id();

  await ann.page.reload();
  await ann.connected();
  await ann.sees('The tomatoes are in');
  assert.equal(await ann.id(), id);
  assert.equal(await ann.page.locator('#composer-text').inputValue(), 'half a thought');
  assert.deepEqual(await ann.page.evaluate(() => Object.keys(localStorage)), [], 'nothing is kept beyond the tab');

  await ann.page.getByRole('button', { name: 'Leave' }).click();
  await ann.page.locator('#rooms').getByText('garden').waitFor({ state: 'detached' });
  await ann.page.getByRole('button', { name: 'Sign out' }).click();
  await ann.page.getByRole('button', { name: 'Continue as guest' }).waitFor();
  await ann.page.reload();
  await ann.page.getByRole('button', { name: 'Continue as guest' }).waitFor();
  await ann.leave();
});

test('a bad token shows its claims and the reason of the server', async () => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const token = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ user_id: 1, username: 'mallory', exp: 4_000_000_000 })}.AAAA`;
  const eve = await Person.arrive(browser, server);
  await eve.openTab('Paste a token');
  await eve.page.locator('#token-input').fill(token);
  await eve.page.locator('#claims .claims-list', { hasText: 'mallory' }).waitFor();
  assert.match(await eve.page.locator('#claims .claims-expiry').textContent(), /^expires in \d+ d/);
  await eve.page.getByRole('button', { name: 'Use this token' }).click();
  const reason = eve.page.locator('#token-form .problem:visible');
  await reason.waitFor();

  const answer = await fetch(new URL('/api/v1/auth/me', server.url), { headers: { authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 401);
  assert.equal(await reason.textContent(), (await answer.json()).error.message);
  await eve.leave();
});

test('a good token signs in', async () => {
  const answer = await fetch(new URL('/api/v1/auth/guest', server.url), {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}',
  });
  const { token, user } = await answer.json();
  const ann = await Person.arrive(browser, server);
  await ann.openTab('Paste a token');
  await ann.page.locator('#token-input').fill(`Bearer ${token}\n`);
  await ann.page.getByRole('button', { name: 'Use this token' }).click();
  await ann.connected();
  assert.equal(await ann.id(), user.id);
  await ann.leave();
});

test('a server with another backend offers only the token, and says when it has expired', async (t) => {
  const integrated = await Server.startIntegrated();
  t.after(() => integrated.stop());
  const alice = await Person.arrive(browser, integrated);
  const { page } = alice;
  await page.locator('#integrated-line').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Continue as guest' }).isVisible(), false);
  assert.equal(await page.getByRole('tab').first().isVisible(), false);
  const life = alice.lifeOf(4);
  await page.locator('#token-input').fill(await integrated.token('--user-id', '1', '--username', 'alice', '--ttl', `${life}s`));
  await page.getByRole('button', { name: 'Use this token' }).click();
  await alice.connected();
  assert.equal(await page.locator('#me-name').textContent(), 'alice');
  await alice.write('before the end');
  await page.locator('#composer-text').fill('unsent');
  await page.locator('#pill[data-state=closed]', { hasText: 'expired' }).waitFor({ timeout: life * 1_000 + 12_000 });

  await page.getByRole('button', { name: 'Sign in again' }).click();
  await page.locator('#signin-notice', { hasText: 'expired' }).waitFor();
  await page.locator('#token-input').fill(await integrated.token('--user-id', '1', '--username', 'alice'));
  await page.getByRole('button', { name: 'Use this token' }).click();
  await alice.connected();
  await alice.sees('before the end');
  assert.equal(await page.locator('#composer-text').inputValue(), 'unsent', 'the same person finds the draft again');
  await alice.leave();
});

test('a session whose token the server no longer takes says why and does not try again', async () => {
  const ann = await Person.arrive(browser, server);
  await ann.page.evaluate(() => sessionStorage.setItem('chat-server', JSON.stringify({
    token: 'not.a.token', user: { id: 1, username: 'ann' }, rooms: ['general'], dms: [], read: {}, drafts: {}, active: 'room:general',
  })));
  await ann.page.reload();
  await ann.page.locator('#pill[data-state=closed]', { hasText: 'Refused:' }).waitFor();
  await ann.page.getByRole('button', { name: 'Sign in again' }).click();
  await ann.page.getByRole('button', { name: 'Continue as guest' }).waitFor();
  await ann.leave();
});

test('somebody registers, is told what is wrong with a password, and logs in with the right one', async () => {
  const ann = await Person.arrive(browser, server);
  const { page } = ann;
  await ann.openTab('Register');
  await page.locator('#register-name').fill('ann-of-the-garden');
  await page.locator('#register-password').fill('short');
  await page.getByRole('button', { name: 'Create the account' }).click();
  await page.locator('#register-form [data-problem=password]:visible').waitFor();
  await page.locator('#register-password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Create the account' }).click();
  await ann.connected();
  const id = await ann.id();
  await page.getByRole('button', { name: 'Sign out' }).click();

  await ann.openTab('Log in');
  await page.locator('#login-name').fill('ann-of-the-garden');
  await page.locator('#login-password').fill('wrong horse battery');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.locator('#login-form .problem:visible').waitFor();
  await page.locator('#login-password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Log in' }).click();
  await ann.connected();
  assert.equal(await ann.id(), id);
  await page.getByRole('button', { name: 'Sign out' }).click();

  await ann.openTab('Register');
  await page.locator('#register-name').fill('ann-of-the-garden');
  await page.locator('#register-password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Create the account' }).click();
  await page.locator('#register-form .problem:visible').waitFor();
  await ann.leave();
});

const PAYLOADS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '"><svg/onload=alert(1)>',
  '<a href="javascript:alert(1)">click</a>',
  '{{constructor.constructor("alert(1)")()}}<style>*{display:none}</style>',
  '&lt;b&gt; stays an entity &amp;#x3C;',
];

test('markup in names and messages is shown as text', async () => {
  const name = '<b onclick=alert(1)>eve</b>';
  const eve = await (await Person.arrive(browser, server)).asGuest(name);
  const bob = await (await Person.arrive(browser, server)).asGuest();
  // Bob is in the room: what comes after this comes to him in a frame of its own, and not in the history.
  await bob.write('here');
  await bob.stored('here');
  for (const payload of PAYLOADS) {
    await eve.write(payload);
    await bob.sees(payload);
  }
  assert.equal(await bob.message(PAYLOADS[0]).locator('.name').textContent(), name);
  assert.equal(await eve.page.locator('#me-name').textContent(), name);
  assert.equal(await bob.page.locator('#messages :is(script, img, a, style, b)').count(), 0);

  await bob.message(PAYLOADS[0]).locator('button.name').click();
  await bob.page.locator('#talk-name', { hasText: name }).waitFor();
  const markup = '<img src=x onerror=alert(2)>';
  await bob.page.locator('#join-name').fill(markup);
  await bob.page.locator('#join-name').press('Enter');
  await bob.page.locator('#talk-name', { hasText: markup }).waitFor();

  const frame = bob.page.locator('#frames .frame', { hasText: '<script>' }).first();
  await frame.locator('summary').click();
  assert.match(await frame.locator('pre').textContent(), /<script>alert\(1\)<\/script>/);
  assert.equal(await bob.page.locator('#frames :is(script, img)').count(), 0);
  await eve.leave();
  await bob.leave();
});

test('a bidi override in a message does not reach the words around it', async () => {
  const eve = await (await Person.arrive(browser, server)).asGuest();
  const text = 'abc \u202etxt.exe';
  await eve.write(text);
  // Asked of the page until it holds: the row is drawn anew when the message turns from sent into stored, and a row that
  // was just taken out has no style.
  await eve.page.waitForFunction(() => {
    const shown = [...document.querySelectorAll('#messages .content')].find((node) => node.textContent.includes('abc'));
    return shown && ['isolate', 'plaintext'].includes(getComputedStyle(shown).unicodeBidi);
  });
  await eve.page.locator('#frames .frame-gist', { hasText: '\\u202e' }).first().waitFor();
  await eve.leave();
});

test('earlier messages are loaded at the top without moving what one reads', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  const { page } = ann;
  await page.locator('#join-name').fill('long');
  await page.locator('#join-name').press('Enter');
  await page.locator('#talk-name', { hasText: '#long' }).waitFor();
  for (let number = 1; number <= 70; number += 1) await ann.write(`line ${number}`);
  await ann.stored('line 70');
  await page.reload();
  await ann.sees('line 70');
  assert.equal(await page.locator('#messages .content').count(), 50);

  const place = () => ann.message('line 21').evaluate((node) => node.getBoundingClientRect().top);
  const before = await page.locator('#scroller').evaluate((node) => {
    node.scrollTop = 0;
    return node.querySelector('.message').getBoundingClientRect().top;
  });
  await ann.sees('line 1');
  assert.ok(Math.abs(await place() - before) < 2, 'line 21 stayed where it was');
  const expected = Array.from({ length: 70 }, (_, index) => `line ${index + 1}`);
  assert.deepEqual(await ann.contents(), expected);
  await ann.leave();
});

test('whoever has just scrolled up is not pulled back by what comes in the same moment', async () => {
  const ann = await (await Person.arrive(browser, server)).asGuest();
  const { page } = ann;
  for (let number = 1; number <= 40; number += 1) await ann.write(`line ${number}`);
  await ann.stored('line 40');
  // What is scrolled in a frame is told of in the next one, what changes its size in the same.
  await page.locator('#scroller').evaluate((node) => new Promise((done) => {
    requestAnimationFrame(() => {
      node.scrollTop = 0;
      node.style.maxHeight = `${node.clientHeight - 20}px`;
      requestAnimationFrame(() => requestAnimationFrame(done));
    });
  }));
  assert.equal(await page.locator('#scroller').evaluate((node) => node.scrollTop), 0);
  assert.ok(await page.locator('#jump').isVisible());
  await ann.leave();
});

test('at 390 px there is one pane at a time and no horizontal scroll', async () => {
  const ann = await Person.arrive(browser, server, { viewport: { width: 390, height: 844 } });
  const { page } = ann;
  const fits = async (where) => assert.ok(
    await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth),
    `no horizontal scroll: ${where}`,
  );
  for (const tab of ['Log in', 'Register', 'Paste a token']) {
    await ann.openTab(tab);
    await fits(tab);
  }
  const card = await page.locator('#signin .card').boundingBox();
  for (const part of await page.locator('#signin').locator('input:visible, textarea:visible, button.wide:visible').all()) {
    const { x, width } = await part.boundingBox();
    assert.ok(Math.abs(x - card.x - (card.x + card.width - x - width)) < 2, 'what is as wide as the card has the same space on both sides');
  }
  await ann.asGuest('a-name-of-sixty-four-characters-that-has-nowhere-to-break-at-all!');
  await ann.write('wordwithoutanyspace'.repeat(40));
  await page.locator('#messages .stored').first().waitFor();
  await fits('messages');
  await page.getByRole('button', { name: 'Back to the conversations' }).click();
  await page.locator('#join-form').waitFor();
  assert.equal(await page.locator('#talk').isVisible(), false);
  await fits('conversations');
  await page.getByRole('button', { name: 'Tools' }).click();
  await page.locator('#frames .frame').first().waitFor();
  await page.locator('#frames .frame summary').first().click();
  await fits('tools');
  await page.getByRole('button', { name: 'Close the tools' }).click();
  await ann.openConversation('general');
  await page.locator('#composer-text').waitFor();
  await ann.leave();
});
