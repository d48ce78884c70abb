// Who steals from whom?  A matrix, thief by victim, with sums at its margins; a list on a narrow screen.

import { Canvas, hatch } from './canvas.js';
import { COLUMN, grownBetween } from './columns.js';
import { $, $$, el, speak, text } from './dom.js';
import { count, percent, short } from './format.js';
import { fillTable, Panel } from './panel.js';
import { theme } from './theme.js';

/** Below this a figure no longer fits into a cell. */
const FIGURE_PX = 18;
const FLOWS = 10;

/** How much a thief takes: a word, or what each worker has come to. */
function takes(workers) {
  const amounts = workers.map((w) => w.steal_amount).filter((amount) => typeof amount === 'number');
  if (amounts.length === 0) return 'A thief takes half of a queue';
  const [least, most] = [Math.min(...amounts), Math.max(...amounts)];
  return least === most ? `A thief takes ${count(most)} at once` : `Thieves take ${count(least)} to ${count(most)} at once`;
}

export class Steals {
  constructor({ store, view, frames }) {
    Object.assign(this, { store, view, frames });
    this.panel = new Panel('steals');
    this.canvas = new Canvas(this.panel.canvas, () => this.dirty());
    this.figure = $('#matrix-figure');
    this.flows = $('#matrix-flows');
    this.narrow = matchMedia('(max-width: 639px)');
    this.narrow.addEventListener('change', () => this.second());
    this.span = 'run';
    this.isDirty = true;
    this.chosen = null;
    this.cells = null;
    this.geometry = null;
    for (const button of $$('#matrix-span button')) {
      button.addEventListener('click', () => {
        this.span = button.dataset.span;
        for (const other of $$('#matrix-span button')) other.setAttribute('aria-pressed', String(other === button));
        this.second();
      });
    }
    let at = 0;
    store.on('tick', () => {
      if (view.frozen || performance.now() - at < 250) return;
      at = performance.now();
      this.#count();
    });
    view.onChange(() => { if (view.frozen) this.#count(); });
    theme.onChange(() => this.dirty());
    this.panel.onShow = () => this.dirty();
    this.panel.refreshTable = () => this.#table();
    const { canvas } = this.panel;
    canvas.addEventListener('pointermove', (event) => this.#choose(this.#cellAt(event.offsetX, event.offsetY), false));
    canvas.addEventListener('pointerleave', () => this.#choose(null, false));
    canvas.addEventListener('blur', () => this.#choose(null, false));
    canvas.addEventListener('keydown', (event) => this.#key(event));
    frames.add(this);
  }

  dirty() {
    this.isDirty = true;
    this.frames.ask();
  }

  second() {
    this.#count();
    this.panel.second();
  }

  /** [from, to] that is counted; null for everything since the start. */
  #stretch() {
    const [from, to] = this.view.range();
    if (this.span === 'window') return [from, to];
    if (this.span === 'run') {
      const run = this.store.presentRun();
      const span = run && this.store.runSpan(run);
      if (span) return [span.from - 2e8, Math.min(to, span.to ?? to)];
    }
    return null;
  }

  #count() {
    const { latest, ring } = this.store;
    if (!latest) return;
    const stretch = this.#stretch();
    const between = stretch && this.store.matrixBetween(stretch[0], stretch[1] + 1e9);
    this.workers = latest.workers.length;
    this.cells = between?.workers === this.workers ? between.cells : Float64Array.from(latest.steal_matrix.flat());
    const [from, to] = stretch ?? [-Infinity, this.store.latestTime];
    const grown = (name) => (stretch ? grownBetween(ring, COLUMN[name], from, to + 1e9) : ring.at(ring.length - 1, COLUMN[name]));
    const [attempts, steals] = [grown('attempts'), grown('steals')];
    const where = { window: 'in the window', run: 'in this run', start: 'since the start' }[stretch ? this.span : 'start'];
    const moved = this.cells.reduce((a, b) => a + b, 0);
    text(this.figure, `${count(moved)} stolen ${where}: ${count(steals)} of ${count(attempts)} attempts took something${attempts > 0 ? ` (${percent(steals / attempts)})` : ''}. ${takes(latest.workers)}`);
    this.flows.hidden = !this.narrow.matches;
    if (this.narrow.matches) this.#list();
    this.dirty();
  }

  #list() {
    const pairs = [];
    this.#each((thief, victim, value) => { if (value > 0) pairs.push({ thief, victim, value }); });
    pairs.sort((a, b) => b.value - a.value);
    const most = pairs[0]?.value ?? 1;
    this.flows.replaceChildren(...pairs.slice(0, FLOWS).map(({ thief, victim, value }) => {
      const item = el('li', {}, el('span', {}, `worker ${thief} from worker ${victim}`), el('b', {}, count(value)), el('i', { 'aria-hidden': 'true' }));
      item.lastChild.style.setProperty('--part', String(value / most));
      return item;
    }));
    if (pairs.length === 0) this.flows.append(el('li', { class: 'none' }, 'Nothing was stolen.'));
  }

  #each(visit) {
    for (let thief = 0; thief < this.workers; thief += 1) {
      for (let victim = 0; victim < this.workers; victim += 1) {
        if (thief !== victim) visit(thief, victim, this.cells[thief * this.workers + victim]);
      }
    }
  }

  step() {
    if (!this.isDirty || !this.canvas.visible || this.panel.asTable || !this.cells || this.narrow.matches) return;
    this.isDirty = false;
    const c = this.canvas.begin();
    const { workers } = this;
    const scale = theme.scale;
    const label = Math.round(58 * scale);
    const head = Math.round(20 * scale);
    const size = Math.max(2, Math.min(64 * scale, (this.canvas.width - label * 2) / (workers + 0.2), (this.canvas.height - head - 22 * scale) / (workers + 0.2)));
    const width = size * workers;
    const left = Math.max(label, (this.canvas.width - width) / 2 - 10);
    this.geometry = { left, top: head, size };
    const most = Math.max(1, ...this.cells);
    const rows = new Float64Array(workers);
    const columns = new Float64Array(workers);
    const gap = size > 8 ? 2 : size > 4 ? 1 : 0;
    c.textBaseline = 'middle';
    c.textAlign = 'center';
    c.font = theme.font(size > 40 ? 14 : size > 24 ? 11 : 9.5, 500);
    this.#each((thief, victim, value) => {
      rows[thief] += value;
      columns[victim] += value;
      const [x, y] = [left + victim * size, head + thief * size];
      // Shade by logarithm: one steal must be told from none, and a thousand from a hundred.
      const shade = value > 0 ? 0.14 + 0.86 * (Math.log1p(value) / Math.log1p(most)) : 0;
      c.fillStyle = theme.raised;
      c.fillRect(x, y, size - gap, size - gap);
      c.globalAlpha = shade;
      c.fillStyle = theme.stolen;
      c.fillRect(x, y, size - gap, size - gap);
      c.globalAlpha = 1;
      if (this.chosen && this.chosen.thief === thief && this.chosen.victim === victim) {
        c.strokeStyle = theme.ink;
        c.lineWidth = 1.5;
        c.strokeRect(x - 0.5, y - 0.5, size - gap + 1, size - gap + 1);
      }
      if (size >= FIGURE_PX) {
        c.fillStyle = shade > 0.55 ? theme.stolenInk : theme.ink;
        c.fillText(short(value), x + (size - gap) / 2, y + (size - gap) / 2 + 0.5);
      }
    });
    c.fillStyle = hatch(c, null, theme.lineStrong, this.canvas.ratio, 5);
    for (let i = 0; i < workers; i += 1) c.fillRect(left + i * size, head + i * size, size - gap, size - gap);

    c.font = theme.font(11);
    c.fillStyle = theme.muted;
    const [everyRow, everyColumn] = [Math.ceil((14 * scale) / size), Math.ceil((24 * scale) / size)];
    for (let i = 0; i < workers; i += 1) {
      const [x, y] = [left + i * size + size / 2 - gap / 2, head + i * size + size / 2 - gap / 2];
      c.fillStyle = workers <= 8 ? theme.worker(i) : theme.muted;
      if (i % everyRow === 0) {
        c.textAlign = 'right';
        c.fillText(String(i), left - 6, y);
      }
      if (i % everyColumn === 0) {
        c.textAlign = 'center';
        c.fillText(String(i), x, head - 9 * scale);
      }
      c.fillStyle = theme.ink;
      if (size >= 13 * scale) {
        c.textAlign = 'left';
        c.fillText(short(rows[i]), left + width + 6, y);
      }
      if (size >= FIGURE_PX) {
        c.textAlign = 'center';
        c.fillText(short(columns[i]), x, head + width + 9 * scale);
      }
    }
    c.fillStyle = theme.muted;
    c.textAlign = 'right';
    c.fillText('thief', left - 22 * scale, head + width / 2);
    c.textAlign = 'left';
    c.fillText('victim', left + width + 6, head - 9 * scale);
    if (this.chosen && size < FIGURE_PX) {
      c.textAlign = 'left';
      c.fillStyle = theme.ink;
      c.fillText(this.#say(this.chosen), 4, this.canvas.height - 8);
    }
  }

  #say({ thief, victim }) {
    if (thief === victim) return `worker ${thief} cannot steal from itself`;
    return `worker ${thief} took ${count(this.cells[thief * this.workers + victim])} from worker ${victim}`;
  }

