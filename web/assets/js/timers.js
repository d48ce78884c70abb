// Do deadlines come in time?  How many are kept, how fast they are served or taken back, and how late at most.

import { COLUMN, rateAt } from './columns.js';
import { $, text } from './dom.js';
import { count, duration, short } from './format.js';
import { theme } from './theme.js';
import { TimeChart } from './timechart.js';

const perSecond = (value) => `${short(Math.round(value))}/s`;

export function timers(context) {
  const { store } = context;
  const figure = $('#timers-figure');
  const rate = (name) => (ring, index) => rateAt(ring, index, COLUMN[name]);
  return new TimeChart({
    id: 'timers',
    context,
    plots: [
      {
        share: 0.5,
        whole: true,
        floor: 4,
        title: 'kept',
        format: short,
        series: () => [{ label: 'kept', draw: 'area', colour: () => theme.timer, value: (ring, index) => ring.at(index, COLUMN.timers_pending) }],
      },
      {
        share: 0.5,
        floor: 10,
        draw: 'line',
        title: 'a second',
        format: perSecond,
        series: () => [
          { label: 'served', colour: () => theme.accent, value: rate('timers_served') },
          { label: 'taken back', colour: () => theme.runnable, value: rate('timers_cancelled') },
        ],
      },
    ],
    after: () => {
      const now = store.latest?.timers;
      if (!now) return;
      const late = now.served > 0 ? `at most ${duration(now.late_max_ns)} late since the start` : 'none served yet';
      text(figure, `${count(now.served)} served, ${count(now.cancelled)} taken back; ${late}`);
    },
  });
}
