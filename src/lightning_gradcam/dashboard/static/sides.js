// The runs' layers that are there: a series of looks and its images each, fetched once and brought up to date.

import {Images} from './images.js';
import {Series} from './series.js';

const KEPT = 2 ** 28; // bytes of maps that are kept of what is no longer shown

/** All that has been fetched from a source. */
export class Sides {
  constructor(source) { Object.assign(this, {source, known: new Map()}); }

  /** A run's layer, {series, images, isThere}, if it was asked for. */
  get(run, tag) { return this.known.get(keyOf(run, tag)); }

  /**
   * Fetch a run's layer, or what is new of it: nothing where it was written as it is known.
   *
   * `marks` are {written, images}, as the source's runs have them.
   */
  async load(run, tag, marks) {
    const key = keyOf(run, tag), side = this.known.get(key) ?? {series: new Series(this.source, run, tag), images: null, isThere: false};
    this.known.set(key, side);
    while (side.written !== marks.written || side.imagesWritten !== marks.images) {
      side.loading ??= this.update(side, marks).finally(() => { side.loading = null; });
      await side.loading; // which may have been for what was there before
    }
    return side;
  }

  async update(side, marks) {
    const {series, images: old} = side, isOther = side.imagesWritten !== marks.images;
    const ask = (set) => this.source.probe(series.run, series.tag, set).catch(nullWhereNone);
    const [, last] = await Promise.all([series.update(), isOther ? ask() : null]), known = isOther ? last : old, wanted = series.newest?.probe_set;
    // a run that was resumed, and has not looked yet, may look at others, or in another way
    const told = wanted === undefined || wanted === known?.probe_set ? known : await ask(wanted) ?? known;
    const images = told === old ? old : told && new Images(this.source, series.run, series.tag, told);
    if (images !== old) images?.keep(old);
    series.show(images);
    Object.assign(side, {images, written: marks.written, imagesWritten: marks.images, isThere: true});
  }

  /** Let go of maps of what is not shown, where they are many. */
  trim(shown) {
    const others = [...this.known.values()].filter((side) => !shown.includes(side));
    if (others.reduce((sum, {series}) => sum + series.bytes, 0) > KEPT) for (const {series} of others) series.forget();
  }
}

const keyOf = (run, tag) => JSON.stringify([run, tag]);

/** The source says that there are none; that it does not answer is another fault. */
function nullWhereNone(error) {
  if (error.code) return null;
  throw error;
}
