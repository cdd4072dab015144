/** One experiment's eyes: what the client does, what it hands to the page, and whether that is whole. It changes nothing. */

import { judge, placeName, verdict } from './faults-judge.js';

/** The person signed out, or the experiment was given up. */
export class Over extends Error {}

/** Being late is for the verdict to tell. @param {unknown} error */
export function rethrowOver(error) {
  if (error instanceof Over) throw error;
}

/**
 * What the client does from now on, and what it hands to the page: that, not what is on the wire, is what a person gets.
 * The wire is judged beside it: a frame that came twice is told even where the client made up for it.
 *
 * @param {import('./faults-run.js').Given} given
 */
export function watchClient({ subject, log, report }) {
  const { chat, who, signal } = subject;
  const before = new Map(subject.positions);
  const due = new Map();
  const given = [];
  const wire = [];
  const waiting = new Set();
  const watch = {
    due,
    resumed: '',
    isWhole: () => [...due].every(([key, seq]) => given.some((message) => message.key === key && message.seq >= seq)),
    verdict() {
      const onPage = verdict(judge({ before, arrived: given, until: due }));
      const again = judge({ before, arrived: wire }).filter(({ twice }) => twice.length > 0);
      const onWire = again.map(({ key, twice }) => ` On the wire ${placeName(key)} ${twice.join(', ')} came twice.`).join('');
      return { ok: onPage.ok, text: onPage.text + onWire };
    },
    until(isSo, patienceMs = 0) {
      return new Promise((resolve, reject) => {
        const timer = patienceMs > 0 ? setTimeout(() => finish(new Error('late')), patienceMs) : 0;
        const look = () => isSo() && finish();
        const finish = (error) => {
          clearTimeout(timer);
          waiting.delete(waiter);
          if (error) reject(error);
          else resolve(undefined);
        };
        const waiter = { look, finish };
        waiting.add(waiter);
        look();
      });
    },
    race: (work) => Promise.race([work, new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Over('Signed out.')), { once: true });
    })]),
    stop() { for (const stop of stops) stop(); },
  };
  const changed = () => { for (const { look } of [...waiting]) look(); };
  const gone = () => { for (const { finish } of [...waiting]) finish(new Over('Signed out.')); };
  const hear = (message) => {
    const { room, fromUser, to, seq } = message;
    given.push({ key: room === undefined ? `dm:${fromUser === subject.me ? to : fromUser}` : `room:${room}`, seq });
    changed();
  };
  const page = (key, messages) => {
    // The newest of it instead of all: what is before the page is in the history.
    if (messages.length > 0) before.set(key, Math.max(before.get(key) ?? 0, messages[0].seq - 1));
    const known = new Set(given.filter((message) => message.key === key).map(({ seq }) => seq));
    for (const { seq } of messages) if (seq > (before.get(key) ?? 0) && !known.has(seq)) given.push({ key, seq });
  };
  let lostAt = 0;
  const stops = [
    chat.on('message', hear),
    chat.on('dm', hear),
    chat.on('close', ({ code, reason }) => {
      lostAt = performance.now();
      report.saw(`The client saw the connection end: ${code}${reason ? ` (${reason})` : ''}`);
    }),
    chat.on('state', ({ state, attempt, retryAt }) => {
      if (retryAt) report.saw(`It waits ${Math.round(retryAt - Date.now())} ms before attempt ${attempt}`);
      if (state === 'open' && lostAt) report.saw(`Connected again, ${Math.round(performance.now() - lostAt)} ms after the end`);
    }),
    chat.on('reset', ({ reason, rooms, dms }) => {
      report.saw(`Not replayed (${reason}): the client loaded the newest messages of every conversation instead`);
      for (const { room, messages } of rooms) page(`room:${room}`, messages);
      for (const { with: peer, messages } of dms) page(`dm:${peer}`, messages);
      changed();
    }),
    chat.on('reconnected', ({ replayed, complete, reason }) => {
      watch.resumed = complete ? `resume_ack: ${replayed} replayed, complete` : `resume_ack: not complete (${reason})`;
      changed();
    }),
    log.on((entry) => {
      if (entry.who !== who || entry.note !== undefined) return;
      if (entry.type === 'resume' && entry.direction === 'out' && !entry.lost) report.saw(`It sent resume, after message ${JSON.parse(entry.text).after}`);
      if (entry.arrival && !entry.lost) wire.push(entry.arrival);
      // An own DM has no echo: its receipt is its arrival.
      if (entry.receipt?.key.startsWith('dm:') && !entry.lost && !JSON.parse(entry.text).data.duplicate) given.push(entry.receipt);
      queueMicrotask(changed);
    }),
  ];
  signal.addEventListener('abort', gone, { once: true });
  stops.push(() => signal.removeEventListener('abort', gone));
  return watch;
}
