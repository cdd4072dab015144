/**
 * The tools beside the chat, as tabs. They look at the connections of whoever is signed in on this page, and work on that
 * of the person who had the focus last. What they show is in memory only.
 */

import { exchange } from './api.js';
import { announce, el, icon } from './dom.js';
import { createFaults } from './faults.js';
import { createInspector } from './inspector.js';
import { FrameLog } from './inspector-log.js';
import { createRaw } from './raw.js';
import { placeName } from './faults-judge.js';
import { keep, recall } from './storage.js';
import { wrapSocket } from './wire.js';

const TAB_KEY = 'chat-server-tool';
const COVERED = matchMedia('(max-width: 1100px)'); // where the tools lie over the chat

/** @typedef {{node: Element, show(): void, hide(): void, reset?(): void}} Tool */

/**
 * @param {{place: HTMLElement, people(): import('./person.js').Person[], setOpen(open: boolean): void}} page
 */
export function createTools({ place, people, setOpen }) {
  const log = new FrameLog();
  const life = new AbortController(); // that of the page
  /** @type {Map<import('./person.js').Person, ReturnType<typeof createSubject>>} */ const subjects = new Map();
  let focused = null;
  /** Whose connection the tools work on. */
  const subject = () => subjects.get(focused) ?? [...subjects.values()][0] ?? null;
  const personOf = (who) => [...subjects].find(([, { who: own }]) => own === who)?.[0];

  const context = {
    log,
    subject,
    sender: subject,
    people: () => [...subjects.values()].map(({ who, side, name, me }) => ({ who, side, name, userId: me })),
    token: (who) => personOf(who)?.session?.token ?? '',
    jump(entry) { select('frames'); tools.frames.open(entry); },
    edit(text) { select('raw'); tools.raw.edit(text); },
    async reveal(entry) {
      if (COVERED.matches) setOpen(false);
      const found = await personOf(entry.who)?.reveal({ ...(entry.arrival ?? entry.receipt), nonce: entry.nonces[0] });
      if (!found) announce('That message is not loaded here.');
    },
  };
  /** What a tool in a file of its own is given. */
  const session = () => {
    const token = subject()?.token;
    return token ? { token, user: personOf(subject().who).session.user } : null;
  };
  const outside = { signal: life.signal, session, api: (path, options) => exchange(path, { token: session()?.token, ...options }), announce };

  /** @type {{id: string, label: string, create(): Tool}[]} */
  const registry = [
    { id: 'frames', label: 'Frames', create: () => createInspector(context) },
    { id: 'raw', label: 'Raw', create: () => createRaw(context) },
    { id: 'faults', label: 'Faults', create: () => createFaults(context) },
    { id: 'token', label: 'Token', create: () => later('What the token says', () => import('./token-doctor.js').then((module) => module.createTokenDoctor(outside))) },
    { id: 'server', label: 'Server', create: () => later('How the server is doing', () => import('./server-view.js').then((module) => module.createServerView(outside))) },
  ];

  /** @type {Record<string, any>} */ const tools = Object.fromEntries(registry.map(({ id, create }) => [id, create()]));
  const tabs = registry.map(({ id, label }) => el('button', {
    role: 'tab', type: 'button', id: `tool-tab-${id}`, 'aria-controls': `tool-${id}`, onclick: () => select(id),
  }, label));
  const panels = registry.map(({ id }) => el('div', { class: 'tool-panel', role: 'tabpanel', id: `tool-${id}`, 'aria-labelledby': `tool-tab-${id}`, hidden: true }, tools[id].node));
  const closer = el('button', { class: 'icon-button', type: 'button', id: 'tools-close', 'aria-label': 'Close the tools', onclick: () => setOpen(false) }, icon('close'));
  place.replaceChildren(
    el('header', { class: 'tools-head' }, el('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Tools', onkeydown: arrows }, ...tabs), closer), ...panels);

  let selected = registry.find(({ id }) => id === recall(TAB_KEY))?.id ?? 'frames';
  let isOpen = false;

  function select(id) {
    if (!isOpen) setOpen(true);
    if (id !== selected) tools[selected].hide();
    selected = id;
    keep(TAB_KEY, id);
    draw();
  }

  function draw() {
    registry.forEach(({ id }, index) => {
      tabs[index].setAttribute('aria-selected', String(id === selected));
      tabs[index].tabIndex = id === selected ? 0 : -1;
      panels[index].hidden = id !== selected;
    });
    if (isOpen) tools[selected].show();
  }

  function arrows(event) {
    const at = tabs.indexOf(event.target);
    const next = { ArrowRight: (at + 1) % tabs.length, ArrowLeft: (at + tabs.length - 1) % tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    tabs[next].focus();
    select(registry[next].id);
  }

  /** Other people, or for all but the frames another connection, other limits. */
  const reset = (withFrames) => { for (const [id, tool] of Object.entries(tools)) if (withFrames || id !== 'frames') tool.reset?.(); };
  document.addEventListener('focusin', ({ target }) => {
    const now = people().find(({ root }) => root.contains(target));
    if (!now || now === focused) return;
    focused = now;
    reset(false);
  }, { signal: life.signal });

  draw();
  return {
    /** The socket for the next session of this person. */
    socket(person) {
      const own = createSubject(person, log);
      subjects.set(person, own);
      return own.wire.Socket;
    },
    /** Somebody is signed in, until `signal` ends. */
    opened(person, signal) {
      const own = subjects.get(person);
      own.begin(signal);
      signal.addEventListener('abort', () => {
        if (subjects.get(person) === own) subjects.delete(person);
        log.clear(own.who);
        reset(true);
      }, { once: true });
      person.chat.on('welcome', () => reset(false));
      reset(true);
    },
    /** Somebody signed out: what they wrote by hand is not for whoever comes next. */
    signedOut() { tools.raw.forget(); },
    /** Another conversation is open, for instance. */
    changed() { if (isOpen && selected !== 'frames') tools[selected].reset?.(); },
    /** @param {boolean} open */
    opens(open) {
      if (open === isOpen) return;
      isOpen = open;
      if (open) draw();
      else tools[selected].hide();
    },
    /** Only the frames of this message, at both ends where both are on this page. */
    framesOf(_person, { id, nonce }) {
      select('frames');
      tools.frames.showMessage({ id, nonce });
      tabs[0].focus();
    },
  };
}

