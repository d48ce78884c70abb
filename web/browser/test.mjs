// The page in a real browser, against the real service.
//
//   node test.mjs             starts target/release/openwork, tests, leaves screenshots in target/browser
//   node test.mjs --picture   also renews docs/dashboard.png, the picture in the README
//   OPENWORK=… CHROMIUM=…     another binary, another browser
//
// Every wait is for something to appear, under a watchdog; nothing is waited for in hope. The first failure ends it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.resolve(HERE, '../..');
const TARGET = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target');
const BINARY = process.env.OPENWORK ?? path.join(TARGET, 'release/openwork');
const BROWSER = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SHOTS = path.join(TARGET, 'browser');
const PICTURE = path.join(ROOT, 'docs/dashboard.png');
const PICTURE_BYTES_MAX = 500_000;
const PATIENCE_MS = 60_000;
const JSON_BODY = { 'content-type': 'application/json' };

/** Markup, an escape sequence, and a character that turns the reading direction: all of it must be seen as text. */
const HOSTILE = '<img src=x onerror=alert(1)>\u202egnp.exe\u0007';
const HOSTILE_SHOWN = '<img src=x onerror=alert(1)>\\u{202e}gnp.exe\\u{7}';

class Server {
  /** Starts the binary and waits for the line with its address. */
  static async start(listen = '127.0.0.1:0') {
    const child = spawn(BINARY, ['--ephemeral', '--workers', '2', '--listen', listen], { stdio: ['ignore', 'pipe', 'pipe'] });
    const server = new Server();
    server.child = child;
    server.log = [];
    server.ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    createInterface({ input: child.stderr }).on('line', (line) => { server.log = [...server.log.slice(-200), line]; });
    server.url = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const url = /https?:\/\/\S+/.exec(line)?.[0];
        if (url) resolve(url.endsWith('/') ? url : `${url}/`);
      });
      child.once('error', reject);
      server.ended.then(({ code, signal }) => reject(new Error(`the server ended at once (${code ?? signal}):\n${server.log.join('\n')}`)));
    });
    return server;
  }

  async kill(signal) {
    this.child.kill(signal);
    return this.ended;
  }
}

const steps = [];
const step = (name, run) => steps.push({ name, run });
const cell = (page, panel, column) => page.$$eval(`#${panel}-twin tbody [data-col="${column}"]`, (cells) => cells.map((c) => Number(c.textContent.replaceAll(',', ''))));
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** Asks in the page's own session, as its scripts do. */
const ask = (page, route) => page.evaluate(async (route_) => (await fetch(route_)).json(), route);

step('the page opens live, with all of it on one origin', async ({ page }) => {
  await page.waitForSelector('#pill[data-state="live"]');
  await page.waitForSelector('#nothing:not([hidden])');
  assert.match(await page.textContent('#nothing'), /Nothing runs/);
  assert.match(await page.textContent('#blocks'), /Genesis/);
  assert.match(await page.textContent('#sentence'), /0 of 2 workers busy/);
});

