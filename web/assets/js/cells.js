// The turns of the last minute, a lane for each worker, and what a picture of them needs.
//
// A cell is one turn (share 1) or, where turns are shorter than the server's raster, a merged stretch of which
// `share` was busy. Cells arrive in chunks, one for each tick, and leave in chunks when they are too old.

import { Absences } from './absences.js';

/** What a turn may have come from, in the order of the wire's index, with the group it is drawn and counted in. */
export const SOURCES = [
  { name: 'lifo', group: 'local' },
  { name: 'inbox', group: 'inbox' },
  { name: 'local', group: 'local' },
  { name: 'timer', group: 'timer' },
  { name: 'injector', group: 'injector' },
  { name: 'stolen', group: 'stolen' },
  { name: 'poller', group: 'inbox' },
  { name: 'wanting', group: 'wanting' },
];

export const GROUPS = ['local', 'injector', 'stolen', 'inbox', 'timer', 'wanting'];

/** Why a turn may be over, in the order of the wire's index, and what that is called. */
export const ENDS = [
  { name: 'ended', says: 'the routine ended' },
  { name: 'blocked', says: 'the routine waits for something' },
  { name: 'yielded', says: 'the routine yielded' },
  { name: 'gave way', says: 'its slice was over, and it gave way' },
  { name: 'frozen', says: 'its slice was over, and it was stopped' },
  { name: 'in kernel', says: 'asleep in the kernel; the worker was taken' },
];
export const GAVE_WAY = 3;
export const FROZEN = 4;
export const IN_KERNEL = 5;

const GROUP_OF_SOURCE = SOURCES.map((source) => GROUPS.indexOf(source.group));

export class Lanes {
  constructor() {
    this.lanes = [];
    this.steals = [];
    this.absences = new Absences();
  }

  /** Adds what one message brought: `lanes`, `sites`, `steals` and `absences` as on the wire, times moved by `offset`. */
  add({ lanes, sites = {}, steals = [], absences }, offset) {
    // A tick without lanes tells nothing of absences either.
    if (lanes) this.absences.add(absences, sites, offset);
    this.#turns(lanes ?? [], sites, offset);
    for (const [at, thief, victim, moved] of steals) this.steals.push({ at: at + offset, thief, victim, moved });
  }

  #turns(lanes, sites, offset) {
    lanes.forEach((all, worker) => {
      const chunks = (this.lanes[worker] ??= []);
      // A turn that is not over (0 turns) comes again when it is; until then the worker's own line says so.
      const cells = all.some((cell) => cell[4] === 0) ? all.filter((cell) => cell[4] > 0) : all;
      if (cells.length === 0) return;
      const last = cells[cells.length - 1];
      chunks.push({
        from: cells[0][0] + offset,
        to: last[0] + last[1] + offset,
        offset,
        cells,
        sites,
      });
    });
  }

  /** Forgets everything that ended before `time`. */
  trim(time) {
    for (const chunks of this.lanes) {
      let gone = 0;
      while (gone < chunks.length && chunks[gone].to < time) gone += 1;
      if (gone > 0) chunks.splice(0, gone);
    }
    let gone = 0;
    while (gone < this.steals.length && this.steals[gone].at < time) gone += 1;
    if (gone > 0) this.steals.splice(0, gone);
    this.absences.trim(time);
  }

  clear() {
    this.lanes = [];
    this.steals = [];
    this.absences.clear();
  }

  /**
   * Takes the server's word for everything of this boot (told by its `offset`) up to `until`: what was before the
   * page opened, or while it did not listen. What came by the stream since then stays, and nothing is there twice.
   */
  backfill(message, offset, until) {
    const fresh = new Lanes();
    fresh.add({ ...message, absences: [] }, offset);
    this.absences.backfill(message.absences, message.sites ?? {}, offset, until);
    const merge = (kept, filled, endOf, startOf) => {
      const later = kept.filter((item) => endOf(item) > until);
      const limit = later.length > 0 ? startOf(later[0]) : Infinity;
      return [...filled(limit), ...later];
    };
    fresh.lanes.forEach((chunks, worker) => {
      const here = this.lanes[worker] ?? [];
      const cut = (limit) => chunks.flatMap((chunk) => {
        const cells = chunk.cells.filter((cell) => cell[0] + cell[1] + offset <= limit);
        if (cells.length === 0) return [];
        const last = cells[cells.length - 1];
        return [{ ...chunk, cells, to: last[0] + last[1] + offset }];
      });
      const earlier = here.filter((chunk) => chunk.offset !== offset);
      const own = here.filter((chunk) => chunk.offset === offset);
      this.lanes[worker] = [...earlier, ...merge(own, cut, (chunk) => chunk.to, (chunk) => chunk.from)];
    });
    const first = message.from_ns + offset;
    const earlier = this.steals.filter((steal) => steal.at < first);
    const own = this.steals.filter((steal) => steal.at >= first);
    this.steals = [...earlier, ...merge(own, (limit) => fresh.steals.filter((steal) => steal.at < limit), (steal) => steal.at, (steal) => steal.at)];
  }

  /** Calls `visit(cell, startOnAxis, chunk)` for each cell of a lane that touches [from, to). */
  each(worker, from, to, visit) {
    const chunks = this.lanes[worker];
    if (!chunks) return;
    for (const chunk of chunks) {
      if (chunk.to <= from || chunk.from >= to) continue;
      const { cells, offset } = chunk;
      let low = 0;
      let high = cells.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (cells[middle][0] + cells[middle][1] + offset <= from) low = middle + 1;
        else high = middle;
      }
      for (let i = low; i < cells.length; i += 1) {
        const start = cells[i][0] + offset;
        if (start >= to) break;
        visit(cells[i], start, chunk);
      }
    }
  }

  /** The cell at one moment of a lane, or null. */
  find(worker, time) {
    let found = null;
    this.each(worker, time, time + 1, (cell, start, chunk) => {
      found = { cell: readCell(cell, start, chunk), worker };
    });
    return found;
  }
}

