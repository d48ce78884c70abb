// Puts the page together: one store fed by one stream, one view of time, one loop that draws.

import { About } from './about.js';
import { get } from './api.js';
import { Benches } from './bench.js';
import { Cards } from './cards.js';
import { Chain } from './chain.js';
import { Config } from './config.js';
import { Connection } from './connection.js';
import { $$ } from './dom.js';
import { Drawer } from './drawer.js';
import { Foot } from './foot.js';
import { Frames } from './frame.js';
import { Header } from './header.js';
import { io } from './io.js';
import { keys } from './keys.js';
import { LanesChart } from './lanes.js';
import { Launch } from './launch.js';
import { memory } from './memory.js';
import { Profile } from './profile.js';
import { projector } from './projector.js';
import { queues } from './queues.js';
import { rate } from './rate.js';
import { RoutineView } from './routine.js';
import { Runs } from './runs.js';
import { Sentence } from './sentence.js';
import { Sites } from './sites.js';
import { Stacks } from './stacks.js';
import { Steals } from './steals.js';
import { Store } from './store.js';
import { threads } from './threads.js';
import { timers } from './timers.js';
import { SECOND, View } from './view.js';
import { waiting } from './waiting.js';

document.documentElement.classList.add('js');

const store = new Store();
const view = new View(store);
const connection = new Connection(store);
const frames = new Frames(() => !view.frozen && !view.reduced.matches && connection.state === 'live');
const drawer = new Drawer();
if (matchMedia('(max-width: 639px)').matches) view.setWindow(2 * SECOND);

const context = { store, view, frames };
const routine = new RoutineView({ store, view, drawer });
const lanes = new LanesChart({ ...context, openRoutine: (id, seen) => routine.open(id, seen) });
const charts = [queues(context), waiting(context), rate(context), memory(context), threads(context), io(context), timers(context)];
const steals = new Steals(context);
const stacks = new Stacks(context);
const chain = new Chain({ store, drawer });
const profile = new Profile(context);
const benches = new Benches({ store });
const config = new Config({ store });
const about = new About({ store });
const sites = new Sites({ store });
const runs = new Runs({ store, view });
new Cards({ store });
new Sentence({ store, connection });
const header = new Header({ store, view, connection });
const launch = new Launch({ store });
const foot = new Foot({ store });

const twins = [lanes, ...charts, steals, stacks, sites, config, chain, profile, benches].map((part) => part.panel);
const toggleTables = () => {
  const on = !twins.every((panel) => panel.asTable);
  for (const panel of twins) panel.showTable(on);
};
keys({ view, launch, drawer, toggleTables, toggleProjector: projector({ drawer }) });

async function runtimeFacts() {
  try {
    store.runtime = await get('/api/v1/runtime');
  } catch {
    // The header then shows what the stream says.
  }
}

async function pastOfThisBoot() {
  try {
    store.history(await get('/api/v1/history'));
  } catch {
    // The charts then begin when the page did.
  }
}

/** Everything the stream does not bring by itself: at the start, and again when another server answers. */
function reread() {
  runtimeFacts();
  runs.load();
  chain.load();
  profile.load();
  benches.load();
  config.load();
}

let begun = false;
store.on('tick', () => {
  if (begun) return;
  begun = true;
  reread();
  pastOfThisBoot();
  lanes.backfill();
  routine.fromAddress();
});
store.on('restart', () => {
  runtimeFacts();
  profile.load();
  config.load();
});
store.on('reset', () => {
  pastOfThisBoot();
  config.load();
});
store.on('connection', () => {
  if (connection.state === 'live' && begun) runs.load();
  frames.ask();
});

const everySecond = [header, lanes, steals, stacks, sites, config, about, chain, profile, benches, foot, ...charts.map((chart) => chart.panel)];
setInterval(() => {
  if (document.hidden) return;
  for (const part of everySecond) {
    try {
      part.second();
    } catch (error) {
      reportError(error);
    }
  }
  if (!view.frozen) routine.refresh();
}, 1000);

// A fragment that names a panel brings the keyboard there too.
for (const link of $$('a[href^="#"]')) {
  link.addEventListener('click', () => document.getElementById(link.hash.slice(1))?.focus({ preventScroll: true }));
}

connection.open();
