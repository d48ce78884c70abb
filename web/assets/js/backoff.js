// How long to wait before the next attempt to reach the server, in ms: soon, and never rarer than every 5 s.

const WAITS = [500, 1000, 2000, 5000];

export class Backoff {
  constructor() {
    this.failures = 0;
  }

  next() {
    const wait = WAITS[Math.min(this.failures, WAITS.length - 1)];
    this.failures += 1;
    return wait;
  }

  reset() {
    this.failures = 0;
  }
}
