// What watching costs: measured by the server, shown to whoever watches.

import { COLUMN } from './columns.js';
import { $, text } from './dom.js';
import { bytesPerSecond, count, percent, plural, UNKNOWN } from './format.js';

export class Foot {
  constructor({ store }) {
    this.store = store;
    this.target = $('#foot-price');
  }

  second() {
    const { latest, ring, runtime } = this.store;
    if (!latest) return;
    const w = latest.watching;
    const last = ring.length - 1;
    const then = Math.max(0, ring.before(ring.time(last) - 5e9));
    const sent = ((ring.at(last, COLUMN.bytes_sent) - ring.at(then, COLUMN.bytes_sent)) / (ring.time(last) - ring.time(then))) * 1e9;
    const lost = w.turns_lost + w.steals_lost + w.samples_skipped;
    text(this.target, [
      `sampler ${typeof w.sampler_cpu_ratio === 'number' ? percent(w.sampler_cpu_ratio, 2) : UNKNOWN} of a CPU`,
      `${bytesPerSecond(sent >= 0 && w.viewers > 0 ? sent / w.viewers : NaN)} to each page`,
      plural(w.viewers, 'viewer'),
      lost === 0 ? 'nothing lost' : `${count(w.turns_lost)} turns, ${count(w.steals_lost)} steals, ${count(w.samples_skipped)} samples lost`,
    ].join(' · '));
    if (runtime) text($('#foot-version'), `Openwork ${runtime.version}${runtime.commit ? ` (${runtime.commit})` : ''}`);
  }
}
