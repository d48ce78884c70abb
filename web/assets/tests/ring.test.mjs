import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ring } from '../js/ring.js';

const times = (ring) => Array.from({ length: ring.length }, (_, i) => ring.time(i));

test('the newest row pushes out the oldest', () => {
  const ring = new Ring(3, 2);
  for (let t = 1; t <= 5; t += 1) ring.push([t, t * 10]);
  assert.deepEqual(times(ring), [3, 4, 5]);
  assert.equal(ring.at(0, 1), 30);
});

test('time never runs back', () => {
  const ring = new Ring(4, 1);
  ring.push([5]);
  assert.equal(ring.push([5]), false);
  assert.equal(ring.push([4]), false);
  assert.deepEqual(times(ring), [5]);
});

test('rows are found by time', () => {
  const ring = new Ring(8, 1);
  for (const t of [10, 20, 30]) ring.push([t]);
  assert.deepEqual([5, 10, 11, 30, 31].map((t) => ring.find(t)), [0, 0, 1, 2, 3]);
  assert.deepEqual([5, 10, 11, 30, 99].map((t) => ring.before(t)), [-1, 0, 0, 2, 2]);
});

test('late rows go into their place and leave what is there alone', () => {
  const ring = new Ring(8, 2);
  for (const t of [1, 2, 7, 8]) ring.push([t, 0]);
  ring.merge([[5, 1], [2, 1], [4, 1]]);
  assert.deepEqual(times(ring), [1, 2, 4, 5, 7, 8]);
  assert.equal(ring.at(1, 1), 0, 'the row of time 2 was known');
  assert.equal(ring.at(2, 1), 1);
});

test('a merge into a full ring still drops the oldest only', () => {
  const ring = new Ring(4, 1);
  for (const t of [10, 20, 30, 40]) ring.push([t]);
  ring.merge([[25], [5]]);
  assert.deepEqual(times(ring), [20, 25, 30, 40]);
});

test('wider rows keep their values and leave new columns unknown', () => {
  const ring = new Ring(4, 2);
  ring.push([1, 7]);
  const wider = ring.widened(3);
  assert.equal(wider.at(0, 1), 7);
  assert.ok(Number.isNaN(wider.at(0, 2)));
});
