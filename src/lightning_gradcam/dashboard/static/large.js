// One image, large, over all epochs.

import {draw, make, setText} from './dom.js';
import {evenly, round, ticksIn, toldApart, worded} from './measure.js';
import {indexOf, numberOf} from './series.js';
import {canvasFor, paint} from './paint.js';

const STRIP = 60; // epochs in the strip at most
const BESIDE = 440; // pixels for the chart
const LINES = ['#1e8e3e', '#e8710a', '#9334e6', '#1a73e8', '#d01884', '#129eaf', '#b0861a', '#7c8a99', '#c5221f', '#5f4b8b', '#00897b', '#6d4c41'];

/** A dialog; `goTo(look)`, `turn(by)`, `save(canvases, words)` and `closed()` are told what is chosen in it. */
export class Large {
  constructor({goTo, turn, save, closed}) {
    Object.assign(this, {goTo, strip: [], bigs: [], words: ''});
    const button = (text, label, onclick) => {
      const made = make('button', {type: 'button', textContent: text, onclick});
      made.setAttribute('aria-label', label);
      return made;
    };
    this.said = make('p', {className: 'said'});
    this.pictures = make('div', {className: 'bigs'});
    this.chart = make('div', {className: 'chart'});
    this.frames = make('div', {className: 'strip'});
    this.element = make('dialog', {className: 'large', onclose: closed},
      make('div', {className: 'row bar'}, this.said, button('‹', 'image before', () => turn(-1)),
        button('›', 'next image', () => turn(1)),
        button('PNG', 'save as a picture', () => save([this.original, ...this.bigs.map(({canvas}) => canvas)], [this.said.textContent, ...this.bigs.map(({name}) => name.textContent).filter(Boolean)])), button('✕', 'close', () => this.element.close())),
      make('div', {className: 'row'}, this.pictures, this.chart), this.frames);
    this.element.setAttribute('aria-label', 'one image, large');
  }

  get isOpen() { return this.element.open; }

  open() { if (!this.isOpen) this.element.showModal(); }

  close() { if (this.isOpen) this.element.close(); }

  /** given: {image, columns, palette, series, images, target, look, unit, map(look, image), picture(column, image)}. */
  show(given) {
    const {image, columns, palette, series, look, unit, map, picture} = given, looks = evenly(series.looks, STRIP);
    const made = [image, columns.length, looks.length, looks[0], series.newest].map((one) => one?.step ?? one).join();
    if (made !== this.made || series !== this.series) this.build(given, looks);
    [this.made, this.series] = [made, series];
    paint(this.original, picture(columns[0], image), null);
    columns.forEach((column, place) => {
      const {canvas, word, name} = this.bigs[place], said = column.said(image);
      const found = said.missing ? {map: null, why: said.missing} : column.map(image);
      paint(canvas, said.missing ? null : picture(column, image), found.map, palette);
      setText(word, found.why);
      word.hidden = !found.why;
      setText(name, [column.name, said.missing ? '' : said.answer, said.of].filter(Boolean).join(': '));
    });
    for (const {canvas, of} of this.strip) paint(canvas, picture(columns[0], image), map(of, image).map, palette);
    this.showInStrip(look);
    const said = columns[0].said(image);
    setText(this.said, [`image ${image + 1}`, `run ${series.run}`, given.layer, `${unit} ${look.step}`, said.truth, said.answer].filter(Boolean).join('  ·  '));
    this.drawChart(given);
  }

  /** Mark the epoch that is shown, or the last one before it of those in the strip, and bring it into sight. */
  showInStrip(look) {
    const current = this.strip.findLast(({of}) => of.step <= look.step) ?? this.strip[0];
    for (const {button, of} of this.strip) button.setAttribute('aria-current', String(of === current.of));
    const {offsetLeft, offsetWidth} = current.button, {clientWidth} = this.frames;
    this.frames.scrollLeft = offsetLeft - this.frames.offsetLeft - (clientWidth - offsetWidth) / 2;
  }

