// The Attention tab: small modules, no build.

import {isOpen, linkTo, onAddress, readAddress, writeAddress} from './address.js';
import {byName, filtersOf, groupsOf, matching, orderOf, readPins, saidOfGroup, writePins} from './choosing.js';
import {changePalette, gradientOf, heatPalette, LESS, MORE} from './colour.js';
import {make, setText} from './dom.js';
import {Grid} from './grid.js';
import {Large} from './large.js';
import {LINES, linesOf, noteOfRuns} from './lines.js';
import {boxOf, CHANGE, IN_BOX, isBetter, numbersOf, worded, WRONG} from './measure.js';
import {Overview} from './overview.js';
import {Panel} from './panel.js';
import {Player} from './player.js';
import {cautionsOf, emptyPage, evidenceOf, factsOf, groupInWords, troublesOf} from './saying.js';
import {Sides} from './sides.js';
import {Server} from './source.js';
import {take} from './taking.js';
import {Change, MOST, Plain, readBeside, View, writeBeside} from './views.js';

const SECONDS_BETWEEN_POLLS = 3;
const FIRST = ['in_mask', 'border', 'drift', WRONG]; // of these the overview shows what there is, unless it is told

class App {
  constructor(source) {
    Object.assign(this, {
      source, sides: new Sides(source), state: readAddress(), runs: {}, names: [], places: new Map(), mark: '', fault: '', turn: 0, painted: 0, order: [], lines: [],
    });
    this.grid = new Grid({open: (image) => this.openLarge(image), pin: (image) => this.pin(image)});
    this.player = new Player(this, (isOn) => { this.panel?.playing(isOn); this.later(); });
    this.large = new Large({
      goTo: (look) => this.goTo(this.series.placeOf(look.step)),
      turn: (by) => this.turnTo(by),
      play: () => this.player.toggle(),
      box: (box) => this.setBox(box),
      save: (what) => take(this, `image ${what}`),
      closed: () => { if (!this.large.isOpen && !this.isLoading) { this.state.large = -1; writeAddress(this.state); } },
    });
    this.build();
    this.repaint();
  }

  get series() { return this.side?.series; }
  get images() { return this.side?.images; }
  get isEmpty() { return !this.series?.looks.length || !this.images?.pictures[0]; } // whose sides are those of all
  get box() { return boxOf(this.state.box); }
  get look() { return this.series.at(this.state.step); }

  /** What maps are drawn as shares of: as in the logged pictures, unless it is chosen. */
  get scale() { return this.state.scale || (this.images?.scale ?? 'image'); }

  /** What looks are counted in: epochs, or optimizer steps. */
  get unit() { return this.images?.unit ?? 'epoch'; }

  /** The place of the epoch that is shown among those that were logged. */
  get position() { return Math.max(0, this.series.placeOf(this.state.step)); }

  /** The steps of a range that plays again and again, or null. */
  get brush() {
    const range = this.state.range.split('-').map(Number);
    return range.length === 2 && range.every(Number.isInteger) && range[0] < range[1] ? range : null;
  }

  /** The places of the first and the last epoch that are played. */
  get bounds() {
    const {series, brush} = this;
    const [first, last] = brush ? brush.map((step) => series.placeOf(step)) : [0, series.looks.length - 1];
    return {first, last, repeats: Boolean(brush)};
  }

  /** The number that the overview is of. */
  get number() {
    const known = numbersOf(this.series, this.images, this.box);
    return known.includes(this.state.number) ? this.state.number : FIRST.find((name) => known.includes(name)) ?? known[0];
  }

  layersOf(run) { return Object.hasOwn(this.runs, run) ? this.runs[run] : {}; }

  layerOf({run, tag}) { return this.layersOf(run)[tag]?.layer ?? tag; }

  // ---- the page ------------------------------------------------------------------------------------------------

