/**
 * What the server would say to a frame, before it is sent: the same checks in the same order and in the same words.
 * Shape and range only: whether a room or a user exists, and what one may do, only the server knows.
 */

import { splitObject } from './raw-json.js';

const MAX_ID = Number.MAX_SAFE_INTEGER;
const REF_MAX_CHARS = 64;
const NONCE_MAX_CHARS = 64;
const NAME_MAX_CHARS = 64;
const RESUME_ROOMS_MAX = 500;
const I64_MAX = 2n ** 63n - 1n;
const DEFAULTS = { contentBytes: 16 * 1024, frameBytes: 64 * 1024, historyLimit: 500 };
const TYPES = ['join', 'message', 'dm', 'room_history', 'dm_history', 'leave', 'hello', 'resume', 'auth', 'ping'];
const KNOWN = ['type', 'ref', 'room', 'content', 'nonce', 'to', 'with', 'limit', 'before', 'after', 'token', 'rooms', 'epoch'];
const SPACES = '\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const BLANK = new RegExp(`^[${SPACES}]*$`);
const SPACE_AT_AN_END = new RegExp(`^[${SPACES}]|[${SPACES}]$`);
// Control characters, separators and the bidi controls, with which a name could reorder the text around it.
// eslint-disable-next-line no-control-regex -- they are what is looked for
const UNSAFE_IN_NAMES = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

/** @typedef {{code: string, message: string, field?: string, closes?: number}} Problem `closes`: it ends the connection with this code */
/** @typedef {{problem: Problem | null, hints: string[], bytes: number, contentBytes?: number}} Verdict */

class Refused extends Error {
  constructor(code, message, field) {
    super(message);
    Object.assign(this, { code, field });
  }
}

const invalid = (field, message) => new Refused('invalid_field', message, field);
const missing = (field) => invalid(field, `${field} is missing`);
const bytesOf = (text) => new TextEncoder().encode(text).length;
const charsOf = (text) => [...text].length;

/** @param {string} text @param {Record<string, number>} [welcomed] `limits` of the server's `welcome` @returns {Verdict} */
export function checkFrame(text, welcomed = {}) {
  const limits = { ...DEFAULTS, ...welcomed };
  const bytes = bytesOf(text);
  /** @type {Verdict} */ const verdict = { problem: null, hints: [], bytes };
  if (bytes > limits.frameBytes) {
    const message = `the frame has ${bytes} bytes; a frame of more than ${limits.frameBytes} ends the connection with 1009`;
    return { ...verdict, problem: { code: 'too_large', message, closes: 1009 } };
  }
  try {
    const fields = new Fields(text);
    if (typeof fields.value('content') === 'string') verdict.contentBytes = bytesOf(fields.value('content'));
    check(fields, limits);
    verdict.hints = hints(fields, limits);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    verdict.problem = { code: error.code, message: error.message, field: error.field };
  }
  return verdict;
}

/** The fields that the server knows, of which null is the same as absent. */
class Fields {
  all;

  constructor(text) {
    const split = splitObject(text);
    if (text.startsWith('\ufeff')) throw new Refused('invalid_json', 'the text begins with a byte order mark: send plain UTF-8');
    if ('line' in split) throw new Refused('invalid_json', `this is no JSON object (it breaks at line ${split.line}, column ${split.column})`);
    if (!('fields' in split)) throw new Refused('invalid_json', 'this is JSON but no object: send one like {"type":"ping"}');
    this.all = split.fields;
  }

  raw(name) {
    const raw = this.all.findLast((field) => field.name === name)?.raw;
    return raw === 'null' ? undefined : raw;
  }

  value(name) {
    const raw = this.raw(name);
    return raw === undefined ? undefined : JSON.parse(raw);
  }

  text(name) {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') throw invalid(name, `${name} must be a string`);
    if (/\p{Surrogate}/u.test(value)) throw invalid(name, `${name} is not valid Unicode (a lone surrogate?)`);
    return value;
  }

  integer(name, least, most = MAX_ID) {
    const raw = this.raw(name);
    if (raw === undefined) return undefined;
    const number = /^-?\d+$/.test(raw) ? BigInt(raw) : null;
    if (number === null || number < BigInt(least) || number > BigInt(most)) throw invalid(name, `${name} must be an integer from ${least} to ${most}`);
    return number;
  }
}

