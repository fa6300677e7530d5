// Which images are shown, in which order and in which groups: told by what is asked for and what is known of them.

import {isBetter, meanOf} from './measure.js';
import {valuesOf} from './views.js';

/** The pinned images as an address has them, and back. */
export const readPins = (text) => new Set(text.split(',').filter((one) => /^\d{1,9}$/.test(one)).map(Number));
export const writePins = (pins) => [...pins].sort((a, b) => a - b).join(',');

/**
 * The images that are shown, in order: those that are pinned come first, and are never left out.
 *
 * `asked` is {sort, by, number, filter, least, most, mistakes, pins}; `views` are those that stand beside each other, and
 * `before` is the look since which predictions turned.
 */
export function orderOf(views, asked, before) {
  const [view] = views, {look, images} = view, pins = readPins(asked.pins), isWrong = (image) => Boolean(look.wrong[image]);
  const count = Math.min(look.shape[0], images.count), all = Array.from({length: count}, (_, image) => image);
  const fits = filterOf(view, asked.filter, before), value = valuesOf(asked.number, views, asked.by);
  const [least, most] = [asked.least, asked.most].map((bound) => bound.trim() === '' || Number.isNaN(Number(bound)) ? null : Number(bound));
  const isWithin = (image) => {
    const number = least === null && most === null ? 0 : value(image);
    return number !== null && !(least !== null && number < least) && !(most !== null && number > most);
  };
  const found = all.filter((image) => pins.has(image) || (fits(image) && (!asked.mistakes || isWrong(image)) && isWithin(image)));
  const sorts = new Map(asked.sort ? found.map((image) => [image, valuesOf(asked.sort, views, asked.by)(image)]) : []);
  const sign = isBetter(asked.sort, images) ? 1 : -1, by = (image) => sorts.get(image) ?? null;
  return found.sort((a, b) => pins.has(b) - pins.has(a)
    || (by(a) === null) - (by(b) === null) || sign * (by(a) - by(b)) || a - b);
}

/** Which images are of a class, or whose prediction turned. */
function filterOf({look, images}, filter, before) {
  const [kind, of] = filter.split(/:(.*)/s);
  const turned = (wrong) => (image) => Boolean(before) && Boolean(look.wrong[image]) === wrong && Boolean(before.wrong[image]) !== wrong;
  const kinds = {
    wrong: turned(true), right: turned(false), true: (image) => images.said[image] === of, predicted: (image) => look.predictions[image] === Number(of),
  };
  return Object.hasOwn(kinds, kind) ? kinds[kind] : () => true;
}

/** Images in groups by true or predicted class: [{name, images}], in the classes' order; one without a name where none are asked for. */
export function groupsOf(order, {look, images}, group) {
  if (!group) return [{name: '', images: order}];
  const name = (image) => group === 'true' ? images.said[image] || 'no label' : `predicted ${className(images, look.predictions[image])}`;
  const groups = new Map();
  for (const image of order) groups.set(name(image), [...groups.get(name(image)) ?? [], image]);
  return [...groups].sort(([a], [b]) => byName(a, b)).map(([of, found]) => ({name: of, images: found}));
}

/** What is said of a group: how many, how many of them wrong, and the means of numbers, {name: mean}. */
export function saidOfGroup(images, view, numbers) {
  const wrong = images.filter((image) => view.look.wrong[image]).length;
  const means = Object.fromEntries(numbers.map((name) => [name, meanOf(images.map((image) => view.value(name, image)))]));
  return {count: images.length, wrong, means};
}

/** A class by its name, or its place where it has none. */
export const className = (images, place) => images?.class_names?.[place] ?? String(place);

export const byName = (a, b) => a.localeCompare(b, undefined, {numeric: true}); // version_9, version_10

/** The runs whose names have a text in them, or match a /regular expression/. */
export function matching(names, text) {
  const sought = text.trim().toLowerCase(), written = /^\/(.*)\/$/s.exec(sought);
  if (!sought.startsWith('/')) return names.filter((name) => name.toLowerCase().includes(sought));
  try {
    const pattern = new RegExp(written[1], 'i');
    return names.filter((name) => pattern.test(name));
  } catch {
    return names; // not written to its end yet
  }
}
