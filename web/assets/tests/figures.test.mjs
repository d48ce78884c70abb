import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { Backoff } from '../js/backoff.js';
import { FIELDS, pythonLines, splitHeader, zeroDigits } from '../js/blockheader.js';
import { chance, curve, curveEnd, difficultyFor } from '../js/chance.js';
import { byFunction, crateOf, fromWire, layout, matching, shortName } from '../js/icicle.js';

test('the search has no memory: half the expected tries give 39 %, the expected ones 63 %', () => {
  assert.equal(chance(0, 1e6), 0);
  assert.ok(Math.abs(chance(5e5, 1e6) - 0.3935) < 1e-4);
  assert.ok(Math.abs(chance(1e6, 1e6) - 0.6321) < 1e-4);
  assert.ok(chance(1e9, 1e6) <= 1);
  assert.ok(Number.isNaN(chance(1, 0)));
});

test('the curve reaches past where the search is, also with bad luck', () => {
  assert.ok(curveEnd(9e6, 1e6) > 9e6);
  const points = curve(9e6, 1e6);
  for (let i = 1; i < points.length; i += 1) assert.ok(points[i][1] >= points[i - 1][1]);
});

test('a difficulty is chosen that takes seconds, within bounds', () => {
  const bits = difficultyFor(20e6, 4, 4);
  const seconds = (4 * 2 ** bits) / 20e6;
  assert.ok(seconds > 2.5 && seconds < 6, `${seconds} s`);
  assert.equal(difficultyFor(null, 4, 4), 16);
  assert.equal(difficultyFor(1e12, 4, 1), 28);
  assert.equal(difficultyFor(10, 4, 1), 16);
});

test('the header is cut into its fields without a byte left over', () => {
  const header = Array.from({ length: 96 }, (_, i) => i.toString(16).padStart(2, '0')).join('');
  const parts = splitHeader(header);
  assert.equal(parts.map((p) => p.hex).join(''), header);
  assert.deepEqual(parts.map((p) => p.name), FIELDS.map((f) => f.name));
  assert.equal(parts.at(-1).hex, '58595a5b5c5d5e5f');
  assert.equal(splitHeader(`${header}00`), null);
  assert.equal(splitHeader(null), null);
  assert.deepEqual([16, 17, 20, 1].map(zeroDigits), [4, 5, 5, 1]);
});

test('the Python lines compute the hash', (t) => {
  const header = 'ab'.repeat(96);
  const expected = createHash('sha256').update(Buffer.from(header, 'hex')).digest('hex');
  try {
    assert.equal(execFileSync('python3', ['-c', pythonLines(header)], { encoding: 'utf8' }).trim(), expected);
  } catch (error) {
    if (error.code === 'ENOENT') t.skip('no python3 here');
    else throw error;
  }
});

test('waiting between attempts grows to 5 s and starts anew after a success', () => {
  const backoff = new Backoff();
  assert.deepEqual([1, 2, 3, 4, 5].map(() => backoff.next()), [500, 1000, 2000, 5000, 5000]);
  backoff.reset();
  assert.equal(backoff.next(), 500);
});

const node = (name, total, ...children) => ({ name, package: null, total, own: total - children.reduce((sum, child) => sum + child.total, 0), children });
const TREE = fromWire(node('root', 100, node('a::main', 90, node('b::f', 60, node('a::main', 10)), node('b::g', 20)), node('c::h', 10)));

test('boxes of an icicle lie under their caller and keep its width', () => {
  const boxes = layout(TREE);
  const box = (name, depth) => boxes.find((b) => b.node.name === name && b.depth === depth);
  assert.deepEqual([box('a::main', 1).x, box('a::main', 1).width], [0, 0.9]);
  assert.deepEqual([box('c::h', 1).x, box('c::h', 1).width], [0.9, 0.1]);
  assert.equal(box('b::g', 2).x, 0.6);
});

test('a focused box fills the width, its callers above it', () => {
  const boxes = layout(TREE, [0, 0]);
  assert.deepEqual(boxes.filter((b) => b.width === 1).map((b) => b.node.name), ['root', 'a::main', 'b::f']);
  assert.ok(Math.abs(boxes.at(-1).width - 1 / 6) < 1e-9);
});

test('recursion is counted once in a total, and selves sum to the whole', () => {
  const table = new Map(byFunction(TREE).map((row) => [row.name, row]));
  assert.equal(table.get('a::main').total, 90);
  assert.equal([...table.values()].reduce((sum, row) => sum + row.self, 0), 100);
  assert.equal(matching(TREE, (name) => name.startsWith('b::')), 80);
  assert.equal(matching(TREE, (name) => name.includes('main')), 90, 'nothing is counted twice');
});

test('a symbol has a crate and a short name', () => {
  for (const [symbol, crate, name] of [
    ['sha2::sha256::digest_blocks', 'sha2', 'sha256::digest_blocks'],
    ['<alloc::vec::Vec<T> as core::ops::Drop>::drop', 'alloc', 'drop'],
    ['<&mut openwork::Routine as core::fmt::Debug>::fmt', 'openwork', 'fmt'],
    ['openwork::turns::Poller<S, F>::poll::h0123456789abcdef', 'openwork', 'Poller::poll'],
    ['__libc_start_main', 'native', '__libc_start_main'],
    ['0x7f12', 'unknown', '0x7f12'],
  ]) {
    assert.equal(crateOf(symbol), crate, symbol);
    assert.equal(shortName(symbol), name, symbol);
  }
});
