// Heat over pictures: all that a canvas shows comes in by arguments.

const FINE = 56; // places along a side that a map is enlarged to before it is coloured
const scratch = document.createElement('canvas');
const scratchContext = scratch.getContext('2d', {willReadFrequently: true});

/** A canvas of a picture's sides, the longer one so long. */
export function canvasFor(picture, longest) {
  const [width, height] = picture ? [picture.naturalWidth, picture.naturalHeight] : [1, 1];
  const scale = longest / Math.max(width, height), side = (length) => Math.max(1, Math.round(length * scale));
  return Object.assign(document.createElement('canvas'), {width: side(width), height: side(height)});
}

/** Draw a picture, and over it a map, {values, h, w, share}, if there is one. */
export function paint(canvas, picture, map, palette) {
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (picture) context.drawImage(sized(picture, canvas.width, canvas.height), 0, 0);
  if (!map) return;
  heat(map, palette);
  context.imageSmoothingEnabled = true;
  context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
}

/** What a map's values, 0..255, are shifted and multiplied by; without a share it fills its own range. */
export function rangeOf({values, share}) {
  if (share !== null) return {low: 0, factor: share};
  let low = 255, high = 0;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  if (high === low) low = 0; // alike everywhere: full heat, not none
  return {low, factor: 255 / Math.max(1, high - low)};
}

function heat(map, palette) {
  const {values, h, w} = map, {low, factor} = rangeOf(map);
  const columns = Math.max(w, Math.round(FINE * Math.min(1, w / h))), rows = Math.max(h, Math.round(FINE * Math.min(1, h / w)));
  if (scratch.width !== columns || scratch.height !== rows) Object.assign(scratch, {width: columns, height: rows});
  const pixels = scratchContext.createImageData(columns, rows), words = new Uint32Array(pixels.data.buffer);
  for (let y = 0, at = 0; y < rows; y++) {
    const v = Math.min(h - 1, Math.max(0, (y + 0.5) * h / rows - 0.5)), top = Math.floor(v), down = v - top;
    const upper = top * w, lower = Math.min(h - 1, top + 1) * w;
    for (let x = 0; x < columns; x++, at++) {
      const u = Math.min(w - 1, Math.max(0, (x + 0.5) * w / columns - 0.5)), left = Math.floor(u), across = u - left;
      const right = Math.min(w - 1, left + 1);
      const value = (values[upper + left] * (1 - across) + values[upper + right] * across) * (1 - down)
        + (values[lower + left] * (1 - across) + values[lower + right] * across) * down;
      words[at] = palette[Math.max(0, Math.min(255, Math.round((value - low) * factor)))];
    }
  }
  scratchContext.putImageData(pixels, 0, 0);
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
