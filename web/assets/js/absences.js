// The turns whose threads have no worker: asleep in the kernel, or stopped. They are of no worker's lane, so they have
// rows of their own below, as many as there were at once.
//
// A span gets its row when it comes, the lowest that is free then, and keeps it: nothing jumps while time flows.

/** Most rows; what finds none is counted. */
export const ROWS = 12;

export class Absences {
  constructor() {
    this.clear();
  }

  clear() {
    /** Per row, spans in order of time, which do not overlap. */
    this.rows = Array.from({ length: ROWS }, () => []);
    /** Those that go on, by who and since when. */
    this.open = new Map();
    /** Spans that found no row: when they began and ended. */
    this.rowless = [];
  }

  /** Adds what one message brought, times moved by `offset`. One that went on is replaced by what it has become. */
  add(list = [], sites = {}, offset) {
    const seen = new Set();
    for (const [start, length, wanting, why, thread, from, to, routine, site, workload] of list) {
      const key = `${offset}/${thread}/${start}`;
      const span = {
        start: start + offset, end: start + length + offset, wanting, why: why === 1 ? 'frozen' : 'kernel',
        thread, from, to, routine, site: sites[site] ?? null, workload,
      };
      const known = this.open.get(key);
      if (known) Object.assign(known, span);
      else this.#place(span);
      if (to === null) {
        this.open.set(key, known ?? span);
        seen.add(key);
      } else {
        this.open.delete(key);
      }
    }
    // What went on and is not told any more has ended, and its end was lost on the way.
    for (const key of this.open.keys()) if (!seen.has(key)) this.open.delete(key);
  }

  #place(span) {
    for (const row of this.rows) {
      let at = row.length;
      while (at > 0 && row[at - 1].start > span.start) at -= 1;
      const [before, after] = [row[at - 1], row[at]];
      if ((before && this.#endOf(before) > span.start) || (after && after.start < span.end)) continue;
      row.splice(at, 0, span);
      return;
    }
    this.rowless.push(span);
  }

  /** What goes on has no end yet that another could come after. */
  #endOf(span) {
    return span.to === null && [...this.open.values()].includes(span) ? Infinity : span.end;
  }

  /** Forgets what ended before `time`. */
  trim(time) {
    for (const list of [...this.rows, this.rowless]) {
      let gone = 0;
      while (gone < list.length && list[gone].end < time) gone += 1;
      if (gone > 0) list.splice(0, gone);
    }
  }

  /** Calls `visit(span)` for each span of a row that touches [from, to), in order. */
  each(row, from, to, visit) {
    const list = this.rows[row];
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle].end <= from) low = middle + 1;
      else high = middle;
    }
    for (let i = low; i < list.length && list[i].start < to; i += 1) visit(list[i]);
  }

  /** Rows that have something in [from, to). */
  rowsBetween(from, to) {
    for (let row = ROWS - 1; row >= 0; row -= 1) {
      let any = false;
      this.each(row, from, to, () => { any = true; });
      if (any) return row + 1;
    }
    return 0;
  }

  /** How many of [from, to) are in no row. */
  missingBetween(from, to) {
    return this.rowless.filter((span) => span.end > from && span.start < to).length;
  }

  /** The span at one moment of a row, or null. */
  find(row, time) {
    let found = null;
    this.each(row, time, time + 1, (span) => { found = span; });
    return found;
  }

  /** The newest, newest first. */
  newest(most) {
    return this.rows.flat().sort((a, b) => b.start - a.start).slice(0, most);
  }

  /** Takes the server's word for everything of this boot that ended up to `until`; what came since stays. */
  backfill(list, sites, offset, until) {
    const later = [...this.rows.flat(), ...this.rowless].filter((span) => span.end > until);
    const keys = new Set(later.map((span) => `${span.thread}/${span.start}`));
    this.clear();
    const spans = (list ?? []).filter(([start, , , , thread, , to]) => to !== null && !keys.has(`${thread}/${start + offset}`));
    this.add(spans, sites, offset);
    for (const span of later.sort((a, b) => a.start - b.start)) {
      if (span.to === null) this.open.set(`${offset}/${span.thread}/${span.start - offset}`, span);
      this.#place(span);
    }
  }
}

/** A span in words, the same to be read and to be heard. */
export function describe(span, duration) {
  const { why, routine, thread, from, to, wanting } = span;
  const length = duration(span.end - span.start);
  const waits = wanting > 0 && why === 'kernel' ? `, ${duration(wanting)} of it waiting for a worker` : '';
  const ended = to === null ? 'goes on' : `then given worker ${to}`;
  const what = why === 'frozen' ? 'stopped after its slice' : 'asleep in the kernel';
  return `routine ${routine}, ${what} on thread ${thread} without a worker for ${length}${waits}; worker ${from} was taken from it; ${ended}`;
}
