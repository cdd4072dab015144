/** The page: the bar on top, one person or two below it, and the tools beside them. */

import { $ } from './dom.js';
import { createFrames } from './frames.js';
import { createSplit } from './split.js';

const TITLE = 'chat-server';
const TOOLS_KEY = 'chat-server-tools'; // 'on' or 'off', once somebody has chosen

let frames = null; // of the first person's connection
const split = createSplit({ changed: draw, opened: inspect, ended: draw });

/** Shows what goes over the connection of `person`, until `signal` ends. */
function inspect(person, signal) {
  if (person.suffix !== '') return;
  const { chat } = person;
  const own = frames = createFrames({ signal });
  chat.on('state', ({ state, retryAt }) => {
    if (retryAt) own.note(`next try in ${Math.round(retryAt - Date.now())} ms`);
    else if (state !== 'reconnecting') own.note(state);
  });
  chat.on('reconnected', ({ replayed, complete, reason }) => {
    own.note(complete ? `resumed, ${replayed} missed` : `not resumed (${reason}): the newest messages follow`);
  });
  chat.on('frame', own.frame);
  chat.on('close', ({ code, reason }) => own.note(`closed with ${code}${reason ? `: ${reason}` : ''}`));
  chat.on('error', ({ message }) => own.note(message));
}

/** Beside two people there is room for the tools on a large screen only, unless somebody asked for them. */
function drawTools() {
  const large = split.people.length > 1 ? '(min-width: 1700px)' : '(min-width: 1200px)';
  const wanted = (sessionStorage.getItem(TOOLS_KEY) ?? (matchMedia(large).matches ? 'on' : 'off')) === 'on';
  // Beside a sign-in card alone they have nothing to show.
  const shown = wanted && split.people.some(({ signedIn }) => signedIn);
  if ($('inspector').hidden === !shown && $('stage').classList.contains('with-inspector') === shown) return;
  $('inspector').hidden = !shown;
  $('stage').classList.toggle('with-inspector', shown);
  $('inspector-toggle').setAttribute('aria-expanded', String(shown));
  frames?.draw();
}

function chooseTools(wanted) {
  sessionStorage.setItem(TOOLS_KEY, wanted ? 'on' : 'off');
  drawTools();
}

function draw() {
  drawTools();
  const shown = split.people.find(({ root }) => root.contains(document.activeElement)) ?? split.first;
  const unread = split.people.reduce((sum, person) => sum + person.unread, 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ''}${shown.title ? `${shown.title} · ` : ''}${TITLE}`;
}

$('inspector-toggle').addEventListener('click', () => chooseTools($('inspector').hidden));
$('frames-close').addEventListener('click', () => { chooseTools(false); $('inspector-toggle').focus(); });

split.start();
