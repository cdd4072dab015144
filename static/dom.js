/**
 * The few helpers with which everything on the page is drawn. Text only ever becomes a text node: there is no way
 * through this file for a name or a message to become markup.
 */

/** @param {string} id */
export const $ = (id) => document.getElementById(id);

/** @typedef {(id: string) => HTMLElement} Find the element with this id in the part of the page that belongs to one person */

const REFERENCES = ['id', 'for', 'aria-controls', 'aria-labelledby', 'aria-describedby'];

/**
 * Puts what is in `template` into `root`, every id with `suffix` behind it, so that it can be on the page more than once.
 * @param {HTMLTemplateElement} template @param {Element} root @param {string} suffix @returns {Find}
 */
export function stamp(template, root, suffix) {
  const content = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  for (const name of REFERENCES) {
    for (const node of content.querySelectorAll(`[${name}]`)) node.setAttribute(name, node.getAttribute(name) + suffix);
  }
  root.replaceChildren(content);
  return (id) => document.getElementById(id + suffix);
}

/**
 * An element with attributes and children. `class`, `on…` handlers and booleans do what they look like.
 * Strings become text.
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** Somebody else's words in our sentence: isolated, so that their direction cannot reorder ours. */
export const bdi = (text, attributes) => el('bdi', attributes, text);

/** A drawing from the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

const segmenter = 'Segmenter' in Intl ? new Intl.Segmenter() : null;

/** The first letter of a name on a quiet colour that belongs to the user's id. */
export function avatar(userId, name, size = '') {
  const first = segmenter ? [...segmenter.segment(name)][0]?.segment : [...name][0];
  return el('span', { class: `avatar hue-${userId % 8} ${size}`, 'aria-hidden': 'true' }, bdi((first ?? '?').toUpperCase()));
}

/**
 * Makes the children of `parent` those that `items` describe, keeping the ones that are there already, so that focus,
 * selection and scroll position survive. An item whose `version` changed is updated in place if it can, else rebuilt.
 * @param {Element} parent
 * @param {{key: string, version: string, build(): HTMLElement, update?(node: HTMLElement): void}[]} items
 */
export function reconcile(parent, items) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let next = parent.firstElementChild;
  for (const item of items) {
    let node = old.get(item.key);
    old.delete(item.key);
    if (node && node.dataset.version !== item.version && !item.update) {
      if (node === next) next = node.nextElementSibling;
      node.remove();
      node = undefined;
    }
    if (!node) node = item.build();
    if (node.dataset.version !== item.version) item.update?.(node);
    node.dataset.key = item.key;
    node.dataset.version = item.version;
    if (node === next) next = node.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  for (const node of old.values()) node.remove();
}

/**
 * Calls `draw` at most once per frame, however often it is asked to, and gives it a quarter of the time at most: in a
 * storm of messages the rest is needed to take them in. A hidden page has no frames, hence the timer.
 */
export function batched(draw) {
  let asked = false;
  let free = 0; // the time from which on it may draw again
  const run = () => {
    asked = false;
    const start = performance.now();
    draw();
    const end = performance.now();
    free = end + 3 * (end - start);
  };
  return () => {
    if (asked) return;
    asked = true;
    const wait = document.hidden ? 100 : free - performance.now();
    if (wait > 16) setTimeout(run, wait);
    else requestAnimationFrame(run);
  };
}

/** Says something to a screen reader. */
export function announce(text) {
  $('announcer').textContent = text;
}

// Without AM and PM, for which the gutter beside a message has no room.
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });

export const formatTime = (date) => timeFormat.format(date);
export const formatFull = (date) => fullFormat.format(date);

export function formatDay(date) {
  const days = Math.round((startOfDay(new Date()) - startOfDay(date)) / 86_400_000);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return dayFormat.format(date);
}

export function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** "29 d 3 h", "1 h 5 min 3 s", "9 s": seconds no longer matter where days are counted. */
export function formatDuration(ms) {
  let seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [];
  for (const [unit, size] of [['d', 86_400], ['h', 3_600], ['min', 60], ['s', 1]]) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0 || (unit === 's' && parts.length === 0)) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, ms >= 86_400_000 ? 2 : 4).join(' ');
}
