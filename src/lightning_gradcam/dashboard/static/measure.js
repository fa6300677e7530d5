// Numbers of looks and what becomes of them over the epochs; nothing here draws, or keeps anything.

import {indexOf, numberOf} from './series.js';

// numbers of the tab's own, besides those that a run has logged
export const WRONG = 'wrong';
export const CONFIDENCE = 'confidence'; // what captions say in percent
export const CHANGE = 'change'; // of two views that stand beside each other
export const IN_BOX = 'in_box'; // of a box that is drawn on a picture
const OWN = {
  [WRONG]: {
    says: 'Whether the prediction is wrong: 1, or 0 where it is right.', direction: 'Less is better; its mean is the share of wrong ones.',
    chance: 'Of K classes that are as frequent, 1 - 1/K.', failing: 'It does not say how sure a model was.',
  },
  [CONFIDENCE]: {
    says: 'What the caption says in percent: the score of the predicted class.', direction: 'More is surer, 0 to 1.',
    chance: 'Of K classes, 1/K.', failing: 'Networks are surer than they are right.',
  },
  [CHANGE]: {
    says: 'How far two maps that stand beside each other are apart: 1 - their cosine similarity.',
    direction: 'More is farther: 0 is the same, 1 is elsewhere altogether.', chance: 'No level.',
    failing: 'Where the two explain other classes, it is the change of class as well.',
  },
  [IN_BOX]: {
    says: 'Heat in the box that is drawn: its share of the map\'s sum, by exact areas.', direction: 'More is more of it there, 0 to 1.',
    chance: 'The box\'s share of the image, of heat that is everywhere alike.', failing: 'A box is at the same place in all images, whatever is in them.',
  },
};

/** What has to be known to read a number, {says, direction, chance, failing}, or null: `images` are of the run. */
export function wordsOf(name, images) {
  if (Object.hasOwn(OWN, name)) return OWN[name];
  return images?.metrics && Object.hasOwn(images.metrics, name) ? images.metrics[name] : null;
}

/** All of that in one line. */
export const toldOf = ({says, direction, chance, failing}) => `${says} ${direction} By chance: ${chance} Mind: ${failing}`;

/** How alike two maps are, 0..1, on the finer one's places; null where one is blank. */
export function cosine(one, other) {
  if (!one || !other) return null;
  const h = Math.max(one.h, other.h), w = Math.max(one.w, other.w), a = enlarged(one, h, w), b = enlarged(other, h, w);
  let [both, first, second] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    both += a[i] * b[i];
    first += a[i] ** 2;
    second += b[i] ** 2;
  }
  return first && second ? both / Math.sqrt(first * second) : null;
}

/** A map, {values, h, w}, at other places, row by row, its places' middles joined by straight lines. */
export function enlarged({values, h, w}, rows, columns) {
  if (rows === h && columns === w) return Float32Array.from(values);
  const made = new Float32Array(rows * columns);
  for (let y = 0, at = 0; y < rows; y++) {
    const v = Math.min(h - 1, Math.max(0, (y + 0.5) * h / rows - 0.5)), top = Math.floor(v), down = v - top;
    const upper = top * w, lower = Math.min(h - 1, top + 1) * w;
    for (let x = 0; x < columns; x++, at++) {
      const u = Math.min(w - 1, Math.max(0, (x + 0.5) * w / columns - 0.5)), left = Math.floor(u), across = u - left;
      const right = Math.min(w - 1, left + 1);
      made[at] = (values[upper + left] * (1 - across) + values[upper + right] * across) * (1 - down)
        + (values[lower + left] * (1 - across) + values[lower + right] * across) * down;
    }
  }
  return made;
}

/** A map's value, 0..255, as the level that it is drawn at: the share of a peak, or of the map's own range. */
export function levelOf({values, share}) {
  if (share !== null) return (value) => value * share;
  let low = 255, high = 0;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  if (high === low) low = 0; // alike everywhere: full heat, not none
  const factor = 255 / Math.max(1, high - low);
  return (value) => (value - low) * factor;
}

/** The mean of maps of one shape, {values, h, w, share}, each as strong as it is drawn; null where there is none. */
export function meanMap(maps) {
  if (!maps.length) return null;
  const [{h, w}] = maps, values = new Float32Array(h * w);
  for (const map of maps) {
    const level = levelOf(map);
    for (let i = 0; i < values.length; i++) values[i] += level(map.values[i]) / maps.length;
  }
  return {values, h, w, share: 1};
}

/** A box as an address says it, [left, top, right, bottom] as parts of the picture's sides; null where it is none. */
export function boxOf(text) {
  const box = text.split(',').map(Number);
  const fits = box.length === 4 && box.every((side) => side >= 0 && side <= 1) && box[2] > box[0] && box[3] > box[1];
  return text && fits ? box : null;
}

