// Charts over time: one axis and one cursor for all, axis from 0, unit on it, gaps left open.
//
// A chart is described, not programmed: its file says which plots it has (one above the other), and for each plot
// which series, read from which columns of the ring. The drawing, the readout, the spoken values and the table twin
// are all made of that one description, so they cannot disagree.

import { Canvas } from './canvas.js';
import { COLUMN } from './columns.js';
import { minMax, summarise } from './decimate.js';
import { $, el, text } from './dom.js';
import { clock, duration, round, UNKNOWN } from './format.js';
import { fillTable, Panel } from './panel.js';
import { follow } from './pointer.js';
import { GrowingMax, linear } from './scale.js';
import { theme } from './theme.js';
import { timeTicks, valueTicks } from './ticks.js';

const READOUT_SERIES = 8;

/**
 * @typedef Series
 * @property {string} label  @property {() => string} colour  @property {'step'|'line'|'area'} [draw]
 * @property {(ring, index) => number} value  NaN where unknown
 * @property {number[]} [dash]  @property {boolean} [thick]  @property {() => string} [unknown] why a value is missing
 *
 * @typedef Plot
 * @property {(value) => string} format  @property {() => Series[]} series  @property {number} share of the height
 * @property {boolean} [stacked]  @property {number} [base] 1000 or 1024  @property {boolean} [whole]
 * @property {() => ({value: number, label: string}|null)} [line] a dashed level
 */

export class TimeChart {
  constructor({ id, plots, context, bands = () => [], after = () => {} }) {
    const { store, view, frames } = context;
    Object.assign(this, { id, store, view, frames, bands, after });
    this.panel = new Panel(id);
    this.plots = plots.map((plot) => ({ ...plot, max: new GrowingMax({ floor: plot.floor ?? 1, base: plot.base ?? 1000 }) }));
    this.canvas = new Canvas(this.panel.canvas, () => this.dirty());
    this.isDirty = true;
    this.drawnTo = NaN;
    this.drawnAt = -Infinity;
    this.urgent = false;
    this.left = 0;
    this.right = 0;
    this.panel.refreshTable = () => this.#table();
    this.panel.onShow = () => this.dirty();
    view.onChange(() => { this.urgent = true; this.dirty(); });
    theme.onChange(() => this.dirty());
    store.on('tick', () => {
      if (!view.frozen) this.dirty();
      if (performance.now() - (this.readAt ?? -1e9) > 250) this.#readout();
    });
    store.on('history', () => this.dirty());
    store.on('marks', () => this.dirty());
    follow(this.panel.canvas, { view, plot: () => [this.left, this.right], say: (time) => this.say(time) });
    frames.add(this);
  }

  dirty() {
    this.isDirty = true;
    this.frames.ask();
  }

  step(moving) {
    if (!this.canvas.visible || this.panel.asTable || !this.store.ring) return;
    const [from, to] = this.view.range();
    const moved = ((to - this.drawnTo) / (to - from)) * (this.right - this.left);
    const now = performance.now();
    // The lanes move at every frame; for a curve a dozen pictures a second are enough, and cost a third.
    if (moving && !this.urgent && now - this.drawnAt < 80) return;
    if (!this.isDirty && !(moving && moved >= 0.75)) return;
    this.isDirty = false;
    this.urgent = false;
    this.drawnAt = now;
    this.drawnTo = to;
    this.#draw(from, to);
    if (this.view.cursorPart !== this.readCursor) this.#readout();
  }

