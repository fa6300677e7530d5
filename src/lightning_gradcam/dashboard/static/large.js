// One image, large, over all epochs.

import {LINES} from './colour.js';
import {draw, make, setText} from './dom.js';
import {evenly, IN_BOX, round, ticksIn, toldApart, toldOf, valueOf, worded, wordsOf} from './measure.js';
import {canvasFor, paint} from './paint.js';

const STRIP = 60; // epochs in a strip at most
const BESIDE = 440; // pixels for the chart
const ZOOMS = [1, 2, 4, 8];

/** A dialog; what is chosen in it is told: `goTo(look)`, `turn(by)`, `play()`, `box(sides or null)`, `save(what)` and `closed()`. */
export class Large {
  constructor(told) {
    Object.assign(this, {told, strips: [], bigs: [], made: [], words: '', zoom: 1, pointed: null});
    const button = (text, label, onclick) => {
      const made = make('button', {type: 'button', textContent: text, title: label, onclick});
      made.setAttribute('aria-label', label);
      return made;
    };
    const zoom = (by) => () => {
      this.zoom = ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, ZOOMS.indexOf(this.zoom) + by))];
      this.show(this.given);
    };
    this.said = make('h2', {className: 'said'});
    this.pictures = make('div', {className: 'bigs'});
    this.under = make('p', {className: 'under'});
    this.noBox = button('remove the box', 'remove the box', () => told.box(null));
    this.chart = make('div', {className: 'chart'});
    this.frames = make('div', {className: 'strips'});
    this.play = button('►', 'play here', told.play);
    this.saved = make('span', {className: 'progress', role: 'status'});
    this.element = make('dialog', {className: 'large', onclose: told.closed},
      make('div', {className: 'row bar'}, this.said, button('‹', 'image before', () => told.turn(-1)), button('›', 'next image', () => told.turn(1)), this.play,
        button('−', 'zoom out', zoom(-1)), button('+', 'zoom in', zoom(1)),
        button('PNG', 'save as PNG', () => told.save('png')), button('SVG', 'save as SVG', () => told.save('svg')),
        button('strip PNG', 'save the strip as PNG', () => told.save('strip-png')), button('strip SVG', 'save the strip as SVG', () => told.save('strip-svg')), button('✕', 'close', () => this.element.close()), this.saved),
      make('div', {className: 'row top'}, make('div', {}, this.pictures, make('p', {className: 'row'}, this.under, this.noBox)), this.chart), this.frames);
    this.element.setAttribute('aria-label', 'one image, large');
    this.pictures.addEventListener('pointerdown', (event) => this.press(event));
    this.pictures.addEventListener('pointermove', (event) => this.move(event));
    this.pictures.addEventListener('pointerup', (event) => this.release(event));
    this.pictures.addEventListener('pointercancel', () => { this.held = this.drawn = null; });
    this.pictures.addEventListener('pointerleave', () => { this.pointed = null; this.show(this.given); });
  }

  get isOpen() { return this.element.open; }

  open() { if (!this.isOpen) this.element.showModal(); }

  close() { if (this.isOpen) this.element.close(); }

  /** given: {image, views, sides: views and changes, number, unit, layer, box, isPlaying, drawn: what tells how}. */
  show(given) {
    this.given = given;
    const {image, views: [view], views, sides, unit} = given, {series, look} = view;
    const made = [image, this.zoom, sides.length, ...views.flatMap((one) => [one.series, one.images, one.target, one.series.looks])];
    if (made.length !== this.made.length || made.some((part, at) => part !== this.made[at])) this.build(given);
    this.made = made;
    paint(this.original.canvas, view.picture(image), null);
    sides.forEach((side, place) => this.drawSide(this.bigs[place], side, image));
    this.linesIn(views, image).forEach((line, place) => this.drawStrip(this.strips[place], line.views));
    const said = view.said(image);
    setText(this.said, [`image ${image + 1}`, `run ${series.run}`, given.layer, `${unit} ${look.step}`, said.truth, `${said.wrong ? '✗ ' : ''}${said.answer}`].filter(Boolean).join('  ·  '));
    setText(this.play, given.isPlaying ? '❚❚' : '►');
    this.play.setAttribute('aria-label', given.isPlaying ? 'pause here' : 'play here');
    for (const {frame} of [this.original, ...this.bigs]) this.placeBox(frame, this.drawn ?? given.box);
    this.noBox.hidden = !given.box;
    if (this.pointed) this.tell(this.pointed);
    else setText(this.under, given.box ? 'the share of heat in the box is a number now: of the overview, the tiles and the chart' : 'drag on a picture: how much of the heat is in that box, in all images at all epochs?');
    this.drawChart(given);
  }

  drawSide({canvas, word, name, frame}, side, image) {
    const said = side.said(image), {why} = side.draw(canvas, image);
    setText(word, why);
    word.hidden = !why;
    frame.classList.toggle('wrong', Boolean(said.wrong));
    setText(name, [side.name, said.missing ? '' : `${said.wrong ? '✗ ' : ''}${said.answer}`, said.of].filter(Boolean).join(': '));
  }

  /** Draw what has come of a strip, mark the epoch that is shown, or the last one before it, and bring it into sight. */
  drawStrip({frames, row}, views) {
    const [view] = views;
    for (const frame of frames) {
      const key = [frame.of.maps === undefined, frame.of.maps === null, this.given.drawn].join();
      if (frame.key !== key || !frame.hasPicture) {
        const {why} = frame.view.draw(frame.canvas, this.given.image);
        frame.hasPicture = Boolean(view.has(this.given.image) && view.picture(this.given.image));
        frame.key = key;
        frame.button.title = why;
        setText(frame.word, why.split(':')[0]);
      }
    }
    const shown = views.map(({look}) => frames.findLast(({of}) => of.step <= look.step) ?? frames[0]), [current] = shown;
    for (const frame of frames) {
      frame.button.setAttribute('aria-current', String(frame === current));
      frame.button.classList.toggle('beside', frame !== current && shown.includes(frame));
    }
    if (!current) return;
    const {offsetLeft, offsetWidth} = current.button;
    row.scrollLeft = offsetLeft - row.offsetLeft - (row.clientWidth - offsetWidth) / 2;
  }

  build({image, views, sides, unit}) {
    const [view] = views, first = view.picture(image) ?? view.images.pictures[0], room = Math.min(1320, 0.94 * window.innerWidth) - BESIDE;
    const longest = Math.max(160, Math.min(400, room / (sides.length + 1)));
    const part = (text) => {
      const canvas = canvasFor(first, longest), {width, height} = canvas;
      Object.assign(canvas, {width: width * this.zoom, height: height * this.zoom});
      const word = make('span', {className: 'word', hidden: true}), name = make('span', {className: 'side', textContent: text});
      const frame = make('div', {className: 'frame-large'}, make('div', {className: 'zoomed'}, canvas, make('div', {className: 'box', hidden: true})), word);
      Object.assign(frame.style, {width: `${width}px`, height: `${height}px`});
      frame.addEventListener('scroll', () => this.follow(frame));
      const element = make('div', {}, frame, name);
      element.style.width = `${width}px`;
      return {canvas, word, name, frame, element};
    };
    this.original = part('the image');
    this.bigs = sides.map(() => part(''));
    this.pictures.replaceChildren(this.original.element, ...this.bigs.map(({element}) => element));
    const focused = document.activeElement?.closest('.frame')?.getAttribute('aria-label');
    this.drawnChart = '';
    this.strips = this.linesIn(views, image).map((of) => this.strip(of, first, image, unit));
    this.frames.replaceChildren(...this.strips.flatMap(({label, row}) => [label, row]));
    if (focused) this.frames.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});
  }

  /** Views by what they have over all epochs, {views, name}: two epochs of a run are of one strip and one line. */
  linesIn(views, image) {
    const found = new Map();
    for (const view of views.filter((one) => one.has(image))) {
      const key = JSON.stringify([view.series.run, view.series.tag, view.target]);
      found.set(key, [...found.get(key) ?? [], view]);
    }
    return [...found.values()].map((of) => ({views: of, name: found.size > 1 ? of[0].line || of[0].series.run : ''}));
  }

  strip({views, name}, picture, image, unit) {
    const [view] = views, row = make('div', {className: 'strip'}), frames = evenly(view.series.looks, STRIP).map((of) => {
      const canvas = canvasFor(picture, 72), word = make('span', {className: 'thumb-word'});
      const button = make('button', {type: 'button', className: 'frame', onclick: () => this.told.goTo(of)}, canvas, make('span', {textContent: String(of.step)}), word);
      button.setAttribute('aria-label', `${unit} ${of.step}`);
      if (of.wrong[view.place(image)]) button.classList.add('wrong');
      return {canvas, button, word, of, view: view.at(of)};
    });
    row.append(...frames.map((frame) => frame.button));
    return {views, name, frames, row, label: make('span', {className: 'side', textContent: name})};
  }

  /** What is enlarged moves together. */
  follow({scrollLeft, scrollTop}) {
    for (const {frame} of [this.original, ...this.bigs]) {
      if (frame.scrollLeft !== scrollLeft) frame.scrollLeft = scrollLeft;
      if (frame.scrollTop !== scrollTop) frame.scrollTop = scrollTop;
    }
  }

  // ---- a box, and the value under the pointer -------------------------------------------------------------------

  /** Where the pointer is on a picture, as parts of its sides; null where it is on none. */
  at(event, held = null) {
    const canvas = held ?? event.target.closest?.('.zoomed')?.querySelector('canvas');
    if (!canvas) return null;
    const {left, top, width, height} = canvas.getBoundingClientRect(), part = (value) => Math.max(0, Math.min(1, value));
    return {canvas, x: part((event.clientX - left) / width), y: part((event.clientY - top) / height)};
  }

  press(event) {
    const at = this.at(event);
    if (!at || event.button !== 0) return;
    this.held = at;
    this.pictures.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  move(event) {
    const at = this.at(event, this.held?.canvas);
    this.pointed = at;
    if (!at) { this.show(this.given); return; }
    this.tell(at);
    if (!this.held) return;
    this.drawn = sidesOf(this.held, at);
    for (const {frame} of [this.original, ...this.bigs]) this.placeBox(frame, this.drawn);
  }

  release(event) {
    if (!this.held) return;
    const box = sidesOf(this.held, this.at(event, this.held.canvas));
    this.held = this.drawn = null;
    if (box[2] - box[0] > 0.01 && box[3] - box[1] > 0.01) this.told.box(box);
    else this.show(this.given);
  }

  placeBox(frame, box) {
    const element = frame.querySelector('.box');
    element.hidden = !box;
    if (!box) return;
    const [left, top, right, bottom] = box.map((side) => 100 * side);
    Object.assign(element.style, {left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%`});
  }

  /** The pixel and the heat under the pointer. */
  tell({x, y}) {
    const {views, image} = this.given, picture = views[0].picture(image);
    const column = Math.min(picture?.naturalWidth - 1, Math.floor(x * picture?.naturalWidth)), row = Math.min(picture?.naturalHeight - 1, Math.floor(y * picture?.naturalHeight));
    const heats = views.map((view) => {
      const {map} = view.map(image);
      if (!map) return '';
      const [down, across] = [Math.min(map.h - 1, Math.floor(y * map.h)), Math.min(map.w - 1, Math.floor(x * map.w))];
      return `${views.length > 1 ? `${view.name}: ` : ''}heat ${round(map.values[down * map.w + across] / 255, 2)} of its peak at row ${down + 1}, column ${across + 1} of ${map.h} x ${map.w}`;
    });
    setText(this.under, [picture ? `pixel ${column}, ${row} of ${picture.naturalWidth} x ${picture.naturalHeight}` : '', ...heats].filter(Boolean).join('  ·  '));
  }

  // ---- numbers ---------------------------------------------------------------------------------------------------

  /** A number, with what has to be known to read it, which a click shows. */
  explained(name, ...shown) {
    const words = wordsOf(name, this.given.views[0].images);
    if (!words) return make('li', {}, ...shown);
    const open = this.words === name;
    const button = make('button', {type: 'button', className: 'metric', title: words.says, onclick: () => {
      this.words = open ? '' : name;
      this.drawChart(this.given);
    }}, ...shown);
    button.dataset.metric = name;
    button.setAttribute('aria-expanded', String(open));
    return make('li', {}, button, ...(open ? [make('p', {className: 'words', textContent: toldOf(words)})] : []));
  }

  /** The lines of the chart: all numbers of one view, or the number of the overview of each that stand beside each other. */
  linesOf({views, number, image, box}) {
    const [view] = views, several = this.linesIn(views, image);
    const line = (of, name, label) => ({
      name, label, value: of.value(name, image), of,
      points: of.series.looks.map((look) => [look.step, valueOf(look, name, of.place(image), of.target, box)]).filter(([, y]) => y !== null),
    });
    if (several.length > 1) return several.map(({views: [of], name}) => line(of, number, `${name}: ${worded(number)}`));
    return [...view.series.metrics, ...(box ? [IN_BOX] : [])].map((name) => line(view, name, worded(name)));
  }

  /** The image's numbers over the epochs, and the epoch that is shown: those of 0 to 1, and of -0.5 to 0.5. */
  drawChart(given) {
    const {views: [{series}], unit, image} = given, [width, height] = [360, 170];
    const all = this.linesOf(given), last = Math.max(1, ...all.map(({of}) => of.series.last), series.last);
    const isShare = ({points}) => points.length && points.every(([, y]) => y >= -0.5 && y <= 1), several = this.strips.length > 1;
    const lines = several ? all : all.filter(isShare), values = lines.flatMap(({points}) => points.map(([, y]) => y));
    const isWide = several && !lines.every(isShare);
    const low = isWide ? Math.min(...values) : values.some((y) => y < 0) ? -0.5 : 0, high = isWide ? Math.max(...values, low + 1e-9) : 1;
    const steps = [...new Set(given.views.map((view) => view.look.step))], key = [image, given.box, steps, this.words, ...all.map(({points, label}) => label + points)].join('|');
    if (key === this.drawnChart) return; // whatever is focused in it stays so
    this.drawnChart = key;
    const focused = this.chart.contains(document.activeElement) ? document.activeElement.dataset.metric : null;
    const yOf = (y) => (high - y) / (high - low) * height, place = ([x, y]) => `${(x / last * width).toFixed(1)},${yOf(y).toFixed(1)}`;
    const parts = [draw('rect', {x: 0, y: 0, width, height, class: 'paper'})];
    const ticks = ticksIn([low, high], 4), labels = toldApart(ticks);
    for (const [at, value] of ticks.entries()) {
      parts.push(draw('line', {x1: 0, x2: width, y1: yOf(value), y2: yOf(value), class: 'rule'}), draw('text', {x: -5, y: yOf(value) + 4, 'text-anchor': 'end'}, labels[at]));
    }
    for (const step of ticksIn([0, last], 6).filter(Number.isInteger)) {
      parts.push(draw('text', {x: step / last * width, y: height + 14, 'text-anchor': 'middle'}, String(step)));
    }
    parts.push(draw('text', {x: width / 2, y: height + 28, 'text-anchor': 'middle'}, unit));
    if (low < 0) parts.push(draw('polyline', {points: [[0, 0], [last, 0]].map(place).join(' '), class: 'now'}));
    for (const step of steps) parts.push(draw('line', {x1: step / last * width, x2: step / last * width, y1: 0, y2: height, class: 'now'}));
    const legend = make('ul', {className: 'legend'});
    for (const [at, {name, label, points, value}] of lines.entries()) {
      const colour = LINES[at % LINES.length], swatch = make('i');
      parts.push(draw('polyline', {points: points.map(place).join(' '), stroke: colour, class: 'line'}));
      if (points.length === 1) parts.push(draw('circle', {cx: points[0][0] / last * width, cy: yOf(points[0][1]), r: 3, fill: colour}));
      swatch.style.background = colour;
      legend.append(this.explained(name, swatch, `${label} ${value === null ? '–' : value.toFixed(2)}`));
    }
    for (const {name, label, value} of all.filter((line) => !lines.includes(line))) { // of another range
      if (value !== null) legend.append(this.explained(name, `${label} ${round(value)}`));
    }
    const svg = draw('svg', {viewBox: `-34 -8 ${width + 42} ${height + 40}`, role: 'img', class: 'lines', 'aria-label': `numbers of this image by ${unit}, from ${round(low)} to ${round(high)}`}, ...parts);
    svg.addEventListener('click', (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      this.told.goTo(series.at(Math.max(0, Math.round(at.x / width * last))));
    });
    const tip = draw('title', {}, '');
    svg.append(tip);
    svg.addEventListener('pointermove', (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()), step = series.at(Math.max(0, Math.round(at.x / width * last))).step;
      setText(tip, [`${unit} ${step}`, ...lines.map(({label, points}) => `${label} ${told(points.findLast(([x]) => x <= step)?.[1])}`)].join('\n'));
    });
    this.chart.replaceChildren(svg, legend);
    if (focused) this.chart.querySelector(`[data-metric="${CSS.escape(focused)}"]`)?.focus();
  }
}

const told = (value) => value === undefined ? '–' : round(value);

const sidesOf = (one, other) => [Math.min(one.x, other.x), Math.min(one.y, other.y), Math.max(one.x, other.x), Math.max(one.y, other.y)]
  .map((side) => Math.round(1000 * side) / 1000);
