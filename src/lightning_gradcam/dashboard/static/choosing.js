// Which images are shown, in which order and in which groups: told by what is asked for and what is known of them.

import {isBetter, meanOf, WRONG} from './measure.js';
import {valuesOf} from './views.js';

/** The fingerprints of pinned images as an address has them, and back. */
export const readPins = (text) => new Set(text.split(',').filter(Boolean));
export const writePins = (pins) => [...pins].sort().join(',');

/**
 * The images that are shown, in order: those that are pinned come first, and are never left out.
 *
 * `asked` is {sort, by, number, filter, least, most, mistakes, pins}; `views` are those that stand beside each other, and
 * `before` is the look of the first one's series since which predictions turned.
 */
export function orderOf(views, asked, before) {
  const [{look, images}] = views, pins = readPins(asked.pins), isPinned = (image) => pins.has(images.fingerprints[image]);
  const fits = fitting(images, look, asked.filter, before), isWithin = within(asked, valuesOf(asked.number, views, asked.by));
  const found = images.said.map((_, image) => image)
    .filter((image) => isPinned(image) || (fits(image) && (!asked.mistakes || look.wrong[image]) && isWithin(image)));
  if (!asked.sort) return found.sort((a, b) => isPinned(b) - isPinned(a) || a - b);
  const value = valuesOf(asked.sort, views, asked.by), values = new Map(found.map((image) => [image, value(image)]));
  const sign = isBetter(asked.sort, images) ? 1 : -1, by = (image) => values.get(image);
  return found.sort((a, b) => isPinned(b) - isPinned(a) || (by(a) === null) - (by(b) === null) || sign * (by(a) - by(b)) || a - b);
}

/** Whether an image's number is within what is asked for, as a function of the image. */
function within({least, most}, value) {
  const [low, high] = [least, most].map((bound) => bound.trim() === '' || Number.isNaN(Number(bound)) ? null : Number(bound));
  return (image) => {
    if (low === null && high === null) return true;
    const number = value(image);
    return number !== null && !(low !== null && number < low) && !(high !== null && number > high);
  };
}

/** Whether an image is of a class, or its prediction turned, as a function of the image. */
export function fitting(images, look, filter, before) {
  const [kind, of] = filter.split(/:(.*)/s), has = (image) => image < look.shape[0];
  const turned = (wrong) => (image) => Boolean(before) && has(image) && Boolean(look.wrong[image]) === wrong && Boolean(before.wrong[image]) !== wrong;
  const kinds = {
    wrong: turned(true), right: turned(false), true: (image) => images.said[image] === of, has: (image) => images.truths[image].includes(Number(of)),
    predicted: (image) => look.predictions[image] === Number(of),
  };
  return Object.hasOwn(kinds, kind) ? kinds[kind] : () => true;
}

/** What images can be filtered by, [value, text] each: what turned, what is true of them, what was predicted. */
export function filtersOf(images, looks) {
  const predicted = [...new Set(looks.flatMap((look) => [...new Set(look.predictions)]))].sort((a, b) => a - b);
  const several = images.task === 'multilabel' ? [...new Set(images.truths.flat())].sort((a, b) => a - b) : [];
  return [['', 'all images'], ['wrong', 'turned wrong'], ['right', 'turned right'],
    ...several.map((place) => [`has:${place}`, `has ${className(images, place)}`]),
    ...[...new Set(images.said)].filter(Boolean).sort(byName).map((said) => [`true:${said}`, said]),
    ...predicted.map((place) => [`predicted:${place}`, predictedClass(images, place)])];
}

const predictedClass = (images, place) => place < 0 ? 'no prediction' : `predicted ${className(images, place)}`; // scores are not finite

/** Images in groups by true or predicted class: [{name, images}], in the classes' order; one without a name where none are asked for. */
export function groupsOf(order, {look, images}, group) {
  if (!group) return [{name: '', images: order}];
  const name = (image) => group === 'true' ? images.said[image] || 'no label' : predictedClass(images, look.predictions[image]);
  const groups = new Map();
  for (const image of order) {
    if (!groups.has(name(image))) groups.set(name(image), []);
    groups.get(name(image)).push(image);
  }
  return [...groups].sort(([a], [b]) => byName(a, b)).map(([of, found]) => ({name: of, images: found}));
}

/** What is said of a group: how many, how many of them wrong (null where that is no number of theirs), and means by name. */
export function saidOfGroup(images, view, numbers) {
  const wrong = numbers.includes(WRONG) ? images.filter((image) => view.look.wrong[image]).length : null;
  const means = Object.fromEntries(numbers.filter((name) => name !== WRONG).map((name) => [name, meanOf(images.map((image) => view.value(name, image)))]));
  return {count: images.length, wrong, means};
}

/** A class by its name, or its place where it has none. */
export const className = (images, place) => images?.class_names?.[place] ?? String(place);

export const byName = (a, b) => a.localeCompare(b, undefined, {numeric: true}); // version_9, version_10

/** The runs whose names have a text in them, or match a /regular expression/. */
export function matching(names, text) {
  const sought = text.trim(), written = /^\/(.*)\/$/s.exec(sought);
  if (!sought.startsWith('/')) return names.filter((name) => name.toLowerCase().includes(sought.toLowerCase()));
  try {
    const pattern = new RegExp(written[1], 'i');
    return names.filter((name) => pattern.test(name));
  } catch {
    return names; // not written to its end yet
  }
}
