// What does it hold?  Live bytes as an area, resident bytes beside them, and below how fast bytes are handed out.

import { COLUMN, rateAt } from './columns.js';
import { bytes, bytesPerSecond } from './format.js';
import { theme } from './theme.js';
import { TimeChart } from './timechart.js';

export function memory(context) {
  const { store } = context;
  const unknown = () => (store.latest?.memory.live_bytes === null ? ' (this build does not count allocations)' : '');
  const column = (name) => (ring, index) => ring.at(index, COLUMN[name]);
  return new TimeChart({
    id: 'memory',
    context,
    bands: () => store.runList().filter((run) => run.kind === 'stress').map((run) => store.runSpan(run)).filter(Boolean),
    plots: [
      {
        share: 0.66,
        base: 1024,
        floor: 16 << 20,
        format: bytes,
        series: () => [
          { label: 'live', draw: 'area', colour: () => theme.accent, unknown, value: column('live_bytes') },
          { label: 'resident', draw: 'line', dash: [4, 3], colour: () => theme.muted, value: column('rss_bytes') },
        ],
      },
      {
        share: 0.34,
        base: 1024,
        floor: 1 << 20,
        draw: 'line',
        format: bytesPerSecond,
        series: () => [{ label: 'allocated', colour: () => theme.ink, unknown, value: (ring, index) => rateAt(ring, index, COLUMN.allocated_bytes) }],
      },
    ],
  });
}
