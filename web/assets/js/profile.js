// What did it cost?  Takes profiles and shows the last one as an icicle.

import { cancelRun, get, start } from './api.js';
import { Canvas } from './canvas.js';
import { $, $$, copy, el, speak, text } from './dom.js';
import { bytes, count, duration, percent, short, visible } from './format.js';
import { byFunction, fromWire, layout, matching, shortName } from './icicle.js';
import { fillTable, Panel } from './panel.js';
import { theme } from './theme.js';

const ROW = 19;
const MOST_ROWS = 40;
const TABLE_ROWS = 40;
const CPU_SECONDS = 5;

export class Profile {
  constructor({ store, frames }) {
    Object.assign(this, { store, frames });
    this.panel = new Panel('profile');
    this.element = $('#profile-canvas');
    this.canvas = new Canvas(this.element, () => this.dirty());
    this.tooltip = $('#profile-tooltip');
    this.record = null;
    this.tree = null;
    this.focus = [];
    this.boxes = [];
    this.chosen = null;
    this.words = '';
    this.crates = new Map();
    this.going = null;
    this.isDirty = false;
    for (const button of $$('[data-take]', this.panel.root)) button.addEventListener('click', () => this.take(button.dataset.take));
    $('#profile-search').addEventListener('input', (event) => {
      this.words = event.target.value.toLowerCase();
      this.#about();
      this.dirty();
    });
    $('#profile-out').addEventListener('click', () => this.#out());
    $('#profile-progress button').addEventListener('click', () => this.#cancel());
    const command = $('#profile-command');
    $('button', command).addEventListener('click', (event) => copy($('code', command).textContent, event.target));
    this.panel.refreshTable = () => this.#table();
    this.panel.onShow = () => this.dirty();
    store.on('runs', (run) => this.#run(run));
    store.on('restart', () => {
      if (this.going) this.#finished('The server was restarted while the profile was taken.');
    });
    theme.onChange(() => { this.#fit(); this.dirty(); });
    this.element.addEventListener('pointermove', (event) => this.#hover(event.offsetX, event.offsetY));
    this.element.addEventListener('pointerleave', () => { this.tooltip.hidden = true; this.#choose(null); });
    this.element.addEventListener('click', (event) => {
      const box = this.#boxAt(event.offsetX, event.offsetY);
      if (box) this.#zoom(box.path);
    });
    this.element.addEventListener('keydown', (event) => this.#key(event));
    frames.add(this);
  }

  dirty() {
    this.isDirty = true;
    this.frames.ask();
  }

  second() {
    this.panel.second();
  }

  /** The newest profile the server keeps, if any. */
  async load() {
    try {
      const { profiles } = await get('/api/v1/profiles');
      const newest = profiles.find((record) => record.icicle);
      if (newest) await this.#show(newest);
      this.panel.recover();
    } catch (error) {
      if (error.status !== 404) this.panel.fail(`Profiles could not be listed: ${error.message}.`, () => this.load());
    }
  }

  async take(kind) {
    this.panel.recover();
    this.#buttons(true);
    try {
      const answer = await start('/api/v1/profiles', kind === 'cpu' ? { kind, seconds: CPU_SECONDS } : { kind });
      if (answer.progress) {
        this.going = { id: answer.id, since: performance.now() };
        this.store.run(answer);
        this.#progress();
        return;
      }
      await this.#show(answer);
      this.#buttons(false);
    } catch (error) {
      this.#finished(`The profile was not taken: ${error.message}.`);
    }
  }

  #buttons(disabled) {
    for (const button of $$('[data-take]', this.panel.root)) button.disabled = disabled;
  }

  #progress() {
    const line = $('#profile-progress');
    line.hidden = this.going === null;
    if (this.going === null) return;
    const seconds = Math.min(CPU_SECONDS, (performance.now() - this.going.since) / 1000);
    $('progress', line).value = seconds / CPU_SECONDS;
    text($('span', line), `${Math.floor(seconds)} of ${CPU_SECONDS} s`);
    setTimeout(() => this.#progress(), 200);
  }

  async #cancel() {
    if (!this.going) return;
    try {
      this.store.run(await cancelRun(this.going.id));
    } catch (error) {
      this.#finished(`The profile could not be cancelled: ${error.message}.`);
    }
  }

  async #run(run) {
    if (!this.going || run?.id !== this.going.id || run.state === 'running' || run.state === 'queued') return;
    if (run.state !== 'succeeded') {
      const why = run.error?.detail ?? run.error?.error ?? (typeof run.error === 'string' ? run.error : null);
      this.#finished(run.state === 'cancelled' ? null : `The profile ${run.state}${why ? `: ${visible(why, 200)}` : ''}.`);
      return;
    }
    this.#finished(null);
    try {
      const id = run.result?.id;
      if (id) await this.#show(await get(`/api/v1/profiles/${encodeURIComponent(id)}`));
      else await this.load();
    } catch (error) {
      this.panel.fail(`The profile could not be read: ${error.message}.`, () => this.load());
    }
  }

  #finished(reason) {
    this.going = null;
    this.#progress();
    this.#buttons(false);
    if (reason) this.panel.fail(reason, null);
  }

  async #show(record) {
    const wire = await get(record.icicle);
    const root = fromWire(wire.root);
    const tree = { unit: wire.unit, total: root.value, root, remarks: wire.remarks ?? [] };
    this.record = record;
    this.tree = tree;
    this.focus = [];
    this.chosen = null;
    this.crates = new Map();
    for (const { crate, self } of byFunction(tree.root)) this.crates.set(crate, (this.crates.get(crate) ?? 0) + self);
    const order = [...this.crates].sort((a, b) => b[1] - a[1]).map(([name]) => name);
    this.colour = new Map(order.map((name, i) => [name, Math.min(i, 7)]));
    $('#profile-bar').hidden = false;
    const empty = !(tree.total > 0);
    $('#profile-blank').hidden = !empty;
    this.element.hidden = empty;
    text($('#profile-blank'), 'This profile is empty: nothing ran while it was taken.');
    const download = $('#profile-download');
    download.href = record.download;
    const command = $('#profile-command');
    command.hidden = !record.view_command;
    text($('code', command), record.view_command ?? '');
    $('#profile-legend').replaceChildren(...order.slice(0, 8).map((name, i) => el('li', {}, el('span', { class: `swatch fill-c${i}` }), el('span', {}, i === 7 && order.length > 8 ? 'others' : visible(name, 40)), el('b', {}, percent(this.crates.get(name) / tree.total)))));
    this.#about();
    this.#fit();
    this.dirty();
    if (this.panel.asTable) this.#table();
  }

  #value(value) {
    const { unit } = this.tree;
    if (unit === 'nanoseconds' || unit === 'ns') return duration(value);
    if (unit === 'bytes') return bytes(value);
    return `${count(value)}${unit && unit !== 'count' ? ` ${visible(unit, 20)}` : ''}`;
  }

  #about() {
    const r = this.record;
    if (!r) return;
    const facts = [`${r.kind} profile`, `${this.#value(this.tree.total)} in all`];
    if (typeof r.samples === 'number') facts.push(`${short(r.samples)} samples`);
    if (typeof r.achieved_hz === 'number') facts.push(`${Math.round(r.achieved_hz)} of ${r.asked_hz} Hz`);
    if (r.skipped_in_switch > 0) facts.push(`${count(r.skipped_in_switch)} skipped inside a switch`);
    if (r.lost > 0) facts.push(`${count(r.lost)} lost`);
    for (const remark of this.tree.remarks) facts.push(visible(remark, 200));
    if (this.words) facts.push(`“${this.words}”: ${percent(matching(this.tree.root, (name) => name.toLowerCase().includes(this.words)) / this.tree.total, 1)}`);
    text($('#profile-about'), facts.join(' · '));
  }

  #fit() {
    if (!this.tree) return;
    this.boxes = layout(this.tree.root, this.focus);
    const rows = Math.min(MOST_ROWS, Math.max(...this.boxes.map((box) => box.depth)) + 1);
    this.element.style.height = `${Math.round(rows * ROW * theme.scale + 2)}px`;
    $('#profile-out').disabled = this.focus.length === 0;
  }

  step() {
    if (!this.isDirty || !this.tree || this.panel.asTable || this.element.hidden || !this.canvas.visible) return;
    this.isDirty = false;
    const c = this.canvas.begin();
    const row = ROW * theme.scale;
    const { width } = this.canvas;
    c.font = theme.font(11);
    c.textBaseline = 'middle';
    c.textAlign = 'left';
    for (const box of this.boxes) {
      const [x, y, w] = [box.x * width, box.depth * row, box.width * width];
      const { name } = box.node;
      const hit = this.words && name.toLowerCase().includes(this.words);
      const crate = this.colour.get(box.node.crate) ?? 7;
      c.globalAlpha = box.outer ? 0.45 : this.words && !hit ? 0.25 : 1;
      c.fillStyle = box.depth === 0 ? theme.line : theme.classes[crate];
      c.fillRect(x, y, Math.max(0.5, w - 1), row - 1);
      c.globalAlpha = 1;
      if (hit || this.chosen?.path.join() === box.path.join()) {
        c.strokeStyle = theme.ink;
        c.lineWidth = 1.5;
        c.strokeRect(x + 0.75, y + 0.75, Math.max(0, w - 2.5), row - 2.5);
      }
      if (w > 28) {
        c.save();
        c.beginPath();
        c.rect(x, y, w - 4, row);
        c.clip();
        c.fillStyle = box.depth === 0 || box.outer || (this.words && !hit) ? theme.ink : theme.dark ? '#0d1013' : '#ffffff';
        c.fillText(box.depth === 0 ? `all: ${this.#value(box.node.value)}` : visible(shortName(name)), x + 5, y + row / 2);
        c.restore();
      }
    }
  }

  #boxAt(x, y) {
    const depth = Math.floor(y / (ROW * theme.scale));
    const part = x / this.canvas.width;
    return this.boxes.find((box) => box.depth === depth && part >= box.x && part < box.x + box.width) ?? null;
  }