  build() {
    document.head.append(make('link', {rel: 'stylesheet', href: new URL('style.css', import.meta.url).href}));
    document.documentElement.lang = 'en';
    document.title = 'Attention';
    this.panel = new Panel(this.state, {
      load: () => this.load(), show: () => this.show(), repaint: () => this.repaint(), layOut: () => this.layOut(), goTo: (place) => this.goTo(place),
      play: () => this.player.toggle(), besideChanged: (place, view) => this.changeBeside(place, view), besideAdded: (kind) => this.addBeside(kind),
      take: (what) => take(this, what),
    });
    this.overview = new Overview({choose: (chosen) => this.choose(chosen), chooseRun: (run) => { this.state.run = run; this.load(); }, control: this.panel.number});
    this.status = make('div', {className: 'status', role: 'status'});
    this.heatScale = make('span', {className: 'scale'});
    this.heatWords = make('span', {className: 'heatwords'});
    const changeScale = make('span', {className: 'scale'});
    changeScale.style.background = `linear-gradient(to right, rgb(${LESS}), transparent, rgb(${MORE}))`;
    this.changeKey = make('span', {className: 'changekey'}, 'less ', changeScale, ' more heat; where nothing changed, the picture as it is');
    this.heatKey = make('p', {className: 'heatkey'}, 'no heat ', this.heatScale, ' ', this.heatWords, this.changeKey);
    document.body.append(
      make('h1', {textContent: 'Attention', className: 'unseen'}), this.panel.element, this.status, this.overview.element, this.panel.all, this.heatKey, this.grid.element, this.large.element);
    document.addEventListener('keydown', (event) => this.onKey(event));
    document.addEventListener('keyup', (event) => { if (event.key === 'o') this.bare(false); });
    window.addEventListener('blur', () => this.bare(false));
  }

  onKey(event) {
    if (this.isEmpty || event.ctrlKey || event.metaKey || event.altKey) return;
    const {tagName, type} = event.target, isSlider = type === 'range', takesArrows = isSlider || tagName === 'SELECT' || tagName === 'INPUT';
    const takesLetters = tagName === 'SELECT' || (tagName === 'INPUT' && !isSlider), takesSpace = takesLetters || /^(BUTTON|SUMMARY)$/.test(tagName);
    const last = this.series.looks.length - 1, places = {ArrowRight: this.position + 1, ArrowLeft: this.position - 1, Home: 0, End: last};
    if (event.key === ' ' && !takesSpace) this.player.toggle();
    else if (event.key === 'o' && !takesLetters) this.bare(true);
    else if (Object.hasOwn(places, event.key) && !takesArrows) this.goTo(places[event.key]);
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
    if (from !== undefined) this.state.range = from === to ? '' : `${from}-${to}`;
    if (step !== undefined) this.state.step = step === this.series.last ? -1 : step;
    if (image !== undefined) this.row = image;
    this.show();
    if (image !== undefined && image !== null) this.grid.tiles[image]?.figure.scrollIntoView({block: 'nearest'});
  }

  openLarge(image) {
    this.state.large = this.row = image;
    this.large.open();
    this.show();
  }

  /** The image before or behind, as they are ordered and filtered. */
  turnTo(by) {
    const {order} = this, place = order.indexOf(this.state.large);
    this.openLarge(order[(place + by + order.length) % order.length] ?? this.state.large);
  }

  /** Pin an image, by its pixels: the same one in every run. */
  pin(image) {
    const pins = readPins(this.state.pins), fingerprint = this.images.fingerprints[image];
    if (!pins.delete(fingerprint)) pins.add(fingerprint);
    this.state.pins = writePins(pins);
    this.show();
  }

  /** Measure what is in a box, in all images at all epochs. */
  setBox(box) {
    this.state.box = box ? box.join(',') : '';
    if (box) this.state.number = IN_BOX;
    this.fillNumbers();
    this.show();
  }

  addBeside(kind) {
    const {state, series} = this, views = readBeside(state.beside), unused = (part, all, own) => {
      const others = all.filter((one) => one !== own);
      return others.find((one) => !views.some((view) => view[part] === one)) ?? others[0];
    };
    const runs = matching(this.names, state.runs), targets = Array.from({length: series.targets}, (_, target) => target);
    const added = {
      epoch: () => ({step: series.steps[0]}), run: () => ({run: unused('run', runs.length > 1 ? runs : this.names, state.run)}),
      layer: () => ({layer: unused('layer', Object.keys(this.layersOf(state.run)), state.layer)}), target: () => ({target: unused('target', targets, state.target)}),
    };
    if (!Object.hasOwn(added, kind)) return;
    state.beside = writeBeside([...views, added[kind]()]);
    this.load();
  }

