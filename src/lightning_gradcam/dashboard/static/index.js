// The Attention tab: small modules, no build.

import {DEFAULTS, isOpen, link, onAddress, readAddress, writeAddress} from './address.js';
import {COLOURS, colourAt, colourOfRun, heatPalette} from './colour.js';
import {make, setText} from './dom.js';
import {download, toCsv, withWords} from './export.js';
import {Grid} from './grid.js';
import {Images} from './images.js';
import {Large} from './large.js';
import {CHANGE, cosine, isBetter, numbersOf, valueOf, worded, WRONG} from './measure.js';
import {Overview} from './overview.js';
import {Series, indexOf, numberOf} from './series.js';
import {Server} from './source.js';

const STATES = ['', 'blank: no evidence', 'not finite']; // of a map: shown, or why not
const SECONDS_BETWEEN_POLLS = 3;
const FIRST = ['in_mask', 'border', 'drift', WRONG]; // of these the overview shows what there is, unless it is told

class App {
  constructor(source) {
    Object.assign(this, {source, state: readAddress(), runs: {}, mark: '', main: null, other: null, fault: '', turn: 0, controls: {}});
    this.grid = new Grid((image) => this.openLarge(image));
    this.overview = new Overview((chosen) => this.choose(chosen));
    this.large = new Large({
      goTo: (look) => this.goTo(this.series.looks.indexOf(look)),
      turn: (by) => this.turnTo(by),
      save: (canvases, words) => withWords(canvases, words).toBlob((blob) => download(`attention ${words[0]}.png`, blob)),
      closed: () => { if (!this.isLoading) { this.state.large = -1; writeAddress(this.state); } },
    });
    this.build();
    this.player = new Player(this);
    this.repaint();
  }

  get series() { return this.main?.series; }
  get images() { return this.main?.images; }
  get isEmpty() { return !this.series?.looks.length || !this.images; }

  /** What maps are drawn as shares of: as in the logged pictures, unless it is chosen. */
  get scale() { return this.state.scale || (this.images?.about.includes('scale: run') ? 'run' : 'image'); }

  /** What looks are counted in: epochs, or optimizer steps. */
  get unit() { return this.images?.unit ?? 'epoch'; }

  /** The place of the epoch that is shown among those that were logged. */
  get position() { return Math.max(0, this.series.looks.indexOf(this.series.at(this.state.step))); }

  // ---- the page ------------------------------------------------------------------------------------------------

