// The legend of the lanes: a word and a count for each colour, press shows that one alone; and what is not drawn.

import { ENDS, GROUPS } from './cells.js';
import { COLUMN, grownBetween, workerColumn } from './columns.js';
import { $, el, text } from './dom.js';
import { percent, short, UNKNOWN, visible } from './format.js';

export class LaneLegend {
  /** @param onPress is given the class that was pressed */
  constructor(store, onPress) {
    this.store = store;
    this.onPress = onPress;
    this.buttons = [];
    this.facts = el('span', { class: 'facts' });
    $('#lanes-legend').append(this.facts);
  }

  /** Turns in [from, to] by where they came from, from the workers' own counters. */
  turnsOf(group, from, to) {
    const grown = (name) => grownBetween(this.store.ring, COLUMN[`from_${name}`], from, to);
    if (group === 'local') return grown('local') + grown('lifo');
    return group === 'inbox' ? grown('inbox') + grown('poller') : grown(group);
  }

  /** All turns in [from, to]. */
  turns(from, to) {
    return GROUPS.reduce((sum, group) => sum + (this.turnsOf(group, from, to) || 0), 0);
  }

  /**
   * @param look what the lanes show: `classes`, the `only` one, the `data` and `order` of the workers
   * @param losses `merged`, `omitted` and `lost` of that picture
   */
  update([from, to], { classes, only, data, order }, losses) {
    const { store } = this;
    if (!store.ring || store.ring.length === 0) return;
    const entries = classes.mode === 'source'
      ? GROUPS.map((group, key) => ({ key, swatch: group, word: group, figure: short(this.turnsOf(group, from, to)) }))
      : this.#counted([from, to], classes, data, order);
    entries.forEach(({ key, swatch, word, figure }, i) => {
      let button = this.buttons[i];
      if (!button) {
        button = el('button', { type: 'button' }, el('span'), el('span'), el('b'));
        button.addEventListener('click', () => this.onPress(Number(button.dataset.key)));
        this.facts.before(button);
        this.buttons.push(button);
      }
      button.dataset.key = String(key);
      button.setAttribute('aria-pressed', String(only === key));
      button.classList.toggle('none', figure === '0');
      button.children[0].className = `swatch fill-${swatch}`;
      text(button.children[1], word);
      text(button.children[2], figure);
    });
    for (const button of this.buttons.splice(entries.length)) button.remove();

    const worked = Math.min(to, store.latestTime) - Math.max(from, store.ring.time(0));
    const shareOf = (name) =>
      order.reduce((sum, worker) => sum + (grownBetween(store.ring, workerColumn(worker, name), from, to) || 0), 0) /
      Math.max(1, worked * order.length);
    const busy = Math.min(1, shareOf('busy'));
    const searching = Math.min(1 - busy, shareOf('searching'));
    const grown = (name) => grownBetween(store.ring, COLUMN[name], from, to);
    // In this mode they are colours of their own, counted above.
    const cut = classes.mode === 'end' ? [] : [fact('gave-way', 'gave way', short(grown('honoured'))), fact('frozen', 'frozen', short(grown('forced'))), fact('kernel', 'in kernel', short(grown('retaken')))];
    const missing = data.absences.missingBetween(from, to);
    this.facts.replaceChildren(
      fact('searching', 'searching', percent(searching)),
      fact('parked', 'parked', percent(Math.max(0, 1 - busy - searching))),
      fact('arrow', 'moved by steals', short(grown('stolen'))),
      ...cut,
      ...(missing > 0 ? [fact(null, 'more without a worker', short(missing))] : []),
      ...(losses.merged > 0 ? [fact(null, 'merged', short(losses.merged))] : []),
      ...(losses.omitted > 0 ? [fact(null, 'omitted', short(losses.omitted))] : []),
      ...(losses.lost > 0 ? [fact(null, 'no longer kept', short(losses.lost))] : []),
    );
  }

  /** Classes other than sources have no counters: their turns are counted as drawn. */
  #counted([from, to], classes, data, order) {
    const turns = new Map();
    for (const worker of order) {
      data.each(worker, from, to, (cell, start, chunk) => {
        const key = classes.of(cell, chunk);
        turns.set(key, (turns.get(key) ?? 0) + cell[4]);
      });
    }
    return classes.names.flatMap((name, key) => {
      if (classes.mode === 'end') return [{ key, swatch: `end-${key}`, word: ENDS[key].name, figure: short(turns.get(key) ?? 0) }];
      if (!turns.has(key)) return [];
      const shared = key === classes.limit - 1 && classes.index.size > classes.limit;
      return [{ key, swatch: `c${key}`, word: shared ? 'others' : this.#nameOf(name, classes.mode), figure: short(turns.get(key)) }];
    });
  }

  #nameOf(name, mode) {
    if (mode === 'site') return visible(name || UNKNOWN);
    if (!name) return 'no run';
    const run = this.store.runOfWorkload(name);
    return run ? `${run.kind} ${run.id}` : `workload ${name}`;
  }
}

function fact(swatch, word, figure) {
  return el('span', { class: 'fact' }, swatch ? el('span', { class: `swatch mark-${swatch}` }) : null, el('span', {}, word), el('b', {}, figure));
}
