// Where an axis gets its marks.

/** About `count` round values from 0 to `max`, both ends included where they are round. */
export function valueTicks(max, count = 3, { base = 1000, whole = false } = {}) {
  if (!(max > 0)) return [0];
  let step;
  if (base === 1024) {
    step = 2 ** Math.round(Math.log2(max / count));
  } else {
    const raw = max / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    step = [1, 2, 2.5, 5, 10].map((s) => s * power).find((s) => s >= raw * 0.999);
  }
  if (whole) step = Math.max(1, Math.ceil(step));
  const ticks = [];
  for (let value = 0; value <= max * 1.0001; value += step) ticks.push(value);
  return ticks;
}

const SECOND = 1e9;
const STEPS = [];
for (let power = 1; power <= 1e8; power *= 10) for (const s of [1, 2, 5]) STEPS.push(s * power);
STEPS.push(SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND, 60 * SECOND, 120 * SECOND, 300 * SECOND);

/** The step between time marks (ns) that leaves at least `gap` pixels between two of them. */
export function timeStep(spanNs, pixels, gap = 70) {
  const least = (spanNs / Math.max(1, pixels)) * gap;
  return STEPS.find((step) => step >= least) ?? STEPS[STEPS.length - 1];
}

/**
 * Times of the marks in [from, to], fixed to the wall clock so that they travel with the data and read as round.
 * `wallAtZero`: what the wall clock (ms) says at time 0 of the axis.
 */
export function timeTicks(from, to, pixels, gap, wallAtZero = 0) {
  const step = timeStep(to - from, pixels, gap);
  const phase = (wallAtZero % (step / 1e6)) * 1e6;
  const ticks = [];
  for (let k = Math.ceil((from + phase) / step); k * step - phase <= to; k += 1) ticks.push(k * step - phase);
  return { step, ticks };
}
