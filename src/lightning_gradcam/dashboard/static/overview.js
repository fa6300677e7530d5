// The overview: a number's means as lines, one a run, over a matrix of images and epochs coloured by it.

import {gradientOf, numberPalette, sampled} from './colour.js';
import {draw, make, setText} from './dom.js';
import {extent, flipsOf, IN_BOX, meansOf, peakOf, round, ticksIn, toldApart, toldOf, valueOf, worded, wordsOf} from './measure.js';

const LEFT = 56, RIGHT = 12, LINES = 110, AXIS = 20; // pixels
const MATRIX = 220, MOST_ROW = 12; // pixels: of the matrix at most, of an image's row at most
const SCALE = 'viridis';

/** The overview as an element, with the control of its number on top; `choose({step, image, from, to})` and `chooseRun(run)` are told what is chosen in it. */
export class Overview {
  constructor({choose, chooseRun, control}) {
    Object.assign(this, {choose, chooseRun, palette: numberPalette(SCALE)});
    this.lines = draw('svg', {class: 'lines', role: 'img'});
    this.matrix = make('canvas', {className: 'matrix', tabIndex: 0});
    this.matrix.setAttribute('role', 'img');
    this.now = make('div', {className: 'marker'});
    this.row = make('div', {className: 'chosen'});
    this.tip = make('div', {className: 'tip', hidden: true});
    this.names = make('div', {className: 'names'});
    this.note = make('span', {className: 'note'});
    this.marks = make('span', {className: 'marks', textContent: '▼ attention moved most  ·  red marks: predictions turned right or wrong'});
    this.ends = make('span', {className: 'ends'});
    this.says = make('summary');
    this.more = make('p', {className: 'words'});
    this.help = make('details', {className: 'help'}, this.says, this.more);
    this.stage = make('div', {className: 'stage'}, this.lines, this.matrix, this.now, this.row, this.tip);
    this.element = make('section', {className: 'overview'}, make('div', {className: 'row top'}, control, this.names, this.note), this.stage, make('div', {className: 'key'}, this.ends, this.marks, this.help));
    this.element.setAttribute('aria-label', 'overview of all epochs and images');
    this.stage.addEventListener('pointerdown', (event) => this.press(event));
    this.stage.addEventListener('pointermove', (event) => this.move(event));
    for (const end of ['pointerup', 'pointercancel']) this.stage.addEventListener(end, () => { this.held = null; });
    this.stage.addEventListener('pointerleave', () => { this.tip.hidden = true; });
    this.matrix.addEventListener('keydown', (event) => this.onKey(event));
    new ResizeObserver(() => this.given && this.show(this.given)).observe(this.element);
  }

  /**
   * Draw anew.
   *
   * given: {lines: [{series, images, label, run, colour, dash, target}], number, box, order: images, row by row, unit,
   * images, range: [from, to] of steps or null, note}; the first line's series is the matrix's.
   */
  show(given) {
    this.given = given;
    const {lines, number, order, box} = given, [{series, target}] = lines;
    this.width = Math.max(200, this.element.clientWidth - LEFT - RIGHT);
    this.steps = series.steps;
    this.domain = [Math.min(...lines.map((line) => line.series.steps[0] ?? 0)), Math.max(...lines.map((line) => line.series.last))];
    this.means = lines.map((line) => meansOf(line.series, number, line.images, line.target, box));
    const values = series.looks.map((look) => order.map((image) => valueOf(look, number, image, target, box)));
    this.range = within(extent(function* () { for (const row of values) yield* row; }()));
    this.drawLines();
    this.drawMatrix(values);
    this.drawKey();
    if (this.marked) this.mark(...this.marked);
  }

  /** Move the marks alone: the epoch that is shown, and the image that is. */
  mark(step, image) {
    this.marked = [step, image];
    const place = this.x(step), row = this.given.order.indexOf(image);
    this.now.style.left = `${LEFT + place}px`;
    this.now.style.height = `${LINES + AXIS + this.height}px`;
    this.row.hidden = row < 0;
    const high = this.height / this.given.order.length;
    Object.assign(this.row.style, {left: `${LEFT}px`, width: `${this.width}px`, top: `${LINES + AXIS + row * high}px`, height: `${Math.max(2, high)}px`});
  }

  /** What it shows, to be taken along; lengths are in pixels. */
  get picture() {
    const {number, unit, images, box} = this.given, words = wordsOf(number, images);
    return {
      colours: sampled(SCALE, 24), range: toldApart(this.range),
      lines: this.lines, matrix: this.matrix, left: LEFT, top: LINES + AXIS, width: this.width + LEFT + RIGHT, height: LINES + AXIS + this.height,
      words: [`${worded(number)}, mean of the images (lines) and of each (rows), by ${unit}`,
        ...(words ? [`${words.says} ${words.direction}`] : []), ...(box && number === IN_BOX ? [`box: ${box.map((side) => `${Math.round(1000 * side) / 10} %`).join(', ')} (left, top, right, bottom)`] : []),
        '▼ attention moved most; red marks: predictions turned; hatched: no number'],
      names: this.given.lines.map(({label, colour, dash}) => ({label, colour, dash})),
    };
  }

