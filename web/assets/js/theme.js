// Colours of the canvases come from the style sheet: one place, both themes, and the projector.

const NAMES = [
  'ground', 'surface', 'raised', 'line', 'line-strong', 'ink', 'muted', 'accent', 'good', 'warn', 'bad', 'halo',
  'local', 'injector', 'stolen', 'stolen-ink', 'inbox', 'timer', 'wanting', 'searching', 'kernel', 'kernel-ink', 'frozen', 'frozen-ink', 'gave-way', 'gave-way-ink',
  'new', 'runnable', 'running', 'blocked',
];
export const WORKER_COLOURS = 8;

class Theme {
  constructor() {
    this.listeners = [];
    this.read();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.changed());
    try {
      const kept = localStorage.getItem('openwork-theme');
      if (kept === 'dark' || kept === 'light') document.documentElement.dataset.theme = kept;
    } catch {
      // Storage may be switched off; the choice then lasts as long as the page.
    }
    this.read();
  }

  read() {
    const style = getComputedStyle(document.documentElement);
    for (const name of NAMES) this[name.replace(/-(\w)/g, (_, c) => c.toUpperCase())] = style.getPropertyValue(`--${name}`).trim();
    this.workers = Array.from({ length: WORKER_COLOURS }, (_, i) => style.getPropertyValue(`--w${i}`).trim());
    this.classes = Array.from({ length: 8 }, (_, i) => style.getPropertyValue(`--c${i}`).trim());
    this.scale = parseFloat(style.fontSize) / 16;
    this.stroke = Number(style.getPropertyValue('--stroke')) || 1;
    this.family = getComputedStyle(document.body).fontFamily;
    this.mono = style.getPropertyValue('--mono').trim();
  }

  /** A canvas font of `size` CSS pixels at normal type. */
  font(size, weight = 400, family = this.family) {
    return `${weight} ${size * this.scale}px ${family}`;
  }

  worker(index) {
    return this.workers[index % WORKER_COLOURS];
  }

  get dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  }

  toggle() {
    const next = this.dark ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem('openwork-theme', next);
    } catch {
      // See above.
    }
    this.changed();
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  changed() {
    this.read();
    for (const listener of this.listeners) listener();
  }
}

export const theme = new Theme();
