/**
 * A small line chart over the last five minutes: a title, the value of now, the range, a scale, and the same in words for
 * those who do not see it. Draws what it is given; where samples are missing the line has a gap.
 */

import { el } from './dom.js';

export const SPAN_MS = 5 * 60_000;
/** Samples come every second; when one is this late, something was missing in between. */
const GAP_MS = 2_500;
const WIDTH = 300;
const HEIGHT = 60;
const SVG = 'http://www.w3.org/2000/svg';

const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const small = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });

/** @param {number} value */
export const formatNumber = (value) => (Math.abs(value) < 10 && !Number.isInteger(value) ? small : number).format(value);
/** @param {number} value in milliseconds */
export const formatMs = (value) => (value >= 1000 ? `${formatNumber(value / 1000)} s` : `${formatNumber(value)} ms`);
/** @param {number} value */
export function formatBytes(value) {
  const power = value < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(value) / 10));
  return `${formatNumber(value / 1024 ** power)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
}

/** @typedef {{name?: string, value(sample: any): number | null}} Series `null`: nothing to show at that moment */

/**
 * @param {{title: string, series: Series[], format?: (value: number) => string, binary?: boolean, least?: number}} options
 *   `binary`: the scale goes in powers of two; `least`: it does not end below this
 */
export function createChart({ title, series, format = formatNumber, binary = false, least = 1 }) {
  const lines = series.map((_, index) => svgNode('path', { class: `chart-line line-${index}`, 'vector-effect': 'non-scaling-stroke' }));
  const grid = [0, 0.5, 1].map((share) => svgNode('line', {
    class: 'chart-grid', x1: 0, x2: WIDTH, y1: HEIGHT * share, y2: HEIGHT * share, 'vector-effect': 'non-scaling-stroke',
  }));
  const picture = svgNode('svg', { class: 'chart-picture', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
  picture.append(...grid, ...lines);
  const values = series.map(() => el('span', { class: 'chart-value' }, '–'));
  const top = el('span', {});
  const range = el('span', { class: 'chart-range' });
  const node = el('figure', { class: 'chart' },
    el('figcaption', {}, el('span', { class: 'chart-title' }, title), ...series.map(({ name }, index) => el('span', { class: 'chart-now' },
      name && el('span', { class: `chart-key line-${index}`, 'aria-hidden': 'true' }), name && `${name} `, values[index]))),
    el('div', { class: 'chart-plot' },
      el('div', { class: 'chart-scale', 'aria-hidden': 'true' }, top, el('span', {}, '0')), picture),
    el('p', { class: 'chart-foot' }, el('span', { 'aria-hidden': 'true' }, '5 min ago'), range, el('span', { 'aria-hidden': 'true' }, 'now')));

  return {
    node,
    /** @param {{at: number}[]} samples oldest first @param {number} end the time at the right edge */
    draw(samples, end) {
      const shown = samples.filter(({ at }) => at > end - SPAN_MS - GAP_MS && at <= end + GAP_MS);
      const columns = series.map(({ value }) => shown.map(value));
      const all = columns.flat().filter((value) => value !== null);
      const highest = Math.max(0, ...all);
      const scale = niceTop(Math.max(highest, least), binary);
      top.textContent = format(scale);
      range.textContent = inRange(all, format);
      const isNow = shown.length > 0 && end - shown[shown.length - 1].at <= GAP_MS;
      const now = columns.map((column) => {
        const value = isNow ? column[column.length - 1] : null;
        return value === null ? '–' : format(value);
      });
      for (const [index, column] of columns.entries()) {
        lines[index].setAttribute('d', drawLine(shown, column, end, scale));
        values[index].textContent = now[index];
      }
      picture.setAttribute('aria-label', inWords(title, series, now, range.textContent));
    },
  };
}

function inRange(values, format) {
  if (values.length === 0) return 'nothing yet';
  const [lowest, highest] = [Math.min(...values), Math.max(...values)].map(format);
  return lowest === highest ? `always ${lowest}` : `${lowest} to ${highest}`;
}

function inWords(title, series, now, range) {
  const values = series.map(({ name }, index) => `${name ? `${name} ` : ''}${now[index] === '–' ? 'unknown' : now[index]}`);
  return `${title}: now ${values.join(', ')}; over the last 5 minutes ${range}`;
}

/** A path through the values, in a piece of its own after every gap. */
function drawLine(samples, values, end, scale) {
  let path = '';
  let last = -Infinity;
  let alone = false; // a piece of one point would be invisible
  for (const [index, { at }] of samples.entries()) {
    const value = values[index];
    if (value === null) {
      last = -Infinity;
      continue;
    }
    const x = (WIDTH - ((end - at) / SPAN_MS) * WIDTH).toFixed(1);
    const y = (HEIGHT - (value / scale) * HEIGHT).toFixed(1);
    const joined = at - last <= GAP_MS;
    path += joined ? `L${x} ${y}` : `${alone ? 'h0.1' : ''}M${x} ${y}`;
    alone = !joined;
    last = at;
  }
  return alone ? `${path}h0.1` : path;
}

/** The next round number: 1, 2 or 5 and zeros, or a power of two. */
function niceTop(value, binary) {
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return (([1, 2, 5].find((step) => step * power >= value * 0.999999)) ?? 10) * power;
}

function svgNode(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  return node;
}
