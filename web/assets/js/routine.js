// One routine in the drawer: what it does, since when, where it has been, how deep its stack is. `?routine=17` is a
// link to it.

import { get } from './api.js';
import { $, el, svg, text } from './dom.js';
import { facts } from './drawer.js';
import { bytes, count, duration, UNKNOWN, visible } from './format.js';

export class RoutineView {
  constructor({ store, view, drawer }) {
    Object.assign(this, { store, view, drawer });
    this.id = null;
    this.found = $('#found');
    const input = $('#search-text');
    $('#search').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#search(input.value.trim());
    });
    input.addEventListener('input', () => { if (input.value === '') this.found.hidden = true; });
    window.addEventListener('popstate', () => this.fromAddress());
  }

  /** Opens the routine that the address names, if it names one. */
  fromAddress() {
    const id = new URLSearchParams(location.search).get('routine');
    if (id && /^\d+$/.test(id)) this.open(id, null, false);
    else if (this.id) this.drawer.close();
  }

  async open(id, seen = null, enter = true) {
    this.id = id;
    this.seen = seen;
    this.view_ = null;
    if (enter) {
      const address = new URL(location.href);
      address.searchParams.set('routine', id);
      history.pushState(null, '', address);
    }
    this.drawer.open(`Routine ${id}`, [el('p', { class: 'note' }, 'Asking…')], () => this.#closed());
    await this.refresh();
  }

  #closed() {
    this.id = null;
    const address = new URL(location.href);
    if (address.searchParams.has('routine')) {
      address.searchParams.delete('routine');
      history.replaceState(null, '', address);
    }
  }

  /** Called once a second while the drawer is open. */
  async refresh() {
    const { id } = this;
    if (id === null) return;
    try {
      const routine = await get(`/api/v1/routines/${encodeURIComponent(id)}`);
      if (this.id === id) await this.#show(routine);
    } catch (error) {
      if (this.id !== id) return;
      this.#gone(error);
    }
  }

  #gone(error) {
    const { seen } = this;
    const rows = [];
    if (seen) {
      const { cell, worker } = seen;
      rows.push(facts([
        ['Seen on', `worker ${worker}`],
        ['Found by', cell.source],
        ['Turn', duration(cell.length)],
        ['Spawned at', visible(cell.site ?? UNKNOWN)],
      ]));
    }
    const why = error.status === 404 ? 'It has ended. A routine’s record goes with it; what remains is its turns in the lanes.' : error.message;
    this.drawer.body.replaceChildren(el('p', { class: 'note' }, why), ...rows);
  }

  async #show(r) {
    const reason = r.wait_reason ? `${r.state}: ${r.wait_reason}` : r.state;
    const now = this.store.latest ? this.store.latest.at_ns : NaN;
    const ago = (ns) => (typeof ns === 'number' ? duration(Math.max(0, now - ns)) : UNKNOWN);
    text(this.drawer.title, r.name ? `Routine ${r.id}, ${visible(r.name, 60)}` : `Routine ${r.id}`);
    const link = (id) => el('a', { href: `?routine=${encodeURIComponent(id)}`, onclick: (event) => { event.preventDefault(); this.open(String(id)); } }, `routine ${id}`);
    const run = r.workload ? this.store.runOfWorkload(r.workload) : null;
    const parts = await this.#parts(r);
    if (this.id !== r.id) return;
    const asleep = r.in_kernel ? [['In the kernel', `${r.in_kernel.call ?? 'in a call not told'}, for ${ago(r.in_kernel.since_ns)}`]] : [];
    const frozen = typeof r.frozen_since_ns === 'number' ? [['Frozen', `for ${ago(r.frozen_since_ns)}, to give way to others`]] : [];
    const held = r.busy_with ? [['Hostage of', link(r.busy_with)]] : [];
    const list = facts([
      ['State', `${reason}, for ${ago(r.state_since_ns)}`],
      ...held,
      ...asleep,
      ...frozen,
      ['Age', ago(r.spawned_at_ns)],
      ['Priority', r.priority ?? UNKNOWN],
      ['Kind', r.kind === 'turns' ? 'turns: may change workers between any two' : 'own stack: stays with its thread once started'],
      ['Class', r.class === 'cpu' ? 'CPU-bound: it mostly computes' : r.class === 'io' ? 'I/O-bound: it mostly waits' : 'not told yet: too few turns'],
      ['Home', r.home === null || r.home === undefined ? 'none yet' : String(r.home)],
      ['Turns', count(r.turns)],
      ['Workers', `${(r.workers ?? []).join(', ') || UNKNOWN} (moved ${count(r.moves)} times)`],
      ['Last on', r.worker === null ? UNKNOWN : `worker ${r.worker}`],
      ['Spawned at', el('code', {}, visible(r.site ?? UNKNOWN))],
      ['Parent', r.parent ? link(r.parent) : 'none'],
      ['Part of', run ? el('a', { href: '#runs' }, `${run.kind} ${run.id}`) : visible(r.workload_name ?? 'nothing')],
      ['Stack', r.stack ? stackBar(r.stack) : 'none of its own between turns'],
      ...parts,
    ]);
    if (this.drawer.body.contains(document.activeElement)) return;
    this.drawer.body.replaceChildren(list);
  }

  /** Its segments, if it is in any: each with what is left of it. */
  async #parts(r) {
    if (!(r.stack?.segments > 0)) return [];
    try {
      const { parts } = await get(`/api/v1/routines/${encodeURIComponent(r.id)}/stack`);
      return [['Segments', el('ol', {}, ...parts.map((p) => el('li', {}, `${bytes(p.depth_bytes)} of ${bytes(p.slot_bytes)}, ${bytes(p.guard_distance_bytes)} left, ${bytes(p.resident_bytes ?? NaN)} in memory`)))]];
    } catch (error) {
      return [['Segments', `${r.stack.segments} (${visible(error.message, 120)})`]];
    }
  }

  async #search(words) {
    const { found } = this;
    if (words === '') {
      found.hidden = true;
      return;
    }
    if (/^\d+$/.test(words)) {
      found.hidden = true;
      this.open(words);
      return;
    }
    try {
      const { routines, total } = await get(`/api/v1/routines?name=${encodeURIComponent(words)}&limit=10`);
      found.replaceChildren(
        ...routines.map((r) => el('button', { type: 'button', class: 'tool', onclick: () => { found.hidden = true; this.open(r.id); } }, `${r.id} ${visible(r.name ?? '', 40)} · ${r.state}${r.class ? ` · ${r.class === 'cpu' ? 'CPU-bound' : 'I/O-bound'}` : ''}`)),
        el('span', { class: 'note' }, total === 0 ? `No live routine is named “${visible(words, 40)}”.` : total > routines.length ? `and ${count(total - routines.length)} more` : ''),
      );
    } catch (error) {
      found.replaceChildren(el('span', { class: 'form-error' }, error.message));
    }
    found.hidden = false;
  }
}

/** Depth now and deepest, against the size of the slot; by logarithm, or 1 KiB of 64 would be a hair. */
function stackBar({ size_bytes: size, depth_bytes: depth, high_water_bytes: high }) {
  const part = (value) => (value > 0 ? Math.min(1, Math.log2(1 + value / 64) / Math.log2(1 + size / 64)) : 0) * 200;
  return el('div', {},
    svg('svg', { viewBox: '0 0 200 10', class: 'stack-bar', role: 'img', 'aria-label': 'stack use, logarithmic' },
      svg('rect', { width: '200', height: '10', class: 'size' }),
      svg('rect', { width: String(part(high)), height: '10', class: 'high' }),
      svg('rect', { width: String(part(depth)), height: '10', class: 'depth' })),
    el('span', {}, `${bytes(depth ?? NaN)} now, ${bytes(high ?? NaN)} at most, of ${bytes(size)}`));
}
