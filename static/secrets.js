/**
 * Tokens in the text of a frame: found wherever they stand, and put back where a token belongs. The text may be JSON or
 * not, and may give a field twice; what is no secret stays as it was written. Pure text.
 */

export const HIDDEN = '(hidden)';

/** A string of JSON, and if that is the name of a field whose value is a string, both; or one that nobody ends. */
const STRINGS = /("(?:[^"\\]|\\.)*")(?:(\s*:\s*)("(?:[^"\\]|\\.)*"))?|".*/gs;
const TOKEN_NAME = /token$|^jwt$/i;
const RUN = /(?<![\w.-])[\w.-]+/g; // each of them once, whole: a text full of almost-tokens is not read again and again
const HEADER_AT_LEAST = 10; // eyJhIjoxfQ is {"a":1}

/**
 * The text as it may be shown and kept: without any JWT, without this token of one's own, and without what stands in a
 * field that is named like one.
 * @param {string} text @param {string} [own] @param {string} [instead]
 */
export function withoutToken(text, own = '', instead = HIDDEN) {
  const hide = (part) => (own ? part.replaceAll(own, () => instead) : part).replace(RUN, (run) => withoutJwt(run, instead));
  const hideIn = (literal) => {
    const value = valueOf(literal); // in which a token may be written in escapes
    const left = hide(value);
    return left === value ? literal : JSON.stringify(left);
  };
  return hide(text.replace(STRINGS, (all, name, colon, value) => {
    if (name === undefined) return all;
    if (colon === undefined) return hideIn(name);
    return hideIn(name) + colon + (TOKEN_NAME.test(valueOf(name)) ? JSON.stringify(instead) : hideIn(value));
  }));
}

/**
 * Puts something else where a field `token` holds exactly `from`. In any other place it is text, and stays.
 * @param {string} text @param {string} from @param {(literal: string) => string} to what takes the place of the value with its quotes
 */
export function atTokens(text, from, to) {
  return text.replace(STRINGS, (all, name, colon, value) => (
    colon !== undefined && valueOf(name) === 'token' && valueOf(value) === from ? name + colon + to(value) : all));
}

/** Three parts with dots between, of which the first begins as JSON does in base64. */
function withoutJwt(run, instead) {
  const parts = run.split('.');
  for (let at = 0; at + 2 < parts.length; at += 1) {
    const start = parts[at].indexOf('eyJ');
    if (start < 0 || parts[at].length - start < HEADER_AT_LEAST || parts[at + 1] === '') continue;
    parts.splice(at, 3, parts[at].slice(0, start) + instead);
  }
  return parts.join('.');
}

function valueOf(literal) {
  try {
    return JSON.parse(literal);
  } catch {
    return literal.slice(1, -1); // a line break inside, for instance
  }
}
