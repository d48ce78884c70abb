// What happens to those who will not let go?  Requests to give way and what came of them, and who is kept waiting.

import { COLUMN, rateAt } from './columns.js';
import { $, el, text } from './dom.js';
import { count, duration, percent, plural, short, UNKNOWN } from './format.js';
import { theme } from './theme.js';
import { TimeChart } from './timechart.js';

const perSecond = (value) => `${short(Math.round(value * 10) / 10)}/s`;
const quantiles = ({ count: n, p50_ns: p50, p99_ns: p99 }) => (n > 0 ? `median ${duration(p50)}, p99 ${duration(p99)}` : UNKNOWN);

/** Why workers changed threads, in the words of a person. */
const HAND_OFFS = { blocked: 'asleep in the kernel', frozen: 'stopped', direct: 'given to one that wanted it', apart: 'for a routine that starts apart' };
export function handOffs(reasons) {
  const words = Object.entries(reasons).filter(([, n]) => n > 0).map(([why, n]) => `${count(n)} ${HAND_OFFS[why] ?? why}`);
  return words.join(', ') || 'none';
}

/** Brings a list of terms and values up to date, touching only what differs. */
function show(list, pairs) {
  if (list.children.length !== pairs.length * 2) list.replaceChildren(...pairs.flatMap(() => [el('dt'), el('dd')]));
  pairs.forEach(([term, value], i) => {
    text(list.children[i * 2], term);
    text(list.children[i * 2 + 1], value);
  });
}

export function threads(context) {
  const { store } = context;
  const figure = $('#threads-figure');
  const facts = $('#threads-facts');
  const cap = $('#threads-cap');
  const at = (name) => (ring, index) => ring.at(index, COLUMN[name]);
  const rate = (name) => (ring, index) => rateAt(ring, index, COLUMN[name]);
  return new TimeChart({
    id: 'threads',
    context,
    plots: [
      {
        share: 0.5,
        floor: 10,
        draw: 'line',
        title: 'a second',
        format: perSecond,
        series: () => [
          { label: 'asked', colour: () => theme.muted, value: rate('requested') },
          { label: 'gave way', colour: () => theme.injector, value: rate('honoured') },
          { label: 'frozen', colour: () => theme.frozen, thick: true, value: rate('forced') },
          { label: 'taken in kernel', colour: () => theme.kernel, thick: true, value: rate('retaken') },
        ],
      },
      {
        share: 0.5,
        whole: true,
        floor: 4,
        title: 'now',
        format: short,
        series: () => [
          { label: 'hostages', draw: 'area', colour: () => theme.runnable, value: at('hostages') },
          { label: 'threads', draw: 'line', dash: [4, 3], colour: () => theme.muted, value: at('threads') },
          { label: 'away', draw: 'line', colour: () => theme.kernel, value: at('threads_away') },
          { label: 'stopped', draw: 'line', colour: () => theme.frozen, value: at('threads_frozen') },
        ],
      },
    ],
    after: () => {
      const now = store.latest?.monitor;
      if (!now) return;
      const cost = typeof now.cpu_ns === 'number' && store.latest.at_ns > 0 ? `, ${percent(now.cpu_ns / store.latest.at_ns, 1)} of a CPU` : '';
      const held = now.hostages > 0 ? `; ${plural(now.hostages, 'hostage')} for ${duration(now.hostages_for_ns ?? NaN)}` : '';
      text(figure, now.state === 'off' ? 'Nobody watches: preemption is not forced, and hand-off is off' : `The monitor is ${now.state}${cost}: ${count(now.requested)} asked, ${count(now.honoured)} gave way, ${count(now.forced)} frozen, ${count(now.retaken)} taken in the kernel${held}`);
      const { threads: all } = store.latest;
      cap.hidden = !all?.at_limit;
      if (all?.at_limit) text(cap, `At the cap: all ${count(all.limit)} threads are in use. A thread that sleeps keeps its worker until one comes back; --max-threads raises the cap.`);
      show(facts, [
        ...(all ? [
          ['Threads', `${count(all.total)} of at most ${count(all.limit)}, ${count(all.spare)} spare, ${count(all.unbound)} with nothing bound to them; peak ${count(all.peak)}`],
          ['Want a worker', count(all.wanting)],
          ['Started ahead', `${count(all.started)}; ${count(all.retired)} retired, ${count(all.refused)} refused`],
          ['Hand-offs', handOffs(all.handed_off_by)],
          ['Start apart', `from ${plural(all.suspect_sites, 'place')} in the program; ${count(all.beside)} found no thread`],
        ] : []),
        ['Signal to frozen', quantiles(now.signal_to_frozen)],
        ['Frozen to running', quantiles(now.frozen_to_running)],
        ['Blocked to noticed', quantiles(now.blocked_to_noticed)],
        ['Requests', `${count(now.deferred)} deferred, ${count(now.stale)} stale, ${count(now.at_cap)} at the cap`],
        ['Let go', `${count(now.released)} without a worker, so that things move`],
      ]);
    },
  });
}