let sessions = 0;

/** What the tools know of one person's session, and what they can do to its connection. */
function createSubject(person, log) {
  const who = String(++sessions);
  const me = () => person.session?.user.id ?? 0;
  /** @type {Map<string, number>} */ const positions = new Map();
  let lastId = 0;
  let epoch;
  let limits;
  let wasSimulated = false; // the end that the client hears of next
  const wire = wrapSocket({
    token: () => person.session?.token ?? '',
    record(frame) {
      const entry = log.record(who, me(), frame);
      if (entry.lost || entry.direction === 'out') return;
      const at = entry.arrival ?? (entry.receipt?.key.startsWith('dm:') ? entry.receipt : null);
      if (at) positions.set(at.key, Math.max(positions.get(at.key) ?? 0, at.seq));
      if (at) lastId = Math.max(lastId, at.id);
      if (entry.type === 'join_ack') keepJoined(JSON.parse(entry.text).data);
    },
    ended(socket, simulated) {
      log.ended(who, socket);
      wasSimulated = simulated;
    },
  });
  const keepJoined = ({ room, lastSeq }) => { if (!positions.has(`room:${room}`)) positions.set(`room:${room}`, lastSeq); };

  return {
    who,
    side: person.suffix === '' ? '1' : '2',
    wire,
    positions,
    signal: /** @type {AbortSignal} */ (new AbortController().signal),
    get me() { return me(); },
    get name() { return person.name; },
    get token() { return person.session?.token ?? ''; },
    get chat() { return person.chat; },
    get key() { return person.active?.key ?? ''; },
    get place() { return person.active ? placeName(person.active.key) : ''; },
    get limits() { return limits; },
    // For the templates of raw frames.
    get rooms() { return person.chat?.rooms ?? []; },
    get room() { return person.active?.kind === 'room' ? person.active.room : this.rooms[0] ?? 'general'; },
    get peer() { return person.active?.kind === 'dm' ? person.active.peer : me(); },
    get cursor() { return person.chat?.cursor ?? { lastId, epoch }; },
    send: (text) => wire.send(text),
    api: (path, options) => call(person.session?.token, path, options),
    /** As the person would, so that it is on the page as well. */
    async sendTo(key, content, nonce) {
      const conversation = person.conversations?.list.find((candidate) => candidate.key === key);
      return conversation && person.conversations.send(conversation, content, nonce);
    },
    countShown: (nonce) => person.root.querySelectorAll(`[data-key="${CSS.escape(`n:${nonce}`)}"]`).length,
    begin(signal) {
      this.signal = signal;
      const { chat } = person;
      const note = (text) => log.note(who, text);
      chat.on('welcome', (welcome) => {
        ({ limits } = welcome);
        if (welcome.epoch !== epoch) lastId = welcome.lastId;
        ({ epoch } = welcome);
      });
      chat.on('state', ({ state, retryAt }) => {
        if (retryAt) note(`next try in ${Math.round(retryAt - Date.now())} ms`);
        else if (state !== 'reconnecting') note(state);
      });
      chat.on('reconnected', ({ replayed, complete, reason }) => {
        note(complete ? `resumed, ${replayed} missed` : `not resumed (${reason}): the newest messages follow`);
      });
      chat.on('close', ({ code, reason }) => {
        note(`closed with ${code}${reason ? `: ${reason}` : ''}${wasSimulated ? ' (simulated)' : ''}`);
        wasSimulated = false;
      });
      chat.on('error', ({ message }) => note(message));
    },
  };
}

/** The HTTP API, as that person. */
function call(token, path, { method = 'GET', body } = {}) {
  const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(body !== undefined && { 'content-type': 'application/json' }) };
  return fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store' });
}

/**
 * A tool in a file of its own, fetched when it is first looked at. It may have nothing in it that takes the focus, and
 * is to be scrolled by the keyboard all the same.
 * @param {string} label @param {() => Promise<Tool>} load @returns {Tool}
 */
function later(label, load) {
  const node = el('div', { class: 'tool scrolls', tabindex: '0', role: 'group', 'aria-label': label }, el('p', { class: 'tool-pad hint' }, 'Loading…'));
  /** @type {Tool | null} */ let tool = null;
  let asked = false;
  let wanted = false;
  const start = async () => {
    asked = true;
    try {
      tool = await load();
      node.replaceChildren(tool.node);
      if (wanted) tool.show();
    } catch {
      asked = false;
      node.replaceChildren(el('p', { class: 'tool-pad hint' }, 'This could not be loaded. Open it again to try once more.'));
    }
  };
  return {
    node,
    show() {
      if (wanted && asked) return;
      wanted = true;
      if (tool) tool.show();
      else if (!asked) start();
    },
    hide() {
      wanted = false;
      tool?.hide();
    },
    reset() { tool?.reset?.(); },
  };
}
