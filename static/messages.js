/** The middle pane: the messages of the open conversation, and where one is in them. */

import { avatar, bdi, el, formatDay, formatFull, formatTime, icon, reconcile, startOfDay } from './dom.js';
import { createMessageKeys } from './message-keys.js';

const TOGETHER_MS = 5 * 60_000; // messages of one person within this time share a name
const AT_BOTTOM_PX = 48;
const LABEL_CHARS = 1_000; // the rest can be read in the message itself
const NEAR_TOP_PX = 300; // from here on up earlier messages are loaded, before the first one is reached

/**
 * @param {{$: import('./dom.js').Find, me: {id: number, username: string}, state(): import('./chat-client.js').State, openDm(id: number, name: string): void, retry(conversation, nonce: string): void,
 *   discard(conversation, nonce: string): void, dismissNotice(conversation): void, loadEarlier(conversation): void, load(conversation): void,
 *   read(conversation): void, unread(conversation): number, signal: AbortSignal}} actions
 */
export function createMessages(actions) {
  const { $, signal } = actions;
  const scroller = $('scroller');
  let shown = null; // the conversation that is drawn
  let following = true; // whether the newest message is in sight
  let bottom = 0; // the place that following has come to, px

  const toBottom = () => {
    scroller.scrollTop = scroller.scrollHeight;
    bottom = scroller.scrollTop;
  };
  const keys = createMessageKeys({ $, signal, isFollowing: () => following });
  const atBottom = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_BOTTOM_PX;

  scroller.addEventListener('scroll', () => {
    following = atBottom();
    $('jump').hidden = following;
    if (shown) shown.readingBack = !following;
    if (following) markRead();
    loadWhenNear();
  }, { signal, passive: true });
  $('jump').addEventListener('click', () => { toBottom(); $('composer-text').focus(); }, { signal });
  $('earlier').addEventListener('click', () => shown && actions.loadEarlier(shown), { signal });
  document.addEventListener('visibilitychange', () => markRead(), { signal });
  const resized = new ResizeObserver(() => follows() && toBottom());
  resized.observe(scroller);
  signal.addEventListener('abort', () => { resized.disconnect(); $('messages').replaceChildren(); });

  /** The event of a scroll comes a frame after it: what happens in between does not pull back whoever has just left the bottom. */
  function follows() {
    if (following && scroller.scrollTop < bottom) following = atBottom();
    return following;
  }

  function markRead() {
    const inSight = !document.hidden && scroller.offsetParent !== null;
    if (shown?.status === 'ready' && following && inSight) actions.read(shown);
  }

  /** Once for each place: what comes in moves the top away, and after a failure only the button asks again. */
  function loadWhenNear() {
    if (!hasEarlier(shown) || shown.loadingEarlier || shown.earlierFailed || actions.state() !== 'open') return;
    const { scrollTop, scrollHeight, clientHeight } = scroller;
    const fills = scrollHeight > clientHeight;
    if (clientHeight > 0 && (fills ? !following && scrollTop < NEAR_TOP_PX : true)) actions.loadEarlier(shown);
  }

  return {
    /** Draws `conversation`, without moving what one is reading. */
    render(conversation) {
      const switched = shown !== conversation;
      shown = conversation;
      if (switched) following = true;
      const place = switched || follows() ? null : placeOf(scroller);

      const focusAgain = keys.keep();
      reconcile($('messages'), conversation ? rows(conversation, actions) : []);
      renderEarlier(conversation, actions);
      renderEmpty(conversation, actions);

      if (following) toBottom();
      else backTo($, place);
      focusAgain();
      renderJump(conversation, following, actions);
      markRead();
      loadWhenNear();
    },
    follow() {
      following = true;
      toBottom();
    },
  };
}

/** Which message is the first in sight, and where: what comes in above it must not move it. */
function placeOf(scroller) {
  const { top } = scroller.getBoundingClientRect();
  const node = [...scroller.querySelectorAll('.message')].find((message) => message.getBoundingClientRect().bottom > top);
  return node ? { key: node.dataset.key, offset: node.getBoundingClientRect().top } : null;
}

function backTo($, place) {
  const node = place && [...$('messages').children].find((child) => child.dataset.key === place.key);
  if (node) $('scroller').scrollTop += node.getBoundingClientRect().top - place.offset;
}

const hasEarlier = (conversation) => Boolean(conversation?.status === 'ready' && conversation.hasMore);

