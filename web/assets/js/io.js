// What do routines ask of the kernel?  Blocking calls on the pool, and below them the sockets that are watched.

import { COLUMN, rateAt } from './columns.js';
import { $, text } from './dom.js';
import { count, duration, short, visible } from './format.js';
import { theme } from './theme.js';
import { TimeChart } from './timechart.js';

export function io(context) {
  const { store } = context;
  const figure = $('#io-figure');
  const column = (name) => (ring, index) => ring.at(index, COLUMN[name]);
  return new TimeChart({
    id: 'io',
    context,
    plots: [
      {
        share: 0.6,
        whole: true,
        floor: 4,
        title: 'blocking calls',
        format: short,
        series: () => [
          { label: 'calls running', draw: 'area', colour: () => theme.accent, value: column('pool_running') },
          { label: 'waiting for a thread', draw: 'line', colour: () => theme.runnable, value: column('pool_queued') },
          { label: 'threads', draw: 'line', dash: [4, 3], colour: () => theme.muted, value: column('pool_threads') },
        ],
      },
      {
        share: 0.4,
        whole: true,
        floor: 4,
        title: 'sockets',
        format: short,
        series: () => [{ label: 'sockets watched', draw: 'line', colour: () => theme.injector, value: column('sockets') }],
      },
    ],
    after: ({ ring, index }) => {
      const { latest } = store;
      if (!latest?.pool) return;
      const events = index < 0 ? NaN : rateAt(ring, index, COLUMN.io_events);
      const poller = latest.io
        ? `${latest.io.backend}, ${visible(latest.io.reason, 80)}: ${short(Math.round(events))} events/s`
        : 'No socket has been waited for yet';
      const { pool } = latest;
      const waited = pool.submitted > 0 ? `; longest wait for a thread ${duration(pool.longest_wait_ns)}` : '';
      const refused = pool.refused > 0 ? `; ${count(pool.refused)} threads refused by the system` : '';
      text(figure, `${poller}. ${count(pool.threads)} of at most ${count(pool.limit)} threads, ${count(pool.idle)} idle${waited}${refused}`);
    },
  });
}
