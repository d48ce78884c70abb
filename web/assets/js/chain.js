// What came out?  The newest blocks, each linked to the one before it by its hash.

import { get } from './api.js';
import { pythonLines, splitHeader, zeroDigits } from './blockheader.js';
import { $, copy, el, text } from './dom.js';
import { facts } from './drawer.js';
import { age, clock, count, duration, plural, UNKNOWN, visible } from './format.js';
import { fillTable, Panel } from './panel.js';

const SHOWN = 12;
const DATA_SHOWN = 60;

export class Chain {
  constructor({ store, drawer }) {
    Object.assign(this, { store, drawer });
    this.panel = new Panel('chain');
    this.list = $('#blocks');
    this.verdict = $('#verdict');
    this.items = new Map();
    store.on('blocks', () => this.#update());
    store.on('restart', () => {
      this.items.clear();
      this.list.replaceChildren();
      text(this.verdict, '');
      this.load();
    });
    $('#verify').addEventListener('click', () => this.verify());
    this.panel.refreshTable = () => this.#table();
  }

  async load() {
    try {
      const blocks = await get(`/blocks?order=desc&limit=${SHOWN}`);
      for (const block of blocks.reverse()) this.store.block(block);
      this.panel.recover();
      this.loaded = true;
    } catch (error) {
      this.panel.fail(`The chain could not be read: ${error.message}.`, () => this.load());
    }
  }

  /** Called once a second: only ages change. */
  second() {
    for (const [index, { when }] of this.items) {
      const block = this.store.blocks.find((known) => known.index === index);
      if (block) text(when, this.#when(block));
    }
    this.panel.second();
  }

  #age(block) {
    return (this.store.timebase.wall(this.store.latestTime) - Date.parse(block.timestamp)) * 1e6;
  }

  #when(block) {
    if (block.index === 0) return `mined here at ${clock(Date.parse(block.timestamp), false)}`;
    const old = this.#age(block);
    return Number.isFinite(old) ? `${age(old)} ago` : UNKNOWN;
  }

  #update() {
    const { blocks } = this.store;
    const wanted = new Set(blocks.map((block) => block.index));
    for (const [index, item] of this.items) {
      if (!wanted.has(index)) {
        item.root.remove();
        this.items.delete(index);
      }
    }
    let after = null;
    for (const block of blocks) {
      let item = this.items.get(block.index);
      if (!item) {
        item = this.#make(block);
        this.items.set(block.index, item);
        if (after) after.after(item.root);
        else this.list.prepend(item.root);
        if (this.loaded) item.root.classList.add('fresh');
      }
      after = item.root;
    }
  }

  #make(block) {
    const zeros = zeroDigits(block.difficulty);
    const when = el('span', { class: 'note' });
    const button = el('button', { type: 'button', 'aria-label': `Block ${block.index}, show its bytes` },
      el('span', { class: 'index' }, block.index === 0 ? 'Genesis' : `#${count(block.index)}`),
      el('code', { class: 'hash' }, el('b', {}, block.hash.slice(0, zeros)), block.hash.slice(zeros, 12), '…'),
      el('span', { class: 'data' }, visible(block.data, DATA_SHOWN)),
      el('span', { class: 'note' }, by(block)),
      when);
    button.addEventListener('click', () => this.open(block));
    text(when, this.#when(block));
    return { root: el('li', {}, button), when };
  }

  open(block) {
    const parts = splitHeader(block.header);
    const python = pythonLines(block.header ?? '');
    const take = (words) => {
      const button = el('button', { type: 'button', class: 'tool' }, 'Copy');
      button.addEventListener('click', () => copy(words, button));
      return button;
    };
    const zeros = zeroDigits(block.difficulty);
    this.drawer.open(`Block ${count(block.index)}`, [
      facts([
        ['Hash', el('code', { class: 'long' }, el('b', {}, block.hash.slice(0, zeros)), block.hash.slice(zeros))],
        ['Difficulty', plural(block.difficulty, 'zero bit')],
        ['Nonce', count(block.nonce)],
        ['Mined', `${block.timestamp}${by(block) ? `, ${by(block)}` : ''}`],
        ['Data', el('code', { class: 'long' }, visible(block.data, 4000))],
      ]),
      el('h3', {}, 'Header: 96 bytes'),
      parts
        ? el('div', { class: 'bytes' }, ...parts.map(({ name, hex }, i) => el('span', { class: `byte-field f${i}` }, el('small', {}, name), el('code', {}, ...pairs(hex)))))
        : el('code', { class: 'long' }, visible(block.header ?? UNKNOWN)),
      el('h3', {}, 'Compute it yourself'),
      el('p', { class: 'note' }, 'One SHA-256 over these bytes is the hash above.'),
      el('div', { class: 'curl' }, el('pre', {}, python), take(python)),
    ]);
  }

  async verify() {
    const button = $('#verify');
    button.disabled = true;
    text(this.verdict, 'Verifying…');
    this.verdict.className = 'verdict';
    try {
      const report = await get('/blocks/verify');
      this.store.verified = report;
      if (report.valid) {
        text(this.verdict, `${plural(report.blocks, 'block')}, all hashes and links right, ${spoken(report.duration)}`);
        this.verdict.classList.add('good');
      } else {
        text(this.verdict, `Block ${count(report.first_bad.index)}: ${visible(report.first_bad.reason, 200)}`);
        this.verdict.classList.add('bad');
      }
    } catch (error) {
      text(this.verdict, `Could not verify: ${error.message}`);
      this.verdict.classList.add('bad');
    } finally {
      button.disabled = false;
    }
  }

  #table() {
    fillTable(this.panel.table, this.store.blocks.map((block) => [
      count(block.index), block.hash, count(block.nonce), visible(block.data, 200), block.by_routine ?? UNKNOWN, block.by_worker ?? UNKNOWN,
      Number.isFinite(this.#age(block)) ? age(this.#age(block)) : UNKNOWN,
    ]));
  }
}

function by(block) {
  if (block.by_routine === null || block.by_routine === undefined) return '';
  return `by ${block.by_routine} on worker ${block.by_worker}`;
}

function* pairs(hex) {
  for (let i = 0; i < hex.length; i += 2) yield `${hex.slice(i, i + 2)} `;
}

/** "3.1ms" as the service writes it, with room before the unit. */
function spoken(text_) {
  if (typeof text_ === 'number') return duration(text_);
  return visible(text_ ?? UNKNOWN).replace(/^([\d.]+)(\D+)$/, '$1 $2');
}
