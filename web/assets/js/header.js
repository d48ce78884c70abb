// The bar at the top: is it alive, and what of it do I see.

import { $, $$, text } from './dom.js';
import { age, clock, count } from './format.js';
import { SECOND } from './view.js';
import { theme } from './theme.js';

// State is never told by colour alone: each has its word and its shape.
const ICONS = {
  live: 'M5 1a4 4 0 1 1 0 8a4 4 0 1 1 0-8',
  frozen: 'M1.5 1h2.5v8h-2.5zM6 1h2.5v8h-2.5z',
  waiting: 'M5 .5l4.8 8.7h-9.6z',
  connecting: 'M5 1a4 4 0 1 0 4 4h-1.6a2.4 2.4 0 1 1-2.4-2.4z',
  stopped: 'M1 1h8v8h-8z',
  refused: 'M2 4h1v-1a2 2 0 0 1 4 0v1h1v5h-6zM4 4h2v-1a1 1 0 0 0-2 0z',
};

export class Header {
  constructor({ store, view, connection }) {
    Object.assign(this, { store, view, connection });
    this.pill = $('#pill');
    store.on('connection', () => this.#pill());
    store.on('restart', () => this.#pill());
    view.onChange(() => {
      if (view.frozen !== this.wasFrozen || view.window !== this.hadWindow) {
        this.#pill();
        this.#buttons();
      }
    });
    $('#freeze').addEventListener('click', () => view.freeze());
    for (const button of $$('#window button')) button.addEventListener('click', () => view.setWindow(Number(button.dataset.seconds) * SECOND));
    $('#theme').addEventListener('click', () => theme.toggle());
    $('#sign-in').addEventListener('click', () => location.reload());
    this.#pill();
    this.#buttons();
  }

  #pill() {
    const { connection, view, store } = this;
    this.wasFrozen = view.frozen;
    const at = clock(connection.since);
    const state = connection.state === 'live' && view.frozen ? 'frozen' : connection.state;
    const restarted = store.restarts.length > 0 && Date.now() - store.restarts[store.restarts.length - 1].wall < 15_000;
    const words = {
      live: restarted ? `Live, server restarted ${clock(store.restarts[store.restarts.length - 1].wall)}` : 'Live',
      frozen: 'Frozen',
      waiting: connection.detail ? `Reconnecting… ${connection.detail}` : 'Reconnecting…',
      connecting: store.latest ? 'Resuming…' : 'Connecting…',
      stopped: `Stopped ${at} by its owner`,
      refused: 'Wants the token again',
    }[state];
    this.pill.dataset.state = state;
    $('#pill-icon').setAttribute('d', ICONS[state]);
    text($('#pill-text'), words);
    $('#sign-in').hidden = state !== 'refused';
    document.documentElement.dataset.connection = connection.state;
  }

  #buttons() {
    this.hadWindow = this.view.window;
    const freeze = $('#freeze');
    freeze.setAttribute('aria-pressed', String(this.view.frozen));
    text(freeze, this.view.frozen ? 'Go live' : 'Freeze');
    for (const button of $$('#window button')) button.setAttribute('aria-pressed', String(Number(button.dataset.seconds) * SECOND === this.view.window));
  }

  second() {
    this.#pill();
    const { latest, runtime, skipped } = this.store;
    if (!latest) return;
    text($('#fact-workers'), count(latest.workers.filter((w) => w.state !== 'inactive').length));
    if (runtime) text($('#fact-workers-source'), ` (from ${runtime.workers.source})`);
    if (this.connection.state === 'live') text($('#fact-uptime'), age(latest.at_ns));
    const slow = $('#fact-skipped');
    slow.hidden = skipped === 0;
    text(slow, `${count(skipped)} samples skipped for this page`);
  }
}
