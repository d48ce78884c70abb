// How deep do stacks go?  Routines by the deepest their stack has been, in powers of two, and the slot as a limit.

import { Canvas } from './canvas.js';
import { COLUMN, rateAt } from './columns.js';
import { $, speak, text } from './dom.js';
import { bytes, count, plural, round, short, UNKNOWN } from './format.js';
import { fillTable, Panel } from './panel.js';
import { niceCeiling } from './scale.js';
import { theme } from './theme.js';
import { halo } from './timechart.js';

const SMALLEST = 4096;

export class Stacks {
  constructor({ store, frames }) {
    this.store = store;
    this.frames = frames;
    this.panel = new Panel('stacks');
    this.canvas = new Canvas(this.panel.canvas, () => this.dirty());
    this.figure = $('#stacks-figure');
    this.isDirty = true;
    this.chosen = null;
    this.drawn = '';
    store.on('tick', () => {
      const now = store.latest.stacks.high_water.join();
      if (now !== this.drawn) {
        this.drawn = now;
        this.dirty();
      }
    });
    theme.onChange(() => this.dirty());
    this.panel.onShow = () => this.dirty();
    this.panel.refreshTable = () => this.#table();
    this.panel.canvas.addEventListener('keydown', (event) => this.#key(event));
    this.panel.canvas.addEventListener('blur', () => { this.chosen = null; this.dirty(); });
    frames.add(this);
  }

  dirty() {
    this.isDirty = true;
    this.frames.ask();
  }

  /** Called once a second: figures that only people read. */
  second() {
    this.panel.second();
    const { latest, ring } = this.store;
    if (!latest) return;
    const { stacks } = latest;
    const growths = ring.length > 0 ? rateAt(ring, ring.length - 1, COLUMN.growths) : NaN;
    const limit = stacks.limit === null ? 'no limit' : `limit ${count(stacks.limit)}`;
    const waiting = stacks.waiting > 0 ? `, ${plural(stacks.waiting, 'routine')} waiting for one` : '';
    text(this.figure, `${count(stacks.in_use)} in use, ${count(stacks.pooled)} pooled (${limit}${waiting}); ${Number.isNaN(growths) ? UNKNOWN : short(Math.round(growths * 10) / 10)} growths/s; ${plural(stacks.contained ?? 0, 'overflow')} contained; guards: ${stacks.mode}`);
  }

  /** Buckets up to the slot's, and as far beyond as there is anything. */
  #buckets() {
    const { stacks } = this.store.latest;
    const slot = Math.max(0, Math.round(Math.log2(stacks.slot_bytes / SMALLEST)));
    let last = slot;
    stacks.high_water.forEach((value, i) => { if (value > 0) last = Math.max(last, i); });
    return { values: stacks.high_water.slice(0, last + 1), slot, size: stacks.slot_bytes };
  }

  step() {
    if (!this.isDirty || !this.canvas.visible || this.panel.asTable || !this.store.latest) return;
    this.isDirty = false;
    const c = this.canvas.begin();
    const { values, slot, size } = this.#buckets();
    const scale = theme.scale;
    const [left, right] = [Math.round(8 * scale), this.canvas.width - 8];
    const [top, bottom] = [Math.round(30 * scale), this.canvas.height - Math.round(20 * scale)];
    const max = niceCeiling(Math.max(1, ...values));
    const pitch = (right - left) / values.length;
    c.font = theme.font(11);
    c.textAlign = 'center';
    values.forEach((value, i) => {
      const x = left + i * pitch;
      // Anything at all is worth two pixels; what is not there draws nothing.
      const height = value > 0 ? Math.max(2, (value / max) * (bottom - top)) : 0;
      c.fillStyle = theme.accent;
      c.globalAlpha = this.chosen === null || this.chosen === i ? 1 : 0.4;
      c.fillRect(x + pitch * 0.14, bottom - height, pitch * 0.72, height);
      c.globalAlpha = 1;
      c.fillStyle = theme.ink;
      c.textBaseline = 'bottom';
      if (value > 0) c.fillText(short(value), x + pitch / 2, bottom - height - 3);
      c.fillStyle = theme.muted;
      c.textBaseline = 'alphabetic';
      const depth = SMALLEST * 2 ** i;
      c.fillText(depth >= 1 << 20 ? `${depth >> 20} M` : `${depth >> 10}${i === 0 ? ' KiB' : ''}`, x + pitch / 2, this.canvas.height - 5);
    });
    c.strokeStyle = theme.lineStrong;
    c.lineWidth = 1 / this.canvas.ratio;
    c.beginPath();
    c.moveTo(left, this.canvas.crisp(bottom));
    c.lineTo(right, this.canvas.crisp(bottom));
    c.stroke();
    const guard = this.canvas.crisp(Math.min(right - 1, left + (slot + 1) * pitch));
    c.strokeStyle = theme.warn;
    c.lineWidth = 1.5 * theme.stroke;
    c.setLineDash([5, 4]);
    c.beginPath();
    c.moveTo(guard, Math.round(16 * scale));
    c.lineTo(guard, bottom);
    c.stroke();
    c.setLineDash([]);
    c.fillStyle = theme.warn;
    c.textAlign = 'right';
    c.textBaseline = 'alphabetic';
    halo(c, `slot ends at ${round(bytes(size))}`, guard - 5, Math.round(20 * scale));
  }

  #table() {
    if (!this.store.latest) return;
    const { values } = this.#buckets();
    fillTable(this.panel.table, values.map((value, i) => [round(bytes(SMALLEST * 2 ** i)), count(value)]));
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.store.latest) return;
    event.preventDefault();
    const { values } = this.#buckets();
    this.chosen = Math.min(values.length - 1, Math.max(0, (this.chosen ?? -1) + step));
    speak(`up to ${round(bytes(SMALLEST * 2 ** this.chosen))}: ${plural(values[this.chosen], 'routine')}`);
    this.dirty();
  }
}
