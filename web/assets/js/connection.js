// The one stream of the page, and what the page says about it.
//
// States: connecting, live, waiting (no tick for a second, or the stream broke: amber), stopped (the server said
// `bye`), refused (401). While amber the pictures stand still; nothing is invented. The browser's own reconnecting
// is not used: it can neither wait as we want nor tell a refusal from a broken line.

import { ApiError, get } from './api.js';
import { Backoff } from './backoff.js';

const SILENCE_MS = 1000;
/** A hidden tab gives its place among the viewers away after this long. */
const HIDDEN_MS = 1500;

export class Connection {
  constructor(store) {
    this.store = store;
    this.backoff = new Backoff();
    this.state = 'connecting';
    this.since = Date.now();
    this.detail = '';
    this.source = null;
    this.silence = null;
    this.retry = null;
    this.leaving = null;
    this.attempt = 0;
    document.addEventListener('visibilitychange', () => this.#visibility());
    window.addEventListener('pagehide', () => this.#close());
    window.addEventListener('pageshow', (event) => { if (event.persisted) this.open(); });
    window.addEventListener('online', () => { if (this.state === 'waiting') this.open(); });
    store.on('missed', (since) => this.#catchUp(since));
  }

  open() {
    this.#close();
    const attempt = this.attempt += 1;
    const source = new EventSource('/api/v1/events');
    this.source = source;
    const event = (name, use) => source.addEventListener(name, (message) => {
      if (attempt === this.attempt) use(JSON.parse(message.data));
    });
    event('tick', (tick) => {
      this.backoff.reset();
      this.#watchSilence();
      this.#become('live');
      this.store.tick(tick);
    });
    event('run', (run) => this.store.run(run));
    event('block', (block) => this.store.block(block));
    event('config', (change) => this.store.configured(change));
    event('reset', () => this.store.emit('reset'));
    event('bye', () => {
      this.#close();
      this.#become('stopped');
      // It may be started again under the open page: keep looking, at the slowest pace.
      this.retry = setTimeout(() => this.#probe(), 2000);
    });
    source.onerror = () => {
      if (attempt !== this.attempt) return;
      this.#close();
      this.#probe();
    };
    this.#watchSilence();
  }

  #close() {
    this.attempt += 1;
    this.source?.close();
    this.source = null;
    clearTimeout(this.silence);
    clearTimeout(this.retry);
    clearTimeout(this.leaving);
  }

  #become(state, detail = '') {
    if (state === this.state && detail === this.detail) return;
    if (state !== this.state) this.since = Date.now();
    this.state = state;
    this.detail = detail;
    this.store.emit('connection', this);
  }

  #watchSilence() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      if (this.state !== 'stopped') this.#become('waiting');
      // An open stream that stays silent is a dead one (a suspended server, a lost network): try afresh.
      this.retry = setTimeout(() => this.open(), 4000);
    }, SILENCE_MS);
  }

  /** After a broken stream: a plain request first, since it tells why. */
  async #probe() {
    const attempt = this.attempt;
    const wasStopped = this.state === 'stopped';
    if (!wasStopped) this.#become('waiting');
    try {
      await get('/api/v1/runtime');
      if (attempt === this.attempt) this.open();
    } catch (error) {
      if (attempt !== this.attempt) return;
      if (error instanceof ApiError && error.status === 401) {
        this.#become('refused');
        return;
      }
      if (error instanceof ApiError && error.status === 503) this.#become('waiting', error.message);
      this.retry = setTimeout(() => this.#probe(), wasStopped ? 2000 : this.backoff.next());
    }
  }

  async #catchUp(since) {
    try {
      this.store.history(await get(`/api/v1/history?since=${encodeURIComponent(since)}`));
    } catch {
      // The hole stays a hole in the pictures, which is what it is.
    }
  }

  #visibility() {
    if (document.hidden) {
      this.leaving = setTimeout(() => {
        this.#close();
        this.#become('connecting');
      }, HIDDEN_MS);
    } else {
      clearTimeout(this.leaving);
      if (!this.source && this.state !== 'refused') this.open();
    }
  }
}