  changeBeside(place, changed) {
    const views = readBeside(this.state.beside);
    if (changed) Object.assign(views[place], changed);
    else views.splice(place, 1);
    if (!views.length) Object.assign(this.state, {change: 0, by: 0});
    this.state.beside = writeBeside(views);
    if (changed && Object.keys(changed).every((part) => part === 'step' || part === 'target')) this.show();
    else this.load();
  }

  repaint() {
    const {colour, opacity} = this.state, part = this.isBare ? 0 : opacity / 100;
    this.palettes = {palette: heatPalette(colour, part), changes: changePalette(part)};
    this.painted++;
    this.heatScale.style.background = gradientOf(colour);
    this.show();
  }

  /** Show the images without their heat, or with it again. */
  bare(isBare) {
    if (Boolean(this.isBare) === isBare) return;
    this.isBare = isBare;
    this.repaint();
  }

  // ---- what stands beside each other -----------------------------------------------------------------------------

  /** The view that time and filter are of, at a look, and those beside it. */
  viewsAt(look) {
    const {state, images} = this, beside = this.besideAt(look), drawing = {...this.palettes, scale: this.scale, box: this.box};
    const own = {run: state.run, layer: state.layer, target: state.target, side: this.side, look, step: look.step};
    const made = (view, against) => new View({
      series: view.side.series, images: view.side.images, look: view.look, target: view.target, ...this.namesOf(view, own, beside), first: images, against, drawing,
      need: (series, missing) => this.fill(series, missing), arrived: (image) => this.drawAnew(image),
    });
    const first = made(own, null);
    return [first, ...beside.filter(({side}) => side?.images && side.series.looks.length).map((view) => made(view, first))];
  }

  /** The views beside the first, with what they have of it: {asked, run, layer, side, look, target, step}. */
  besideAt(look) {
    const {state} = this;
    return readBeside(state.beside).map((asked) => {
      const run = Object.hasOwn(this.runs, asked.run) ? asked.run : state.run, layers = this.layersOf(run), wanted = asked.layer ?? state.layer;
      const layer = Object.hasOwn(layers, wanted) ? wanted : Object.keys(layers)[0], side = this.sides.get(run, layer);
      const at = side?.series.looks.length ? side.series.at(asked.step ?? look.step) : null;
      const target = Math.max(0, Math.min(asked.target ?? state.target, (side?.series.targets || 1) - 1));
      return {asked, run, layer, side, look: at, target, step: at?.step ?? look.step};
    });
  }

  /** A view by what tells it from the others: {name, line}, of which `line` leaves its epoch out. */
  namesOf({run, layer, target, step}, own, beside) {
    const {images, unit} = this, differs = (part) => beside.some((view) => view[part] !== own[part]), epoch = `${unit} ${step}`;
    const parts = [differs('run') ? run : '', differs('layer') ? this.layerOf({run, tag: layer}) : '', differs('target') ? images.columns?.[target] ?? `target ${target}` : ''].filter(Boolean);
    return {name: [...parts, ...(differs('step') || !parts.length ? [epoch] : [])].join(', '), line: parts.join(', ')};
  }

  /** The views, and behind each the change between the first and it, if that is shown. */
  sidesOf([first, ...others]) {
    return [first, ...others.flatMap((view) => this.state.change ? [view, new Change(first, view)] : [view])];
  }

  /** What a tile has. */
  tileSidesOf(views) { return [...(this.state.plain ? [new Plain(views[0])] : []), ...this.sidesOf(views)]; }

  /** The runs' layers that stand beside each other, each once. */
  get shownSides() {
    const beside = this.isEmpty ? [] : this.besideAt(this.look).map(({side}) => side);
    return [...new Set([this.side, ...beside].filter(Boolean))];
  }

  /** The images that are shown, in order. */
  orderOf(views) {
    const [first] = views, {looks} = this.series, other = views.find((view) => view !== first && view.series === first.series && view.look !== first.look);
    return orderOf(views, {...this.state, number: this.state.sort || this.number}, other?.look ?? looks[looks.indexOf(first.look) - 1]);
  }

