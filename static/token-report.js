/**
 * What a token says, drawn: faults that can be seen, every claim in words, times that go on counting. For the sign-in
 * card and for the tools; asks nobody.
 */

import { bdi, el, formatFull } from './dom.js';
import { expiryText, explainClaim, isMoment, readToken, relativeTime } from './token.js';

/**
 * @param {{whole?: boolean}} [options] `whole`: also the header and the claims as JSON
 */
export function createTokenReport({ whole = false } = {}) {
  const expiry = el('span', { class: 'claims-expiry' });
  const faults = el('ul', { class: 'token-faults', 'aria-label': 'What can be seen' });
  const list = el('dl', { class: 'claims-list' });
  const json = el('div', { class: 'token-json' });
  const node = el('div', { class: 'claims' },
    el('p', { class: 'claims-head' }, el('span', {}, 'Claims'), expiry), faults, list, whole && json);
  let text = '';
  let shown = readToken('');
  /** @type {(() => void)[]} */ let ticking = [];

  function tick() {
    if (!shown.clean) return;
    const now = readToken(text);
    // A fault may come with the time: it expires, or becomes valid.
    if (now.faults.join() !== shown.faults.join()) {
      shown = now;
      drawFaults();
    }
    expiry.textContent = expiryText(shown.claims);
    const exp = shown.claims?.exp;
    const lasts = Number.isInteger(exp) && Number(exp) * 1000 > Date.now();
    expiry.classList.toggle('good', lasts);
    expiry.classList.toggle('bad', !lasts);
    for (const draw of ticking) draw();
  }

  function drawFaults() {
    faults.replaceChildren(
      ...shown.faults.map((fault) => el('li', { class: 'bad' }, bdi(fault))),
      ...shown.hints.map((hint) => el('li', {}, bdi(hint))));
  }

  function drawClaim([name, value]) {
    const moment = isMoment(name, value) && el('span', { class: 'claim-moment' });
    if (moment) {
      const date = formatFull(new Date(Number(value) * 1000));
      const draw = () => { moment.textContent = `${date} (${relativeTime(Number(value))})`; };
      ticking.push(draw);
    }
    return [
      el('dt', {}, bdi(name)),
      el('dd', {}, bdi(JSON.stringify(value)), moment,
        el('span', { class: 'claim-words' }, explainClaim(name, shown.claims ?? {}))),
    ];
  }

  return {
    node,
    /** @param {string} pasted */
    show(pasted) {
      text = pasted;
      shown = readToken(text);
      ticking = [];
      list.replaceChildren(...Object.entries(shown.claims ?? {}).flatMap(drawClaim));
      json.replaceChildren(...drawJson('Header', shown.header), ...drawJson('Claims as JSON', shown.claims));
      drawFaults();
      tick();
    },
    tick,
    /** The token without what was pasted along. */
    get clean() { return shown.clean; },
  };
}

function drawJson(title, value) {
  if (!value) return [];
  return [el('details', { open: true }, el('summary', {}, title), el('pre', { dir: 'auto' }, JSON.stringify(value, null, 2)))];
}