  build() {
    document.head.append(make('link', {rel: 'stylesheet', href: new URL('style.css', import.meta.url).href}));
    document.documentElement.lang = 'en';
    document.title = 'Attention';
    this.status = make('p', {className: 'status', role: 'status'});
    this.mistakes = make('input', {type: 'checkbox', id: 'mistakes', onchange: () => {
      this.state.mistakes = Number(this.mistakes.checked);
      this.show();
    }});
    this.play = make('button', {type: 'button', className: 'play', onclick: () => this.player.toggle()});
    this.epoch = make('input', {type: 'range', id: 'epoch', min: 0, max: 0, step: 1, oninput: () => this.goTo(Number(this.epoch.value))});
    this.epochText = make('output', {htmlFor: 'epoch', className: 'epoch'});
    this.second = make('input', {type: 'range', id: 'second', min: 0, max: 0, step: 1, oninput: () => {
      this.state.step2 = this.series.steps[Number(this.second.value)];
      this.show();
    }});
    this.secondText = make('output', {htmlFor: 'second', className: 'epoch'});
    for (const told of [this.epochText, this.secondText]) told.setAttribute('aria-live', 'off'); // the sliders say it
    this.secondRow = make('div', {className: 'row second'},
      this.secondLabel = make('label', {htmlFor: 'second'}), this.second, this.secondText);
    const load = () => this.load();
    const data = make('div', {className: 'row'},
      this.select('run', 'run', [], load), this.select('layer', 'layer', [], load), this.select('target', 'target', []),
      this.select('compare', 'beside it', [['', 'nothing'], ['epoch', 'another epoch'], ['run', 'another run']], load),
      this.select('run2', 'other run', [], load), this.select('number', 'overview of', []));
    const drawing = make('details', {className: 'drawing'}, make('summary', {textContent: 'drawing'}), make('div', {className: 'row'},
      this.range('opacity', 'opacity', {min: 0, max: 100}, () => this.repaint()),
      this.select('colour', 'colours', COLOURS.map((name) => [name, name]), () => this.repaint()),
      this.select('scale', 'strength', [['image', 'each image by itself'], ['run', 'by its highest peak of all epochs'], ['all', 'by the highest of all images']]),
      this.range('size', 'size', {min: 64, max: 384, step: 16}, () => { this.layOut(); this.show(); })));
    drawing.open = window.innerWidth > 700;
    const time = make('div', {className: 'row time'}, this.play,
      this.epochLabel = make('label', {htmlFor: 'epoch'}), this.epoch, this.epochText,
      this.select('speed', 'epochs a second', [1, 2, 5, 10, 20, 50].map((speed) => [String(speed), String(speed)])));
    const button = (text, onclick) => make('button', {type: 'button', textContent: text, onclick});
    const copied = button('copy link', () => navigator.clipboard?.writeText(link()).then(() => setText(copied, 'copied'), () => {}));
    const choosing = make('div', {className: 'row'}, this.select('sort', 'sort', []), this.select('filter', 'show', []),
      make('label', {className: 'control check', htmlFor: 'mistakes'}, this.mistakes, make('span', {textContent: 'only mistakes'})),
      button('numbers as CSV', () => this.saveNumbers()), copied);
    this.heatScale = make('span', {className: 'scale'});
    this.heatKey = make('p', {className: 'heatkey'}, 'weak ', this.heatScale, ' strong evidence for what is explained; hold o to see the images alone');
    this.header = make('header', {}, data, time, this.secondRow, choosing, drawing);
    document.body.append(this.header, this.status, this.overview.element, this.heatKey, this.grid.element, this.large.element);
    document.addEventListener('keydown', (event) => this.onKey(event));
    document.addEventListener('keyup', (event) => { if (event.key === 'o') this.bare(false); });
  }

  select(name, label, options, change = () => this.show()) {
    const element = make('select', {id: name, onchange: () => { this.set(name, element.value); change(); }});
    const fill = (entries) => {
      element.replaceChildren(...entries.map(([value, text]) => make('option', {value, textContent: text})));
      element.value = String(this.state[name]);
    };
    fill(options);
    this.controls[name] = {element, fill};
    return make('label', {className: 'control', htmlFor: name}, make('span', {textContent: label}), element);
  }

  range(name, label, bounds, change) {
    const element = make('input', {type: 'range', id: name, ...bounds, value: this.state[name], oninput: () => { this.set(name, element.value); change(); }});
    this.controls[name] = {element};
    return make('label', {className: 'control', htmlFor: name}, make('span', {textContent: label}), element);
  }

  set(name, value) { this.state[name] = typeof DEFAULTS[name] === 'number' ? Number(value) : value; }

  label(name) { return this.controls[name].element.closest('label'); }

  onKey(event) {
    if (this.isEmpty || event.ctrlKey || event.metaKey || event.altKey) return;
    const inControl = /^(INPUT|SELECT)$/.test(event.target.tagName), inButton = /^(BUTTON|SUMMARY)$/.test(event.target.tagName);
    if (event.key === ' ' && !inControl && !inButton) this.player.toggle();
    else if (event.key === 'ArrowRight' && !inControl) this.goTo(this.position + 1);
    else if (event.key === 'ArrowLeft' && !inControl) this.goTo(this.position - 1);
    else if (event.key === 'Home' && !inControl) this.goTo(0);
    else if (event.key === 'End' && !inControl) this.goTo(this.series.looks.length - 1);
    else if (event.key === 'o' && !inControl) this.bare(true);
    else return;
    event.preventDefault();
  }

  // ---- what is chosen ------------------------------------------------------------------------------------------

  goTo(place) {
    const last = this.series.looks.length - 1, held = Math.max(0, Math.min(last, place));
    this.state.step = held === last ? -1 : this.series.steps[held];
    this.show();
  }

  /** What is chosen in the overview. */
  choose({step, image, from, to}) {
    if (from !== undefined) this.brush = from === to ? null : [from, to];
    if (step !== undefined) this.state.step = step === this.series.last ? -1 : step;
    if (image !== undefined) this.row = image;
    this.show();
    if (image !== undefined && image !== null) this.grid.tiles[image]?.figure.scrollIntoView({block: 'nearest'});
  }

