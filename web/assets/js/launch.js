// Starting things: one click with safe values, or a form with every value, and beside it the equal curl line.

import { ApiError, start } from './api.js';
import { difficultyFor } from './chance.js';
import { curlLine } from './curl.js';
import { $, $$, copy, text } from './dom.js';
import { duration } from './format.js';

/** What one click on a mining button should take, in seconds, on the machine at hand. */
const WATCHABLE_S = 4;

const FIXED = { mine: { mode: 'chain' }, race: { mode: 'race' }, stress: {}, crowd: {}, lab: {} };

export class Launch {
  constructor({ store }) {
    this.store = store;
    this.touched = new Set();
    this.error = $('#start-error');
    for (const launcher of $$('.launcher')) {
      const id = launcher.dataset.launch;
      const form = document.getElementById(`form-${id}`);
      const more = $('[data-more]', launcher);
      $('[data-go]', launcher).addEventListener('click', () => this.go(id));
      more.addEventListener('click', () => this.toggle(id));
      form.addEventListener('input', (event) => {
        this.touched.add(event.target.id);
        this.#fieldError(event.target, '');
        this.#curl(form);
      });
      form.addEventListener('submit', (event) => {
        event.preventDefault();
        this.go(id, true);
      });
      $('[data-close]', form).addEventListener('click', () => {
        this.toggle(id, false);
        more.focus();
      });
      $('[data-copy-curl]', form).addEventListener('click', (event) => copy($('[data-curl]', form).textContent, event.target));
      for (const input of $$('input, select', form)) input.setAttribute('aria-describedby', `${input.id}-hint ${input.id}-error`);
      this.#curl(form);
    }
    const nothing = $('#nothing-curl');
    text(nothing, this.#line('/mine', { data: 'hello', goroutines: 4 }, false));
    $('#nothing-copy').addEventListener('click', (event) => copy(nothing.textContent, event.target));
    store.on('tick', () => this.#suggest());
  }

  /** Opens or closes a form; one is open at a time. */
  toggle(id, open = document.getElementById(`form-${id}`).hidden) {
    for (const launcher of $$('.launcher')) {
      const mine = launcher.dataset.launch === id;
      const form = document.getElementById(`form-${launcher.dataset.launch}`);
      form.hidden = !(mine && open);
      $('[data-more]', launcher).setAttribute('aria-expanded', String(mine && open));
      if (mine && open) {
        this.#curl(form);
        $('input', form).focus();
      }
    }
  }

  async go(id, fromForm = false) {
    const form = document.getElementById(`form-${id}`);
    const buttons = [$(`.launcher[data-launch="${id}"] [data-go]`), $('[type=submit]', form)];
    this.#clear(form);
    for (const button of buttons) button.disabled = true;
    try {
      // The button does what it says, whatever was typed into the form behind it.
      const record = await start(form.dataset.path, body(form, fromForm));
      if (record?.id && record.kind) this.store.run(record);
    } catch (error) {
      this.#refused(form, id, error, fromForm);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  #clear(form) {
    this.error.hidden = true;
    $('[data-form-error]', form).hidden = true;
    for (const input of $$('input, select', form)) this.#fieldError(input, '');
  }

  /** The service's own words, at the field they are about. */
  #refused(form, id, error, fromForm) {
    if (!(error instanceof ApiError)) throw error;
    const input = error.field ? form.elements[error.field === 'routines' && !form.elements.routines ? 'goroutines' : error.field] : null;
    if (input) {
      if (form.hidden) this.toggle(id, true);
      this.#fieldError(input, error.message);
      input.focus();
      return;
    }
    const place = fromForm ? $('[data-form-error]', form) : this.error;
    text(place, error.message);
    place.hidden = false;
  }

  #fieldError(input, words) {
    const place = document.getElementById(`${input.id}-error`);
    if (!place) return;
    text(place, words);
    place.hidden = words === '';
    if (words) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
  }

  #line(path, values, asynchronous = true) {
    const loopback = /^(localhost|127\.|\[::1\]$)/.test(location.hostname);
    return curlLine({ origin: location.origin, path, body: values, loopback, asynchronous });
  }

  #curl(form) {
    text($('[data-curl]', form), this.#line(form.dataset.path, body(form)));
  }

  /** Once the machine's rate is known: a difficulty that takes a few seconds to watch, neither a blink nor an hour. */
  #suggest() {
    const bare = this.store.latest?.mining?.baseline_hashes_per_sec;
    if (this.suggested || !(bare > 0)) return;
    this.suggested = true;
    const all = bare * this.store.workers;
    for (const [id, blocks] of [['mine', 4], ['race', 1]]) {
      const input = document.getElementById(`${id}-difficulty`);
      if (!input) continue;
      const bits = difficultyFor(all, WATCHABLE_S, blocks, { least: Number(input.min) || 1, most: Math.min(28, Number(input.max) || 28) });
      input.defaultValue = String(bits);
      if (!this.touched.has(input.id)) input.value = String(bits);
      const form = document.getElementById(`form-${id}`);
      const routines = form.elements.goroutines.defaultValue;
      const seconds = (blocks * 2 ** bits) / all;
      text($(`.launcher[data-launch="${id}"] small`), `${routines} routines, difficulty ${bits}, about ${duration(Math.max(1, Math.round(seconds)) * 1e9).replace('.00', '')}`);
      this.#curl(form);
    }
  }
}

/** The request a form stands for. What is no number is sent as it was typed, so that the service can say so. */
function body(form, typed = true) {
  const values = {};
  for (const input of form.elements) {
    if (!input.name) continue;
    const safe = input.options ? [...input.options].find((option) => option.defaultSelected)?.value : input.defaultValue;
    const value = typed ? input.value : safe;
    if (input.type !== 'number') values[input.name] = value;
    else if (value !== '') values[input.name] = Number(value);
  }
  return { ...values, ...FIXED[form.dataset.launch] };
}
