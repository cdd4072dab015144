/** The client library as a package: its types, and what `npm pack` makes of it. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const run = promisify(execFile);
const HERE = fileURLToPath(new URL('.', import.meta.url));
const PACKAGE = fileURLToPath(new URL('../../static/', import.meta.url));
const TSC = path.join(HERE, 'node_modules/.bin/tsc');
const PACKED = ['LICENSE', 'README.md', 'chat-client.d.ts', 'chat-client.js', 'chat-react.d.ts', 'chat-react.js', 'package.json'];

async function folder(t) {
  const made = await mkdtemp(path.join(tmpdir(), 'chat-package-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
}

/** What the compiler says, or nothing. @param {string[]} flags */
const tsc = (...flags) => run(TSC, flags, { cwd: HERE }).then(() => '', ({ stdout }) => stdout || 'it failed');

test('the types in the comments hold, and are those of the declarations', async (t) => {
  const out = await folder(t);
  assert.equal(await tsc('-p', '.', '--noEmit', 'false', '--declaration', '--emitDeclarationOnly', '--outDir', out), '');
  for (const name of ['chat-client.d.ts', 'chat-react.d.ts']) {
    const [made, kept] = await Promise.all([out, PACKAGE].map((from) => readFile(path.join(from, name), 'utf8')));
    assert.equal(kept, made, `static/${name} is older than its module: \`npm run types\` in tests/browser`);
  }
});

test('a program in TypeScript finds the package and its types, and is told of its mistakes', async (t) => {
  const home = await folder(t);
  const program = path.join(home, 'program.ts');
  const config = path.join(home, 'tsconfig.json');
  await writeFile(config, JSON.stringify({
    compilerOptions: {
      strict: true, noEmit: true, module: 'nodenext', target: 'es2022', lib: ['es2023', 'dom'], types: [],
      paths: { 'chat-server-client': [`${PACKAGE}chat-client.d.ts`], 'chat-server-client/react': [`${PACKAGE}chat-react.d.ts`] },
    },
    files: [program],
  }));
  const head = `
    import { createChat, ChatError, type Message, type ChatClient } from 'chat-server-client';
    import { useChat, createChatStore, type Snapshot } from 'chat-server-client/react';
    const chat: ChatClient = createChat({ url: 'ws://chat.test/ws', getToken: async ({ fresh }) => String(fresh), storage: sessionStorage });
    chat.on('message', (message: Message) => message.content.length);
    chat.on('unsent', ({ nonce, error }) => { if (error instanceof ChatError) chat.cancel(nonce); });
    chat.history({ room: 'general' }, { limit: 10 }).then(({ messages, hasMore }) => hasMore && messages[0].seq);
    chat.history({ with: 7 });
    chat.dm(7, 'hello').then(({ id, to }) => id + to);
    const snapshot: Snapshot = useChat({ token: 'a.b.c', rooms: ['general'] });
    snapshot.rooms.general.messages.map(({ id }) => id);
    useChat(chat); useChat(createChatStore({ token: 'a.b.c' })); snapshot.client.cursor.lastId + snapshot.dms[7].unread;
  `;
  await writeFile(program, head);
  assert.equal(await tsc('-p', config), '');

  const mistakes = ["chat.send(7, 'hello');", "chat.history({ room: 'a', with: 7 });", "chat.on('mesage', () => {});",
    'snapshot.rooms.general.messages.push();', 'chat.cursor.lastId = 3; chat.cursor = 3;', 'createChat({ tokn: 1 });'];
  await writeFile(program, [head, ...mistakes].join('\n'));
  const said = await tsc('-p', config);
  const lines = new Set([...said.matchAll(/program\.ts[(:](\d+)/g)].map(([, line]) => Number(line)));
  assert.deepEqual([...lines], mistakes.map((_, index) => head.split('\n').length + 1 + index), said);
});

test('the package holds its modules and nothing of the page, and publint has nothing to say', async (t) => {
  const out = await folder(t);
  const { stdout } = await run('npm', ['pack', '--json', '--silent', '--pack-destination', out], { cwd: PACKAGE });
  const [{ filename, files }] = JSON.parse(stdout);
  assert.deepEqual(files.map((file) => file.path).sort(), PACKED);
  const tarball = await readFile(path.join(out, filename));
  const { messages, pkg } = await publint({ pack: { tarball: tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.byteLength) }, strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, pkg)), []);
  assert.equal(pkg.dependencies, undefined);
});

test('the licence in the package is the one of the project', async () => {
  const [one, other] = await Promise.all(['../../LICENSE', '../../static/LICENSE'].map((file) => readFile(new URL(file, import.meta.url), 'utf8')));
  assert.equal(one, other);
});
