// The search for a nonce has no memory: after `attempts` tries at `expected` tries a hit, the chance that it should
// have ended by now is 1 - exp(-attempts/expected). It says nothing about how long is still to go.

export function chance(attempts, expected) {
  if (!(expected > 0) || !(attempts >= 0)) return NaN;
  return -Math.expm1(-attempts / expected);
}

/** How far right the curve must reach: past 95 % at least, further when luck is bad. */
export function curveEnd(attempts, expected) {
  return Math.max(3, (attempts / expected) * 1.25) * expected;
}

/** Points [x, y] of the curve, both in 0..1 of the drawing. */
export function curve(attempts, expected, points = 48) {
  const end = curveEnd(attempts, expected);
  const line = [];
  for (let i = 0; i <= points; i += 1) line.push([i / points, chance((i / points) * end, expected)]);
  return line;
}

/**
 * A difficulty (zero bits) at which `blocks` blocks take about `seconds` at `hashesPerSecond`, kept within what is
 * worth looking at. Without a measured rate: the service's own default.
 */
export function difficultyFor(hashesPerSecond, seconds, blocks, { least = 16, most = 28 } = {}) {
  if (!(hashesPerSecond > 0)) return 16;
  const bits = Math.round(Math.log2((hashesPerSecond * seconds) / blocks));
  return Math.min(most, Math.max(least, bits));
}
