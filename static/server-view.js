/**
 * How the server is doing: numbers of now, charts of the last five minutes, the limits in force, the build. Asks once a
 * second while it is shown and seen, and nobody else does; what it has drawn stays when the server goes away.
 */

import { SPAN_MS, createChart, formatBytes, formatMs, formatNumber } from './chart.js';
import { bdi, el, formatDuration } from './dom.js';
import { createCopies } from './server-copies.js';

const EVERY_MS = 1_000;
/** A server that answers no sooner than this is as good as away. */
const PATIENCE_MS = 3_000;

/** @typedef {{status: number, body: any}} Answer */

/**
 * @param {{signal: AbortSignal, session(): {token: string, user: {id: number, username: string}} | null,
 *   api(path: string): Promise<Answer>}} context
 */
export function createServerView({ signal, session, api }) {
  const status = el('p', { class: 'server-status', role: 'status' });
  const empty = el('div', { class: 'server-empty', hidden: true });
  const numbers = createNumbers();
  const copies = createCopies();
  const charts = createCharts();
  const facts = el('div', { class: 'server-facts' });
  const body = el('div', { class: 'server-body', hidden: true }, numbers.node, copies.node, el('div', { class: 'charts' }, ...charts.map(({ node }) => node)), facts);
  const node = el('div', { class: 'tool-pad server-view' }, status, empty, body);

  let samples = /** @type {{at: number}[]} */ ([]);
  let ahead = 0; // the server's clock before ours
  let timer = 0;
  let askedAt = 0; // 0: nothing is under way
  let refusedTo = /** @type {string | null} */ (null); // the token with which there is no point in asking again
  let factsShown = '';

  const token = () => session()?.token ?? '';
  const say = (state, text) => {
    if (node.dataset.state === state && status.textContent === text) return;
    node.dataset.state = state;
    status.textContent = text;
  };

  function tick() {
    if (document.hidden || refusedTo !== null) return;
    if (!askedAt) ask();
    else if (Date.now() - askedAt > PATIENCE_MS) away();
    if (!body.hidden) drawCharts();
  }

  async function ask() {
    askedAt = Date.now();
    const asWhom = token();
    /** @type {Answer | null} */ let answer = null;
    try {
      answer = await api('/api/v1/stats');
    } catch {
      // No answer at all.
    }
    askedAt = 0;
    if (signal.aborted || asWhom !== token()) return;
    if (answer?.status === 200 && answer.body) take(answer.body);
    else if (!answer || answer.status >= 500) away();
    else refused(answer, asWhom);
  }

  function take(stats) {
    merge(stats.samples);
    empty.hidden = true;
    body.hidden = false;
    say('live', 'Live, every second.');
    numbers.draw(stats);
    copies.draw(stats.sync);
    drawCharts();
    const facts = JSON.stringify([stats.limits, stats.build, stats.mode, stats.epoch]);
    if (facts !== factsShown) drawFacts(stats);
    factsShown = facts;
  }

  /** What a server that was started again has forgotten is still here; what it says of the same time counts. */
  function merge(fresh) {
    if (fresh.length === 0) return;
    const end = fresh[fresh.length - 1].at;
    ahead = end - Date.now();
    samples = [...samples.filter(({ at }) => at < fresh[0].at && at > end - SPAN_MS), ...fresh];
  }

  function drawCharts() {
    for (const chart of charts) chart.draw(samples, Date.now() + ahead);
  }

  function away() {
    say('away', 'The server does not answer. The charts go on when it does.');
  }

  function refused({ status: code, body: reason }, asWhom) {
    refusedTo = asWhom;
    body.hidden = true;
    empty.hidden = false;
    say('refused', '');
    const words = reason?.error?.message ?? `The server answered ${code}.`;
    const again = el('button', { type: 'button', class: 'button small', onclick: () => { refusedTo = null; tick(); } }, 'Ask again');
    const content = code === 404
      ? [el('p', { class: 'empty-title' }, 'This server is older'), el('p', {}, 'It does not tell how it is doing. A newer build does.')]
      : [el('p', { class: 'empty-title' }, 'Not for everybody'), el('p', { class: 'server-reason' }, bdi(words)), ...howToBeAdmin(session()?.user)];
    empty.replaceChildren(...content, again);
  }

  function drawFacts({ limits, build, mode, epoch }) {
    facts.replaceChildren(
      drawTable('Limits in force', LIMITS.map(([name, words, format]) => [words, format(limits[name])])),
      drawTable('Build', [['chat-server', `${build.version}, ${build.profile}`], ['Database', build.database ?? `SQLite ${build.sqlite}`], ['Users from', mode === 'standalone' ? 'this server’s accounts' : 'another backend'], ['Epoch of the log', epoch]]));
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
  }

  document.addEventListener('visibilitychange', () => { if (timer) tick(); }, { signal });
  signal.addEventListener('abort', stop);
  say('loading', 'Asking the server…');

  return {
    node,
    show() {
      refusedTo = null;
      timer ||= setInterval(tick, EVERY_MS);
      tick();
    },
    hide: stop,
    /** Somebody else is signed in: they may be let in. */
    reset() {
      if (refusedTo === null || refusedTo === token()) return;
      refusedTo = null;
      if (timer) tick();
    },
  };
}