/** It stays in the document while it works, so that the focus stays on it; when it goes, the messages have the focus. */
function renderEarlier(conversation, { $ }) {
  const button = $('earlier');
  const shows = hasEarlier(conversation);
  if (!shows && document.activeElement === button) $('scroller').focus({ preventScroll: true });
  button.hidden = !shows;
  if (!shows) return;
  button.setAttribute('aria-disabled', String(conversation.loadingEarlier));
  const words = conversation.loadingEarlier ? 'Loading earlier messages…'
    : conversation.earlierFailed ? 'Earlier messages could not be loaded. Try again' : 'Load earlier messages';
  if (button.textContent !== words) button.textContent = words;
}

function renderJump(conversation, following, { $, unread }) {
  const count = conversation && !following ? unread(conversation) : 0;
  $('jump').hidden = following;
  $('jump-text').textContent = count > 0 ? `${count} new` : 'Latest';
}

function renderEmpty(conversation, actions) {
  const place = actions.$('empty');
  const isEmpty = !conversation || (conversation.timeline.messages.length === 0 && conversation.timeline.outgoing.length === 0);
  place.hidden = !isEmpty;
  if (!isEmpty) return;
  const [title, text] = emptyText(conversation, actions.state());
  const retries = conversation?.status === 'failed';
  const version = JSON.stringify([conversation?.key, title, text, retries]);
  if (place.dataset.version === version) return; // a button in it keeps the focus
  place.dataset.version = version;
  place.replaceChildren(el('p', { class: 'empty-title' }, bdi(title)), el('p', { class: 'quiet', dir: 'auto' }, text));
  if (retries) place.append(el('button', { class: 'button small', type: 'button', onclick: () => actions.load(conversation) }, 'Try again'));
}

/** What there is to say, and what one can do. @returns {[title: string, text: string]} */
function emptyText(conversation, state) {
  if (!conversation) return ['No conversation is open', 'Join a room by its name, or write to somebody by their user id.'];
  const { status, kind, room, name, reason } = conversation;
  if (status === 'failed') return ['This could not be loaded', reason];
  if (status !== 'ready' && state === 'closed') return ['Not signed in any more', 'Sign in again to read and write here.'];
  if (status !== 'ready' && state === 'reconnecting') {
    return ['Not connected', 'The messages come with the connection. What you write until then waits here and is sent with it.'];
  }
  if (status === 'new' && state === 'connecting') return ['Connecting…', 'The messages come with the connection.'];
  if (status === 'new') return [kind === 'room' ? 'Joining the room…' : 'Loading…', ''];
  if (status === 'loading') return ['Loading…', ''];
  if (kind === 'dm') return [`No messages with ${name} yet`, 'Write the first one below. Only the two of you see what is written here.'];
  return [`Nobody has written in #${room} yet`, 'Say the first word below. Whoever joins later will find it.'];
}

/** What `reconcile` is to draw: days, messages, and our own messages that are not stored yet. */
function rows(conversation, actions) {
  const items = [];
  const { timeline, newSince, notice } = conversation;
  let previous = null;
  if (notice) items.push(noticeRow(conversation, actions));
  for (const message of timeline.messages) {
    const at = new Date(message.timestamp);
    const newDay = !previous || startOfDay(at) !== startOfDay(previous.at);
    if (newDay) items.push(dayRow(at));
    const firstNew = message.seq === newSince + 1 && message.fromUser !== actions.me.id;
    if (firstNew) items.push(newRow(message.seq));
    const joined = !newDay && !firstNew && previous.from === message.fromUser && at - previous.at < TOGETHER_MS;
    items.push(messageRow(message, at, joined, actions));
    previous = { from: message.fromUser, at };
  }
  for (const outgoing of timeline.outgoing) {
    const at = new Date(outgoing.at);
    const joined = previous?.from === actions.me.id && at - previous.at < TOGETHER_MS;
    items.push(outgoingRow(conversation, outgoing, at, joined, actions));
    previous = { from: actions.me.id, at };
  }
  return items;
}

function dayRow(at) {
  const text = formatDay(at);
  return {
    key: `day:${startOfDay(at)}`,
    version: text,
    build: () => el('li', { class: 'day' }, el('span', {}, text)),
  };
}

/** It stays in sight while one reads on: what it speaks of is above everything that is there. */
function noticeRow(conversation, { dismissNotice }) {
  const { notice } = conversation;
  return {
    key: 'notice',
    version: notice,
    build: () => el('li', { class: 'history-notice', tabindex: '-1', 'aria-label': notice }, el('span', {}, notice),
      el('button', { class: 'link', type: 'button', tabindex: '-1', onclick: () => dismissNotice(conversation) }, 'Dismiss')),
  };
}

