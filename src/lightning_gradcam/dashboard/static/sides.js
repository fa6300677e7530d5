// The runs' layers that are there: a series of looks and its images each, fetched once and brought up to date.

import {Images} from './images.js';
import {Series} from './series.js';

/** All that has been fetched from a source. */
export class Sides {
  constructor(source) { Object.assign(this, {source, known: new Map()}); }

  /** A run's layer, {series, images}, if it is there. */
  get(run, tag) { return this.known.get(keyOf(run, tag)); }

  /** Fetch a run's layer, or what is new of it: nothing where it was `written` as it is known. */
  async load(run, tag, written) {
    const key = keyOf(run, tag), side = this.known.get(key) ?? {series: new Series(this.source, run, tag), images: null};
    this.known.set(key, side);
    if (side.written !== written) side.loading ??= this.update(side, written).finally(() => { side.loading = null; });
    await side.loading;
    return side;
  }

  async update(side, written) {
    const {series, images: old} = side, told = () => this.source.probe(series.run, series.tag).catch(nullWhereNone);
    const [, probe] = await Promise.all([series.update(), old ?? told()]);
    let images = probe instanceof Images ? probe : probe && new Images(this.source, series.run, series.tag, probe);
    if (old && series.newest && series.newest.probe_set !== old.probe_set) { // resumed with others
      const newer = await told();
      images = newer && new Images(this.source, series.run, series.tag, newer);
    }
    series.show(images?.probe_set);
    Object.assign(side, {images, written});
  }
}

const keyOf = (run, tag) => JSON.stringify([run, tag]);

/** The source says that there are none; that it does not answer is another fault. */
function nullWhereNone(error) {
  if (error.code) return null;
  throw error;
}