  x(step) {
    const [first, last] = this.domain;
    return last === first ? this.width / 2 : (step - first) / (last - first) * this.width;
  }

  y(value, [low, high]) { return 8 + (high - value) / (high - low) * (LINES - 16); }

  drawLines() {
    const {lines, number, unit, range} = this.given, bounds = extent(this.means.flat());
    const parts = [draw('rect', {x: LEFT, y: 0, width: this.width, height: LINES, class: 'paper'})];
    const ticks = ticksIn(bounds, 4), labels = toldApart(ticks);
    for (const [place, value] of ticks.entries()) {
      const y = this.y(value, bounds);
      parts.push(draw('line', {x1: LEFT, x2: LEFT + this.width, y1: y, y2: y, class: 'rule'}),
        draw('text', {x: LEFT - 6, y: y + 4, 'text-anchor': 'end'}, labels[place]));
    }
    for (const step of ticksIn(this.domain, Math.max(2, Math.floor(this.width / 90))).filter(Number.isInteger)) {
      parts.push(draw('text', {x: LEFT + this.x(step), y: LINES + 14, 'text-anchor': 'middle'}, String(step)));
    }
    if (range) parts.push(draw('rect', {x: LEFT + this.x(range[0]), width: Math.max(2, this.x(range[1]) - this.x(range[0])), y: 0, height: LINES, class: 'brush'}));
    lines.forEach((line, place) => {
      const points = line.series.looks.map((look, at) => [look.step, this.means[place][at]]).filter(([, mean]) => mean !== null);
      const at = ([step, mean]) => `${(LEFT + this.x(step)).toFixed(1)},${this.y(mean, bounds).toFixed(1)}`;
      parts.push(draw('polyline', {points: points.map(at).join(' '), stroke: line.colour, 'stroke-dasharray': line.dash, class: place ? 'line' : 'line first'}));
      if (points.length === 1) parts.push(draw('circle', {cx: LEFT + this.x(points[0][0]), cy: this.y(points[0][1], bounds), r: 3, fill: line.colour}));
    });
    parts.push(...this.flipMarks(), ...this.driftMark());
    this.lines.setAttribute('width', LEFT + this.width + RIGHT);
    this.lines.setAttribute('height', LINES + AXIS);
    this.lines.setAttribute('aria-label', `${worded(number)}, mean of the images, by ${unit}`);
    this.lines.replaceChildren(...parts);
  }

  /** Below the lines: at how many images' predictions turned right or wrong. */
  flipMarks() {
    const {order, lines: [{series}]} = this.given, flips = flipsOf(series.looks, order), most = Math.max(1, ...flips);
    return flips.flatMap((count, place) => {
      if (!count) return [];
      const x = LEFT + this.x(this.steps[place]);
      const mark = draw('line', {x1: x, x2: x, y1: LINES, y2: LINES - 2 - 8 * count / most, class: 'flip'});
      mark.append(draw('title', {}, `${count} predictions turned right or wrong`));
      return [mark];
    });
  }

  driftMark() {
    const {order, lines: [{series, target}]} = this.given;
    if (!series.metrics.includes('drift')) return [];
    const place = peakOf(meansOf(series, 'drift', order, target));
    if (place < 0) return [];
    const x = LEFT + this.x(this.steps[place]);
    const mark = draw('path', {d: `M${x - 5},0 L${x + 5},0 L${x},8 Z`, class: 'drift'});
    mark.append(draw('title', {}, `attention moved most at ${this.given.unit} ${this.steps[place]}`));
    return [mark];
  }

  drawMatrix(values) {
    const {order} = this.given, rows = order.length;
    this.height = Math.max(1, Math.min(MATRIX, rows * MOST_ROW));
    const scale = window.devicePixelRatio || 1, width = Math.round(this.width * scale), height = Math.round(this.height * scale);
    Object.assign(this.matrix, {width, height});
    Object.assign(this.matrix.style, {left: `${LEFT}px`, top: `${LINES + AXIS}px`, width: `${this.width}px`, height: `${this.height}px`});
    this.stage.style.height = `${LINES + AXIS + this.height + 4}px`;
    const context = this.matrix.getContext('2d'), pixels = context.createImageData(width, height), words = new Uint32Array(pixels.data.buffer);
    const places = Uint32Array.from({length: width}, (_, column) => this.placeAt(column / scale)), [low, high] = this.range;
    const line = new Uint32Array(width), {steps} = this; // other runs may go on, or begin before
    const half = (steps[steps.length - 1] - steps[0]) / Math.max(1, steps.length - 1) / 2;
    const [first, end] = steps.length > 1 ? [this.x(steps[0] - half), this.x(steps[steps.length - 1] + half)] : [0, this.width];
    let last = -1;
    for (let y = 0; y < height && rows; y++) {
      const row = Math.min(rows - 1, Math.floor(y * rows / height));
      if (row !== last) {
        for (let column = 0; column < width; column++) {
          const value = column / scale < first || column / scale > end ? null : values[places[column]]?.[row] ?? null;
          line[column] = value === null ? 0 : this.palette[Math.max(0, Math.min(255, Math.round((value - low) / (high - low) * 255)))];
        }
        last = row;
      }
      words.set(line, y * width);
    }
    context.putImageData(pixels, 0, 0);
    this.matrix.setAttribute('aria-label', `${worded(this.given.number)} of ${rows} images, a row each, by ${this.given.unit}`);
  }

