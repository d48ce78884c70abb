import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COLUMN, grownBetween, rateAt, workerColumn } from '../js/columns.js';
import { groupFindings, sentenceParts } from '../js/sentence.js';
import { Store } from '../js/store.js';
import { Timebase } from '../js/timebase.js';

const START = Date.parse('2026-01-01T00:00:00Z');

/** A tick as the server sends it, with figures that grow in step with time. */
function tick({ boot = 'b1', n, at_ns = n * 1e8, wall = START + at_ns / 1e6, workers = 2, lanes = true, ...more }) {
  const one = (id) => ({
    id, state: 'running', routine: '1', site: null, turn_ns: 1, queue_depth: id + 1, lifo: 0, local: 1, inbox: 0, turns: n * 10,
    turns_by_source: { lifo: 0, inbox: 0, local: n * 9, timer: 0, injector: 0, stolen: n, poller: 0, wanting: 0 }, steal_attempts: n, steals: n, stolen: n, parks: 0, wakes: 0,
    yields: 0, stack_growths: 0, busy_ns: at_ns / 2, searching_ns: 0, hashes: n * 1000,
  });
  return {
    boot, n, at_ns, wall: new Date(wall).toISOString(), interval_ns: 1e8, skipped: 0,
    workers: Array.from({ length: workers }, (_, id) => one(id)),
    steal_matrix: Array.from({ length: workers }, (_, a) => Array.from({ length: workers }, (_, b) => (a === b ? 0 : n))),
    injector_depth: 0,
    routines: { spawned: 9, live: 3, new: 0, runnable: 1, running: 2, blocked: 0, ended: 6, blocked_by: { sleep: 0 } },
    stacks: { in_use: 1, growths: 0, high_water: [] },
    memory: { live_bytes: null, allocated_bytes: null, freed_bytes: null, rss_bytes: 5 },
    mining: { hashes: n * 2000, blocks_appended: 0, baseline_hashes_per_sec: null },
    chain: { length: 42, tip: null }, runs: { running: 0 }, watching: { bytes_sent: 0 }, findings: [],
    ...(lanes ? { lanes: [], sites: {}, steals: [] } : {}), ...more,
  };
}

const feed = (store, from, to, more = {}) => { for (let n = from; n <= to; n += 1) store.tick(tick({ n, ...more })); };

test('what cannot be measured is unknown, not 0', () => {
  const store = new Store();
  store.tick(tick({ n: 1 }));
  assert.ok(Number.isNaN(store.ring.at(0, COLUMN.live_bytes)));
  assert.equal(store.ring.at(0, COLUMN.rss_bytes), 5);
});

test('rates are of the second before, and unknown where there was none', () => {
  const store = new Store();
  feed(store, 1, 20);
  assert.ok(Number.isNaN(rateAt(store.ring, 0, COLUMN.hashes)));
  assert.ok(Math.abs(rateAt(store.ring, 19, COLUMN.hashes) - 20_000) < 1);
  assert.ok(Math.abs(rateAt(store.ring, 19, workerColumn(1, 'hashes')) - 10_000) < 1);
});

test('a tick that comes twice, or late, changes nothing', () => {
  const store = new Store();
  feed(store, 1, 3);
  store.tick(tick({ n: 2 }));
  store.tick(tick({ n: 3 }));
  assert.equal(store.ring.length, 3);
});

test('a hole is a gap, asked for, and closed by the history', () => {
  const store = new Store();
  let since = null;
  store.on('missed', (id) => { since = id; });
  feed(store, 1, 5);
  store.tick(tick({ n: 55 }));
  assert.equal(since, 'b1-5');
  assert.equal(store.ring.at(5, COLUMN.gap), 1);
  assert.ok(Number.isNaN(rateAt(store.ring, 5, COLUMN.hashes)), 'no rate is invented across it');
  store.history({ boot: 'b1', reset: false, samples: [15, 25, 35, 45].map((n) => tick({ n, lanes: false })) });
  assert.equal(store.ring.length, 10);
  for (let i = 1; i < 10; i += 1) assert.equal(store.ring.at(i, COLUMN.gap), 0, `row ${i}`);
});

