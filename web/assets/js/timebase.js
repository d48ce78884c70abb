// One time axis across restarts of the server.
//
// The server stamps with nanoseconds since its own start, so a new process begins at zero again. The page places each
// boot on one axis: the first boot as it is, a later one shifted by what the wall clock says lay between them.

export class Timebase {
  constructor() {
    this.boots = [];
  }

  get current() {
    return this.boots[this.boots.length - 1] ?? null;
  }

  /** The boot of that name, entered when it is new. `wall` is ms since the epoch at `atNs`. */
  enter(name, atNs, wall) {
    const known = this.boots.find((boot) => boot.name === name);
    if (known) return known;
    const last = this.current;
    let offset = 0;
    if (last) {
      const between = (wall - last.newestWall) * 1e6;
      // A wall clock set back must not fold the new process over the old one.
      offset = last.newest + Math.max(between, 1e8) - atNs;
    }
    const time = atNs + offset;
    // The two clocks are tied together once: tied anew at each tick, every label would tremble.
    const boot = { name, index: this.boots.length, offset, start: time, newest: time, newestWall: wall, tied: { time, wall } };
    this.boots.push(boot);
    return boot;
  }

  /** Where a server time of `boot` lies on the page's axis; remembers the newest. */
  place(boot, atNs, wall) {
    const time = atNs + boot.offset;
    if (time > boot.newest) {
      boot.newest = time;
      boot.newestWall = wall;
    }
    return time;
  }

  /** The wall clock (ms) at a time of the axis. */
  wall(time) {
    const boot = this.bootAt(time);
    return boot ? boot.tied.wall + (time - boot.tied.time) / 1e6 : NaN;
  }

  /** The axis time of a wall clock moment (ms), by the present boot. */
  fromWall(wall) {
    const boot = this.current;
    return boot ? boot.tied.time + (wall - boot.tied.wall) * 1e6 : NaN;
  }

  bootAt(time) {
    for (let i = this.boots.length - 1; i > 0; i -= 1) if (time >= this.boots[i].start) return this.boots[i];
    return this.boots[0] ?? null;
  }
}
