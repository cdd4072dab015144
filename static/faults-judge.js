/**
 * Whether what came is whole: every message of a conversation from where one was to where it ends, each once. The
 * server numbers a conversation's messages 1, 2, 3 without a hole (`seq`), so this needs no trust in anybody. Pure data.
 */

/**
 * @typedef {{key: string, from: number, to: number, missing: number[], twice: number[]}} Finding `from` and `to`: the `seq`s that were due
 * @param {{before: Map<string, number>, arrived: {key: string, seq: number}[], until?: Map<string, number>}} what `before`: the
 *   last `seq` that was there at the start; `until`: one that is known to exist, from another source
 * @returns {Finding[]}
 */
export function judge({ before, arrived, until = new Map() }) {
  const seen = new Map();
  for (const { key, seq } of arrived) {
    const counts = seen.get(key) ?? new Map();
    seen.set(key, counts.set(seq, (counts.get(seq) ?? 0) + 1));
  }
  return [...new Set([...seen.keys(), ...until.keys()])].map((key) => {
    const counts = seen.get(key) ?? new Map();
    const seqs = [...counts.keys()];
    const from = (before.get(key) ?? Math.min(...seqs, until.get(key) ?? Infinity) - 1) + 1;
    const to = Math.max(...seqs, until.get(key) ?? 0);
    const missing = [];
    for (let seq = from; seq <= to; seq += 1) if (!counts.has(seq)) missing.push(seq);
    // What was there before and came again is twice as well.
    const twice = seqs.filter((seq) => counts.get(seq) > 1 || seq < from).sort((a, b) => a - b);
    return { key, from, to, missing, twice };
  });
}

/** @param {Finding[]} findings @returns {{ok: boolean, text: string}} */
export function verdict(findings) {
  const bad = findings.filter(({ missing, twice }) => missing.length > 0 || twice.length > 0);
  const ok = bad.length === 0;
  if (findings.length === 0) return { ok, text: 'Nothing came, and nothing was due.' };
  const told = (ok ? findings : bad).map(({ key, from, to, missing, twice }) => [
    placeName(key),
    ok && `number ${from === to ? from : `${from} to ${to}`}`,
    missing.length > 0 && `missing ${missing.join(', ')}`,
    twice.length > 0 && `twice ${twice.join(', ')}`,
  ].filter(Boolean).join(' '));
  return { ok, text: ok ? `Nothing missed, nothing twice: ${told.join('; ')}.` : `Not whole: ${told.join('; ')}.` };
}

export const placeName = (key) => key.replace(/^room:/, '#').replace(/^dm:/, 'DM with user ');
