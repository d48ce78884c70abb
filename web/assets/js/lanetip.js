// What the pointer is on in the lanes: which routine, where it was found, for how long it ran.

import { get } from './api.js';
import { $, el } from './dom.js';
import { count, duration, percent, UNKNOWN, visible } from './format.js';

const NAMES_KEPT = 5000;

export class LaneTip {
  constructor(store) {
    this.store = store;
    this.element = $('#tooltip');
    this.names = new Map();
    this.asked = new Set();
    store.on('restart', () => {
      this.names.clear();
      this.asked.clear();
    });
  }

  hide() {
    this.element.hidden = true;
  }

  /** Tells what was found at [x, y] of a picture `width` by `height`. */
  show({ cell, worker }, [x, y], [width, height]) {
    const name = this.#nameOf(cell);
    const run = cell.workload === null ? null : this.store.runOfWorkload(cell.workload);
    const lines = cell.turns > 1
      ? [['Worker', `${worker}, busy ${percent(cell.share)} of ${duration(cell.length)}`], ['Turns', `${count(cell.turns)}, most from: ${cell.source}`], ['Longest by', `routine ${cell.routine}${name}`]]
      : [['Routine', `${cell.routine}${name}`], ['Worker', `${worker}, found it: ${cell.source}`], ['Length', duration(cell.length)]];
    if (cell.turns === 1 && cell.end) lines.push(['Then', cell.end.says]);
    lines.push(['Spawned at', visible(cell.site ?? UNKNOWN)]);
    if (run) lines.push(['Run', `${run.id} (${run.kind})`]);
    this.#place(lines, [x, y], [width, height]);
  }

  /** Tells of a thread without a worker. */
  showAbsence(span, at, size) {
    const run = span.workload === null ? null : this.store.runOfWorkload(span.workload);
    const lines = [
      ['Routine', `${span.routine}${this.#nameOf(span)}`],
      ['Thread', `${span.thread}, ${span.why === 'frozen' ? 'stopped: its slice was over' : 'asleep in the kernel when its worker was taken'}`],
      ['Without a worker', `${duration(span.end - span.start)}${span.to === null ? ' so far' : ''}`],
    ];
    if (span.why === 'kernel' && span.wanting > 0) lines.push(['Waiting for one', duration(span.wanting)]);
    lines.push(['Worker', span.to === null ? `${span.from} was taken` : `${span.from} was taken, ${span.to} was given`]);
    lines.push(['Spawned at', visible(span.site ?? UNKNOWN)]);
    if (run) lines.push(['Run', `${run.id} (${run.kind})`]);
    this.#place(lines, at, size);
  }

  #place(lines, [x, y], [width, height]) {
    this.element.hidden = false;
    this.element.replaceChildren(el('dl', {}, ...lines.flatMap(([term, value]) => [el('dt', {}, term), el('dd', {}, value)])));
    const place = this.element.offsetWidth + x + 18 > width ? x - this.element.offsetWidth - 12 : x + 14;
    this.element.style.left = `${Math.max(0, place)}px`;
    this.element.style.top = `${Math.min(y + 14, height - this.element.offsetHeight)}px`;
  }

  /**
   * A routine's name as ", name". Names of a whole run are asked for once, when the pointer has rested on one of its
   * turns; what has ended by then has none to show.
   */
  #nameOf({ routine, workload }) {
    const known = this.names.get(routine);
    if (known !== undefined) return known;
    if (workload === null || this.asked.has(workload)) return '';
    clearTimeout(this.asking);
    this.asking = setTimeout(async () => {
      this.asked.add(workload);
      try {
        const { routines } = await get(`/api/v1/routines?workload=${encodeURIComponent(workload)}&limit=1000`);
        if (this.names.size > NAMES_KEPT) this.names.clear();
        for (const { id, name } of routines) this.names.set(id, name ? `, ${visible(name, 40)}` : '');
      } catch {
        // The number alone will do.
      }
    }, 120);
    return '';
  }
}