  // ---- showing -------------------------------------------------------------------------------------------------

  fill(series, look) {
    series.fill(look, (error) => {
      if (error && error.code !== 409) this.fail(error); // 409: what is new is asked for by the next poll
      this.later();
    });
  }

  /** Fetch all maps of a series: a box is measured in all of them. */
  fillAll(series) {
    if (series.filled === series.looks.length) return;
    series.wantsAll = true;
    this.fill(series, series.at(this.state.step));
  }

  /** Draw an image whose picture has come, and nothing else: in scrolling many come. */
  drawAnew(image) {
    this.grid.drawAnew(image);
    if (image === this.state.large) this.later();
  }

  /** Show again, once, before the next frame. */
  later() {
    this.due ??= requestAnimationFrame(() => { this.due = null; this.show(); });
  }

  /** Make a tile an image, anew when the images, their size or the number of sides are others. */
  layOut() {
    if (this.isEmpty) { this.grid.layOut(0, 1, null, 1); return; }
    this.grid.layOut(this.images.count, this.tileSidesOf(this.viewsAt(this.look)).length, this.images.pictures[0], this.state.size);
    this.laidOut = this.images;
  }

  show() {
    writeAddress(this.state);
    this.overview.element.hidden = this.heatKey.hidden = this.isEmpty;
    if (this.isEmpty) { this.showPanel([]); this.say(0); return; }
    const views = this.viewsAt(this.look), [first] = views, {state, series, number} = this, sides = this.tileSidesOf(views);
    if (this.laidOut !== this.images || this.grid.tiles[0].sides.length !== sides.length) this.layOut();
    this.showPanel(views);
    this.order = this.orderOf(views);
    const told = state.group ? numbersOf(series, this.images, this.box) : [];
    const groups = groupsOf(this.order, first, state.group).map((group) => ({...group, told: group.name && groupInWords(saidOfGroup(group.images, first, told))}));
    const pinned = readPins(state.pins), pins = new Set(this.images.fingerprints.flatMap((one, image) => pinned.has(one) ? [image] : []));
    this.grid.show({groups, view: first, sides, palette: this.palettes.palette, number: state.sort || number, pins});
    this.showOverview(this.order, views);
    setText(this.heatWords, `strongest evidence for ${evidenceOf(first, this.order)}; hold o to see the images alone. ✗ and a dashed frame: wrong. `);
    this.changeKey.hidden = !state.change || views.length < 2;
    this.say(this.order.length);
    if (state.large >= 0 && state.large < this.images.count) this.showLarge(views);
  }

  showLarge(views) {
    const {series, number, box, state} = this;
    this.large.show({
      image: state.large, views, sides: this.sidesOf(views), number, unit: this.unit, layer: this.layerOf(series), box, isPlaying: this.player.isOn, drawn: `${this.painted}|${this.scale}`,
    });
  }

  showPanel(views) {
    const {state, series, panel, unit} = this, targets = series?.targets ?? 0, layers = Object.keys(this.layersOf(state.run));
    panel.element.hidden = panel.all.hidden = !this.names.length;
    const kinds = readBeside(state.beside).length >= MOST || this.isEmpty ? [] : [
      ['epoch', `another ${unit}`, series.looks.length > 1], ['run', 'another run', this.names.length > 1], ['layer', 'another layer', layers.length > 1], ['target', 'another target', targets > 1],
    ].filter(([, , has]) => has).map(([kind, text]) => [kind, text]);
    const hasPeaks = !series?.looks.length || series.metrics.includes('peak');
    panel.show({scale: this.scale, views: views.map(({name}) => name), targets, hasPeaks, kinds, unit, number: this.isEmpty ? '' : worded(state.sort || this.number)});
    if (this.isEmpty) { panel.showBeside([], unit); return; }
    const {look} = this, beside = this.besideAt(look), own = {run: state.run, layer: state.layer, target: state.target, step: look.step};
    panel.showTime({unit, place: this.position, last: series.looks.length - 1, step: look.step, lastStep: series.last});
    const found = matching(this.names, state.runs);
    panel.showBeside(beside.map((view) => ({
      name: this.namesOf(view, own, beside).name, run: view.run, layer: view.layer, target: view.target, step: view.asked.step === undefined ? undefined : view.step,
      runs: [...new Set([view.run, ...found])], layers: Object.entries(this.layersOf(view.run)).map(([tag, {layer}]) => [tag, layer]),
      targets: Array.from({length: view.side?.series.targets ?? 1}, (_, at) => view.side?.images?.columns?.[at] ?? String(at)), steps: view.side?.series.steps ?? [],
    })), unit);
  }

