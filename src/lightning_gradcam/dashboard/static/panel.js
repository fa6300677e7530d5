// The controls above the pictures: what is chosen in them changes the state, and is told.

import {COLOURS} from './colour.js';
import {make, setText} from './dom.js';

const RUNS_WORTH_SEARCHING = 8;
const NARROW = '(max-width: 700px), (max-height: 500px)';

/**
 * The header of the tab.
 *
 * `state` is what is chosen; `told` hears of what becomes of it: load(), show(), repaint(), layOut(), goTo(place), play(),
 * besideChanged(place, view or null), besideAdded(kind), take(what).
 */
export class Panel {
  constructor(state, told) {
    Object.assign(this, {state, told, controls: {}});
    const {show, load} = told;
    const views = make('div', {className: 'row'},
      this.search = this.text('runs', 'find runs', {type: 'search', placeholder: 'name or /regular expression/'}, load),
      this.select('run', 'run', [], load), this.select('layer', 'layer', [], load), this.select('target', 'target', [], show),
      this.adding = this.select('adding', 'add beside it', [], () => {}));
    this.controls.adding.element.onchange = ({target}) => { const kind = target.value; target.value = ''; told.besideAdded(kind); };
    this.beside = make('div', {className: 'besides'});
    this.playButton = make('button', {type: 'button', className: 'play', onclick: told.play});
    this.epoch = make('input', {type: 'range', id: 'epoch', min: 0, max: 0, step: 1, oninput: () => told.goTo(Number(this.epoch.value))});
    this.epochText = make('output', {htmlFor: 'epoch', className: 'epoch'});
    this.epochText.setAttribute('aria-live', 'off'); // the slider says it
    this.epochLabel = make('label', {htmlFor: 'epoch'});
    const time = make('div', {className: 'row time'}, this.playButton, this.epochLabel, this.epoch, this.epochText,
      this.speed = this.select('speed', 'epochs a second', [1, 2, 5, 10, 20, 50].map((speed) => [String(speed), String(speed)]), show));
    this.speed.classList.add('speed');
    const again = () => { told.layOut(); show(); }, bound = (name, label) => this.text(name, label, {type: 'text', inputMode: 'decimal', size: 4}, show);
    this.number = this.select('number', 'overview of', [], show); // it stands there
    const choosing = make('div', {className: 'row'}, make('span', {className: 'range'}, bound('least', 'number from'), bound('most', 'to')), this.select('sort', 'sort', [], show), this.select('by', 'of', [], show), this.select('filter', 'show', [], show),
      this.select('group', 'group by', [['', 'nothing'], ['true', 'true class'], ['predicted', 'predicted class']], show),
      this.check('mistakes', 'only mistakes', show), this.check('plain', 'images beside', again), this.check('change', 'show the change', again));
    const drawing = this.folding('drawing', make('div', {className: 'row'},
      this.range('opacity', 'opacity', {min: 0, max: 100}, told.repaint), this.select('colour', 'colours', COLOURS.map((name) => [name, name]), told.repaint),
      this.select('scale', 'strength', [['image', 'each image by itself'], ['run', 'by its highest peak of all epochs'], ['all', 'by the highest of all images']], told.repaint),
      this.range('size', 'size', {min: 64, max: 384, step: 16}, () => { told.layOut(); show(); })));
    const button = (what, text) => make('button', {type: 'button', textContent: text, onclick: () => told.take(what)});
    this.copied = button('link', 'copy link');
    this.progress = make('span', {className: 'progress', role: 'status'});
    const taking = this.folding('take along', make('div', {className: 'row'}, button('png', 'images as PNG'), button('svg', 'images as SVG'),
      button('overview-png', 'overview as PNG'), button('overview-svg', 'overview as SVG'), button('webp', 'time-lapse as WebP'), button('csv', 'numbers as CSV'), this.copied, this.progress));
    this.all = make('details', {className: 'controls'}, make('summary', {textContent: 'controls'}), views, this.beside, choosing, make('div', {className: 'row folds'}, drawing, taking));
    const media = matchMedia(NARROW), fold = () => { this.all.open = !media.matches; };
    media.addEventListener('change', fold);
    fold();
    this.element = make('header', {}, time); // which stays in sight
    this.playing(false);
  }

  // ---- making controls --------------------------------------------------------------------------------------------

  labelled(name, label, element) {
    this.controls[name] = {...this.controls[name], element};
    return make('label', {className: 'control', htmlFor: name}, make('span', {textContent: label}), element);
  }

  select(name, label, options, change) {
    const element = make('select', {id: name, onchange: () => { this.set(name, element.value); change(); }});
    this.controls[name] = {fill: (entries) => {
      const key = JSON.stringify(entries);
      if (element.dataset.options !== key) element.replaceChildren(...entries.map(([value, text]) => make('option', {value, textContent: text})));
      element.dataset.options = key;
      element.value = String(this.state[name] ?? '');
    }};
    const made = this.labelled(name, label, element);
    this.controls[name].fill(options);
    return made;
  }

  range(name, label, bounds, change) {
    const element = make('input', {type: 'range', id: name, ...bounds, value: this.state[name], oninput: () => { this.set(name, element.value); change(); }});
    return this.labelled(name, label, element);
  }

  text(name, label, properties, change) {
    const element = make('input', {id: name, ...properties, value: this.state[name], oninput: () => { this.set(name, element.value); change(); }});
    return this.labelled(name, label, element);
  }