  #cellAt(x, y) {
    if (!this.geometry) return null;
    const { left, top, size } = this.geometry;
    const [victim, thief] = [Math.floor((x - left) / size), Math.floor((y - top) / size)];
    return thief >= 0 && victim >= 0 && thief < this.workers && victim < this.workers ? { thief, victim } : null;
  }

  #choose(cell, aloud) {
    if (cell?.thief === this.chosen?.thief && cell?.victim === this.chosen?.victim) return;
    this.chosen = cell;
    if (cell && aloud) speak(this.#say(cell));
    this.dirty();
  }

  #key(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || !this.cells) return;
    event.preventDefault();
    const { thief, victim } = this.chosen ?? { thief: 0, victim: -1 };
    const inside = (value) => Math.min(this.workers - 1, Math.max(0, value));
    this.#choose({ thief: inside(thief + step[0]), victim: inside(victim + step[1]) }, true);
  }

  #table() {
    if (!this.cells) return;
    const { table } = this.panel;
    const head = table.tHead.rows[0];
    if (head.cells.length !== this.workers + 2) {
      head.replaceChildren(
        el('th', { scope: 'col' }, 'Thief'),
        ...Array.from({ length: this.workers }, (_, i) => el('th', { scope: 'col', class: 'num' }, `from ${i}`)),
        el('th', { scope: 'col', class: 'num', 'data-col': 'stolen' }, 'Sum'),
      );
    }
    const rows = [];
    const sums = new Float64Array(this.workers);
    for (let thief = 0; thief < this.workers; thief += 1) {
      const row = [...this.cells.slice(thief * this.workers, (thief + 1) * this.workers)];
      row.forEach((value, victim) => { sums[victim] += value; });
      rows.push([`worker ${thief}`, ...row.map((value, victim) => (victim === thief ? '' : count(value))), count(row.reduce((a, b) => a + b, 0))]);
    }
    rows.push(['Sum', ...[...sums].map(count), count(sums.reduce((a, b) => a + b, 0))]);
    fillTable(table, rows);
  }
}
