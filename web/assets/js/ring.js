// A bounded table of numbers ordered by time: the page's memory of the past.
//
// Column 0 is the time. The newest row pushes the oldest one out, so the page's memory has a limit however long it
// stays open. Rows are held in one Float64Array; nothing is allocated while the server ticks.

export class Ring {
  /** @param {number} capacity rows kept  @param {number} width numbers in a row, time included */
  constructor(capacity, width) {
    this.capacity = capacity;
    this.width = width;
    this.cells = new Float64Array(capacity * width);
    this.first = 0;
    this.length = 0;
  }

  /** Appends a row. A row that is not newer than the newest one is refused: time never runs back. */
  push(row) {
    if (this.length > 0 && row[0] <= this.time(this.length - 1)) return false;
    const slot = (this.first + this.length) % this.capacity;
    this.cells.set(row, slot * this.width);
    if (this.length < this.capacity) this.length += 1;
    else this.first = (this.first + 1) % this.capacity;
    return true;
  }

  at(index, column) {
    return this.cells[((this.first + index) % this.capacity) * this.width + column];
  }

  time(index) {
    return this.at(index, 0);
  }

  /** A copy of one row. */
  row(index) {
    const start = ((this.first + index) % this.capacity) * this.width;
    return this.cells.slice(start, start + this.width);
  }

  /** The first row at or after `time`; `length` when there is none. */
  find(time) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time(middle) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The last row at or before `time`; -1 when there is none. */
  before(time) {
    const index = this.find(time);
    return index < this.length && this.time(index) === time ? index : index - 1;
  }

  /**
   * Merges rows that arrive late (a catch-up after a lost connection) into their place. A row whose time is already
   * here is left as it was.
   */
  merge(rows) {
    if (rows.length === 0) return;
    const late = [...rows].sort((a, b) => a[0] - b[0]);
    const from = this.find(late[0][0]);
    const tail = [];
    for (let i = from; i < this.length; i += 1) tail.push(this.row(i));
    this.length = from;
    let a = 0;
    let b = 0;
    while (a < tail.length || b < late.length) {
      const here = a < tail.length ? tail[a][0] : Infinity;
      const there = b < late.length ? late[b][0] : Infinity;
      this.push(here <= there ? tail[a++] : late[b++]);
      if (here === there) b += 1;
    }
  }

  /** The same rows in wider ones (new columns are unknown), for a server that came back with more workers. */
  widened(width) {
    const wider = new Ring(this.capacity, width);
    const row = new Float64Array(width);
    for (let i = 0; i < this.length; i += 1) {
      row.fill(NaN);
      row.set(this.row(i));
      wider.push(row);
    }
    return wider;
  }
}