function check(fields, limits) {
  checkRef(fields);
  const names = fields.all.map(({ name }) => name);
  const twice = names.find((name, index) => KNOWN.includes(name) && names.indexOf(name) < index);
  if (twice) throw invalid(twice, `${twice} is given twice: send it once`);
  const list = TYPES.join(', ');
  const type = fields.value('type');
  if (type === undefined) throw new Refused('unknown_type', `type is missing: use one of ${list}`, 'type');
  if (typeof type !== 'string') throw new Refused('unknown_type', `type must be a string: use one of ${list}`, 'type');
  if (!TYPES.includes(type)) throw new Refused('unknown_type', `unknown type: use one of ${list}`, 'type');
  CHECKS[type]?.(fields, limits);
}

function checkRef(fields) {
  if (typeof fields.value('ref') === 'string') {
    if (charsOf(fields.text('ref')) > REF_MAX_CHARS) throw invalid('ref', 'ref must have at most 64 characters');
    return;
  }
  try {
    fields.integer('ref', -I64_MAX - 1n, I64_MAX);
  } catch {
    throw invalid('ref', 'ref must be a string of at most 64 characters or an integer');
  }
}

const CHECKS = {
  join: room,
  leave: room,
  message(fields, limits) { room(fields); send(fields, limits); },
  dm(fields, limits) { user(fields, 'to'); send(fields, limits); },
  room_history(fields) { room(fields); window(fields); },
  dm_history(fields) { user(fields, 'with'); window(fields); },
  hello(fields) { if (fields.raw('ref') === undefined) throw missing('ref'); },
  auth(fields) { if (fields.text('token') === undefined) throw missing('token'); },
  resume(fields) {
    if (fields.integer('after', 0) === undefined) throw missing('after');
    rooms(fields);
    fields.text('epoch');
  },
};

function rooms(fields) {
  const names = fields.value('rooms');
  if (names === undefined) throw missing('rooms');
  const areTexts = Array.isArray(names) && names.every((name) => typeof name === 'string' && !/\p{Surrogate}/u.test(name));
  if (!areTexts) throw invalid('rooms', 'rooms must be a list of strings');
  if (names.length > RESUME_ROOMS_MAX) throw invalid('rooms', `rooms has ${names.length} entries; at most ${RESUME_ROOMS_MAX} are allowed`);
  for (const name of names) if (nameFault(name)) throw invalid('rooms', `a room in rooms ${nameFault(name)}`);
}

function room(fields) {
  const name = fields.text('room');
  if (name === undefined) throw missing('room');
  if (nameFault(name)) throw invalid('room', `room ${nameFault(name)}`);
}

function nameFault(name) {
  const chars = charsOf(name);
  if (chars === 0) return 'must not be empty';
  if (chars > NAME_MAX_CHARS) return `has ${chars} characters; at most ${NAME_MAX_CHARS} are allowed`;
  if (SPACE_AT_AN_END.test(name)) return 'must not begin or end with white space';
  const bad = UNSAFE_IN_NAMES.exec(name)?.[0];
  return bad && `must not contain the control character U+${bad.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
}

function user(fields, name) {
  if (fields.integer(name, 1) === undefined) throw missing(name);
}

function send(fields, { contentBytes }) {
  const content = fields.text('content');
  if (content === undefined) throw missing('content');
  const bytes = bytesOf(content);
  if (bytes > contentBytes) throw new Refused('too_large', `content has ${bytes} bytes; at most ${contentBytes} are allowed`, 'content');
  if (BLANK.test(content)) throw invalid('content', 'content must not be blank');
  if (content.includes('\0')) throw invalid('content', 'content must not contain U+0000');
  const nonce = fields.text('nonce');
  if (nonce === '') throw invalid('nonce', 'nonce must not be empty; a UUID is a good choice');
  if (nonce !== undefined && charsOf(nonce) > NONCE_MAX_CHARS) throw invalid('nonce', 'nonce must have at most 64 characters');
}

function window(fields) {
  fields.integer('limit', 1, I64_MAX);
  const before = fields.integer('before', 1);
  const after = fields.integer('after', 0);
  if (before !== undefined && after !== undefined) throw invalid('before', 'give either before or after, not both');
}

/** What is no fault, but perhaps not what was meant. */
function hints(fields, { historyLimit }) {
  const said = [];
  const strange = [...new Set(fields.all.map(({ name }) => name).filter((name) => !KNOWN.includes(name)))];
  if (strange.length > 0) said.push(`${strange.map((name) => JSON.stringify(name)).join(', ')}: unknown, and ignored.`);
  if (typeof fields.value('ref') === 'number') said.push('A number as ref may be one of the page’s own: text is safer.');
  if (/_history$/.test(fields.value('type')) && Number(fields.value('limit')) > historyLimit) said.push(`limit is cut to ${historyLimit}.`);
  return said;
}
