import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Absences, describe, ROWS } from '../js/absences.js';
import { Lanes } from '../js/cells.js';

const KERNEL = 0;
const FROZEN = 1;
const span = (start, length, { thread = 3, why = KERNEL, wanting = 0, from = 0, to = 1, routine = '7' } = {}) => [start, length, wanting, why, thread, from, to, routine, 0, null];
const sites = { 0: 'a.rs:1' };

function made(list, offset = 0) {
  const absences = new Absences();
  absences.add(list, sites, offset);
  return absences;
}

test('what overlaps lies in different rows, what does not shares one', () => {
  const absences = made([span(0, 10), span(5, 10, { thread: 4 }), span(20, 5, { thread: 5 })]);
  assert.equal(absences.find(0, 7).thread, 3);
  assert.equal(absences.find(1, 7).thread, 4);
  assert.equal(absences.find(0, 22).thread, 5);
  assert.equal(absences.rowsBetween(0, 100), 2);
  assert.equal(absences.rowsBetween(16, 100), 1);
  assert.equal(absences.rowsBetween(50, 100), 0);
});

test('what goes on grows in its row until it has ended', () => {
  const absences = made([span(0, 10, { to: null })], 1000);
  absences.add([span(0, 20, { to: null }), span(15, 2, { thread: 9 })], sites, 1000);
  assert.equal(absences.rows[0].length, 1);
  assert.equal(absences.find(0, 1018).end, 1020);
  assert.equal(absences.find(1, 1016).thread, 9, 'no other comes into its row');
  absences.add([span(0, 25, { to: 1, wanting: 5 })], sites, 1000);
  assert.deepEqual([absences.rows[0].length, absences.find(0, 1024).to, absences.find(0, 1024).wanting], [1, 1, 5]);
  assert.equal(absences.open.size, 0);
});

test('one whose end was lost on the way ends where it was last seen', () => {
  const absences = made([span(0, 10, { to: null })]);
  absences.add([], sites, 0);
  absences.add([span(12, 3, { thread: 8 })], sites, 0);
  assert.equal(absences.find(0, 13).thread, 8);
});

test('more than there are rows are counted', () => {
  const absences = made(Array.from({ length: ROWS + 3 }, (_, thread) => span(0, 10, { thread })));
  assert.equal(absences.rowsBetween(0, 1), ROWS);
  assert.equal(absences.missingBetween(0, 1), 3);
  absences.trim(11);
  assert.deepEqual([absences.rowsBetween(0, 100), absences.missingBetween(0, 100)], [0, 0]);
});

test('the past is filled in, and nothing is there twice', () => {
  const lanes = new Lanes();
  lanes.add({ lanes: [], sites, absences: [span(90, 20), span(105, 5, { thread: 6, to: null })] }, 0);
  lanes.backfill({ lanes: [], sites, steals: [], from_ns: 0, absences: [span(10, 5, { thread: 5 }), span(90, 20)] }, 0, 100);
  assert.deepEqual(lanes.absences.newest(9).map(({ start, thread }) => [start, thread]), [[105, 6], [90, 3], [10, 5]]);
  assert.equal(lanes.absences.open.size, 1);
});

test('a tick without lanes ends nothing', () => {
  const lanes = new Lanes();
  lanes.add({ lanes: [], sites, absences: [span(0, 10, { to: null })] }, 0);
  lanes.add({}, 0);
  assert.equal(lanes.absences.open.size, 1);
});

test('it is said in words', () => {
  const words = (list) => describe(made(list).find(0, 1), (ns) => `${ns} ns`);
  assert.equal(words([span(0, 30, { wanting: 4 })]), 'routine 7, asleep in the kernel on thread 3 without a worker for 30 ns, 4 ns of it waiting for a worker; worker 0 was taken from it; then given worker 1');
  assert.match(words([span(0, 30, { why: FROZEN, wanting: 30, to: null })]), /stopped after its slice .* goes on$/);
});