  // ---- the overview ----------------------------------------------------------------------------------------------

  showOverview(order, views) {
    const {images, number, box, state} = this, lines = linesOf(order, views, this);
    if (box && number === IN_BOX) for (const {series} of lines) this.fillAll(series);
    const filled = number === IN_BOX ? lines.map(({series}) => series.filled) : '', note = noteOfRuns(this);
    const key = [number, note, state.box, order, state.range, filled, images.probe_set, ...lines.flatMap((line) => [line.label, line.target, line.series.mark, line.series.probeSet, line.images])].join('|');
    if (key !== this.drawn) {
      this.drawn = key;
      this.overview.show({lines, number, box, order, unit: this.unit, images, range: this.brush, note});
    }
    this.overview.mark(this.look.step, this.row ?? -1);
  }

  // ---- saying ----------------------------------------------------------------------------------------------------

  say(shown) {
    const any = this.names.length > 0, sides = this.shownSides, cautions = any ? cautionsOf(sides) : [];
    const facts = any ? factsOf(this, shown) : '', notes = [...(this.fault ? [this.fault] : []), ...(any ? troublesOf(sides, (series) => this.layerOf(series), this.isLoading) : [])];
    const nothing = any && !this.isEmpty && !shown ? ['No image is left by what is filtered.'] : [], all = [any, this.isLoading, facts, ...cautions, ...notes, ...nothing].join('\n');
    this.grid.element.setAttribute('aria-busy', String(Boolean(this.isLoading)));
    if (this.said === all) return; // a screen reader reads what is new
    this.said = all;
    const lines = (texts, className) => texts.map((textContent) => make('p', {className, textContent}));
    this.status.replaceChildren(...(any ? [facts] : emptyPage(this.isLoading)), ...lines(cautions, 'caution'), ...lines([...notes, ...nothing], 'broken'));
  }

  fail(error) {
    this.fault = error.code ? `Run ${this.state.run}: ${error.message}` : `TensorBoard does not answer: ${error.message}`;
    this.say(this.order.length);
  }

  // ---- loading and following -----------------------------------------------------------------------------------

  fillRuns() {
    const {state, panel, names} = this, found = matching(names, state.runs);
    if (!Object.hasOwn(this.runs, state.run)) state.run = found[found.length - 1] ?? names[names.length - 1] ?? '';
    const layers = this.layersOf(state.run);
    if (!Object.hasOwn(layers, state.layer)) state.layer = Object.keys(layers)[0] ?? '';
    panel.fillRuns(names, found, layers);
  }

  fillNumbers() {
    const {state, series, panel, images} = this;
    state.target = Math.max(0, Math.min(state.target, series.targets - 1));
    const first = (name) => name === 'in_mask' ? 'least on the thing first' : `${isBetter(name, images) ? 'least' : 'most'} ${worded(name)} first`;
    const numbers = numbersOf(series, images, this.box), sorts = [...numbers, ...(state.beside ? [CHANGE] : [])], filters = images ? filtersOf(images, series.looks) : [['', 'all images']];
    if (!sorts.includes(state.sort)) state.sort = '';
    if (!filters.some(([value]) => value === state.filter)) state.filter = '';
    panel.fill({
      target: Array.from({length: series.targets}, (_, t) => [String(t), images?.columns?.[t] ?? String(t)]),
      sort: [['', 'as in the data'], ...sorts.map((name) => [name, first(name)])], filter: filters, number: numbers.map((name) => [name, worded(name)]),
    });
    if (series.looks.length) panel.controls.number.element.value = this.number;
  }

  /** Show what is chosen; a later choice overtakes an earlier one. */
  async load() {
    const turn = ++this.turn;
    this.fillRuns();
    this.fault = '';
    const there = this.sides.get(this.state.run, this.state.layer);
    if (!there || there !== this.side) this.clear();
    this.isLoading = true;
    this.show();
    await this.fetch(turn);
  }

