/** The left pane: rooms, direct messages, and who one is. */

import { avatar, bdi, el, reconcile } from './dom.js';

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

  return {
    render(list, active) {
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
    version: `${isActive} ${unread} ${conversation.name}`,
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

function label({ kind, peer, name }) {
  if (kind === 'room') return [el('span', { class: 'hash', 'aria-hidden': 'true' }, '#'), bdi(name, { class: 'conversation-name' })];
  return [avatar(peer, name, 'tiny'), bdi(name, { class: 'conversation-name' }), el('span', { class: 'user-id' }, `user ${peer}`)];
}

function badge(unread) {
  if (unread === 0) return '';
  return el('span', { class: 'badge' }, unread > 99 ? '99+' : String(unread), el('span', { class: 'unseen' }, ' unread'));
}
