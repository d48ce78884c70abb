// Is the work spread evenly?  Queue depth, a stepped line for each worker.

import { workerColumn } from './columns.js';
import { count } from './format.js';
import { theme, WORKER_COLOURS } from './theme.js';
import { TimeChart } from './timechart.js';

export function queues(context) {
  const { store } = context;
  return new TimeChart({
    id: 'queues',
    context,
    plots: [{
      share: 1,
      whole: true,
      floor: 4,
      format: count,
      series: () => Array.from({ length: store.workers }, (_, worker) => ({
        label: `worker ${worker}`,
        colour: () => theme.worker(worker),
        dash: worker >= WORKER_COLOURS ? [2 + (worker >> 3), 3] : undefined,
        value: (ring, index) => ring.at(index, workerColumn(worker, 'queue')),
      })),
    }],
  });
}
