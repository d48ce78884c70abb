// Building elements. Text goes in as text; there is no way to pass markup.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/**
 * el('a', { href: '#lanes', class: 'quiet', onclick: f }, 'text', child). A property beginning with `on` is a
 * listener, everything else an attribute; `false`, `null` and `undefined` leave the attribute out.
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Sets text only when it differs: a selection in it, and a screen reader's place, are left alone. */
export function text(element, value) {
  if (element && element.textContent !== value) element.textContent = value;
}

/** Says something to a screen reader, at most a few times a second. */
let speaking = null;
export function speak(words) {
  clearTimeout(speaking);
  speaking = setTimeout(() => text($('#spoken'), words), 150);
}

/** Copies text; where the clipboard is closed to the page (plain http to another machine) by way of a selection. */
export async function copy(words, button) {
  let done = false;
  try {
    await navigator.clipboard.writeText(words);
    done = true;
  } catch {
    const area = el('textarea', { class: 'offscreen', 'aria-hidden': 'true' });
    area.value = words;
    document.body.append(area);
    area.select();
    done = document.execCommand('copy');
    area.remove();
    button?.focus();
  }
  if (button) {
    const label = button.dataset.label ?? (button.dataset.label = button.textContent);
    text(button, done ? 'Copied' : 'Select and copy');
    setTimeout(() => text(button, label), 1600);
  }
}
