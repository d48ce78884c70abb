// Everything the page knows, and who wants to hear when it changes. No DOM: charts and tables read from here.

import { Ring } from './ring.js';
import { Timebase } from './timebase.js';
import { Lanes } from './cells.js';
import { rowOf, widthFor } from './columns.js';
import { words } from './words.js';

/** Ten minutes at ten ticks a second. */
const ROWS = 6000;
/** Turns are kept for the longest window, and a little more for a cell that began before it. */
const LANES_KEPT_NS = 66e9;
/** Two samples further apart than this are not joined by a line: what lay between was not seen. */
const GAP_NS = 1.6e9;
/** Matrices kept for "in this window" and "in this run"; a large one is kept once a second only. */
const MATRICES = 700;
const RUNS_KEPT = 100;
const BLOCKS_KEPT = 12;
const MARKS_KEPT = 100;

export class Store {
  constructor() {
    this.listeners = new Map();
    this.timebase = new Timebase();
    this.ring = null;
    this.lanes = new Lanes();
    this.matrices = [];
    this.latest = null;
    this.latestTime = NaN;
    this.boot = null;
    this.restarts = [];
    this.marks = [];
    this.runs = new Map();
    this.blocks = [];
    this.verified = null;
    this.runtime = null;
    this.skipped = 0;
    this.merged = 0;
    this.omitted = 0;
  }

  on(event, listener) {
    const list = this.listeners.get(event) ?? [];
    list.push(listener);
    this.listeners.set(event, list);
  }

