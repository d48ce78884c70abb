// What does an operation cost here?  Runs one bench at a time; the newest result as bars, the ones before as columns.

import { cancelRun, get, start } from './api.js';
import { curlLine } from './curl.js';
import { $, copy, el, text } from './dom.js';
import { bytes, clock, duration, plural, short, UNKNOWN, visible } from './format.js';
import { fillTable, Panel } from './panel.js';

const PATH = '/api/v1/bench';
const SHOWN = 30;
const NANOSECONDS = { ns: 1, us: 1e3, ms: 1e6 };
/** What a figure is called, where its own name is no word for people. */
const NAMES = { time: 'wall time', cpu: 'processor time' };

/** A value in its unit, as a person reads it. */
export function figure(value, unit) {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (NANOSECONDS[unit]) return duration(value * NANOSECONDS[unit]);
  return unit === 'B' ? bytes(value) : `${short(value)} ${unit}`;
}

/** A ratio of costs: a hundredth is as good as nothing. */
export function share(ratio) {
  return ratio < 0.01 ? 'under 0.01' : ratio.toFixed(2);
}

/** The figures of a result, those to look at first first: `{ name, unit, rows: [{ peer, min, median, max, ratio }] }`. */
export function groups(result) {
  const names = [];
  for (const { name } of result.peers.flatMap((peer) => peer.figures)) if (!names.includes(name)) names.push(name);
  names.sort((a, b) => (b === result.figure) - (a === result.figure));
  return names.map((name) => {
    const rows = result.peers.flatMap((peer) => {
      const found = peer.figures.find((f) => f.name === name);
      const ratio = result.ratios.find((r) => r.peer === peer.peer && r.figure === name);
      return found ? [{ peer: peer.peer, ...found, ratio: ratio?.median ?? null }] : [];
    });
    return { name, unit: rows[0].unit, rows };
  });
}

/** The figure of our own that a bench is about. */
export function mainFigure(result) {
  return result.peers.find((peer) => peer.peer === 'openwork')?.figures.find((f) => f.name === result.figure) ?? null;
}

/** Whether two results can be compared: same machine, same program, as many workers. */
export function alike(a, b) {
  return a.commit === b.commit && a.workers === b.workers && a.recorder === b.recorder && JSON.stringify(a.machine) === JSON.stringify(b.machine);
}

export class Benches {
  constructor({ store }) {
    this.store = store;
    this.panel = new Panel('bench');
    this.select = $('#bench-name');
    this.rounds = $('#bench-rounds');
    this.button = $('#bench-run');
    this.line = $('#bench-progress');
    this.history = [];
    this.chosen = 0;
    this.going = null;
    this.select.addEventListener('change', () => {
      this.#curl();
      this.load();
    });
    this.rounds.addEventListener('input', () => this.#curl());
    $('#bench-copy').addEventListener('click', (event) => copy($('#bench-curl').textContent, event.target));
    this.#curl();
    $('#bench-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.run();
    });
    $('button', this.line).addEventListener('click', () => this.#cancel());
    this.panel.refreshTable = () => this.#table();
    store.on('runs', (run) => this.#changed(run));
    store.on('restart', () => {
      this.#finished(this.going && 'The server was restarted while the bench ran.');
      this.load();
    });
  }

  second() {
    this.panel.second();
  }

  /** What this bench has measured so far. */
  async load() {
    const name = this.select.value;
    try {
      const { history } = await get(`${PATH}/history?bench=${encodeURIComponent(name)}&limit=${SHOWN}`);
      if (this.select.value !== name) return;
      this.panel.recover();
      this.history = history;
      this.#choose(0);
    } catch (error) {
      this.panel.fail(`What was measured before could not be listed: ${error.message}.`, () => this.load());
    }
  }

  #body() {
    const typed = this.rounds.value;
    return { bench: this.select.value, rounds: typed === '' ? null : Number(typed) };
  }

  #curl() {
    const loopback = /^(localhost|127\.|\[::1\]$)/.test(location.hostname);
    text($('#bench-curl'), curlLine({ origin: location.origin, path: PATH, body: this.#body(), loopback, asynchronous: false }));
  }

  async run() {
    this.panel.recover();
    this.#refused('');
    this.button.disabled = true;
    try {
      const answer = await start(PATH, this.#body());
      this.going = answer.id;
      this.store.run(answer);
      this.#progress(answer);
    } catch (error) {
      this.button.disabled = false;
      if (error.field === 'rounds') this.#refused(error.message);
      else this.#finished(`The bench was not run: ${error.message}.`);
    }
  }

  #refused(words) {
    const place = $('#bench-rounds-error');
    text(place, words);
    place.hidden = words === '';
    if (words) this.rounds.setAttribute('aria-invalid', 'true');
    else this.rounds.removeAttribute('aria-invalid');
  }

  async #cancel() {
    if (!this.going) return;
    try {
      this.store.run(await cancelRun(this.going));
    } catch (error) {
      this.#finished(`The bench could not be cancelled: ${error.message}.`);
    }
  }

  #changed(run) {
    if (run?.kind !== 'bench') return;
    const over = run.state !== 'running' && run.state !== 'queued';
    if (run.id === this.going) {
      if (!over) {
        this.#progress(run);
        return;
      }
      const quiet = run.state === 'succeeded' || run.state === 'cancelled';
      this.#finished(quiet ? null : `The bench ${run.state.replace('_', ' ')}: ${visible(run.error ?? '', 200)}.`);
    }
    // Whoever started it: the page shows what was measured last.
    if (run.state === 'succeeded' && run.request?.bench === this.select.value) this.load();
  }

  #progress(run) {
    const { done, total } = run.progress ?? {};
    this.line.hidden = this.going === null;
    const share = total > 0 ? done / total : 0;
    $('progress', this.line).value = share;
    text($('span', this.line), total > 0 ? `${done} of ${total} turns` : 'about to begin');
  }

