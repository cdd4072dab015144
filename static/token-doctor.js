/**
 * The token doctor: what a token says, what is wrong with it as far as can be seen, and the server's own verdict. Works on
 * the token of this session or on a pasted one, which is kept in memory only and goes when the page does.
 */

import { bdi, el } from './dom.js';
import { createTokenReport } from './token-report.js';

/** Somebody who types is not asked about after every letter: each refusal is counted and logged by the server. */
const ASK_AFTER_MS = 400;

/**
 * @param {{signal: AbortSignal, session(): {token: string, user: {id: number, username: string}} | null, announce(text: string): void,
 *   api(path: string, options?: {token?: string}): Promise<{status: number, body: any}>}} context
 */
export function createTokenDoctor({ signal, session, api, announce }) {
  const report = createTokenReport({ whole: true });
  const verdict = createVerdict({ api, announce });
  const own = el('button', { type: 'button', class: 'button small', onclick: () => choose(false) }, 'This session’s token');
  const other = el('button', { type: 'button', class: 'button small', onclick: () => { choose(true); input.focus(); } }, 'Another token');
  const input = el('textarea', { id: 'doctor-input', rows: '4', autocomplete: 'off', spellcheck: 'false', placeholder: 'eyJ…' });
  const field = el('div', { class: 'field' },
    el('label', { for: 'doctor-input' }, 'Token to look at ', el('span', { class: 'quiet' }, '(kept in memory only)')), input);
  const empty = el('p', { class: 'hint' }, 'Paste a token to see what it says and what the server thinks of it.');
  const node = el('div', { class: 'tool-pad doctor' },
    el('div', { class: 'doctor-choice', role: 'group', 'aria-label': 'Which token' }, own, other),
    field, empty, verdict.node, report.node,
    el('p', { class: 'hint' }, 'The same on the server’s machine: ', el('code', {}, 'chat-server token --check'),
      ', which reads the token from standard input.'));

  let pasted = false;
  let shown = /** @type {string | null} */ (null);
  let ticking = 0;
  let asking = 0;

  input.addEventListener('input', () => draw(ASK_AFTER_MS));
  signal.addEventListener('abort', hide);

  function choose(another) {
    pasted = another;
    draw(0);
  }

  function draw(wait) {
    const { token } = session() ?? { token: '' };
    own.hidden = !token;
    own.setAttribute('aria-pressed', String(!pasted));
    other.setAttribute('aria-pressed', String(pasted));
    field.hidden = !pasted;
    const text = pasted ? input.value : token;
    if (text === shown) return;
    shown = text;
    report.show(text);
    report.node.hidden = empty.hidden = false;
    if (report.clean) empty.hidden = true;
    else report.node.hidden = true;
    clearTimeout(asking);
    verdict.clear(report.clean);
    if (report.clean) asking = setTimeout(() => verdict.ask(pasted), wait);
  }

  function hide() {
    clearInterval(ticking);
    clearTimeout(asking);
    ticking = 0;
  }

  return {
    node,
    show() {
      shown = null;
      draw(0);
      ticking ||= setInterval(() => report.tick(), 1000);
    },
    hide,
    /** Somebody else is signed in, or the token is another. */
    reset() {
      if (!session()) {
        pasted = false;
        input.value = '';
      }
      if (ticking) draw(0);
    },
  };
}

/** What the server says about one token, in its own words. For the sign-in card and for the tools. */
export function createVerdict({ api, announce }) {
  const words = el('p', { class: 'verdict-words' });
  const again = el('button', { type: 'button', class: 'button small', onclick: () => ask(true) }, 'Ask again');
  const node = el('section', { class: 'token-verdict', 'aria-label': 'The server’s verdict', hidden: true }, words, again);
  let token = '';
  let asked = 0;

  async function ask(aloud = false) {
    const mine = ++asked;
    const say = (state, ...content) => {
      if (mine !== asked) return;
      node.dataset.state = state;
      words.replaceChildren(...content);
      if (aloud && state !== 'asking') announce(words.textContent ?? '');
    };
    node.hidden = false;
    say('asking', 'Asking the server…');
    if (/[^\x21-\x7e]/.test(token)) return say('bad', 'The server cannot be asked: a request’s header cannot carry some of these letters.');
    try {
      const { status, body } = await api('/api/v1/auth/me', { token });
      if (status === 200) {
        const { id, username, role } = body.user;
        say('good', 'The server takes it: user ', el('strong', {}, String(id)), ', ', el('strong', {}, bdi(username)), ', role ', bdi(role), '.');
      } else if (body?.error) {
        say('bad', 'The server refuses it: ', el('strong', { class: 'verdict-reason' }, bdi(body.error.message)));
      } else {
        say('bad', `The server answered ${status} without a reason.`);
      }
    } catch {
      say('away', 'The server cannot be reached. Is it running?');
    }
  }

  return {
    node,
    ask,
    /** Forgets the last answer; the next question is about `next`. @param {string} next */
    clear(next) {
      asked++;
      token = next;
      node.hidden = !next;
      node.dataset.state = 'asking';
      words.textContent = '';
    },
  };
}