  #draw(from, to) {
    const { canvas, store } = this;
    const c = canvas.begin();
    const scale = theme.scale;
    this.left = Math.round(58 * scale);
    this.right = canvas.width - 6;
    const foot = Math.round(18 * scale);
    const x = linear(from, to, this.left, this.right);
    const first = Math.max(0, store.ring.find(from) - 1);
    const last = Math.min(store.ring.length, store.ring.find(to) + 1);
    const height = canvas.height - foot;
    let top = 0;
    c.font = theme.font(11);
    this.#times(c, x, from, to, height, foot);
    this.plots.forEach((plot, index) => {
      const share = Math.round(height * plot.share);
      const box = { top: top + Math.round(12 * scale), bottom: top + share - (index + 1 < this.plots.length ? Math.round(6 * scale) : 0) };
      top += share;
      this.#plot(c, plot, box, x, from, to, first, last);
    });
    this.#overlay(c, x, from, to, height);
  }

  #times(c, x, from, to, height, foot) {
    const { step, ticks } = timeTicks(from, to, this.right - this.left, 64 * theme.scale, this.store.timebase.wall(0));
    const end = this.view.frozen ? this.store.latestTime : to;
    c.fillStyle = theme.muted;
    c.textBaseline = 'alphabetic';
    c.textAlign = 'center';
    if (!this.view.frozen) {
      // Live: seconds before now stand still while the curves move.
      for (const behind of [0.25, 0.5, 0.75]) {
        c.fillText(`-${shortSeconds(this.view.window * behind)}`, x(to - this.view.window * behind), height + foot - 4);
      }
      c.textAlign = 'right';
      c.fillText('now', this.right, height + foot - 4);
      return;
    }
    for (const time of ticks) {
      const at = x(time);
      if (at > this.left + 10 && at < this.right - 14) c.fillText(label(time, step, end, this.store), at, height + foot - 4);
    }
  }

  #plot(c, plot, box, x, from, to, first, last) {
    const { ring, boot } = this.store;
    const series = plot.series();
    const stacks = plot.stacked ? stack(series, ring) : null;
    const valueOf = (s, i) => (stacks ? stacks(s, i) : series[s].value(ring, i));
    let peak = plot.line?.()?.value ?? 0;
    for (let i = first; i < last; i += 1) {
      if (ring.time(i) < from || ring.at(i, COLUMN.boot) !== boot.index) continue;
      for (let s = 0; s < series.length; s += 1) peak = Math.max(peak, valueOf(s, i) || 0);
    }
    const max = plot.max.update(`${this.view.window}/${boot?.index}/${this.view.frozen}`, peak, to, to - from);
    const y = linear(0, max, box.bottom, box.top);

    c.lineWidth = 1 / this.canvas.ratio;
    c.textAlign = 'right';
    c.textBaseline = 'middle';
    for (const value of valueTicks(max, box.bottom - box.top > 70 ? 3 : 2, plot)) {
      c.strokeStyle = value === 0 ? theme.lineStrong : theme.line;
      const at = this.canvas.crisp(y(value));
      c.beginPath();
      c.moveTo(this.left, at);
      c.lineTo(this.right, at);
      c.stroke();
      c.fillStyle = theme.muted;
      c.fillText(round(plot.format(value)), this.left - 6, Math.min(at, box.bottom - 2));
    }

    c.save();
    c.beginPath();
    c.rect(this.left, box.top - 2, this.right - this.left, box.bottom - box.top + 4);
    c.clip();
    for (const band of this.bands()) this.#band(c, band, x, box);
    const order = plot.stacked ? series.map((_, i) => series.length - 1 - i) : series.map((_, i) => i);
    for (const s of order) {
      for (const [start, end] of segments(ring, first, last)) {
        const old = ring.at(start, COLUMN.boot) !== boot.index;
        this.#line(c, series[s], (i) => valueOf(s, i), start, end, x, y, old, plot, to);
      }
    }
    const level = plot.line?.();
    if (level && Number.isFinite(level.value)) {
      const at = this.canvas.crisp(y(level.value));
      c.strokeStyle = theme.muted;
      c.setLineDash([5, 4]);
      c.lineWidth = theme.stroke;
      c.beginPath();
      c.moveTo(this.left, at);
      c.lineTo(this.right, at);
      c.stroke();
      c.setLineDash([]);
      c.fillStyle = theme.muted;
      c.textAlign = 'left';
      c.textBaseline = 'bottom';
      halo(c, level.label, this.left + 6, at - 3);
    }
    c.restore();
    if (plot.title) {
      c.fillStyle = theme.muted;
      c.textAlign = 'left';
      c.textBaseline = 'alphabetic';
      halo(c, plot.title, this.left + 6, box.top + 2);
    }
  }

  #line(c, series, value, start, end, x, y, old, plot, to) {
    const { ring, latestTime } = this.store;
    const time = (i) => ring.time(start + i);
    const stepped = series.draw !== 'line' && plot.draw !== 'line';
    const filled = plot.stacked || series.draw === 'area';
    const path = new Path2D();
    let open = false;
    let lastX = 0;
    let lastY = 0;
    let firstX = 0;
    const close = () => {
      if (open && filled) {
        path.lineTo(lastX, y(0));
        path.lineTo(firstX, y(0));
        path.closePath();
      }
      open = false;
    };
    minMax(end - start, time, (i) => value(start + i), (t) => Math.floor(x(t)), (t, v) => {
      if (Number.isNaN(v)) {
        close();
        return;
      }
      const [px, py] = [x(t), y(v)];
      if (!open) {
        path.moveTo(px, py);
        firstX = px;
        open = true;
      } else {
        if (stepped && py !== lastY) path.lineTo(px, lastY);
        path.lineTo(px, py);
      }
      [lastX, lastY] = [px, py];
    });
    // A stepped value stands until the next sample, but not past what has been seen.
    if (open && stepped && end === ring.length) {
      const seen = Math.min(to, latestTime);
      if (seen > time(end - start - 1)) path.lineTo(lastX = x(seen), lastY);
    }
    close();
    const colour = old ? theme.searching : series.colour();
    if (filled) {
      c.fillStyle = colour;
      c.globalAlpha = plot.stacked ? (old ? 0.35 : 1) : 0.22;
      c.fill(path);
      c.globalAlpha = 1;
      if (plot.stacked) return;
    }
    c.strokeStyle = colour;
    c.lineWidth = (series.thick ? 2 : 1.5) * theme.stroke;
    c.lineJoin = 'round';
    c.setLineDash(series.dash ?? []);
    c.stroke(path);
    c.setLineDash([]);
  }

  #band(c, { from, to, colour = theme.accent }, x, box) {
    const left = x(from);
    const right = x(to ?? this.store.latestTime);
    if (right < this.left || left > this.right) return;
    c.fillStyle = colour;
    c.globalAlpha = 0.12;
    c.fillRect(left, box.top, Math.max(1, right - left), box.bottom - box.top);
    c.globalAlpha = 0.6;
    c.fillRect(left, box.top, 1, box.bottom - box.top);
    if (to) c.fillRect(right, box.top, 1, box.bottom - box.top);
    c.globalAlpha = 1;
  }

  #overlay(c, x, from, to, height) {
    overlay(c, { canvas: this.canvas, store: this.store, view: this.view, x, left: this.left, right: this.right, top: 4, bottom: height, from, to });
  }

  /** The row that stood at a time; the newest when none is asked for. */
  rowAt(time) {
    const { ring } = this.store;
    if (!ring || ring.length === 0) return -1;
    if (time === null || time === undefined) return ring.length - 1;
    const index = ring.before(time);
    // Nothing was seen at a time inside a gap.
    if (index >= 0 && index + 1 < ring.length && ring.at(index + 1, COLUMN.gap) === 1 && time - ring.time(index) > 1.5e9) return -1;
    return index;
  }

  #readout() {
    this.readAt = performance.now();
    this.readCursor = this.view.cursorPart;
    const time = this.view.cursor ?? (this.view.frozen ? this.view.to : null);
    const index = this.rowAt(time);
    const { ring } = this.store;
    const all = this.plots.flatMap((plot) => plot.series().map((series) => ({ plot, series })));
    const list = this.panel.readout;
    if (list) {
      const shown = all.slice(0, READOUT_SERIES);
      const wanted = shown.length + (all.length > shown.length ? 1 : 0);
      while (list.children.length > wanted) list.lastChild.remove();
      while (list.children.length < wanted) list.append(el('li', {}, el('span', { class: 'swatch' }), el('span'), el('b')));
      shown.forEach(({ plot, series }, i) => {
        const item = list.children[i];
        const value = index < 0 ? NaN : series.value(ring, index);
        item.children[0].style.setProperty('--swatch', series.colour());
        item.children[0].classList.toggle('dashed', Boolean(series.dash));
        text(item.children[1], series.label);
        text(item.children[2], Number.isNaN(value) ? `${UNKNOWN}${series.unknown?.() ?? ''}` : plot.format(value));
      });
      if (all.length > shown.length) {
        const rest = list.lastChild;
        rest.children[0].style.setProperty('--swatch', 'transparent');
        text(rest.children[1], `and ${all.length - shown.length} more in the table`);
        text(rest.children[2], '');
      }
    }
    this.after({ index, ring, panel: this.panel });
  }

  say(time) {
    const index = this.rowAt(time);
    if (index < 0) return 'nothing was seen here';
    const { ring } = this.store;
    const behind = duration(this.store.latestTime - time);
    const values = this.plots.flatMap((plot) => plot.series().slice(0, READOUT_SERIES).map((s) => {
      const value = s.value(ring, index);
      return `${s.label} ${Number.isNaN(value) ? 'unknown' : plot.format(value)}`;
    }));
    return `${behind} ago: ${values.join(', ')}`;
  }

  #table() {
    const { ring, boot } = this.store;
    if (!ring) return;
    const [from, to] = this.view.range();
    let first = ring.find(from);
    const last = Math.min(ring.length, ring.find(to + 1));
    while (first < last && ring.at(first, COLUMN.boot) !== boot.index) first += 1;
    const now = this.rowAt(this.view.frozen ? to : null);
    fillTable(this.panel.table, this.plots.flatMap((plot) => plot.series().map((series) => {
      const figure = (value) => (value === undefined || Number.isNaN(value) ? UNKNOWN : plot.format(value));
      const all = summarise(last - first, (i) => ring.time(first + i), (i) => series.value(ring, first + i), to);
      return [series.label, figure(now < 0 ? NaN : series.value(ring, now)), figure(all?.least), figure(all?.mean), figure(all?.most)];
    })));
  }
}

