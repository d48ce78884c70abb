// Who runs where, and who took work from whom?  The hero of the page.
//
// Turns are drawn once into tiles that lie fixed on the time axis; a frame then only moves tiles. A new tick redraws
// the one or two tiles it reaches into. Arrows, labels, the cursor and what is going on now lie over the tiles.

import { get } from './api.js';
import { Canvas, hatch } from './canvas.js';
import { bundle, Classes, GROUPS, Lanes, rasterise } from './cells.js';
import { COLUMN, grownBetween, workerColumn } from './columns.js';
import { $, $$, el, speak, text } from './dom.js';
import { count, duration, percent, plural, short, UNKNOWN, visible } from './format.js';
import { fillTable, Panel } from './panel.js';
import { follow } from './pointer.js';
import { linear } from './scale.js';
import { theme } from './theme.js';
import { halo, label as timeLabel, overlay } from './timechart.js';
import { timeTicks } from './ticks.js';

const TILE = 256;
const TILES_KEPT = 40;
const MOST_LANES = 64;
const SMALL_LANES = 16;
const ARROWS = 50;
const BACKFILL_NS = 60e9;

export class LanesChart {
  constructor({ store, view, frames, openRoutine }) {
    Object.assign(this, { store, view, frames, openRoutine });
    this.panel = new Panel('lanes');
    this.canvas = new Canvas(this.panel.canvas, () => this.dirty(true));
    this.tooltip = $('#tooltip');
    this.nothing = $('#nothing');
    this.legend = $('#lanes-legend');
    this.narrow = matchMedia('(max-width: 639px)');
    this.mode = 'source';
    this.classes = new Classes('source');
    this.only = null;
    this.tiles = new Map();
    this.tileKey = '';
    this.detail = null;
    this.drawnTo = NaN;
    this.isDirty = true;
    this.order = [];
    this.seen = 0;
    this.names = new Map();
    this.asked = new Set();

    store.on('tick', () => this.#tick());
    store.on('history', () => this.dirty(true));
    store.on('missed', () => this.backfill());
    store.on('restart', () => { this.order = []; this.names.clear(); this.asked.clear(); this.dirty(true); this.backfill(); });
    store.on('runs', () => { if (this.mode === 'run') this.#legend(); });
    view.onChange(() => {
      this.dirty();
      if (view.frozen) this.#wantDetail();
      else this.detail = null;
    });
    theme.onChange(() => { this.#fit(); this.dirty(true); });
    this.narrow.addEventListener('change', () => { this.#fit(); this.dirty(true); });
    this.panel.onShow = () => this.dirty(true);
    this.panel.refreshTable = () => this.#table();
    for (const button of $$('#colour-by button')) {
      button.addEventListener('click', () => {
        for (const other of $$('#colour-by button')) other.setAttribute('aria-pressed', String(other === button));
        this.mode = button.dataset.mode;
        this.classes = new Classes(this.mode);
        this.only = null;
        this.dirty(true);
        this.#legend();
      });
    }
    const canvas = this.panel.canvas;
    follow(canvas, {
      view,
      plot: () => [this.left, this.right],
      say: (time) => this.#say(time),
      onMove: (x, y, time) => this.#hover(x, y, time),
      onLeave: () => { this.tooltip.hidden = true; },
      onPress: (x, y, time) => {
        const found = this.#cellAt(y, time);
        this.tooltip.hidden = true;
        if (found) this.openRoutine(found.cell.routine, found);
      },
    });
    this.keyLane = 0;
    canvas.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
        event.preventDefault();
        this.keyLane = Math.min(this.order.length - 1, Math.max(0, this.keyLane + (event.key === 'ArrowUp' ? -1 : 1)));
        speak(this.#say(view.cursor ?? view.range()[1]));
      } else if (event.key === 'Enter' && view.cursor !== null) {
        const found = this.#data().find(this.order[this.keyLane], view.cursor);
        if (found) this.openRoutine(found.cell.routine, found);
      } else if ((event.key === '+' || event.key === '=') && view.frozen) {
        view.zoom(0.5);
      } else if (event.key === '-' && view.frozen) {
        view.zoom(2);
      }
    });
    this.#fit();
    this.#legend();
    frames.add(this);
  }

  dirty(everything = false) {
    if (everything) this.tiles.clear();
    this.isDirty = true;
    this.frames.ask();
  }

  /** Cells to draw from: the stream's, or what the server sent for a frozen stretch. */
  #data() {
    return this.view.frozen && this.detail ? this.detail.lanes : this.store.lanes;
  }

  #tick() {
    const { store, view } = this;
    if (this.order.length !== Math.min(store.workers, MOST_LANES) || store.workers > MOST_LANES) this.#choose();
    if (!view.frozen) {
      // New cells may begin before the last tick: a turn is written down when it ends.
      let from = store.latestTime;
      for (const chunks of store.lanes.lanes) {
        const last = chunks?.[chunks.length - 1];
        if (last && last.to > this.seen) from = Math.min(from, last.from);
      }
      this.seen = store.latestTime - 1;
      const first = Math.floor(from / (TILE * this.pixel)) - 1;
      for (const index of this.tiles.keys()) if (index >= first) this.tiles.delete(index);
      this.isDirty = true;
      this.frames.ask();
    }
  }

  /** Which workers get a lane: all, or the busiest. */
  #choose() {
    const { store } = this;
    const before = this.order.join();
    let ids = store.latest.workers.map((_, i) => i);
    if (ids.length > MOST_LANES) {
      const now = performance.now();
      if (this.order.length > 0 && now - (this.chosenAt ?? -1e9) < 5000) return;
      this.chosenAt = now;
      ids = ids.sort((a, b) => store.latest.workers[b].busy_ns - store.latest.workers[a].busy_ns).slice(0, MOST_LANES).sort((a, b) => a - b);
    }
    this.order = ids;
    if (ids.join() !== before) {
      this.#fit();
      this.dirty(true);
    }
  }

  /** The height that the lanes need. */
  #fit() {
    const n = Math.max(1, this.order.length);
    const scale = theme.scale;
    const room = Math.round((this.narrow.matches ? 0.42 : 0.4) * window.innerHeight);
    const frame = (this.narrow.matches ? 44 : 50) * scale;
    const more = this.store.workers > MOST_LANES ? 18 * scale : 0;
    const least = n > SMALL_LANES ? 12 * scale : 26 * scale;
    const height = Math.round(Math.max(room, frame + n * least + more));
    this.panel.canvas.style.height = `${height}px`;
  }

  #layout() {
    const scale = theme.scale;
    const narrow = this.narrow.matches;
    const n = Math.max(1, this.order.length);
    this.left = Math.round((narrow ? 30 : 128) * scale);
    this.right = this.canvas.width - Math.round((narrow ? 40 : 92) * scale);
    this.strip = { top: Math.round(4 * scale), bottom: Math.round(22 * scale) };
    this.top = Math.round(28 * scale);
    const more = this.store.workers > MOST_LANES ? 18 * scale : 0;
    this.bottom = this.canvas.height - Math.round(20 * scale) - more;
    this.pitch = (this.bottom - this.top) / n;
    // Few lanes leave room between them for the arrows.
    const part = n <= 4 ? 0.6 : n <= 8 ? 0.68 : n <= SMALL_LANES ? 0.76 : 0.84;
    this.bar = Math.max(4, Math.round(this.pitch * part));
    this.inset = Math.round((this.pitch - this.bar) / 2);
  }