/** The share of a map's heat within a box, each place by its area inside, 0..1; null where there is no heat. */
export function shareIn({values, h, w}, [left, top, right, bottom]) {
  const inside = (places, low, high) => Array.from({length: places},
    (_, place) => Math.max(0, Math.min(place + 1, high * places) - Math.max(place, low * places)));
  const rows = inside(h, top, bottom), columns = inside(w, left, right);
  let [sum, all] = [0, 0];
  for (let y = 0, at = 0; y < h; y++) {
    for (let x = 0; x < w; x++, at++) {
      all += values[at];
      sum += values[at] * rows[y] * columns[x];
    }
  }
  return all ? sum / all : null;
}

/** The numbers that a series has, the tab's own among them: what is wrong, and how sure, is told of classes alone. */
export function numbersOf(series, images, box = null) {
  if (!series.looks.length) return [];
  const isOfClasses = ['', 'binary', 'multiclass', 'multilabel'].includes(images?.task ?? '');
  return [...series.metrics, ...(isOfClasses && series.hasShares ? [CONFIDENCE] : []), ...(isOfClasses ? [WRONG] : []), ...(box ? [IN_BOX] : [])];
}

/** An image's number at a look, null where there is none, or where its map has not come yet. */
export function valueOf(look, name, image, target, box = null) {
  if (!look || image < 0 || image >= look.shape[0]) return null;
  if (name === WRONG) return look.said?.[image] === '' ? null : Number(Boolean(look.wrong[image])); // without a label it is neither
  if (name === IN_BOX) return box && shareOf(look, image, target, box);
  if (name !== CONFIDENCE) return numberOf(look, name, indexOf(look, image, target));
  const score = look.scores[image * look.sizes.S];
  return Number.isFinite(score) ? score : null;
}

function shareOf(look, image, target, box) {
  const [, , h, w] = look.shape, index = indexOf(look, image, target);
  return look.maps && !look.states[index] ? shareIn({values: look.maps.subarray(index * h * w, (index + 1) * h * w), h, w}, box) : null;
}

/** The mean over some images at each look, null where none has the number. */
export function meansOf(series, name, images, target, box = null) {
  return series.looks.map((look) => meanOf(images.map((image) => valueOf(look, name, image, target, box))));
}

/** The mean of what is not null. */
export function meanOf(values) {
  let [sum, count] = [0, 0];
  for (const value of values) if (value !== null) { sum += value; count++; }
  return count ? sum / count : null;
}

const ALIKE = 1e-5; // of their size: numbers that are nearer are float32's

/** The lowest and the highest of what is not null; where all are alike, what may be a share from 0 to 1, else a little around. */
export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) return [0, 1];
  if (high - low > ALIKE * Math.max(Math.abs(low), Math.abs(high))) return [low, high];
  return low >= 0 && high <= 1 + ALIKE ? [0, 1] : [low - 0.5, high + 0.5];
}

/** At how many of some images predictions turned right or wrong, at each look. */
export function flipsOf(looks, images) {
  const isWrong = (look, image) => image < look.shape[0] && Boolean(look.wrong[image]);
  return looks.map((look, place) => place === 0 ? 0
    : images.reduce((sum, image) => sum + Number(isWrong(look, image) !== isWrong(looks[place - 1], image)), 0));
}

/** The place of the look at which a number's mean is highest, -1 where there is none. */
export function peakOf(means) {
  return means.reduce((best, mean, place) => mean !== null && (best < 0 || mean > means[best]) ? place : best, -1);
}

/** A few round numbers within a range, at most so many. */
export function ticksIn([low, high], most) {
  const step = [1, 2, 5].flatMap((digit) => Array.from({length: 40}, (_, power) => digit * 10 ** (power - 20)))
    .sort((a, b) => a - b).find((one) => (high - low) / one <= most) ?? high - low;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({length: Math.floor(high / step + 1e-9) - first + 1}, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Some of a list, evenly spread from the first to the last. */
export function evenly(list, most) {
  if (list.length <= most) return list;
  return Array.from({length: most}, (_, i) => list[Math.round(i * (list.length - 1) / (most - 1))]);
}

/** A number to three digits, or more. */
export const round = (value, digits = 3) => value === 0 ? '0' : Number(value).toPrecision(digits).replace(/(\.\d*?)0+(?=e|$)/, '$1').replace(/\.(?=e|$)/, '');

/** Numbers to as few digits, three at least, as tell them apart. */
export function toldApart(values) {
  const digits = [3, 4, 5, 6, 8, 12].find((one) => new Set(values.map((value) => round(value, one))).size === new Set(values).size) ?? 17;
  return values.map((value) => round(value, digits));
}

/** Whether more of a number is better, by what is said of it. */
export const isBetter = (name, images) => name === 'in_mask' || Boolean(wordsOf(name, images)?.direction.startsWith('More is better'));

/** A name as words. */
export const worded = (name) => name.replaceAll('_', ' ');
