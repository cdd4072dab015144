/**
 * One person of the page: the sign-in card, and once signed in the panes, wired to one chat connection.
 * There may be two of them side by side; nothing in here knows of the other, nor of the bar and the tools around them.
 */

import { createChat } from './chat-client.js';
import { createComposer } from './composer.js';
import { createConnection } from './connection.js';
import { Conversations } from './conversations.js';
import { $ as page, announce, avatar, batched, bdi, stamp } from './dom.js';
import { createDirectory } from './directory.js';
import { createMessages } from './messages.js';
import { createSidebar } from './sidebar.js';
import { createSignIn } from './signin.js';
import { storage } from './storage.js';
import { endSession, forgetSession, keepSession, loadSession, newSession, outboxKey, tokensOf } from './session.js';

const LOOK_AGAIN_MS = 50; // what was selected may have to be loaded, and is drawn a moment later
const LOOKS_MAX = 40;
const FOUND_MS = 2_500; // that a message which was looked for stands out

/**
 * @typedef {ReturnType<typeof createPerson>} Person
 * @typedef {{root: HTMLElement, suffix: string, changed(): void, opened(person: Person, signal: AbortSignal): void,
 *   ended(person: Person): void, signedOut(): void, together?: () => void, socket?: (person: Person) => (new (url: string, protocols: string[]) => any) | undefined,
 *   frames?: (person: Person, message: {id: number, nonce?: string}) => void}} Options
 *   `suffix`: behind the ids of this person's elements, '' for the first; `opened`: somebody signed in, until `signal` ends;
 *   `signedOut`: they went for good, or another came in their place;
 *   `socket`: the WebSocket class for the next session, for tools that look at or disturb the connection; `frames`: shows
 *   what went over the wire for a message
 */

/** @param {Options} options */
export function createPerson({ root, suffix, changed, opened, ended, signedOut, together, socket, frames }) {
  const $ = stamp(page('person-template'), root, suffix);
  const gone = new AbortController();
  const key = `chat-server${suffix}`;
  let open = null; // the session that is on, and what belongs to it
  let interrupted = null; // whose token ended while they were here: they find their rooms and drafts again

  const signIn = createSignIn({
    $,
    signal: gone.signal,
    together,
    signedIn(token, user) {
      const session = interrupted?.user.id === user.id ? { ...interrupted, token, user, mode: signIn.mode } : newSession(token, user, signIn.mode);
      if (interrupted && interrupted.user.id !== user.id) signedOut();
      interrupted = null;
      enter(session);
    },
  });

  function enter(session) {
    const life = new AbortController();
    const remember = keepSession(key, session, life.signal);
    const chat = createChat({
      token: session.token,
      getToken: tokensOf(session, remember),
      storage,
      storageKey: outboxKey(key),
      WebSocket: socket?.(person),
    });
    open = { session, chat, end: () => { open = null; chat.close(); life.abort(); ended(person); } };
    const leave = (notice) => {
      interrupted = notice ? session : null;
      open.end();
      if (notice) endSession(key);
      else {
        forgetSession(key, session);
        signedOut();
      }
      signIn.show(notice);
      changed();
    };
    signIn.hide();
    $('chat').hidden = false;
    Object.assign(open, createPanes({
      $, chat, session, remember, leave, changed, signal: life.signal, frames: frames && ((message) => frames(person, message)),
    }));
    opened(person, life.signal);
    open.show('talk');
    chat.connect();
    changed();
  }

  const person = {
    root,
    suffix,
    get signedIn() { return open !== null; },
    get name() { return open?.session.user.username ?? ''; },
    get session() { return open?.session ?? null; },
    /** The client library of the session, undefined while nobody is signed in. */
    get chat() { return open?.chat; },
    get conversations() { return open?.conversations; },
    /** The open conversation. */
    get active() { return open?.conversations.active; },
    get unread() { return open?.conversations.totalUnread ?? 0; },
    get title() { return open ? (this.active ? titleOf(this.active) : '') : 'Sign in'; },
    /** Goes on with the session that the tab remembers, or asks who it is. @param {boolean} [focus] */
    start(focus = true) {
      const session = loadSession(key);
      if (session) enter(session);
      else signIn.show('', focus);
    },
    hasSession: () => loadSession(key) !== null,
    /** Comes in as a guest with a name of the server's choice, or shows the card and why not. */
    async startAsGuest() {
      try {
        await signIn.asGuest();
      } catch (error) {
        if (!gone.signal.aborted) signIn.show(error.message, false);
      }
    },
    /** Goes to a message, where it is loaded. @param {{key: string, id: number, nonce?: string}} message @returns {Promise<boolean>} */
    async reveal({ key: place, id, nonce }) {
      if (!open?.conversations.list.some((conversation) => conversation.key === place)) return false;
      open.conversations.select(place);
      open.show('talk');
      const find = () => [...$('messages').children].find((child) => child.dataset.key === `m:${id}` || child.dataset.key === `n:${nonce}`);
      for (let tries = 0; !find() && tries < LOOKS_MAX; tries += 1) await new Promise((resolve) => { setTimeout(resolve, LOOK_AGAIN_MS); });
      const node = find();
      if (!node) return false;
      node.scrollIntoView({ block: 'center' });
      node.classList.add('found');
      setTimeout(() => node.classList.remove('found'), FOUND_MS);
      node.querySelector('.message-frames')?.focus({ preventScroll: true });
      return true;
    },
    /** The pill of the connection stands where there is room for it. @param {Element | null} place none: in the panes */
    placePill(place) {
      if (place) place.replaceChildren($('pill'));
      else $('person-name').after($('pill'));
    },
    focus() {
      if (open) open.focus();
      else $('signin').querySelector('input:not([type=hidden])')?.focus();
    },
    /** Takes this person off the page. The tab still remembers the session. */
    stop() {
      open?.end();
      gone.abort();
      $('pill').remove();
      root.replaceChildren();
    },
  };
  return person;
}

