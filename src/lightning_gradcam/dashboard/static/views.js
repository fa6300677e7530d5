// What stands beside each other: views, each a run, a layer, a target and an epoch, and the change between two.

import {CHANGE, cosine, valueOf} from './measure.js';
import {paint, paintChange} from './paint.js';
import {indexOf, numberOf} from './series.js';

const STATES = ['', 'blank: no evidence', 'not finite']; // of a map: shown, or why not
const PARTS = ['run', 'layer', 'target', 'step'];
export const MOST = 7; // views beside the first

/**
 * Read what stands beside the first view from an address: a list of {run, layer, target, step}.
 *
 * What a view does not name is the first one's, so that a view without a step follows the epoch that is shown.
 */
export function readBeside(text) {
  return text.split(';').filter(Boolean).slice(0, MOST).map((one) => {
    const given = new URLSearchParams(one), view = {};
    for (const part of PARTS) {
      const value = given.get(part);
      if (value === null) continue;
      const isNumber = part === 'target' || part === 'step';
      if (!isNumber) view[part] = value;
      else if (/^\d{1,15}$/.test(value)) view[part] = Number(value);
    }
    return view;
  });
}

/** Views beside the first as an address has them. */
export const writeBeside = (views) => views.map((view) => new URLSearchParams(Object.entries(view)).toString()).join(';');

/** One view of the images: what is said, drawn and measured of each, by its place among the first view's images. */
export class View {
  /**
   * `line` is its name without the epoch, `first` are the images of the first view, and `against` is that view, null in itself; `drawing` is {scale, palette, changes, box}; `need(series, look)` hears of
   * a look whose maps have not come, and `arrived(image)` is called when its picture has.
   */
  constructor({series, images, look, target, name, line, first, against, drawing, need, arrived}) {
    Object.assign(this, {series, images, look, target, name, line, first, against, drawing, need, arrived});
  }

  /** The same view of another epoch. */
  at(look) { return new View({...this, look}); }

  place(image) { return this.first.placeIn(this.images, image); }

  has(image) {
    const at = this.place(image);
    return at >= 0 && at < this.look.shape[0];
  }

  /** What is said of an image: {truth, answer, wrong, of}, or {missing}. */
  said(image) {
    if (!this.has(image)) return {missing: 'no such image'};
    const {look, images, target} = this, at = this.place(image), explained = look.targets[indexOf(look, at, target)];
    const of = explained >= 0 && explained !== look.predictions[at] ? `heat of ${images.class_names?.[explained] ?? explained}` : '';
    return {truth: images.said[at], answer: look.answers[at], wrong: Boolean(look.wrong[at]), of};
  }

  /** An image's map as it is drawn, {map: {values, h, w, share}}, or why there is none. */
  map(image) {
    if (!this.has(image)) return {map: null, why: 'no such image'};
    const {look, series, drawing: {scale}} = this, [, , h, w] = look.shape;
    const index = indexOf(look, this.place(image), this.target), why = STATES[look.states[index]];
    if (why) return {map: null, why};
    if (!look.maps) {
      if (look.maps === undefined) this.need(series, look);
      return {map: null, why: look.maps === null ? 'cannot be read' : '', isComing: look.maps === undefined};
    }
    const peak = numberOf(look, 'peak', index), target = Math.min(this.target, look.shape[1] - 1);
    const share = peak === null || scale === 'image' ? null : peak / (scale === 'run' ? series.peaks.each[target][this.place(image)] : series.peaks.all);
    return {map: {values: look.maps.subarray(index * h * w, (index + 1) * h * w), h, w, share}, why: ''};
  }

  /** An image's number, null where there is none; of the change from the first view, this one has none itself. */
  value(name, image) {
    if (name === CHANGE) return this.against ? changeOf(this.against, this, image) : undefined;
    return valueOf(this.look, name, this.place(image), this.target, this.drawing.box);
  }

  picture(image) { return this.images.picture(this.place(image), () => this.arrived(image)); }

  /** Draw an image and its heat; say why there is none, and whether it is coming. */
  draw(canvas, image, picture = this.has(image) ? this.picture(image) : null) {
    const {map, why, isComing} = this.map(image);
    paint(canvas, picture, map, this.drawing.palette);
    return {why, isComing};
  }
}

/** The images as they are, as a side of their own. */
export class Plain {
  constructor(view) { Object.assign(this, {view, name: 'the image'}); }

  said(image) { return {...this.view.said(image), answer: '', wrong: false, of: ''}; }

  value() { return undefined; }

  draw(canvas, image, picture = this.view.has(image) ? this.view.picture(image) : null) {
    paint(canvas, picture, null);
    return {why: '', isComing: false};
  }
}

/** The change of heat between two views, as a side of its own: of two epochs of a run from the earlier to the later one. */
export class Change {
  constructor(first, second) {
    const isBack = first.series === second.series && second.look.step < first.look.step, [before, after] = isBack ? [second, first] : [first, second];
    Object.assign(this, {before, after, name: `change from ${before.name} to ${after.name}`});
  }

  get images() { return this.before.images; }

  place(image) { return this.before.place(image); }

  picture(image) { return this.before.picture(image); }

  said(image) {
    return this.before.said(image).missing || this.after.said(image).missing ? {missing: 'no such image'} : {truth: '', answer: '', wrong: false, of: ''};
  }

  /** How far the two are apart, whichever other number is asked for. */
  value(_, image) { return changeOf(this.before, this.after, image); }

  draw(canvas, image, picture = this.said(image).missing ? null : this.picture(image)) {
    const [first, second] = [this.before.map(image), this.after.map(image)], {changes} = this.before.drawing;
    if (first.map && second.map) paintChange(canvas, picture, first.map, second.map, changes);
    else paint(canvas, picture, null);
    return {why: first.why || second.why, isComing: first.isComing || second.isComing};
  }
}

/** 1 - the cosine of an image's maps in two views, null where one has none. */
export function changeOf(before, after, image) {
  const alike = cosine(before.map(image).map, after.map(image).map);
  return alike === null ? null : 1 - alike;
}

/** An image's number by which views are ordered, as a function of the image; `by` is the place of the view. */
export function valuesOf(name, views, by) {
  const view = views[Math.min(name === CHANGE ? Math.max(1, by) : by, views.length - 1)];
  return (image) => view.value(name, image) ?? null;
}
