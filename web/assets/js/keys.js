// Keys for the whole page. A key typed into a field is the field's.

import { $, $$ } from './dom.js';

const PANELS = ['lanes', 'queues', 'steals', 'waiting', 'rate', 'memory', 'stacks', 'chain', 'profile'];

export function keys({ view, launch, drawer, toggleTables, toggleProjector }) {
  const help = $('#help-dialog');
  $('#help').addEventListener('click', () => help.showModal());

  const actions = {
    ' ': () => view.freeze(),
    m: () => launch.go('mine'),
    r: () => launch.go('race'),
    t: toggleTables,
    p: toggleProjector,
    '/': () => {
      $('#lanes').scrollIntoView({ block: 'nearest' });
      $('#search-text').focus();
    },
    '?': () => help.showModal(),
    '+': () => view.zoom(0.5),
    '=': () => view.zoom(0.5),
    '-': () => view.zoom(2),
  };

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const { target } = event;
    const typing = target.closest?.('input, select, textarea, [contenteditable]');
    if (event.key === 'Escape') {
      if (typing) target.blur();
      else if (drawer.isOpen) drawer.close();
      else if ($$('.launch-form').some((form) => !form.hidden)) for (const form of $$('.launch-form')) launch.toggle(form.dataset.launch, false);
      else if (view.frozen) view.freeze(false);
      return;
    }
    if (typing || event.defaultPrevented) return;
    // Space on a button or link is that button's.
    if (event.key === ' ' && target.closest?.('button, a, summary')) return;
    if (/^[1-9]$/.test(event.key)) {
      const panel = document.getElementById(PANELS[Number(event.key) - 1]);
      panel.scrollIntoView({ block: 'start' });
      panel.focus({ preventScroll: true });
      return;
    }
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || (event.repeat && event.key !== '+' && event.key !== '-')) return;
    event.preventDefault();
    action();
  });
}
