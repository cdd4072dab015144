/** The left pane: rooms, direct messages, and who one is. */

import { avatar, bdi, el, formatDay, formatTime, reconcile, startOfDay } from './dom.js';

const BOUND = 20; // of a list, until one asks for more

/**
 * @param {{$: import('./dom.js').Find, me: {id: number, username: string}, select(key: string): void, join(room: string): Promise<void>,
 *   openDm(id: number): void, unread(conversation): number, signal: AbortSignal}} actions
 */
export function createSidebar(actions) {
  const { $, me, select, join, openDm, unread, signal } = actions;
  const drawIdentity = (user) => identity($, user);
  const showProblem = (name, message) => {
    $(`${name}-problem`).textContent = message;
    $(`${name}-problem`).hidden = !message;
  };
  drawIdentity(me);
  signal.addEventListener('abort', () => { $('rooms').replaceChildren(); $('dms').replaceChildren(); });

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

  let lists = { rooms: null, people: null };
  const bounds = { people: BOUND, rooms: BOUND };
  let joined = new Set();

  function renderLists() {
    const people = (lists.people ?? []).filter(({ id }) => id !== me.id).sort((a, b) => Number(b.online) - Number(a.online));
    $('people-part').hidden = lists.people === null;
    $('nobody').hidden = people.length > 0;
    $('people-more').hidden = people.length <= bounds.people;
    reconcile($('people-list'), people.slice(0, bounds.people).map((person) => personRow(person, openDm)));
    const more = (lists.rooms ?? []).filter(({ name }) => !joined.has(name));
    $('more-part').hidden = more.length === 0;
    $('rooms-more').hidden = more.length <= bounds.rooms;
    reconcile($('more-rooms'), more.slice(0, bounds.rooms).map((room) => roomRow(room, (name) => {
      join(name).catch((error) => showProblem('join', error.message));
    })));
  }
  for (const name of ['people', 'rooms']) {
    $(`${name}-more`).addEventListener('click', () => { bounds[name] += BOUND; renderLists(); }, { signal });
  }

  return {
    /** @param {{rooms: any[] | null, people: any[] | null}} next what the server lists; null: it does not, or not now */
    listed(next) {
      lists = { rooms: next.rooms ?? lists.rooms, people: next.people ?? lists.people };
      renderLists();
    },
    render(list, active) {
      joined = new Set(list.map(({ room }) => room));
      renderLists();
      const item = (conversation) => row(conversation, conversation === active, unread(conversation), select);
      reconcile($('rooms'), list.filter(({ kind }) => kind === 'room').map(item));
      reconcile($('dms'), list.filter(({ kind }) => kind === 'dm').map(item));
    },
    drawIdentity,
  };
}

function identity($, { id, username }) {
  $('me-avatar').replaceChildren(avatar(id, username));
  $('me-name').textContent = username;
  $('me-line').textContent = `you are user ${id}`;
}

function row(conversation, isActive, unread, select) {
  return {
    key: conversation.key,
    version: `${isActive} ${unread} ${conversation.name} ${conversation.last?.id ?? ''}`,
    build: () => el('li', {}, el('button', { type: 'button', class: 'conversation', onclick: () => select(conversation.key) })),
    update(node) {
      const button = node.firstElementChild;
      button.classList.toggle('unread', unread > 0);
      if (isActive) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
      button.replaceChildren(...label(conversation), badge(unread));
    },
  };
}

function label({ kind, peer, name, last }) {
  const title = bdi(name, { class: 'conversation-name' });
  if (kind === 'room') return [el('span', { class: 'hash', 'aria-hidden': 'true' }, '#'), el('span', { class: 'conversation-text' }, title, lastLine(last))];
  return [avatar(peer, name, 'tiny'), el('span', { class: 'conversation-text' }, title, lastLine(last))];
}

/** Who said what last, and when. */
function lastLine(last) {
  if (!last) return '';
  const at = new Date(last.timestamp);
  const today = startOfDay(at) === startOfDay(new Date());
  return el('span', { class: 'last' }, el('span', { class: 'last-text' }, bdi(last.username), ': ', bdi(last.content.slice(0, 120))),
    el('time', { datetime: last.timestamp }, today ? formatTime(at) : formatDay(at)));
}

function personRow({ id, username, online }, openDm) {
  return {
    key: String(id),
    version: `${online} ${username}`,
    build: () => el('li', {}, el('button', { type: 'button', class: 'conversation', onclick: () => openDm(id, username) },
      el('span', { class: online ? 'presence online' : 'presence', 'aria-hidden': 'true' }),
      bdi(username, { class: 'conversation-name' }), el('span', { class: 'user-id' }, online ? 'online' : 'away'))),
  };
}

function roomRow({ name, memberCount }, join) {
  return {
    key: name,
    version: String(memberCount),
    build: () => el('li', {}, el('button', { type: 'button', class: 'conversation', title: 'Join this room', onclick: () => join(name) },
      el('span', { class: 'hash', 'aria-hidden': 'true' }, '#'), bdi(name, { class: 'conversation-name' }),
      el('span', { class: 'user-id' }, memberCount === 1 ? '1 member' : `${memberCount} members`))),
  };
}

function badge(unread) {
  if (unread === 0) return '';
  return el('span', { class: 'badge' }, unread > 99 ? '99+' : String(unread), el('span', { class: 'unseen' }, ' unread'));
}
