// When to draw. One loop for the page: 30 pictures a second at most, and none while nothing moves.

const LEAST_MS = 1000 / 30 - 4;

export class Frames {
  /** @param moving says whether time flows in the pictures (live, visible, connected) */
  constructor(moving) {
    this.moving = moving;
    this.parts = [];
    this.last = 0;
    this.asked = false;
    document.addEventListener('visibilitychange', () => this.ask());
    // Printing waits for no animation frame. Registered late, so that every canvas has been told before.
    setTimeout(() => window.addEventListener('beforeprint', () => {
      for (const part of this.parts) part.step(false);
    }));
  }

  /** @param part has `step(moved)`: draws when it has something new to show */
  add(part) {
    this.parts.push(part);
  }

  /** Something changed: draw at the next occasion. */
  ask() {
    if (this.asked || document.hidden) return;
    this.asked = true;
    requestAnimationFrame((now) => this.#frame(now));
  }

  #frame(now) {
    this.asked = false;
    if (document.hidden) return;
    if (now - this.last < LEAST_MS) {
      this.ask();
      return;
    }
    this.last = now;
    const moving = this.moving();
    for (const part of this.parts) part.step(moving);
    if (moving) this.ask();
  }
}
