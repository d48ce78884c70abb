// A canvas that is sharp: its pixels are the device's, its units CSS pixels.

export class Canvas {
  constructor(element, onResize) {
    this.element = element;
    this.context = element.getContext('2d', { alpha: true });
    this.width = 0;
    this.height = 0;
    this.ratio = 1;
    this.visible = true;
    this.#measure();
    new ResizeObserver(() => {
      if (this.#measure()) onResize();
    }).observe(element);
    new IntersectionObserver(([entry]) => {
      const before = this.visible;
      this.visible = entry.isIntersecting;
      if (this.visible && !before) onResize();
    }, { rootMargin: '100px' }).observe(element);
    // A print shows the whole page, also what was never scrolled to.
    window.addEventListener('beforeprint', () => {
      this.visible = true;
      onResize();
    });
  }

  #measure() {
    const { clientWidth, clientHeight } = this.element;
    const ratio = window.devicePixelRatio || 1;
    if (clientWidth === this.width && clientHeight === this.height && ratio === this.ratio) return false;
    this.width = clientWidth;
    this.height = clientHeight;
    this.ratio = ratio;
    this.element.width = Math.round(clientWidth * ratio);
    this.element.height = Math.round(clientHeight * ratio);
    return true;
  }

  /** Clears and returns the context, in CSS pixels. */
  begin() {
    const { context, ratio } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    return context;
  }

  /** The nearest coordinate at which a line one device pixel wide is sharp. */
  crisp(coordinate) {
    return (Math.round(coordinate * this.ratio) + 0.5) / this.ratio;
  }
}

/** A pattern made of a tile that `paint(c, size)` fills, which stays put while the picture scrolls. */
const tiles = new Map();
function pattern(context, key, step, ratio, paint) {
  let tile = tiles.get(key);
  if (!tile) {
    const size = Math.max(3, Math.round(step * ratio));
    tile = document.createElement('canvas');
    tile.width = tile.height = size;
    paint(tile.getContext('2d'), size);
    tiles.set(key, tile);
  }
  const made = context.createPattern(tile, 'repeat');
  made.setTransform(new DOMMatrix().scale(1 / ratio));
  return made;
}

/** Dots of `ink` on `ground`. */
export function dots(context, ground, ink, ratio, step = 5) {
  return pattern(context, `dots|${ground}|${ink}|${ratio}|${step}`, step, ratio, (c, size) => {
    c.fillStyle = ground;
    c.fillRect(0, 0, size, size);
    c.fillStyle = ink;
    const dot = Math.max(1, Math.round(size / 2.6));
    c.fillRect(Math.floor((size - dot) / 2), Math.floor((size - dot) / 2), dot, dot);
  });
}

/** Lines of `ink` both ways on `ground`. */
export function cross(context, ground, ink, ratio, step = 6) {
  return pattern(context, `cross|${ground}|${ink}|${ratio}|${step}`, step, ratio, (c, size) => {
    c.fillStyle = ground;
    c.fillRect(0, 0, size, size);
    c.strokeStyle = ink;
    c.lineWidth = Math.max(1, size / 6);
    c.beginPath();
    c.moveTo(0, 0);
    c.lineTo(size, size);
    c.moveTo(size, 0);
    c.lineTo(0, size);
    c.stroke();
  });
}

/** Diagonal hatch in a colour, as a pattern that stays put while the picture scrolls. */
const hatches = new Map();
export function hatch(context, ground, ink, ratio, step = 6) {
  const key = `${ground}|${ink}|${ratio}|${step}`;
  let tile = hatches.get(key);
  if (!tile) {
    const size = Math.round(step * ratio);
    tile = document.createElement('canvas');
    tile.width = tile.height = size;
    const c = tile.getContext('2d');
    if (ground) {
      c.fillStyle = ground;
      c.fillRect(0, 0, size, size);
    }
    c.strokeStyle = ink;
    c.lineWidth = Math.max(1, size / 4.5);
    c.beginPath();
    for (const shift of [-size, 0, size]) {
      c.moveTo(shift - 1, size + 1);
      c.lineTo(shift + size + 1, -1);
    }
    c.stroke();
    hatches.set(key, tile);
  }
  const pattern = context.createPattern(tile, 'repeat');
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}
