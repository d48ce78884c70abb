import assert from 'node:assert/strict';
import { test } from 'node:test';

import { asked, word, words } from '../js/words.js';

const CONFIG = { slice_ms: 10, hand_off: false, preemption: 'cooperative', rebalance_ratio: 2 };
const field = (name, value, kind) => ({ name, value, kind });

test('only what differs is asked for', () => {
  const same = [field('slice_ms', '10', 'number'), field('hand_off', 'off', 'switch'), field('preemption', 'cooperative', 'choice')];
  assert.deepEqual(asked(same, CONFIG), {});
  const other = [field('slice_ms', '5', 'number'), field('hand_off', 'on', 'switch'), field('preemption', 'off', 'choice'), field('rebalance_ratio', '1.5', 'number')];
  assert.deepEqual(asked(other, CONFIG), { slice_ms: 5, hand_off: true, preemption: 'off', rebalance_ratio: 1.5 });
});

test('a field that the service does not have is left out, an empty one stays', () => {
  assert.deepEqual(asked([field('later', '1', 'number'), field('slice_ms', '', 'number')], CONFIG), {});
});

test('a change is said in words', () => {
  assert.equal(words([{ field: 'slice_ms', old: 10, new: 5 }, { field: 'hand_off', old: false, new: true }]), 'slice_ms 5, hand_off on');
  assert.equal(word(false), 'off');
});
