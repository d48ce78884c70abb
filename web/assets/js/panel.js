// The frame of a panel: the three lines behind `i`, the table twin, and what happens when a panel cannot go on.

import { $, copy, text } from './dom.js';

export class Panel {
  constructor(id) {
    this.id = id;
    this.root = document.getElementById(id);
    this.canvas = $('canvas', this.root);
    this.readout = $('[data-readout]', this.root);
    this.table = $('.twin table', this.root);
    this.asTable = false;
    this.refreshTable = () => {};
    this.onShow = () => {};
    this.retry = null;

    const info = $('[data-info]', this.root);
    info?.addEventListener('click', () => {
      const open = info.getAttribute('aria-expanded') !== 'true';
      info.setAttribute('aria-expanded', String(open));
      $('.info', this.root).hidden = !open;
    });
    $('[data-twin]', this.root)?.addEventListener('click', () => this.showTable(!this.asTable));
    $('[data-copy-table]', this.root)?.addEventListener('click', (event) => copy(tableText(this.table), event.target));
    $('.trouble button', this.root)?.addEventListener('click', () => this.retry?.());
  }

  /** Swaps the picture for its table, or back. */
  showTable(on) {
    this.asTable = on;
    this.root.classList.toggle('as-table', on);
    $('[data-twin]', this.root)?.setAttribute('aria-pressed', String(on));
    if (on) this.refreshTable();
    else this.onShow();
  }

  /** Called once a second. */
  second() {
    if (this.asTable) this.refreshTable();
  }

  /** Keeps the last picture, greyed, with the reason and a way to try again. */
  fail(reason, retry) {
    this.retry = retry;
    this.root.classList.add('failed');
    const line = $('.trouble', this.root);
    text($('span', line), reason);
    $('button', line).hidden = !retry;
    line.hidden = false;
  }

  recover() {
    if (!this.root.classList.contains('failed')) return;
    this.root.classList.remove('failed');
    $('.trouble', this.root).hidden = true;
  }
}

/**
 * Brings a table's body to `rows` (lists of text), touching only cells that differ. The first cell of a row is its
 * header; classes and `data-col` come from the column's head. Rows that came with the page are replaced once.
 */
export function fillTable(table, rows) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    let row = body.rows[index];
    if (!row || row.cells.length !== cells.length || row.dataset.live === undefined) {
      const fresh = document.createElement('tr');
      fresh.dataset.live = '';
      cells.forEach((_, column) => {
        const cell = document.createElement(column === 0 ? 'th' : 'td');
        if (column === 0) cell.scope = 'row';
        const head = heads[column];
        if (head?.dataset.col) cell.dataset.col = head.dataset.col;
        if (head?.classList.contains('num')) cell.className = 'num';
        fresh.append(cell);
      });
      if (row) row.replaceWith(fresh);
      else body.append(fresh);
      row = fresh;
    }
    cells.forEach((value, column) => text(row.cells[column], String(value)));
  });
}

/** A table as lines of tab-separated text, which a spreadsheet takes. */
export function tableText(table) {
  return [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join('\t')).join('\n');
}
