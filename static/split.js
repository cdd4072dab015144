/**
 * One person on the page, or two side by side: who is there, who is shown where there is room for one only, and where
 * the pills stand. The second half comes in as a guest by itself, so that one click is enough to see both ends of a talk.
 */

import { $ } from './dom.js';
import { createPerson } from './person.js';
import { forget, keep, recall } from './storage.js';

const KEY = 'chat-server-split'; // '1' or '2' while there are two: which of them is shown

/**
 * @param {Pick<import('./person.js').Options, 'opened' | 'ended' | 'signedOut' | 'socket' | 'frames'> & {changed(): void}} options what each person is made with
 */
export function createSplit({ changed, ...options }) {
  const place = $('people');
  /** @type {import('./person.js').Person | null} */ let second = null;
  let wanted = false; // a second guest, as soon as the first is in

  const first = createPerson({
    ...options,
    root: $('person'),
    suffix: '',
    together: () => { wanted = true; },
    changed: () => {
      if (wanted && first.signedIn) open();
      draw();
    },
  });

  /** @param {boolean} [restored] after a reload, which takes no focus and signs nobody in */
  function open(restored = false) {
    wanted = false;
    if (second) return;
    place.classList.add('split');
    $('person-2').hidden = false;
    second = createPerson({ ...options, root: $('person-2'), suffix: '-2', changed: draw });
    $('person-close-2').hidden = false;
    $('person-close-2').addEventListener('click', close);
    $('join-form-2').closest('nav').setAttribute('aria-label', 'Conversations of the second guest');
    for (const person of [first, second]) person.placePill(null);
    if (restored || second.hasSession()) second.start(false);
    else second.startAsGuest();
    if (!restored) select('1');
    draw();
  }

  function close() {
    if (!second) return;
    second.stop();
    second = null;
    place.classList.remove('split');
    $('person-2').hidden = true;
    forget(KEY);
    first.placePill($('pill-place'));
    draw();
    $('split-toggle').focus();
  }

  /** Where there is room for one. @param {'1' | '2'} side */
  function select(side) {
    place.dataset.shown = side;
    keep(KEY, side);
    draw();
  }

  function draw() {
    $('bar').hidden = !first.signedIn && !second;
    $('split-toggle').setAttribute('aria-pressed', String(second !== null));
    $('which').hidden = second === null;
    for (const [person, side] of [[first, '1'], [second, '2']]) {
      const button = $(`which-${side}`);
      button.setAttribute('aria-pressed', String(place.dataset.shown === side));
      const name = person?.name || (side === '1' ? 'First' : 'Second');
      const shown = place.dataset.shown === side ? 0 : person?.unread ?? 0;
      const text = shown > 0 ? `${name} (${shown})` : name;
      if (button.textContent !== text) button.textContent = text;
    }
    changed();
  }

  $('split-toggle').addEventListener('click', () => (second ? close() : open()));
  for (const side of ['1', '2']) {
    $(`which-${side}`).addEventListener('click', () => select(side));
  }

  return {
    first,
    get people() { return second ? [first, second] : [first]; },
    start() {
      first.placePill($('pill-place'));
      const side = recall(KEY);
      if (side) {
        place.dataset.shown = side;
        open(true);
      }
      first.start();
    },
  };
}
