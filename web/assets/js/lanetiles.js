// The turns of the lanes, drawn once into tiles that lie fixed on the time axis. A frame then only moves tiles, and a
// tick redraws the one or two it reaches into.

import { cross, dots, hatch } from './canvas.js';
import { FROZEN, GAVE_WAY, GROUPS, IN_KERNEL, rasterise } from './cells.js';
import { COLUMN, workerColumn } from './columns.js';
import { theme } from './theme.js';

/** Width of a tile in CSS pixels. */
export const TILE = 256;
const KEPT = 40;

export class LaneTiles {
  constructor(store) {
    this.store = store;
    this.tiles = new Map();
    this.key = '';
    this.look = null;
  }

  clear() {
    this.tiles.clear();
  }

  /** Forgets the tiles that show `time` or anything later. */
  dropFrom(time) {
    if (!this.look) return;
    const first = Math.floor(time / (TILE * this.look.pixel)) - 1;
    for (const index of this.tiles.keys()) if (index >= first) this.tiles.delete(index);
  }

  /**
   * What the tiles are to look like: `pixel` (ns wide), `order` of the workers, `pitch`, `inset`, `bar` and `height`
   * in CSS pixels, `ratio`, `data` (the cells), `classes` and the `only` one that is not dimmed. A change of any of it
   * makes all tiles anew.
   */
  use(look, dataKey) {
    const key = [look.pixel, look.pitch, look.bar, look.height, look.ratio, look.classes.mode, look.only, look.order.length, theme.dark, dataKey].join('/');
    if (key !== this.key) this.clear();
    this.key = key;
    this.look = look;
  }

  /** The picture of [index * span, (index + 1) * span) on the time axis, as a canvas. */
  get(index, span) {
    let tile = this.tiles.get(index);
    if (tile) return tile;
    if (this.tiles.size > KEPT) this.tiles.delete(this.tiles.keys().next().value);
    const { ratio, order, data, classes, only } = this.look;
    tile = document.createElement('canvas');
    tile.width = Math.round(TILE * ratio);
    tile.height = Math.max(1, Math.round(this.look.height * ratio));
    const c = tile.getContext('2d');
    const colours = this.#colours(c);
    const from = index * span;
    const keys = classes.size;
    const marks = this.#marks(c);
    const classify = (cell, chunk) => classes.of(cell, chunk);
    const alpha = (key) => (only === null || only === key ? 1 : 0.13);
    // In device pixels from here on: a column is one of them, and every edge is sharp.
    const bar = Math.round(this.look.bar * ratio);
    const pixel = this.look.pixel / ratio;
    order.forEach((worker, row) => {
      const top = Math.round((row * this.look.pitch + this.look.inset) * ratio);
      this.#searching(c, worker, from, from + span, top + bar, pixel);
      const { rects, columns, width } = rasterise(data, worker, { from, to: from + span, pixel, keys }, classify);
      for (let column = 0; column < width; column += 1) {
        let base = top + bar;
        for (let key = 0; key < keys; key += 1) {
          const share = columns[column * keys + key];
          if (share <= 0) continue;
          // A sliver of work must not vanish; and rounding must not make a full column look unfull.
          const height = share > 0.995 ? bar : Math.max(1, Math.min(1, share) * bar);
          c.globalAlpha = alpha(key);
          c.fillStyle = colours[key];
          c.fillRect(column, Math.max(top, base - height), 1, Math.min(height, base - top));
          base -= height;
        }
      }
      for (const rect of rects) {
        c.globalAlpha = alpha(rect.key);
        this.#rect(c, rect, top, bar, colours, marks);
      }
      c.globalAlpha = 1;
    });
    this.tiles.set(index, tile);
    return tile;
  }

