// Numbers and foreign text as a person reads them.

export const UNKNOWN = '–';

const GROUPS = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** 1234567 -> "1,234,567". */
export function count(value) {
  return Number.isFinite(value) ? GROUPS.format(value) : UNKNOWN;
}

function scaled(value, steps, base) {
  let index = 0;
  let rest = Math.abs(value);
  // 999.95 would print as "1000.0": move on before that happens.
  while (index < steps.length - 1 && rest >= base * 0.9995) {
    rest /= base;
    index += 1;
  }
  const digits = index === 0 && Number.isInteger(value) ? 0 : rest < 9.995 ? 2 : rest < 99.95 ? 1 : 0;
  return [`${value < 0 ? '-' : ''}${rest.toFixed(digits)}`, steps[index]];
}

/** 1_300_000 -> "1.30 M"; whole numbers below 10,000 stay as they are. */
export function short(value) {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (Number.isInteger(value) && Math.abs(value) < 10_000) return GROUPS.format(value);
  const [figure, unit] = scaled(value, ['', 'k', 'M', 'G', 'T', 'P'], 1000);
  return unit ? `${figure} ${unit}` : figure;
}

/** A formatted figure without decimals that say nothing: "64.0 KiB" -> "64 KiB". For marks of an axis. */
export function round(figure) {
  return figure.replace(/(\.\d*?)0+(?=\D|$)/, '$1').replace(/\.(?=\D|$)/, '');
}

/** Bytes in powers of 1024. */
export function bytes(value) {
  if (!Number.isFinite(value)) return UNKNOWN;
  const [figure, unit] = scaled(value, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], 1024);
  return `${figure} ${unit}`;
}

export function bytesPerSecond(value) {
  return Number.isFinite(value) ? `${bytes(value)}/s` : UNKNOWN;
}

/** Hashes in a second: "11.2 MH/s". */
export function hashRate(value) {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (value === 0) return '0 H/s';
  const [figure, unit] = scaled(value, ['H/s', 'kH/s', 'MH/s', 'GH/s'], 1000);
  return `${figure} ${unit}`;
}

/** A length of time given in ns: "850 ns", "12.3 µs", "8.04 ms", "1.50 s", "2 m 05 s". */
export function duration(ns) {
  if (!Number.isFinite(ns)) return UNKNOWN;
  if (ns < 59.95e9) {
    const [figure, unit] = scaled(ns, ['ns', 'µs', 'ms', 's'], 1000);
    return `${figure} ${unit}`;
  }
  return longDuration(ns);
}

const two = (n) => String(n).padStart(2, '0');

function longDuration(ns) {
  const seconds = Math.round(ns / 1e9);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days > 0) return `${days} d ${two(hours % 24)} h`;
  if (hours > 0) return `${hours} h ${two(minutes % 60)} m`;
  return `${minutes} m ${two(seconds % 60)} s`;
}

/** Time since, whole seconds only: it is read while it changes. */
export function age(ns) {
  if (!Number.isFinite(ns)) return UNKNOWN;
  const seconds = Math.max(0, Math.floor(ns / 1e9));
  return seconds < 60 ? `${seconds} s` : longDuration(seconds * 1e9);
}

/** A moment on the wall, given in ms since the epoch: "14:03:22". */
export function clock(ms, withSeconds = true) {
  if (!Number.isFinite(ms)) return UNKNOWN;
  const date = new Date(ms);
  const text = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return withSeconds ? `${text}:${two(date.getSeconds())}` : text;
}

export function percent(ratio, digits = 0) {
  return Number.isFinite(ratio) ? `${(ratio * 100).toFixed(digits)} %` : UNKNOWN;
}

/** "1 routine", "2 routines". */
export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}

// C0 and C1 controls, soft hyphen, invisible and direction-changing marks, line separators, byte-order mark,
// tag characters and lone surrogates: what a reader cannot see, or what would reorder what he sees.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;

/**
 * Foreign text with every control, invisible and direction-changing character made visible as an escape: `\n` as
 * `\n`, the rest as `\u{202e}`. The result is plain text for `textContent`; it is never markup.
 */
export function visible(text, limit = Infinity) {
  const whole = String(text ?? '');
  const cut = whole.length > limit ? `${whole.slice(0, limit)}…` : whole;
  return cut.replace(UNSEEN, (c) => {
    if (c === '\n') return '\\n';
    if (c === '\t') return '\\t';
    if (c === '\r') return '\\r';
    return `\\u{${c.codePointAt(0).toString(16)}}`;
  });
}

/** Quotes a word for a POSIX shell. */
export function shellQuote(word) {
  return `'${String(word).replaceAll("'", `'\\''`)}'`;
}
