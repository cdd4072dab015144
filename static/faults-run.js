/**
 * The experiments: each does one thing to the connection of a real person, lets messages be written meanwhile, watches
 * what the client does, and judges what came. It only looks and breaks: everything that mends is the client's own work.
 */

import { newNonce } from './chat-client.js';
import { placeName } from './faults-judge.js';
import { Over, rethrowOver, watchClient } from './faults-watch.js';

export const SLOW_BYTES_PER_SECOND = 1_024;
export const BURST = 100;
const SETTLE_MS = 30_000; // for what was missed to come, once the connection is back
const BUSY_WAIT_MS = 1_000;
const POST_TRIES = 20;

/**
 * @typedef {{who: string, name: string, me: number, chat: any, wire: any, positions: Map<string, number>,
 *   cursor: {lastId: number, epoch?: string}, countShown(nonce: string): number,
 *   sendTo(key: string, content: string, nonce: string): Promise<any>, signal: AbortSignal,
 *   api(path: string, options?: {method?: string, body?: unknown}): Promise<Response>}} Subject `positions`:
 *   the last `seq` of each conversation that came over the wire
 * @typedef {{did(text: string, simulated?: boolean): void, saw(text: string): void, wait(text: string, offer?: {label: string, act(): void}): void,
 *   end(ok: boolean, text: string): void}} Report
 * @typedef {{subject: Subject, log: import('./inspector-log.js').FrameLog, report: Report, count: number, key: string}} Given `key`: the conversation to write to
 */

/** @type {Record<string, {label: string, about: string, simulated: string, run(given: Given): Promise<void>}>} */
export const EXPERIMENTS = {
  drop: {
    label: 'Drop the connection',
    about: 'The network goes, messages are written, then the client hears of it: close code 1006, no close frame.',
    simulated: 'A page cannot tear a TCP connection: the server sees an orderly close.',
    run: (given) => cut(given, ({ report, subject }) => {
      report.did('Told the client that the connection is gone (1006)', true);
      subject.wire.drop();
    }),
  },
  silent: {
    label: 'Go silent',
    about: 'As a phone that sleeps: nothing comes, nothing goes, nobody says so. The client’s watchdog has to notice: a ping after 25 s without a frame, and 10 s for its answer.',
    simulated: 'The browser goes on reading and answering pings; the client neither sees nor sends anything.',
    run: (given) => cut(given, ({ report, subject }) => {
      report.wait('Waiting for the client’s watchdog', { label: 'Wake up now', act: () => {
        if (!subject.wire.isOpen) return; // the watchdog was faster
        report.did('Woke up, and found the connection dead (1006)', true);
        subject.wire.drop();
      } });
    }),
  },
  slow: {
    label: 'Slow reader',
    about: `What comes is handed to the client at ${SLOW_BYTES_PER_SECOND} bytes per second.`,
    simulated: 'The browser itself goes on reading at full speed: the server sees no slow reader.',
    run: slow,
  },
  expired: {
    label: 'Expired token',
    about: 'The server’s close for a token that has ended: 4401. Where this server makes the tokens, the page has to ask for a fresh one and go on by itself. Where another backend does, the client must stop, and not come back with the same token by itself.',
    simulated: 'The token is still good: the close is made here, and the server sees an orderly one.',
    run: (given) => cut(given, ({ report, subject }) => {
      report.did('Ended the connection with 4401', true);
      const { token } = subject;
      const stop = subject.chat.on('welcome', () => {
        stop();
        if (subject.token !== token) report.saw('The page asked for a fresh token, and the client came back with it');
      });
      subject.wire.end(4401, 'the token expired (simulated)');
      if (subject.chat.state === 'closed') {
        report.saw('The client stopped, and did not try the same token again');
        report.wait('A new token is needed', { label: 'Connect again', act: () => subject.chat.connect().catch(() => {}) });
      }
    }),
  },
  duplicate: {
    label: 'Duplicate a send',
    about: 'One message goes out twice with the same nonce, as when an acknowledgement was lost.',
    simulated: '',
    run: duplicate,
  },
  burst: {
    label: `Burst ${BURST}`,
    about: `${BURST} messages at once through the client: all stored, once, in the order of the calls.`,
    simulated: '',
    run: burst,
  },
};

/** Messages are lost behind a silent socket, `break_` ends it in its way, and the client is watched coming back. */
async function cut(given, break_) {
  const { subject, report, count } = given;
  const watch = watchClient(given);
  try {
    const cursor = subject.cursor;
    if (!subject.wire.silence()) throw new Over('There is no connection to break.');
    report.did('Nothing passes any more, in either direction', true);
    report.saw(`The client stands at message ${cursor.lastId}`);
    await writeMeanwhile(given, watch);
    if (subject.chat.state === 'open') break_(given);
    await watch.until(() => watch.resumed);
    report.saw(watch.resumed);
    await watch.until(() => watch.isWhole(), SETTLE_MS).catch(rethrowOver);
    report.saw(`The client stands at message ${subject.cursor.lastId}, it stood at ${cursor.lastId}`);
    conclude(given, watch);
  } finally {
    watch.stop();
  }
}