test('another boot is a restart: counters begin anew, the old curve stays', () => {
  const store = new Store();
  let restarts = 0;
  store.on('restart', () => { restarts += 1; });
  feed(store, 1, 5);
  store.run({ id: '1', created_at: new Date(START).toISOString(), state: 'running' });
  store.tick(tick({ boot: 'b2', n: 1, at_ns: 1e8, wall: START + 3000 }));
  assert.equal(restarts, 1);
  assert.equal(store.runs.size, 0);
  assert.equal(store.restarts.length, 1);
  assert.equal(store.ring.length, 6);
  assert.ok(store.latestTime > 5e8, 'time went on');
  assert.ok(Math.abs(store.latestTime - 3e9) < 1, 'by as much as the wall clock says');
  assert.ok(Number.isNaN(rateAt(store.ring, 5, COLUMN.hashes)), 'a reset is no negative rate');
  assert.equal(grownBetween(store.ring, COLUMN.stolen, 0, 4e9), 0, 'growth is counted within a boot');
});

test('a server that comes back with more workers is shown with them', () => {
  const store = new Store();
  feed(store, 1, 3);
  store.tick(tick({ boot: 'b2', n: 1, wall: START + 5000, workers: 4 }));
  assert.equal(store.workers, 4);
  assert.equal(store.ring.at(3, workerColumn(3, 'queue')), 4);
  assert.ok(Number.isNaN(store.ring.at(0, workerColumn(3, 'queue'))));
});

test('the matrix of a window is what it grew by', () => {
  const store = new Store();
  feed(store, 1, 40);
  const { workers, cells } = store.matrixBetween(2e9, 4e9);
  assert.equal(workers, 2);
  assert.equal(cells[0], 0);
  assert.ok(cells[1] > 10 && cells[1] <= 26, `${cells[1]}`);
});

test('runs are kept newest first and in bounds, and the oldest going on is the one meant', () => {
  const store = new Store();
  for (let i = 0; i < 150; i += 1) store.run({ id: String(i), state: i === 120 || i === 130 ? 'running' : 'succeeded', created_at: new Date(START + i * 1000).toISOString() });
  assert.equal(store.runs.size, 100);
  assert.equal(store.runList()[0].id, '149');
  assert.equal(store.presentRun().id, '120');
});

test('two boots lie one after the other, even when the wall clock was set back', () => {
  const base = new Timebase();
  const first = base.enter('a', 5e9, START);
  base.place(first, 65e9, START + 60_000);
  const second = base.enter('b', 1e8, START - 3_600_000);
  assert.ok(base.place(second, 1e8, START - 3_600_000) > 65e9);
  assert.equal(base.bootAt(10e9), first);
  assert.equal(base.bootAt(1e12), second);
  assert.ok(Math.abs(base.wall(65e9) - (START + 60_000)) < 1e-6);
});

test('the sentence says what the figures say', () => {
  const words = (options) => sentenceParts({ tick: tick({ n: 3 }), stolen: 31, going: 1, rate: 11.2e6, verified: null, ...options }).map((p) => (Array.isArray(p) ? p[0] : p)).join('');
  assert.equal(words({}), '2 of 2 workers busy. 3 routines: 2 running, 1 waiting for a worker, 0 blocked. 31 stolen in this run. 11.2 MH/s. Block 41.');
  assert.match(words({ going: 0 }), /31 stolen since the start\./);
  assert.match(words({ going: 3 }), /stolen in these 3 runs\./);
  assert.match(words({ verified: { valid: true, blocks: 42 } }), /Block 41, chain verified\.$/);
  assert.match(words({ verified: { valid: true, blocks: 40 } }), /Block 41, verified to block 39\.$/);
  assert.match(words({ verified: { valid: false, blocks: 40 } }), /chain damaged/);
  assert.doesNotMatch(words({ rate: 0 }), /H\/s/);
});

test('many findings of one kind are one line', () => {
  const long = (worker) => ({ kind: 'long_turn', text: `Worker ${worker} is long.`, link: '#lanes' });
  const lines = groupFindings([long(5), long(6), { kind: 'run_failed', text: 'Run 3 failed.', link: '#runs' }, long(7)]);
  assert.deepEqual(lines.map((line) => line.words), ['Worker 5 is long. And 2 more like it.', 'Run 3 failed.']);
});
