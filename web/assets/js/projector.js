// For a lecture: larger type, thicker lines, no drawer, and a halo that shows the back row where the pointer is.

import { $ } from './dom.js';
import { theme } from './theme.js';

export function projector({ drawer }) {
  const button = $('#projector');
  const halo = $('#halo');
  const toggle = () => {
    const on = document.documentElement.classList.toggle('projecting');
    button.setAttribute('aria-pressed', String(on));
    halo.hidden = !on;
    if (on) drawer.close();
    theme.changed();
  };
  button.addEventListener('click', toggle);
  document.addEventListener('pointermove', ({ clientX, clientY }) => {
    if (!halo.hidden) halo.style.transform = `translate(${clientX}px, ${clientY}px)`;
  });
  return toggle;
}
