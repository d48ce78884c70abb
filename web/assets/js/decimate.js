// Fewer points than pixels without losing a peak.

/**
 * Walks values in time order and calls `emit(time, value)` so that each pixel column keeps its first, lowest,
 * highest and last value: what a full drawing would have shown, at four points a column at most. An unknown value
 * (NaN) is passed on once, as the place where the line must break.
 */
export function minMax(count, timeAt, valueAt, columnOf, emit) {
  let column = null;
  let firstTime, first, lowTime, low, highTime, high, lastTime, last;
  const flush = () => {
    if (column === null) return;
    emit(firstTime, first);
    const early = lowTime <= highTime ? [lowTime, low, highTime, high] : [highTime, high, lowTime, low];
    if (early[0] > firstTime && early[0] < lastTime) emit(early[0], early[1]);
    if (early[2] > firstTime && early[2] < lastTime && early[2] !== early[0]) emit(early[2], early[3]);
    if (lastTime > firstTime) emit(lastTime, last);
    column = null;
  };
  let broken = false;
  for (let i = 0; i < count; i += 1) {
    const time = timeAt(i);
    const value = valueAt(i);
    if (Number.isNaN(value)) {
      flush();
      if (!broken) emit(time, NaN);
      broken = true;
      continue;
    }
    broken = false;
    const here = columnOf(time);
    if (here !== column) {
      flush();
      column = here;
      firstTime = lowTime = highTime = time;
      first = low = high = value;
    }
    if (value < low) [low, lowTime] = [value, time];
    if (value > high) [high, highTime] = [value, time];
    lastTime = time;
    last = value;
  }
  flush();
}

/** Least, mean and greatest of the known values, weighting each by how long it stood; null when none is known. */
export function summarise(count, timeAt, valueAt, until) {
  let least = Infinity;
  let most = -Infinity;
  let area = 0;
  let span = 0;
  for (let i = 0; i < count; i += 1) {
    const value = valueAt(i);
    if (Number.isNaN(value)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
    const lasted = (i + 1 < count ? timeAt(i + 1) : Math.max(until, timeAt(i))) - timeAt(i);
    area += value * lasted;
    span += lasted;
  }
  if (most === -Infinity) return null;
  return { least, most, mean: span > 0 ? area / span : least };
}
