// Heat over pictures: all that a canvas shows comes in by arguments.

import {enlarged, levelOf} from './measure.js';

const FINE = 56; // places along a side that a map is enlarged to before it is coloured
const scratch = document.createElement('canvas'); // what is coloured, written anew by each use
const scratchContext = scratch.getContext('2d', {willReadFrequently: true});

/** A canvas of a picture's sides, the longer one so long. */
export function canvasFor(picture, longest) {
  const [width, height] = picture ? [picture.naturalWidth, picture.naturalHeight] : [1, 1];
  const scale = longest / Math.max(width, height), side = (length) => Math.max(1, Math.round(length * scale));
  return Object.assign(document.createElement('canvas'), {width: side(width), height: side(height)});
}

/** Draw a picture, and over it a map, {values, h, w, share}, if there is one. */
export function paint(canvas, picture, map, palette) {
  const level = map && levelOf(map);
  paintOver(canvas, picture, map && ((rows, columns) => enlarged(map, rows, columns).map(level)), map ?? {}, palette);
}

/** Draw a picture, and over it how much more heat there is than there was, from one map to another. */
export function paintChange(canvas, picture, before, after, palette) {
  const [was, is] = [levelOf(before), levelOf(after)], h = Math.max(before.h, after.h), w = Math.max(before.w, after.w);
  paintOver(canvas, picture, (rows, columns) => {
    const first = enlarged(before, rows, columns);
    return Float32Array.from(enlarged(after, rows, columns), (value, at) => 127.5 + (is(value) - was(first[at])) / 2);
  }, {h, w}, palette);
}

function paintOver(canvas, picture, levels, {h, w}, palette) {
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (picture) context.drawImage(sized(picture, canvas.width, canvas.height), 0, 0);
  if (!levels) return;
  const columns = Math.max(w, Math.round(FINE * Math.min(1, w / h))), rows = Math.max(h, Math.round(FINE * Math.min(1, h / w)));
  if (scratch.width !== columns || scratch.height !== rows) Object.assign(scratch, {width: columns, height: rows});
  const pixels = scratchContext.createImageData(columns, rows), words = new Uint32Array(pixels.data.buffer);
  levels(rows, columns).forEach((level, at) => { words[at] = palette[Math.max(0, Math.min(255, Math.round(level)))]; });
  scratchContext.putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
}

const sizedPictures = new WeakMap();

/** The picture as large as it is shown, kept: scaling it anew in each frame is what playback would wait for. */
function sized(picture, width, height) {
  const kept = sizedPictures.get(picture) ?? new Map();
  sizedPictures.set(picture, kept);
  const key = `${width}x${height}`;
  if (!kept.has(key)) {
    if (kept.size > 4) kept.clear();
    const canvas = Object.assign(document.createElement('canvas'), {width, height});
    const context = canvas.getContext('2d');
    context.imageSmoothingEnabled = width < picture.naturalWidth;
    context.imageSmoothingQuality = 'high';
    context.drawImage(picture, 0, 0, width, height);
    kept.set(key, canvas);
  }
  return kept.get(key);
}
