/**
 * The composer of raw frames: what is written here goes over the wire as it is, right or wrong. It says beforehand what
 * the server will say; sending a wrong frame stays possible, since the server's answer may be what one wants to see.
 */

import { newNonce } from './chat-client.js';
import { el } from './dom.js';
import { asJson } from './inspector-copy.js';
import { duration, size, visible } from './inspector-row.js';
import { checkFrame } from './raw-check.js';
import { HIDDEN, atTokens, withoutToken } from './secrets.js';
import { forget, keep, recallJson } from './storage.js';

const HISTORY_KEY = 'chat-server-raw';
const HISTORY_MAX = 50;
const TOKEN = '$TOKEN'; // stands for one's own, so that it is never on the screen

/**
 * @typedef {{rooms: string[], room: string, peer: number, cursor: {lastId: number, epoch?: string}, limits?: Record<string, number>,
 *   token: string, send(text: string): boolean}} Sender
 * @param {{log: import('./inspector-log.js').FrameLog, sender(): (Sender & {who: string, name: string}) | null, jump(entry: any): void}} context
 */
export function createRaw({ log, sender, jump }) {
  let nextRef = 1;
  let recalled = -1; // which of the history is in the field
  let draft = '';
  let sent = null; // the entry whose reply is awaited
  const history = loadHistory();

  const text = el('textarea', {
    id: 'raw-text', rows: '9', dir: 'ltr', spellcheck: 'false', autocomplete: 'off', 'aria-label': 'The frame', 'aria-describedby': 'raw-verdict',
    oninput: () => { recalled = -1; draw(); }, onkeydown: keydown,
  });
  const template = el('select', { id: 'raw-template', 'aria-label': 'Template', onchange: ({ target }) => { fill(target.value); target.value = ''; } },
    el('option', { value: '' }, 'Template…'), ...Object.keys(TEMPLATES).map((type) => el('option', { value: type }, type)));
  const withRef = el('input', { type: 'checkbox', id: 'raw-ref', onchange: toggleRef });
  withRef.checked = true;
  const verdict = el('p', { id: 'raw-verdict', class: 'verdict', role: 'status' });
  const send = el('button', { class: 'button small primary', type: 'button', id: 'raw-send', onclick: submit }, 'Send');
  const answer = el('div', { class: 'raw-answer', id: 'raw-answer', 'aria-live': 'polite' });
  const list = el('ol', { class: 'raw-history', id: 'raw-history' });
  const node = el('div', { class: 'tool scrolls' }, el('div', { class: 'tool-pad' },
    el('div', { class: 'tool-row' }, template, el('label', { class: 'check' }, withRef, 'with a ref')),
    text, verdict,
    el('div', { class: 'tool-row' }, el('p', { class: 'hint' }, 'Ctrl+Enter sends. ↑ at the very start brings what was sent before.'), send),
    answer,
    el('h3', { class: 'section', id: 'raw-history-title' }, 'Sent before'), list));

  log.on((entry) => {
    if (!sent || entry.partner !== sent) return;
    answered(entry);
  });

  function fill(type) {
    const me = sender();
    if (!type || !me) return;
    const frame = { type, ...TEMPLATES[type](me), ...((withRef.checked || type === 'hello') && { ref: `raw-${nextRef++}` }) };
    put(JSON.stringify(frame, null, 2));
    text.focus();
  }

  function put(value) {
    text.value = value;
    text.setSelectionRange(0, 0);
    text.scrollTop = 0;
    draw();
  }

  /** Where what is written is a frame; else it holds for the next template. */
  function toggleRef() {
    try {
      const { ref, ...frame } = JSON.parse(text.value);
      put(JSON.stringify({ ...frame, ...(withRef.checked && { ref: ref ?? `raw-${nextRef++}` }) }, null, 2));
    } catch {
      // Not a frame yet.
    }
  }

  function submit() {
    const me = sender();
    const frame = text.value;
    if (!me || frame === '') return;
    const stop = log.on((entry) => { if (entry.raw && entry.direction === 'out') sent = entry; });
    const went = me.send(withToken(frame, me.token));
    stop();
    if (!went) return answer.replaceChildren(el('p', { class: 'problem' }, 'Not connected: nothing was sent.'));
    remember(frame, me.token);
    const hasRef = sent.ref !== undefined;
    answer.replaceChildren(el('p', { class: 'hint' },
      hasRef ? 'Sent. Waiting for the reply…' : 'Sent. Without a ref a reply cannot be told from others: see Frames.'));
    if (sent.partner) answered(sent.partner);
  }

  function answered(entry) {
    answer.replaceChildren(
      el('p', { class: entry.bad ? 'problem' : 'good' }, `${entry.type}, ${duration(entry.roundTripMs)}, ${size(entry.bytes)} `,
        el('button', { class: 'link', type: 'button', onclick: () => jump(entry) }, 'Show in Frames')),
      el('pre', { dir: 'ltr' }, visible(asJson(entry.text)).slice(0, 4_096)));
  }

  function keydown(event) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      return submit();
    }
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const atStart = text.selectionStart === 0 && text.selectionEnd === 0;
    if (!step || !atStart || recalled + step < -1 || recalled + step >= history.length) return;
    if (step < 0 && recalled < 0) return;
    event.preventDefault();
    if (recalled === -1) draft = text.value;
    recalled += step;
    put(recalled === -1 ? draft : history[recalled]);
  }

  /** What brings a token is kept without it. */
  function remember(frame, token) {
    const kept = withoutToken(frame, token, TOKEN);
    const before = history.indexOf(kept);
    if (before >= 0) history.splice(before, 1);
    history.unshift(kept);
    history.splice(HISTORY_MAX);
    recalled = -1;
    keep(HISTORY_KEY, JSON.stringify(history));
    drawHistory();
  }

  function draw() {
    const me = sender();
    const { problem, hints, bytes, contentBytes } = checkFrame(withToken(text.value, me?.token ?? TOKEN), me?.limits);
    const sizes = contentBytes === undefined ? `${bytes} bytes` : `${bytes} bytes, content ${contentBytes}`;
    const isEmpty = text.value === '';
    verdict.className = `verdict ${isEmpty ? 'quiet' : problem ? 'bad' : 'good'}`;
    const words = isEmpty ? 'Choose a template, or write one JSON object.' : problem
      ? `${problem.code}: ${visible(problem.message)}`
      : `A frame that the server takes: ${sizes}. ${visible(hints.join(' '))}`;
    if (verdict.textContent !== words) verdict.textContent = words; // it is read out when it changes
    text.setAttribute('aria-invalid', String(Boolean(problem) && !isEmpty));
    send.disabled = isEmpty;
    send.textContent = problem && !isEmpty ? 'Send anyway' : 'Send';
  }

  function drawHistory() {
    list.replaceChildren(...history.map((frame) => el('li', {}, el('button', {
      class: 'raw-past', type: 'button', dir: 'ltr', onclick: () => { put(frame); text.focus(); },
    }, visible(frame.replace(/\s+/g, ' ').slice(0, 160))))));
    if (history.length === 0) list.append(el('li', { class: 'hint' }, 'Nothing yet. It is kept as long as this tab, without tokens.'));
  }

  draw();
  drawHistory();
  return {
    node,
    show: draw,
    hide() {},
    /** Somebody else's connection, or its limits. */
    reset: draw,
    /** @param {string} frame */
    edit(frame) { put(atTokens(visible(asJson(frame)), HIDDEN, () => JSON.stringify(TOKEN))); text.focus(); },
    /** Nothing is left of what was written or sent. */
    forget() {
      history.length = 0;
      [recalled, draft, sent] = [-1, '', null];
      forget(HISTORY_KEY);
      answer.replaceChildren();
      drawHistory();
      put('');
    },
  };
}

/** Only where a token belongs: in a message it would be told to everybody. @param {string} frame @param {string} token */
const withToken = (frame, token) => atTokens(frame, TOKEN, () => JSON.stringify(token));

/** One for every request, filled with what is at hand. @type {Record<string, (me: Sender) => Record<string, unknown>>} */
const TEMPLATES = {
  join: ({ room }) => ({ room }),
  leave: ({ room }) => ({ room }),
  message: ({ room }) => ({ room, content: 'Hello!', nonce: newNonce() }),
  dm: ({ peer }) => ({ to: peer, content: 'Hello!', nonce: newNonce() }),
  room_history: ({ room }) => ({ room, limit: 10 }),
  dm_history: ({ peer }) => ({ with: peer, limit: 10 }),
  hello: () => ({}),
  resume: ({ rooms, cursor: { lastId, epoch } }) => ({ after: lastId, rooms, epoch }),
  auth: () => ({ token: TOKEN }),
  ping: () => ({}),
};

function loadHistory() {
  const kept = recallJson(HISTORY_KEY);
  return Array.isArray(kept) ? kept.filter((frame) => typeof frame === 'string').slice(0, HISTORY_MAX) : [];
}
