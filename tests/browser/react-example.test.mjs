/**
 * The React example, built as its README builds it, and used by people in a real browser against the real server. The
 * first three tests are those that every front end of this protocol is to pass: connection, room message, direct message.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Backend } from './backend.mjs';
import { Person, Server, TornNetwork, launchBrowser } from './harness.mjs';

const EXAMPLE = fileURLToPath(new URL('../../examples/react/', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const run = promisify(execFile);

let browser;
let server;
let backend; // an example too: only some tests have a server that knows it
let behind; // the server that the example's page talks to: `server`, but for those tests
let network; // between the example and the server
let folder;
let site;
let standardSite;

before(async () => {
  // Each is known as soon as it is there, so that all of them end when one does not come.
  const coming = [
    launchBrowser().then((there) => { browser = there; }), Server.start().then((there) => { server = there; }),
    Backend.start().then((there) => { backend = there; }), mkdtemp(path.join(tmpdir(), 'chat-react-')).then((there) => { folder = there; }),
  ];
  await Promise.allSettled(coming);
  await Promise.all(coming);
  behind = server;
  network = await TornNetwork.before({ get address() { return behind.address; } });
  await install();
  site = await Site.built('own', { VITE_WS_CHAT_URL: new URL('/ws', network.url.replace('http', 'ws')).href, VITE_BACKEND_URL: backend.url });
  standardSite = await Site.built('standard', {});
});

after(async () => {
  site?.close();
  standardSite?.close();
  await browser?.close();
  network?.close();
  backend?.stop();
  await server?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** Nothing to do when this very lock file is installed already. */
async function install() {
  const changed = (file) => stat(path.join(EXAMPLE, file)).then(({ mtimeMs }) => mtimeMs, () => 0);
  if (await changed('node_modules/.package-lock.json') >= await changed('package-lock.json')) return;
  await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: EXAMPLE });
}

/** What `vite build` makes, served from a port of its own: another origin than the server's. */
class Site {
  #listener;

  static async built(name, settings) {
    const site = new Site();
    const out = path.join(folder, name);
    const { VITE_WS_CHAT_URL: _, VITE_BACKEND_URL: __, ...env } = process.env;
    await run(process.execPath, ['node_modules/vite/bin/vite.js', 'build', '--outDir', out], { cwd: EXAMPLE, env: { ...env, ...settings } });
    site.#listener = http.createServer(async (request, response) => {
      const { pathname } = new URL(request.url, 'http://here');
      const file = path.join(out, pathname === '/' ? 'index.html' : pathname);
      const content = await readFile(file).catch(() => null);
      response.writeHead(content ? 200 : 404, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' }).end(content);
    });
    await new Promise((resolve) => site.#listener.listen(0, '127.0.0.1', resolve));
    return site;
  }

  get url() { return `http://127.0.0.1:${this.#listener.address().port}/`; }

  close() {
    this.#listener.closeAllConnections();
    this.#listener.close();
  }
}

/** Somebody with the example open, and logged in under this name: as a guest, or in another way. */
class User {
  static async arrive(name, way = 'Continue as guest') {
    const user = new User();
    user.name = name;
    user.person = await Person.arrive(browser, site);
    user.page = user.person.page;
    user.said = [];
    user.page.on('console', (message) => user.said.push(message.text()));
    await user.page.getByLabel('Name').fill(name);
    await user.page.getByRole('button', { name: way, exact: true }).click();
    await user.connected();
    return user;
  }

  async connected() {
    await this.page.getByRole('status').getByText(`Connected as ${this.name}`).waitFor();
  }

  /** Opens an entry of the list at the left. */
  async opens(name) {
    await this.page.getByRole('navigation').getByRole('button', { name }).click();
    await this.page.getByRole('heading', { name, level: 2 }).waitFor();
  }

  async joins(room) {
    await this.page.getByLabel('Room name').fill(room);
    await this.page.getByRole('button', { name: 'Join' }).click();
    await this.page.getByRole('heading', { name: `#${room}` }).waitFor();
  }

  async writes(text) {
    await this.page.getByLabel('Message to').fill(text);
    await this.page.getByLabel('Message to').press('Enter');
  }