  openLarge(image) {
    this.state.large = image;
    this.row = image;
    this.show();
    this.large.open();
  }

  /** The image before or behind, as they are ordered and filtered. */
  turnTo(by) {
    const order = this.order(this.columns()), place = order.indexOf(this.state.large);
    this.openLarge(order[(place + by + order.length) % order.length] ?? this.state.large);
  }

  repaint() {
    const {colour, opacity} = this.state;
    this.palette = heatPalette(colour, this.isBare ? 0 : opacity / 100);
    this.heatScale.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map((part) => `rgb(${colourAt(colour, part)})`).join(', ')})`;
    this.show();
  }

  /** Show the images without their heat, or with it again. */
  bare(isBare) {
    if (this.isBare === isBare) return;
    this.isBare = isBare;
    this.repaint();
  }

  saveNumbers() {
    if (this.isEmpty) return;
    const {series, images, unit} = this, order = this.order(this.columns());
    download(`attention ${series.run}.csv`, new Blob([toCsv({series, images, order, target: this.state.target, unit})], {type: 'text/csv'}));
  }

  // ---- showing -------------------------------------------------------------------------------------------------

  /** Where each column is from: the epoch and, if asked for, what stands beside it. */
  columns() {
    const {state, series, images} = this, look = series.at(state.step);
    const found = [this.column(series, images, look, state.compare === 'run' ? series.run : `${this.unit} ${look.step}`)];
    if (state.compare === 'epoch') found.push(this.column(series, images, series.at(state.step2), `${this.unit} ${series.at(state.step2).step}`));
    if (state.compare === 'run' && this.other?.series.looks.length && this.other.images) {
      const {series: of, images: others} = this.other, at = of.at(look.step);
      found.push(this.column(of, others, at, at.step === look.step ? of.run : `${of.run}, ${this.unit} ${at.step}`));
    }
    return found;
  }

  column(series, images, look, name) {
    const place = (image) => this.images.placeIn(images, image);
    return {
      series, images, look, name, place,
      said: (image) => {
        const at = place(image);
        if (at < 0 || at >= look.shape[0]) return {missing: 'no such image'};
        const explained = look.targets[indexOf(look, at, this.state.target)];
        const of = explained >= 0 && explained !== look.predictions[at] ? `heat of ${images.class_names?.[explained] ?? explained}` : '';
        return {truth: images.said[at], answer: look.answers[at], wrong: Boolean(look.wrong[at]), of};
      },
      map: (image) => this.map(series, look, place(image)),
    };
  }

  /** An image's map as it is painted, or why there is none. */
  map(series, look, image) {
    const [, , h, w] = look.shape, index = indexOf(look, image, this.state.target), why = STATES[look.states[index]];
    if (why) return {map: null, why};
    if (!look.maps) {
      if (look.maps === undefined) this.fill(series, look);
      return {map: null, why: look.maps === null ? 'cannot be read' : '', isComing: look.maps === undefined};
    }
    const peak = numberOf(look, 'peak', index), {scale} = this;
    const share = peak === null || scale === 'image' ? null : peak / (scale === 'run' ? series.peaks.each[index] : series.peaks.all);
    return {map: {values: look.maps.subarray(index * h * w, (index + 1) * h * w), h, w, share}, why: ''};
  }

  fill(series, look) {
    series.fill(look, (error) => {
      if (error?.code === 409) this.follow();
      else if (error) this.fail(error);
      this.later();
    });
  }

  /** Show again, once, before the next frame. */
  later() {
    this.due ??= requestAnimationFrame(() => { this.due = null; this.show(); });
  }

  picture(column, image) {
    return column.images.picture(column.place(image), () => this.later());
  }

  order(columns) {
    const [{look}] = columns, {state} = this, count = Math.min(this.series.images, this.images.count);
    const fits = this.filter(columns);
    const found = Array.from({length: count}, (_, image) => image).filter((image) => fits(image) && (!state.mistakes || look.wrong[image]));
    if (!state.sort) return found;
    const value = this.valuesOf(state.sort, columns), sign = isBetter(state.sort, this.images) ? 1 : -1;
    return found.sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)) || a - b);
  }

  /** An image's number, as a function of the image. */
  valuesOf(name, [first, second]) {
    if (name !== CHANGE) return (image) => valueOf(first.look, name, image, this.state.target);
    return (image) => {
      const alike = second ? cosine(first.map(image).map, second.place(image) < 0 ? null : second.map(image).map) : null;
      return alike === null ? null : 1 - alike;
    };
  }

  /** Which images are shown: of a class, or whose prediction turned since what is beside it, or the epoch before. */
  filter([{look}, second]) {
    const [kind, of] = this.state.filter.split(/:(.*)/s), {series, images} = this;
    const before = this.state.compare === 'epoch' ? second.look : series.looks[series.looks.indexOf(look) - 1];
    const turned = (wrong) => (image) => Boolean(before) && Boolean(look.wrong[image]) === wrong && Boolean(before.wrong[image]) !== wrong;
    const kinds = {
      wrong: turned(true), right: turned(false), true: (image) => images.said[image] === of, predicted: (image) => look.predictions[image] === Number(of),
    };
    return Object.hasOwn(kinds, kind) ? kinds[kind] : () => true;
  }

  /** The number that the overview is of. */
  get number() {
    const known = numbersOf(this.series);
    return known.includes(this.state.number) ? this.state.number : FIRST.find((name) => known.includes(name)) ?? known[0];
  }

  /** Make a tile an image, anew when the data, the size or the number of columns are others. */
  layOut() {
    if (this.isEmpty) this.grid.layOut(0, 1, null, 1);
    else this.grid.layOut(Math.min(this.series.images, this.images.count), this.columns().length, this.images.pictures[0], this.state.size);
  }

  show() {
    writeAddress(this.state);
    this.showControls();
    this.overview.element.hidden = this.heatKey.hidden = this.isEmpty;
    if (this.isEmpty) { this.say(); return; }
    const columns = this.columns(), [{look}] = columns, {state, series} = this;
    if (this.grid.tiles.length && this.grid.tiles[0].sides.length !== columns.length) this.layOut();
    this.showTime(look);
    const order = this.order(columns), number = state.sort || this.number, value = this.valuesOf(number, columns);
    const picture = (column, image) => this.picture(column, image);
    this.grid.show({order, columns, palette: this.palette, number, value, picture});
    this.showOverview(order, look);
    this.say(order.length);
    if (state.large >= 0 && state.large < this.images.count) {
      const map = (of, image) => this.map(series, of, image);
      this.large.show({image: state.large, columns, palette: this.palette, series, images: this.images, target: state.target, look, unit: this.unit, layer: this.runs[series.run]?.[series.tag], map, picture});
    }
  }

  showControls() {
    const {state, series, controls} = this;
    this.header.hidden = !Object.keys(this.runs).length;
    for (const name of ['colour', 'sort', 'filter', 'speed', 'compare']) controls[name].element.value = String(state[name]);
    controls.scale.element.value = this.scale;
    for (const name of ['opacity', 'size']) controls[name].element.value = state[name];
    this.mistakes.checked = Boolean(state.mistakes);
    this.label('run2').hidden = state.compare !== 'run';
    this.secondRow.hidden = state.compare !== 'epoch' || this.isEmpty;
    this.label('target').hidden = !series || series.targets < 2;
    this.label('scale').hidden = Boolean(series?.looks.length) && !series.looks[0].numbers.has('peak'); // no strength to compare by
  }

  showTime(look) {
    const {series, unit} = this;
    this.epoch.max = this.second.max = series.looks.length - 1;
    this.epoch.value = this.position;
    this.epoch.setAttribute('aria-valuetext', `${unit} ${look.step}`);
    setText(this.epochLabel, unit);
    setText(this.secondLabel, `beside ${unit}`);
    setText(this.epochText, `${look.step} of ${series.last}`);
    this.second.value = series.looks.indexOf(series.at(this.state.step2));
    setText(this.secondText, String(series.at(this.state.step2).step));
  }

  showOverview(order, look) {
    const {series, images, state, number} = this, names = Object.keys(this.runs).sort(byName);
    const view = (of, own) => ({series: of, label: of.run, colour: colourOfRun(names.indexOf(of.run)), target: state.target, images: own});
    const views = [view(series, order)], beside = this.other;
    if (state.compare === 'run' && beside?.images && beside.series.looks.length) {
      const same = order.map((image) => images.placeIn(beside.images, image)).filter((image) => image >= 0);
      views.push(view(beside.series, same.length ? same : beside.images.said.map((_, image) => image)));
    }
    const key = [number, state.target, order, this.brush, ...views.flatMap((one) => [one.label, one.series.mark, one.series.probeSet, one.images])].join('|');
    if (key !== this.drawn) {
      this.drawn = key;
      this.overview.show({views, number, order, unit: this.unit, probe: images, range: this.brush});
    }
    this.overview.given.image = this.row ?? order[0];
    this.overview.mark(look.step, this.row ?? -1);
  }

  say(shown) {
    const any = Object.keys(this.runs).length > 0;
    const said = any ? [this.facts(shown), ...this.troubles()] : ['none', ...(this.fault ? [this.fault] : [])];
    const cautions = any ? this.cautions() : [], all = [this.isLoading, ...said, ...cautions].join('\n');
    this.grid.element.setAttribute('aria-busy', String(Boolean(this.isLoading)));
    if (this.said === all) return; // a screen reader reads what is new
    this.said = all;
    const notes = said.slice(1).map((note) => make('p', {className: 'broken', textContent: note}));
    const worth = cautions.map((told) => make('p', {className: 'caution', textContent: told}));
    if (any) this.status.replaceChildren(said[0], ...worth, ...notes);
    else this.status.replaceChildren(
      make('strong', {textContent: this.isLoading ? 'Loading …' : 'No attention yet.'}),
      ...(this.isLoading ? [] : [' Add the callback to the trainer, and what it logs appears here by itself:',
        make('code', {textContent: 'from lightning_gradcam import GradCAMCallback\n\nTrainer(callbacks=[GradCAMCallback()])'})]),
      ...notes);
  }

  facts(shown) {
    if (this.isLoading && this.isEmpty) return `Loading run ${this.state.run} …`;
    const total = this.grid.tiles.length, count = shown === undefined || shown === total ? '' : `${shown} of ${total} images`;
    return [this.images ? this.images.about : '', count].filter(Boolean).join('  ·  ');
  }

  /** What was said at the end of each run that is shown of its maps. */
  cautions() {
    const beside = this.state.compare === 'run' && this.other?.series !== this.series ? this.other?.series : null;
    return [this.series, beside].filter((of) => of?.caution).map((of) => beside ? `${of.run}: ${of.caution}` : of.caution);
  }

  troubles() {
    const notes = this.fault ? [this.fault] : [], beside = this.state.compare === 'run' ? this.other : null;
    for (const of of [this.main, beside].filter(Boolean)) {
      const {series, images} = of;
      if (series.broken) notes.push(`Run ${series.run}: ${series.broken} of its records cannot be read and are left out.`);
      if (series.looks.length && series.others) notes.push(`Run ${series.run}: ${series.others} of its ${images.unit}s are of other images and are left out.`);
      if (!images) notes.push(`Run ${series.run}: its images cannot be read.`);
      else if (series.received.length && !series.looks.length) notes.push(`Run ${series.run}: no ${images.unit} is of its images.`);
      else if (!series.received.length) notes.push(`Run ${series.run}: no ${images.unit} of ${this.runs[series.run]?.[series.tag] ?? series.tag} can be read.`);
    }
    if (beside?.images && this.images) {
      const others = this.images.fingerprints.filter((_, image) => this.images.placeIn(beside.images, image) < 0).length;
      if (others) notes.push(`The two runs watch different images: ${others} of ${this.images.count} are not in run ${beside.series.run}, and have nothing beside them.`);
    }
    return notes;
  }

  // ---- loading and following -----------------------------------------------------------------------------------

  fillSelectors() {
    const {state, controls} = this, names = Object.keys(this.runs).sort(byName);
    const layersOf = (run) => Object.hasOwn(this.runs, run) ? this.runs[run] : {};
    if (!Object.hasOwn(this.runs, state.run)) state.run = names[names.length - 1] ?? '';
    const layers = layersOf(state.run);
    if (!Object.hasOwn(layers, state.layer)) state.layer = Object.keys(layers)[0] ?? '';
    if (!Object.hasOwn(this.runs, state.run2)) state.run2 = names.find((name) => name !== state.run) ?? state.run;
    controls.run.fill(names.map((name) => [name, name]));
    controls.run2.fill(names.map((name) => [name, name]));
    controls.layer.fill(Object.entries(layers));
  }

  fillNumbers() {
    const {state, series, controls, images} = this;
    state.target = Math.max(0, Math.min(state.target, series.targets - 1));
    controls.target.fill(Array.from({length: series.targets}, (_, t) => [String(t), images?.columns?.[t] ?? String(t)]));
    const first = (name) => name === 'in_mask' ? 'least on the thing first' : `${isBetter(name, images) ? 'least' : 'most'} ${worded(name)} first`;
    const sorts = [...numbersOf(series), ...(state.compare ? [CHANGE] : [])];
    if (!sorts.includes(state.sort)) state.sort = '';
    controls.sort.fill([['', 'as in the data'], ...sorts.map((name) => [name, first(name)])]);
    this.fillFilter();
    controls.number.fill(numbersOf(series).map((name) => [name, worded(name)]));
    if (series.looks.length) controls.number.element.value = this.number;
  }

  fillFilter() {
    const {series, images, controls, state} = this, name = (place) => images?.class_names?.[place] ?? String(place);
    const predicted = [...new Set(series.looks.flatMap((look) => [...look.predictions]))].sort((a, b) => a - b);
    const known = [['', 'all images'], ['wrong', 'turned wrong'], ['right', 'turned right'],
      ...[...new Set(images?.said ?? [])].filter(Boolean).sort(byName).map((said) => [`true:${said}`, said]),
      ...predicted.map((place) => [`predicted:${place}`, `predicted ${name(place)}`])];
    if (!known.some(([value]) => value === state.filter)) state.filter = '';
    controls.filter.fill(known);
  }

  /** Fetch what the selectors name; a later choice overtakes an earlier one. */
  async load() {
    const turn = ++this.turn, {state} = this;
    this.fillSelectors();
    this.fault = '';
    const isSame = (of, run, tag) => of?.series.run === run && of?.series.tag === tag;
    if (!isSame(this.main, state.run, state.layer)) this.clear();
    this.isLoading = true;
    this.show();
    try {
      const other = state.compare === 'run' ? state.run2 : '', layers = this.runs[other] ?? {};
      const tag = Object.hasOwn(layers, state.layer) ? state.layer : Object.keys(layers)[0];
      const [main, beside] = await Promise.all([
        state.run ? this.side(state.run, state.layer, [this.main, this.other]) : null,
        other ? this.side(other, tag, [this.other, this.main]) : null]);
      if (turn !== this.turn) return;
      [this.main, this.other] = [main, beside];
      if (this.series) this.fillNumbers();
    } catch (error) {
      if (turn === this.turn) this.fail(error);
    } finally {
      if (turn === this.turn) this.isLoading = false;
    }
    if (turn !== this.turn) return;
    this.layOut();
    this.show();
    if (state.large >= 0 && !this.isEmpty && state.large < this.images.count) this.large.open();
    else if (state.large >= 0 && !this.isEmpty) { state.large = -1; this.large.close(); }
  }

  clear() {
    this.main = this.brush = this.row = this.drawn = null;
    this.large.close();
    this.layOut();
  }

  /** A run's looks at a layer and its images; what is there of it is not fetched again. */
  async side(run, tag, known) {
    const old = known.find((of) => of?.series.run === run && of.series.tag === tag);
    const series = old?.series ?? new Series(this.source, run, tag);
    const [, probe] = await Promise.all([series.update(), old?.images ?? orNull(this.source.probe(run, tag))]);
    let images = probe instanceof Images ? probe : probe && new Images(this.source, run, tag, probe);
    if (images && series.newest && series.newest.probe_set !== images.probe_set && probe === old?.images) {
      const told = await orNull(this.source.probe(run, tag)); // resumed with others
      images = told && new Images(this.source, run, tag, told);
    }
    if (images) images = await images.first().then(() => images, () => null);
    series.show(images?.probe_set);
    return {series, images};
  }

  fail(error) {
    this.fault = `Run ${this.state.run}: ${error.message}`;
    this.say();
  }

  async follow() {
    if (document.visibilityState !== 'visible' || !isOpen() || this.following || this.isLoading) return;
    this.following = true;
    try {
      const {mark, runs} = await this.source.runs(this.mark), isNew = runs !== null;
      if (isNew) [this.runs, this.mark] = [runs, mark];
      if (!this.main || !this.images || !Object.hasOwn(this.runs, this.state.run)) {
        if (isNew || this.main || this.fault) await this.load();
        return;
      }
      if (isNew) this.fillSelectors();
      const turn = this.turn, sides = [this.main, this.other].filter(Boolean);
      const changes = await Promise.all(sides.map(({series}) => series.update()));
      if (turn !== this.turn) return;
      const replaced = sides.some(({series, images}) => images && series.newest && series.newest.probe_set !== images.probe_set);
      if (replaced) await this.load();
      else if (changes.some(Boolean) || this.fault) {
        this.fault = '';
        if (changes.some(Boolean)) this.fillNumbers();
        if (this.grid.tiles.length !== Math.min(this.series.images, this.images.count)) this.layOut();
        this.show();
      }
    } catch (error) {
      const told = `TensorBoard does not answer: ${error.message}`;
      if (told !== this.fault) { this.fault = told; this.say(); }
    } finally {
      this.following = false;
    }
  }

  /** An address that was pasted into an open TensorBoard, or gone back to. */
  goToAddress(state) {
    this.state = state;
    this.palette = heatPalette(state.colour, state.opacity / 100);
    this.load();
  }

  async start() {
    this.isLoading = true;
    this.say();
    try {
      const {mark, runs} = await this.source.runs('');
      [this.runs, this.mark] = [runs, mark];
    } catch (error) {
      this.fault = `TensorBoard does not answer: ${error.message}`;
    }
    await this.load();
    onAddress((state) => this.goToAddress(state));
    setInterval(() => this.follow(), 1000 * SECONDS_BETWEEN_POLLS);
  }
}

/** Plays epochs, all of them or those of the range that is brushed, which it repeats. */
class Player {
  constructor(app) {
    this.app = app;
    this.set(false);
  }

  set(on) {
    this.isOn = on;
    const {play} = this.app;
    setText(play, on ? '❚❚' : '►');
    play.setAttribute('aria-label', on ? 'pause' : 'play');
  }

  /** The places of the first and the last epoch that are played. */
  get bounds() {
    const {series, brush} = this.app;
    return brush ? brush.map((step) => series.looks.indexOf(series.at(step))) : [0, series.looks.length - 1];
  }

  toggle() {
    const {app} = this;
    if (app.isEmpty || app.series.looks.length < 2) return;
    const [first, last] = this.bounds;
    if (!this.isOn && (app.position >= last || app.position < first)) app.goTo(first);
    this.set(!this.isOn);
    this.at = performance.now();
    if (this.isOn) requestAnimationFrame((now) => this.on(now));
  }

  on(now) {
    const {app} = this;
    if (!this.isOn) return;
    if (app.isEmpty || !isOpen()) { this.set(false); return; }
    const due = Math.floor((now - this.at) / 1000 * app.state.speed), [first, last] = this.bounds;
    if (due > 0) {
      this.at += due * 1000 / app.state.speed;
      const next = app.position + due;
      if (next > last && app.brush) app.goTo(first);
      else app.goTo(Math.min(last, next));
      if (app.position >= last && !app.brush) this.set(false);
    }
    requestAnimationFrame((again) => this.on(again));
  }
}

const orNull = (promise) => promise.catch(() => null);

const byName = (a, b) => a.localeCompare(b, undefined, {numeric: true}); // version_9, version_10

function followTheme() {
  const apply = (isDark) => document.documentElement.classList.toggle('dark', isDark);
  try {
    const {body} = window.parent.document, follow = () => apply(body.classList.contains('dark-mode'));
    new MutationObserver(follow).observe(body, {attributes: true, attributeFilter: ['class']});
    follow();
  } catch {
    apply(matchMedia('(prefers-color-scheme: dark)').matches);
  }
}

/** TensorBoard calls this when the tab is opened. */
export async function render() {
  followTheme();
  await new App(new Server()).start();
}
