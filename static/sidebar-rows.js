/** The rows of the left pane, as `reconcile` draws them: a conversation, a room that is not joined, a person. */

import { avatar, bdi, el, formatFull, formatTime, startOfDay } from './dom.js';

const PREVIEW_CHARS = 120; // more never fits on a line
const dateFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

/** @param {import('./conversation.js').Conversation} conversation */
export function conversationRow(conversation, { isActive, unread, me, select }) {
  const { key, name, last } = conversation;
  const at = last && new Date(last.timestamp);
  return {
    key,
    version: `${isActive} ${unread} ${last?.id} ${at && formatWhen(at)} ${name}`,
    build: () => el('li', {}, el('button', { type: 'button', class: 'conversation', onclick: () => select(key) })),
    update(node) {
      const button = node.firstElementChild;
      button.classList.toggle('unread', unread > 0);
      if (isActive) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
      button.replaceChildren(mark(conversation), el('span', { class: 'conversation-text' },
        el('span', { class: 'conversation-line' }, ...title(conversation), at && whenOf(at)),
        el('span', { class: 'conversation-line' }, lastText(conversation, me), badge(unread))));
    },
  };
}

/** A room that one has not joined. @param {import('./directory.js').Room} room */
export function roomRow({ name, memberCount }, join) {
  return {
    key: name,
    version: String(memberCount),
    build: () => el('li', {}, el('button', { type: 'button', class: 'conversation slim', title: 'Join this room', onclick: () => join(name) })),
    update: (node) => node.firstElementChild.replaceChildren(hash(), bdi(name, { class: 'conversation-name' }), members(memberCount)),
  };
}

/** @param {import('./people.js').User} user */
export function personRow({ id, username, online }, openDm) {
  return {
    key: String(id),
    version: `${online} ${username}`,
    build: () => el('li', {}, el('button', { type: 'button', class: 'conversation slim', onclick: () => openDm(id, username) })),
    update(node) {
      node.firstElementChild.classList.toggle('away', !online);
      node.firstElementChild.replaceChildren(
        el('span', { class: 'with-presence' }, avatar(id, username, 'tiny'), el('span', { class: online ? 'presence online' : 'presence', 'aria-hidden': 'true' })),
        bdi(username, { class: 'conversation-name' }), el('span', { class: 'unseen' }, online ? ' online' : ' away'), el('span', { class: 'user-id' }, `user ${id}`));
    },
  };
}

/** Where there is no room for the word, the number says it to the eye. */
const members = (count) => el('span', { class: 'when' }, String(count), el('span', { class: 'unit' }, count === 1 ? ' member' : ' members'));
const hash = () => el('span', { class: 'hash', 'aria-hidden': 'true' }, '#');
const mark = ({ kind, peer, name }) => (kind === 'room' ? hash() : avatar(peer, name, 'tiny'));

function title({ kind, peer, name }) {
  const label = bdi(name, { class: 'conversation-name' });
  return kind === 'room' ? [label] : [label, el('span', { class: 'user-id' }, `user ${peer}`)];
}

/** Who said what last: in a room everybody's name, between two only that it was oneself. */
function lastText({ kind, last, lastSeq }, me) {
  // Of a room that has messages the last one is on its way.
  if (!last) return el('span', { class: 'last-text' }, lastSeq > 0 ? '' : 'Nothing written yet');
  const who = last.fromUser === me.id ? 'You' : bdi(last.username);
  const said = bdi(last.content.slice(0, PREVIEW_CHARS).replace(/[\ud800-\udbff]$/, ''));
  return el('span', { class: 'last-text' }, ...(kind === 'room' || who === 'You' ? [who, ': '] : []), said);
}

const whenOf = (at) => el('time', { class: 'when', datetime: at.toISOString(), title: formatFull(at) }, formatWhen(at));
const formatWhen = (at) => (startOfDay(at) === startOfDay(new Date()) ? formatTime(at) : dateFormat.format(at));

function badge(unread) {
  if (unread === 0) return '';
  return el('span', { class: 'badge' }, unread > 99 ? '99+' : String(unread), el('span', { class: 'unseen' }, ' unread'));
}
