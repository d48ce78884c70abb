// What a pointer and the keyboard do in a picture of time: move the one cursor, pan and zoom what is frozen.

import { speak } from './dom.js';

/**
 * @param canvas the element  @param view the shared view
 * @param plot () => [left, right] of the time axis, in CSS pixels of the canvas
 * @param say (time) => the values at that time, in words
 */
export function follow(canvas, { view, plot, say, onMove = () => {}, onPress = () => {}, onLeave = () => {} }) {
  const timeAt = (x) => {
    const [left, right] = plot();
    const [from, to] = view.range();
    return from + ((x - left) / (right - left)) * (to - from);
  };
  const perPixel = () => {
    const [left, right] = plot();
    const [from, to] = view.range();
    return (to - from) / (right - left);
  };
  let drag = null;

  canvas.addEventListener('pointermove', (event) => {
    const { offsetX: x, offsetY: y } = event;
    if (drag && drag.id === event.pointerId) {
      const moved = x - drag.x;
      if (!drag.panning && Math.abs(moved) > 6) {
        drag.panning = true;
        canvas.setPointerCapture(event.pointerId);
        canvas.classList.add('panning');
        view.freeze(true);
      }
      if (drag.panning) {
        view.pan(-moved * perPixel());
        drag.x = x;
        return;
      }
    }
    const [left, right] = plot();
    view.setCursor(x >= left && x <= right ? timeAt(x) : null);
    onMove(x, y, timeAt(x));
  });
  canvas.addEventListener('pointerdown', (event) => {
    if (event.button === 0) drag = { id: event.pointerId, x: event.offsetX, panning: false };
  });
  const release = (event) => {
    if (!drag || drag.id !== event.pointerId) return;
    const { panning } = drag;
    drag = null;
    canvas.classList.remove('panning');
    if (!panning && event.type === 'pointerup') onPress(event.offsetX, event.offsetY, timeAt(event.offsetX));
  };
  canvas.addEventListener('pointerup', release);
  canvas.addEventListener('pointercancel', release);
  canvas.addEventListener('pointerleave', () => {
    view.setCursor(null);
    onLeave();
  });
  canvas.addEventListener('wheel', (event) => {
    // Live, the wheel scrolls the page: a picture that ran away from under the pointer could not be zoomed anyway.
    if (!view.frozen) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(event.deltaX * perPixel());
    else view.zoom(Math.exp(Math.sign(event.deltaY) * Math.min(60, Math.abs(event.deltaY)) * 0.006), timeAt(event.offsetX));
  }, { passive: false });
  canvas.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [from, to] = view.range();
    const step = (to - from) / (event.shiftKey ? 10 : 100);
    const here = view.cursor ?? to;
    const moves = { ArrowLeft: here - step, ArrowRight: here + step, Home: from, End: to };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const time = Math.min(to, Math.max(from, moves[event.key]));
    view.setCursor(time);
    speak(say(time));
  });
  canvas.addEventListener('blur', () => view.setCursor(null));
}
