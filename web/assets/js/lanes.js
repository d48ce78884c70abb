// Who runs where, and who took work from whom?  The hero of the page.
//
// The turns come as tiles (lanetiles.js); arrows, labels, the cursor and what is going on now lie over them. This file
// lays them out, keeps what is drawn in step with the stream, and asks the server for single turns when frozen.

import { describe } from './absences.js';
import { AbsenceRows } from './absencerows.js';
import { get } from './api.js';
import { Canvas } from './canvas.js';
import { bundle, Classes, GROUPS, Lanes } from './cells.js';
import { COLUMN } from './columns.js';
import { $, $$, speak } from './dom.js';
import { count, duration, plural, short, UNKNOWN, visible } from './format.js';
import { LaneLegend } from './lanelegend.js';
import { LaneTiles, TILE } from './lanetiles.js';
import { LaneTip } from './lanetip.js';
import { fillTable, Panel } from './panel.js';
import { follow } from './pointer.js';
import { linear } from './scale.js';
import { theme } from './theme.js';
import { halo, label as timeLabel, overlay } from './timechart.js';
import { timeTicks } from './ticks.js';

const MOST_LANES = 64;
const SMALL_LANES = 16;
const ARROWS = 50;
const BACKFILL_NS = 60e9;

export class LanesChart {
  constructor({ store, view, frames, openRoutine }) {
    Object.assign(this, { store, view, frames, openRoutine });
    this.panel = new Panel('lanes');
    this.canvas = new Canvas(this.panel.canvas, () => this.dirty(true));
    this.tip = new LaneTip(store);
    this.tiles = new LaneTiles(store);
    this.away = new AbsenceRows(this.canvas);
    this.legend = new LaneLegend(store, (key) => {
      this.only = this.only === key ? null : key;
      this.dirty();
      this.#legend();
    });
    this.nothing = $('#nothing');
    this.narrow = matchMedia('(max-width: 639px)');
    this.classes = new Classes('source');
    this.only = null;
    this.detail = null;
    this.drawnTo = NaN;
    this.isDirty = true;
    this.order = [];
    this.seen = 0;

    store.on('tick', () => this.#tick());
    store.on('history', () => this.dirty(true));
    store.on('marks', () => this.dirty());
    store.on('missed', () => this.backfill());
    store.on('restart', () => { this.order = []; this.dirty(true); this.backfill(); });
    store.on('runs', () => { if (this.classes.mode === 'run') this.#legend(); });
    view.onChange(() => {
      this.dirty();
      if (view.frozen) this.#wantDetail();
      else this.detail = null;
    });
    theme.onChange(() => { this.#fit(); this.dirty(true); });
    window.addEventListener('resize', () => this.#fit());
    this.panel.onShow = () => this.dirty(true);
    this.panel.refreshTable = () => this.#table();
    for (const button of $$('#colour-by button')) {
      button.addEventListener('click', () => {
        for (const other of $$('#colour-by button')) other.setAttribute('aria-pressed', String(other === button));
        this.classes = new Classes(button.dataset.mode);
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
      onMove: (x, y, time) => {
        this.resting = [x, y];
        this.#hover(x, y, time);
      },
      onLeave: () => {
        this.resting = null;
        this.tip.hide();
      },
      onPress: (x, y, time) => {
        const span = this.away.at(y, time, this.pixel, this.#data().absences);
        const found = span ? null : this.#cellAt(y, time);
        this.tip.hide();
        if (span) this.openRoutine(span.routine);
        else if (found) this.openRoutine(found.cell.routine, found);
      },
    });
    this.keyLane = 0;
    this.resting = null;
    canvas.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
        event.preventDefault();
        this.keyLane = Math.min(this.order.length + this.away.rows - 1, Math.max(0, this.keyLane + (event.key === 'ArrowUp' ? -1 : 1)));
        speak(this.#say(view.cursor ?? view.range()[1]));
      } else if (event.key === 'Enter' && view.cursor !== null) {
        const span = this.#data().absences.find(this.keyLane - this.order.length, view.cursor);
        if (span) this.openRoutine(span.routine);
        const found = this.#data().find(this.order[this.keyLane], view.cursor);
        if (found) this.openRoutine(found.cell.routine, found);
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
      this.tiles.dropFrom(from);
      this.isDirty = true;
      this.frames.ask();
      // Time flows on under a pointer that rests.
      if (this.resting && view.cursor !== null) this.#hover(...this.resting, view.cursor);
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
    const height = Math.round(Math.max(room, frame + n * least + more) + this.away.height);
    this.panel.canvas.style.height = `${height}px`;
  }

  /** What is shown, whatever its size. */
  #look() {
    return { classes: this.classes, only: this.only, data: this.#data(), order: this.order };
  }

  #legend() {
    const losses = this.view.frozen && this.detail ? this.detail : { merged: this.store.merged, omitted: this.store.omitted, lost: 0 };
    this.legend.update(this.view.range(), this.#look(), losses);
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
    this.foot = this.canvas.height - Math.round(20 * scale) - more;
    this.bottom = this.foot - this.away.height;
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
    this.tiles.use({ ...this.#look(), pixel: this.pixel, pitch: this.pitch, inset: this.inset, bar: this.bar, height: this.bottom - this.top, ratio: canvas.ratio }, this.detail?.key);
    this.#ground(c, x, from, to);
    c.save();
    c.beginPath();
    c.rect(this.left, 0, this.right - this.left, canvas.height);
    c.clip();
    this.#injector(c, x, from, to);
    const span = TILE * this.pixel;
    for (let index = Math.floor(from / span); index * span < to; index += 1) {
      c.drawImage(this.tiles.get(index, span), x(index * span), this.top, TILE, this.bottom - this.top);
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
    this.away.draw(c, { x, from, to, top: this.bottom, left: this.left, right: this.right, absences: this.#data().absences });
    overlay(c, { canvas, store, view: this.view, x, left: this.left, right: this.right, top: 2, bottom: this.foot, from, to, labelled: true });
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
    const foot = this.foot + Math.round(14 * scale);
    for (const time of ticks) {
      const at = canvas.crisp(x(time));
      if (at < this.left || at > this.right) continue;
      c.beginPath();
      c.moveTo(at, this.strip.top);
      c.lineTo(at, this.foot);
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
    if (this.only !== null && !(this.classes.mode === 'source' && GROUPS[this.only] === 'stolen')) return;
    const rows = new Map(this.order.map((worker, row) => [worker, row]));
    const bundles = bundle(this.#data().steals, from, to, this.order.length > SMALL_LANES ? ARROWS * 2 : ARROWS);
    c.font = theme.font(11, 600);
    c.textBaseline = 'middle';
    const drawn = [];
    for (const { at, thief, victim, moved, steals } of bundles.sort((a, b) => a.at - b.at)) {
      const [a, b] = [rows.get(victim), rows.get(thief)];
      if (a === undefined || b === undefined) continue;
      const px = this.canvas.crisp(x(at));
      const down = b > a;
      const tail = this.#laneTop(a) + (down ? this.bar : 0);
      const tip = this.#laneTop(b) + (down ? 0 : this.bar);
      const head = Math.min(7 * theme.scale, Math.abs(tip - tail) * 0.6);
      const back = down ? -1 : 1;
      for (const [colour, width] of [[theme.surface, 4], [theme.ink, 1.25]]) {
        c.strokeStyle = c.fillStyle = colour;
        c.lineWidth = width * theme.stroke;
        c.beginPath();
        c.moveTo(px, tail + back * Math.min(4, this.bar / 4));
        c.lineTo(px, tip + back * head * 0.8);
        c.stroke();
        c.beginPath();
        c.moveTo(px, tip);
        c.lineTo(px - head * 0.5, tip + back * head);
        c.lineTo(px + head * 0.5, tip + back * head);
        c.closePath();
        if (width > 2) c.stroke();
        c.fill();
      }
      drawn.push({ px, y: (tail + tip) / 2, words: steals > 1 ? `${short(moved)} in ${short(steals)}` : short(moved) });
    }
    if (this.pitch - this.bar >= 11 * theme.scale) this.#moved(c, drawn);
  }

  /** The numbers beside the arrows: right of each, or left of it, or not at all where there is no room. */
  #moved(c, arrows) {
    c.fillStyle = theme.ink;
    let taken = this.left;
    arrows.forEach(({ px, y, words }, i) => {
      const width = c.measureText(words).width + 10;
      const next = arrows[i + 1]?.px ?? this.right;
      if (next - px >= width) {
        c.textAlign = 'left';
        halo(c, words, px + 6, y);
        taken = px + width;
      } else if (px - taken >= width) {
        c.textAlign = 'right';
        halo(c, words, px - 6, y);
        taken = px;
      } else {
        taken = px;
      }
    });
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
    this.away.label(c, { narrow, right: this.canvas.width - 4 });
    if (!narrow) c.fillText('in queue', this.canvas.width - 4, this.foot + Math.round(14 * scale));
    if (workers > this.order.length) {
      c.textAlign = 'left';
      c.font = theme.font(11);
      c.fillText(`the ${this.order.length} busiest; ${plural(workers - this.order.length, 'more worker')}`, 4, this.canvas.height - 5);
    }
  }

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
    const inside = x >= this.left && x <= this.right;
    const span = inside ? this.away.at(y, time, this.pixel, this.#data().absences) : null;
    const found = inside && !span ? this.#cellAt(y, time) : null;
    this.panel.canvas.classList.toggle('pointing', Boolean(found ?? span));
    if (span) this.tip.showAbsence(span, [x, y], [this.canvas.width, this.canvas.height]);
    else if (found) this.tip.show(found, [x, y], [this.canvas.width, this.canvas.height]);
    else this.tip.hide();
  }

  #say(time) {
    const when = `${duration(this.store.latestTime - time)} ago`;
    const row = this.keyLane - this.order.length;
    if (row >= 0 && row < this.away.rows) {
      const span = this.#data().absences.find(row, time);
      return `row ${row + 1} of threads without a worker, ${when}: ${span ? describe(span, duration) : 'nothing'}`;
    }
    const worker = this.order[this.keyLane] ?? 0;
    const found = this.#data().find(worker, time);
    if (!found) return `worker ${worker}, ${when}: no turn`;
    const { cell } = found;
    return `worker ${worker}, ${when}: routine ${cell.routine}, ${cell.source}, ${duration(cell.length)}${cell.turns === 1 && cell.end ? `; ${cell.end.says}` : ''}`;
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

  /** Called once a second. */
  second() {
    this.panel.second();
    this.#legend();
    const { store, view } = this;
    if (!store.latest) return;
    const [from, to] = view.range();
    if (this.away.fit(this.#data().absences, from, to, this.narrow.matches)) {
      this.#fit();
      this.dirty(true);
    }
    this.nothing.hidden = store.latest.runs.running > 0 || view.frozen || this.legend.turns(from, to) > 0;
  }

  #table() {
    const { latest } = this.store;
    if (!latest) return;
    fillTable(this.panel.table, latest.workers.map((w) => {
      const { lifo, local, injector, stolen, inbox, timer, poller, wanting } = w.turns_by_source;
      return [
        w.id, w.state, w.routine ?? UNKNOWN, count(w.queue_depth), count(w.turns), count(local + lifo), count(injector), count(stolen), count(inbox + poller), count(timer), count(wanting),
        count(w.stolen), count(w.steals), count(w.steal_attempts), count(w.parks), count(w.keyed), duration(w.busy_ns),
      ];
    }));
    const away = this.#data().absences.newest(20);
    fillTable($('#absences-table'), away.map((span) => [
      span.routine, span.why === 'frozen' ? 'frozen' : 'in the kernel', span.thread, `${duration(this.store.latestTime - span.start)} ago`,
      duration(span.end - span.start), span.why === 'kernel' ? duration(span.wanting) : UNKNOWN, span.from, span.to ?? UNKNOWN, visible(span.site ?? UNKNOWN),
    ]));
    $('#absences-none').hidden = away.length > 0;
  }
}

function shorten(c, words, width) {
  if (c.measureText(words).width <= width) return words;
  let cut = words;
  while (cut.length > 1 && c.measureText(`…${cut}`).width > width) cut = cut.slice(1);
  return `…${cut}`;
}
