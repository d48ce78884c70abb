import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bundle, Classes, GROUPS, Lanes, rasterise } from '../js/cells.js';

const LOCAL = 2;
const STOLEN = 5;
const cell = (start, length, { source = LOCAL, share = 1, turns = 1, routine = '7', site = 0, workload = '1' } = {}) => [start, length, source, share, turns, routine, site, workload];
const message = (cells, steals = []) => ({ lanes: [cells], sites: { 0: 'a.rs:1', 1: 'b.rs:2' }, steals });

function raster(cells, { from = 0, to = 100, pixel = 1 } = {}) {
  const lanes = new Lanes();
  lanes.add(message(cells), 0);
  const classes = new Classes('source');
  return rasterise(lanes, 0, { from, to, pixel, keys: GROUPS.length }, (c, chunk) => classes.of(c, chunk));
}

test('what a lane shows is as busy as its turns were', () => {
  // Turns of every width, without a gap between them: each column must come out full.
  const cells = [];
  let at = 0;
  for (let i = 0; at < 100; i += 1) {
    const length = 0.3 + ((i * 7) % 11) * 0.41;
    cells.push(cell(at, length));
    at += length;
  }
  const { rects, columns, width } = raster(cells);
  const full = new Float64Array(width);
  for (let x = 0; x < width; x += 1) for (let key = 0; key < GROUPS.length; key += 1) full[x] += columns[x * GROUPS.length + key];
  for (const rect of rects) for (let x = Math.max(0, rect.x); x < Math.min(width, rect.x + rect.width); x += 1) full[x] += rect.share;
  for (let x = 0; x < width; x += 1) assert.ok(Math.abs(full[x] - 1) < 1e-4, `column ${x} is ${full[x]}`);
});

test('a wide turn is one rectangle on whole pixels', () => {
  const { rects } = raster([cell(10.25, 20)]);
  assert.equal(rects.length, 1);
  assert.deepEqual([rects[0].x, rects[0].width], [11, 19]);
});

test('a merged cell is as high as its busy share', () => {
  const { columns } = raster([cell(5, 1, { share: 0.25, turns: 40, source: STOLEN })]);
  assert.equal(columns[5 * GROUPS.length + GROUPS.indexOf('stolen')], 0.25);
});

test('a turn that is not over is left to come again', () => {
  const lanes = new Lanes();
  lanes.add(message([cell(0, 5), [6, 3, null, 1, 0, '9', 0, null]]), 0);
  assert.equal(lanes.find(0, 7), null);
  lanes.add(message([cell(6, 9, { routine: '9' })]), 0);
  assert.equal(lanes.find(0, 7).cell.routine, '9');
});

test('cells are found across chunks, moved by the boot, and forgotten when old', () => {
  const lanes = new Lanes();
  lanes.add(message([cell(0, 10), cell(10, 10)], [[12, 1, 0, 3]]), 1000);
  lanes.add(message([cell(20, 10, { routine: '8', site: 1 })]), 1000);
  assert.equal(lanes.find(0, 1025).cell.routine, '8');
  assert.equal(lanes.find(0, 1025).cell.site, 'b.rs:2');
  assert.equal(lanes.find(0, 25), null);
  lanes.trim(1021);
  assert.equal(lanes.find(0, 1005), null);
  assert.equal(lanes.steals.length, 0);
  assert.equal(lanes.find(0, 1025).cell.routine, '8');
});

test('a backfill fills holes, keeps what came since, and has nothing twice', () => {
  const lanes = new Lanes();
  lanes.add(message([cell(5, 5)], [[6, 1, 0, 9]]), 0);
  const boot = 1000;
  lanes.add(message([cell(10, 10)], [[12, 1, 0, 1]]), boot);
  lanes.add(message([cell(50, 10)], [[55, 1, 0, 1]]), boot);
  lanes.add(message([cell(58, 12)], [[65, 1, 0, 1]]), boot);
  const past = message([cell(10, 10), cell(30, 10), cell(50, 8)], [[12, 1, 0, 1], [35, 0, 1, 2], [55, 1, 0, 1]]);
  lanes.backfill({ ...past, from_ns: 0 }, boot, boot + 60);
  const starts = [];
  lanes.each(0, 0, 2000, (_, start) => starts.push(start));
  assert.deepEqual(starts, [5, 1010, 1030, 1050, 1058]);
  assert.deepEqual(lanes.steals.map((s) => s.at), [6, 1012, 1035, 1055, 1065]);
});

test('few steals are arrows of their own, many are bundled and none is lost from the sum', () => {
  const few = Array.from({ length: 50 }, (_, i) => ({ at: i, thief: 0, victim: 1, moved: 2 }));
  assert.equal(bundle(few, 0, 100).length, 50);
  const many = Array.from({ length: 5000 }, (_, i) => ({ at: i / 50, thief: i % 2, victim: (i + 1) % 2, moved: 3 }));
  const bundles = bundle(many, 0, 100);
  assert.ok(bundles.length <= 50);
  assert.equal(bundles.reduce((sum, b) => sum + b.moved, 0), 15_000);
  assert.equal(bundles.reduce((sum, b) => sum + b.steals, 0), 5000);
  const burst = Array.from({ length: 60 }, (_, i) => ({ at: 41 + i / 100, thief: 0, victim: 1, moved: 1 }));
  assert.deepEqual(bundle(burst, 0, 100).map((b) => Math.round(b.at * 10)), [413], 'an arrow stands where the steals were');
});

test('colours by site beyond the last share one class', () => {
  const classes = new Classes('site', 3);
  const chunk = { sites: { 0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e' } };
  const keys = [0, 1, 2, 3, 4, 1].map((site) => classes.of(cell(0, 1, { site }), chunk));
  assert.deepEqual(keys, [0, 1, 2, 2, 2, 1]);
});
