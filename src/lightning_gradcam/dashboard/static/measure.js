// Numbers of looks and what becomes of them over the epochs; nothing here draws, or keeps anything.

import {indexOf, numberOf} from './series.js';

export const WRONG = 'wrong'; // a number of the tab's own: 1 where the prediction is wrong, 0 where it is right
export const CONFIDENCE = 'confidence'; // what captions say in percent

export const CHANGE = 'change'; // of two that stand beside each other: 1 - the cosine of their maps

/** How alike two maps are, 0..1, null where one is blank or they have other sides. */
export function cosine(one, other) {
  if (!one || !other || one.h !== other.h || one.w !== other.w) return null;
  let [both, first, second] = [0, 0, 0];
  for (let i = 0; i < one.values.length; i++) {
    both += one.values[i] * other.values[i];
    first += one.values[i] ** 2;
    second += other.values[i] ** 2;
  }
  return first && second ? both / Math.sqrt(first * second) : null;
}

/** The numbers that a series has, the tab's own among them. */
export function numbersOf(series) {
  const first = series.looks[0];
  if (!first) return [];
  const has = series.looks.some((look) => look.scores.some((score) => score > 0 && score <= 1) && look.scores.every((score) => !(score > 1 || score < 0)));
  return [...series.metrics, ...(has ? [CONFIDENCE] : []), WRONG];
}

/** An image's number at a look, null where there is none. */
export function valueOf(look, name, image, target) {
  if (!look || image >= look.shape[0]) return null;
  if (name === WRONG) return Number(Boolean(look.wrong[image]));
  if (name !== CONFIDENCE) return numberOf(look, name, indexOf(look, image, target));
  const score = look.scores[image * look.sizes.S];
  return Number.isFinite(score) ? score : null;
}

/** The mean over some images at each look, null where none has the number. */
export function meansOf(series, name, images, target) {
  return series.looks.map((look) => meanOf(images.map((image) => valueOf(look, name, image, target))));
}

/** The mean of what is not null. */
export function meanOf(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/** The lowest and the highest of what is not null; a little around it where all are alike. */
export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** Where an image's prediction turned right or wrong, by the places of looks. */
export function flipsOf(series, image) {
  const wrong = series.looks.map((look) => image < look.shape[0] && Boolean(look.wrong[image]));
  return wrong.flatMap((now, place) => place > 0 && now !== wrong[place - 1] ? [place] : []);
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
export const round = (value, digits = 3) => value === 0 ? '0' : Number(value).toPrecision(digits).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');

/** Numbers to as few digits, three at least, as tell them apart. */
export function toldApart(values) {
  const digits = [3, 4, 5, 6, 8, 12].find((one) => new Set(values.map((value) => round(value, one))).size === new Set(values).size) ?? 17;
  return values.map((value) => round(value, digits));
}

/** Whether more of a number is better, by what is said of it. */
export const isBetter = (name, probe) => name === 'in_mask' || Boolean(probe?.metrics?.[name]?.direction?.startsWith('More is better'));

/** A name as words. */
export const worded = (name) => name.replaceAll('_', ' ');
