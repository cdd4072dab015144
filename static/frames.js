/** The right pane: every frame on the socket in both directions, as it was sent, and what became of the connection. */

import { $, batched, el, icon } from './dom.js';

const CAP = 500;
const AT_BOTTOM_PX = 24;

/** Characters that would reorder or hide what one came to inspect, written as JSON can write them. */
const INVISIBLE = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const visible = (text) => text.replace(INVISIBLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** @param {{signal: AbortSignal}} options */
export function createFrames({ signal }) {
  const place = $('frames');
  let waiting = []; // not drawn yet: the pane is closed, or paused
  let paused = false;

  const draw = batched(() => {
    if (paused || $('inspector').hidden) return;
    const atBottom = place.scrollHeight - place.scrollTop - place.clientHeight < AT_BOTTOM_PX;
    place.append(...waiting.map(row));
    waiting = [];
    while (place.childElementCount > CAP) place.firstElementChild.remove();
    if (atBottom) place.scrollTop = place.scrollHeight;
    drawLine();
  });

  function add(entry) {
    waiting.push(entry);
    if (waiting.length > CAP) waiting.shift();
    if (paused) drawLine();
    else draw();
  }

  function drawLine() {
    const held = paused && waiting.length > 0 ? `Paused, ${waiting.length === CAP ? `${CAP} or more` : waiting.length} held back.` : '';
    $('frames-line').textContent = held || (paused ? 'Paused.' : `The last ${CAP}, as sent.`);
  }

  $('frames-pause').addEventListener('click', () => {
    paused = !paused;
    $('frames-pause').textContent = paused ? 'Resume' : 'Pause';
    $('frames-pause').setAttribute('aria-pressed', String(paused));
    drawLine();
    draw();
  }, { signal });
  $('frames-clear').addEventListener('click', () => {
    waiting = [];
    place.replaceChildren();
    drawLine();
  }, { signal });
  signal.addEventListener('abort', () => { waiting = []; place.replaceChildren(); });

  return {
    draw,
    /** @param {import('./chat-client.js').RawFrame} frame */
    frame: (frame) => add(frame),
    /** Something that is no frame but explains those around it. */
    note: (text) => add({ note: text, at: Date.now() }),
  };
}

function row(entry) {
  if (entry.note) return el('p', { class: 'frame-note' }, clock(entry.at), el('span', {}, visible(entry.note)));
  const { direction, text, at, bytes } = entry;
  const frame = parse(text);
  const details = el('details', { class: `frame ${direction}` },
    el('summary', {},
      el('span', { class: 'frame-direction', title: direction === 'in' ? 'from the server' : 'to the server' },
        icon(direction), el('span', { class: 'unseen' }, direction)),
      clock(at),
      el('span', { class: frame?.type === 'error' ? 'frame-type bad' : 'frame-type' }, visible(String(frame?.type ?? '?'))),
      el('span', { class: 'frame-gist', dir: 'ltr' }, visible(gist(frame))),
      el('span', { class: 'frame-size' }, size(bytes))));
  details.addEventListener('toggle', () => {
    if (!details.open) return;
    if (details.childElementCount === 1) details.append(el('pre', { dir: 'ltr' }, pretty(frame, text)));
    details.scrollIntoView({ block: 'nearest' });
  });
  return details;
}

/** A frame's most telling value. */
function gist(frame) {
  if (!frame) return '';
  const data = frame.data ?? {};
  if (Array.isArray(data)) return `${data.length} message${data.length === 1 ? '' : 's'}`;
  const told = frame.content ?? data.content ?? data.message ?? frame.room ?? data.room ?? frame.to ?? frame.with ?? '';
  return String(told).slice(0, 120);
}

const pretty = (frame, text) => visible(frame ? JSON.stringify(frame, null, 2) : text);

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function clock(at) {
  const date = new Date(at);
  const pad = (number, width = 2) => String(number).padStart(width, '0');
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
  return el('time', { datetime: date.toISOString() }, text);
}

const size = (bytes) => (bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KiB`);
