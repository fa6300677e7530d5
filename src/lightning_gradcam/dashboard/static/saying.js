// What is said above the pictures: of the run that is shown, and of what cannot be shown.

import {className} from './choosing.js';
import {make} from './dom.js';
import {round, worded} from './measure.js';
import {indexOf} from './series.js';

/** The facts of the run that is shown, in one line. */
export function factsOf({isLoading, isEmpty, state, series, images, box, unit}, shown) {
  if (isLoading && isEmpty) return `Loading run ${state.run} …`;
  if (isEmpty || !images) return images?.about ?? '';
  const count = shown === images.count ? '' : `${shown} of ${images.count} images`, missing = box ? series.looks.length - series.filled : 0;
  return [images.about, count, missing ? `in the box: ${missing} of ${series.looks.length} ${unit}s have not come yet` : ''].filter(Boolean).join('  ·  ');
}

/** What was said at the end of each run that is shown of its maps. */
export function cautionsOf(sides) {
  const told = sides.map(({series}) => series).filter((series) => series.caution);
  return told.map((series) => sides.length > 1 ? `${series.run}: ${series.caution}` : series.caution);
}

/** What cannot be shown of the runs that stand beside each other, the first of which has the images. */
export function troublesOf(sides, layerOf, isLoading) {
  const [first] = sides;
  return sides.filter(({isThere}) => isThere).flatMap(({series, images}, place) => {
    const notes = [], isUnseen = place === 0 && images && !images.pictures[0] && !isLoading;
    if (series.broken) notes.push(`${series.broken} of its records cannot be read and are left out.`);
    if (series.looks.length && series.others) notes.push(`${series.others} of its ${images.unit}s are of other images, or made in another way, and are left out.`);
    if (images?.renamed) notes.push(`classes were called otherwise before; captions of earlier ${images.unit}s have those names.`);
    if (!images || isUnseen) notes.push('its images cannot be read.');
    else if (series.received.length && !series.looks.length) notes.push(`no ${images.unit} is of its images.`);
    else if (!series.received.length) notes.push(`no ${images.unit} of ${layerOf(series)} can be read.`);
    const told = notes.map((note) => `Run ${series.run}: ${note}`);
    if (!images || !first.images || images === first.images) return told;
    const others = first.images.fingerprints.filter((_, image) => first.images.placeIn(images, image) < 0).length;
    return others ? [...told, `The runs watch different images: ${others} of ${first.images.count} are not in run ${series.run}, and have nothing beside them.`] : told;
  });
}

/** What to do where there is nothing yet. */
export function emptyPage(isLoading) {
  return [
    make('strong', {textContent: isLoading ? 'Loading …' : 'No attention yet.'}),
    ...(isLoading ? [] : [' Add the callback to the trainer, and what it logs appears here by itself:',
      make('code', {textContent: 'from lightning_gradcam import GradCAMCallback\n\nTrainer(callbacks=[GradCAMCallback()])'})]),
  ];
}

/** What the heat is evidence for: one class, or what each image's caption says. */
export function evidenceOf({look, target, images}, order) {
  const seen = order.filter((image) => image < look.shape[0]).map((image) => indexOf(look, image, target)).filter((index) => !look.states[index]);
  const explained = new Set(seen.map((index) => look.targets[index])), [only] = explained;
  return explained.size === 1 && only >= 0 ? className(images, only) : `what each map explains (${images.columns?.[target] ?? images.about.split('  ·  ')[0]})`;
}

/** A group in one line; null is what is not known. */
export function groupInWords({count, wrong, means}) {
  const numbers = Object.entries(means).filter(([, mean]) => mean !== null).map(([name, mean]) => `${worded(name)} ${round(mean)}`);
  return [`${count} image${count === 1 ? '' : 's'}`, ...(wrong === null ? [] : [`${wrong} wrong`]), ...numbers].join('  ·  ');
}
