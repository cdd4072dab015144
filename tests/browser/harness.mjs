/**
 * Starts the real server on a database of its own, and people in a real browser who use it.
 * Nothing here sleeps: everything waits for what it needs to see.
 */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';
import './ends.mjs';

const BINARY = process.env.CHAT_SERVER_BIN
  ?? fileURLToPath(new URL('../../target/debug/chat-server', import.meta.url));
const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
const PATIENCE_MS = 20_000;

/** Servers end with the tests, also when a test ends the process early. */
const running = new Set();
process.once('exit', () => { for (const child of running) child.kill('SIGKILL'); });

/** A server process that can be killed and started again on the same port and file. */
export class Server {
  #folder;
  #flags = [];
  #serving = []; // flags that only a server takes, and no other command
  #process;
  #killed = false;
  #said = '';
  address = '127.0.0.1:0';

  static async start(...flags) {
    const server = new Server();
    server.#flags = flags;
    server.#folder = await mkdtemp(path.join(tmpdir(), 'chat-browser-'));
    await server.run();
    return server;
  }

  /** A server that trusts the tokens of another backend, and a secret to make some with. */
  static async startIntegrated(...flags) {
    const server = new Server();
    server.#folder = await mkdtemp(path.join(tmpdir(), 'chat-browser-'));
    const file = path.join(server.#folder, 'secret');
    await writeFile(file, 'a secret that is only used by these tests');
    server.#flags = ['--jwt-secret-file', file];
    server.#serving = flags;
    await server.run();
    return server;
  }

  /** A token as the command line prints it. */
  async token(...flags) {
    const { stdout } = await promisify(execFile)(BINARY, ['token', ...this.#flags, ...flags]);
    return stdout.trim();
  }

  get url() { return `http://${this.address}/`; }

  /** @param {...string} more flags for this time only */
  async run(...more) {
    const database = path.join(this.#folder, 'chat.db');
    this.#process = spawn(BINARY, ['--db', database, '--bind', this.address, ...this.#flags, ...this.#serving, ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
    const child = this.#process;
    running.add(child);
    child.once('exit', () => running.delete(child));
    this.#killed = false;
    this.#process.once('exit', (code, signal) => {
      if (!this.#killed) console.error(`the server ended by itself, with ${code ?? signal}; it said:\n${this.#said}`);
    });
    this.#process.stderr.on('data', (chunk) => { this.#said = (this.#said + chunk).slice(-4_000); });
    this.address = await this.#readyAddress();
  }

  #readyAddress() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the server did not get ready; it said:\n${this.#said}`)), PATIENCE_MS);
      this.#process.once('error', reject);
      this.#process.once('exit', () => reject(new Error('the server ended before it was ready')));
      createInterface({ input: this.#process.stdout }).on('line', (line) => {
        const address = /^ready addr=(\S+)/.exec(line)?.[1];
        if (!address) return;
        clearTimeout(timer);
        resolve(address);
      });
    });
  }