step('64 routines on 2 workers: turns rise, routines are stolen', async ({ page }) => {
  await page.click('#lanes [data-twin]');
  await page.waitForSelector('#lanes-twin tbody tr:nth-child(2)');
  const before = sum(await cell(page, 'lanes', 'turns'));
  await page.click('[data-launch="mine"] [data-more]');
  await page.fill('#mine-data', HOSTILE);
  await page.fill('#mine-goroutines', '64');
  await page.fill('#mine-difficulty', '19');
  assert.match(await page.textContent('#form-mine [data-curl]'), /^curl -X POST 'http:.*\\u202e/);
  await page.click('#form-mine [type="submit"]');
  await page.waitForSelector('#cards .card');
  await page.waitForFunction((least) => {
    const column = (name) => [...document.querySelectorAll(`#lanes-twin tbody [data-col="${name}"]`)].reduce((all, c) => all + Number(c.textContent.replaceAll(',', '')), 0);
    return column('turns') > least + 64 && column('stolen') > 0;
  }, before);
  await page.click('#lanes [data-twin]');
});

step('the blocks appear with their data, as text', async ({ page }) => {
  await page.waitForFunction((shown) => document.querySelector('#blocks').textContent.includes(shown), HOSTILE_SHOWN.slice(0, 40));
  await page.click('#blocks li:first-child button');
  const drawer = await page.textContent('#drawer');
  assert.ok(drawer.includes(`${HOSTILE_SHOWN}-worker-`), drawer);
  assert.match(drawer, /hashlib\.sha256/);
  assert.equal(await page.$$eval('.byte-field', (fields) => fields.length), 7);
  await page.keyboard.press('Escape');
  await page.waitForSelector('#drawer[hidden]', { state: 'attached' });
  assert.equal(await page.$$eval('img, iframe, object', (found) => found.length), 0, 'markup in data became an element');
});

step('the table twins agree with the API at rest', async ({ page }) => {
  await page.waitForSelector('#cards .card:not([data-state="running"])');
  await page.waitForFunction(() => /^0 of 2 workers busy/.test(document.querySelector('#sentence').textContent));
  await page.keyboard.press('t');
  const { workers } = await ask(page, '/api/v1/workers');
  await page.waitForFunction((wanted) => [...document.querySelectorAll('#lanes-twin tbody [data-col="stolen"]')].map((c) => c.textContent.replaceAll(',', '')).join() === wanted, workers.map((w) => w.stolen).join());
  for (const w of workers) assert.equal(w.turns, sum(Object.values(w.turns_by_source)));
  await page.click('#matrix-span [data-span="start"]');
  await page.waitForFunction((wanted) => [...document.querySelectorAll('#steals-twin tbody [data-col="stolen"]')].slice(0, 2).map((c) => c.textContent.replaceAll(',', '')).join() === wanted, workers.map((w) => w.stolen).join());
  await page.click('#matrix-span [data-span="run"]');
  await page.keyboard.press('t');
});

step('the chain verifies', async ({ page }) => {
  await page.click('#verify');
  await page.waitForSelector('#verdict.good');
  assert.match(await page.textContent('#verdict'), /^65 blocks, all hashes and links right/);
  await page.waitForFunction(() => /chain verified/.test(document.querySelector('#sentence').textContent));
});

step('a refusal stands at its field, in the words of the service', async ({ page, expectErrors }) => {
  expectErrors(/422/);
  await page.fill('#mine-goroutines', '10001');
  await page.click('#form-mine [type="submit"]');
  await page.waitForSelector('#mine-goroutines-error:not([hidden])');
  assert.match(await page.textContent('#mine-goroutines-error'), /between 1 and 10000/);
  assert.equal(await page.getAttribute('#mine-goroutines', 'aria-invalid'), 'true');
  await page.click('#form-mine [data-close]');
  expectErrors(null);
});

step('a race shows its chance as a curve, never a share of done', async ({ page }) => {
  await page.click('[data-launch="race"] [data-more]');
  await page.fill('#race-difficulty', '32');
  await page.click('#form-race [type="submit"]');
  await page.click('#form-race [data-close]');
  await page.waitForSelector('#cards .card .chance[points]', { state: 'attached' });
  await page.waitForFunction(() => /attempts [\d.]+ M, expected 4\.29 G, chance to have found by now \d+ %/.test(document.querySelector('#cards').textContent));
});

step('a CPU profile names what it cost', async ({ page }) => {
  await page.click('[data-take="cpu"]');
  await page.waitForSelector('#profile-progress:not([hidden])');
  await page.waitForSelector('#profile-canvas:not([hidden])');
  await page.click('#profile [data-twin]');
  await page.waitForFunction(() => /digest|compress|sha2|sha256/i.test(document.querySelector('#profile-twin tbody').textContent));
  await page.click('#profile [data-twin]');
  const link = await page.getAttribute('#profile-download', 'href');
  const head = await page.evaluate(async (href) => [...new Uint8Array(await (await fetch(href)).arrayBuffer()).slice(0, 2)], link);
  assert.deepEqual(head, [0x1f, 0x8b], 'the download is gzip');
});

step('frozen, the picture stands still, zooms and asks the server for single turns', async ({ page }) => {
  await page.focus('#lanes');
  await page.keyboard.press(' ');
  await page.waitForSelector('#pill[data-state="frozen"]');
  const box = await page.locator('#lanes-canvas').boundingBox();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.35);
  for (let i = 0; i < 8; i += 1) {
    const answered = page.waitForResponse((response) => response.url().includes('/api/v1/timeline'));
    await page.mouse.wheel(0, -120);
    const timeline = await (await answered).json();
    if (timeline.lanes.flat().some((c) => c[3] === 1)) break;
  }
  await page.waitForSelector('#tooltip:not([hidden])');
  await page.screenshot({ path: path.join(SHOTS, 'frozen.png') });
  await page.keyboard.press('Escape');
  await page.waitForSelector('#pill[data-state="live"]');
});