/** Everything between one session and its panes. `signal` ends it: listeners, timers. */
function createPanes({ $, chat, session, remember, leave, changed, signal, frames }) {
  const redraw = batched(() => signal.aborted || draw());
  const conversations = new Conversations({ chat, session, remember, changed: redraw });
  const directory = createDirectory({ chat, session, conversations, changed: redraw, signal });
  const actions = {
    $,
    directory,
    me: session.user,
    signal,
    frames,
    openDm: (id, name) => { conversations.openDm(id, name); show('talk'); },
    select: (key) => { conversations.select(key); show('talk'); },
    join: async (room) => { await conversations.join(room); show('talk'); },
    load: (conversation) => conversations.loadAgain(conversation),
    loadEarlier: (conversation) => conversations.loadEarlier(conversation),
    read: (conversation) => conversations.markRead(conversation),
    unread: (conversation) => conversations.unread(conversation),
    draft: (conversation) => conversations.draft(conversation),
    state: () => chat.state,
    setDraft: (conversation, text) => conversations.setDraft(conversation, text),
    retry: (conversation, nonce) => conversations.retry(conversation, nonce),
    discard: (conversation, nonce) => conversations.discard(conversation, nonce),
    dismissNotice: (conversation) => conversations.dismissNotice(conversation),
    send(conversation, content) {
      messages.follow();
      conversations.send(conversation, content);
    },
  };
  const sidebar = createSidebar(actions);
  const messages = createMessages(actions);
  const composer = createComposer(actions);
  const connection = createConnection({ $, signal, reconnect: () => chat.reconnectNow(), signInAgain: leave });

  /**
   * Which pane a narrow place shows; a wide one shows them together. The focus follows, out of the pane that hides. It is
   * drawn at once: what is typed next belongs to the conversation that was chosen, and not to the one before it.
   */
  function show(view) {
    if (signal.aborted) return; // they left while a room was being left or joined
    $('chat').dataset.view = view;
    draw();
    focus();
  }

  function focus() {
    if ($('talk').offsetParent !== null && $('back').offsetParent === null) composer.focus();
    else if ($('chat').dataset.view === 'talk') $('scroller').focus({ preventScroll: true });
    else $('sidebar').querySelector('[aria-current]')?.focus();
  }

  function draw() {
    const { active, list, totalUnread } = conversations;
    sidebar.render(list, active);
    drawHead($, active);
    drawBackBadge($, totalUnread - (active ? conversations.unread(active) : 0));
    messages.render(active);
    composer.render(active);
    changed();
  }

  function drawName({ id, username }) {
    sidebar.drawIdentity({ id, username });
    $('person-avatar').replaceChildren(avatar(id, username, 'tiny'));
    $('person-name').textContent = username;
  }

  /** Nobody sees the open conversation when another pane covers it: then its messages stay unread, and are not read out. */
  function hear(message) {
    directory.heard(message);
    const conversation = conversations.receive(message);
    if (conversation !== conversations.active || message.fromUser === session.user.id) return;
    announce(`${message.username}: ${message.content.slice(0, 200)}`);
  }

  let started = false;
  chat.on('state', (change) => {
    connection.update(change);
    composer.connection(change.state);
    conversations.connection(change.state === 'open');
  });
  chat.on('welcome', ({ username, epoch }) => {
    conversations.welcomed(epoch);
    if (username !== session.user.username) {
      session.user.username = username;
      drawName(session.user);
    }
    if (!started) conversations.start();
    started = true;
  });
  chat.on('reconnected', () => conversations.reconnected());
  chat.on('reset', (reset) => {
    conversations.reset(reset);
    announce('The history was reloaded.');
  });
  chat.on('message', hear);
  chat.on('dm', hear);
  chat.on('refused', ({ message }) => announce(`The server refused: ${message}`));

  const listen = (id, handler) => $(id).addEventListener('click', handler, { signal });
  listen('signout', () => leave());
  listen('back', () => show('list'));
  listen('leave', () => conversations.active && conversations.close(conversations.active).then(() => show('list')));
  drawName(session.user);
  return { conversations, show, focus };
}

const titleOf = ({ kind, room, name }) => (kind === 'room' ? `#${room}` : name);

function drawHead($, conversation) {
  $('leave').hidden = !conversation;
  $('talk-name').replaceChildren(conversation ? bdi(titleOf(conversation)) : '');
  if (!conversation) return $('talk-line').replaceChildren();
  $('leave').textContent = conversation.kind === 'room' ? 'Leave' : 'Close';
  const { kind, peer, status, lastSeq } = conversation;
  const kindText = kind === 'room' ? 'Room' : `Direct, with user ${peer}`;
  const count = status === 'ready' ? ` · ${lastSeq === 1 ? '1 message' : `${lastSeq} messages`}` : '';
  $('talk-line').textContent = kindText + count;
}

/** In a narrow place the conversations are out of sight: the way back to them says how much is new there. */
function drawBackBadge($, unread) {
  $('back-badge').hidden = unread === 0;
  $('back-badge').textContent = unread > 99 ? '99+' : String(unread);
  $('back').setAttribute('aria-label', unread > 0 ? `Back to the conversations, ${unread} unread` : 'Back to the conversations');
}
