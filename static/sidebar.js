/**
 * The left pane: the rooms and direct messages with what was said last, the other rooms and the people of the server, and
 * who one is. It draws what `conversations.js` and `directory.js` know, and keeps the focus where it was.
 */

import { avatar, reconcile } from './dom.js';
import { conversationRow, personRow, roomRow } from './sidebar-rows.js';

const LISTS = ['rooms', 'more-rooms', 'dms', 'people-list'];

/**
 * @param {{$: import('./dom.js').Find, me: {id: number, username: string}, select(key: string): void, join(room: string): Promise<void>,
 *   openDm(id: number, name?: string): void, unread(conversation): number, directory: import('./directory.js').Directory,
 *   signal: AbortSignal}} actions
 */
export function createSidebar(actions) {
  const { $, me, select, join, openDm, unread, directory, signal } = actions;
  const drawIdentity = (user) => identity($, user);
  drawIdentity(me);
  const joinListed = listenToForms(actions);
  signal.addEventListener('abort', () => { for (const list of LISTS) $(list).replaceChildren(); });

  let reveal = null; // the list that was just asked for more, and from where on it is new
  for (const [kind, list] of [['rooms', 'more-rooms'], ['people', 'people-list'], ['dms', 'dms']]) {
    $(`${kind}-more`).addEventListener('click', ({ currentTarget }) => {
      reveal = { button: currentTarget, list: $(list), from: $(list).children.length };
      directory.more(kind);
    }, { signal });
  }

  function draw(list, active) {
    const item = (conversation) => conversationRow(conversation, { isActive: conversation === active, unread: unread(conversation), me, select });
    reconcile($('rooms'), list.filter(({ kind }) => kind === 'room').map(item));
    const dms = directory.dms(list.filter(({ kind }) => kind === 'dm').sort(byNewest));
    if (active?.kind === 'dm' && !dms.shown.includes(active)) dms.shown.push(active);
    reconcile($('dms'), dms.shown.map(item));
    $('no-dms').hidden = dms.shown.length > 0 || directory.isFailing('dms');
    $('dms-more').hidden = !dms.hasMore;
    $('dms-failing').hidden = !directory.isFailing('dms');
    const others = drawListed('rooms', 'more-rooms', 'more-part', directory.rooms, (room) => roomRow(room, joinListed));
    const people = drawListed('people', 'people-list', 'people-part', directory.people, (person) => personRow(person, openDm));
    $('no-rooms').hidden = others?.length !== 0;
    $('nobody').hidden = people?.some(({ online }) => online) !== false;
  }

  /** @returns {any[] | undefined} what is shown; none while the server has not told */
  function drawListed(kind, list, part, listed, item) {
    const isFailing = directory.isFailing(kind);
    $(part).hidden = !listed && !isFailing;
    $(`${kind}-failing`).hidden = !isFailing;
    reconcile($(list), listed?.shown.map(item) ?? []);
    $(`${kind}-more`).hidden = !listed?.hasMore;
    return listed?.shown;
  }

  /** The first of those that were asked for takes the focus from the button that asked, which may be gone. */
  function drawRevealed() {
    const first = reveal?.list.children[reveal.from]?.querySelector('button');
    if (!first) return;
    if ([reveal.button, document.body].includes(document.activeElement)) first.focus();
    reveal = null;
  }

  return {
    /** @param {import('./conversation.js').Conversation[]} list @param {import('./conversation.js').Conversation | undefined} active */
    render(list, active) {
      const backTo = keepFocus($('sidebar'));
      draw(list, active);
      backTo();
      drawRevealed();
    },
    drawIdentity,
  };
}

const newest = ({ last }) => last?.id ?? Infinity; // one that has just been opened has none yet
const byNewest = (one, other) => (newest(one) === newest(other) ? 0 : newest(other) - newest(one));

/** A row that moves loses the focus, and one that goes leaves it to its neighbour. @returns {() => void} to be called afterwards */
function keepFocus(pane) {
  const focused = document.activeElement;
  const item = pane.contains(focused) ? focused.closest('.conversations > li') : null;
  if (!item) return () => {};
  const list = item.parentElement;
  const place = [...list.children].indexOf(item);
  return () => {
    if (document.activeElement === focused || pane.offsetParent === null) return;
    const node = focused.isConnected ? focused : (list.children[place] ?? list.lastElementChild)?.querySelector('button');
    (node ?? pane.querySelector('.conversation, input'))?.focus({ preventScroll: true });
  };
}

/** What is typed: a room to join, somebody to write to. @returns {(room: string) => void} to join one by a click */
function listenToForms({ $, join, openDm, signal }) {
  const showProblem = (name, message) => {
    $(`${name}-problem`).textContent = message;
    $(`${name}-problem`).hidden = !message;
  };

  $('join-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const input = $('join-name');
    const room = input.value.trim().replace(/^#(?=.)/, '');
    if (!room) return showProblem('join', 'Give the room a name.');
    showProblem('join', '');
    try {
      await join(room);
      input.value = '';
    } catch (error) {
      showProblem('join', error.message);
    }
  }, { signal });
  $('join-name').addEventListener('input', () => showProblem('join', ''), { signal });

  $('dm-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const input = $('dm-id');
    const id = Number(input.value.trim());
    if (!Number.isSafeInteger(id) || id < 1) return showProblem('dm', 'A user id is a whole number, like 7.');
    showProblem('dm', '');
    input.value = '';
    openDm(id);
  }, { signal });
  $('dm-id').addEventListener('input', () => showProblem('dm', ''), { signal });

  return (room) => {
    showProblem('join', '');
    join(room).catch((error) => showProblem('join', error.message));
  };
}

function identity($, { id, username }) {
  $('me-avatar').replaceChildren(avatar(id, username));
  $('me-name').textContent = username;
  $('me-line').textContent = `you are user ${id}`;
}