step('a live routine can be looked at, by its address too', async ({ page, url }) => {
  const { routines } = await ask(page, '/api/v1/routines?limit=5');
  assert.ok(routines.length > 0);
  const { id } = routines[routines.length - 1];
  await page.keyboard.press('/');
  await page.keyboard.type(id);
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => /Spawned at/.test(document.querySelector('#drawer').textContent));
  assert.equal(new URL(page.url()).searchParams.get('routine'), id);
  await page.screenshot({ path: path.join(SHOTS, 'routine.png') });
  const other = await page.context().newPage();
  await other.goto(`${url}?routine=${id}`);
  await other.waitForFunction((title) => document.querySelector('#drawer-title').textContent.startsWith(title), `Routine ${id}`);
  await other.close();
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !location.search.includes('routine'));
});

step('arrow keys move the cursor and its values are spoken', async ({ page }) => {
  await page.focus('#queues canvas');
  await page.keyboard.press('ArrowLeft');
  await page.waitForFunction(() => /worker 0 \d/.test(document.querySelector('#spoken').textContent));
});

step('memory that is held is shown, and the run is listed', async ({ page }) => {
  await page.click('[data-launch="stress"] [data-go]');
  await page.waitForFunction(() => [...document.querySelectorAll('#cards .card')].some((card) => /stress/.test(card.textContent)));
  await page.waitForFunction(() => /live\D*(1\d\d|2\d\d) MiB/.test(document.querySelector('#memory [data-readout]').textContent));
  await page.waitForFunction(() => /stress/.test(document.querySelector('#runs-table').textContent));
});

const WIDTHS = [['desktop', 1920, 1080], ['laptop', 1200, 800], ['phone', 390, 844]];