  /** Waits until it is there as a stored message, and once. */
  async sees(text) {
    const message = this.page.locator('.message:not(.unstored)').filter({ has: this.page.getByText(text, { exact: true }) });
    await message.first().waitFor();
    assert.equal(await message.count(), 1, `"${text}" is shown more than once`);
    await this.page.locator('.unstored').waitFor({ state: 'detached' });
  }

  contents() {
    return this.page.locator('.message .content').allTextContents();
  }

  /** A token as the page keeps it: for this tab alone. */
  async token() {
    return this.page.evaluate(() => sessionStorage.getItem('chat-token'));
  }

  async leaves() {
    await this.person.leave();
  }
}

async function stored(user, room) {
  const url = new URL(`/api/v1/rooms/${room}/messages`, server.url);
  const answer = await fetch(url, { headers: { authorization: `Bearer ${await user.token()}` } });
  return (await answer.json()).messages.map(({ content }) => content);
}

test('connection: after the login the page says that it is connected, and so does the console', async () => {
  const ann = await User.arrive('ann');
  assert.ok(ann.said.some((line) => line.startsWith('[Rust Chat WebSocket] Connected to the chat server')), ann.said.join('\n'));
  await ann.leaves();
});

test('room message: it appears, the server has stored it, another member sees it, and a reload shows it again', async () => {
  const [bea, bob] = await Promise.all([User.arrive('bea'), User.arrive('bob')]);
  await Promise.all([bea.joins('garden'), bob.joins('garden')]);
  await bea.writes('Hello everyone!\nשלום <b>you</b>');
  await bea.sees('Hello everyone!\nשלום <b>you</b>');
  await bob.sees('Hello everyone!\nשלום <b>you</b>');
  assert.deepEqual(await stored(bea, 'garden'), ['Hello everyone!\nשלום <b>you</b>']);

  await bob.opens('#general');
  await bea.writes('Where are you?');
  await bob.page.getByRole('button', { name: '#garden 1 unread' }).click();
  await bob.sees('Where are you?');
  await bob.page.locator('.badge').waitFor({ state: 'detached' });

  await bob.page.reload();
  await bob.connected();
  await bob.opens('#garden');
  await bob.sees('Where are you?');
  assert.deepEqual(await bob.contents(), ['Hello everyone!\nשלום <b>you</b>', 'Where are you?']);
  await Promise.all([bea.leaves(), bob.leaves()]);
});

test('direct message: one selects a person and writes, they read it and answer, and both have the history', async () => {
  const cleo = await User.arrive('cleo');
  const carl = await User.arrive('carl');
  await carl.opens('cleo');
  await carl.writes('Just between us');
  await carl.sees('Just between us');
  await cleo.page.getByRole('button', { name: 'carl 1 unread' }).click();
  await cleo.sees('Just between us');
  await cleo.writes('Nobody else reads this');
  await carl.sees('Nobody else reads this');
  for (const [user, other] of [[cleo, 'carl'], [carl, 'cleo']]) {
    await user.page.reload();
    await user.connected();
    await user.opens(other);
    await user.sees('Nobody else reads this');
    assert.deepEqual(await user.contents(), ['Just between us', 'Nobody else reads this']);
  }
  await Promise.all([cleo.leaves(), carl.leaves()]);
});

test('reconnection: the server is killed and comes back, and what was written meanwhile is there once', async () => {
  const [dora, dave] = await Promise.all([User.arrive('dora'), User.arrive('dave')]);
  await Promise.all([dora.joins('cellar'), dave.joins('cellar')]);
  await dora.writes('before');
  await dave.sees('before');
  await server.kill();
  for (const { page } of [dora, dave]) await page.locator('.connection[data-state=reconnecting]').waitFor();
  await dave.writes('while it was down');
  await dave.page.locator('.unstored[data-status=waiting]').waitFor();
  await server.run();
  await Promise.all([dora.connected(), dave.connected()]);
  await dave.sees('while it was down');
  await dora.sees('while it was down');
  await dora.writes('after');
  await dave.sees('after');
  for (const user of [dora, dave]) assert.deepEqual(await user.contents(), ['before', 'while it was down', 'after']);
  await Promise.all([dora.leaves(), dave.leaves()]);
});

