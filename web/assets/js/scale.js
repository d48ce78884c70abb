// From values to pixels, and an upper end of the axis that does not jump about.

/** A straight map from [from, to] to [start, end]. An empty domain maps everything to `start`. */
export function linear(from, to, start, end) {
  const slope = to === from ? 0 : (end - start) / (to - from);
  const scale = (value) => start + (value - from) * slope;
  scale.invert = (pixel) => (slope === 0 ? from : from + (pixel - start) / slope);
  return scale;
}

/** The smallest of 1, 2, 5 times a power of ten (with `base` 1024: a power of two) that is not below `value`. */
export function niceCeiling(value, base = 1000) {
  if (!(value > 0)) return 1;
  if (base === 1024) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5]) {
    if (step * power >= value * (1 - 1e-12)) return step * power;
  }
  return 10 * power;
}

/**
 * The upper end of a y axis. It only grows while the same window is looked at, so that a curve never seems to fall
 * because the axis rose; a new window (or a new boot) starts afresh. It also lets go once the peak has been out of
 * view for `patience` whole windows, or one burst would flatten everything that follows.
 */
export class GrowingMax {
  constructor({ floor = 1, base = 1000, patience = 1 } = {}) {
    this.floor = floor;
    this.base = base;
    this.patience = patience;
    this.key = undefined;
    this.value = niceCeiling(floor, base);
    this.heldUntil = -Infinity;
  }

  /** @param key what must not change (window, boot)  @param peak the largest value in view  @param now, window in ns */
  update(key, peak, now, window) {
    const wanted = niceCeiling(Math.max(peak || 0, this.floor), this.base);
    if (key !== this.key || wanted >= this.value) {
      this.key = key;
      this.value = wanted;
      this.heldUntil = now + window * this.patience;
    } else if (now > this.heldUntil) {
      this.value = wanted;
      this.heldUntil = now + window * this.patience;
    }
    return this.value;
  }
}