step('nothing scrolls sideways at any width, in both themes', async ({ page }) => {
  await page.fill('#search-text', '');
  await page.evaluate(() => window.scrollTo(0, 0));
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const [name, width, height] of WIDTHS) {
      await page.setViewportSize({ width, height });
      await page.waitForFunction((w) => document.documentElement.clientWidth === w, width);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${name} is ${wide} px wide`);
      await page.screenshot({ path: path.join(SHOTS, `${name}-${scheme}.png`) });
      if (name === 'desktop') {
        // The top of a 1080p screen answers all but the cost: rows 1 to 5 are there without scrolling.
        const bottom = await page.evaluate(() => document.querySelector('#waiting').getBoundingClientRect().top);
        assert.ok(bottom < 1080 - 150, `row 5 begins at ${bottom}`);
      }
    }
  }
  await page.setViewportSize({ width: 1600, height: 1000 });
  await page.emulateMedia({ colorScheme: 'light' });
});

step('a run is cancelled from its card', async ({ page }) => {
  const card = page.locator('#cards .card', { hasText: 'race' }).first();
  await card.getByRole('button').click();
  await page.waitForFunction(() => [...document.querySelectorAll('#cards .card')].some((c) => c.dataset.state === 'cancelled'));
});

step('hogs are started, seen in the lanes, and their witness is in the list', async ({ page }) => {
  await page.click('[data-launch="lab"] [data-more]');
  await page.fill('#lab-ms', '60');
  await page.click('#form-lab [type="submit"]');
  await page.waitForFunction(() => /spin, 16 routines/.test(document.querySelector('#cards').textContent));
  await page.waitForFunction(() => /spin: others .+ late/.test(document.querySelector('#runs-table').textContent));
  await page.keyboard.press('Escape');
});

step('blocking calls and deadlines have their panels', async ({ page }) => {
  await page.click('[data-launch="lab"] [data-more]');
  await page.selectOption('#lab-kind', 'blocking-pool');
  await page.fill('#lab-ms', '1500');
  await page.fill('#lab-routines', '12');
  await page.click('#form-lab [type="submit"]');
  await page.waitForFunction(() => /calls running12/.test(document.querySelector('#io [data-readout]').textContent));
  assert.match(await page.textContent('#io-figure'), /12 of at most \d+ threads/);
  await page.waitForFunction(() => /^[1-9][\d,]* served/.test(document.querySelector('#timers-figure').textContent));
  const { pool, timers } = await ask(page, '/api/v1/io');
  assert.equal(pool.submitted, pool.queued + pool.running + pool.done + pool.withdrawn);
  assert.ok(timers.served > 0);
  for (const panel of ['io', 'timers']) await page.locator(`#${panel}`).screenshot({ path: path.join(SHOTS, `${panel}.png`) });
  await page.selectOption('#lab-kind', 'spin');
  await page.click('#form-lab [data-close]');
});

step('stacks are told by spawn site, with advice', async ({ page }) => {
  await page.locator('#sites').scrollIntoViewIfNeeded();
  await page.waitForFunction(() => /workloads\/src\/\w+\.rs:\d+[\s\S]*of 64 KiB, (fits|smaller would do|larger is advised)/.test(document.querySelector('#sites-list').textContent));
  assert.match(await page.textContent('#sites-figure'), /64 KiB: [\d,]+ in use/);
  await page.click('#sites [data-twin]');
  const { sites } = await ask(page, '/api/v1/stacks');
  assert.ok((await page.$$eval('#sites-twin tbody tr', (rows) => rows.length)) > 0);
  for (const site of sites) assert.ok(site.high_water_bytes > 0 && site.advised_bytes >= 32768, JSON.stringify(site));
  await page.click('#sites [data-twin]');
  await page.locator('#sites').screenshot({ path: path.join(SHOTS, 'sites.png') });
});

step('the threads’ panel agrees with the API at rest', async ({ page }) => {
  const { monitor } = await ask(page, '/api/v1/threads');
  const said = monitor.state === 'off' ? /Nobody watches/ : /The monitor is (watching|asleep)/;
  assert.match(await page.textContent('#threads-figure'), said);
  await page.waitForFunction(() => /asked[\s\S]*gave way[\s\S]*frozen[\s\S]*taken in kernel[\s\S]*hostages/.test(document.querySelector('#threads [data-readout]').textContent));
  await page.locator('#threads').screenshot({ path: path.join(SHOTS, 'threads.png') });
});

