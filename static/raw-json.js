/**
 * A JSON object taken apart into its fields, each still as the text that was written, with the place where the text
 * breaks. `JSON.parse` would lose what the server looks at: a field that is given twice, 1.0 where 1 is asked for, an
 * integer beyond 2^53.
 */

/** @typedef {{name: string, raw: string}} Field */

class Broken extends Error {
  constructor(at) {
    super('broken');
    this.at = at;
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const SPACE = /[ \t\n\r]*/y;
// eslint-disable-next-line no-control-regex -- these are what a JSON string must not hold
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y;
const STRING_START = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*/y;
const DEEPEST = 2_000;

/**
 * @param {string} text
 * @returns {{fields: Field[]} | {isObject: false} | {line: number, column: number}} the last where it is no JSON
 */
export function splitObject(text) {
  try {
    let at = space(text, 0);
    const fields = text[at] === '{' ? [] : null;
    at = value(text, at, 0, fields);
    at = space(text, at);
    if (at < text.length) throw new Broken(at);
    return fields ? { fields } : { isObject: false };
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    const before = text.slice(0, error.at).split('\n');
    return { line: before.length, column: before.at(-1).length + 1 };
  }
}

function take(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : -1;
}

const space = (text, at) => take(SPACE, text, at);

function string(text, at) {
  const end = take(STRING, text, at);
  if (end < 0) throw new Broken(Math.max(at, take(STRING_START, text, at)));
  return end;
}

/** @param {Field[] | null} [fields] where those of this object go @returns {number} the place behind the value */
function value(text, at, depth, fields = null) {
  if (depth > DEEPEST) throw new Broken(at);
  if (text[at] === '"') return string(text, at);
  if (text[at] === '{') return members(text, at, '}', (start) => member(text, start, depth, fields));
  if (text[at] === '[') return members(text, at, ']', (start) => value(text, start, depth + 1));
  for (const word of ['true', 'false', 'null']) if (text.startsWith(word, at)) return at + word.length;
  const end = take(NUMBER, text, at);
  if (end < 0) throw new Broken(at);
  return end;
}

function member(text, start, depth, fields) {
  const nameEnd = string(text, start);
  const colon = space(text, nameEnd);
  if (text[colon] !== ':') throw new Broken(colon);
  const from = space(text, colon + 1);
  const end = value(text, from, depth + 1);
  fields?.push({ name: JSON.parse(text.slice(start, nameEnd)), raw: text.slice(from, end) });
  return end;
}

function members(text, open, close, one) {
  let at = space(text, open + 1);
  if (text[at] === close) return at + 1;
  for (;;) {
    at = space(text, one(at));
    if (text[at] === close) return at + 1;
    if (text[at] !== ',') throw new Broken(at);
    at = space(text, at + 1);
  }
}