  drawKey() {
    const {lines, number, images, note} = this.given, words = wordsOf(number, images), [low, high] = toldApart(this.range);
    setText(this.note, note);
    const bar = make('span', {className: 'scale'});
    bar.style.background = gradientOf(SCALE);
    this.ends.replaceChildren(low, bar, high);
    this.help.hidden = !words;
    setText(this.says, words ? `${worded(number)}: ${words.says}` : '');
    setText(this.more, words ? toldOf(words).slice(words.says.length + 1) : '');
    const told = lines.map(({label, colour, dash}) => label + colour + dash).join('|');
    if (told === this.named) return; // a name that is focused stays so
    this.named = told;
    this.names.hidden = lines.length < 2;
    this.names.replaceChildren(...lines.map(({label, colour, dash, run}, place) => {
      const swatch = make('i', {className: dash ? 'dashed' : ''}), name = make('button', {type: 'button', className: 'name', onclick: () => this.chooseRun(run)}, swatch, label);
      swatch.style.borderColor = colour;
      name.setAttribute('aria-pressed', String(place === 0));
      name.title = place ? `show run ${run}` : 'its images are the rows below';
      return name;
    }));
  }

  /** The place of the look that is nearest to a pixel. */
  placeAt(pixel) {
    const [first, last] = this.domain, step = first + pixel / Math.max(1, this.width) * (last - first);
    let [low, high] = [0, this.steps.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.steps[middle] < step) low = middle + 1; else high = middle;
    }
    return low > 0 && step - this.steps[low - 1] < this.steps[low] - step ? low - 1 : low;
  }

  under(event) {
    const box = this.stage.getBoundingClientRect(), x = event.clientX - box.left - LEFT, y = event.clientY - box.top;
    const rows = this.given.order.length, row = Math.floor((y - LINES - AXIS) / this.height * rows);
    const image = row >= 0 && row < rows ? this.given.order[row] : null;
    const inAxis = y >= LINES && y < LINES + AXIS;
    return {x, y, place: this.placeAt(Math.max(0, Math.min(this.width, x))), image, inAxis, isInside: x >= -4 && x <= this.width + 4};
  }

  press(event) {
    if (!this.given || event.button !== 0) return;
    const at = this.under(event);
    if (!at.isInside) return;
    this.stage.setPointerCapture(event.pointerId);
    this.held = {from: at.place, brushes: event.shiftKey || at.inAxis};
    if (this.held.brushes) this.choose({from: this.steps[at.place], to: this.steps[at.place]});
    else this.choose({step: this.steps[at.place], image: at.image});
  }

  move(event) {
    if (!this.given) return;
    const at = this.under(event);
    this.tip.hidden = !at.isInside;
    if (at.isInside) this.tell(at);
    if (!this.held) return;
    if (!this.held.brushes) this.choose({step: this.steps[at.place]});
    else {
      const [from, to] = [this.held.from, at.place].sort((a, b) => a - b);
      this.choose({from: this.steps[from], to: this.steps[to]});
    }
  }

  tell({x, y, place, image}) {
    const {lines, number, unit, images, box} = this.given, [{series, target}] = lines, step = this.steps[place];
    const said = image === null
      ? lines.map((line, at) => [lines.length > 1 ? `${line.label} ` : '', told(this.means[at][line.series.placeOf(step)])].join(''))
      : [`image ${image + 1}`, images.said[image], told(valueOf(series.looks[place], number, image, target, box)), series.looks[place].answers[image]];
    setText(this.tip, [`${unit} ${step}`, ...said.filter(Boolean)].join('  ·  '));
    this.tip.style.left = `${Math.max(0, Math.min(LEFT + x + 12, this.width - 160))}px`;
    this.tip.style.top = `${y + 16}px`;
  }

  onKey(event) {
    const moves = {ArrowUp: -1, ArrowDown: 1};
    if (!Object.hasOwn(moves, event.key)) return;
    const {order} = this.given, row = order.indexOf(this.marked?.[1]);
    this.choose({image: order[Math.max(0, Math.min(order.length - 1, row + moves[event.key]))]});
    event.preventDefault();
    event.stopPropagation();
  }
}

const told = (value) => value === null || value === undefined ? '–' : round(value);

/** Shares are drawn from 0 to 1 where they fill much of it: then two runs and two layers look alike where they are. */
function within([low, high]) {
  return low >= 0 && high <= 1 && high - low > 0.3 ? [0, 1] : [low, high];
}