step('a loop that is stopped, and a call in the kernel, have rows and words of their own', async ({ page, url }) => {
  const before = await (await fetch(`${url}api/v1/config`)).json();
  const patched = await fetch(`${url}api/v1/config`, { method: 'PATCH', headers: JSON_BODY, body: JSON.stringify({ preemption: 'forced', slice_ms: 2, hand_off: true }) });
  assert.ok(patched.ok || patched.status === 501);
  for (const kind of ['spin', 'blocking-call']) {
    const done = await fetch(`${url}api/v1/labs`, { method: 'POST', headers: JSON_BODY, body: JSON.stringify({ kind, routines: 8, ms: 40 }) });
    assert.ok(done.ok);
  }
  await page.click('#lanes [data-twin]');
  const whys = async () => page.$$eval('#absences-table tbody [data-col="why"]', (cells) => cells.map((c) => c.textContent));
  await page.waitForFunction(() => document.querySelectorAll('#absences-table tbody tr').length > 0);
  const { monitor } = await (await fetch(`${url}api/v1/threads`)).json();
  const seen = await whys();
  assert.ok(seen.every((why) => why === 'frozen' || why === 'in the kernel'));
  if (monitor.retaken > 0) assert.ok(seen.includes('in the kernel'));
  await page.click('#lanes [data-twin]');
  await page.click('#colour-by [data-mode="end"]');
  await page.waitForFunction(() => document.querySelectorAll('#lanes-legend button').length === 6);
  await page.locator('#lanes').screenshot({ path: path.join(SHOTS, 'ends.png') });
  await page.click('#colour-by [data-mode="source"]');
  await fetch(`${url}api/v1/config`, { method: 'PATCH', headers: JSON_BODY, body: JSON.stringify({ preemption: before.config.preemption, slice_ms: before.config.slice_ms, hand_off: before.config.hand_off }) });
});

step('the page says what it is and which homes are on', async ({ page, url }) => {
  const build = await (await fetch(`${url}api/v1/build`)).json();
  const said = await page.textContent('#about-facts');
  assert.ok(said.includes(build.homes.reason), said);
  assert.ok(said.includes(build.version), said);
});

step('a setting is changed, refused in the service’s words, and marked', async ({ page, expectErrors }) => {
  const slice = async () => (await ask(page, '/api/v1/config')).config.slice_ms;
  await page.fill('#config-slice_ms', '7');
  assert.match(await page.textContent('#config-curl'), /-X PATCH .*\{"slice_ms":7\}/);
  await page.click('#config-apply');
  await page.waitForFunction(() => /slice_ms 10 → 7/.test(document.querySelector('#config-past').textContent));
  assert.equal(await slice(), 7);
  expectErrors(/422/);
  await page.fill('#config-slice_ms', '700');
  await page.click('#config-apply');
  await page.waitForSelector('#config-slice_ms-error:not([hidden])');
  assert.match(await page.textContent('#config-slice_ms-error'), /between 1 and 100/);
  expectErrors(null);
  await page.click('#config-reset');
  assert.equal(await page.inputValue('#config-slice_ms'), '7');
  // What somebody else changes appears here too.
  await page.evaluate(() => fetch('/api/v1/config', { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: '{"slice_ms":10}' }));
  await page.waitForFunction(() => document.querySelector('#config-slice_ms').value === '10');
  await page.locator('#config').screenshot({ path: path.join(SHOTS, 'config.png') });
});

step('a bench shows its bars, and stays in the history', async ({ page, expectErrors }) => {
  const bench = async (name, rounds) => {
    await page.selectOption('#bench-name', name);
    await page.fill('#bench-rounds', String(rounds));
    await page.click('#bench-run');
  };
  expectErrors(/422/);
  await bench('skynet_10k', 21);
  await page.waitForSelector('#bench-rounds-error:not([hidden])');
  assert.match(await page.textContent('#bench-rounds-error'), /between 1 and 20/);
  expectErrors(null);
  await page.waitForSelector('#bench-blank:not([hidden])');
  for (const runs of [1, 2]) {
    await bench('create', 2);
    await page.waitForFunction((wanted) => document.querySelectorAll('#bench-columns li').length === wanted, runs);
  }
  const bars = await page.textContent('#bench-bars');
  assert.match(bars, /warm p50[\s\S]*openwork[\s\S]*std[\s\S]*openwork is 0\.\d\d of it/);
  assert.match(await page.textContent('#bench-about'), /commit .* workers · recorder on · 2 rounds/);
  await page.click('#bench-columns li:first-child button');
  assert.equal(await page.getAttribute('#bench-columns li:first-child button', 'aria-pressed'), 'true');
  await page.click('#bench [data-twin]');
  assert.equal(await page.$$eval('#bench-twin tbody tr', (rows) => rows.length), 2);
  await page.click('#bench [data-twin]');
  await page.waitForFunction(() => /bench/.test(document.querySelector('#runs-table').textContent));
  await page.locator('#bench').screenshot({ path: path.join(SHOTS, 'bench.png') });
});

