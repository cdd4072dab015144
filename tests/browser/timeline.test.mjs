/** How the page keeps the messages of a conversation: in order, and each once. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timeline } from '../../static/timeline.js';

const ME = 7;
const message = (id, seq, more = {}) => ({
  id, seq, fromUser: 1, username: 'bob', content: `m${id}`, timestamp: '2026-01-15T12:00:00.123Z', ...more,
});
const ids = (timeline) => timeline.messages.map(({ id }) => id);

test('messages from live delivery and from histories end up in order, each once', () => {
  const timeline = new Timeline(ME);
  timeline.merge([message(10, 3), message(12, 4)]);
  timeline.merge([message(12, 4), message(15, 5)]);
  timeline.merge([message(4, 1), message(7, 2), message(10, 3)]);
  assert.deepEqual(ids(timeline), [4, 7, 10, 12, 15]);
});

test('an own message turns from outgoing into stored, whether its echo or its receipt comes first', () => {
  const outgoing = { nonce: 'n1', content: 'hello', at: 0, status: 'sending' };
  const receipt = { id: 20, seq: 1, timestamp: '2026-01-15T12:00:00.123Z' };
  const echo = message(20, 1, { fromUser: ME, nonce: 'n1', content: 'hello' });
  for (const steps of [['receipt', 'echo'], ['echo', 'receipt']]) {
    const timeline = new Timeline(ME);
    timeline.outgoing.push(outgoing);
    for (const step of steps) {
      if (step === 'echo') timeline.merge([echo]);
      else timeline.stored(outgoing, receipt, 'ann');
      assert.deepEqual(ids(timeline), [20]);
      assert.deepEqual(timeline.outgoing, []);
    }
  }
});

test('somebody else with the same nonce does not take our outgoing message away', () => {
  const timeline = new Timeline(ME);
  timeline.outgoing.push({ nonce: 'n1', content: 'hello', at: 0, status: 'waiting' });
  timeline.merge([message(1, 1, { nonce: 'n1' })]);
  assert.equal(timeline.outgoing.length, 1);
});

test('a tab that stays open for days lets go of the oldest', () => {
  const timeline = new Timeline(ME);
  timeline.merge(Array.from({ length: 700 }, (_, index) => message(index + 1, index + 1)));
  assert.ok(timeline.trim());
  assert.equal(timeline.messages.length, 400);
  assert.equal(timeline.messages[0].id, 301);
  assert.ok(!timeline.trim());
  timeline.merge([message(300, 300)]);
  assert.equal(timeline.messages[0].id, 300, 'what was let go can be loaded again');
});
