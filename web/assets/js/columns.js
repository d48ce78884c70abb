// What the page keeps of each tick: which number stands in which column of the ring, and rates made of two rows.

const FIXED = [
  'time', 'boot', 'gap',
  'injector', 'live', 'new', 'runnable', 'running', 'blocked',
  'blocked_sleep', 'blocked_join', 'blocked_scope', 'blocked_lock', 'blocked_channel', 'blocked_io', 'blocked_future', 'blocked_stack',
  'blocked_semaphore', 'blocked_condition', 'blocked_barrier', 'blocked_once', 'blocked_blocking', 'blocked_thread_busy',
  'spawned', 'ended',
  'live_bytes', 'allocated_bytes', 'freed_bytes', 'rss_bytes',
  'hashes', 'growths', 'stacks_in_use', 'resident_bytes',
  'from_lifo', 'from_inbox', 'from_local', 'from_timer', 'from_injector', 'from_stolen', 'from_poller', 'from_wanting',
  'attempts', 'steals', 'stolen', 'bytes_sent', 'workers',
  'sockets', 'io_events', 'pool_threads', 'pool_running', 'pool_queued', 'pool_done',
  'requested', 'honoured', 'forced', 'retaken', 'hostages', 'threads', 'threads_away', 'threads_frozen', 'homes_wanting',
  'timers_pending', 'timers_served', 'timers_cancelled',
];
const PER_WORKER = ['queue', 'hashes', 'turns', 'busy', 'searching'];

/** Column numbers by name. */
export const COLUMN = Object.freeze(Object.fromEntries(FIXED.map((name, index) => [name, index])));

export const BLOCKED_BY = ['sleep', 'join', 'scope', 'lock', 'channel', 'io', 'future', 'stack',
  'semaphore', 'condition', 'barrier', 'once', 'blocking', 'thread_busy'];

export function widthFor(workers) {
  return FIXED.length + workers * PER_WORKER.length;
}

export function workerColumn(worker, name) {
  return FIXED.length + worker * PER_WORKER.length + PER_WORKER.indexOf(name);
}

const known = (value) => (typeof value === 'number' ? value : NaN);
const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);

/** One tick as a row. What the server could not measure is NaN, never 0. */
export function rowOf(tick, time, boot, gap, width) {
  const row = new Float64Array(width).fill(NaN);
  const put = (name, value) => { row[COLUMN[name]] = known(value); };
  const { workers, routines, memory, stacks } = tick;
  put('time', time);
  put('boot', boot);
  put('gap', gap ? 1 : 0);
  put('injector', tick.injector_depth);
  for (const name of ['live', 'new', 'runnable', 'running', 'blocked', 'spawned', 'ended']) put(name, routines[name]);
  for (const reason of BLOCKED_BY) put(`blocked_${reason}`, routines.blocked_by?.[reason]);
  for (const name of ['live_bytes', 'allocated_bytes', 'freed_bytes', 'rss_bytes']) put(name, memory?.[name]);
  put('hashes', tick.mining?.hashes);
  put('growths', stacks?.growths);
  put('stacks_in_use', stacks?.in_use);
  put('resident_bytes', stacks?.resident_bytes);
  for (const source of ['lifo', 'inbox', 'local', 'timer', 'injector', 'stolen', 'poller', 'wanting']) {
    put(`from_${source}`, sum(workers, (w) => w.turns_by_source[source]));
  }
  put('attempts', sum(workers, (w) => w.steal_attempts));
  put('steals', sum(workers, (w) => w.steals));
  put('stolen', sum(workers, (w) => w.stolen));
  put('bytes_sent', tick.watching?.bytes_sent);
  // Before the first socket there is no poller: nothing is watched, which is a measured 0.
  put('sockets', tick.io ? tick.io.sockets : tick.io === null ? 0 : null);
  put('io_events', tick.io ? tick.io.events : tick.io === null ? 0 : null);
  for (const name of ['threads', 'running', 'queued', 'done']) put(`pool_${name}`, tick.pool?.[name]);
  put('threads', tick.threads?.total);
  for (const name of ['away', 'frozen']) put(`threads_${name}`, tick.threads?.[name]);
  put('homes_wanting', tick.threads?.wanting);
  for (const name of ['requested', 'honoured', 'forced', 'retaken', 'hostages']) put(name, tick.monitor?.[name]);
  for (const name of ['pending', 'served', 'cancelled']) put(`timers_${name}`, tick.timers?.[name]);
  put('workers', workers.length);
  workers.forEach((worker, index) => {
    row[workerColumn(index, 'queue')] = worker.queue_depth;
    row[workerColumn(index, 'hashes')] = known(worker.hashes);
    row[workerColumn(index, 'turns')] = worker.turns;
    row[workerColumn(index, 'busy')] = known(worker.busy_ns);
    row[workerColumn(index, 'searching')] = known(worker.searching_ns);
  });
  return row;
}

/**
 * The rate of a cumulative column at row `index`: its growth over the `span` ns before, in units per second. Unknown
 * (NaN) at the start of a boot, across a gap, and where a counter went backwards: a reset is not a negative rate.
 */
export function rateAt(ring, index, column, span = 1e9) {
  const time = ring.time(index);
  const boot = ring.at(index, COLUMN.boot);
  let from = index;
  while (from > 0 && time - ring.time(from) < span * 0.95) {
    if (ring.at(from, COLUMN.gap) === 1 || ring.at(from - 1, COLUMN.boot) !== boot) break;
    from -= 1;
  }
  if (from === index) return NaN;
  const grown = ring.at(index, column) - ring.at(from, column);
  return grown < 0 ? NaN : (grown / (time - ring.time(from))) * 1e9;
}

/** By how much a cumulative column grew in [from, to], within the boot that `to` lies in. */
export function grownBetween(ring, column, from, to) {
  const last = ring.before(to);
  if (last < 0) return NaN;
  const boot = ring.at(last, COLUMN.boot);
  let first = Math.max(0, ring.before(from));
  while (first < last && ring.at(first, COLUMN.boot) !== boot) first += 1;
  return ring.at(last, column) - ring.at(first, column);
}
