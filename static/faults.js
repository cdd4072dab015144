/** The buttons that break the connection, and what was seen: one small timeline for each time. */

import { announce, el, icon } from './dom.js';
import { EXPERIMENTS, runExperiment } from './faults-run.js';
import { visible } from './inspector-row.js';

const REPORTS_MAX = 10;
const COUNT_DEFAULT = 5;
const COUNT_MAX = 200;

/**
 * @param {{log: import('./inspector-log.js').FrameLog, subject(): import('./faults-run.js').Subject | null}} context
 */
export function createFaults({ log, subject }) {
  let running = false;
  const count = el('input', { type: 'number', id: 'faults-count', min: '0', max: String(COUNT_MAX), value: String(COUNT_DEFAULT) });
  const reports = el('div', { class: 'reports', id: 'fault-reports' });
  const line = el('p', { class: 'hint', id: 'faults-line' });
  const buttons = Object.entries(EXPERIMENTS).map(([id, { label }]) => el('button', {
    class: 'button small', type: 'button', id: `fault-${id}`, 'aria-describedby': `fault-about-${id}`, onclick: () => start(id),
  }, label));
  const cards = Object.entries(EXPERIMENTS).map(([id, { label, about, simulated }]) => el('li', { class: 'fault', id: `fault-about-${id}` },
    el('p', {}, el('span', { class: 'report-title' }, label, '. '), about),
    simulated && el('p', { class: 'hint' }, el('span', { class: 'tag' }, 'simulated'), ' ', simulated)));
  const node = el('div', { class: 'tool scrolls' }, el('div', { class: 'tool-pad' }, line,
    el('div', { class: 'fault-buttons', role: 'group', 'aria-label': 'Faults' }, ...buttons),
    el('div', { class: 'tool-row' }, el('label', { for: 'faults-count' }, 'Messages written meanwhile, over HTTP'), count),
    reports, el('ul', { class: 'fault-list' }, ...cards)));

  async function start(id) {
    const on = subject();
    if (!on || running) return;
    running = true;
    draw();
    const report = createReport(EXPERIMENTS[id], on.name);
    for (const older of reports.children) older.open = false; // so that the buttons stay near
    reports.prepend(report.node);
    report.node.scrollIntoView({ block: 'nearest' });
    while (reports.childElementCount > REPORTS_MAX) reports.lastElementChild.remove();
    const wanted = Math.min(COUNT_MAX, Math.max(0, Math.trunc(Number(count.value)) || 0));
    await runExperiment(id, { subject: on, log, report, count: wanted, key: on.key });
    running = false;
    draw();
  }

  function draw() {
    const on = subject();
    const why = running ? 'One is running.' : !on ? 'Nobody is signed in.' : !on.key ? 'Open a conversation first: there messages are written.' : '';
    for (const button of buttons) button.disabled = why !== '';
    const words = visible(why || `On the connection of ${on.name}, with messages in ${on.place}.`);
    if (line.textContent !== words) line.textContent = words;
  }

  return { node, show: draw, hide() {}, reset: draw };
}

/** @returns {import('./faults-run.js').Report & {node: HTMLElement}} */
function createReport({ label }, name) {
  const started = performance.now();
  const list = el('ol', { class: 'report-steps' });
  const waiting = el('p', { class: 'report-waiting', hidden: true });
  const result = el('span', { class: 'report-verdict' }, 'Running…');
  const node = el('details', { class: 'report', open: true },
    el('summary', {}, el('span', { class: 'report-title' }, label), ' ', el('bdi', { class: 'quiet' }, name), result), list, waiting);
  let ticking = 0;

  const step = (text, kind, simulated) => {
    list.append(el('li', { class: kind }, el('span', { class: 'report-at' }, `${((performance.now() - started) / 1000).toFixed(2)} s`),
      el('span', {}, visible(text), simulated && ' ', simulated && el('span', { class: 'tag' }, 'simulated'))));
  };
  const stopWaiting = () => { clearInterval(ticking); waiting.hidden = true; };
  return {
    node,
    did: (text, simulated = false) => step(text, 'did', simulated),
    saw(text) { step(text, 'saw', false); },
    wait(text, offer) {
      const since = performance.now();
      const seconds = el('span', { class: 'report-seconds' }, '0 s');
      waiting.replaceChildren(el('span', {}, text, ' '), seconds,
        offer && el('button', { class: 'button tiny', type: 'button', onclick: () => { offer.act(); stopWaiting(); } }, offer.label));
      waiting.hidden = false;
      ticking = setInterval(() => { seconds.textContent = `${Math.round((performance.now() - since) / 1000)} s`; }, 500);
    },
    end(ok, text) {
      stopWaiting();
      result.className = `report-verdict ${ok ? 'good' : 'bad'}`;
      result.replaceChildren(icon(ok ? 'check' : 'close'), el('span', {}, visible(text)));
      announce(`${label}: ${text}`);
    },
  };
}
