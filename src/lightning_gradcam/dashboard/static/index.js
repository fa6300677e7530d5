// The Attention tab: small modules, no build.

import {isOpen, linkTo, onAddress, readAddress, writeAddress} from './address.js';
import {byName, className, groupsOf, matching, orderOf, readPins, saidOfGroup, writePins} from './choosing.js';
import {changePalette, colourOfRun, gradientOf, heatPalette, LESS, MORE} from './colour.js';
import {make, setText} from './dom.js';
import {Grid} from './grid.js';
import {Large} from './large.js';
import {boxOf, CHANGE, IN_BOX, isBetter, numbersOf, round, worded, WRONG} from './measure.js';
import {Overview} from './overview.js';
import {Panel} from './panel.js';
import {Player} from './player.js';
import {Sides} from './sides.js';
import {Server} from './source.js';
import {take} from './taking.js';
import {Change, MOST, Plain, readBeside, View, writeBeside} from './views.js';

const SECONDS_BETWEEN_POLLS = 3;
const LINES = 12; // runs that have a line in the overview at most
const FIRST = ['in_mask', 'border', 'drift', WRONG]; // of these the overview shows what there is, unless it is told
const DASHES = ['', '6 3', '2 3', '8 3 2 3'];

class App {
  constructor(source) {
    Object.assign(this, {source, sides: new Sides(source), state: readAddress(), runs: {}, mark: '', fault: '', turn: 0, painted: 0});
    this.grid = new Grid({open: (image) => this.openLarge(image), pin: (image) => this.pin(image)});
    this.player = new Player(this, (isOn) => { this.panel?.playing(isOn); this.later(); });
    this.large = new Large({
      goTo: (look) => this.goTo(this.series.looks.indexOf(this.series.at(look.step))),
      turn: (by) => this.turnTo(by),
      play: () => this.player.toggle(),
      box: (box) => this.setBox(box),
      save: (what) => take(this, `image ${what}`),
      closed: () => { if (!this.isLoading) { this.state.large = -1; writeAddress(this.state); } },
    });
    this.build();
    this.repaint();
  }

  get series() { return this.side?.series; }
  get images() { return this.side?.images; }
  get isEmpty() { return !this.series?.looks.length || !this.images?.pictures[0]; } // whose sides are those of all
  get box() { return boxOf(this.state.box); }

  /** What maps are drawn as shares of: as in the logged pictures, unless it is chosen. */
  get scale() { return this.state.scale || (this.images?.about.includes('scale: run') ? 'run' : 'image'); }

  /** What looks are counted in: epochs, or optimizer steps. */
  get unit() { return this.images?.unit ?? 'epoch'; }

  /** The place of the epoch that is shown among those that were logged. */
  get position() { return Math.max(0, this.series.placeOf(this.state.step)); }

