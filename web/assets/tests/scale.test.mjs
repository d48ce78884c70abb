import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GrowingMax, linear, niceCeiling } from '../js/scale.js';
import { timeStep, timeTicks, valueTicks } from '../js/ticks.js';

test('a scale and its inverse undo each other, also upside down', () => {
  const y = linear(0, 50, 200, 20);
  assert.equal(y(0), 200);
  assert.equal(y(50), 20);
  assert.ok(Math.abs(y.invert(y(33)) - 33) < 1e-9);
  assert.equal(linear(5, 5, 1, 2)(7), 1);
});

test('the end of an axis is round and not below the peak', () => {
  for (const [value, expected] of [[0, 1], [1, 1], [1.1, 2], [7, 10], [11_200_000, 20_000_000], [0.3, 0.5]]) {
    assert.ok(Math.abs(niceCeiling(value) - expected) < expected * 1e-9, `${value}`);
  }
  assert.equal(niceCeiling(70 << 20, 1024), 128 << 20);
});

test('within a window the axis only grows', () => {
  const max = new GrowingMax();
  assert.equal(max.update('a', 70, 0, 10), 100);
  assert.equal(max.update('a', 3, 5, 10), 100, 'a fall does not shrink it');
  assert.equal(max.update('a', 130, 6, 10), 200);
  assert.equal(max.update('b', 3, 7, 10), 5, 'another window starts afresh');
});

test('a burst that has long left the window does not flatten what follows', () => {
  const max = new GrowingMax();
  max.update('a', 5000, 0, 10);
  assert.equal(max.update('a', 4, 9, 10), 5000);
  assert.equal(max.update('a', 4, 21, 10), 5);
});

test('marks of values are round, begin at zero and stay within the axis', () => {
  assert.deepEqual(valueTicks(100), [0, 50, 100]);
  assert.deepEqual(valueTicks(4, 3, { whole: true }), [0, 2, 4]);
  assert.deepEqual(valueTicks(2, 5, { whole: true }), [0, 1, 2], 'no half routine');
  assert.deepEqual(valueTicks(0), [0]);
  for (const max of [1, 2, 5, 10, 20e6]) assert.ok(valueTicks(max).at(-1) <= max);
});

test('marks of time keep their distance at every zoom', () => {
  for (const span of [2e3, 1e6, 2e9, 10e9, 60e9, 600e9]) {
    const step = timeStep(span, 1500, 100);
    assert.ok((step / span) * 1500 >= 100 * 0.999 || step === 300e9, `${span}`);
  }
});

test('marks of time stand on round moments of the wall clock and travel with the data', () => {
  const wallAtZero = 1_700_000_000_123.25;
  const first = timeTicks(3e9, 13e9, 1000, 100, wallAtZero);
  const later = timeTicks(3.4e9, 13.4e9, 1000, 100, wallAtZero);
  for (const time of first.ticks) {
    const wall = wallAtZero + time / 1e6;
    assert.ok(Math.abs(wall - Math.round(wall / 1000) * 1000) < 0.01, `${wall}`);
  }
  const shared = first.ticks.filter((time) => time >= 3.4e9);
  assert.deepEqual(later.ticks.slice(0, shared.length), shared);
});