  emit(event, detail) {
    for (const listener of this.listeners.get(event) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        // One panel that cannot go on must not take the others with it; the error still shows in the console.
        reportError(error);
      }
    }
  }

  get workers() {
    return this.latest ? this.latest.workers.length : 0;
  }

  get lastId() {
    return this.latest ? `${this.latest.boot}-${this.latest.n}` : null;
  }

  /** One tick of the stream. */
  tick(tick) {
    const wall = Date.parse(tick.wall);
    const before = this.boot;
    const boot = this.timebase.enter(tick.boot, tick.at_ns, wall);
    if (before && boot !== before) {
      if (boot.index < before.index) return;
      this.restarts.push({ time: boot.start, wall });
      this.runs.clear();
      this.blocks = [];
      this.verified = null;
      this.matrices = [];
      this.skipped = 0;
    } else if (this.latest && tick.n <= this.latest.n) {
      return;
    }
    const missed = before === boot && this.latest !== null && tick.n > this.latest.n + 1;
    const since = missed ? this.lastId : null;
    this.boot = boot;
    const time = this.timebase.place(boot, tick.at_ns, wall);
    this.#fit(tick.workers.length);
    const newest = this.ring.length > 0 ? this.ring.time(this.ring.length - 1) : time;
    this.ring.push(rowOf(tick, time, boot.index, time - newest > GAP_NS || before !== boot, this.ring.width));
    this.#matrix(tick, time);
    this.lanes.add(tick, boot.offset);
    this.lanes.trim(time - LANES_KEPT_NS);
    this.skipped += tick.skipped ?? 0;
    this.merged = tick.merged ?? 0;
    this.omitted = tick.omitted ?? 0;
    this.latest = tick;
    this.latestTime = time;
    this.emit('tick', tick);
    if (before && boot !== before) this.emit('restart', boot);
    if (missed && time - newest > GAP_NS) this.emit('missed', since);
  }

  /** Samples of the past, as /api/v1/history sends them: fills what was missed, or the time before the page opened. */
  history({ boot: name, samples }) {
    if (samples.length === 0) return;
    const boot = this.timebase.boots.find((known) => known.name === name);
    if (!boot || this.ring === null) return;
    const rows = [];
    let previous = null;
    for (const sample of samples) {
      if (sample.boot !== name || sample.workers.length > this.workers) continue;
      const time = sample.at_ns + boot.offset;
      const gap = previous !== null && time - previous > GAP_NS;
      rows.push(rowOf(sample, time, boot.index, gap, this.ring.width));
      previous = time;
      if (sample.steal_matrix) this.#matrix(sample, time);
    }
    if (rows.length > 0 && rows[0][0] < boot.start) boot.start = rows[0][0];
    this.ring.merge(rows);
    this.matrices.sort((a, b) => a.time - b.time);
    this.#mendGaps();
    this.emit('history');
  }

  run(record) {
    this.runs.delete(record.id);
    this.runs.set(record.id, record);
    while (this.runs.size > RUNS_KEPT) this.runs.delete(this.runs.keys().next().value);
    this.emit('runs', record);
  }

  /** Runs newest first. */
  runList() {
    return [...this.runs.values()].sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at) || Number(b.id) - Number(a.id));
  }

  runOfWorkload(workload) {
    for (const run of this.runs.values()) if (run.workload === workload) return run;
    return null;
  }

  /** Runs going on, newest first. */
  going() {
    return this.runList().filter((run) => run.state === 'running');
  }

  /** The run that "in this run" means: of those going on the oldest, so that none is cut; otherwise the last one. */
  presentRun() {
    return this.going().pop() ?? this.runList()[0] ?? null;
  }

  /** When a run began and ended on the page's axis; `to` is null while it goes on. */
  runSpan(run) {
    if (!run?.started_at) return null;
    const from = this.timebase.fromWall(Date.parse(run.started_at));
    const to = run.ended_at ? this.timebase.fromWall(Date.parse(run.ended_at)) : null;
    return Number.isFinite(from) ? { from, to } : null;
  }

  block(block) {
    if (this.blocks.some((known) => known.index === block.index && known.hash === block.hash)) return;
    this.blocks = [block, ...this.blocks].sort((a, b) => b.index - a.index).slice(0, BLOCKS_KEPT);
    this.emit('blocks', block);
  }

  /** A change of the configuration: a mark on every chart. */
  configured({ at_ns: at, changes }, isNews = true) {
    const { boot } = this;
    if (!boot || this.marks.some((mark) => mark.boot === boot.index && mark.at === at)) return;
    this.marks.push({ boot: boot.index, at, time: at + boot.offset, words: words(changes) });
    this.marks.sort((a, b) => a.time - b.time);
    if (this.marks.length > MARKS_KEPT) this.marks.shift();
    if (isNews) this.emit('config');
    this.emit('marks');
  }

  /** The steal matrix as it grew in [from, to]: the difference of two cumulative ones. */
  matrixBetween(from, to) {
    const list = this.matrices;
    let end = list.length - 1;
    while (end > 0 && list[end].time > to) end -= 1;
    let start = end;
    while (start > 0 && list[start].time > from) start -= 1;
    if (end < 0) return null;
    const workers = Math.sqrt(list[end].cells.length);
    const zero = list[start].time > from && this.#fromBirth(list[start]);
    return { workers, cells: list[end].cells.map((value, i) => value - (zero ? 0 : list[start].cells[i])) };
  }

  #fromBirth(matrix) {
    // Nothing older is known: right only when the boot itself began in view.
    return this.boot !== null && matrix.time - this.boot.offset < 2e9;
  }

  #fit(workers) {
    const width = widthFor(workers);
    if (this.ring === null) this.ring = new Ring(ROWS, width);
    else if (this.ring.width < width) this.ring = this.ring.widened(width);
  }

  #matrix(tick, time) {
    const workers = tick.workers.length;
    const last = this.matrices[this.matrices.length - 1];
    const sparse = workers > 8 ? 0.95e9 : 0.45e9;
    if (last && time > last.time && time - last.time < sparse) return;
    this.matrices.push({ time, cells: Float64Array.from(tick.steal_matrix.flat()) });
    if (this.matrices.length > MATRICES) this.matrices.shift();
  }

  #mendGaps() {
    // Rows that were filled in close the hole before the row that had been marked.
    const { ring } = this;
    for (let i = 1; i < ring.length; i += 1) {
      const gap = ring.time(i) - ring.time(i - 1) > GAP_NS || ring.at(i, 1) !== ring.at(i - 1, 1);
      const slot = ((ring.first + i) % ring.capacity) * ring.width;
      ring.cells[slot + 2] = gap ? 1 : 0;
    }
  }
}
