import assert from 'node:assert/strict';
import { test } from 'node:test';

// The module reaches for the page only when its class is made.
import { alike, figure, groups, mainFigure, share } from '../js/bench.js';

const spread = (median) => ({ min: median - 1, median, max: median + 1, runs: [median] });
const result = {
  bench: 'yield_alone',
  figure: 'cpu',
  operation: 'yield',
  workers: 2,
  recorder: true,
  commit: 'abc',
  machine: { cpu: 'x', cores: 2 },
  peers: [
    { peer: 'openwork', figures: [{ name: 'time', unit: 'ns', ...spread(12) }, { name: 'cpu', unit: 'ns', ...spread(11) }] },
    { peer: 'std', figures: [{ name: 'time', unit: 'ns', ...spread(48) }] },
  ],
  ratios: [{ peer: 'std', figure: 'time', ...spread(0.25) }],
};

test('values are shown in the unit that people read', () => {
  assert.equal(figure(12.34, 'ns'), '12.3 ns');
  assert.equal(figure(1500, 'us'), '1.50 ms');
  assert.equal(figure(4096, 'B'), '4.00 KiB');
  assert.equal(figure(31, 'routines'), '31 routines');
  assert.equal(figure(undefined, 'ns'), '–');
});

test('a ratio is never shown as nothing', () => {
  assert.deepEqual([share(0.25), share(1.5), share(0.004)], ['0.25', '1.50', 'under 0.01']);
});

test('the figure that a bench is about comes first, with the ratio beside the one it is a share of', () => {
  const [first, second] = groups(result);
  assert.deepEqual([first.name, second.name], ['cpu', 'time']);
  assert.deepEqual(first.rows.map((row) => row.peer), ['openwork']);
  assert.deepEqual(second.rows.map((row) => row.ratio), [null, 0.25]);
  assert.equal(mainFigure(result).median, 11);
});

test('results of another commit, machine or number of workers are not alike', () => {
  assert.ok(alike(result, structuredClone(result)));
  assert.ok(!alike(result, { ...result, commit: 'def' }));
  assert.ok(!alike(result, { ...result, workers: 1 }));
  assert.ok(!alike(result, { ...result, machine: { cpu: 'x', cores: 4 } }));
});
