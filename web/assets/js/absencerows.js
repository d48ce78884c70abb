// Below the workers: threads that have none in the middle of a turn, a row for each that there were at once.

import { cross, dots } from './canvas.js';
import { ROWS } from './absences.js';
import { theme } from './theme.js';

const MOST = 8;
const MOST_NARROW = 4;

export class AbsenceRows {
  /** @param canvas what they are drawn on */
  constructor(canvas) {
    this.canvas = canvas;
    this.rows = 0;
    this.hidden = 0;
    this.top = 0;
  }

  get pitch() {
    return Math.round(13 * theme.scale);
  }

  /** Height of all of it, with a gap above. */
  get height() {
    return this.rows === 0 ? 0 : this.rows * this.pitch + Math.round(8 * theme.scale);
  }

  /** Takes as many rows as [from, to) needs. Returns whether that changed. */
  fit(absences, from, to, narrow) {
    const wanted = absences.rowsBetween(from, to);
    const rows = Math.min(wanted, narrow ? MOST_NARROW : MOST);
    const before = this.rows;
    this.hidden = wanted - rows;
    // Fewer rows only when none is left: a picture that changes its height at every call is no picture.
    if (rows > before || rows === 0) this.rows = rows;
    return this.rows !== before;
  }

  #first() {
    return this.top + Math.round(6 * theme.scale);
  }

  draw(c, { x, from, to, top, left, right, absences }) {
    this.top = top;
    if (this.rows === 0) return;
    const { ratio } = this.canvas;
    const looks = {
      kernel: { fill: dots(c, theme.kernel, theme.kernelInk, ratio, 4), line: theme.kernel },
      frozen: { fill: cross(c, theme.frozen, theme.frozenInk, ratio, 5), line: theme.frozen },
    };
    const bar = this.pitch - Math.round(3 * theme.scale);
    c.fillStyle = theme.line;
    c.fillRect(left, top + Math.round(2 * theme.scale), right - left, 1 / ratio);
    for (let row = 0; row < this.rows; row += 1) {
      const y = this.#first() + row * this.pitch;
      let drawn = -Infinity;
      absences.each(row, from, to, (span) => {
        const [begin, end] = [Math.max(left - 2, x(span.start)), Math.min(right + 2, x(span.end))];
        // What is thinner than a pixel shares it with its neighbours.
        const width = Math.max(1, end - begin);
        if (begin + width < drawn + 0.5) return;
        drawn = begin + width;
        const look = looks[span.why];
        const waits = span.why === 'kernel' ? Math.max(0, end - Math.max(begin, x(span.end - span.wanting))) : 0;
        c.fillStyle = look.fill;
        c.fillRect(begin, y, Math.max(1, width - waits), bar);
        if (waits >= 2) {
          // Back from the kernel, and waiting for a worker alone.
          c.strokeStyle = look.line;
          c.lineWidth = 1;
          c.strokeRect(begin + width - waits + 0.5, y + 0.5, waits - 1, bar - 1);
        }
      });
    }
  }

  label(c, { narrow, right }) {
    if (this.rows === 0) return;
    const middle = this.#first() + (this.rows * this.pitch) / 2;
    c.save();
    c.font = theme.font(narrow ? 9 : 11);
    c.fillStyle = theme.muted;
    c.textAlign = 'left';
    c.textBaseline = 'middle';
    const words = narrow ? ['away'] : this.rows > 1 ? ['threads', 'without a worker'] : ['without a worker'];
    words.forEach((word, line) => c.fillText(word, 4, middle + (line - (words.length - 1) / 2) * 13 * theme.scale));
    if (this.hidden > 0) {
      c.textAlign = 'right';
      c.fillText(`+${this.hidden}`, right, middle);
    }
    c.restore();
  }

  /** The span under a point, with two pixels of grace; null elsewhere. */
  at(y, time, pixel, absences) {
    const row = Math.floor((y - this.#first()) / this.pitch);
    if (this.rows === 0 || row < 0 || row >= Math.min(this.rows, ROWS)) return null;
    for (const aside of [0, -1, 1, -2, 2]) {
      const span = absences.find(row, time + aside * pixel);
      if (span) return span;
    }
    return null;
  }
}
