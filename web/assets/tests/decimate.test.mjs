import assert from 'node:assert/strict';
import { test } from 'node:test';
import { minMax, summarise } from '../js/decimate.js';

function decimated(values, perColumn) {
  const points = [];
  minMax(values.length, (i) => i, (i) => values[i], (t) => Math.floor(t / perColumn), (t, v) => points.push([t, v]));
  return points;
}

test('a peak of one sample in ten thousand survives', () => {
  const values = new Array(10_000).fill(1);
  values[4321] = 99;
  values[777] = -5;
  const points = decimated(values, 100);
  assert.ok(points.length <= 4 * 100);
  assert.ok(points.some(([t, v]) => t === 4321 && v === 99));
  assert.ok(points.some(([t, v]) => t === 777 && v === -5));
});

test('points come in order of time', () => {
  const values = Array.from({ length: 500 }, (_, i) => Math.sin(i * 7.3) * 10);
  const points = decimated(values, 13);
  for (let i = 1; i < points.length; i += 1) assert.ok(points[i][0] > points[i - 1][0]);
  assert.deepEqual(points[0], [0, values[0]]);
  assert.deepEqual(points.at(-1), [499, values[499]]);
});

test('an unknown value breaks the line once', () => {
  const points = decimated([1, 2, NaN, NaN, 3], 1);
  assert.deepEqual(points.map(([t]) => t), [0, 1, 2, 4]);
  assert.ok(Number.isNaN(points[2][1]));
});

test('few points are all drawn', () => {
  assert.deepEqual(decimated([3, 1, 2], 1), [[0, 3], [1, 1], [2, 2]]);
});

test('a mean weighs values by how long they stood', () => {
  const times = [0, 9, 10];
  const all = summarise(3, (i) => times[i], (i) => [10, 20, NaN][i], 10);
  assert.deepEqual(all, { least: 10, most: 20, mean: 11 });
  assert.equal(summarise(1, () => 0, () => NaN, 1), null);
});
