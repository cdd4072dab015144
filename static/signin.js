/** The sign-in card: as a guest, with an account, or with a token of one's own. */

import * as api from './api.js';
import { announce } from './dom.js';
import { cleanToken } from './token.js';
import { createVerdict } from './token-doctor.js';
import { createTokenReport } from './token-report.js';

const TABS = ['login', 'register', 'token'];

/**
 * @param {{$: import('./dom.js').Find, signal: AbortSignal, signedIn(token: string, user: {id: number, username: string}): void,
 *   together?: () => void}} options `together`: a second guest is to be beside the one who comes in
 */
export function createSignIn({ $, signal, signedIn, together }) {
  const enter = ({ token, user }) => signedIn(token, user);
  const asGuest = async (username = '') => enter(await api.guest(username.trim()));
  const claims = createClaims($, signal);
  let mode = ''; // whose tokens the server takes, as far as it has said

  onSubmit($('guest-form'), ({ username }) => asGuest(username));
  onSubmit($('login-form'), async ({ username, password }) => enter(await api.login(username, password)));
  onSubmit($('register-form'), async ({ username, password }) => enter(await api.register(username, password)));
  onSubmit($('token-form'), async ({ token }) => {
    const clean = cleanToken(token);
    if (!clean) throw new api.ApiError({ message: 'Paste a token first.', field: 'token' });
    enter({ token: clean, user: (await api.me(clean)).user });
  });
  setUpTabs($);
  $('together').hidden = !together;
  $('together').addEventListener('click', () => { together(); $('guest-form').requestSubmit(); });

  return {
    asGuest,
    get mode() { return mode; },
    /** @param {string} [notice] why one has to sign in (again) @param {boolean} [focus] whether the first field takes it */
    async show(notice = '', focus = true) {
      $('chat').hidden = true;
      $('signin').hidden = false;
      setText($('signin-notice'), notice);
      try {
        const health = await api.health();
        mode = health.mode;
        arrange($, health, focus);
      } catch (error) {
        arrange($, { mode: 'integrated' }, focus);
        $('integrated-line').hidden = true;
        setText($('signin-notice'), notice || error.message);
      }
    },
    hide() {
      $('signin').hidden = true;
      for (const form of $('signin').querySelectorAll('form')) form.reset();
      claims.show();
    },
  };
}

/** Shows the ways in that this server has. */
function arrange($, { version, mode, signup = true }, focus) {
  const standalone = mode === 'standalone';
  if (version) $('server-line').textContent = `Version ${version}, ${mode}.`;
  $('guest-form').hidden = $('signin-or').hidden = !(standalone && signup);
  $('signin-tabs').hidden = !standalone;
  $('tab-register').hidden = !signup;
  $('integrated-line').hidden = standalone;
  for (const name of TABS) $(`${name}-form`).querySelector('[type=submit]').classList.toggle('primary', $('guest-form').hidden);
  selectTab($, standalone ? 'login' : 'token');
  if (focus && standalone && signup) $('guest-name').focus();
}

function setUpTabs($) {
  for (const name of TABS) $(`tab-${name}`).addEventListener('click', () => selectTab($, name));
  $('signin-tabs').addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const shown = TABS.filter((name) => !$(`tab-${name}`).hidden);
    const current = shown.findIndex((name) => $(`tab-${name}`) === document.activeElement);
    const name = shown[(current + step + shown.length) % shown.length];
    selectTab($, name);
    $(`tab-${name}`).focus();
  });
}

function selectTab($, selected) {
  for (const name of TABS) {
    const tab = $(`tab-${name}`);
    tab.setAttribute('aria-selected', String(name === selected));
    tab.tabIndex = name === selected ? 0 : -1;
    $(`${name}-form`).hidden = name !== selected;
  }
}

/** Runs `action` with the form's values; what goes wrong is shown beside the input that it is about. */
function onSubmit(form, action) {
  form.addEventListener('input', () => showProblem(form, null));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = form.querySelector('[type=submit]');
    if (button.disabled) return;
    button.disabled = true;
    showProblem(form, null);
    try {
      await action(Object.fromEntries(new FormData(form)));
    } catch (error) {
      showProblem(form, error);
    }
    button.disabled = false;
  });
}

function showProblem(form, error) {
  const field = error?.field && form.elements.namedItem(error.field) ? error.field : '';
  for (const place of form.querySelectorAll('[data-problem]')) {
    const name = place.dataset.problem;
    const mine = Boolean(error) && name === field;
    place.hidden = !mine;
    place.textContent = mine ? error.message : '';
    const input = name && form.elements.namedItem(name);
    if (!input) continue;
    place.id ||= `${form.id}-${name}-problem`;
    input.setAttribute('aria-describedby', place.id);
    input.setAttribute('aria-invalid', String(mine));
    if (mine) input.focus();
  }
}

/** What the pasted token says about itself, the time that it has left, and on request what the server thinks of it. */
function createClaims($, signal) {
  const report = createTokenReport();
  const verdict = createVerdict({ api: api.exchange, announce });
  const check = $('token-check');
  $('claims').append(report.node, verdict.node);
  const show = () => {
    report.show($('token-input').value);
    verdict.clear(report.clean);
    verdict.node.hidden = true;
    $('claims').hidden = check.hidden = !report.clean;
  };
  $('token-input').addEventListener('input', show);
  check.addEventListener('click', () => verdict.ask(true));
  const ticking = setInterval(report.tick, 1000);
  signal.addEventListener('abort', () => clearInterval(ticking));
  return { show };
}

function setText(node, text) {
  node.textContent = text;
  node.hidden = !text;
}