test('a cut: the page counts down to the next attempt, and what others wrote meanwhile comes with it, once', async () => {
  const frida = await User.arrive('frida');
  const fred = await (await Person.arrive(browser, server)).asGuest('fred'); // on the server's own page, and not cut off
  network.cut();
  await frida.page.locator('.connection', { hasText: /Reconnecting….*in \d+ s/ }).waitFor();
  await fred.write('You missed this');
  await fred.stored('You missed this');
  assert.deepEqual(await frida.contents(), []);
  network.restore();
  await frida.connected();
  await frida.sees('You missed this');
  await Promise.all([frida.leaves(), fred.leave()]);
});

test('without VITE_WS_CHAT_URL it goes to ws://localhost:9001, and the HTTP requests go there too', async () => {
  const person = await Person.arrive(browser, standardSite);
  const { page } = person;
  await page.getByText('ws://localhost:9001').waitFor();
  await page.route('http://localhost:9001/**', (route) => route.fulfill({
    status: 201, json: { token: 'a.b.c' }, headers: { 'access-control-allow-origin': '*', 'access-control-allow-headers': '*' },
  }));
  const asked = new Promise((resolve) => { page.routeWebSocket(/.*/, (socket) => resolve(socket.url())); });
  await page.getByRole('button', { name: 'Continue as guest' }).click();
  assert.equal(new URL(await asked).href, 'ws://localhost:9001/');
  await person.leave();
});

test('a password lets in again, a wrong one is refused in words, and a token can be pasted', async () => {
  const person = await Person.arrive(browser, site);
  const { page } = person;
  const logIn = async (name, password, button) => {
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: button }).click();
  };
  await logIn('erna', 'correct horse battery', 'Create account');
  await page.getByText('Connected as erna').waitFor();
  const token = await page.evaluate(() => sessionStorage.getItem('chat-token'));
  await page.getByRole('button', { name: 'Log out' }).click();
  await logIn('erna', 'something else', 'Log in');
  await page.getByRole('alert').waitFor();
  await logIn('erna', 'correct horse battery', 'Log in');
  await page.getByText('Connected as erna').waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  assert.equal(await page.evaluate(() => sessionStorage.getItem('chat-token')), null);

  await page.getByText('I have a token').click();
  await page.getByLabel('Token', { exact: true }).fill('not.a.token');
  await page.getByRole('button', { name: 'Use this token' }).click();
  await page.getByRole('alert').waitFor();
  await page.getByLabel('Token', { exact: true }).fill(token);
  await page.getByRole('button', { name: 'Use this token' }).click();
  await page.getByText('Connected as erna').waitFor();
  await person.leave();
});

test('with a backend: its users log in there, its tokens let them in and no other does, and it has a copy of what they say', async () => {
  behind = await Server.start('--backend-url', backend.url);
  try {
    const [gina, gus] = await Promise.all([User.arrive('gina', 'Log in'), User.arrive('gus', 'Log in')]);
    assert.match(await gina.token(), /^[0-9a-f]{32}$/, 'it is a token that only the backend can tell about');
    await backend.says("whose    gina's token");
    await gina.writes('Hello from the backend’s people');
    await gus.sees('Hello from the backend’s people');
    await gus.opens('gina');
    await gus.writes('And hello to you');
    await gina.page.getByRole('button', { name: 'gus 1 unread' }).click();
    await gina.sees('And hello to you');
    assert.match(await backend.says('Hello from'), /^message .* in #general from gina/);
    assert.match(await backend.says('And hello'), /^message .* to user \d+ from gus/);

    await gus.page.evaluate(() => sessionStorage.setItem('chat-token', 'nobody-has-this-one'));
    await gus.page.reload();
    await gus.page.getByRole('alert').getByText('this token is not known here: log in again').waitFor();
    assert.equal(await gus.token(), null);
    assert.equal(await gus.page.getByLabel('Password').count(), 0, 'the server has no passwords then');
    await Promise.all([gina.leaves(), gus.leaves()]);
  } finally {
    await behind.stop();
    behind = server;
  }
});
