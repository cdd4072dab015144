/**
 * A frame as something to paste: into a shell, or into a program. Pure text. The token is `$TOKEN` unless the real one is
 * passed, and quoting is the shell's strictest, so that no content can become a command.
 */

import { parse, say } from './inspector-log.js';
import { HIDDEN, atTokens } from './secrets.js';

const SLOT = '\0'; // no command takes it

/** @typedef {{origin: string, token?: string}} Where `origin` of the page; `token` only for whoever asked for it */

/** Inside single quotes nothing has a meaning but the quote itself. @param {string} text */
export const shellQuote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const wsUrl = (origin) => `${origin.replace(/^http/, 'ws')}/ws`;
const bearer = (token) => (token ? shellQuote(`Authorization: Bearer ${token}`) : '"Authorization: Bearer $TOKEN"');
const lines = (...parts) => parts.join(' \\\n  ');

/** @param {string} text */
export function asJson(text) {
  const frame = parse(text);
  try {
    return frame === null ? text : JSON.stringify(frame, null, 2);
  } catch {
    return text; // deeper than can be written
  }
}

/** The frame as it was, byte for byte; only a token that was hidden comes back as the variable. @param {string} text @param {Where} where */
export function asWscat(text, { origin, token }) {
  const slots = text.includes(SLOT) ? text : atTokens(text, HIDDEN, () => `"${SLOT}"`);
  const frame = slots === text ? shellQuote(text) : slots.split(SLOT).map(shellQuote).join(token ? shellQuote(token) : '"$TOKEN"');
  return lines(`wscat -c ${shellQuote(wsUrl(origin))}`, '-s chat.v1', `-H ${bearer(token)}`, '-w 2', `-x ${frame}`);
}

/** @param {string} text @param {Where} where @returns {{text: string} | {reason: string}} */
export function asCurl(text, { origin, token }) {
  const frame = parse(text);
  let request;
  try {
    request = frame && httpOf(frame);
  } catch {
    return { reason: 'this cannot be written as a request: half a character, or too deep' };
  }
  if (!request) return { reason: `${say(frame?.type ?? 'this')} is not available over HTTP` };
  const { path, body } = request;
  // Else a room that is called .. would be a step up.
  const parts = [`curl -sS ${/\/\.{1,2}\//.test(path) ? '--path-as-is ' : ''}${shellQuote(origin + path)}`, `-H ${bearer(token)}`];
  if (body) parts.push("-H 'Content-Type: application/json'", `--data-raw ${shellQuote(body)}`);
  return { text: lines(...parts) };
}

function httpOf({ type, room, to, content, nonce, with: peer, limit, before, after }) {
  const window = Object.entries({ limit, before, after }).filter(([, value]) => value !== undefined && value !== null);
  const query = window.length > 0 ? `?${new URLSearchParams(window.map(([name, value]) => [name, say(value)]))}` : '';
  if (type === 'message') return { path: '/api/v1/chat/messages', body: JSON.stringify({ room, content, nonce }) };
  if (type === 'dm') return { path: '/api/v1/chat/messages', body: JSON.stringify({ to, content, nonce }) };
  if (type === 'room_history') return { path: `/api/v1/rooms/${encodeURIComponent(say(room))}/messages${query}` };
  if (type === 'dm_history') return { path: `/api/v1/dms/${encodeURIComponent(say(peer))}/messages${query}` };
  return null;
}

/** With the client library where it has a call for this, else with a bare WebSocket. @param {string} text @param {Where} where */
export function asJavaScript(text, { origin, token }) {
  const held = `const token = ${JSON.stringify(token ?? '$TOKEN')};`;
  const call = callOf(parse(text) ?? {});
  if (call) {
    return [`import { createChat } from ${JSON.stringify(`${origin}/chat-client.js`)};`, '', held,
      `const chat = createChat({ url: ${JSON.stringify(wsUrl(origin))}, token });`, 'await chat.connect();',
      `console.log(await chat.${call});`, ''].join('\n');
  }
  return [held, `const socket = new WebSocket(${JSON.stringify(wsUrl(origin))}, ['chat.v1', \`bearer.\${token}\`]);`,
    'socket.onmessage = ({ data }) => console.log(data);', `socket.onopen = () => socket.send(${JSON.stringify(text)});`, ''].join('\n');
}

function callOf({ type, room, to, content, nonce, with: peer, limit, before, after }) {
  const list = (...values) => values.filter((value) => value !== undefined).map((value) => JSON.stringify(value)).join(', ');
  const options = (values) => (Object.values(values).some((value) => value !== undefined) ? values : undefined);
  switch (type) {
    case 'join': return `join(${list(room)})`;
    case 'leave': return `leave(${list(room)})`;
    case 'message': return `send(${list(room, content, options({ nonce }))})`;
    case 'dm': return `dm(${list(to, content, options({ nonce }))})`;
    case 'room_history': return `roomHistory(${list(room, options({ limit, before, after }))})`;
    case 'dm_history': return `dmHistory(${list(peer, options({ limit, before, after }))})`;
    case 'hello': return 'hello()';
    case 'auth': return 'auth(token)';
    case 'ping': return 'ping()';
    default: return null;
  }
}
