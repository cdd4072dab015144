/**
 * A file of tests ends by itself: node waits for whatever is still open, and without a word for ever. What is open a while
 * after the last test is named here, and the file fails. It closes nothing that a test should have closed.
 */

import { after } from 'node:test';

const later = globalThis.setTimeout; // before a test puts a clock of its own in its place
const WITHIN_MS = Number(process.env.ENDS_WITHIN_MS ?? 30_000);

/** What a handle is, as far as it tells. */
function words(handle) {
  const { localPort, remotePort, spawnfile, pid, fd } = handle;
  const about = { localPort, remotePort, port: handle.address?.()?.port, spawnfile, pid, fd };
  return `${handle.constructor.name} ${JSON.stringify(about)}`;
}

after(() => {
  later(() => {
    const handles = process._getActiveHandles().filter(({ fd }) => fd === undefined || fd > 2);
    console.error(`the tests are over since ${WITHIN_MS} ms, and something keeps the process from ending:`);
    console.error([process.getActiveResourcesInfo().join(', '), ...handles.map(words)].join('\n'));
    process.exit(1);
  }, WITHIN_MS).unref();
});