/** Where one left off reading. */
function newRow(seq) {
  return { key: `new:${seq}`, version: '', build: () => el('li', { class: 'day new' }, el('span', {}, 'New')) };
}

/** What a screen reader says when the focus comes to a message. */
const labelOf = (who, what, content) => `${who}, ${what}: ${content.slice(0, LABEL_CHARS)}`;
const whenOf = (at) => (startOfDay(at) === startOfDay(new Date()) ? formatTime(at) : `${formatDay(at)} ${formatTime(at)}`);
const OUTGOING_STATES = { sending: 'on its way', waiting: 'waiting for the connection', held: 'kept', failed: 'not sent' };

function messageRow(message, at, joined, actions) {
  const own = message.fromUser === actions.me.id;
  return {
    // Ours keeps its place in the document when it turns from "sending" into "stored".
    key: own && message.nonce ? `n:${message.nonce}` : `m:${message.id}`,
    version: `stored ${joined}`,
    build: () => el('li', {
      class: `message${own ? ' own' : ''}${joined ? ' joined' : ''}`, tabindex: '-1', 'aria-label': labelOf(message.username, whenOf(at), message.content),
    },
      joined ? el('span', { class: 'gutter', 'aria-hidden': 'true' }, formatTime(at)) : avatar(message.fromUser, message.username),
      el('div', { class: 'message-main' },
        el('p', { class: joined ? 'message-head unseen' : 'message-head' }, ...sender(message, own, actions), timeOf(at)),
        el('div', { class: 'content', dir: 'auto' }, message.content)),
      framesButton(message, actions),
      own && el('span', { class: 'stored', title: `Stored as message ${message.id}` }, icon('check'), el('span', { class: 'unseen' }, 'Stored'))),
  };
}

/** To what went over the wire for it. */
function framesButton(message, { frames }) {
  return frames && el('button', {
    class: 'message-frames', type: 'button', tabindex: '-1', title: 'The frames of this message', 'aria-label': `The frames of message ${message.id}`,
    onclick: () => frames(message),
  }, icon('frames'));
}

function sender({ fromUser, username }, own, { openDm }) {
  const id = el('span', { class: 'user-id' }, `user ${fromUser}`);
  if (own) return [el('span', { class: 'name' }, bdi(username)), id];
  const title = `Write to user ${fromUser} directly`;
  return [el('button', { class: 'name link', type: 'button', tabindex: '-1', title, onclick: () => openDm(fromUser, username) }, bdi(username)), id];
}

function timeOf(at) {
  return el('time', { datetime: at.toISOString(), title: formatFull(at) }, formatTime(at));
}

function outgoingRow(conversation, outgoing, at, joined, actions) {
  const { nonce, content, status, reason } = outgoing;
  const { id, username } = actions.me;
  return {
    key: `n:${nonce}`,
    version: `${status} ${reason} ${joined}`,
    build: () => el('li', { class: `message own outgoing ${status}${joined ? ' joined' : ''}`, tabindex: '-1', 'aria-label': labelOf('You', OUTGOING_STATES[status], content) },
      joined ? el('span', { class: 'gutter', 'aria-hidden': 'true' }, formatTime(at)) : avatar(id, username),
      el('div', { class: 'message-main' },
        el('p', { class: joined ? 'message-head unseen' : 'message-head' }, ...sender({ fromUser: id, username }, true, actions), timeOf(at)),
        el('div', { class: 'content', dir: 'auto' }, content),
        outgoingState(conversation, outgoing, actions))),
  };
}

function outgoingState(conversation, { nonce, status, reason }, { retry, discard }) {
  if (status === 'sending') return el('p', { class: 'send-state' }, 'Sending…');
  const drop = el('button', { class: 'link', type: 'button', tabindex: '-1', onclick: () => discard(conversation, nonce) }, 'Discard');
  if (status === 'held') return el('p', { class: 'send-state' }, 'Kept. It is sent once you have signed in again.');
  if (status === 'waiting') return el('p', { class: 'send-state' }, 'Waiting for the connection. ', drop);
  const again = el('button', { class: 'link', type: 'button', tabindex: '-1', onclick: () => retry(conversation, nonce) }, 'Try again');
  return el('p', { class: 'send-state problem' }, 'Not sent: ', bdi(reason), ' ', again, ' ', drop);
}
