/**
 * The pill that always tells how the connection is, and the button that ends a wait. It counts seconds, so it is no live
 * region itself: what changed is announced once, in words.
 */

import { announce } from './dom.js';

const WORDS = { idle: 'Not connected', connecting: 'Connecting…', open: 'Connected' };

/** @param {{$: import('./dom.js').Find, reconnect(): void, signInAgain(reason: string): void, signal: AbortSignal}} actions */
export function createConnection({ $, reconnect, signInAgain, signal }) {
  let change = { state: 'idle' };
  let lost = false; // whether the connection has been lost since it was last announced

  $('reconnect').addEventListener('click', () => {
    if (change.state === 'closed') signInAgain(change.reason);
    else reconnect();
  }, { signal });
  const ticking = setInterval(() => change.retryAt && draw(), 250);
  signal.addEventListener('abort', () => clearInterval(ticking));

  function draw() {
    const { state, retryAt } = change;
    const waiting = state === 'reconnecting' && retryAt !== undefined;
    setText($('pill-text'), words(change));
    $('pill').dataset.state = state;
    $('reconnect').hidden = !waiting && state !== 'closed';
    setText($('reconnect'), state === 'closed' ? 'Sign in again' : 'Reconnect now');
  }

  return {
    /** @param {import('./chat-client.js').StateChange} next */
    update(next) {
      change = next;
      draw();
      if (next.state === 'reconnecting' && !lost) announce('The connection is lost. Trying again.');
      if (next.state === 'open' && lost) announce('Connected again.');
      lost = next.state === 'reconnecting' || (lost && next.state !== 'open');
    },
  };
}

function words({ state, retryAt, reason }) {
  if (state === 'closed') return `Refused: ${reason ?? 'signed out'}`;
  if (state !== 'reconnecting') return WORDS[state];
  const seconds = Math.ceil(((retryAt ?? 0) - Date.now()) / 1000);
  return seconds > 0 ? `Reconnecting in ${seconds} s` : 'Reconnecting…';
}

/** Only real changes, so that a selection or a press on the button is not disturbed four times a second. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
