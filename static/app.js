/** The page: the bar on top, one person or two below it, and the tools beside them. */

import { $ } from './dom.js';
import { createSplit } from './split.js';
import { keep, recall } from './storage.js';
import { createTools } from './tools.js';

const TITLE = 'chat-server';
const TOOLS_KEY = 'chat-server-tools'; // 'on' or 'off', once somebody has chosen

const tools = createTools({ place: $('inspector'), people: () => split?.people ?? [], setOpen: chooseTools });
const split = createSplit({ changed: draw, opened: tools.opened, ended: draw, signedOut: tools.signedOut, socket: tools.socket, frames: tools.framesOf });

/** Beside two people there is room for the tools on a large screen only, unless somebody asked for them. */
function drawTools() {
  const large = split.people.length > 1 ? '(min-width: 1700px)' : '(min-width: 1200px)';
  const wanted = (recall(TOOLS_KEY) ?? (matchMedia(large).matches ? 'on' : 'off')) === 'on';
  // Beside a sign-in card alone they have nothing to show.
  const shown = wanted && split.people.some(({ signedIn }) => signedIn);
  if ($('inspector').hidden === !shown && $('stage').classList.contains('with-inspector') === shown) return;
  $('inspector').hidden = !shown;
  $('stage').classList.toggle('with-inspector', shown);
  $('inspector-toggle').setAttribute('aria-expanded', String(shown));
  tools.opens(shown);
}

function chooseTools(wanted) {
  keep(TOOLS_KEY, wanted ? 'on' : 'off');
  drawTools();
  if (!wanted) $('inspector-toggle').focus();
}

function draw() {
  drawTools();
  tools.changed();
  const shown = split.people.find(({ root }) => root.contains(document.activeElement)) ?? split.first;
  const unread = split.people.reduce((sum, person) => sum + person.unread, 0);
  document.title = `${unread > 0 ? `(${unread}) ` : ''}${shown.title ? `${shown.title} · ` : ''}${TITLE}`;
}

$('inspector-toggle').addEventListener('click', () => chooseTools($('inspector').hidden));

split.start();
