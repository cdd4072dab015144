/**
 * What can be seen of a token without the key: its parts, what each claim is to this server, and what will surely be
 * refused. Nothing is verified here: whether it is true, and which fault comes first, only the server says.
 */

import { formatDuration } from './dom.js';

const LONGEST_BYTES = 8 * 1024;
const LARGEST_ID = Number.MAX_SAFE_INTEGER;
const LEEWAY_SECONDS = 5;
const LONGEST_NAME = 64;
// The server's own order: the first that is there decides.
const USER_CLAIMS = ['user_id', 'sub', 'id'];
const NAME_CLAIMS = ['username', 'preferred_username', 'name'];
const TIME_CLAIMS = ['exp', 'nbf', 'iat'];
const PARTS = ['header', 'claims', 'signature'];

/** @typedef {{clean: string, header: Record<string, unknown> | null, claims: Record<string, unknown> | null, faults: string[], hints: string[]}} Reading
 *   `faults`: what the server refuses; `hints`: what it takes, but perhaps not as it was meant */

/** People paste tokens with line breaks, quotes, or the header's "Bearer". @param {string} text */
export function cleanToken(text) {
  return text.replace(/^[\s"'`]*(authorization\s*:\s*)?bearer\s+/i, '').replace(/[\s"'`]/g, '');
}

/**
 * What a JWT says about itself.
 * @param {string} token @returns {Record<string, unknown> | null}
 */
export function decodeToken(token) {
  const parts = token.split('.');
  return parts.length === 3 ? decodePart(parts[1]) : null;
}

function decodePart(part) {
  try {
    const binary = atob(part.replace(/-/g, '+').replace(/_/g, '/'));
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(binary, (char) => char.charCodeAt(0))));
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** @param {string} text as it was pasted @param {number} [now] in milliseconds @returns {Reading} */
export function readToken(text, now = Date.now()) {
  const clean = cleanToken(text);
  const parts = clean.split('.');
  const header = parts.length === 3 ? decodePart(parts[0]) : null;
  const claims = decodeToken(clean);
  /** @type {string[]} */ const faults = [];
  const hints = pastedAlong(text.trim());
  if (clean) {
    shapeFaults(clean, parts, header, claims, faults);
    if (header) headerFaults(header, faults);
    if (claims) {
      timeFaults(claims, Math.floor(now / 1000), faults);
      userFaults(claims, faults);
      nameHints(claims, hints);
    }
  }
  return { clean, header, claims, faults, hints };
}

function pastedAlong(text) {
  const found = [];
  if (/^[\s"'`]*(authorization\s*:\s*)?bearer\s/i.test(text)) found.push('the word Bearer');
  if (/["'`]/.test(text)) found.push('quotes');
  if (/\s/.test(text.replace(/^["'`]*(authorization\s*:\s*)?bearer\s+/i, ''))) found.push('white space');
  if (found.length === 0) return [];
  const list = found.length > 1 ? `${found.slice(0, -1).join(', ')} and ${found.at(-1)}` : found[0];
  return [`Pasted along: ${list}. Left out here; a program must leave it out, too.`];
}

function shapeFaults(clean, parts, header, claims, faults) {
  const bytes = new TextEncoder().encode(clean).length;
  if (bytes > LONGEST_BYTES) faults.push(`It has ${bytes} bytes; at most ${LONGEST_BYTES} are read.`);
  if (parts.length !== 3) {
    faults.push(`It has ${parts.length === 1 ? 'one part' : `${parts.length} parts`}; a JWT has three, with dots between them.`);
    return;
  }
  for (const [index, name] of PARTS.entries()) {
    const fault = base64Fault(parts[index]);
    if (fault) faults.push(`The ${name} ${name === 'claims' ? 'are' : 'is'} no base64url: ${fault}.`);
    else if (index === 0 && !header) faults.push('The header is no JSON object.');
    else if (index === 1 && !claims) faults.push('The claims are no JSON object.');
  }
}

function base64Fault(part) {
  if (part === '') return 'nothing stands there';
  if (part.includes('=')) return '= at the end is not written in a JWT';
  const wrong = /[^A-Za-z0-9_-]/u.exec(part)?.[0];
  if (wrong) return { '+': '+ is written as -', '/': '/ is written as _' }[wrong] ?? `${wrong} is not among its letters`;
  return part.length % 4 === 1 ? 'a letter is missing at its end' : '';
}

function headerFaults({ alg, crit }, faults) {
  if (typeof alg !== 'string') faults.push('The header names no alg; this server takes HS256 only.');
  else if (alg.toLowerCase() === 'none') faults.push('alg is none: it is not signed, so anybody could have written it.');
  else if (alg !== 'HS256') faults.push(`alg is ${alg}; this server takes HS256 only.`);
  if (crit !== undefined) faults.push('The header has crit; no extension is supported.');
}

function timeFaults(claims, now, faults) {
  const { exp, nbf, iat } = claims;
  if (exp === undefined) faults.push('There is no exp: a token must expire.');
  for (const name of TIME_CLAIMS) {
    if (claims[name] === undefined || Number.isInteger(claims[name])) continue;
    const kind = typeof claims[name] === 'string' ? 'a string' : 'no integer';
    faults.push(`${name} is ${kind}; it must be an integer, in seconds since 1970.`);
  }
  if (Number.isInteger(exp)) {
    if (exp <= now) faults.push('It has expired.');
    if (exp > 1e11) faults.push(`exp lies in the year ${new Date(exp * 1000).getFullYear() || 'far beyond 9999'}: milliseconds? It counts seconds.`);
  }
  if (Number.isInteger(nbf) && nbf - now > LEEWAY_SECONDS) faults.push('It is not valid yet (nbf): are the clocks of both machines right?');
  if (Number.isInteger(iat) && iat - now > LEEWAY_SECONDS) faults.push('It was issued in the future (iat): are the clocks of both machines right?');
}

/** The claim that says who this is: the first that is there. @param {Record<string, unknown>} claims */
export const userClaim = (claims) => USER_CLAIMS.find((name) => claims[name] !== undefined && claims[name] !== null);
const nameClaim = (claims) => NAME_CLAIMS.find((name) => typeof claims[name] === 'string');

function userFaults(claims, faults) {
  const name = userClaim(claims);
  if (!name) {
    faults.push(`There is no user id: the server looks for ${USER_CLAIMS.join(', ')}.`);
    return;
  }
  const value = claims[name];
  const digits = name !== 'user_id' && typeof value === 'string' && /^\d+$/.test(value);
  const id = digits ? Number(value) : value;
  if (!Number.isInteger(id)) {
    const kind = typeof value === 'string' ? 'a string' : 'no integer';
    faults.push(`${name} is ${kind}; it must be an integer${name === 'user_id' ? '' : ', or a string of digits'}.`);
  } else if (id > LARGEST_ID) faults.push(`${name} is larger than 2^53 − 1, the largest id.`);
  else if (id < 1) faults.push(`${name} must be 1 or more.`);
}

function nameHints(claims, hints) {
  const name = nameClaim(claims);
  const text = name ? String(claims[name]).trim() : '';
  if (!text) hints.push(`${name ? `${name} is blank` : `There is no name (${NAME_CLAIMS.join(', ')})`}: the server calls this user user-<id>.`);
  else if ([...text].length > LONGEST_NAME) hints.push(`${name} is cut after ${LONGEST_NAME} characters.`);
}

/** What a claim is to this server, in words. @param {string} name @param {Record<string, unknown>} claims */
export function explainClaim(name, claims) {
  if (USER_CLAIMS.includes(name)) return explainFirst(name, userClaim(claims), 'who this is');
  if (NAME_CLAIMS.includes(name)) return explainFirst(name, nameClaim(claims), 'what others see');
  const known = {
    role: typeof claims.role === 'string' && claims.role !== '' && new TextEncoder().encode(claims.role).length <= LONGEST_NAME
      ? 'the role; admin may see how the server is doing' : 'not readable as a role: taken as user',
    exp: 'when it ends; five seconds are forgiven when somebody connects',
    nbf: 'not to be taken before',
    iat: 'when it was issued',
    iss: 'who issued it; not looked at here',
    aud: 'for whom it was issued; not looked at here',
    jti: 'its own number; not looked at here',
  };
  return Object.hasOwn(known, name) ? known[name] : 'not looked at here'; // a claim may be called toString
}

function explainFirst(name, taken, what) {
  if (name === taken) return `${what}: this one is taken`;
  return taken ? `${what}; not looked at, since ${taken} is there` : `${what}; not readable`;
}

/** @param {string} name @param {unknown} value */
export const isMoment = (name, value) => TIME_CLAIMS.includes(name) && Number.isInteger(value) && Math.abs(Number(value)) <= 8.64e12;

/** "in 5 min", "3 h 20 min ago". @param {number} seconds Unix time @param {number} [now] in milliseconds */
export function relativeTime(seconds, now = Date.now()) {
  const away = seconds * 1000 - now;
  return away > 0 ? `in ${formatDuration(away)}` : `${formatDuration(-away)} ago`;
}

/** @param {Record<string, unknown> | null} claims @param {number} [now] in milliseconds */
export function expiryText(claims, now = Date.now()) {
  if (!claims) return 'this is not a JWT: three base64url parts with dots between';
  if (!Number.isFinite(claims.exp)) return 'no expiry';
  const seconds = Number(claims.exp);
  return seconds * 1000 > now ? `expires ${relativeTime(seconds, now)}` : `expired ${relativeTime(seconds, now)}`;
}
