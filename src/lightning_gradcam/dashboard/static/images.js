// A run's images, and what is known of them; pictures come when they are in sight.

const AT_ONCE = 6; // pictures that are fetched

/** The images of a layer's maps: `told` is what the source says of them. */
export class Images {
  constructor(source, run, tag, told) {
    Object.assign(this, told, {source, run, tag, pictures: [], asked: new Map(), waiting: [], busy: 0});
    this.places = new Map(told.fingerprints.map((one, image) => [one, image]));
  }

  /** Take over the pictures of the same images, of which other things are told. */
  keep(old) { if (old?.probe_set === this.probe_set) Object.assign(this, {pictures: old.pictures, asked: old.asked, waiting: old.waiting}); }

  get count() { return this.said.length; }

  /** A picture, if it is there; else it is fetched, and `arrived` hears of it. */
  picture(image, arrived) {
    if (!this.pictures[image] && !this.asked.has(image)) this.load(image).then(arrived, () => {});
    return this.pictures[image];
  }

  /** A picture, when it is there. */
  load(image) {
    if (!this.asked.has(image)) {
      this.asked.set(image, new Promise((done, failed) => { this.waiting.push({image, done, failed}); }));
      this.next();
    }
    return this.asked.get(image);
  }

  next() {
    while (this.busy < AT_ONCE && this.waiting.length) {
      const {image, done, failed} = this.waiting.pop(); // the latest asked for is what is in sight
      this.busy++;
      this.source.picture(this.run, this.tag, this.probe_set, image)
        .then((picture) => { this.pictures[image] = picture; done(picture); }, (error) => { this.asked.delete(image); failed(error); })
        .finally(() => { this.busy--; this.next(); });
    }
  }

  /** The same image's place among others, -1 where it is none of them. */
  placeIn(others, image) {
    return others === this ? image : others.places.get(this.fingerprints[image]) ?? -1;
  }
}
