// What are routines waiting for?  All live routines by state, stacked; beside them the blocked ones by reason.

import { BLOCKED_BY, COLUMN } from './columns.js';
import { $, el, text } from './dom.js';
import { count, short, UNKNOWN } from './format.js';
import { theme } from './theme.js';
import { TimeChart } from './timechart.js';

const STATES = ['running', 'runnable', 'new', 'blocked'];

export function waiting(context) {
  const figure = $('#waiting-figure');
  const bars = $('#blocked-bars');
  const rows = new Map(BLOCKED_BY.map((reason) => [reason, el('li', {}, el('span', {}, reason.replace('_', ' ')), el('b'), el('i', { 'aria-hidden': 'true' }))]));
  bars.append(...rows.values());
  return new TimeChart({
    id: 'waiting',
    context,
    plots: [{
      share: 1,
      stacked: true,
      whole: true,
      floor: 4,
      format: short,
      series: () => STATES.map((state) => ({
        label: state,
        colour: () => theme[state],
        value: (ring, index) => ring.at(index, COLUMN[state]),
      })),
    }],
    after: ({ ring, index }) => {
      const at = (name) => (index < 0 ? NaN : ring.at(index, COLUMN[name]));
      text(figure, `${count(at('live'))} live = ${STATES.map((state) => `${count(at(state))} ${state}`).join(' + ')}`);
      const blocked = at('blocked');
      for (const [reason, row] of rows) {
        const value = at(`blocked_${reason}`);
        text(row.children[1], Number.isNaN(value) ? UNKNOWN : short(value));
        row.children[2].style.setProperty('--part', String(value > 0 && blocked > 0 ? Math.min(1, value / blocked) : 0));
        row.classList.toggle('none', !(value > 0));
      }
    },
  });
}
