// What can be taken along: numbers as CSV, pictures with what is said of them as PNG, the address.

import {make} from './dom.js';
import {numbersOf, valueOf} from './measure.js';

/** Numbers of some images at all looks, a line each, as text. */
export function toCsv({series, images, order, target, unit}) {
  const names = numbersOf(series), quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const head = ['run', 'layer tag', 'image', 'fingerprint', 'truth', unit, 'answer', ...names].map(quoted).join(',');
  const lines = series.looks.flatMap((look) => order.filter((image) => image < look.shape[0]).map((image) => [
    ...[series.run, series.tag, image + 1, images.fingerprints[image], images.said[image], look.step, look.answers[image]].map(quoted),
    ...names.map((name) => valueOf(look, name, image, target) ?? ''),
  ].join(',')));
  return [head, ...lines].join('\n') + '\n';
}

const LINE = 18, MARGIN = 8; // pixels

/** Canvases beside each other over lines of words, as one. */
export function withWords(canvases, words) {
  const width = canvases.reduce((sum, canvas) => sum + canvas.width + MARGIN, MARGIN);
  const high = Math.max(...canvases.map((canvas) => canvas.height)), height = high + 2 * MARGIN + LINE * words.length;
  const made = make('canvas', {width, height}), context = made.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  canvases.reduce((left, canvas) => {
    context.drawImage(canvas, left, MARGIN);
    return left + canvas.width + MARGIN;
  }, MARGIN);
  context.fillStyle = '#202124';
  context.font = '13px system-ui, sans-serif';
  words.forEach((line, place) => context.fillText(line, MARGIN, high + MARGIN + LINE * (place + 1) - 4, width - 2 * MARGIN));
  return made;
}

/** Hand the browser a file to keep. */
export function download(name, blob) {
  const link = make('a', {href: URL.createObjectURL(blob), download: name.replace(/[^\w.-]+/g, '_')});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
