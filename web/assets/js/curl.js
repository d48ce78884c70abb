// The command line that does what a button does. It has to work when pasted, whatever the text in it.

import { shellQuote } from './format.js';

/** JSON in which everything a terminal or an eye could trip over is written as an escape. */
export function plainJson(value) {
  return JSON.stringify(value).replace(
    /[\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * @param origin the page's own origin: the address that was shown to work
 * @param loopback false when the service wants its token; the line then reads it from the environment
 */
export function curlLine({ method = 'POST', origin, path, body, loopback = true, asynchronous = true }) {
  const words = ['curl', '-X', method, shellQuote(origin + path)];
  if (!loopback) words.push('-H', '"Authorization: Bearer $OPENWORK_TOKEN"');
  if (asynchronous) words.push('-H', shellQuote('Prefer: respond-async'));
  words.push('-d', shellQuote(plainJson(body)));
  return words.join(' ');
}
