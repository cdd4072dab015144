/** The tests' own rule that a file of them ends. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = (source) => promisify(execFile)(process.execPath, ['--input-type=module', '--eval', source], {
  cwd: new URL('.', import.meta.url), env: { PATH: process.env.PATH, ENDS_WITHIN_MS: '200' },
});

test('a file whose tests have passed and which does not end fails, and names what is open', async () => {
  const passes = "import './ends.mjs'; import net from 'node:net'; import { mock, test } from 'node:test'; test('well', () => {});";
  await run(passes);
  const open = `${passes} mock.timers.enable({ apis: ['setTimeout'] }); net.createServer().listen(0, '127.0.0.1', function () { console.error('at', this.address().port); });`;
  const { code, stderr } = await run(open).then(() => assert.fail('it ended well'), (error) => error);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`TCPServerWrap.*\\n.*Server \\{"port":${/at (\d+)/.exec(stderr)[1]}\\}`, 's'));
});