/** Sum of a series and all below it. */
function stack(series, ring) {
  return (s, i) => {
    let sum = 0;
    for (let below = 0; below <= s; below += 1) sum += series[below].value(ring, i);
    return sum;
  };
}

/** Stretches of rows without a gap or a restart in between. */
function segments(ring, first, last) {
  const list = [];
  let start = first;
  for (let i = first + 1; i < last; i += 1) {
    if (ring.at(i, COLUMN.gap) === 1 || ring.at(i, COLUMN.boot) !== ring.at(i - 1, COLUMN.boot)) {
      list.push([start, i]);
      start = i;
    }
  }
  if (start < last) list.push([start, last]);
  return list;
}

function shortSeconds(ns) {
  const seconds = ns / 1e9;
  return seconds >= 1 ? `${Number(seconds.toFixed(1))} s` : `${Math.round(seconds * 1000)} ms`;
}

/** A time mark: the wall clock, with as many digits as the zoom shows; below a millisecond, the time before `end`. */
export function label(time, step, end, store) {
  if (step < 1e6) return `-${duration(end - time)}`;
  const digits = step >= 1e9 ? 0 : step >= 1e8 ? 1 : step >= 1e7 ? 2 : 3;
  const unit = 10 ** (3 - digits);
  const wall = Math.round(store.timebase.wall(time) / unit) * unit;
  if (digits === 0) return clock(wall);
  return `${clock(wall).slice(-5)}.${String(Math.round((wall % 1000) / unit)).padStart(digits, '0')}`;
}