  /** Between two runs: everything is forgotten, as if somebody had removed the file. */
  async renewLog() {
    for (const name of ['chat.db', 'chat.db-wal', 'chat.db-shm']) await rm(path.join(this.#folder, name), { force: true });
  }

  /** What a power cut does to a process. */
  async kill() {
    this.#killed = true;
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await gone;
  }

  async stop() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A network between browsers and the server, whose connections can be torn. What was under way is lost, in both directions. */
export class TornNetwork {
  #listener;
  #isDown = false;
  #pairs = new Set();

  static async before(server) {
    const network = new TornNetwork();
    network.#listener = net.createServer((near) => network.#connect(near, server));
    await new Promise((resolve) => network.#listener.listen(0, '127.0.0.1', resolve));
    return network;
  }

  get url() { return `http://127.0.0.1:${this.#listener.address().port}/`; }

  #connect(near, server) {
    near.on('error', () => {}); // of a torn connection, or of a server that is down
    if (this.#isDown) return near.destroy();
    const [host, port] = server.address.split(':');
    const far = net.connect(Number(port), host);
    far.on('error', () => {});
    const pair = [near, far];
    this.#pairs.add(pair);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.pipe(to);
      from.on('close', () => { to.destroy(); this.#pairs.delete(pair); });
    }
  }

  /** Tears every connection; the next ones are good. */
  tear() {
    for (const [near, far] of this.#pairs) {
      far.resetAndDestroy();
      near.resetAndDestroy();
    }
  }

  /** Tears every connection, and takes none until `restore`. */
  cut() {
    this.#isDown = true;
    this.tear();
  }

  restore() { this.#isDown = false; }

  close() {
    this.tear();
    this.#listener.close();
  }
}

/**
 * Another device of somebody, which writes to `room` as fast as the server answers. From the first refusal on whatever
 * they write is too fast, also where the machine is so busy that no burst would be by itself. @returns {Promise<() => void>} ends it
 */
export async function tooFast(server, token, room) {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}ws`, ['chat.v1', `bearer.${token}`]);
  const write = () => socket.send(JSON.stringify({ type: 'message', room, content: 'meanwhile', ref: 1 }));
  socket.on('open', () => { for (let number = 0; number < 50; number += 1) write(); });
  await new Promise((resolve, reject) => {
    socket.on('message', (data) => {
      if (String(data).includes('"rate_limited"')) resolve();
      write();
    });
    socket.on('error', reject);
  });
  return () => socket.terminate();
}

export function launchBrowser() {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args });
}

/** The browser and the server of one file of tests, until its last test has ended. @param {Promise<Server>} [start] */
export async function stage(start = Server.start()) {
  const browser = await launchBrowser();
  after(() => browser.close());
  const server = await start;
  after(() => server.stop());
  return { browser, server };
}

/** One person in a browser context of their own, and everything that went wrong on their page. */
export class Person {
  problems = [];
  #tookMs = 0; // to arrive

  static async arrive(browser, server, options = {}) {
    const begin = performance.now();
    const person = new Person();
    person.context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    person.context.setDefaultTimeout(PATIENCE_MS);
    person.page = await person.context.newPage();
    person.#watch();
    await person.page.goto(server.url);
    person.#tookMs = performance.now() - begin;
    return person;
  }

  #watch() {
    const { page, problems } = this;
    page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
    page.on('dialog', (dialog) => { problems.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('console', (message) => {
      if (message.type() !== 'error' || isNetworkNoise(message.text())) return;
      problems.push(`console: ${message.text()}`);
    });
    // A violation is reported to the page that it happens on; the binding carries it out.
    page.exposeBinding('reportViolation', (_source, text) => problems.push(`CSP: ${text}`));
    page.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) => {
      window.reportViolation(`${event.violatedDirective} ${event.blockedURI}`);
    }));
  }

  async asGuest(name = '') {
    await this.page.getByLabel('Your name').fill(name);
    await this.page.getByRole('button', { name: 'Continue as guest' }).click();
    await this.connected();
    return this;
  }

  async withToken(token) {
    await this.page.locator('#token-input').fill(token);
    await this.page.getByRole('button', { name: 'Use this token' }).click();
    await this.connected();
    return this;
  }

  /** The token that the tab remembers. */
  token(key = 'chat-server') {
    return this.page.evaluate((name) => JSON.parse(sessionStorage.getItem(name)).token, key);
  }

  /** Waits until the server would give another token: those of one second are the same. */
  async renewable() {
    const token = await this.token();
    // `waitForFunction` takes a promise for a yes.
    await this.page.evaluate(async (old) => {
      for (let renewed = old; renewed === old; await new Promise(requestAnimationFrame)) {
        const answer = await fetch('/api/v1/auth/refresh', { method: 'POST', headers: { authorization: `Bearer ${old}` } });
        renewed = (await answer.json()).token;
      }
    }, token);
  }

  /**
   * How long a token lives that ends while they are here, in seconds: longer where the machine is so busy that they took
   * long to arrive, for whoever comes in with it has something to do before its end.
   */
  lifeOf(seconds) { return Math.ceil(seconds + (4 * this.#tookMs) / 1000); }

  async connected() {
    await this.page.locator('#pill[data-state=open]').waitFor();
  }

  async openTab(name) {
    await this.page.getByRole('tab', { name }).click();
  }

  /** The id that the page tells this person to give to others. */
  async id() {
    return Number(/user (\d+)/.exec(await this.page.locator('#me-line').textContent())[1]);
  }

  async write(text) {
    await this.page.locator('#composer-text').fill(text);
    await this.page.locator('#composer-text').press('Enter');
  }

  /** Waits until `text` is there as a stored message, exactly once. */
  async sees(text) {
    await this.message(text).first().waitFor();
    assert.equal(await this.message(text).count(), 1, `"${text}" is shown more than once`);
  }

  /** Waits until our own `text` has been acknowledged by the server. */
  async stored(text) {
    await this.message(text).locator('.stored').waitFor();
  }

  message(text) {
    return this.page.locator('#messages .message:not(.outgoing)').filter({ has: this.page.getByText(text, { exact: true }) });
  }

  /** The contents on the screen, in their order. */
  contents() {
    return this.page.locator('#messages .content').allTextContents();
  }

  async openConversation(name) {
    await this.page.locator('#sidebar').getByRole('button', { name }).click();
  }

  assertNoProblems() {
    assert.deepEqual(this.problems, [], 'the page had problems');
  }

  async leave() {
    // A question may be under way that a test answers itself: nobody waits for that answer any more.
    await this.page.unrouteAll({ behavior: 'ignoreErrors' });
    await this.context.close();
    this.assertNoProblems();
  }
}

/** The browser itself logs every failed request as an error, also those that a test provokes on purpose. */
function isNetworkNoise(text) {
  return /^Failed to load resource|^WebSocket connection to .* failed/.test(text);
}
