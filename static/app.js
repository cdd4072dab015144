/** The page: a sign-in card, or the three panes of a person who is signed in, wired to one chat connection. */

import { createChat } from './chat-client.js';
import { createComposer } from './composer.js';
import { createConnection } from './connection.js';
import { Conversations } from './conversations.js';
import { $, announce, batched, bdi } from './dom.js';
import { createFrames } from './frames.js';
import { createMessages } from './messages.js';
import { createSidebar } from './sidebar.js';
import { createSignIn } from './signin.js';
import { forgetSession, keepSession, loadSession, newSession } from './session.js';

const TITLE = 'chat-server';
const wide = matchMedia('(min-width: 800px)');

/** Whose token ended while they were here: the same person finds their rooms and drafts again. */
let interrupted = null;

const signIn = createSignIn({
  signedIn(token, user) {
    const session = interrupted?.user.id === user.id ? { ...interrupted, token, user } : newSession(token, user);
    interrupted = null;
    open(session);
  },
});

const session = loadSession();
if (session) open(session);
else signIn.show();

/** Everything of one signed-in person. `life` ends it: listeners, timers, connection. */
function open(session) {
  const life = new AbortController();
  const { signal } = life;
  const remember = keepSession(session, signal);
  const chat = createChat({ token: session.token });
  const redraw = batched(() => signal.aborted || draw());
  const conversations = new Conversations({ chat, session, remember, changed: redraw });

  const close = (notice) => {
    interrupted = notice ? session : null;
    chat.close();
    life.abort();
    forgetSession();
    signIn.show(notice);
  };
  const openDm = (id, name) => { conversations.openDm(id, name); show('talk'); };
  const actions = {
    me: session.user,
    signal,
    openDm,
    select: (key) => { conversations.select(key); show('talk'); },
    join: async (room) => { await conversations.join(room); show('talk'); },
    load: (conversation) => conversations.load(conversation),
    loadEarlier: (conversation) => conversations.loadEarlier(conversation),
    read: (conversation) => conversations.markRead(conversation),
    unread: (conversation) => conversations.unread(conversation),
    draft: (conversation) => conversations.draft(conversation),
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
  const frames = createFrames({ signal });
  const connection = createConnection({ signal, reconnect: () => chat.reconnectNow(), signInAgain: close });

  /** Which pane a narrow screen shows; a wide one shows them together. The focus follows, out of the pane that hides. */
  function show(view) {
    $('chat').dataset.view = view;
    redraw();
    if (wide.matches) composer.focus();
    else if (view === 'talk') $('scroller').focus({ preventScroll: true });
    else $('sidebar').querySelector('[aria-current]')?.focus();
  }

  function toggleInspector(wanted) {
    session.inspector = wanted;
    $('inspector').hidden = !wanted;
    $('chat').classList.toggle('with-inspector', wanted);
    $('inspector-toggle').setAttribute('aria-expanded', String(wanted));
    remember();
    frames.draw();
  }

  function draw() {
    const { active, list, totalUnread } = conversations;
    sidebar.render(list, active);
    drawHead(active);
    drawBackBadge(totalUnread - (active ? conversations.unread(active) : 0));
    messages.render(active);
    composer.render(active);
    document.title = `${totalUnread > 0 ? `(${totalUnread}) ` : ''}${active ? titleOf(active) : TITLE} · ${TITLE}`;
  }

  /** Nobody sees the open conversation when another pane covers it: then its messages stay unread, and are not read out. */
  function hear(message) {
    const conversation = conversations.receive(message);
    if (conversation !== conversations.active || message.fromUser === session.user.id) return;
    announce(`${message.username}: ${message.content.slice(0, 200)}`);
  }

  let started = false;
  chat.on('state', (change) => {
    connection.update(change);
    composer.connection(change.state);
    conversations.connection(change.state === 'open');
    if (change.retryAt) frames.note(`next try in ${Math.round(change.retryAt - Date.now())} ms`);
    else if (change.state !== 'reconnecting') frames.note(change.state);
  });
  chat.on('welcome', ({ username }) => {
    if (username !== session.user.username) {
      session.user.username = username;
      sidebar.drawIdentity(session.user);
    }
    if (!started) conversations.start();
    started = true;
  });
  chat.on('reconnected', ({ replayed, complete, reason }) => {
    frames.note(complete ? `resumed, ${replayed} missed` : `not resumed (${reason}): the newest messages follow`);
    conversations.reconnected();
  });
  chat.on('reset', (reset) => {
    conversations.reset(reset);
    announce('The history was reloaded.');
  });
  chat.on('message', hear);
  chat.on('dm', hear);
  chat.on('frame', frames.frame);
  chat.on('close', ({ code, reason }) => frames.note(`closed with ${code}${reason ? `: ${reason}` : ''}`));
  chat.on('refused', ({ message }) => announce(`The server refused: ${message}`));
  chat.on('error', ({ message }) => frames.note(message));

  const listen = (id, handler) => $(id).addEventListener('click', handler, { signal });
  listen('signout', () => close());
  listen('back', () => show('list'));
  listen('leave', () => conversations.active && conversations.close(conversations.active).then(() => show('list')));
  listen('inspector-toggle', () => toggleInspector($('inspector').hidden));
  listen('frames-close', () => { toggleInspector(false); $('inspector-toggle').focus(); });

  signIn.hide();
  $('chat').hidden = false;
  toggleInspector(session.inspector);
  show('talk');
  chat.connect();
}

const titleOf = ({ kind, room, name }) => (kind === 'room' ? `#${room}` : name);

function drawHead(conversation) {
  $('leave').hidden = !conversation;
  $('talk-name').replaceChildren(conversation ? bdi(titleOf(conversation)) : '');
  if (!conversation) return $('talk-line').replaceChildren();
  $('leave').textContent = conversation.kind === 'room' ? 'Leave' : 'Close';
  const { kind, peer, status, lastSeq } = conversation;
  const kindText = kind === 'room' ? 'Room' : `Direct, with user ${peer}`;
  const count = status === 'ready' ? ` · ${lastSeq === 1 ? '1 message' : `${lastSeq} messages`}` : '';
  $('talk-line').textContent = kindText + count;
}

/** On a narrow screen the conversations are out of sight: the way back to them says how much is new there. */
function drawBackBadge(unread) {
  $('back-badge').hidden = unread === 0;
  $('back-badge').textContent = unread > 99 ? '99+' : String(unread);
  $('back').setAttribute('aria-label', unread > 0 ? `Back to the conversations, ${unread} unread` : 'Back to the conversations');
}