  check(name, label, change) {
    const element = make('input', {type: 'checkbox', id: name, onchange: () => { this.state[name] = Number(element.checked); change(); }});
    return this.labelled(name, label, element);
  }

  folding(label, content) { return make('details', {className: 'folding'}, make('summary', {textContent: label}), content); }

  set(name, value) { this.state[name] = typeof this.state[name] === 'number' ? Number(value) : value; }

  hide(name, isHidden) { this.controls[name].element.closest('label').hidden = isHidden; }

  // ---- showing what is chosen -------------------------------------------------------------------------------------

  /** The runs, those that are searched for, and the first view's layers, {tag: layer}. */
  fillRuns(names, found, layers) {
    const {controls, state} = this, offered = found.includes(state.run) || !state.run ? found : [state.run, ...found];
    controls.run.fill(offered.map((name) => [name, name]));
    controls.layer.fill(Object.entries(layers).map(([tag, {layer}]) => [tag, layer]));
    this.search.hidden = names.length < RUNS_WORTH_SEARCHING && !state.runs;
  }

  /** What can be chosen of a series: options, a list of [value, text] each. */
  fill(options) { for (const [name, entries] of Object.entries(options)) this.controls[name].fill(entries); }

  /** Show the state; `views` are the names of those that stand beside each other, `kinds` what can be added. */
  show({scale, views, targets, hasPeaks, kinds, unit, number}) {
    const {state, controls} = this, label = (name, text) => setText(controls[name].element.previousElementSibling, text);
    label('speed', `${unit}s a second`);
    label('least', number ? `${number} from` : 'from');
    for (const name of ['colour', 'sort', 'filter', 'speed', 'group', 'opacity', 'size', 'least', 'most', 'runs']) {
      if (controls[name].element !== document.activeElement || controls[name].element.tagName === 'SELECT') controls[name].element.value = String(state[name]);
    }
    for (const name of ['mistakes', 'plain', 'change']) controls[name].element.checked = Boolean(state[name]);
    controls.scale.element.value = scale;
    controls.by.fill(views.map((name, place) => [String(place), name]));
    this.hide('by', views.length < 2);
    this.hide('change', views.length < 2);
    this.hide('target', targets < 2);
    this.hide('scale', !hasPeaks); // no strength to compare by
    controls.adding.fill([['', 'choose …'], ...kinds]);
  }

  showTime({unit, place, last, step, lastStep}) {
    this.epoch.max = last;
    this.epoch.value = place;
    this.epoch.setAttribute('aria-valuetext', `${unit} ${step}`);
    setText(this.epochLabel, unit);
    setText(this.epochText, `${step} of ${lastStep}`);
  }

  playing(isOn) {
    setText(this.playButton, isOn ? '❚❚' : '►');
    this.playButton.setAttribute('aria-label', isOn ? 'pause' : 'play');
  }

  /**
   * A row for each view beside the first.
   *
   * views: [{name, run, layer, target, step, runs: [..], layers: [[tag, layer], ..], targets: [..], steps}], with what it
   * has, also of the first view; its step is undefined where it follows that one's.
   */
  showBeside(views, unit) {
    const key = JSON.stringify(views.map(({runs, layers, targets, step}) => [runs, layers, targets, step === undefined]));
    if (key !== this.besideKey) {
      this.besideKey = key;
      this.rows = views.map((view, place) => this.besideRow(view, place, unit));
      this.beside.replaceChildren(...this.rows.map(({element}) => element));
    }
    views.forEach((view, place) => {
      const row = this.rows[place];
      setText(row.name, `beside it: ${view.name}`);
      for (const part of ['run', 'layer', 'target']) row[part].value = String(view[part]);
      if (!row.slider) return;
      row.slider.max = view.steps.length - 1;
      row.steps = view.steps;
      row.slider.value = view.steps.findLastIndex((step) => step <= view.step);
      row.slider.setAttribute('aria-valuetext', `${unit} ${view.step}`);
      setText(row.told, `${unit} ${view.step}`);
    });
  }

  besideRow({runs, layers, targets, step}, place, unit) {
    const changed = (view) => this.told.besideChanged(place, view), id = (part) => `${part}-${place + 1}`;
    const select = (part, entries, read = String) => {
      const element = make('select', {id: id(part), onchange: () => changed({[part]: read(element.value)})});
      element.append(...entries.map(([value, text]) => make('option', {value, textContent: text})));
      const label = make('label', {className: 'control', htmlFor: id(part), hidden: entries.length < 2}, make('span', {textContent: part}), element);
      return [element, label];
    };
    const [run, ofRun] = select('run', runs.map((name) => [name, name]));
    const [layer, ofLayer] = select('layer', layers);
    const [target, ofTarget] = select('target', targets.map((name, at) => [String(at), name]), Number);
    const name = make('span', {className: 'beside-name'}), remove = make('button', {type: 'button', textContent: '✕', onclick: () => changed(null)});
    remove.setAttribute('aria-label', `remove view ${place + 2}`);
    const row = {run, layer, target, name, element: make('div', {className: 'row second'}, name, ofRun, ofLayer, ofTarget)};
    if (step !== undefined) {
      row.told = make('output', {className: 'epoch', htmlFor: id('step')});
      row.told.setAttribute('aria-live', 'off');
      row.slider = make('input', {type: 'range', id: id('step'), min: 0, step: 1, oninput: () => changed({step: row.steps[Number(row.slider.value)]})});
      row.slider.setAttribute('aria-label', `${unit} of view ${place + 2}`);
      row.element.append(row.slider, row.told);
    }
    row.element.append(remove);
    return row;
  }
}