  #rect(c, { x, width, share, key, turns, cell }, top, bar, colours, marks) {
    const { ratio, classes } = this.look;
    const height = Math.max(1, Math.round(share * bar));
    c.fillStyle = colours[key];
    c.fillRect(x, top + bar - height, width, height);
    if (turns !== 1) return;
    // Neighbouring turns are told apart by a hair at their beginning; zoomed in, by the routine's number.
    if (width >= 4) {
      c.fillStyle = theme.ground;
      c.globalAlpha *= Math.min(0.8, width / 14);
      c.fillRect(x, top + bar - height, Math.max(1, Math.round(ratio)), height);
    }
    if (width >= 4 * ratio) this.#end(c, cell[8], x + width, top + bar - height, height, width, marks);
    const room = 7 * ratio * theme.scale * (cell[5].length + 1);
    if (width > room && bar > 16 * ratio) {
      c.globalAlpha = 1;
      c.font = `600 ${Math.round(11 * ratio * theme.scale)}px ${theme.family}`;
      c.textBaseline = 'top';
      c.textAlign = 'left';
      c.lineWidth = 3 * ratio;
      c.lineJoin = 'round';
      c.strokeStyle = colours[key];
      // White is legible on the dark colours of the light theme only.
      const white = !theme.dark && (classes.mode === 'source' ? ['local', 'wanting'].includes(GROUPS[key]) : classes.mode !== 'end');
      c.fillStyle = white ? '#ffffff' : '#0d1013';
      c.strokeText(cell[5], x + 5 * ratio, top + bar - height + 5 * ratio);
      c.fillText(cell[5], x + 5 * ratio, top + bar - height + 5 * ratio);
    }
  }

  /** What marks the end of a turn that was not its own doing: a notch, or a band. */
  #end(c, end, right, top, height, width, { notch, frozen, kernel }) {
    if (this.look.classes.mode === 'end') return;
    const { ratio } = this.look;
    const size = Math.min(6 * ratio, width / 2, height);
    c.globalAlpha = Math.min(1, c.globalAlpha * 4);
    if (end === GAVE_WAY) {
      c.fillStyle = notch;
      c.beginPath();
      c.moveTo(right - size, top);
      c.lineTo(right, top);
      c.lineTo(right, top + size);
      c.closePath();
      c.fill();
      c.fillRect(right - Math.max(1, ratio), top, Math.max(1, ratio), height);
    } else if (end === FROZEN || end === IN_KERNEL) {
      c.fillStyle = end === FROZEN ? frozen : kernel;
      c.fillRect(right - size, top, size, height);
    }
  }

  #marks(c) {
    const { ratio } = this.look;
    return {
      notch: theme.gaveWay,
      frozen: cross(c, theme.frozen, theme.frozenInk, 1, 5 * ratio),
      kernel: dots(c, theme.kernel, theme.kernelInk, 1, 4 * ratio),
    };
  }

  #colours(c) {
    const { classes, bar, ratio } = this.look;
    if (classes.mode === 'end') {
      const { frozen, kernel } = this.#marks(c);
      const gaveWay = hatch(c, theme.gaveWay, theme.gaveWayInk, 1, (bar > 20 ? 7 : 4) * ratio);
      return [theme.injector, theme.inbox, theme.local, gaveWay, frozen, kernel];
    }
    if (classes.mode !== 'source') return theme.classes;
    const stolen = hatch(c, theme.stolen, theme.stolenInk, 1, (bar > 20 ? 7 : 4) * ratio);
    return GROUPS.map((group) => (group === 'stolen' ? stolen : theme[group]));
  }

  /** A line at the foot where a worker was looking for work, as strong as the share of the time it did. */
  #searching(c, worker, from, to, foot, pixel) {
    const { ring } = this.store;
    const { ratio } = this.look;
    const column = workerColumn(worker, 'searching');
    c.fillStyle = theme.searching;
    const first = Math.max(1, ring.find(from));
    for (let i = first; i < ring.length && ring.time(i - 1) < to; i += 1) {
      if (ring.at(i, COLUMN.gap) === 1 || ring.at(i, COLUMN.boot) !== ring.at(i - 1, COLUMN.boot)) continue;
      const length = ring.time(i) - ring.time(i - 1);
      const share = (ring.at(i, column) - ring.at(i - 1, column)) / length;
      if (!(share > 0.002)) continue;
      c.globalAlpha = Math.min(1, 0.35 + share);
      c.fillRect((ring.time(i - 1) - from) / pixel, foot + ratio, length / pixel, 2 * ratio);
    }
    c.globalAlpha = 1;
  }
}
