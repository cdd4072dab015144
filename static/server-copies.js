/**
 * Where else every message goes: one line for each copy when all is well, and with it what is wrong and which command
 * helps when it is not. Nothing at all when nothing is copied.
 */

import { bdi, el, formatFull, formatTime, reconcile, startOfDay } from './dom.js';
import { formatNumber } from './chart.js';

/** @typedef {{follower: string, url: string, lag: number, parked: number, here?: boolean, failing: {since: number, reason: string} | null}} Copy */

/** @type {Record<string, string>} */
const NAMES = { backend: 'Backend', webhook: 'Webhook' };

export function createCopies() {
  const list = el('ul', { class: 'copy-list' });
  const node = el('section', { hidden: true, 'aria-labelledby': 'copies-title' }, el('h3', { class: 'copies-title', id: 'copies-title' }, 'Copies'), list);
  return {
    node,
    /** @param {Copy[] | undefined} copies as `GET /api/v1/stats` has them; an older server has none */
    draw(copies = []) {
      node.hidden = copies.length === 0;
      reconcile(list, copies.map((copy) => ({
        key: copy.follower,
        version: JSON.stringify([copy.url, copy.lag, copy.parked, copy.failing, copy.here]),
        build: () => drawn(build(), copy),
        update: (item) => drawn(item, copy),
      })));
    },
  };
}

/** Commands stay the same nodes while numbers change, so that they can be marked and copied. */
function build() {
  const command = (words) => el('code', {}, `chat-server sync ${words}`);
  return el('li', { class: 'copy' },
    el('p', { class: 'copy-line' }, el('span', { class: 'copy-name' }), bdi('', { class: 'copy-url' }), el('span', { class: 'copy-state' })),
    el('div', { class: 'copy-failing' },
      el('p', { class: 'copy-why' }, 'Not taken since ', el('time', {}), ': ', bdi('')),
      el('p', { class: 'hint' }, 'Tried again until it is; nothing is lost meanwhile. ', command('status'), ' names the message, and how to pass it.')),
    el('div', { class: 'copy-parked' },
      el('p', {}),
      el('p', { class: 'hint' }, command('status'), ' says which and why. ', command('retry'), ' sends them again; ', command('skip'), ' gives them up.')));
}

/** @param {Element} item @param {Copy} copy */
function drawn(item, { follower, url, lag, parked, failing, here = true }) {
  const set = (selector, text) => {
    const part = item.querySelector(selector);
    if (part.textContent !== text) part.textContent = text;
  };
  item.dataset.state = failing ? 'failing' : parked > 0 ? 'parked' : 'well';
  set('.copy-name', NAMES[follower] ?? follower);
  set('.copy-url', url);
  const reached = lag === 0 ? 'up to date' : `${formatNumber(lag)} behind`;
  set('.copy-state', here ? reached : `${reached}, sent by another server`);
  item.querySelector('.copy-failing').hidden = !failing;
  item.querySelector('.copy-parked').hidden = parked === 0;
  if (failing) {
    const since = new Date(failing.since);
    const time = item.querySelector('time');
    time.dateTime = since.toISOString();
    time.title = formatFull(since);
    set('time', startOfDay(since) === startOfDay(new Date()) ? formatTime(since) : formatFull(since));
    set('.copy-why bdi', failing.reason);
  }
  set('.copy-parked > p', parked === 1 ? '1 message was refused and is parked.' : `${formatNumber(parked)} messages were refused and are parked.`);
  return item;
}
