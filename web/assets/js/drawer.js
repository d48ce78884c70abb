// The drawer at the right edge: one thing looked at closely. It closes with Esc and gives the focus back.

import { $, el, text } from './dom.js';

export class Drawer {
  constructor() {
    this.root = $('#drawer');
    this.title = $('#drawer-title');
    this.body = $('#drawer-body');
    this.onClose = () => {};
    this.came = null;
    $('#drawer-close').addEventListener('click', () => this.close());
  }

  get isOpen() {
    return !this.root.hidden;
  }

  /** Shows `nodes` under a title. `onClose` is called once, when something else or nothing takes its place. */
  open(title, nodes, onClose = () => {}) {
    const before = this.onClose;
    this.onClose = onClose;
    before();
    if (this.root.hidden) this.came = document.activeElement;
    text(this.title, title);
    this.body.replaceChildren(...nodes);
    this.body.scrollTop = 0;
    if (this.root.hidden) {
      this.root.hidden = false;
      this.root.focus({ preventScroll: true });
    }
  }

  close() {
    if (this.root.hidden) return;
    this.root.hidden = true;
    this.body.replaceChildren();
    const { onClose } = this;
    this.onClose = () => {};
    onClose();
    this.came?.focus?.({ preventScroll: true });
  }
}

/** Term and value pairs. A value is text or an element. */
export function facts(pairs) {
  return el('dl', { class: 'facts-list' }, ...pairs.filter(Boolean).flatMap(([term, value]) => [el('dt', {}, term), el('dd', {}, value)]));
}
