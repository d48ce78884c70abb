// How fast do we mine?  Hashes per second: the sum, each worker, and what a bare loop would do.

import { COLUMN, rateAt, workerColumn } from './columns.js';
import { hashRate } from './format.js';
import { theme } from './theme.js';
import { TimeChart } from './timechart.js';

/** With more workers their lines would only be a carpet; the sum says it all. */
const LINES = 8;

export function rate(context) {
  const { store } = context;
  return new TimeChart({
    id: 'rate',
    context,
    plots: [{
      share: 1,
      draw: 'line',
      floor: 1e6,
      format: hashRate,
      line: () => {
        const bare = store.latest?.mining?.baseline_hashes_per_sec;
        if (typeof bare !== 'number') return null;
        const { workers } = store;
        return { value: bare * workers, label: `bare loop × ${workers}: ${hashRate(bare * workers)}` };
      },
      series: () => [
        { label: 'all', colour: () => theme.ink, thick: true, value: (ring, index) => rateAt(ring, index, COLUMN.hashes) },
        ...Array.from({ length: store.workers <= LINES ? store.workers : 0 }, (_, worker) => ({
          label: `worker ${worker}`,
          colour: () => theme.worker(worker),
          value: (ring, index) => rateAt(ring, index, workerColumn(worker, 'hashes')),
        })),
      ],
    }],
  });
}
