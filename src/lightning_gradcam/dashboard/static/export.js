// What can be taken along: numbers as CSV, what is shown as SVG or PNG with its words, and a time-lapse as WebP.

import {draw, make} from './dom.js';
import {numbersOf, valueOf} from './measure.js';
import {animated} from './webp.js';

/** Numbers of some images at all looks, a line each, as text. */
export function toCsv({series, images, order, target, unit, box}) {
  const names = numbersOf(series, images, box), quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const head = ['run', 'layer tag', 'image', 'fingerprint', 'truth', unit, 'answer', ...names].map(quoted).join(',');
  const lines = series.looks.flatMap((look) => order.filter((image) => image < look.shape[0]).map((image) => [
    ...[series.run, series.tag, image + 1, images.fingerprints[image], images.said[image], look.step, look.answers[image]].map(quoted),
    ...names.map((name) => valueOf(look, name, image, target, box) ?? ''),
  ].join(',')));
  return [head, ...lines].join('\n') + '\n';
}

const LINE = 17, MARGIN = 10, FONT = '13px system-ui, sans-serif', WRONG = '#c5221f', INK = '#202124'; // pixels

/**
 * Rows of pictures over their words, under a title and what the colours mean, as one SVG that needs nothing else.
 *
 * title: lines of text. rows: lists of {canvas, words, wrong}. keys: [{colours, before, after}], a scale each between two
 * words. lines: of words that a row has room for; without it as many as they take.
 */
export function sheet(title, rows, keys, lines = 0) {
  const width = Math.max(360, ...rows.map((row) => row.reduce((sum, {canvas}) => sum + canvas.width + MARGIN, MARGIN)));
  const head = title.flatMap((line) => wrapped(line, width - 2 * MARGIN)), parts = head.map((line, at) => text(line, MARGIN, MARGIN + LINE * (at + 1) - 4, at === 0));
  let top = MARGIN + LINE * head.length + MARGIN / 2;
  for (const key of keys) {
    parts.push(...scale(key, top));
    top += LINE + MARGIN / 2;
  }
  for (const row of rows) {
    let left = MARGIN;
    const high = Math.max(...row.map(({canvas}) => canvas.height)), said = row.map(({canvas, words}) => words.flatMap((line) => wrapped(line, canvas.width)));
    const room = lines || Math.max(...said.map((of) => of.length));
    row.forEach(({canvas, wrong}, place) => {
      parts.push(image(canvas, left, top));
      if (wrong) parts.push(draw('rect', {x: left - 2, y: top - 2, width: canvas.width + 4, height: canvas.height + 4, fill: 'none', stroke: WRONG, 'stroke-width': 3, 'stroke-dasharray': '8 4'}));
      said[place].slice(0, room).forEach((line, at) => parts.push(text(line, left, top + high + LINE * (at + 1) - 2)));
      left += canvas.width + MARGIN;
    });
    top += high + LINE * room + MARGIN;
  }
  return page(width, top, parts);
}

/** A scale of colours, [r, g, b] or null for none each, between two words. */
function scale({colours, before, after}, top) {
  const left = MARGIN + widthOf(before) + 8, cell = 96 / colours.length;
  return [text(before, MARGIN, top + LINE - 5), text(after, left + 96 + 8, top + LINE - 5),
    ...colours.flatMap((colour, at) => colour ? [draw('rect', {x: left + at * cell, y: top + 3, width: cell + 0.3, height: 10, fill: `rgb(${colour})`})] : [])];
}

const RULES = '.rule{stroke:#dadce0;stroke-dasharray:2 3}.paper{fill:none;stroke:#80868b}.line{fill:none;stroke-width:2}'
  + '.flip{stroke:#c5221f;stroke-width:2}.brush{fill:#1a73e8;opacity:.18}.drift{fill:#202124}.now{stroke:#5f6368;stroke-dasharray:3 3}text{fill:#202124}';

