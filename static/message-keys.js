/**
 * The keys of the list of messages. It is one stop for Tab, however long it is: Up and Down go from message to message,
 * Home and End to the first and the last, Right and Left into what one can do with a message and back. A redraw takes
 * the focus from no message, and Tab comes in where one is reading.
 */

const ROWS = '.message, .history-notice';
const SETTLED_MS = 100; // after the last movement of a scroll

/**
 * @param {{$: import('./dom.js').Find, signal: AbortSignal, isFollowing(): boolean}} options `isFollowing`: whether the newest message is in sight
 */
export function createMessageKeys({ $, signal, isFollowing }) {
  const list = $('messages');
  const scroller = $('scroller');
  let current = null; // the row that Tab comes to
  let timer = 0;

  const rows = () => [...list.querySelectorAll(ROWS)];
  const hasFocus = () => list.contains(document.activeElement);

  function setCurrent(row) {
    if (current === row) return;
    if (current) current.tabIndex = -1;
    current = row;
    if (row) row.tabIndex = 0;
  }

  function inSight(row) {
    const [{ top, bottom }, view] = [row.getBoundingClientRect(), scroller.getBoundingClientRect()];
    return bottom > view.top + 1 && top < view.bottom - 1;
  }

  /** Where Tab comes in: at the last one in sight, as the composer is below it. */
  function settle() {
    if (hasFocus() && current?.isConnected) return;
    const all = rows();
    setCurrent((isFollowing() ? null : all.findLast(inSight)) ?? all.at(-1) ?? null);
    // Without a message the pane itself is the stop.
    scroller.tabIndex = current ? -1 : 0;
  }

  function goTo(row) {
    if (!row) return;
    setCurrent(row);
    row.focus();
  }

  /** From the row that has the focus, or from what is in sight when that one was scrolled away. */
  function step(by) {
    const all = rows();
    if (current && inSight(current)) {
      if (by < 0 && current === all[0]) scroller.scrollTop = 0;
      return goTo(all[all.indexOf(current) + by]);
    }
    return goTo(by < 0 ? all.findLast(inSight) : all.find(inSight));
  }

  function stepInside(row, by) {
    const stops = [row, ...row.querySelectorAll('button')];
    const next = stops[stops.indexOf(document.activeElement) + by];
    next?.focus();
    return Boolean(next);
  }

  /** @returns {boolean} whether the key was one of these */
  function take(key, row) {
    if (key === 'ArrowUp' || key === 'ArrowDown') step(key === 'ArrowUp' ? -1 : 1);
    else if (key === 'ArrowRight' || key === 'ArrowLeft') return stepInside(row, key === 'ArrowRight' ? 1 : -1);
    else if (key === 'Escape' && document.activeElement !== row) row.focus();
    else if (key === 'Home') {
      goTo(rows()[0]);
      scroller.scrollTop = 0;
    } else if (key === 'End') {
      goTo(rows().at(-1));
      scroller.scrollTop = scroller.scrollHeight;
    } else return false;
    return true;
  }

  list.addEventListener('keydown', (event) => {
    const row = event.target.closest(ROWS);
    if (!row || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (take(event.key, row)) event.preventDefault();
  }, { signal });
  list.addEventListener('focusin', ({ target }) => setCurrent(target.closest(ROWS)), { signal });
  scroller.addEventListener('scroll', () => {
    clearTimeout(timer);
    timer = setTimeout(settle, SETTLED_MS);
  }, { signal, passive: true });
  signal.addEventListener('abort', () => clearTimeout(timer));

  return {
    /** To be called before the list is drawn anew. @returns {() => void} to be called afterwards */
    keep() {
      const focused = hasFocus() ? document.activeElement : null;
      const row = focused?.closest(ROWS);
      if (!row) return settle;
      const { key } = row.dataset;
      const place = rows().indexOf(row);
      const inside = [row, ...row.querySelectorAll('button')].indexOf(focused);
      return () => {
        if (document.activeElement === focused) return;
        const all = rows();
        // One that was drawn anew, or the next one where it is gone.
        const same = all.find((candidate) => candidate.dataset.key === key) ?? all[Math.min(place, all.length - 1)];
        const stops = same ? [same, ...same.querySelectorAll('button')] : [scroller];
        (stops[inside] ?? stops[0]).focus({ preventScroll: true });
        settle();
      };
    },
  };
}
