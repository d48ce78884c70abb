// The last runs, whoever asked for them. A row opens what was asked and what came of it.

import { get } from './api.js';
import { figure, mainFigure } from './bench.js';
import { progressLine, routinesOf } from './cards.js';
import { $, el, text } from './dom.js';
import { bytes, clock, count, duration, hashRate, short, UNKNOWN, visible } from './format.js';
import { Panel } from './panel.js';

const SHOWN = 20;
/** Pictures show a run with this much room on either side. */
const ROOM = 0.15;

export class Runs {
  constructor({ store, view }) {
    Object.assign(this, { store, view });
    this.panel = new Panel('runs');
    this.body = $('#runs-table tbody');
    this.rows = new Map();
    this.opened = null;
    store.on('runs', () => this.#soon());
    store.on('restart', () => {
      this.opened = null;
      this.load();
    });
  }

  async load() {
    try {
      const { runs } = await get(`/api/v1/runs?limit=${SHOWN}`);
      for (const run of runs.reverse()) this.store.run(run);
      this.panel.recover();
      this.#update();
    } catch (error) {
      this.panel.fail(`Runs could not be listed: ${error.message}.`, () => this.load());
    }
  }

  #soon() {
    if (this.waiting) return;
    this.waiting = setTimeout(() => {
      this.waiting = null;
      this.#update();
    }, 250);
  }

  #update() {
    const runs = this.store.runList().slice(0, SHOWN);
    $('#runs-blank').hidden = runs.length > 0;
    $('#runs-table').hidden = runs.length === 0;
    const kept = new Set(runs.map((run) => run.id));
    for (const [id, row] of this.rows) {
      if (!kept.has(id)) {
        row.main.remove();
        row.more.remove();
        this.rows.delete(id);
      }
    }
    let after = null;
    for (const run of runs) {
      let row = this.rows.get(run.id);
      if (!row) {
        row = this.#make(run.id);
        this.rows.set(run.id, row);
        if (after) after.after(row.main, row.more);
        else this.body.prepend(row.main, row.more);
      }
      this.#fill(row, run);
      after = row.more;
    }
  }

  #make(id) {
    const button = el('button', { type: 'button', class: 'link', 'aria-expanded': 'false' }, id);
    const cells = Array.from({ length: 7 }, (_, i) => el('td', { class: i === 2 || i === 4 ? 'num' : null }));
    const main = el('tr', {}, el('th', { scope: 'row' }, button), ...cells);
    const more = el('tr', { class: 'more-row', hidden: true }, el('td', { colspan: '8' }));
    main.addEventListener('click', (event) => {
      if (event.target.closest('a')) return;
      this.#open(id, more.hidden);
    });
    return { main, more, cells, button };
  }

  #fill({ cells, main }, run) {
    const began = Date.parse(run.started_at ?? run.created_at);
    const took = run.ended_at ? (Date.parse(run.ended_at) - began) * 1e6 : NaN;
    const routines = routinesOf(run);
    main.dataset.state = run.state;
    const values = [
      run.state.replace('_', ' '),
      run.kind === 'mine' && run.request?.mode === 'race' ? 'race' : run.kind.replace('_', ' '),
      routines === null ? UNKNOWN : count(routines),
      clock(began),
      duration(took),
      figureOf(run),
      run.source === 'page' ? 'page' : 'API',
    ];
    values.forEach((value, i) => text(cells[i], value));
  }

  async #open(id, open) {
    if (this.opened && this.opened !== id) this.#open(this.opened, false);
    const row = this.rows.get(id);
    if (!row) return;
    row.more.hidden = !open;
    row.button.setAttribute('aria-expanded', String(open));
    this.opened = open ? id : null;
    if (!open) return;
    let run = this.store.runs.get(id);
    this.#detail(row, run);
    try {
      run = await get(`/api/v1/runs/${encodeURIComponent(id)}`);
      if (this.opened === id) this.#detail(row, run);
    } catch {
      // What the page already has is shown.
    }
  }

  #detail(row, run) {
    const show = el('button', { type: 'button', class: 'tool' }, 'Show its time on all charts');
    show.addEventListener('click', () => this.show(run));
    const block = (title, value) => el('div', {}, el('h3', {}, title), el('pre', {}, pretty(value)));
    row.more.firstElementChild.replaceChildren(el('div', { class: 'run-detail' },
      block('Request', run.request),
      run.error ? block('Error', run.error) : block(run.result ? 'Result' : 'Progress', run.result ?? run.progress),
      el('p', {}, show, run.truncated ? el('span', { class: 'note' }, ' The result was too long and is cut.') : null)));
  }

  /** Freezes all pictures on the run's time. */
  show(run) {
    const span = this.store.runSpan(run);
    if (!span) return;
    const to = span.to ?? this.store.latestTime;
    const room = Math.max(5e7, (to - span.from) * ROOM);
    this.view.show(span.from - room, to + room, run);
    document.getElementById('lanes').scrollIntoView({ block: 'start' });
  }
}

/** The one figure that a run of its kind is looked at for. */
function figureOf(run) {
  const r = run.result;
  if (run.error) return visible(run.error.detail ?? run.error.error ?? run.error, 80);
  if (!r) return progressLine(run);
  if (run.kind === 'mine' || run.kind === 'block') {
    const rate = r.hashes_per_sec ?? r.hashes_per_second;
    const blocks = r.blocks?.length ?? (r.block ? 1 : null);
    return [blocks === null ? null : `${count(blocks)} block${blocks === 1 ? '' : 's'}`, rate ? hashRate(rate) : null].filter(Boolean).join(', ') || progressLine(run);
  }
  const main = run.kind === 'bench' ? mainFigure(r) : null;
  if (main) return `${figure(main.median, main.unit)} per ${r.operation}`;
  if (run.kind === 'lab') return `${visible(r.kind, 20)}: others ${typeof r.witness_late_p99_ms === 'number' ? duration(r.witness_late_p99_ms * 1e6) : UNKNOWN} late (p99)`;
  if (typeof r.throughput_mb_per_sec === 'number') return `${short(r.throughput_mb_per_sec)} MB/s`;
  if (typeof r.resident_bytes_per_routine === 'number') return `${bytes(r.resident_bytes_per_routine)} each`;
  if (typeof r.finalizers_executed === 'number') return `${count(r.finalizers_executed)} executed`;
  return progressLine(run);
}

function pretty(value) {
  const words = JSON.stringify(value ?? null, null, 2);
  return words.split('\n').map((line) => visible(line)).join('\n');
}
