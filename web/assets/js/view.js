// What part of time all charts show, and where the one cursor is.

/** A live picture ends a little before the newest tick is due, so that it moves evenly between two ticks. */
const DELAY_NS = 130e6;
const OFFSETS = 40;

export const SECOND = 1e9;

export class View {
  constructor(store) {
    this.store = store;
    this.window = 10 * SECOND;
    this.frozen = false;
    this.from = NaN;
    this.to = NaN;
    this.cursorPart = null;
    this.marked = null;
    this.reduced = matchMedia('(prefers-reduced-motion: reduce)');
    this.offsets = [];
    this.listeners = [];
    store.on('tick', () => {
      this.offsets.push(store.latestTime - performance.now() * 1e6);
      if (this.offsets.length > OFFSETS) this.offsets.shift();
    });
    store.on('restart', () => { this.offsets = this.offsets.slice(-1); });
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  changed() {
    for (const listener of this.listeners) listener(this);
  }

  /** Where now is in the picture. It never runs ahead of what has arrived: a broken stream stands still. */
  now() {
    const { latestTime } = this.store;
    if (this.reduced.matches || this.offsets.length === 0) return latestTime;
    const server = performance.now() * 1e6 + Math.max(...this.offsets);
    return Math.min(latestTime, server - DELAY_NS);
  }

  /** The time shown: [from, to] on the page's axis. */
  range() {
    if (this.frozen) return [this.from, this.to];
    const to = this.now();
    return [to - this.window, to];
  }

  setWindow(ns) {
    if (this.frozen) {
      const middle = this.cursor ?? (this.from + this.to) / 2;
      const part = (middle - this.from) / (this.to - this.from);
      this.from = middle - ns * part;
      this.to = this.from + ns;
    }
    this.window = ns;
    this.changed();
  }

  freeze(on = !this.frozen) {
    if (on === this.frozen || !Number.isFinite(this.store.latestTime)) return;
    if (on) [this.from, this.to] = this.range();
    this.frozen = on;
    if (!on) this.marked = null;
    this.changed();
  }

  /** Shows a stretch of the past, frozen. */
  show(from, to, marked = null) {
    this.freeze(true);
    this.from = from;
    this.to = to;
    this.marked = marked;
    this.changed();
  }

  pan(ns) {
    if (!this.frozen) return;
    const span = this.to - this.from;
    const newest = this.store.latestTime + span * 0.05;
    const oldest = Math.min(this.store.ring?.time(0) ?? this.from, this.from);
    this.to = Math.min(newest, Math.max(oldest + span, this.to + ns));
    this.from = this.to - span;
    this.changed();
  }

  /** Zooms around a time that stays where it is; factor < 1 shows less. */
  zoom(factor, around) {
    if (!this.frozen) return;
    const centre = around ?? this.cursor ?? (this.from + this.to) / 2;
    const span = Math.min(600 * SECOND, Math.max(2e3, (this.to - this.from) * factor));
    const part = (centre - this.from) / (this.to - this.from);
    this.from = centre - span * part;
    this.to = this.from + span;
    this.changed();
  }

  /** The one cursor, as a time; null when there is none. It stays at its place in the picture while time flows. */
  get cursor() {
    if (this.cursorPart === null) return null;
    const [from, to] = this.range();
    return from + this.cursorPart * (to - from);
  }

  setCursor(time) {
    const [from, to] = this.range();
    const part = time === null ? null : Math.min(1, Math.max(0, (time - from) / (to - from)));
    if (part === this.cursorPart) return;
    this.cursorPart = part;
    for (const listener of this.listeners) listener(this);
  }
}