  /** Fetch what is shown, or what is new of it: first the run itself, then what stands beside it, then other runs' lines. */
  async fetch(turn) {
    const {state} = this, get = (run, layer) => Object.hasOwn(this.layersOf(run), layer) ? this.sides.load(run, layer, this.runs[run][layer]) : null;
    let fault = null;
    const orFault = (promise) => Promise.resolve(promise).catch((error) => { fault = error; return null; });
    const side = await orFault(get(state.run, state.layer));
    if (turn !== this.turn) return;
    if (side) this.side = side;
    await this.images?.load(0).catch(() => null);
    if (turn !== this.turn) return;
    if (this.series) this.fillNumbers();
    if (!this.isEmpty) {
      this.show(); // what there is, while the rest comes
      await Promise.all(this.besideAt(this.look).map(({run, layer}) => orFault(get(run, layer))));
      if (turn !== this.turn) return;
    }
    this.isLoading = false;
    this.fault = '';
    if (fault) this.fail(fault);
    this.show();
    this.showOrCloseLarge();
    this.lines = this.lines.filter(({series}) => matching([series.run], state.runs).length);
    this.later();
    for (const run of matching(this.names, state.runs).filter((one) => one !== state.run).slice(-(LINES - 1))) {
      const layers = this.layersOf(run), line = await orFault(get(run, Object.hasOwn(layers, state.layer) ? state.layer : Object.keys(layers)[0]));
      if (turn !== this.turn) return;
      if (line && !this.lines.includes(line)) this.lines.push(line);
      this.later();
    }
    this.isBehind = Boolean(fault);
    this.sides.trim([...this.shownSides, ...this.lines]);
  }

  showOrCloseLarge() {
    const {state} = this;
    if (this.isEmpty) return;
    if (state.large >= this.images.count) state.large = -1;
    if (state.large < 0) this.large.close();
    else this.openLarge(state.large);
  }

  clear() {
    this.side = this.row = this.drawn = this.laidOut = null;
    this.lines = [];
    this.large.close();
    this.grid.layOut(0, 1, null, 1);
  }

  async ask() {
    const {mark, runs} = await this.source.runs(this.mark);
    this.mark = mark;
    if (runs === null) return false;
    Object.assign(this, {runs, names: Object.keys(runs).sort(byName)});
    for (const name of this.names) if (!this.places.has(name)) this.places.set(name, this.places.size); // a run keeps its colour
    return true;
  }

  async follow() {
    if (document.visibilityState !== 'visible' || !isOpen() || this.following || this.isLoading) return;
    this.following = true;
    try {
      const isNew = await this.ask();
      if (!Object.hasOwn(this.runs, this.state.run) || !this.side) { if (isNew || this.fault) await this.load(); }
      else if (isNew || this.isBehind || this.fault) {
        this.fillRuns();
        await this.fetch(this.turn);
      }
      if (!this.isEmpty && this.shownSides.some(({series}) => series.filled < series.looks.length)) this.later(); // maps that did not come are asked for again
    } catch (error) {
      const told = `TensorBoard does not answer: ${error.message}`;
      if (told !== this.fault) { this.fault = told; this.say(this.order.length); }
    } finally {
      this.following = false;
    }
  }

  /** An address that was pasted into an open TensorBoard, or gone back to. */
  goToAddress(state) {
    Object.assign(this.state, state);
    if (state.large < 0) this.large.close();
    this.repaint();
    this.load();
  }

  link() { return linkTo({...this.state, step: this.isEmpty ? this.state.step : this.look.step}); }

  async start() {
    this.isLoading = true;
    this.say(0);
    let fault = '';
    await this.ask().catch((error) => { fault = `TensorBoard does not answer: ${error.message}`; });
    await this.load();
    if (fault) { this.fault = fault; this.say(0); }
    onAddress((state) => this.goToAddress(state));
    setInterval(() => this.follow(), 1000 * SECONDS_BETWEEN_POLLS);
  }
}

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

/** TensorBoard calls this when the tab is opened; a source of another kind shows what it has. */
export async function render(source = new Server()) {
  followTheme();
  await new App(source).start();
}
