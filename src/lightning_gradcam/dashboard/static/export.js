// What can be taken along: numbers as CSV, what is shown as SVG or PNG with its words, and a time-lapse as WebP.

import {draw, make} from './dom.js';
import {numbersOf, valueOf} from './measure.js';
import {animated} from './webp.js';

/** Numbers of some images at all looks, a line each, as text. */
export function toCsv({series, images, order, target, unit, box}) {
  const names = numbersOf(series, box), quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const head = ['run', 'layer tag', 'image', 'fingerprint', 'truth', unit, 'answer', ...names].map(quoted).join(',');
  const lines = series.looks.flatMap((look) => order.filter((image) => image < look.shape[0]).map((image) => [
    ...[series.run, series.tag, image + 1, images.fingerprints[image], images.said[image], look.step, look.answers[image]].map(quoted),
    ...names.map((name) => valueOf(look, name, image, target, box) ?? ''),
  ].join(',')));
  return [head, ...lines].join('\n') + '\n';
}

const LINE = 17, MARGIN = 10, FONT = 'system-ui, sans-serif', WRONG = '#c5221f'; // pixels

/**
 * Rows of pictures over their words, under a title, as one SVG that needs nothing else.
 *
 * title: lines of text. rows: lists of {canvas, words: lines of text, wrong}.
 */
export function sheet(title, rows) {
  const parts = title.map((line, at) => text(line, MARGIN, MARGIN + LINE * (at + 1) - 4, at === 0 && 'bold'));
  let top = 2 * MARGIN + LINE * title.length, width = 320;
  for (const row of rows) {
    let left = MARGIN;
    const high = Math.max(...row.map(({canvas}) => canvas.height)), lines = Math.max(...row.map(({words}) => words.length));
    for (const {canvas, words, wrong} of row) {
      parts.push(image(canvas, left, top));
      if (wrong) parts.push(draw('rect', {x: left - 2, y: top - 2, width: canvas.width + 4, height: canvas.height + 4, fill: 'none', stroke: WRONG, 'stroke-width': 3, 'stroke-dasharray': '8 4'}));
      words.forEach((line, at) => parts.push(text(shortened(line, canvas.width), left, top + high + LINE * (at + 1) - 2)));
      left += canvas.width + MARGIN;
    }
    width = Math.max(width, left);
    top += high + LINE * lines + MARGIN;
  }
  return page(width, top, parts);
}

const RULES = '.rule{stroke:#dadce0;stroke-dasharray:2 3}.paper{fill:none;stroke:#80868b}.line{fill:none;stroke-width:2}'
  + '.flip{stroke:#c5221f;stroke-width:2}.brush{fill:#1a73e8;opacity:.18}.drift{fill:#202124}.now{stroke:#5f6368;stroke-dasharray:3 3}text{fill:#202124}';

/** The overview's lines and its matrix as one SVG. */
export function overviewSheet({lines, matrix, left, top, width, height, words, names}) {
  const head = MARGIN + LINE * (words.length + 1);
  const shown = draw('g', {transform: `translate(0 ${head})`, 'font-size': 11}, ...[...lines.childNodes].map((one) => one.cloneNode(true)));
  const rows = image(matrix, left, head + top, matrix.clientWidth || width - left, matrix.clientHeight || height - top);
  let at = MARGIN;
  const key = names.flatMap(({label, colour}) => {
    const mark = draw('rect', {x: at, y: head - LINE + 4, width: 14, height: 4, fill: colour}), name = text(label, at + 20, head - LINE + 10);
    at += 40 + 7 * label.length;
    return [mark, name];
  });
  return page(width, head + height + MARGIN, [draw('style', {}, RULES), ...words.map((line, place) => text(line, MARGIN, MARGIN + LINE * place + 8)), ...key, shown, rows]);
}

function page(width, height, parts) {
  return draw('svg', {xmlns: 'http://www.w3.org/2000/svg', width, height, viewBox: `0 0 ${width} ${height}`, 'font-family': FONT, 'font-size': 13},
    draw('rect', {width, height, fill: '#fff'}), ...parts);
}

const text = (line, x, y, weight) => draw('text', {x, y, fill: '#202124', ...(weight ? {'font-weight': weight} : {})}, line);

const image = (canvas, x, y, width = canvas.width, height = canvas.height) =>
  draw('image', {x, y, width, height, href: canvas.toDataURL(), preserveAspectRatio: 'none', style: 'image-rendering: pixelated'});

const shortened = (line, width) => line.length * 7 > width ? `${line.slice(0, Math.max(1, Math.floor(width / 7) - 1))}…` : line;

/** An SVG as a file. */
export const svgFile = (svg) => new Blob([new XMLSerializer().serializeToString(svg)], {type: 'image/svg+xml'});

/** The same as pixels. */
export async function pngFile(svg) {
  const url = URL.createObjectURL(svgFile(svg));
  try {
    return await blobOf(await drawn(url, svg), 'image/png');
  } finally {
    URL.revokeObjectURL(url);
  }
}

async function drawn(url, svg) {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  const canvas = make('canvas', {width: Math.ceil(svg.getAttribute('width')), height: Math.ceil(svg.getAttribute('height'))});
  canvas.getContext('2d').drawImage(picture, 0, 0);
  return canvas;
}

const blobOf = (canvas, type, quality) => new Promise((done) => { canvas.toBlob(done, type, quality); });

/**
 * Sheets, one a frame, as an animated WebP.
 *
 * Raises an error where the browser writes no WebP (Safari does not).
 */
export async function webpFile(frames, seconds, told) {
  const stills = [];
  for (const frame of frames) {
    const svg = await frame(), url = URL.createObjectURL(svgFile(svg));
    const still = await blobOf(await drawn(url, svg), 'image/webp', 0.8).finally(() => URL.revokeObjectURL(url));
    if (still?.type !== 'image/webp') throw new Error('this browser writes no WebP; Chrome and Firefox do');
    stills.push(new Uint8Array(await still.arrayBuffer()));
    told(stills.length);
  }
  return new Blob([animated(stills, Math.round(1000 * seconds))], {type: 'image/webp'});
}

/** Hand the browser a file to keep. */
export function download(name, blob) {
  const link = make('a', {href: URL.createObjectURL(blob), download: name.replace(/[^\w.-]+/g, '_')});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