  build({image, columns, unit, picture}, looks) {
    const first = picture(columns[0], image), room = Math.min(1320, 0.94 * window.innerWidth) - BESIDE;
    const longest = Math.max(160, Math.min(400, room / (columns.length + 1)));
    this.original = canvasFor(first, longest);
    this.bigs = columns.map(() => ({
      canvas: canvasFor(first, longest), word: make('span', {className: 'word'}), name: make('span', {className: 'side'}),
    }));
    this.pictures.replaceChildren(make('div', {className: 'cell'}, this.original, make('span', {className: 'side', textContent: 'the image'})), ...this.bigs.map(({canvas, word, name}) => make('div', {className: 'cell'}, canvas, word, name)));
    this.strip = looks.map((of) => {
      const canvas = canvasFor(first, 72);
      const button = make('button', {type: 'button', className: 'frame', onclick: () => this.goTo(of)},
        canvas, make('span', {textContent: String(of.step)}));
      button.setAttribute('aria-label', `${unit} ${of.step}`);
      if (of.wrong[image]) button.classList.add('wrong');
      return {canvas, button, of};
    });
    this.frames.replaceChildren(...this.strip.map((frame) => frame.button));
  }

  /** A number, with what has to be known to read it, which a click shows. */
  explained(given, name, ...shown) {
    const words = given.images.metrics && Object.hasOwn(given.images.metrics, name) ? given.images.metrics[name] : null;
    if (!words) return make('li', {}, ...shown);
    const open = this.words === name;
    const button = make('button', {type: 'button', className: 'metric', title: words.says, onclick: () => {
      this.words = open ? '' : name;
      this.drawChart(given);
      this.chart.querySelector(`[data-metric="${CSS.escape(name)}"]`)?.focus();
    }}, ...shown);
    button.dataset.metric = name;
    button.setAttribute('aria-expanded', String(open));
    const told = `${words.says} ${words.direction} By chance: ${words.chance} Mind: ${words.failing}`;
    return make('li', {}, button, ...(open ? [make('p', {className: 'words', textContent: told})] : []));
  }

  /** The image's numbers over the epochs, and the epoch that is shown: those of 0 to 1, and of -0.5 to 0.5. */
  drawChart(given) {
    const {image, series, target, look, unit} = given, [width, height] = [360, 170], last = Math.max(1, series.last);
    const valueIn = (one, name) => numberOf(one, name, indexOf(one, image, target));
    const lines = series.metrics.map((name) => ({name, points: series.looks.map((one) => [one.step, valueIn(one, name)]).filter(([, y]) => y !== null)}))
      .filter(({points}) => points.length && points.every(([, y]) => y >= -0.5 && y <= 1));
    const low = lines.some(({points}) => points.some(([, y]) => y < 0)) ? -0.5 : 0;
    const place = ([x, y]) => `${(x / last * width).toFixed(1)},${((1 - y) / (1 - low) * height).toFixed(1)}`;
    const parts = [draw('rect', {x: 0, y: 0, width, height, class: 'paper'})];
    const ticks = ticksIn([low, 1], 4), labels = toldApart(ticks);
    for (const [at, value] of ticks.entries()) {
      const y = (1 - value) / (1 - low) * height;
      parts.push(draw('line', {x1: 0, x2: width, y1: y, y2: y, class: 'rule'}), draw('text', {x: -5, y: y + 4, 'text-anchor': 'end'}, labels[at]));
    }
    for (const step of ticksIn([0, last], 6).filter(Number.isInteger)) {
      parts.push(draw('text', {x: step / last * width, y: height + 14, 'text-anchor': 'middle'}, String(step)));
    }
    parts.push(draw('text', {x: width / 2, y: height + 28, 'text-anchor': 'middle'}, unit));
    if (low) parts.push(draw('polyline', {points: [[0, 0], [last, 0]].map(place).join(' '), class: 'now'}));
    parts.push(draw('line', {x1: look.step / last * width, x2: look.step / last * width, y1: 0, y2: height, class: 'now'}));
    const legend = make('ul', {className: 'legend'});
    for (const [number, {name, points}] of lines.entries()) {
      const colour = LINES[number % LINES.length], value = valueIn(look, name), swatch = make('i');
      parts.push(draw('polyline', {points: points.map(place).join(' '), stroke: colour, class: 'line'}));
      swatch.style.background = colour;
      legend.append(this.explained(given, name, swatch, `${worded(name)} ${value === null ? '–' : value.toFixed(2)}`));
    }
    for (const name of series.metrics.filter((one) => !lines.some((line) => line.name === one))) { // of another range
      const value = valueIn(look, name);
      if (value !== null) legend.append(this.explained(given, name, `${worded(name)} ${round(value)}`));
    }
    const label = `numbers of this image by ${unit}, from ${low} to 1`;
    const svg = draw('svg', {viewBox: `-34 -8 ${width + 42} ${height + 40}`, role: 'img', class: 'lines', 'aria-label': label}, ...parts);
    svg.addEventListener('click', (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      this.goTo(series.at(Math.max(0, Math.round(at.x / width * last))));
    });
    this.chart.replaceChildren(svg, legend);
  }
}