function howToBeAdmin(user) {
  const command = `chat-server token --role admin --user-id ${user?.id ?? 1} --username ${/^[\w-]+$/.test(user?.username ?? '') ? user?.username : 'admin'}`;
  return [
    el('p', {}, 'Open this page on the server’s own machine, by its address or as localhost; or sign in with a token whose role is admin. This prints one, on the server’s machine, in the folder and with the DATABASE_URL and JWT_SECRET that it has, if it has them:'),
    el('code', { class: 'command' }, command),
    el('p', { class: 'hint' }, 'It goes into “Paste a token” when you sign in. With another backend, that one can issue it as well.'),
  ];
}

/** @type {[string, string, (value: number) => string][]} */
const LIMITS = [
  ['contentBytes', 'One message', formatBytes],
  ['frameBytes', 'One frame', formatBytes],
  ['ratePerSecond', 'Sends of one user', (value) => (value === 0 ? 'unlimited' : `${formatNumber(value)} per second`)],
  ['roomsPerConnection', 'Rooms of one connection', formatNumber],
  ['historyLimit', 'Messages of one history', formatNumber],
  ['historyBytes', 'Bytes of one history', formatBytes],
  ['resumeLimit', 'Replayed after a cut', (value) => `${formatNumber(value)} messages`],
];

function drawTable(title, rows) {
  return el('table', { class: 'facts' }, el('caption', {}, title), el('tbody', {},
    ...rows.map(([name, value]) => el('tr', {}, el('th', { scope: 'row' }, name), el('td', {}, bdi(value))))));
}

function createNumbers() {
  /** @type {[string, (stats: any) => string][]} */
  const rows = [
    ['Users online', ({ users }) => formatNumber(users)],
    ['Connections', ({ connections }) => formatNumber(connections)],
    ['Rooms in use', ({ rooms, joins }) => `${formatNumber(rooms)}, joined ${joins === 1 ? 'once' : `${formatNumber(joins)} times`}`],
    ['Messages in', ({ messages }) => `${formatNumber(messages.stored)} since the start`],
    ['Messages out', ({ messages }) => `${formatNumber(messages.delivered)} since the start`],
    ['Commits', ({ commits }) => formatNumber(commits.count)],
    ['Commit latency', ({ commits: { count, latencyMs } }) => (count === 0 ? 'none yet' : `median ${formatMs(latencyMs.p50)}, p99 ${formatMs(latencyMs.p99)}, longest ${formatMs(latencyMs.max)}`)],
    ['Writes in a commit', ({ commits: { count, batch } }) => (count === 0 ? 'none yet' : `on average ${formatNumber(batch.mean)}, most ${formatNumber(batch.max)}`)],
    ['Outboxes', ({ outbox }) => `${formatBytes(outbox.bytes)}, the largest ${formatBytes(outbox.maxBytes)}`],
    ['Readers behind', ({ outbox }) => formatNumber(outbox.behind)],
    ['Storage', ({ storage }) => formatBytes(storage.bytes) + (storage.walBytes === null ? '' : ` and ${formatBytes(storage.walBytes)} of write-ahead log`)],
    ['Up', ({ uptimeSeconds }) => formatDuration(uptimeSeconds * 1000)],
  ];
  const values = rows.map(() => el('dd', {}));
  return {
    node: el('dl', { class: 'server-numbers' }, ...rows.map(([name], index) => el('div', {}, el('dt', {}, name), values[index]))),
    draw(stats) {
      for (const [index, [, value]] of rows.entries()) values[index].textContent = value(stats);
    },
  };
}

function createCharts() {
  const whenCommitted = (name) => (sample) => (sample.commits > 0 ? sample[name] : null);
  return [
    createChart({ title: 'Connections', series: [{ value: ({ connections }) => connections }] }),
    createChart({ title: 'Messages in, per second', series: [{ value: ({ stored }) => stored }] }),
    createChart({ title: 'Messages out, per second', series: [{ value: ({ delivered }) => delivered }] }),
    createChart({ title: 'Commit latency', format: formatMs, series: [{ value: whenCommitted('commitMs') }] }),
    createChart({ title: 'Writes in a commit', least: 4, series: [{ value: whenCommitted('commitWrites') }] }),
    createChart({
      title: 'Outboxes', format: formatBytes, binary: true, least: 1024,
      series: [{ name: 'all', value: ({ outboxBytes }) => outboxBytes }, { name: 'largest', value: ({ outboxMaxBytes }) => outboxMaxBytes }],
    }),
  ];
}
