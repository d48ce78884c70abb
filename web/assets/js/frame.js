// When to draw. One loop for the page: 30 pictures a second at most, and none while nothing moves.
//
// Where there are few CPUs the page probably shares them with the workers it shows: it then draws less often.

const FEW_CPUS = 4;
const LEAST_MS = 1000 / ((navigator.hardwareConcurrency ?? FEW_CPUS + 1) <= FEW_CPUS ? 20 : 30);

export class Frames {
  /** @param moving says whether time flows in the pictures (live, visible, connected) */
  constructor(moving) {
    this.moving = moving;
    this.parts = [];
    this.failed = new Set();
    this.last = 0;
    this.asked = false;
    document.addEventListener('visibilitychange', () => this.ask());
    // Printing waits for no animation frame. Registered late, so that every canvas has been told before.
    setTimeout(() => window.addEventListener('beforeprint', () => {
      for (const part of this.parts) this.#step(part, false);
    }));
  }

  /** @param part has `step(moving)`, which draws when there is something new to show, `dirty()` and a `panel` */
  add(part) {
    this.parts.push(part);
  }

  /** Something changed: draw at the next occasion. */
  ask() {
    if (this.asked || document.hidden) return;
    this.asked = true;
    // Sleep through the animation frames that are not ours: waking up for each of them has its price too.
    const rest = LEAST_MS - (performance.now() - this.last);
    if (rest > 4) setTimeout(() => requestAnimationFrame(() => this.#frame()), rest);
    else requestAnimationFrame(() => this.#frame());
  }

  #frame() {
    this.asked = false;
    if (document.hidden) return;
    this.last = performance.now();
    const moving = this.moving();
    for (const part of this.parts) this.#step(part, moving);
    if (moving) this.ask();
  }

  /** A part that cannot draw keeps its last picture and says why; the others go on. */
  #step(part, moving) {
    if (this.failed.has(part)) return;
    try {
      part.step(moving);
    } catch (error) {
      this.failed.add(part);
      part.panel.fail(`This picture could not be drawn: ${error.message}.`, () => {
        this.failed.delete(part);
        part.panel.recover();
        part.dirty();
      });
      reportError(error);
    }
  }
}