/** Text on a halo of the ground colour, legible on any curve. */
export function halo(c, words, x, y) {
  const ink = c.fillStyle;
  c.lineWidth = 3;
  c.lineJoin = 'round';
  c.strokeStyle = theme.surface;
  c.strokeText(words, x, y);
  c.fillStyle = ink;
  c.fillText(words, x, y);
}

/** What all pictures of time have in common: a run that was marked, restarts, changes of the configuration, the cursor. */
export function overlay(c, { canvas, store, view, x, left, right, top, bottom, from, to, labelled = false }) {
  if (view.marked) {
    const span = store.runSpan(view.marked);
    if (span) {
      const [a, b] = [Math.max(left, x(span.from)), Math.min(right, x(span.to ?? store.latestTime))];
      if (b > a) {
        c.fillStyle = theme.accent;
        c.globalAlpha = 0.1;
        c.fillRect(a, top, b - a, bottom - top);
        c.globalAlpha = 1;
      }
    }
  }
  for (const { time, wall } of store.restarts) {
    if (time < from || time > to) continue;
    const at = canvas.crisp(x(time));
    c.strokeStyle = theme.warn;
    c.lineWidth = theme.stroke;
    c.beginPath();
    c.moveTo(at, top);
    c.lineTo(at, bottom);
    c.stroke();
    if (labelled) {
      c.font = theme.font(12, 600);
      c.fillStyle = theme.warn;
      c.textBaseline = 'top';
      c.textAlign = at > (left + right) / 2 ? 'right' : 'left';
      halo(c, `Server restarted ${clock(wall)}`, at + (c.textAlign === 'right' ? -6 : 6), top + 2);
    }
  }
  for (const { time, words } of store.marks) {
    if (time < from || time > to) continue;
    const at = canvas.crisp(x(time));
    c.strokeStyle = c.fillStyle = theme.accent;
    c.lineWidth = theme.stroke;
    c.setLineDash([2, 3]);
    c.beginPath();
    c.moveTo(at, top);
    c.lineTo(at, bottom);
    c.stroke();
    c.setLineDash([]);
    c.beginPath();
    c.moveTo(at - 4 * theme.scale, top);
    c.lineTo(at + 4 * theme.scale, top);
    c.lineTo(at, top + 6 * theme.scale);
    c.closePath();
    c.fill();
    if (labelled) {
      c.font = theme.font(11, 600);
      c.textBaseline = 'top';
      c.textAlign = at > (left + right) / 2 ? 'right' : 'left';
      halo(c, words, at + (c.textAlign === 'right' ? -7 : 7), top + 2);
    }
  }
  if (view.cursor !== null && view.cursor >= from && view.cursor <= to) {
    const at = canvas.crisp(x(view.cursor));
    c.strokeStyle = theme.ink;
    c.globalAlpha = 0.55;
    c.lineWidth = theme.stroke;
    c.beginPath();
    c.moveTo(at, top);
    c.lineTo(at, bottom);
    c.stroke();
    c.globalAlpha = 1;
  }
}