step('a bench is cancelled at its progress', async ({ page }) => {
  await page.selectOption('#bench-name', 'timers_20k');
  await page.fill('#bench-rounds', '20');
  await page.click('#bench-run');
  await page.waitForSelector('#bench-progress:not([hidden])');
  await page.click('#bench-progress button');
  await page.waitForSelector('#bench-progress[hidden]', { state: 'attached' });
  await page.waitForFunction(() => [...document.querySelectorAll('#runs-table tr[data-state="cancelled"]')].some((row) => /bench/.test(row.textContent)));
  assert.equal(await page.isVisible('#bench .trouble'), false);
  await page.selectOption('#bench-name', 'create');
  await page.waitForFunction(() => document.querySelectorAll('#bench-columns li').length === 2);
});

step('a hidden tab gives its stream back and catches up when it is seen again', async ({ page }) => {
  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await hide(true);
  await page.waitForFunction(() => document.documentElement.dataset.connection === 'connecting');
  const missed = page.waitForResponse((response) => response.url().includes('/api/v1/history?since='));
  // What is missing for less than two seconds is not worth asking about.
  const { at_ns: left } = await ask(page, '/api/v1/workers');
  while ((await ask(page, '/api/v1/workers')).at_ns < left + 2.5e9) await page.waitForTimeout(100);
  await hide(false);
  await page.waitForSelector('#pill[data-state="live"]');
  const { reset, samples } = await (await missed).json();
  assert.equal(reset, false);
  assert.ok(samples.length > 0);
});

