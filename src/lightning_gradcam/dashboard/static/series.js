// One layer of one run: its looks, which come numbers first and maps later.

const CHUNK = 2 ** 19; // bytes of maps that are asked for at once
const PREFETCHED = 2 ** 26; // bytes of maps that come unasked, unless all are wanted

/** The looks at a layer that are at the images shown, and what of all of them is needed to draw one. */
export class Series {
  constructor(source, run, tag) {
    Object.assign(this, {source, run, tag, received: [], mark: '', broken: 0, caution: '', bytes: 0, filling: null, wantsAll: false});
    this.show(null);
  }

  /** Show the looks at a set of images, and leave those at others out: a run may be resumed with others. */
  show(probeSet) {
    this.probeSet = probeSet;
    this.looks = this.received.filter((look) => look.probe_set === probeSet);
    this.peaks = highestPeaks(this.looks);
  }

  get steps() { return this.looks.map((look) => look.step); }
  get last() { return this.looks.length ? this.looks[this.looks.length - 1].step : -1; }
  get images() { return this.looks.length ? this.looks[0].shape[0] : 0; }
  get targets() { return this.looks.length ? this.looks[0].shape[1] : 0; }
  /** The place of the look of a step, or of the last one before it. */
  placeOf(step) { return this.looks.indexOf(this.at(step)); }

  /** How many looks' maps are there. */
  get filled() { return this.looks.reduce((sum, look) => sum + Number(look.maps !== undefined), 0); }

  get metrics() { return [...new Set(this.looks.flatMap((look) => [...look.numbers.keys()]))]; }
  get others() { return this.received.length - this.looks.length; }
  get newest() { return this.received[this.received.length - 1]; }

  /** Fetch what is new; say whether anything is. */
  async update() {
    const found = await this.source.looks(this.run, this.tag, this.received.length, this.mark);
    const told = found.caution !== this.caution || found.broken !== this.broken;
    const isNew = found.looks.length > 0 || found.known < this.received.length;
    if (isNew) this.received = [...this.received.slice(0, found.known), ...found.looks];
    [this.mark, this.broken, this.caution] = [found.mark, found.broken, found.caution];
    if (isNew) this.show(this.probeSet);
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
    this.filling ??= this.fillOn().catch((error) => this.arrived(error)).finally(() => { this.filling = null; });
    return this.filling;
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

/** Each map's highest peak of all looks, and the highest of all. */
export function highestPeaks(looks) {
  const each = [];
  for (const look of looks) {
    const peaks = look.numbers.get('peak') ?? [];
    peaks.forEach((peak, i) => { each[i] = Math.max(each[i] ?? 0, Number.isFinite(peak) ? peak : 0); });
  }
  return {each, all: each.reduce((a, b) => Math.max(a, b), 0)};
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