  #laneTop(row) {
    return this.top + row * this.pitch + this.inset;
  }

  step(moving) {
    if (!this.canvas.visible || this.panel.asTable || !this.store.latest) return;
    const [from, to] = this.view.range();
    const moved = ((to - this.drawnTo) / (to - from)) * (this.canvas.width || 1);
    if (!this.isDirty && !(moving && moved >= 0.4)) return;
    this.isDirty = false;
    this.drawnTo = to;
    this.#draw(from, to);
  }

  #draw(from, to) {
    const { canvas, store } = this;
    if (this.order.length === 0) this.#choose();
    this.#layout();
    const c = canvas.begin();
    const x = linear(from, to, this.left, this.right);
    this.pixel = (to - from) / (this.right - this.left);
    const key = [this.pixel, this.bar, this.pitch, canvas.ratio, this.mode, this.only, theme.dark, this.detail?.key, this.order.length].join('/');
    if (key !== this.tileKey) {
      this.tiles.clear();
      this.tileKey = key;
    }
    this.#ground(c, x, from, to);
    c.save();
    c.beginPath();
    c.rect(this.left, 0, this.right - this.left, canvas.height);
    c.clip();
    this.#injector(c, x, from, to);
    const span = TILE * this.pixel;
    for (let index = Math.floor(from / span); index * span < to; index += 1) {
      const tile = this.#tile(index, span);
      c.drawImage(tile, x(index * span), this.top, TILE, this.bottom - this.top);
    }
    for (const { time } of store.restarts) {
      if (time > from) {
        c.fillStyle = theme.surface;
        c.globalAlpha = 0.6;
        c.fillRect(this.left, this.top, Math.max(0, x(time) - this.left), this.bottom - this.top);
        c.globalAlpha = 1;
      }
    }
    if (!this.view.frozen) this.#present(c, x, to);
    this.#arrows(c, x, from, to);
    overlay(c, { canvas, store, view: this.view, x, left: this.left, right: this.right, top: 2, bottom: this.bottom, from, to, labelled: true });
    c.restore();
    this.#labels(c);
  }

  #ground(c, x, from, to) {
    const { canvas, view, store } = this;
    const scale = theme.scale;
    for (const [start, end] of this.#seenBetween(from, to)) {
      const [left, right] = [Math.max(this.left, x(start)), Math.min(this.right, x(end))];
      c.fillStyle = theme.ground;
      this.order.forEach((_, row) => c.fillRect(left, this.#laneTop(row), right - left, this.bar));
    }
    c.font = theme.font(11);
    c.textBaseline = 'alphabetic';
    c.textAlign = 'center';
    c.strokeStyle = theme.line;
    c.lineWidth = 1 / canvas.ratio;
    const { step, ticks } = timeTicks(from, to, this.right - this.left, 110 * scale, store.timebase.wall(0));
    const foot = this.bottom + Math.round(14 * scale);
    for (const time of ticks) {
      const at = canvas.crisp(x(time));
      if (at < this.left || at > this.right) continue;
      c.beginPath();
      c.moveTo(at, this.strip.top);
      c.lineTo(at, this.bottom);
      c.stroke();
      const words = timeLabel(time, step, view.frozen ? store.latestTime : to, store);
      if (at > this.left + 24 && at < this.right - 50 * scale) {
        c.fillStyle = theme.muted;
        c.fillText(words, at, foot);
      }
    }
    if (!view.frozen) {
      c.fillStyle = theme.ink;
      c.textAlign = 'right';
      c.fillText('now', this.right, foot);
    }
  }

  /** Stretches of time that were watched: where nothing was seen there is no lane, rather than an idle one. */
  #seenBetween(from, to) {
    const { ring, latestTime } = this.store;
    const list = [];
    let start = ring.time(0);
    for (let i = Math.max(1, ring.find(from)); i < ring.length && ring.time(i - 1) < to; i += 1) {
      if (ring.at(i, COLUMN.gap) !== 1) continue;
      list.push([start, ring.time(i - 1)]);
      start = ring.time(i);
    }
    list.push([start, latestTime]);
    return list.filter(([a, b]) => b > from && a < to);
  }

  /** The depth of the injector, as a strip above the lanes. */
  #injector(c, x, from, to) {
    const { ring } = this.store;
    const { top, bottom } = this.strip;
    const first = Math.max(0, ring.find(from) - 1);
    let most = 8;
    for (let i = first; i < ring.length && ring.time(i) < to; i += 1) most = Math.max(most, ring.at(i, COLUMN.injector));
    c.fillStyle = theme.injector;
    for (let i = first; i < ring.length && ring.time(i) < to; i += 1) {
      const depth = ring.at(i, COLUMN.injector);
      if (!(depth > 0)) continue;
      const next = i + 1 < ring.length ? (ring.at(i + 1, COLUMN.gap) === 1 ? ring.time(i) : ring.time(i + 1)) : Math.min(to, this.store.latestTime);
      const height = Math.max(2, (depth / most) * (bottom - top));
      c.fillRect(x(ring.time(i)), bottom - height, Math.max(1, x(next) - x(ring.time(i))), height);
    }
    c.fillStyle = theme.line;
    c.fillRect(this.left, bottom, this.right - this.left, 1 / this.canvas.ratio);
  }

  #tile(index, span) {
    let tile = this.tiles.get(index);
    if (tile) return tile;
    if (this.tiles.size > TILES_KEPT) this.tiles.delete(this.tiles.keys().next().value);
    const { ratio } = this.canvas;
    tile = document.createElement('canvas');
    tile.width = Math.round(TILE * ratio);
    tile.height = Math.max(1, Math.round((this.bottom - this.top) * ratio));
    const c = tile.getContext('2d');
    const colours = this.#colours(c);
    const from = index * span;
    const keys = Math.max(1, this.mode === 'source' ? GROUPS.length : this.classes.limit);
    const data = this.#data();
    const classify = (cell, chunk) => this.classes.of(cell, chunk);
    const alpha = (key) => (this.only === null || this.only === key ? 1 : 0.13);
    // In device pixels from here on: a column is one of them, and every edge is sharp.
    const bar = Math.round(this.bar * ratio);
    this.order.forEach((worker, row) => {
      const top = Math.round((row * this.pitch + this.inset) * ratio);
      this.#searching(c, worker, from, from + span, top + bar, ratio);
      const { rects, columns, width } = rasterise(data, worker, { from, to: from + span, pixel: this.pixel / ratio, keys }, classify);
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
        this.#rect(c, rect, top, bar, ratio, colours);
      }
      c.globalAlpha = 1;
    });
    this.tiles.set(index, tile);
    return tile;
  }

  #rect(c, { x, width, share, key, turns, cell }, top, bar, ratio, colours) {
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
      const white = !theme.dark && (this.mode !== 'source' || GROUPS[key] === 'local');
      c.fillStyle = white ? '#ffffff' : '#0d1013';
      c.strokeText(cell[5], x + 5 * ratio, top + bar - height + 5 * ratio);
      c.fillText(cell[5], x + 5 * ratio, top + bar - height + 5 * ratio);
    }
  }

  #colours(c) {
    if (this.mode === 'source') {
      return GROUPS.map((group) => (group === 'stolen' ? hatch(c, theme.stolen, theme.stolenInk, 1, (this.bar > 20 ? 7 : 4) * this.canvas.ratio) : theme[group]));
    }
    return theme.classes;
  }

  /** A line at the foot where a worker was looking for work, as strong as the share of the time it did. */
  #searching(c, worker, from, to, foot, ratio) {
    const { ring } = this.store;
    const column = workerColumn(worker, 'searching');
    c.fillStyle = theme.searching;
    const first = Math.max(1, ring.find(from));
    for (let i = first; i < ring.length && ring.time(i - 1) < to; i += 1) {
      if (ring.at(i, COLUMN.gap) === 1 || ring.at(i, COLUMN.boot) !== ring.at(i - 1, COLUMN.boot)) continue;
      const length = ring.time(i) - ring.time(i - 1);
      const share = (ring.at(i, column) - ring.at(i - 1, column)) / length;
      if (!(share > 0.002)) continue;
      c.globalAlpha = Math.min(1, 0.35 + share);
      c.fillRect(((ring.time(i - 1) - from) / this.pixel) * ratio, foot + ratio, (length / this.pixel) * ratio, 2 * ratio);
    }
    c.globalAlpha = 1;
  }

  /** The turn each worker is in now: begun, not yet written down. */
  #present(c, x, to) {
    const { latest, latestTime } = this.store;
    c.fillStyle = theme.lineStrong;
    this.order.forEach((worker, row) => {
      const { turn_ns: turn, state } = latest.workers[worker];
      if (state !== 'running' || typeof turn !== 'number') return;
      const begun = x(latestTime - turn);
      const end = x(Math.min(to, latestTime));
      if (end - begun < 2) return;
      c.fillRect(begun, this.#laneTop(row), end - begun, this.bar);
    });
  }

  #arrows(c, x, from, to) {
    if (this.only !== null && !(this.mode === 'source' && GROUPS[this.only] === 'stolen')) return;
    const rows = new Map(this.order.map((worker, row) => [worker, row]));
    const bundles = bundle(this.#data().steals, from, to, this.order.length > SMALL_LANES ? ARROWS * 2 : ARROWS);
    c.font = theme.font(11, 600);
    c.textBaseline = 'middle';
    let lastLabel = -Infinity;
    bundles.sort((a, b) => a.at - b.at);
    for (const { at, thief, victim, moved, steals } of bundles) {
      const [a, b] = [rows.get(victim), rows.get(thief)];
      if (a === undefined || b === undefined) continue;
      const px = this.canvas.crisp(x(at));
      const down = b > a;
      const tail = this.#laneTop(a) + (down ? this.bar : 0);
      const tip = this.#laneTop(b) + (down ? 0 : this.bar);
      const head = Math.min(7 * theme.scale, Math.abs(tip - tail) * 0.6);
      const side = down ? -1 : 1;
      for (const [colour, width] of [[theme.surface, 4], [theme.ink, 1.25]]) {
        c.strokeStyle = c.fillStyle = colour;
        c.lineWidth = width * theme.stroke;
        c.beginPath();
        c.moveTo(px, tail - side * -1 * Math.min(4, this.bar / 4));
        c.lineTo(px, tip + side * head * 0.8);
        c.stroke();
        c.beginPath();
        c.moveTo(px, tip);
        c.lineTo(px - head * 0.5, tip + side * head);
        c.lineTo(px + head * 0.5, tip + side * head);
        c.closePath();
        if (width > 2) c.stroke();
        c.fill();
      }
      const words = steals > 1 ? `${short(moved)} in ${short(steals)}` : short(moved);
      const near = px - lastLabel < (words.length * 7 + 8) * theme.scale && Math.abs(b - a) === 1;
      if (this.pitch - this.bar >= 11 * theme.scale && !near) {
        lastLabel = px;
        c.textAlign = 'left';
        c.fillStyle = theme.ink;
        halo(c, words, px + 6, (tail + tip) / 2);
      }
    }
  }

  #labels(c) {
    const { latest, workers } = this.store;
    const scale = theme.scale;
    const narrow = this.narrow.matches;
    const small = this.pitch < 24 * scale;
    c.textBaseline = 'middle';
    c.font = theme.font(11);
    c.fillStyle = theme.muted;
    c.textAlign = 'left';
    const strip = (this.strip.top + this.strip.bottom) / 2 + 2;
    if (!narrow) c.fillText('injector', 4, strip);
    c.textAlign = 'right';
    c.fillStyle = theme.ink;
    c.fillText(short(latest.injector_depth), this.canvas.width - 4, strip);
    const deepest = Math.max(8, ...latest.workers.map((w) => w.queue_depth));
    const colours = workers <= 8;
    this.order.forEach((worker, row) => {
      const w = latest.workers[worker];
      const middle = this.#laneTop(row) + this.bar / 2;
      c.textAlign = 'left';
      c.fillStyle = colours ? theme.worker(worker) : theme.ink;
      c.font = theme.font(small ? 10 : 18, 600);
      const apart = small ? 0 : this.pitch > 60 * scale && !narrow ? -9 * scale : 0;
      c.fillText(String(worker), 4, middle + apart);
      if (!narrow) {
        c.font = theme.font(small ? 10 : 12);
        c.fillStyle = theme.muted;
        const state = w.state === 'running' && w.routine !== null ? `runs ${w.routine}` : w.state;
        if (small) c.fillText(state, 30 * scale, middle);
        else if (apart !== 0) {
          c.fillText(state, 4, middle + 10 * scale);
          if (w.state === 'running' && w.site && this.pitch > 84 * scale) {
            c.font = theme.font(10);
            c.fillText(shorten(c, visible(w.site.split('/').pop()), this.left - 12), 4, middle + 25 * scale);
          }
        } else c.fillText(state, 30 * scale, middle);
      }
      // The queue: a bar from the right edge of now, and its figure.
      const room = this.canvas.width - this.right - (narrow ? 6 : 44 * scale);
      const length = narrow ? 0 : (w.queue_depth / deepest) * room;
      const thick = Math.max(3, Math.min(14 * scale, this.bar * 0.5));
      if (!narrow) {
        c.fillStyle = theme.line;
        c.fillRect(this.right + 6, middle - thick / 2, room, thick);
        c.fillStyle = theme.runnable;
        c.fillRect(this.right + 6, middle - thick / 2, length, thick);
      }
      c.fillStyle = theme.ink;
      c.textAlign = 'right';
      c.font = theme.font(small ? 10 : 13, 500);
      c.fillText(short(w.queue_depth), this.canvas.width - 4, middle);
    });
    c.font = theme.font(10);
    c.fillStyle = theme.muted;
    c.textBaseline = 'alphabetic';
    if (!narrow) c.fillText('in queue', this.canvas.width - 4, this.bottom + Math.round(14 * scale));
    if (workers > this.order.length) {
      c.textAlign = 'left';
      c.font = theme.font(11);
      c.fillText(`the ${this.order.length} busiest; ${plural(workers - this.order.length, 'more worker')}`, 4, this.canvas.height - 5);
    }
  }

  // What is under the pointer.

  #rowAt(y) {
    const row = Math.floor((y - this.top) / this.pitch);
    return row >= 0 && row < this.order.length ? row : -1;
  }

  #cellAt(y, time) {
    const row = this.#rowAt(y);
    if (row < 0) return null;
    // Two pixels of grace: a single turn may be thinner than a pointer.
    const data = this.#data();
    for (const aside of [0, -1, 1, -2, 2]) {
      const found = data.find(this.order[row], time + aside * this.pixel);
      if (found) return found;
    }
    return null;
  }

  #hover(x, y, time) {
    const found = x >= this.left && x <= this.right ? this.#cellAt(y, time) : null;
    this.tooltip.hidden = !found;
    this.panel.canvas.classList.toggle('pointing', Boolean(found));
    if (!found) return;
    const { cell, worker } = found;
    const name = this.#nameOf(cell);
    const run = cell.workload === null ? null : this.store.runOfWorkload(cell.workload);
    const lines = cell.turns > 1
      ? [['Worker', `${worker}, busy ${percent(cell.share)} of ${duration(cell.length)}`], ['Turns', `${count(cell.turns)}, most from: ${cell.source}`], ['Longest by', `routine ${cell.routine}${name}`]]
      : [['Routine', `${cell.routine}${name}`], ['Worker', `${worker}, found it: ${cell.source}`], ['Length', duration(cell.length)]];
    lines.push(['Spawned at', visible(cell.site ?? UNKNOWN)]);
    if (run) lines.push(['Run', `${run.id} (${run.kind})`]);
    this.tooltip.replaceChildren(el('dl', {}, ...lines.flatMap(([term, value]) => [el('dt', {}, term), el('dd', {}, value)])));
    const place = this.tooltip.offsetWidth + x + 18 > this.canvas.width ? x - this.tooltip.offsetWidth - 12 : x + 14;
    this.tooltip.style.left = `${Math.max(0, place)}px`;
    this.tooltip.style.top = `${Math.min(y + 14, this.canvas.height - this.tooltip.offsetHeight)}px`;
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
        for (const { id, name } of routines) this.names.set(id, name ? `, ${visible(name, 40)}` : '');
      } catch {
        // The number alone will do.
      }
    }, 120);
    return '';
  }

  #say(time) {
    const worker = this.order[this.keyLane] ?? 0;
    const found = this.#data().find(worker, time);
    const when = `${duration(this.store.latestTime - time)} ago`;
    if (!found) return `worker ${worker}, ${when}: no turn`;
    const { cell } = found;
    return `worker ${worker}, ${when}: routine ${cell.routine}, ${cell.source}, ${duration(cell.length)}`;
  }

  // Frozen: the server knows every single turn.

  #wantDetail() {
    clearTimeout(this.wanting);
    this.wanting = setTimeout(() => this.#fetchDetail(), 120);
  }

  async #fetchDetail() {
    const { view, store } = this;
    if (!view.frozen || !store.boot || !this.pixel) return;
    const { offset, start } = store.boot;
    const [from, to] = view.range();
    const margin = (to - from) * 0.25;
    const ask = [Math.max(start, from - margin), Math.min(store.latestTime, to + margin)].map((time) => Math.round(time - offset));
    const key = ask.join('/');
    if (ask[1] <= ask[0] || this.detail?.key === key) return;
    this.abort?.abort();
    this.abort = new AbortController();
    const px = Math.min(10_000, Math.max(1, Math.round((ask[1] - ask[0]) / this.pixel)));
    try {
      const timeline = await get(`/api/v1/timeline?from_ns=${ask[0]}&to_ns=${ask[1]}&px=${px}`, { signal: this.abort.signal });
      const lanes = new Lanes();
      lanes.add(timeline, offset);
      this.detail = { key, lanes, merged: timeline.merged, omitted: timeline.omitted, lost: timeline.lost };
      this.panel.recover();
      this.#legend();
      this.dirty();
    } catch (error) {
      if (error.name === 'AbortError') return;
      this.panel.fail(`Single turns could not be had: ${error.message}.`, () => this.#fetchDetail());
    }
  }

  /** What ran before the page was opened, or while it did not listen, from the server's ring. */
  async backfill() {
    const { store } = this;
    const { boot } = store;
    if (!boot) return;
    const to = Math.round(store.latestTime - boot.offset);
    const from = Math.max(0, to - BACKFILL_NS);
    try {
      const timeline = await get(`/api/v1/timeline?from_ns=${from}&to_ns=${to}&px=6000`);
      if (store.boot !== boot) return;
      store.lanes.backfill({ ...timeline, from_ns: from }, boot.offset, to + boot.offset);
      this.dirty(true);
    } catch {
      // The lanes then begin when the page did.
    }
  }

  // Legend, table, empty state: once a second, or a few times.

  second() {
    this.panel.second();
    this.#legend();
    const { store, view } = this;
    if (!store.latest) return;
    const [from, to] = view.range();
    const turns = GROUPS.reduce((sum, group) => sum + (this.#turnsOf(group, from, to) || 0), 0);
    this.nothing.hidden = store.latest.runs.running > 0 || turns > 0 || view.frozen;
  }

  #turnsOf(group, from, to) {
    const { ring } = this.store;
    const grown = (name) => grownBetween(ring, COLUMN[`from_${name}`], from, to);
    return group === 'local' ? grown('local') + grown('lifo') : grown(group);
  }

  #legend() {
    const { store, view, legend } = this;
    if (!store.ring || store.ring.length === 0) return;
    const [from, to] = view.range();
    const entries = [];
    if (this.mode === 'source') {
      GROUPS.forEach((group, key) => entries.push({ key, swatch: group, word: group, figure: short(this.#turnsOf(group, from, to)) }));
    } else {
      const turns = new Map();
      for (const worker of this.order) {
        this.#data().each(worker, from, to, (cell, start, chunk) => {
          const key = this.classes.of(cell, chunk);
          turns.set(key, (turns.get(key) ?? 0) + cell[4]);
        });
      }
      this.classes.names.forEach((name, key) => {
        if (!turns.has(key)) return;
        const full = key === this.classes.limit - 1 && this.classes.index.size > this.classes.limit;
        entries.push({ key, swatch: `c${key}`, word: full ? 'others' : this.#className(name), figure: short(turns.get(key)) });
      });
    }
    const buttons = [...legend.querySelectorAll('button')];
    entries.forEach(({ key, swatch, word, figure }, i) => {
      let button = buttons[i];
      if (!button) {
        button = el('button', { type: 'button' }, el('span', {}), el('span'), el('b'));
        button.addEventListener('click', () => {
          const chosen = Number(button.dataset.key);
          this.only = this.only === chosen ? null : chosen;
          this.dirty(true);
          this.#legend();
        });
        legend.insertBefore(button, buttons.length > 0 ? buttons[buttons.length - 1].nextSibling : legend.firstChild);
        buttons.push(button);
      }
      button.dataset.key = String(key);
      button.setAttribute('aria-pressed', String(this.only === key));
      button.children[0].className = `swatch fill-${swatch}`;
      text(button.children[1], word);
      text(button.children[2], figure);
    });
    buttons.slice(entries.length).forEach((button) => button.remove());

    let facts = legend.querySelector('.facts');
    if (!facts) {
      facts = el('span', { class: 'facts' });
      legend.append(facts);
    }
    const worked = Math.min(to, store.latestTime) - Math.max(from, store.ring.time(0));
    const shareOf = (name) =>
      this.order.reduce((sum, worker) => sum + (grownBetween(store.ring, workerColumn(worker, name), from, to) || 0), 0) /
      Math.max(1, worked * this.order.length);
    const busy = Math.min(1, shareOf('busy'));
    const searching = Math.min(1 - busy, shareOf('searching'));
    const stolen = grownBetween(store.ring, COLUMN.stolen, from, to);
    const { merged, omitted } = view.frozen && this.detail ? this.detail : store;
    const lost = view.frozen && this.detail?.lost;
    facts.replaceChildren(
      fact('searching', 'searching', percent(searching)),
      fact('parked', 'parked', percent(Math.max(0, 1 - busy - searching))),
      fact('arrow', 'moved by steals', short(stolen)),
      ...(merged > 0 ? [fact(null, 'merged', short(merged))] : []),
      ...(omitted > 0 ? [fact(null, 'omitted', short(omitted))] : []),
      ...(lost > 0 ? [fact(null, 'no longer kept', short(lost))] : []),
    );
  }

  #className(name) {
    if (this.mode === 'site') return visible(name || UNKNOWN);
    if (name === '' || name === null) return 'no run';
    const run = this.store.runOfWorkload(name);
    return run ? `${run.kind} ${run.id}` : `workload ${name}`;
  }

  #table() {
    const { latest } = this.store;
    if (!latest) return;
    fillTable(this.panel.table, latest.workers.map((w) => {
      const { lifo, local, injector, stolen, inbox, timer } = w.turns_by_source;
      return [
        w.id, w.state, w.routine ?? UNKNOWN, count(w.queue_depth), count(w.turns), count(local + lifo), count(injector), count(stolen), count(inbox), count(timer),
        count(w.stolen), count(w.steals), count(w.steal_attempts), count(w.parks), duration(w.busy_ns),
      ];
    }));
  }
}

function fact(swatch, word, figure) {
  return el('span', { class: 'fact' }, swatch ? el('span', { class: `swatch mark-${swatch}` }) : null, el('span', {}, word), el('b', {}, figure));
}

function shorten(c, words, width) {
  if (c.measureText(words).width <= width) return words;
  let cut = words;
  while (cut.length > 1 && c.measureText(`…${cut}`).width > width) cut = cut.slice(1);
  return `…${cut}`;
}