  #finished(reason) {
    this.going = null;
    this.line.hidden = true;
    this.button.disabled = false;
    if (reason) this.panel.fail(reason, null);
  }

  #choose(index) {
    this.chosen = index;
    const past = this.history[index];
    $('#bench-blank').hidden = Boolean(past);
    $('#bench-bars').hidden = !past;
    $('#bench-before').hidden = this.history.length < 2;
    text($('#bench-about'), past ? about(past) : '');
    $('#bench-bars').replaceChildren(...(past ? groups(past.result).map((group) => bars(group, past.result.operation)) : []));
    this.#columns();
    if (this.panel.asTable) this.#table();
  }

  /** One column a run, the oldest at the left; runs of another program or machine are pale. */
  #columns() {
    const here = this.history[this.chosen]?.result;
    const most = Math.max(...this.history.map((past) => mainFigure(past.result)?.median ?? 0));
    const columns = this.history.map((past, index) => {
      const main = mainFigure(past.result);
      const button = el('button', {
        type: 'button',
        class: alike(past.result, here) ? null : 'other',
        'aria-pressed': String(index === this.chosen),
        'aria-label': `${figure(main?.median, main?.unit)}, ${about(past)}`,
        title: `${figure(main?.median, main?.unit)}\n${about(past)}`,
        onclick: () => {
          this.#choose(index);
          $(`#bench-columns li:nth-last-child(${index + 1}) button`)?.focus();
        },
      }, el('i'));
      button.firstChild.style.setProperty('--part', String(most > 0 ? (main?.median ?? 0) / most : 0));
      return el('li', {}, button);
    });
    $('#bench-columns').replaceChildren(...columns.reverse());
    const main = here && mainFigure(here);
    text($('#bench-most'), main ? figure(most, main.unit) : '');
  }

  #table() {
    fillTable(this.panel.table, this.history.map((past) => {
      const { result } = past;
      const main = mainFigure(result);
      const ratio = result.ratios.find((r) => r.figure === result.figure);
      return [
        when(past), main ? figure(main.median, main.unit) : UNKNOWN, main ? figure(main.min, main.unit) : UNKNOWN, main ? figure(main.max, main.unit) : UNKNOWN,
        ratio ? `${share(ratio.median)} of ${ratio.peer}` : UNKNOWN, String(result.workers), result.commit ?? UNKNOWN, machineName(result.machine),
      ];
    }));
  }
}

function bars({ name, unit, rows }, operation) {
  const most = Math.max(...rows.map((row) => row.max));
  const list = rows.map((row) => {
    const track = el('span', { class: 'track' }, el('i'), el('s'));
    const part = (value) => String(most > 0 ? value / most : 0);
    track.firstChild.style.setProperty('--part', part(row.median));
    track.lastChild.style.setProperty('--from', part(row.min));
    track.lastChild.style.setProperty('--to', part(row.max));
    const ratio = row.ratio === null ? '' : `openwork is ${share(row.ratio)} of it`;
    return el('li', { class: row.peer === 'openwork' ? 'ours' : null }, el('span', {}, row.peer), track,
      el('b', { title: `${figure(row.min, unit)} to ${figure(row.max, unit)}` }, figure(row.median, unit)), el('span', { class: 'note' }, ratio));
  });
  const title = NAMES[name] ? `${NAMES[name]}, per ${operation}` : name.replaceAll('_', ' ');
  return el('div', {}, el('h3', {}, title), el('ul', {}, ...list));
}

const when = (past) => (past.at ? `${past.at.slice(0, 10)} ${clock(Date.parse(past.at))}` : UNKNOWN);

const machineName = (machine) => [machine.cpu ?? 'unknown processor', plural(machine.cores, 'core'), machine.kernel].filter(Boolean).map((word) => visible(word, 80)).join(', ');

function about(past) {
  const { result } = past;
  const facts = [when(past), `commit ${visible(result.commit ?? 'unknown', 20)}`, plural(result.workers, 'worker'), `recorder ${result.recorder ? 'on' : 'off'}`, plural(result.rounds, 'round'), machineName(result.machine)];
  if (result.other_runs > 0) facts.push(`${plural(result.other_runs, 'other run')} beside it`);
  const disturbed = result.peers.find((peer) => peer.disturbed_rounds > 0);
  if (disturbed) facts.push(`disturbed in ${plural(disturbed.disturbed_rounds, 'round')}: other programs kept ${short(disturbed.others_busy_cores)} cores busy`);
  return facts.join(' · ');
}
