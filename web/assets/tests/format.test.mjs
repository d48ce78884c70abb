import assert from 'node:assert/strict';
import { test } from 'node:test';
import { curlLine, plainJson } from '../js/curl.js';
import { age, bytes, count, duration, hashRate, percent, round, shellQuote, short, UNKNOWN, visible } from '../js/format.js';

test('figures read as a person writes them', () => {
  assert.equal(count(1234567), '1,234,567');
  assert.equal(short(9999), '9,999');
  assert.equal(short(1_300_000), '1.30 M');
  assert.equal(short(999_960), '1.00 M', 'never 1000.0 k');
  assert.equal(bytes(1024), '1.00 KiB');
  assert.equal(bytes(0), '0 B');
  assert.equal(hashRate(11_240_000), '11.2 MH/s');
  assert.equal(duration(850), '850 ns');
  assert.equal(duration(12_340), '12.3 µs');
  assert.equal(duration(8_040_000), '8.04 ms');
  assert.equal(duration(125e9), '2 m 05 s');
  assert.equal(age(59.9e9), '59 s');
  assert.equal(age(3 * 86_400e9 + 7_200e9), '3 d 02 h');
  assert.equal(percent(0.714), '71 %');
});

test('what is not known is a dash, never 0', () => {
  for (const format of [count, short, bytes, hashRate, duration, age, percent]) {
    assert.equal(format(NaN), UNKNOWN);
    assert.equal(format(undefined), UNKNOWN);
  }
});

test('marks of an axis lose decimals that say nothing', () => {
  assert.equal(round('64.0 KiB'), '64 KiB');
  assert.equal(round('2.50 MH/s'), '2.5 MH/s');
  assert.equal(round('100 B'), '100 B');
  assert.equal(round('0'), '0');
});

test('characters that hide or reorder text are shown as escapes', () => {
  assert.equal(visible('a\u202eb'), 'a\\u{202e}b');
  assert.equal(visible('\u0000\u001b[2J\u0085'), '\\u{0}\\u{1b}[2J\\u{85}');
  assert.equal(visible('two\nlines\tand\r'), 'two\\nlines\\tand\\r');
  assert.equal(visible('zero\u200bwidth\ufeff'), 'zero\\u{200b}width\\u{feff}');
  assert.equal(visible('tag \u{e0041}'), 'tag \\u{e0041}');
  assert.equal(visible('lone \ud800 half'), 'lone \\u{d800} half');
  assert.equal(visible('<img src=x onerror=alert(1)>'), '<img src=x onerror=alert(1)>', 'markup is text already');
  assert.equal(visible('Grüße, 世界 🦀'), 'Grüße, 世界 🦀');
  assert.equal(visible('x'.repeat(9), 4), 'xxxx…');
});

test('a curl line survives a shell', () => {
  assert.equal(shellQuote("it's"), "'it'\\''s'");
  const line = curlLine({ origin: 'http://127.0.0.1:8080', path: '/mine', body: { data: "it's $HOME `x`" } });
  assert.equal(line, `curl -X POST 'http://127.0.0.1:8080/mine' -H 'Prefer: respond-async' -d '{"data":"it'\\''s $HOME \`x\`"}'`);
});

test('JSON for a terminal has no character that hides', () => {
  const words = plainJson({ data: 'a\u202e\u2028\u0007\u007f🦀' });
  assert.match(words, /^[\x20-\x7e]*$/);
  assert.deepEqual(JSON.parse(words), { data: 'a\u202e\u2028\u0007\u007f🦀' });
});

test('away from loopback the token comes from the environment', () => {
  const line = curlLine({ origin: 'http://10.0.0.5:8080', path: '/mine', body: {}, loopback: false });
  assert.match(line, /Bearer \$OPENWORK_TOKEN/);
});
