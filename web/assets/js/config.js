// What may be changed while it runs?  The settings as a form; what is sent is what differs, and nothing else.

import { get, patch } from './api.js';
import { curlLine } from './curl.js';
import { $, $$, copy, el, text } from './dom.js';
import { clock, count, visible } from './format.js';
import { fillTable, Panel } from './panel.js';
import { asked, word } from './words.js';

const PATH = '/api/v1/config';
const SHOWN = 5;

export class Config {
  constructor({ store }) {
    this.store = store;
    this.panel = new Panel('config');
    this.form = $('#config-form');
    this.apply = $('#config-apply');
    this.config = null;
    this.touched = new Set();
    this.form.addEventListener('input', (event) => {
      this.touched.add(event.target.name);
      this.#error(event.target, '');
      this.#update();
    });
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    $('#config-reset').addEventListener('click', () => {
      this.touched.clear();
      this.#fill();
    });
    $('#config-copy').addEventListener('click', (event) => copy($('#config-curl').textContent, event.target));
    this.panel.refreshTable = () => this.#table();
    store.on('config', () => this.load());
    for (const input of this.#inputs()) input.setAttribute('aria-describedby', `${input.id}-hint ${input.id}-error`);
  }

  second() {
    this.panel.second();
  }

  #inputs() {
    return $$('[data-kind]', this.form);
  }

  async load() {
    try {
      const { config, choices, changes } = await get(PATH);
      this.config = config;
      this.form.elements.workers.max = String(config.max_workers);
      text($('#config-workers-hint'), config.max_workers === 1 ? '1 is all there may be' : `1 to ${count(config.max_workers)}, as set at the start`);
      for (const [name, list] of Object.entries(choices)) this.#choices(this.form.elements[name], list);
      for (const change of changes) this.store.configured(change, false);
      this.#fill();
      this.#past(changes);
      this.panel.recover();
    } catch (error) {
      this.panel.fail(`The configuration could not be had: ${error.message}.`, () => this.load());
    }
  }

  #choices(select, list) {
    if (select && [...select.options].map((o) => o.value).join() !== list.join()) {
      select.replaceChildren(...list.map((name) => el('option', { value: name }, name.replaceAll('_', ' '))));
    }
  }

  /** Brings the fields to what is in force, but for those that somebody is changing. */
  #fill() {
    if (!this.config) return;
    for (const input of this.#inputs()) {
      if (!this.touched.has(input.name)) {
        input.value = word(this.config[input.name]);
        this.#error(input, '');
      }
    }
    this.#update();
    if (this.panel.asTable) this.#table();
  }

  #change() {
    const fields = this.#inputs().map(({ name, value, dataset }) => ({ name, value, kind: dataset.kind }));
    return this.config ? asked(fields, this.config) : {};
  }

  #update() {
    const change = this.#change();
    const nothing = Object.keys(change).length === 0;
    this.apply.disabled = nothing;
    $('#config-reset').disabled = nothing;
    for (const input of this.#inputs()) input.closest('.field').classList.toggle('changed', input.name in change);
    const loopback = /^(localhost|127\.|\[::1\]$)/.test(location.hostname);
    const body = nothing && this.config ? { slice_ms: this.config.slice_ms } : change;
    text($('#config-curl'), curlLine({ method: 'PATCH', origin: location.origin, path: PATH, body, loopback, asynchronous: false }));
  }

  async #send() {
    const place = $('#config-error');
    place.hidden = true;
    this.apply.disabled = true;
    try {
      const { new: config } = await patch(PATH, this.#change());
      this.config = config;
      this.touched.clear();
      this.#fill();
    } catch (error) {
      const input = error.field ? this.form.elements[error.field] : null;
      if (input) {
        this.#error(input, error.message);
        input.focus();
      } else {
        text(place, error.message);
        place.hidden = false;
      }
      this.#update();
    }
  }

  #error(input, message) {
    const place = document.getElementById(`${input.id}-error`);
    if (!place) return;
    text(place, message);
    place.hidden = message === '';
    if (message) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
  }

  #past(changes) {
    $('#config-past').replaceChildren(...changes.slice(-SHOWN).reverse().map(({ wall, changes: list }) =>
      el('li', {}, el('span', { class: 'note' }, clock(Date.parse(wall))), ' ', visible(list.map(({ field, old, new: value }) => `${field} ${word(old)} → ${word(value)}`).join(', ')))));
    $('#config-none').hidden = changes.length > 0;
  }

  #table() {
    if (!this.config) return;
    fillTable(this.panel.table, Object.entries(this.config).map(([name, value]) => [name, word(value)]));
  }
}