async function slow(given) {
  const { subject, report, log } = given;
  const watch = watchClient(given);
  let longest = 0;
  const stop = log.on((entry) => { if (entry.who === subject.who) longest = Math.max(longest, entry.heldMs ?? 0); });
  try {
    if (!subject.wire.slow(SLOW_BYTES_PER_SECOND)) throw new Over('There is no connection to slow down.');
    report.did(`The client gets ${SLOW_BYTES_PER_SECOND} bytes per second`, true);
    await writeMeanwhile(given, watch);
    report.wait('Waiting for the last message', { label: 'Full speed now', act: () => subject.wire.slow(0) });
    await watch.until(() => watch.isWhole());
    report.saw(`The longest that a frame was held back: ${Math.round(longest)} ms`);
    subject.wire.slow(0);
    report.did('Full speed again');
    conclude(given, watch);
  } finally {
    subject.wire.slow(0);
    stop();
    watch.stop();
  }
}

async function duplicate(given) {
  const { subject, report, log, key } = given;
  const nonce = newNonce();
  const receipts = [];
  const stop = log.on((entry) => {
    if (entry.who === subject.who && entry.receipt && entry.nonces.includes(nonce)) receipts.push(JSON.parse(entry.text).data);
  });
  const watch = watchClient(given);
  try {
    if (!subject.wire.sendTwice()) throw new Over('There is no connection to send on.');
    report.did(`Sent one message twice, both with the nonce ${nonce}`);
    const sent = await watch.race(send(given, 'This went over the wire twice', nonce));
    watch.due.set(key, sent.seq);
    await watch.until(() => receipts.length === 2 && watch.isWhole(), SETTLE_MS).catch(rethrowOver);
    for (const { id, seq, duplicate: again } of receipts) report.saw(`Acknowledged as message ${id}, number ${seq}${again ? ', duplicate: true' : ''}`);
    await new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); });
    const shown = subject.countShown(nonce);
    report.saw(`On the screen: ${shown === 1 ? 'once' : `${shown} times`}`);
    const [first, second] = receipts;
    const same = second?.duplicate === true && first.id === second.id && first.seq === second.seq;
    const { ok, text } = watch.verdict();
    report.end(same && ok && shown <= 1, same ? `Stored once. ${text}` : `The two acknowledgements differ. ${text}`);
  } finally {
    stop();
    watch.stop();
  }
}

async function burst(given) {
  const { subject, report, log, key } = given;
  const watch = watchClient(given);
  let refused = 0;
  let asked = 0;
  const stop = log.on((entry) => {
    if (entry.who !== subject.who || entry.note !== undefined) return;
    if (entry.direction === 'out' && (entry.type === 'message' || entry.type === 'dm')) asked += 1;
    if (entry.bad && entry.text.includes('"rate_limited"')) refused += 1;
  });
  try {
    const start = performance.now();
    report.did(`Asked the client to send ${BURST} messages`);
    const receipts = await watch.race(Promise.all(Array.from({ length: BURST }, (_, index) => send(given, `burst ${index + 1} of ${BURST}`, newNonce()))));
    const ms = performance.now() - start;
    report.saw(`Stored: ${receipts.length}, in ${Math.round(ms)} ms (${Math.round((receipts.length * 1000) / ms)} per second)`);
    report.saw(`Refused as too fast: ${refused}; frames sent: ${asked}, so ${asked - BURST} again`);
    const inOrder = receipts.every(({ seq }, index) => index === 0 || seq > receipts[index - 1].seq);
    report.saw(inOrder ? 'The order of the calls was kept' : 'The order of the calls was not kept');
    watch.due.set(key, receipts.at(-1).seq);
    await watch.until(() => watch.isWhole(), SETTLE_MS).catch(rethrowOver);
    const { ok, text } = watch.verdict();
    report.end(ok && inOrder, text);
  } finally {
    stop();
    watch.stop();
  }
}

function conclude({ report }, watch) {
  const { ok, text } = watch.verdict();
  report.end(ok, text);
}

async function send({ subject, key }, content, nonce) {
  const receipt = await subject.sendTo(key, content, nonce);
  if (!receipt) throw new Over('A message was not stored.');
  return receipt;
}

/** Over HTTP, with the same token: from somewhere else, so that there is something to miss. */
async function writeMeanwhile({ subject, report, count, key }, watch) {
  const to = key.slice(key.indexOf(':') + 1);
  const place = key.startsWith('room:') ? { room: to } : { to: Number(to) };
  let first = 0;
  let last = 0;
  for (let number = 1; number <= count; number += 1) {
    const body = { ...place, content: `written meanwhile: ${number} of ${count}`, nonce: newNonce() };
    const { seq } = await watch.race(post(subject, body));
    first ||= seq;
    last = seq;
    watch.due.set(key, seq);
  }
  if (count > 0) report.did(`${count} messages were written to ${placeName(key)} over HTTP: number ${first} to ${last}`);
}

async function post(subject, body) {
  for (let tries = 1; ; tries += 1) {
    const answer = await subject.api('/api/v1/chat/messages', { method: 'POST', body });
    const data = await answer.json().catch(() => ({}));
    if (answer.ok) return data;
    const { code, message, retryAfterMs } = data.error ?? {};
    if (code !== 'rate_limited' || tries === POST_TRIES) throw new Over(`Writing over HTTP was refused: ${message ?? answer.status}`);
    const header = Number(answer.headers.get('retry-after')) * 1000;
    await new Promise((resolve) => { setTimeout(resolve, retryAfterMs ?? (header || BUSY_WAIT_MS)); });
  }
}

/** Runs one, and ends its report whatever happens. @param {string} id @param {Given} given */
export async function runExperiment(id, given) {
  try {
    await EXPERIMENTS[id].run(given);
  } catch (error) {
    given.report.end(false, error instanceof Over ? `Given up: ${error.message}` : `Given up: ${error.message ?? error}`);
  }
}
