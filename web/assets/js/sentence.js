// The state of the whole in one sentence, each number a link to where it comes from, and under it the lines that
// stand there only when something is wrong.

import { $, el, text } from './dom.js';
import { count, hashRate, plural, short, visible } from './format.js';
import { COLUMN, grownBetween, rateAt } from './columns.js';

/** How often the words change for the eye, so that they agree with the pictures below; and for the ear. */
const SHOWN_MS = 500;
const SPOKEN_MS = 2000;

/** What the sentence says, as a list of words and [words, anchor] links. Pure: it can be tested. */
export function sentenceParts({ tick, stolen, going, rate, verified }) {
  const { routines, workers, chain } = tick;
  const serving = workers.filter((w) => w.state !== 'inactive').length;
  const busy = workers.filter((w) => w.state === 'running').length;
  const parts = [
    [`${busy} of ${serving}`, '#lanes'], ` ${serving === 1 ? 'worker' : 'workers'} busy. `,
    [plural(routines.live, 'routine'), '#waiting'], ': ',
    [count(routines.running), '#waiting'], ' running, ',
    [short(routines.runnable + routines.new), '#queues'], ' waiting for a worker, ',
    [short(routines.blocked), '#waiting'], ' blocked. ',
    [short(stolen), '#steals'], going === 0 ? ' stolen since the start. ' : going === 1 ? ' stolen in this run. ' : ` stolen in these ${going} runs. `,
  ];
  if (rate > 0) parts.push([hashRate(rate), '#rate'], '. ');
  if (chain && chain.length > 0) {
    const newest = chain.length - 1;
    parts.push([`Block ${count(newest)}`, '#chain']);
    if (verified && verified.valid === false) parts.push(', ', ['chain damaged', '#chain'], '.');
    else if (verified && verified.blocks >= chain.length) parts.push(', chain verified.');
    else if (verified) parts.push(`, verified to block ${count(verified.blocks - 1)}.`);
    else parts.push('.');
  }
  return parts;
}

/** The findings by kind, the first of each in full: eighty workers with the same trouble are one line. */
export function groupFindings(findings) {
  const kinds = new Map();
  for (const { kind, text: words, link } of findings) {
    const known = kinds.get(kind);
    if (known) known.more += 1;
    else kinds.set(kind, { kind, words, link, more: 0 });
  }
  return [...kinds.values()].map(({ kind, words, link, more }) => ({ kind, link, words: more === 0 ? words : `${words} And ${count(more)} more like it.` }));
}

export class Sentence {
  constructor({ store, connection }) {
    this.store = store;
    this.connection = connection;
    this.said = '';
    this.at = -Infinity;
    this.spokenAt = -Infinity;
    this.dismissed = null;
    store.on('tick', () => this.#update());
  }

  #update() {
    const now = performance.now();
    if (now - this.at < SHOWN_MS) return;
    this.at = now;
    const { store } = this;
    const { ring, latest } = store;
    const last = ring.length - 1;
    const going = store.going().length;
    const parts = sentenceParts({
      tick: latest,
      stolen: going > 0 ? this.#stolenSince() : ring.at(last, COLUMN.stolen),
      going,
      rate: rateAt(ring, last, COLUMN.hashes),
      verified: store.verified,
    });
    const said = parts.map((part) => (Array.isArray(part) ? part[0] : part)).join('');
    if (said !== this.said) {
      this.said = said;
      const target = $('#sentence');
      // A link that holds the focus keeps it: only the words are changed where the shape is the same.
      const links = [...target.querySelectorAll('a')];
      const wanted = parts.filter(Array.isArray);
      if (links.length === wanted.length && target.childNodes.length === parts.length) {
        parts.forEach((part, i) => {
          const node = target.childNodes[i];
          const words = Array.isArray(part) ? part[0] : part;
          if (node.textContent !== words) node.textContent = words;
          if (Array.isArray(part)) node.setAttribute('href', part[1]);
        });
      } else {
        target.replaceChildren(...parts.map((part) => (Array.isArray(part) ? el('a', { href: part[1] }, part[0]) : document.createTextNode(part))));
      }
    }
    if (now - this.spokenAt >= SPOKEN_MS) {
      this.spokenAt = now;
      text($('#sentence-spoken'), said);
    }
    this.#findings(latest.findings ?? []);
  }

  /** Routines stolen since the oldest of the runs going on began. */
  #stolenSince() {
    const { store } = this;
    const span = store.runSpan(store.presentRun());
    return span ? grownBetween(store.ring, COLUMN.stolen, span.from, store.latestTime) : NaN;
  }

  /** One line for each kind of finding, changed in place: a link in it keeps its focus while its figures move. */
  #findings(findings) {
    const list = $('#findings');
    const kinds = groupFindings(findings);
    list.hidden = kinds.length === 0;
    const wanted = new Set(kinds.map(({ kind }) => kind));
    for (const line of [...list.children]) if (!wanted.has(line.dataset.kind)) line.remove();
    kinds.forEach(({ kind, words, link }, place) => {
      let line = [...list.children].find((known) => known.dataset.kind === kind);
      if (!line) {
        line = el('li', { 'data-kind': kind }, el('a'), kind === 'last_crash' ? el('button', { type: 'button', class: 'link', onclick: () => this.#dismiss() }, 'Dismiss') : null);
        list.insertBefore(line, list.children[place] ?? null);
      }
      text(line.firstChild, visible(words, 400));
      if (link?.startsWith('#')) line.firstChild.setAttribute('href', link);
      else line.firstChild.removeAttribute('href');
    });
  }

  async #dismiss() {
    try {
      await fetch('/api/v1/runtime/last-crash/dismiss', { method: 'POST' });
      this.at = -Infinity;
    } catch {
      // The line stays, and with it the button.
    }
  }
}