step('what curl starts appears at once, and says where it came from', async ({ page }) => {
  await page.evaluate(() => fetch('/mine', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"data":"by hand"}' }));
  await page.waitForFunction(() => /API/.test(document.querySelector('#cards').textContent));
  await page.waitForFunction(() => /by hand-worker-0/.test(document.querySelector('#blocks').textContent));
});

step('a picture for the README', async ({ page, picture }) => {
  if (!picture) return;
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.waitForFunction(() => document.querySelectorAll('#cards .card').length === 0);
  await page.evaluate(() => {
    document.activeElement.blur();
    window.scrollTo(0, 0);
    const headers = { 'Content-Type': 'application/json', Prefer: 'respond-async' };
    fetch('/mine', { method: 'POST', headers, body: JSON.stringify({ data: 'hello', goroutines: 64, difficulty: 23 }) });
  });
  // Far enough into the run for its beginning, and who took work from whom, to stand in the middle.
  await page.waitForFunction(() => {
    const run = /for ([\d.]+) s\D*(\d+) of 64 blocks/.exec(document.querySelector('#cards').textContent);
    return run && Number(run[1]) > 5.5 && Number(run[2]) > 0;
  });
  await page.screenshot({ path: PICTURE });
  const { size } = statSync(PICTURE);
  assert.ok(size < PICTURE_BYTES_MAX, `docs/dashboard.png is ${size} bytes`);
  await page.locator('#cards .card').first().getByRole('button').click();
  await page.emulateMedia({ colorScheme: 'light' });
});

step('a server killed under the page is noticed within 3 s, and the page lives on', async (test) => {
  const { page, expectErrors } = test;
  expectErrors(/ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_NETWORK/);
  await page.evaluate(() => { window.neverReloaded = true; });
  const at = Date.now();
  await test.server.kill('SIGKILL');
  await page.waitForSelector('#pill[data-state="waiting"]', { timeout: 3000 });
  test.note(`amber after ${Date.now() - at} ms`);
  test.server = await Server.start(new URL(test.url).host);
  const back = Date.now();
  await page.waitForSelector('#pill[data-state="live"]');
  test.note(`live again ${Date.now() - back} ms after the new start`);
  assert.match(await page.textContent('#pill'), /server restarted \d\d:\d\d:\d\d/);
  expectErrors(null);
  await page.waitForFunction(() => /Genesis/.test(document.querySelector('#blocks').textContent) && document.querySelectorAll('#blocks li').length === 1);
  await page.click('[data-launch="mine"] [data-go]');
  await page.waitForFunction(() => document.querySelectorAll('#blocks li').length > 1);
  assert.equal(await page.evaluate(() => window.neverReloaded), true);
  await page.screenshot({ path: path.join(SHOTS, 'restarted.png') });
});

step('a server that is stopped says so', async (test) => {
  const { page, expectErrors } = test;
  expectErrors(/ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|503/);
  const ended = test.server.kill('SIGTERM');
  await page.waitForSelector('#pill[data-state="stopped"]');
  assert.match(await page.textContent('#pill'), /Stopped \d\d:\d\d:\d\d by its owner/);
  assert.deepEqual(await ended, { code: 0, signal: null });
});

async function main() {
  for (const [what, file] of [['the service; run `cargo build --release`', BINARY], ['Chromium; set CHROMIUM', BROWSER]]) {
    if (!existsSync(file)) throw new Error(`${file} is missing (${what})`);
  }
  mkdirSync(SHOTS, { recursive: true });
  const profile = mkdtempSync(path.join(tmpdir(), 'openwork-browser-'));
  const server = await Server.start();
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: BROWSER,
    headless: true,
    viewport: { width: 1600, height: 1000 },
    colorScheme: 'dark',
    reducedMotion: 'no-preference',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const wrong = [];
  let expected = null;
  const { host } = new URL(server.url);
  context.on('request', (request) => {
    const to = new URL(request.url());
    if (to.protocol !== 'data:' && to.protocol !== 'blob:' && to.host !== host) wrong.push(`a request left the machine's service: ${request.url()}`);
  });
  context.on('console', (message) => {
    if (message.type() === 'error' && !expected?.test(message.text())) wrong.push(`console: ${message.text()} (${message.location().url})`);
  });
  context.on('weberror', (error) => wrong.push(`uncaught: ${error.error().stack}`));
  context.on('dialog', (dialog) => {
    wrong.push(`a dialog opened: ${dialog.message()}`);
    dialog.dismiss();
  });
  const page = context.pages()[0] ?? (await context.newPage());
  const test = { page, server, url: server.url, picture: process.argv.includes('--picture'), expectErrors: (pattern) => { expected = pattern; }, note: (words) => console.log(`    ${words}`) };
  let running = 'start';
  try {
    await page.goto(server.url);
    for (const { name, run } of steps) {
      running = name;
      const began = Date.now();
      await run(test);
      assert.deepEqual(wrong, []);
      console.log(`ok  ${name} (${Date.now() - began} ms)`);
    }
    console.log(`${steps.length} of ${steps.length} passed; screenshots in ${path.relative(process.cwd(), SHOTS)}`);
  } catch (error) {
    console.error(`not ok  ${running}\n${error.stack}`);
    if (wrong.length > 0) console.error(wrong.join('\n'));
    await page.screenshot({ path: path.join(SHOTS, 'failed.png'), fullPage: true }).catch(() => {});
    console.error(`the page as it was: ${path.join(SHOTS, 'failed.png')}\nlast lines of the server:\n${test.server.log.slice(-15).join('\n')}`);
    process.exitCode = 1;
  } finally {
    await context.close();
    await test.server.kill('SIGKILL');
    rmSync(profile, { recursive: true, force: true });
  }
}

await main();
