// What is this, and what can it do here?  The lines come with the page; what moves among them is brought up to date.

import { $, el } from './dom.js';
import { bytes, count } from './format.js';
import { Panel } from './panel.js';

export class About {
  constructor({ store }) {
    this.store = store;
    this.panel = new Panel('about');
    this.homes = $('#about-homes');
    this.said = '';
  }

  /** Called once a second. */
  second() {
    const homes = this.store.latest?.homes;
    const figures = homes?.travelling;
    this.homes.hidden = !figures;
    if (!figures) return;
    const pairs = [
      ['Homes that travel', `${count(figures.homes)} of at most ${count(figures.limit)}, ${count(figures.free)} free; ${count(figures.made)} made, ${count(figures.ended)} ended`],
      ['Shared', `${count(figures.sharing)} routines share one now`],
      ['Mounted', `for ${count(figures.mounts)} turns; ${count(figures.busy)} put off, another routine of the same home running`],
      ['Refused', `${count(figures.refused)} by the system, ${count(figures.spoilt)} not to be used again`],
      ['Their stacks', `${bytes(figures.stack_bytes)} of address space`],
    ];
    const said = pairs.map(([, value]) => value).join();
    if (said === this.said) return;
    this.said = said;
    this.homes.replaceChildren(...pairs.flatMap(([term, value]) => [el('dt', {}, term), el('dd', {}, value)]));
  }
}
