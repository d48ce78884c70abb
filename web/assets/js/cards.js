// What is going on: a card for each run, whoever started it, until ten seconds after its end.

import { cancelRun } from './api.js';
import { chance, curve, curveEnd } from './chance.js';
import { $, el, svg, text } from './dom.js';
import { count, duration, percent, plural, short, UNKNOWN, visible } from './format.js';

const STAYS_MS = 10_000;
const W = 120;
const H = 34;

export const routinesOf = (run) => run.routines ?? run.request?.goroutines ?? run.request?.routines ?? null;

const isRace = (run) => run.progress?.total === null || run.request?.mode === 'race';

/** What a run has done so far, in one line. A search has no memory: attempts and chance, never a share of done. */
export function progressLine(run) {
  const p = run.progress;
  if (!p) return '';
  if ((run.kind === 'mine' || run.kind === 'block') && isRace(run) && p.expected_attempts) {
    return `attempts ${short(p.attempts ?? 0)}, expected ${short(p.expected_attempts)}`;
  }
  if (typeof p.total === 'number') return `${count(p.done)} of ${count(p.total)} ${p.unit}`;
  return `${count(p.done)} ${p.unit}`;
}

export class Cards {
  constructor({ store }) {
    this.store = store;
    this.list = $('#cards');
    this.cards = new Map();
    store.on('runs', () => this.update());
    store.on('tick', () => {
      const now = performance.now();
      if (now - (this.at ?? -1e9) > 200) this.update(now);
    });
    store.on('restart', () => this.update());
  }

  update(now = performance.now()) {
    this.at = now;
    const shown = new Set();
    // A profile or a bench of this page has its progress beside its button.
    const list = this.store.runList().filter((run) => !((run.kind === 'profile' || run.kind === 'bench') && run.source === 'page') && (run.state === 'running' || run.state === 'queued' || (run.ended_at && this.#sinceEnd(run) < STAYS_MS)));
    for (const run of list.reverse()) {
      shown.add(run.id);
      let card = this.cards.get(run.id);
      if (!card) {
        card = this.#make(run);
        this.cards.set(run.id, card);
        this.list.append(card.root);
      }
      this.#fill(card, run);
    }
    for (const [id, card] of this.cards) {
      if (!shown.has(id)) {
        card.root.remove();
        this.cards.delete(id);
      }
    }
  }

  #serverNow() {
    const { store } = this;
    return store.timebase.wall(store.latestTime);
  }

  #sinceEnd(run) {
    const now = this.#serverNow();
    return Number.isFinite(now) ? now - Date.parse(run.ended_at) : Infinity;
  }

  #make(run) {
    const cancel = el('button', { type: 'button', class: 'tool', 'aria-label': `Cancel run ${run.id}` }, 'Cancel');
    const part = { title: el('b'), line: el('span', { class: 'line' }), time: el('span', { class: 'note' }), cancel };
    part.picture = svg('svg', { class: 'progress', 'aria-hidden': 'true', preserveAspectRatio: 'none' });
    part.root = el('li', { class: 'card' }, el('div', { class: 'words' }, el('span', { class: 'title' }, part.title, ' ', part.time), part.line), part.picture, cancel);
    cancel.addEventListener('click', async () => {
      cancel.disabled = true;
      try {
        this.store.run(await cancelRun(run.id));
      } catch (error) {
        cancel.disabled = false;
        text(part.line, error.message);
      }
    });
    return part;
  }

  #fill(card, run) {
    const going = run.state === 'running' || run.state === 'queued';
    const kind = run.kind === 'mine' && isRace(run) ? 'race' : run.kind === 'lab' ? visible(run.request?.kind ?? 'lab', 20) : run.kind.replace('_', ' ');
    const routines = routinesOf(run);
    card.root.dataset.state = run.state;
    text(card.title, `${kind}${routines > 0 ? `, ${plural(routines, 'routine')}` : ''}${run.source === 'api' ? ' · API' : ''}`);
    const began = Date.parse(run.started_at ?? run.created_at);
    const until = run.ended_at ? Date.parse(run.ended_at) : this.#serverNow();
    const elapsed = Number.isFinite(until) ? duration(Math.max(0, until - began) * 1e6) : UNKNOWN;
    text(card.time, going ? `for ${elapsed}` : `${run.state} after ${elapsed}`);
    card.cancel.hidden = !going;
    const p = run.progress ?? {};
    const search = (run.kind === 'mine' || run.kind === 'block') && p.expected_attempts > 0;
    let line = run.error ? visible(run.error.detail ?? run.error.error ?? run.error, 120) : progressLine(run);
    if (search && isRace(run) && !run.error) line += `, chance to have found by now ${percent(chance(p.attempts ?? 0, p.expected_attempts))}`;
    text(card.line, line);
    if (search && isRace(run)) this.#curve(card.picture, p);
    else if (typeof p.total === 'number' && p.total > 0) this.#bar(card.picture, p);
    else {
      delete card.picture.dataset.kind;
      card.picture.replaceChildren();
    }
  }

  /** A thin line along the foot of the card. */
  #bar(picture, { done, total }) {
    if (picture.dataset.kind !== 'bar') {
      picture.dataset.kind = 'bar';
      picture.setAttribute('viewBox', '0 0 100 4');
      picture.replaceChildren(svg('rect', { class: 'rail', width: '100', height: '4' }), svg('rect', { class: 'done', width: '0', height: '4' }));
    }
    picture.lastChild.setAttribute('width', String(Math.min(1, done / total) * 100));
  }

  /** The chance as a curve over attempts, and where the search is on it. */
  #curve(picture, { attempts = 0, expected_attempts: expected }) {
    const y = (value) => (H - 3 - value * (H - 6)).toFixed(1);
    const points = curve(attempts, expected).map(([px, value]) => `${(px * W).toFixed(1)},${y(value)}`).join(' ');
    if (picture.dataset.kind !== 'curve') {
      picture.dataset.kind = 'curve';
      picture.setAttribute('viewBox', `0 0 ${W} ${H}`);
      picture.replaceChildren(
        svg('line', { class: 'rail', x1: '0', x2: String(W), y1: y(1), y2: y(1) }),
        svg('line', { class: 'expected', y1: '2', y2: String(H - 2) }),
        svg('polyline', { class: 'chance' }),
        svg('circle', { class: 'here', r: '3.5' }),
      );
    }
    const [, mark, line, here] = picture.children;
    const end = curveEnd(attempts, expected);
    const at = (expected / end) * W;
    mark.setAttribute('x1', String(at));
    mark.setAttribute('x2', String(at));
    line.setAttribute('points', points);
    here.setAttribute('cx', String((attempts / end) * W));
    here.setAttribute('cy', y(chance(attempts, expected)));
  }
}
