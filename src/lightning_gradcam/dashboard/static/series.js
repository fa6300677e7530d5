// One layer of one run: its looks, which come numbers first and maps later.

const CHUNK = 2 ** 19; // bytes of maps that are asked for at once
const PREFETCHED = 2 ** 26; // bytes of maps that come unasked, unless all are wanted
const SECONDS_BETWEEN_TRIES = 2.5; // where maps do not come

/** The looks at a layer that are at the images shown, and what of all of them is needed to draw one. */
export class Series {
  constructor(source, run, tag) {
    Object.assign(this, {source, run, tag, received: [], mark: '', broken: 0, caution: '', bytes: 0, filling: null, wantsAll: false, notBefore: 0});
    this.show(null);
  }

  /** Show the looks at some images, {probe_set, said}, and leave those at others out: a run may be resumed with others. */
  show(images) {
    const probeSet = this.probeSet = images?.probe_set, looks = this.received.filter((look) => look.probe_set === probeSet);
    for (const look of looks) look.said = images.said;
    this.shown = images;
    Object.assign(this, {
      looks, peaks: highestPeaks(looks), metrics: [...new Set(looks.flatMap((look) => [...look.numbers.keys()]))],
      targets: looks.reduce((most, look) => Math.max(most, look.shape[1]), 0),
      hasShares: looks.some((look) => look.scores.some((score) => score > 0)) && looks.every((look) => look.scores.every((score) => !(score > 1 || score < 0))),
    });
  }

  get steps() { return this.looks.map((look) => look.step); }
  get last() { return this.looks.length ? this.looks[this.looks.length - 1].step : -1; }
  /** The place of the look of a step, or of the last one before it. */
  placeOf(step) { return this.looks.indexOf(this.at(step)); }

  /** How many looks' maps are there. */
  get filled() { return this.looks.reduce((sum, look) => sum + Number(look.maps !== undefined), 0); }

  get others() { return this.received.length - this.looks.length; }
  get newest() { return this.received[this.received.length - 1]; }

  /** Fetch what is new; say whether anything is. */
  async update() {
    const found = await this.source.looks(this.run, this.tag, this.received.length, this.mark);
    const told = found.caution !== this.caution || found.broken !== this.broken;
    const isNew = found.looks.length > 0 || found.known < this.received.length;
    if (isNew) this.received = [...this.received.slice(0, found.known), ...found.looks];
    if (isNew) this.notBefore = 0;
    [this.mark, this.broken, this.caution] = [found.mark, found.broken, found.caution];
    if (isNew) this.show(this.shown);
    return told || isNew;
  }

  /** The look of a step, or the last one before it. */
  at(step) {
    if (step < 0) return this.looks[this.looks.length - 1];
    return this.looks.findLast((look) => look.step <= step) ?? this.looks[0];
  }

  /** Fetch the maps of a look, then those behind it and those before, while there is room; `arrived` hears of each. */
  fill(first, arrived) {
    this.wanted = first;
    this.arrived = arrived;
    if (Date.now() < this.notBefore) return Promise.resolve();
    const failed = (error) => {
      this.notBefore = Date.now() + 1000 * SECONDS_BETWEEN_TRIES;
      this.arrived(error);
    };
    this.filling ??= this.fillOn().catch(failed).finally(() => { this.filling = null; });
    return this.filling;
  }

  /** Let go of all maps: they come again when they are looked at. */
  forget() {
    for (const look of this.received) look.maps = undefined;
    Object.assign(this, {bytes: 0, wantsAll: false});
  }

  async fillOn() {
    for (let chunk; (chunk = this.nextChunk());) {
      const {start, count} = chunk, looks = this.received.slice(start, start + count), {received, mark} = this;
      const maps = await this.source.maps(this.run, this.tag, start, count, received.length, mark);
      looks.forEach((look, place) => {
        look.maps = maps[place];
        this.bytes += maps[place]?.length ?? 0;
      });
      this.arrived();
    }
  }

  /** Looks beside each other without maps: the one that is wanted alone, then as many as are asked for at once. */
  nextChunk() {
    const place = this.received.indexOf(this.wanted);
    if (place >= 0 && this.wanted.maps === undefined) return {start: place, count: 1};
    if (this.bytes > PREFETCHED && !this.wantsAll) return null;
    const lacks = (look) => look.maps === undefined;
    const from = Math.max(0, place), behind = this.received.slice(from).findIndex(lacks);
    const start = behind >= 0 ? from + behind : this.received.findIndex(lacks);
    if (start < 0) return null;
    let count = 0;
    for (let bytes = 0; start + count < this.received.length && lacks(this.received[start + count]) && bytes < CHUNK; count++) {
      bytes += this.received[start + count].shape.reduce((product, side) => product * side, 1);
    }
    return {start, count};
  }
}

/** The highest peak of all looks, of each image by target, and of all: looks may have more targets than others. */
export function highestPeaks(looks) {
  const each = [];
  let all = 0;
  for (const look of looks) {
    const targets = look.shape[1];
    (look.numbers.get('peak') ?? []).forEach((peak, i) => {
      if (!Number.isFinite(peak)) return;
      const ofTarget = each[i % targets] ??= [], image = Math.floor(i / targets);
      ofTarget[image] = Math.max(ofTarget[image] ?? 0, peak);
      all = Math.max(all, peak);
    });
  }
  return {each, all};
}

/** Where a look has an image's map of a target; looks of one run may have more targets or fewer. */
export function indexOf(look, image, target) {
  const targets = look.shape[1];
  return image * targets + Math.min(target, targets - 1);
}

/** An image's number of a look, null where there is none. */
export function numberOf(look, name, index) {
  const value = look.numbers.get(name)?.[index];
  return Number.isFinite(value) ? value : null;
}