  #choose(box) {
    if (box?.path.join() === this.chosen?.path.join()) return;
    this.chosen = box;
    this.dirty();
  }

  #hover(x, y) {
    const box = this.#boxAt(x, y);
    this.#choose(box);
    this.tooltip.hidden = !box;
    if (!box) return;
    const { node } = box;
    const pairs = [
      ['Function', visible(node.name, 300)],
      ['Crate', visible(node.crate, 60)],
      ['With callees', `${this.#value(node.value)}, ${percent(node.value / this.tree.total, 1)}`],
      ['Itself', `${this.#value(node.own)}, ${percent(node.own / this.tree.total, 1)}`],
    ];
    this.tooltip.replaceChildren(el('dl', {}, ...pairs.flatMap(([term, value]) => [el('dt', {}, term), el('dd', {}, value)])));
    this.tooltip.style.left = `${Math.max(0, Math.min(x + 14, this.canvas.width - this.tooltip.offsetWidth))}px`;
    this.tooltip.style.top = `${y + 18}px`;
  }

  #zoom(path) {
    this.focus = path;
    this.chosen = null;
    this.tooltip.hidden = true;
    this.#fit();
    this.dirty();
  }

  #out() {
    if (this.focus.length > 0) this.#zoom(this.focus.slice(0, -1));
  }

  #key(event) {
    if (!this.tree || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Backspace') {
      event.preventDefault();
      this.#out();
      return;
    }
    const here = this.chosen ?? this.boxes.find((box) => box.path.length === this.focus.length);
    if (!here) return;
    const find = (test) => this.boxes.filter(test).sort((a, b) => a.x - b.x);
    let next = null;
    if (event.key === 'ArrowDown') next = find((box) => box.depth === here.depth + 1 && box.x >= here.x - 1e-9 && box.x < here.x + here.width)[0];
    else if (event.key === 'ArrowUp') next = find((box) => box.depth === here.depth - 1 && here.x >= box.x - 1e-9 && here.x < box.x + box.width)[0];
    else if (event.key === 'ArrowRight') next = find((box) => box.depth === here.depth && box.x > here.x)[0];
    else if (event.key === 'ArrowLeft') next = find((box) => box.depth === here.depth && box.x < here.x).pop();
    else if (event.key === 'Enter') {
      this.#zoom(here.path);
      return;
    } else return;
    event.preventDefault();
    if (!next) return;
    this.#choose(next);
    speak(`${shortName(next.node.name)}, ${percent(next.node.value / this.tree.total, 1)}`);
  }

  #table() {
    if (!this.tree) return;
    fillTable(this.panel.table, byFunction(this.tree.root).slice(0, TABLE_ROWS).map(({ name, self, total }) => [
      visible(name, 200), `${this.#value(self)} (${percent(self / this.tree.total, 1)})`, `${this.#value(total)} (${percent(total / this.tree.total, 1)})`,
    ]));
  }
}
