/** One line of the inspector, and what opens under it: the whole frame, its reply, and the frame as something to paste. */

import { announce, avatar, el, icon } from './dom.js';
import { asCurl, asJavaScript, asJson, asWscat } from './inspector-copy.js';

const CUT_CHARS = 8 * 1024; // of one frame, until one asks for more
const SAID_MS = 1_500;

/** Characters that would reorder or hide what one came to inspect, written as JSON can write them. */
const INVISIBLE = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
export const visible = (text) => text.replace(INVISIBLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** @param {any} entry of the log @param {{several: boolean} & Record<string, any>} context */
export function row(entry, context) {
  const whose = context.several && mark(context.people().find(({ who }) => who === entry.who));
  if (entry.note !== undefined) return el('p', { class: 'frame-note', 'data-n': entry.n }, clock(entry.at), whose, el('span', {}, visible(entry.note)));
  const { direction, at, bytes, type, bad, gist, lost, raw, again } = entry;
  const details = el('details', { class: `frame ${direction}${lost ? ' lost' : ''}`, 'data-n': entry.n },
    el('summary', { tabindex: '-1' },
      el('span', { class: 'frame-direction', title: direction === 'in' ? 'from the server' : 'to the server' },
        icon(direction), el('span', { class: 'unseen' }, direction)),
      clock(at),
      whose,
      el('span', { class: bad ? 'frame-type bad' : 'frame-type' }, visible(type)),
      lost && el('span', { class: 'tag', title: 'A simulated fault kept it from its reader' }, 'lost'),
      raw && el('span', { class: 'tag', title: 'Written by hand' }, 'raw'),
      again && el('span', { class: 'tag', title: 'Sent twice on purpose' }, 'again'),
      el('span', { class: 'frame-gist', dir: 'ltr' }, visible(gist)),
      entry.roundTripMs !== undefined && el('span', { class: 'frame-trip', title: 'Round trip, from the request to this reply' }, duration(entry.roundTripMs)),
      el('span', { class: 'frame-size' }, size(bytes))));
  details.addEventListener('toggle', () => {
    if (!details.open) return;
    if (details.childElementCount === 1) details.append(body(entry, context));
    details.scrollIntoView({ block: 'nearest' });
  });
  return details;
}

/** @param {Element} place @param {any} entry @returns {boolean} whether it is there */
export function openDetails(place, entry) {
  const details = place.querySelector(`[data-n="${entry.n}"]`);
  if (!details) return false;
  details.open = true;
  details.firstElementChild.focus();
  return true;
}

function body(entry, context) {
  const { text, partner } = entry;
  const whole = visible(asJson(text));
  const pre = el('pre', { dir: 'ltr' }, whole.slice(0, CUT_CHARS));
  const more = whole.length > CUT_CHARS && el('button', {
    class: 'link', type: 'button', onclick: ({ target }) => { pre.textContent = whole; target.remove(); },
  }, `Show all ${size(whole.length)}`);
  const go = (label, act) => el('button', { class: 'link', type: 'button', onclick: act }, label);
  const message = entry.arrival ?? entry.receipt;
  return el('div', { class: 'frame-body' }, pre, more,
    el('p', { class: 'frame-links' },
      partner && go(entry.direction === 'out' ? `Its reply, ${duration(partner.roundTripMs)} later` : 'Its request', () => context.jump(partner)),
      message && go('Show the message', () => context.reveal(entry)),
      entry.direction === 'out' && go('Edit and send again', () => context.edit(text))),
    copyRow(entry, context));
}

/** What came in can be copied as the request that it answers. */
function copyRow(entry, { token, origin = location.origin }) {
  const asked = entry.direction === 'out' ? entry : entry.partner;
  const none = 'The server sent this by itself: there is no request to repeat';
  const own = el('input', { type: 'checkbox' });
  const where = () => ({ origin, token: own.checked ? token(entry.who) : undefined });
  const button = (label, make, reason) => el('button', {
    class: 'button tiny', type: 'button', disabled: Boolean(reason), title: reason || undefined, onclick: ({ target }) => copy(make(), target),
  }, label, reason && el('span', { class: 'unseen' }, `: ${reason}`));
  const curl = asked && asCurl(asked.text, where());
  return el('div', { class: 'copies', role: 'group', 'aria-label': 'Copy as' },
    el('span', { class: 'quiet' }, 'Copy as'),
    button('JSON', () => asJson(entry.text)),
    button('wscat', () => asWscat(asked.text, where()), !asked && none),
    button('curl', () => asCurl(asked.text, where()).text, asked ? curl.reason : none),
    button('JavaScript', () => asJavaScript(asked.text, where()), !asked && none),
    asked && el('label', { class: 'check' }, own, 'with my token'));
}

/** Where the page may not write to the clipboard, the text is there, selected. @param {string} text @param {HTMLElement} button */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return offer(text);
  }
  const label = button.firstChild;
  announce('Copied.');
  const before = label.data;
  if (before === 'Copied') return;
  label.data = 'Copied';
  setTimeout(() => { label.data = before; }, SAID_MS);
}

function offer(text) {
  const area = el('textarea', { rows: '8', readonly: true, dir: 'ltr', 'aria-label': 'To be copied' });
  area.value = text;
  const dialog = el('dialog', { class: 'copy-dialog' }, el('p', {}, 'The browser does not let this page write to the clipboard. Copy it from here:'), area,
    el('form', { method: 'dialog' }, el('button', { class: 'button small', type: 'submit' }, 'Close')));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  area.select();
}

export const mark = (person) => person && avatar(person.userId, person.name, 'tiny');

export function clock(at) {
  const date = new Date(at);
  const pad = (number, width = 2) => String(number).padStart(width, '0');
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
  return el('time', { datetime: date.toISOString() }, text);
}

export const size = (bytes) => (bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KiB`);
export const duration = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