/** A cell of the wire with its parts named. */
export function readCell(cell, start, chunk) {
  return {
    start,
    length: cell[1],
    source: SOURCES[cell[2]]?.name ?? 'unknown',
    share: cell[3],
    turns: cell[4],
    routine: cell[5],
    site: chunk.sites[cell[6]] ?? null,
    workload: cell[7],
    end: ENDS[cell[8]] ?? null,
  };
}

/** How cells are told apart by colour: the key of a cell is an index into a list of classes. */
export class Classes {
  /** @param {'source'|'end'|'run'|'site'} mode  @param limit how many classes get a colour of their own */
  constructor(mode, limit = 8) {
    this.mode = mode;
    this.limit = limit;
    this.names = mode === 'source' ? [...GROUPS] : mode === 'end' ? ENDS.map((end) => end.name) : [];
    this.index = new Map(this.names.map((name, i) => [name, i]));
  }

  /** How many there can be. */
  get size() {
    return this.mode === 'source' || this.mode === 'end' ? this.names.length : this.limit;
  }

  of(cell, chunk) {
    if (this.mode === 'source') return GROUP_OF_SOURCE[cell[2]] ?? 0;
    if (this.mode === 'end') return cell[8] ?? 0;
    const name = this.mode === 'run' ? (cell[7] ?? '') : (chunk.sites[cell[6]] ?? '');
    let index = this.index.get(name);
    if (index === undefined) {
      // What comes after the last colour shares it: the legend then says "others".
      index = Math.min(this.names.length, this.limit - 1);
      if (this.names.length < this.limit) this.names.push(name);
      this.index.set(name, index);
    }
    return index;
  }
}

/**
 * Sorts the cells of a lane into what can be drawn as a rectangle of its own and what is too small: of the latter,
 * per pixel column the busy share by class. Columns are `pixel` ns wide from `from` on. A rectangle covers whole
 * columns only; what it fills of the columns at its ends is added there, so that neighbours never overlap nor leave a
 * gap between them that is not in the data.
 *
 * @returns {{rects: {x, width, share, key, turns, cell}[], columns: Float32Array, width}} `columns[x * keys + key]` in 0..1
 */
export function rasterise(lanes, worker, { from, to, pixel, keys, least = 2 }, classify) {
  const width = Math.ceil((to - from) / pixel);
  const columns = new Float32Array(width * keys);
  const rects = [];
  lanes.each(worker, from, to, (cell, start, chunk) => {
    const share = cell[3];
    const key = classify(cell, chunk);
    const x = (start - from) / pixel;
    const end = x + cell[1] / pixel;
    const fill = (a, b) => {
      let here = Math.max(0, a);
      const last = Math.min(width, b);
      while (here < last) {
        const column = Math.floor(here);
        const next = Math.min(last, column + 1);
        columns[column * keys + key] += (next - here) * share;
        here = next;
      }
    };
    const [first, last] = [Math.ceil(x), Math.floor(end)];
    if (last - first < least) {
      fill(x, end);
      return;
    }
    fill(x, first);
    rects.push({ x: first, width: last - first, share, key, turns: cell[4], cell });
    fill(last, end);
  });
  return { rects, columns, width };
}

/**
 * Steals as arrows: each one while they are few, otherwise bundled for each pair of workers and each stretch of time.
 * Stretches are fixed to the clock, so that a bundle does not change while it travels.
 */
export function bundle(steals, from, to, limit = 50) {
  const inView = steals.filter((steal) => steal.at >= from && steal.at < to);
  if (inView.length <= limit) return inView.map((steal) => ({ ...steal, steals: 1 }));
  const stretch = (to - from) / 20;
  const bundles = new Map();
  for (const steal of inView) {
    const key = `${Math.floor(steal.at / stretch)}/${steal.thief}/${steal.victim}`;
    let known = bundles.get(key);
    if (!known) {
      known = { at: 0, thief: steal.thief, victim: steal.victim, moved: 0, steals: 0 };
      bundles.set(key, known);
    }
    known.moved += steal.moved;
    known.steals += 1;
    // The arrow stands at the mean of its steals: in the middle of the stretch it could point at nothing.
    known.at += (steal.at - known.at) / known.steals;
  }
  // Too many pairs even so: the largest are drawn, the rest is counted in the legend like every other loss.
  return [...bundles.values()].sort((a, b) => b.moved - a.moved).slice(0, limit);
}
