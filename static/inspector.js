/**
 * The inspector: every frame in both directions, as it was sent, with what became of the connection in between. It draws
 * what the log holds and the filters let through; a storm of frames costs one drawing per screen frame, of the newest.
 */

import { batched, el } from './dom.js';
import { LOG_MAX_FRAMES, matches } from './inspector-log.js';
import { openDetails, row } from './inspector-row.js';

const AT_BOTTOM_PX = 24;
const ROWS_AT_ONCE = 150; // what a slow machine draws without a visible halt

/**
 * @param {{log: import('./inspector-log.js').FrameLog, people(): {who: string, name: string, userId: number}[],
 *   token(who: string): string, reveal(entry: any): void, edit(text: string): void}} context
 */
export function createInspector(context) {
  const { log, people } = context;
  const place = el('div', { class: 'frames', id: 'frames', tabindex: '0', role: 'region', 'aria-label': 'Frames in both directions' });
  const line = el('p', { class: 'hint', id: 'frames-line' });
  const pause = el('button', { class: 'button small', type: 'button', id: 'frames-pause', 'aria-pressed': 'false', onclick: () => setPaused(!paused) }, 'Pause');
  const clear = el('button', { class: 'button small', type: 'button', id: 'frames-clear', onclick: () => { log.clear(); reset(); } }, 'Clear');
  const about = el('p', { class: 'chip', id: 'frames-about', hidden: true });
  const filter = { who: '', direction: '', type: '', place: '', text: '', message: null };
  const controls = createFilters(filter, reset);
  const node = el('div', { class: 'tool' },
    el('div', { class: 'tool-head' }, controls.node, about, el('div', { class: 'tool-row' }, line, pause, clear)), place);

  /** @type {any[]} what came and is not drawn yet */ let waiting = [];
  let paused = false;
  let shown = false;
  let toOpen = null; // an entry whose row is on its way
  const oldest = () => log.entries[0]?.n ?? 0; // what the log has forgotten nobody else keeps

  log.on((entry) => {
    controls.saw(entry);
    if (!matches(entry, filter)) return;
    waiting.push(entry);
    if (waiting.length > log.entries.length) waiting = waiting.filter(({ n }) => n >= oldest());
    draw();
  });

  const draw = batched(() => {
    if (!shown) return;
    drawLine();
    controls.draw(people());
    if (paused) return;
    const atBottom = place.scrollHeight - place.scrollTop - place.clientHeight < AT_BOTTOM_PX;
    const fresh = waiting.splice(0, ROWS_AT_ONCE);
    while (Number(place.firstElementChild?.dataset.n) < oldest()) place.firstElementChild.remove();
    const several = people().length > 1;
    place.append(...fresh.map((entry) => row(entry, { ...context, several })));
    if (!place.querySelector('[tabindex="0"]')) place.querySelector('summary')?.setAttribute('tabindex', '0');
    if (atBottom) place.scrollTop = place.scrollHeight;
    if (waiting.length > 0) draw();
    if (toOpen && openDetails(place, toOpen)) toOpen = null;
  });

  /** From the log anew: another filter, or other people. */
  function reset() {
    place.replaceChildren();
    controls.seen(log.entries);
    waiting = log.entries.filter((entry) => matches(entry, filter));
    const { message } = filter;
    about.hidden = !message;
    if (message) {
      about.replaceChildren(message.id === undefined ? 'The frames of a message that is on its way' : `The frames of message ${message.id}`,
        el('button', { class: 'link', type: 'button', onclick: () => { filter.message = null; reset(); place.focus(); } }, 'Show all'));
    }
    draw();
  }

  function setPaused(wanted) {
    paused = wanted;
    pause.textContent = paused ? 'Resume' : 'Pause';
    pause.setAttribute('aria-pressed', String(paused));
    draw();
  }

  function drawLine() {
    const held = waiting.length;
    const count = held >= LOG_MAX_FRAMES ? `${held} or more` : held;
    const text = paused ? (held > 0 ? `Paused, ${count} held back.` : 'Paused.') : `The last ${LOG_MAX_FRAMES}, as sent.`;
    if (line.textContent !== text) line.textContent = text;
  }

  // One stop for the Tab key, however many frames there are; the arrows go from one to the next.
  place.addEventListener('keydown', (event) => {
    const current = event.target.closest?.('summary');
    if (!current && event.target !== place) return;
    const all = [...place.querySelectorAll('summary')];
    const at = all.indexOf(current);
    const next = { ArrowDown: all[at + 1], ArrowUp: at < 0 ? all.at(-1) : all[at - 1], Home: all[0], End: all.at(-1) }[event.key];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  place.addEventListener('focusin', ({ target }) => {
    if (!target.matches('summary')) return;
    for (const other of place.querySelectorAll('summary[tabindex="0"]')) other.setAttribute('tabindex', '-1');
    target.setAttribute('tabindex', '0');
  });

  return {
    node,
    show() { shown = true; draw(); },
    hide() { shown = false; },
    /** Somebody came or went. */
    reset,
    /** Only what speaks of this message. @param {string} who @param {{id?: number, nonce?: string}} message */
    showMessage(who, message) {
      controls.clear();
      Object.assign(filter, { who, message });
      setPaused(false);
      reset();
    },
    /** Opens one frame's details. */
    open(entry) {
      if (paused) setPaused(false);
      if (!matches(entry, filter)) {
        controls.clear();
        reset();
      }
      toOpen = entry;
      draw();
    },
  };
}

/** The row of filters. It offers what has been seen. */
function createFilters(filter, changed) {
  const known = { type: new Set(), place: new Set() };
  let people = [];
  const choose = (name, label) => el('select', { 'aria-label': label, id: `filter-${name}`, onchange: ({ target }) => { filter[name] = target.value; changed(); } });
  const text = el('input', {
    type: 'search', id: 'filter-text', 'aria-label': 'Only frames with this text', placeholder: 'Text in the frame', autocomplete: 'off', spellcheck: 'false',
    oninput: ({ target }) => { filter.text = target.value; changed(); },
  });
  const selects = { type: choose('type', 'Type'), place: choose('place', 'Room or person'), direction: choose('direction', 'Direction'), who: choose('who', 'Whose frames') };
  const node = el('div', { class: 'filters', role: 'group', 'aria-label': 'Filter the frames' }, text, ...Object.values(selects));

  function offer(name, all, options) {
    const select = selects[name];
    const version = JSON.stringify(options);
    if (select.dataset.version !== version) {
      select.dataset.version = version;
      select.replaceChildren(el('option', { value: '' }, all), ...options.map(([value, label]) => el('option', { value }, label)));
    }
    select.value = filter[name];
  }

  const saw = (entry) => {
    if (entry.note !== undefined) return;
    known.type.add(entry.type);
    for (const place of entry.places) known.place.add(place);
  };

  return {
    node,
    saw,
    /** What there is now. */
    seen(entries) {
      for (const [name, values] of Object.entries(known)) {
        values.clear();
        if (filter[name]) values.add(filter[name]); // what is chosen stays a choice
      }
      entries.forEach(saw);
    },
    clear() {
      Object.assign(filter, { who: '', direction: '', type: '', place: '', text: '', message: null });
      text.value = '';
    },
    draw(now = people) {
      people = now;
      offer('type', 'All types', [...known.type].sort().map((type) => [type, type]));
      offer('place', 'Everywhere', [...known.place].sort().map((place) => [place, placeName(place)]));
      offer('direction', 'In and out', [['in', 'In'], ['out', 'Out']]);
      offer('who', 'Everybody', people.map(({ who, name }) => [who, name]));
      selects.who.hidden = people.length < 2;
    },
  };
}

const placeName = (place) => place.replace(/^room:/, '#').replace(/^dm:/, 'DM with user ');