/** The overview's lines and its matrix as one SVG, from what `Overview.picture` says. */
export function overviewSheet({lines, matrix, left, top, width, height, words, names, colours, range}) {
  const said = words.flatMap((line) => wrapped(line, width - 2 * MARGIN)), key = [];
  let [at, down] = [MARGIN, MARGIN + LINE * said.length + LINE];
  for (const {label, colour, dash} of names) {
    const wide = 34 + widthOf(label);
    if (at > MARGIN && at + wide > width) [at, down] = [MARGIN, down + LINE];
    key.push(draw('line', {x1: at, x2: at + 18, y1: down - 6, y2: down - 6, stroke: colour, 'stroke-width': 4, 'stroke-dasharray': dash}), text(label, at + 24, down - 1));
    at += wide + 10;
  }
  const head = down + MARGIN;
  const shown = draw('g', {transform: `translate(0 ${head})`, 'font-size': 11}, ...[...lines.childNodes].map((one) => one.cloneNode(true)));
  const rows = image(matrix, left, head + top, matrix.clientWidth || width - left, matrix.clientHeight || height - top);
  const ends = scale({colours, before: range[0], after: range[1]}, head + height + 4);
  return page(width, head + height + LINE + MARGIN, [draw('style', {}, RULES), ...said.map((line, place) => text(line, MARGIN, MARGIN + LINE * place + 8)), ...key, shown, rows, ...ends]);
}

function page(width, height, parts) {
  return draw('svg', {xmlns: 'http://www.w3.org/2000/svg', width, height, viewBox: `0 0 ${width} ${height}`, style: `font: ${FONT}`},
    draw('rect', {width, height, fill: '#fff'}), ...parts);
}

const unwritable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g; // in XML

const text = (line, x, y, isBold = false) => draw('text', {x, y, fill: INK, ...(isBold ? {'font-weight': 'bold'} : {})}, String(line).replace(unwritable, '\ufffd'));

const image = (canvas, x, y, width = canvas.width, height = canvas.height) =>
  draw('image', {x, y, width, height, href: canvas.toDataURL(), preserveAspectRatio: 'none', style: 'image-rendering: pixelated'});

const measuring = make('canvas').getContext('2d');

function widthOf(line) {
  measuring.font = FONT;
  return measuring.measureText(line).width;
}

/** A text in lines of so many pixels, broken between words, or within one that has no room. */
export function wrapped(line, width) {
  const lines = [''];
  for (const word of String(line).split(/(?<= )/)) {
    if (lines.at(-1) && widthOf(lines.at(-1) + word.trimEnd()) > width) lines.push('');
    for (const letter of word) {
      if (lines.at(-1) && widthOf(lines.at(-1) + letter.trimEnd()) > width) lines.push('');
      lines[lines.length - 1] += letter;
    }
  }
  return lines.map((one) => one.trimEnd()).filter(Boolean);
}

/** An SVG as a file. */
export const svgFile = (svg) => new Blob([new XMLSerializer().serializeToString(svg)], {type: 'image/svg+xml'});

/** The same as pixels, twice as many a side: for paper. */
export const pngFile = async (svg) => blobOf(await drawn(svg, 2), 'image/png');

async function drawn(svg, times) {
  const picture = new Image(), url = URL.createObjectURL(svgFile(svg));
  try {
    picture.src = url;
    await picture.decode();
  } finally {
    URL.revokeObjectURL(url);
  }
  const [width, height] = ['width', 'height'].map((side) => Math.ceil(times * svg.getAttribute(side)));
  const canvas = make('canvas', {width, height});
  canvas.getContext('2d').drawImage(picture, 0, 0, width, height);
  return canvas;
}

async function blobOf(canvas, type, quality) {
  const blob = await new Promise((done) => { canvas.toBlob(done, type, quality); });
  if (!blob) throw new Error(`${canvas.width} x ${canvas.height} pixels are more than this browser draws: filter images, or save an SVG`);
  if (blob.type !== type) throw new Error(`this browser writes no ${type}; Chrome and Firefox do`);
  return blob;
}

/**
 * Sheets, made by a function a frame, as an animated WebP; `told` hears of each.
 *
 * Raises an error where the browser writes no WebP (Safari does not).
 */
export async function webpFile(frames, seconds, told) {
  const stills = [];
  for (const frame of frames) {
    const still = await blobOf(await drawn(await frame(), 1), 'image/webp', 0.8);
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
