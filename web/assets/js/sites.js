// Which stacks are the right size?  Per spawn site the deepest stack seen, within its slot, and what would do.

import { get } from './api.js';
import { $, el, text } from './dom.js';
import { bytes, count, plural, round, UNKNOWN, visible } from './format.js';
import { fillTable, Panel } from './panel.js';

const PATH = '/api/v1/stacks';
const SHOWN = 8;
/** A walk over all routines is not free: only as often, and only while the panel is in view. */
const EVERY_MS = 3000;

const ADVICE = { fits: 'fits', smaller: 'smaller would do', larger: 'larger is advised' };

const size = (value) => round(bytes(value));

export class Sites {
  constructor({ store }) {
    this.store = store;
    this.panel = new Panel('sites');
    this.figure = $('#sites-figure');
    this.list = $('#sites-list');
    this.rows = [];
    this.answer = null;
    this.askedAt = -Infinity;
    this.inView = false;
    this.panel.refreshTable = () => this.#table();
    new IntersectionObserver(([entry]) => {
      this.inView = entry.isIntersecting;
      if (this.inView) this.second();
    }).observe(this.panel.root);
  }

  /** Called once a second. */
  second() {
    this.panel.second();
    const now = performance.now();
    if (this.inView && now - this.askedAt > EVERY_MS && this.store.latest) {
      this.askedAt = now;
      this.load();
    }
  }

  async load() {
    try {
      this.answer = await get(PATH);
      this.panel.recover();
      this.#show();
    } catch (error) {
      this.panel.fail(`The spawn sites could not be listed: ${error.message}.`, () => this.load());
    }
  }

  #show() {
    const { stacks, classes, sites, sites_total: total, sites_lost: lost } = this.answer;
    const kinds = classes.map((c) => `${size(c.slot_bytes)}: ${count(c.in_use)} in use, ${count(c.pooled)} warm, ${count(c.free)} cold`).join(' · ');
    const shrunk = stacks.shrinks > 0 ? ` · ${bytes(stacks.shrunk_bytes)} given back in ${count(stacks.shrinks)} shrinks` : '';
    const segments = stacks.segments_entered > 0 ? ` · ${plural(stacks.segments, 'segment')} of ${count(stacks.segments_entered)} so far` : '';
    const left = lost > 0 ? ` · ${count(lost)} depths left out` : '';
    text(this.figure, `${kinds || `guards: ${stacks.mode}`}${shrunk}${segments}${left}`);
    $('#sites-blank').hidden = sites.length > 0;
    const shown = sites.slice(0, SHOWN);
    while (this.rows.length > shown.length) this.rows.pop().remove();
    shown.forEach((site, i) => {
      if (!this.rows[i]) {
        this.rows[i] = el('li', {}, el('code', {}), el('span', { class: 'track', 'aria-hidden': 'true' }, el('i'), el('s')), el('b'), el('span', { class: 'note' }));
        this.list.append(this.rows[i]);
      }
      this.#fill(this.rows[i], site);
    });
    text($('#sites-more'), total > shown.length ? `and ${plural(total - shown.length, 'more site')} in the table` : '');
    if (this.panel.asTable) this.#table();
  }

  #fill(row, site) {
    const [name, track, deepest, note] = row.children;
    const part = (value) => String(Math.min(1, value / Math.max(site.slot_bytes, site.advised_bytes)));
    text(name, visible(short(site.site), 60));
    name.title = visible(site.site);
    track.style.setProperty('--part', part(site.high_water_bytes));
    track.style.setProperty('--slot', part(site.slot_bytes));
    row.dataset.advice = site.advice;
    text(deepest, size(site.high_water_bytes));
    const advice = site.advice === 'fits' ? ADVICE.fits : `${ADVICE[site.advice]}: ${size(site.advised_bytes)}`;
    text(note, `of ${size(site.slot_bytes)}, ${advice} · ${plural(site.measured, 'routine')}`);
  }

  #table() {
    if (!this.answer) return;
    fillTable(this.panel.table, this.answer.sites.map((s) => [
      visible(s.site), count(s.measured), size(s.high_water_bytes), size(s.slot_bytes), size(s.advised_bytes), ADVICE[s.advice], count(s.growths),
      s.routines === null ? UNKNOWN : count(s.routines), bytes(s.resident_bytes_each ?? NaN),
    ]));
  }
}

/** The end of a path: what tells sites apart. */
function short(site) {
  return site.split('/').slice(-3).join('/');
}