  /** The places of the first and the last epoch that are played. */
  get bounds() {
    const {series, brush} = this;
    const [first, last] = brush ? brush.map((step) => series.placeOf(step)) : [0, series.looks.length - 1];
    return {first, last, repeats: Boolean(brush)};
  }

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
    this.changeScale = make('span', {className: 'scale'});
    this.changeWords = make('span', {className: 'changekey'}, 'less ', this.changeScale, ' more heat than in the first');
    this.changeScale.style.background = `linear-gradient(to right, rgb(${LESS}), transparent, rgb(${MORE}))`;
    this.heatKey = make('p', {className: 'heatkey'}, 'no heat ', this.heatScale, ' ', this.heatWords, this.changeWords);
    document.body.append(make('h1', {textContent: 'Attention', className: 'unseen'}), this.panel.element, this.status, this.overview.element, this.panel.all, this.heatKey, this.grid.element, this.large.element);
    document.addEventListener('keydown', (event) => this.onKey(event));
    document.addEventListener('keyup', (event) => { if (event.key === 'o') this.bare(false); });
  }

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
    const {order} = this, place = order.indexOf(this.state.large);
    this.openLarge(order[(place + by + order.length) % order.length] ?? this.state.large);
  }

  pin(image) {
    const pins = readPins(this.state.pins);
    if (!pins.delete(image)) pins.add(image);
    this.state.pins = writePins(pins);
    this.show();
  }

  /** Measure what is in a box, in all images at all epochs; what has not come of the maps is fetched. */
  setBox(box) {
    this.state.box = box ? box.join(',') : '';
    if (box) this.state.number = IN_BOX;
    this.fillNumbers();
    this.show();
  }

  addBeside(kind) {
    const views = readBeside(this.state.beside), {series, state} = this;
    const others = Object.keys(this.runs).filter((run) => run !== state.run).sort(byName), layers = Object.keys(this.runs[state.run] ?? {});
    const added = {
      epoch: {step: series.steps[0]}, run: {run: others.find((run) => !views.some((view) => view.run === run)) ?? others[0]},
      layer: {layer: layers.find((tag) => tag !== state.layer && !views.some((view) => view.layer === tag)) ?? layers.find((tag) => tag !== state.layer)},
      target: {target: state.target ? 0 : 1},
    };
    if (!Object.hasOwn(added, kind)) return;
    state.beside = writeBeside([...views, added[kind]]);
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
    this.drawing = {palette: heatPalette(colour, part), changes: changePalette(part)};
    this.painted++;
    this.heatScale.style.background = gradientOf(colour);
    this.show();
  }

  /** Show the images without their heat, or with it again. */
  bare(isBare) {
    if (this.isBare === isBare) return;
    this.isBare = isBare;
    this.repaint();
  }

  // ---- showing -------------------------------------------------------------------------------------------------

  /** What stands beside each other: the view that time and filter are of, and those beside it. */
  viewsNow() {
    const {state, series, images, unit} = this, drawing = {...this.drawing, scale: this.scale, box: this.box};
    const look = series.at(state.step), beside = this.besideNow(look);
    const named = (view) => this.nameOf(view, beside);
    const made = (of, at, target, name, against = null) => new View({
      series: of.series, images: of.images, look: at, target, name, first: images, against, drawing, need: (one, missing) => this.fill(one, missing), arrived: () => this.later(),
    });
    const own = {run: state.run, layer: state.layer, target: state.target, step: look.step};
    const first = made(this.side, look, state.target, beside.length ? named(own) : `${unit} ${look.step}`);
    const others = beside.filter(({side}) => side?.images && side.series.looks.length);
    return [first, ...others.map((view) => made(view.side, view.look, view.target, named(view), first))];
  }

  /** The views beside the first, with what they have of it. */
  besideNow(look) {
    const {state} = this;
    return readBeside(state.beside).map((asked) => {
      const run = Object.hasOwn(this.runs, asked.run) ? asked.run : state.run, layers = this.runs[run] ?? {};
      const wanted = asked.layer ?? state.layer, layer = Object.hasOwn(layers, wanted) ? wanted : Object.keys(layers)[0];
      const side = this.sides.get(run, layer), at = side?.series.looks.length ? side.series.at(asked.step ?? look.step) : null;
      const target = Math.max(0, Math.min(asked.target ?? state.target, (side?.series.targets ?? 1) - 1));
      return {asked, run, layer, side, look: at, target, step: at?.step};
    });
  }

  /** A view by what tells it from the others. */
  nameOf({run, layer, target, step}, beside) {
    const {state, images, unit, series} = this, now = series.at(state.step).step;
    const differs = (part, own) => beside.some((view) => view[part] !== own);
    const parts = [
      differs('run', state.run) ? run : '', differs('layer', state.layer) ? this.runs[run]?.[layer]?.layer ?? layer : '',
      differs('target', state.target) ? images.columns?.[target] ?? `target ${target}` : '', differs('step', now) ? `${unit} ${step}` : ''];
    return parts.filter(Boolean).join(', ') || `${unit} ${step}`;
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

  /** The number that the overview is of. */
  get number() {
    const known = numbersOf(this.series, this.box);
    return known.includes(this.state.number) ? this.state.number : FIRST.find((name) => known.includes(name)) ?? known[0];
  }

  /** Make a tile an image, anew when the data, the size or the number of sides are others. */
  layOut() {
    const sides = this.isEmpty ? 1 : this.tileSidesOf(this.viewsNow()).length;
    if (this.isEmpty) this.grid.layOut(0, 1, null, 1);
    else this.grid.layOut(Math.min(this.series.images, this.images.count), sides, this.images.pictures[0], this.state.size);
  }

  /** The views, and behind each the change from the first to it, if that is shown. */
  sidesOf([first, ...others]) {
    return [first, ...others.flatMap((view) => this.state.change ? [view, new Change(first, view)] : [view])];
  }

  /** What a tile has. */
  tileSidesOf(views) { return [...(this.state.plain ? [new Plain(views[0])] : []), ...this.sidesOf(views)]; }

  show() {
    writeAddress(this.state);
    this.overview.element.hidden = this.heatKey.hidden = this.isEmpty;
    if (this.isEmpty) { this.showPanel([]); this.say(); return; }
    const views = this.viewsNow(), [{look}] = views, {state, series} = this, sides = this.tileSidesOf(views), {number} = this;
    if (this.grid.tiles.length !== Math.min(series.images, this.images.count) || this.grid.tiles[0].sides.length !== sides.length) this.layOut();
    this.showPanel(views);
    const before = readBeside(state.beside).some((view) => view.step !== undefined) && views[1] ? views[1].look : series.looks[this.position - 1];
    this.order = orderOf(views, {...state, number: state.sort || number}, before);
    const told = state.group ? numbersOf(series, this.box).filter((name) => name !== WRONG) : [];
    const groups = groupsOf(this.order, views[0], state.group).map((group) => ({...group, told: group.name && saidOf(saidOfGroup(group.images, views[0], told))}));
    this.grid.show({groups, view: views[0], sides, palette: this.drawing.palette, number: state.sort || number, pins: readPins(state.pins)});
    this.showOverview(this.order, views);
    this.sayHeat(views);
    this.say(this.order.length);
    if (this.box) for (const {series: of} of views) this.fillAll(of);
    if (state.large >= 0 && state.large < this.images.count) {
      this.large.show({
        image: state.large, views, sides: this.sidesOf(views), number, unit: this.unit, layer: this.runs[series.run]?.[series.tag]?.layer, box: this.box, isPlaying: this.player.isOn,
        drawn: `${this.painted}|${this.scale}`, drawnNumbers: `${number}|${state.box}|${this.box ? series.filled : ''}`,
      });
    }
  }

  /** Fetch all maps of a series: a box is measured in all of them. */
  fillAll(series) {
    if (series.wantsAll) return;
    series.wantsAll = true;
    this.fill(series, series.looks[this.position] ?? series.looks[0]);
  }

  showPanel(views) {
    const {state, series, panel} = this, targets = series?.targets ?? 0;
    panel.element.hidden = panel.all.hidden = !Object.keys(this.runs).length;
    const kinds = readBeside(state.beside).length >= MOST || this.isEmpty ? [] : [
      ['epoch', `another ${this.unit}`, series.looks.length > 1], ['run', 'another run', Object.keys(this.runs).length > 1],
      ['layer', 'another layer', Object.keys(this.runs[state.run] ?? {}).length > 1], ['target', 'another target', targets > 1],
    ].filter(([, , has]) => has).map(([kind, text]) => [kind, text]);
    panel.show({scale: this.scale, views: views.map(({name}) => name), targets, hasPeaks: !series?.looks.length || series.looks[0].numbers.has('peak'), kinds});
    if (this.isEmpty) { panel.showBeside([], this.unit); return; }
    const look = series.at(state.step), names = Object.keys(this.runs).sort(byName);
    panel.showTime({unit: this.unit, place: this.position, last: series.looks.length - 1, step: look.step, lastStep: series.last});
    panel.showBeside(this.besideNow(look).map(({asked, run, layer, side, target, step}) => ({
      name: this.nameOf({run, layer, target, step: step ?? look.step}, this.besideNow(look)), run, layer, target, step: asked.step === undefined ? undefined : step ?? asked.step, runs: names, layers: this.runs[run] ?? {},
      targets: Array.from({length: side?.series.targets ?? 1}, (_, at) => side?.images?.columns?.[at] ?? String(at)), steps: side?.series.steps ?? [],
    })), this.unit);
  }

  showOverview(order, views) {
    const {series, images, number, box} = this, names = Object.keys(this.runs).sort(byName), lines = new Map();
    const add = (of, own, target, label) => {
      const key = JSON.stringify([of.run, of.tag, target]), same = order.map((image) => images.placeIn(own, image)).filter((image) => image >= 0);
      const before = [...lines.values()].filter((line) => line.run === of.run).length;
      if (lines.has(key)) return;
      lines.set(key, {
        series: of, run: of.run, target, images: same.length ? same : own.said.map((_, image) => image), dash: DASHES[before % DASHES.length],
        label: same.length ? label : `${label} (other images)`, colour: colourOfRun(names.indexOf(of.run)),
      });
    };
    const ofRun = (run) => views.some((view) => view.series.run === run && view !== views[0] && view.series.tag !== series.tag);
    for (const view of views) add(view.series, view.images, view.target, ofRun(view.series.run) ? `${view.series.run}, ${this.runs[view.series.run]?.[view.series.tag]?.layer}` : view.series.run);
    for (const {series: of, images: own} of this.others ?? []) if (own && of.looks.length) add(of, own, Math.min(this.state.target, of.targets - 1), of.run);
    const shown = [...lines.values()], filled = box && number === IN_BOX ? shown.map((line) => line.series.filled) : '';
    const key = [number, this.state.box, order, this.brush, filled, ...shown.flatMap((line) => [line.label, line.target, line.series.mark, line.series.probeSet, line.images.length])].join('|');
    if (key !== this.drawn) {
      this.drawn = key;
      this.overview.show({lines: shown, number, box, order, unit: this.unit, images, range: this.brush});
    }
    this.overview.mark(views[0].look.step, this.row ?? -1);
  }

  /** What the heat is evidence for: one class, or what each image's caption says. */
  sayHeat([{look, target, images}]) {
    const explained = new Set(this.order.filter((image) => !look.states[image * look.shape[1] + target]).map((image) => look.targets[image * look.shape[1] + Math.min(target, look.shape[1] - 1)]));
    const [only] = explained, of = explained.size === 1 && only >= 0 ? className(images, only) : `what each map explains (${images.columns?.[target] ?? images.about.split('  ·  ')[0]})`;
    setText(this.heatWords, `strongest evidence for ${of}; hold o to see the images alone. ✗ and a dashed frame: wrong. `);
    this.changeWords.hidden = !this.state.change || !this.state.beside;
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
    const missing = this.isEmpty || !this.box ? 0 : this.series.looks.length - this.series.filled;
    return [this.images ? this.images.about : '', count, missing ? `in the box: ${missing} of ${this.series.looks.length} ${this.unit}s have not come yet` : ''].filter(Boolean).join('  ·  ');
  }

  /** The runs' layers that stand beside each other, each once. */
  get shownSides() {
    const beside = this.isEmpty ? [] : this.besideNow(this.series.at(this.state.step)).map(({side}) => side);
    return [...new Set([this.side, ...beside].filter(Boolean))];
  }

  /** What was said at the end of each run that is shown of its maps. */
  cautions() {
    const told = this.shownSides.map(({series}) => series).filter((series) => series.caution), several = this.shownSides.length > 1;
    return told.map((series) => several ? `${series.run}: ${series.caution}` : series.caution);
  }

  troubles() {
    const notes = this.fault ? [this.fault] : [];
    for (const {series, images} of this.shownSides) {
      if (series.broken) notes.push(`Run ${series.run}: ${series.broken} of its records cannot be read and are left out.`);
      if (series.looks.length && series.others) notes.push(`Run ${series.run}: ${series.others} of its ${images.unit}s are of other images and are left out.`);
      if (!images || (images === this.images && !images.pictures[0] && !this.isLoading)) notes.push(`Run ${series.run}: its images cannot be read.`);
      else if (series.received.length && !series.looks.length) notes.push(`Run ${series.run}: no ${images.unit} is of its images.`);
      else if (!series.received.length) notes.push(`Run ${series.run}: no ${images.unit} of ${this.runs[series.run]?.[series.tag]?.layer ?? series.tag} can be read.`);
      if (!images || !this.images || images === this.images) continue;
      const others = this.images.fingerprints.filter((_, image) => this.images.placeIn(images, image) < 0).length;
      if (others) notes.push(`The runs watch different images: ${others} of ${this.images.count} are not in run ${series.run}, and have nothing beside them.`);
    }
    return notes;
  }

  // ---- loading and following -----------------------------------------------------------------------------------

  fillRuns() {
    const {state, panel} = this, names = Object.keys(this.runs).sort(byName), found = matching(names, state.runs);
    if (!Object.hasOwn(this.runs, state.run)) state.run = found[found.length - 1] ?? names[names.length - 1] ?? '';
    const layers = Object.hasOwn(this.runs, state.run) ? this.runs[state.run] : {};
    if (!Object.hasOwn(layers, state.layer)) state.layer = Object.keys(layers)[0] ?? '';
    panel.fillRuns(names, found, layers);
  }

  fillNumbers() {
    const {state, series, panel, images} = this;
    state.target = Math.max(0, Math.min(state.target, series.targets - 1));
    const first = (name) => name === 'in_mask' ? 'least on the thing first' : `${isBetter(name, images) ? 'least' : 'most'} ${worded(name)} first`;
    const numbers = numbersOf(series, this.box), sorts = [...numbers, ...(state.beside ? [CHANGE] : [])];
    if (!sorts.includes(state.sort)) state.sort = '';
    const predicted = [...new Set(series.looks.flatMap((look) => [...new Set(look.predictions)]))].sort((a, b) => a - b);
    const filters = [['', 'all images'], ['wrong', 'turned wrong'], ['right', 'turned right'],
      ...[...new Set(images?.said ?? [])].filter(Boolean).sort(byName).map((said) => [`true:${said}`, said]),
      ...predicted.map((place) => [`predicted:${place}`, `predicted ${className(images, place)}`])];
    if (!filters.some(([value]) => value === state.filter)) state.filter = '';
    panel.fill({
      target: Array.from({length: series.targets}, (_, t) => [String(t), images?.columns?.[t] ?? String(t)]),
      sort: [['', 'as in the data'], ...sorts.map((name) => [name, first(name)])], filter: filters,
      number: numbers.map((name) => [name, worded(name)]),
    });
    if (series.looks.length) panel.controls.number.element.value = this.number;
  }

  /** Fetch what is chosen; a later choice overtakes an earlier one. */
  async load() {
    const turn = ++this.turn, {state} = this;
    this.fillRuns();
    this.fault = '';
    const there = this.sides.get(state.run, state.layer);
    if (!there || there !== this.side) this.clear();
    this.isLoading = true;
    this.show();
    try {
      const written = this.runs[state.run]?.[state.layer]?.written;
      const side = state.run ? await this.sides.load(state.run, state.layer, written) : null;
      if (turn !== this.turn) return;
      this.side = side;
      if (side) await side.images?.load(0).catch(() => null);
      if (turn !== this.turn) return;
      if (this.series) this.fillNumbers();
      if (!this.isEmpty) { // what there is, while the rest comes
        this.show();
        await Promise.all(this.besideNow(this.series.at(state.step)).map(({run, layer}) => this.sides.load(run, layer, this.runs[run]?.[layer]?.written)));
      }
    } catch (error) {
      if (turn === this.turn) this.fail(error);
    } finally {
      if (turn === this.turn) this.isLoading = false;
    }
    if (turn !== this.turn) return;
    this.show();
    if (state.large >= 0 && !this.isEmpty && state.large < this.images.count) this.large.open();
    else if (state.large >= 0 && !this.isEmpty) { state.large = -1; this.large.close(); }
    this.loadOthers(turn);
  }

  /** The numbers of the other runs that are searched for: a line each in the overview. */
  async loadOthers(turn) {
    const {state} = this, wanted = matching(Object.keys(this.runs).sort(byName), state.runs).filter((run) => run !== state.run).slice(-(LINES - 1));
    this.others = [];
    for (const run of wanted) {
      const layers = this.runs[run], layer = Object.hasOwn(layers, state.layer) ? state.layer : Object.keys(layers)[0];
      const side = await this.sides.load(run, layer, layers[layer].written).catch(() => null);
      if (turn !== this.turn) return;
      if (side) this.others.push(side);
      this.later();
    }
  }

  clear() {
    this.side = this.brush = this.row = this.drawn = this.others = null;
    this.large.close();
    this.layOut();
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
      if (isNew) this.runs = runs;
      if (!this.side || !this.images || !Object.hasOwn(this.runs, this.state.run)) {
        if (isNew || this.fault) await this.load();
        this.mark = mark;
        return;
      }
      if (isNew) await this.bringUpToDate();
      this.mark = mark; // what could not be fetched is asked for again
      if (this.fault) { this.fault = ''; this.show(); }
    } catch (error) {
      const told = `TensorBoard does not answer: ${error.message}`;
      if (told !== this.fault) { this.fault = told; this.say(); }
    } finally {
      this.following = false;
    }
  }

  async bringUpToDate() {
    const turn = this.turn, probes = this.shownSides.map(({series}) => series.probeSet), all = [...new Set([...this.shownSides, ...this.others ?? []])];
    this.fillRuns();
    await Promise.all(all.map(({series: {run, tag}}) => this.runs[run]?.[tag] && this.sides.load(run, tag, this.runs[run][tag].written)));
    if (turn !== this.turn) return;
    if (!this.images?.pictures[0] || this.shownSides.some(({series}, place) => series.probeSet !== probes[place])) {
      await this.load();
      return;
    }
    this.fillNumbers();
    this.show();
    const known = new Set([this.state.run, ...(this.others ?? []).map(({series}) => series.run)]);
    if (matching(Object.keys(this.runs), this.state.runs).some((run) => !known.has(run)) && known.size < LINES) this.loadOthers(this.turn);
  }

  /** An address that was pasted into an open TensorBoard, or gone back to. */
  goToAddress(state) {
    Object.assign(this.state, state);
    this.repaint();
    this.load();
  }

  link() { return linkTo({...this.state, step: this.isEmpty ? this.state.step : this.series.at(this.state.step).step}); }

  async start() {
    this.isLoading = true;
    this.say();
    try {
      const {mark, runs} = await this.source.runs('');
      [this.runs, this.mark] = [runs, mark];
    } catch (error) {
      this.fault = `TensorBoard does not answer: ${error.message}`;
    }
    const {fault} = this;
    await this.load();
    if (fault) { this.fault = fault; this.say(); }
    onAddress((state) => this.goToAddress(state));
    setInterval(() => this.follow(), 1000 * SECONDS_BETWEEN_POLLS);
  }
}

/** A group in one line. */
function saidOf({count, wrong, means}) {
  const numbers = Object.entries(means).filter(([, mean]) => mean !== null).map(([name, mean]) => `${worded(name)} ${round(mean)}`);
  return [`${count} image${count === 1 ? '' : 's'}`, `${wrong} wrong`, ...numbers].join('  ·  ');
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
