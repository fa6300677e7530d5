// The Attention tab: one module, no build. Text is only ever set as text.

// ---- what is shown, and its place in the URL -------------------------------------------------------------------

const DEFAULTS = {
  run: '', layer: '', target: 0, step: -1, // -1: the last epoch, also when training adds one
  compare: '', run2: '', step2: 0, // compare: '', 'epoch' or 'run'
  opacity: 65, colour: 'turbo', scale: 'image', size: 160, speed: 5, sort: '', mistakes: 0, large: -1,
};
const BOUNDS = {opacity: [0, 100], size: [64, 384], speed: [1, 50]}; // an address may say anything
const PREFIX = 'p.gradcam.';
const state = {...DEFAULTS};

function page() { // TensorBoard's own window, so that its address can be sent to a colleague
  try {
    return window.parent.location.hash !== undefined ? window.parent : window;
  } catch {
    return window;
  }
}

function readAddress() {
  const given = new URLSearchParams(page().location.hash.replace(/^#/, ''));
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = given.get(PREFIX + name);
    if (value === null) continue;
    if (typeof usual === 'string') state[name] = value;
    else if (Number.isFinite(Number(value))) state[name] = bounded(name, Number(value));
  }
}

function bounded(name, value) {
  const [least, most] = BOUNDS[name] ?? [-1, Infinity];
  return Math.max(least, Math.min(most, value));
}

function writeAddress() {
  const [tab, ...rest] = page().location.hash.replace(/^#/, '').split('&');
  const others = rest.filter((part) => !part.startsWith(PREFIX));
  const ours = Object.entries(state)
    .filter(([name, value]) => value !== DEFAULTS[name])
    .map(([name, value]) => `${PREFIX}${name}=${encodeURIComponent(value)}`);
  const address = '#' + [tab || 'gradcam', ...others, ...ours].join('&');
  if (address !== page().location.hash) page().history.replaceState(page().history.state, '', address);
}

// ---- data ------------------------------------------------------------------------------------------------------

const KINDS = {'|u1': Uint8Array, '<i4': Int32Array, '<f4': Float32Array}; // by NumPy's names
const STATES = ['', 'blank', 'not finite']; // of a map: shown, or why not
const base = new URL('./', import.meta.url);

async function ask(route, query = {}) {
  const url = new URL(route, base);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

/** One layer of one run: its looks at the images that are shown, and what of all of them is needed to draw one. */
class Series {
  constructor(run, tag) {
    this.run = run;
    this.tag = tag;
    this.received = []; // also of other images: a run may be resumed with others
    this.broken = 0;
    this.caution = ''; // what is said of its maps at the end of the fit
    this.show(null);
  }

  /** Show the looks at a set of images, and leave those at others out. */
  show(probeSet) {
    this.probeSet = probeSet;
    this.looks = this.received.filter((look) => look.probe_set === probeSet);
    this.peaks = highestPeaks(this.looks);
  }

  get steps() { return this.looks.map((look) => look.step); }
  get last() { return this.looks.length ? this.looks[this.looks.length - 1].step : -1; }
  get images() { return this.looks.length ? this.looks[0].shape[0] : 0; }
  get targets() { return this.looks.length ? this.looks[0].shape[1] : 0; }
  get metrics() { return [...new Set(this.looks.flatMap((look) => [...look.numbers.keys()]))]; }
  get others() { return this.received.length - this.looks.length; }
  get newest() { return this.received[this.received.length - 1]; }

  /** Fetch what came behind the last look, or all anew. */
  async update(anew = false) {
    const after = anew ? -1 : this.newest?.step ?? -1;
    const buffer = await (await ask('maps', {run: this.run, tag: this.tag, after})).arrayBuffer();
    const end = new Uint8Array(buffer).indexOf(10);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 0, end)));
    const found = readLooks(head, buffer, end + 1);
    const same = anew && found.length === this.received.length && head.broken === this.broken;
    const last = this.newest?.step ?? -1; // asked again: another answer may have come in between
    this.received = anew ? found : [...this.received, ...found.filter((look) => look.step > last)];
    const told = this.caution !== head.caution;
    [this.broken, this.caution] = [head.broken, head.caution];
    this.show(this.probeSet);
    return told || (!same && (found.length > 0 || anew));
  }

  /** The look of a step, or the last one before it. */
  at(step) {
    if (step < 0) return this.looks[this.looks.length - 1];
    let found = this.looks[0];
    for (const look of this.looks) if (look.step <= step) found = look;
    return found;
  }
}

/** Take the bytes apart as the answer's own fields lay them out. */
function readLooks({fields, looks}, buffer, start) {
  let at = start;
  return looks.map((head) => {
    const {N, T, h, w} = head.sizes, look = {...head, shape: [N, T, h, w]};
    for (const [name, dtype, axes] of fields) {
      const Kind = KINDS[dtype], count = [...axes].reduce((product, axis) => product * head.sizes[axis], 1), from = at;
      at += count * Kind.BYTES_PER_ELEMENT;
      look[name] = new Kind(buffer.slice(from, at));
    }
    const ofMetric = (place) => look.numbers.subarray(place * N * T, (place + 1) * N * T);
    look.answers = JSON.parse(new TextDecoder().decode(look.answers));
    return {...look, numbers: new Map(head.metrics.map((name, place) => [name, ofMetric(place)]))};
  });
}

function highestPeaks(looks) {
  const each = [];
  for (const look of looks) {
    for (let i = 0; i < look.shape[0] * look.shape[1]; i++) each[i] = Math.max(each[i] ?? 0, numberOf(look, 'peak', i) ?? 0);
  }
  return {each, all: each.reduce((a, b) => Math.max(a, b), 0)};
}

/** Where a look has an image's map of the chosen target; looks of one run may have more targets or fewer. */
function indexOf(look, image) {
  const targets = look.shape[1];
  return image * targets + Math.min(state.target, targets - 1);
}

function numberOf(look, name, index) {
  const value = look.numbers.get(name)?.[index];
  return Number.isFinite(value) ? value : null;
}

/** A run's images, with their pictures decoded. */
async function fetchProbe(run, tag) {
  const probe = await (await ask('probe', {run, tag})).json();
  if (!probe) return null;
  probe.pictures = await Promise.all(probe.images.map(async (source) => {
    const picture = new Image();
    picture.src = source;
    await picture.decode();
    return picture;
  }));
  return probe;
}

const isWrong = (look, image) => Boolean(look.wrong[image]);

const saidOf = (probe, look, image) => ({truth: probe.said[image], answer: look.answers[image]});

const round = (value) => Number(value).toPrecision(3).replace(/\.?0+$/, '');

// ---- drawing ---------------------------------------------------------------------------------------------------

const COLOURS = { // 17 even steps of matplotlib's maps of these names
  turbo: '30123b4040a2466be34294ff28bceb18ddc232f2986dfe62a4fc3ccdec34eecf3afdac34fb7e21eb500ed02f05a916017a0403',
  inferno: '0000040b0724210c4a3d096557106e71196e8a226aa32c61bc3754d24644e45a31f1731df98e09fcac11f9cb35f2ea69fcffa4',
  viridis: '44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725',
};
const FINE = 56; // places along a side that a map is enlarged to before it is coloured
let palette = null;

/** 256 colours as RGBA words; the weaker the heat, the more of the picture stays. */
function makePalette() {
  const stops = COLOURS[state.colour] ?? COLOURS.turbo;
  const channel = (stop, which) => parseInt(stops.substr(6 * stop + 2 * which, 2), 16);
  palette = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const place = level / 255 * 16, stop = Math.min(15, Math.floor(place)), part = place - stop;
    const [r, g, b] = [0, 1, 2].map((which) => Math.round(channel(stop, which) * (1 - part) + channel(stop + 1, which) * part));
    const alpha = Math.round(255 * (state.opacity / 100) * (0.4 + 0.6 * level / 255));
    palette[level] = (alpha << 24 | b << 16 | g << 8 | r) >>> 0;
  }
}

const scratch = document.createElement('canvas');
const scratchContext = scratch.getContext('2d', {willReadFrequently: true});

/** Draw one image with one look's heat into a canvas; returns the word for a map that shows nothing. */
function paint(canvas, picture, series, look, image) {
  const context = canvas.getContext('2d');
  context.drawImage(sized(picture, canvas.width, canvas.height), 0, 0);
  const [, , h, w] = look.shape, index = indexOf(look, image);
  const word = STATES[look.states[index]];
  if (word) return word;
  if (state.opacity === 0) return '';
  heat(look.maps.subarray(index * h * w, (index + 1) * h * w), h, w, strength(series, numberOf(look, 'peak', index), index));
  context.imageSmoothingEnabled = true;
  context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
  return '';
}

/** What a map is multiplied by; null scales it to its own range, and so do maps that have no peaks. */
function strength(series, peak, index) {
  if (peak === null) return null;
  if (state.scale === 'run') return peak / series.peaks.each[index];
  if (state.scale === 'all') return peak / series.peaks.all;
  return null;
}

function heat(map, h, w, share) {
  let low = 0, factor = share ?? 1;
  if (share === null) {
    let high = 0;
    low = 255;
    for (const value of map) { low = Math.min(low, value); high = Math.max(high, value); }
    if (high === low) low = 0; // alike everywhere: full heat, not none
    factor = 255 / Math.max(1, high - low);
  }
  const columns = Math.max(w, Math.round(FINE * Math.min(1, w / h))), rows = Math.max(h, Math.round(FINE * Math.min(1, h / w)));
  if (scratch.width !== columns || scratch.height !== rows) Object.assign(scratch, {width: columns, height: rows});
  const pixels = scratchContext.createImageData(columns, rows), words = new Uint32Array(pixels.data.buffer);
  for (let y = 0, at = 0; y < rows; y++) {
    const v = Math.min(h - 1, Math.max(0, (y + 0.5) * h / rows - 0.5)), top = Math.floor(v), down = v - top;
    const upper = top * w, lower = Math.min(h - 1, top + 1) * w;
    for (let x = 0; x < columns; x++, at++) {
      const u = Math.min(w - 1, Math.max(0, (x + 0.5) * w / columns - 0.5)), left = Math.floor(u), across = u - left;
      const right = Math.min(w - 1, left + 1);
      const value = (map[upper + left] * (1 - across) + map[upper + right] * across) * (1 - down)
        + (map[lower + left] * (1 - across) + map[lower + right] * across) * down;
      words[at] = palette[Math.max(0, Math.min(255, Math.round((value - low) * factor)))];
    }
  }
  scratchContext.putImageData(pixels, 0, 0);
}

const sizedPictures = new WeakMap();

/** The picture as large as it is shown, kept: scaling it anew in each frame is what playback would wait for. */
function sized(picture, width, height) {
  const kept = sizedPictures.get(picture) ?? new Map();
  sizedPictures.set(picture, kept);
  const key = `${width}x${height}`;
  if (!kept.has(key)) {
    if (kept.size > 4) kept.clear();
    const canvas = Object.assign(document.createElement('canvas'), {width, height});
    const context = canvas.getContext('2d');
    context.imageSmoothingEnabled = width < picture.naturalWidth;
    context.imageSmoothingQuality = 'high';
    context.drawImage(picture, 0, 0, width, height);
    kept.set(key, canvas);
  }
  return kept.get(key);
}

function canvasFor(picture, longest) {
  const scale = longest / Math.max(picture.naturalWidth, picture.naturalHeight);
  const width = Math.max(1, Math.round(picture.naturalWidth * scale));
  const height = Math.max(1, Math.round(picture.naturalHeight * scale));
  return make('canvas', {width, height});
}

// ---- the page --------------------------------------------------------------------------------------------------

function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && key !== 'list') element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const ui = {};
let runs = {}, probe = null, probe2 = null, series = null, series2 = null, tiles = [], fault = '';

function select(name, label, options, change = show) {
  const element = make('select', {id: name, onchange: () => { setState(name, element.value); change(); }});
  const fill = (entries) => {
    element.replaceChildren(...entries.map(([value, text]) => make('option', {value, textContent: text})));
    element.value = String(state[name]);
  };
  fill(options);
  ui[name] = {element, fill};
  return make('label', {className: 'control', htmlFor: name}, make('span', {textContent: label}), element);
}

function range(name, label, bounds, change = show) {
  const element = make('input', {type: 'range', id: name, ...bounds, value: state[name], oninput: () => {
    setState(name, element.value);
    change();
  }});
  ui[name] = {element};
  return make('label', {className: 'control', htmlFor: name}, make('span', {textContent: label}), element);
}

function setState(name, value) {
  state[name] = typeof DEFAULTS[name] === 'number' ? Number(value) : value;
  if (name === 'opacity' || name === 'colour') makePalette();
}

function build() {
  const head = document.head;
  head.append(make('link', {rel: 'stylesheet', href: new URL('style.css', base).href}));
  document.documentElement.lang = 'en';
  ui.status = make('p', {className: 'status', role: 'status'});
  ui.grid = make('main', {className: 'grid'});
  ui.grid.setAttribute('aria-label', 'images and their attention');
  ui.mistakes = make('input', {type: 'checkbox', id: 'mistakes', checked: Boolean(state.mistakes), onchange: () => {
    state.mistakes = Number(ui.mistakes.checked);
    show();
  }});
  ui.play = make('button', {type: 'button', className: 'play', onclick: togglePlay});
  ui.epoch = make('input', {type: 'range', id: 'epoch', min: 0, max: 0, step: 1, oninput: () => goTo(Number(ui.epoch.value))});
  ui.epochText = make('output', {htmlFor: 'epoch', className: 'epoch'});
  ui.second = make('input', {type: 'range', id: 'second', min: 0, max: 0, step: 1, oninput: () => {
    state.step2 = series.steps[Number(ui.second.value)];
    show();
  }});
  ui.secondText = make('output', {htmlFor: 'second', className: 'epoch'});
  ui.secondRow = make('div', {className: 'row second'},
    ui.secondLabel = make('label', {htmlFor: 'second', textContent: 'beside epoch'}), ui.second, ui.secondText);
  const data = make('div', {className: 'row'},
    select('run', 'run', [], load), select('layer', 'layer', [], load), select('target', 'target', []),
    select('compare', 'beside it', [['', 'nothing'], ['epoch', 'another epoch'], ['run', 'another run']], load),
    select('run2', 'other run', [], load));
  const drawing = make('div', {className: 'row'},
    range('opacity', 'opacity', {min: 0, max: 100}),
    select('colour', 'colours', Object.keys(COLOURS).map((name) => [name, name])),
    select('scale', 'strength', [['image', 'each image by itself'], ['run', 'by its highest peak'], ['all', 'by the highest of all']]),
    range('size', 'size', {min: 64, max: 384, step: 16}, () => { layOut(); show(); }),
    select('sort', 'sort', []),
    make('label', {className: 'control check', htmlFor: 'mistakes'}, ui.mistakes, make('span', {textContent: 'only mistakes'})));
  const time = make('div', {className: 'row time'}, ui.play,
    ui.epochLabel = make('label', {htmlFor: 'epoch', textContent: 'epoch'}), ui.epoch, ui.epochText,
    select('speed', 'epochs a second', [1, 2, 5, 10, 20, 50].map((speed) => [String(speed), String(speed)])));
  ui.controls = make('header', {}, data, drawing, time, ui.secondRow);
  ui.large = make('dialog', {className: 'large', onclose: () => { state.large = -1; writeAddress(); }});
  ui.large.setAttribute('aria-label', 'one image, large');
  document.body.append(ui.controls, ui.status, ui.grid, ui.large);
  document.addEventListener('keydown', onKey);
  setPlaying(false);
}

function onKey(event) {
  if (!series || event.ctrlKey || event.metaKey || event.altKey) return;
  const inControl = /^(INPUT|SELECT)$/.test(event.target.tagName);
  const inButton = event.target.tagName === 'BUTTON';
  if (event.key === ' ' && !inControl && !inButton) togglePlay();
  else if (event.key === 'ArrowRight' && !inControl) goTo(position() + 1);
  else if (event.key === 'ArrowLeft' && !inControl) goTo(position() - 1);
  else if (event.key === 'Home' && !inControl) goTo(0);
  else if (event.key === 'End' && !inControl) goTo(series.looks.length - 1);
  else return;
  event.preventDefault();
}

/** What looks are counted in: epochs, or optimizer steps. */
const unit = () => probe?.unit ?? 'epoch';

/** The place of the epoch that is shown among those that were logged. */
function position() {
  return Math.max(0, series.looks.indexOf(series.at(state.step)));
}

function goTo(place) {
  const last = series.looks.length - 1, held = Math.max(0, Math.min(last, place));
  state.step = held === last ? -1 : series.steps[held];
  show();
}

// ---- playing ---------------------------------------------------------------------------------------------------

let playing = false, played = 0;

function setPlaying(on) {
  playing = on;
  ui.play.textContent = on ? '❚❚' : '►';
  ui.play.setAttribute('aria-label', on ? 'pause' : 'play');
}

function togglePlay() {
  if (!series || series.looks.length < 2) return;
  if (!playing && position() === series.looks.length - 1) goTo(0);
  setPlaying(!playing);
  played = performance.now();
  if (playing) requestAnimationFrame(playOn);
}

function playOn(now) {
  if (!playing) return;
  const due = Math.floor((now - played) / 1000 * state.speed);
  if (due > 0) {
    played += due * 1000 / state.speed;
    goTo(position() + due);
    if (position() === series.looks.length - 1) setPlaying(false);
  }
  requestAnimationFrame(playOn);
}

// ---- showing ---------------------------------------------------------------------------------------------------

/** Where each column of a tile is from: the epoch and, if asked for, what stands beside it. */
function columns() {
  const look = series.at(state.step);
  const found = [{series, probe, look}];
  if (state.compare === 'epoch') found.push({series, probe, look: series.at(state.step2)});
  if (state.compare === 'run' && series2?.looks.length && probe2) {
    found.push({series: series2, probe: probe2, look: series2.at(look.step)});
  }
  return found;
}

/** Make a tile an image, anew when the data, the size or the number of columns are others. */
function layOut() {
  sight.disconnect();
  if (!series?.looks.length || !probe) {
    tiles = [];
    ui.grid.replaceChildren();
    return;
  }
  const count = Math.min(series.images, probe.pictures.length), wanted = columns();
  tiles = Array.from({length: count}, (_, image) => {
    const canvases = wanted.map((column) => {
      const picture = column.probe.pictures[image];
      return picture ? canvasFor(picture, state.size) : make('canvas', {width: state.size, height: state.size});
    });
    const truth = make('span', {className: 'truth'}), answers = canvases.map(() => make('span', {className: 'answer'}));
    const open = make('button', {type: 'button', className: 'open', onclick: () => openLarge(image)}, ...canvases);
    const cells = make('span', {className: 'answers'}, ...answers);
    const figure = make('figure', {className: 'tile'}, open, make('figcaption', {}, truth, cells));
    figure.style.setProperty('--columns', wanted.length);
    const tile = {image, figure, canvases, truth, answers, open, seen: true};
    sight.observe(figure);
    figures.set(figure, tile);
    return tile;
  });
  ui.grid.replaceChildren(...tiles.map((tile) => tile.figure));
}

const figures = new WeakMap();
const sight = new IntersectionObserver((entries) => {
  for (const {target, isIntersecting} of entries) {
    const tile = figures.get(target);
    if (!tile) continue;
    const appeared = isIntersecting && !tile.seen;
    tile.seen = isIntersecting;
    if (appeared && series?.looks.length) drawTile(tile, columns());
  }
}, {rootMargin: '200px'});

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function drawTile(tile, wanted) {
  wanted.forEach(({series: of, probe: images, look}, column) => {
    const picture = images.pictures[tile.image];
    if (!picture || tile.image >= look.shape[0]) {
      setText(tile.answers[column], 'no such image');
      return;
    }
    const word = paint(tile.canvases[column], picture, of, look, tile.image);
    const said = saidOf(images, look, tile.image);
    const wrong = isWrong(look, tile.image);
    setText(tile.answers[column], `${wrong ? '✗ ' : ''}${said.answer}${word ? ` (${word})` : ''}`);
    tile.answers[column].classList.toggle('wrong', wrong);
    if (column === 0) {
      setText(tile.truth, said.truth);
      tile.figure.classList.toggle('wrong', wrong);
      tile.open.setAttribute('aria-label', `image ${tile.image + 1}: ${said.truth}, ${said.answer}; open large`);
    }
  });
}

/** Whether more of a number is better: what has least of it is looked at first. */
const isBetter = (name) => name === 'in_mask' || Boolean(probe?.metrics?.[name]?.direction?.startsWith('More is better'));

function order(look) {
  const value = (tile) => numberOf(look, state.sort, indexOf(look, tile.image));
  const sorted = [...tiles];
  if (state.sort) {
    const sign = isBetter(state.sort) ? 1 : -1;
    sorted.sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)) || a.image - b.image);
  }
  sorted.forEach((tile, place) => { tile.figure.style.order = place; });
  let hidden = 0;
  for (const tile of tiles) {
    tile.figure.hidden = Boolean(state.mistakes) && !isWrong(look, tile.image);
    hidden += tile.figure.hidden;
  }
  return tiles.length - hidden;
}

function show() {
  writeAddress();
  const empty = !series?.looks.length || !probe;
  ui.controls.hidden = !Object.keys(runs).length;
  for (const name of ['colour', 'scale', 'sort', 'speed', 'compare']) ui[name].element.value = String(state[name]);
  for (const name of ['opacity', 'size']) ui[name].element.value = state[name];
  ui.run2.element.closest('label').hidden = state.compare !== 'run';
  ui.secondRow.hidden = state.compare !== 'epoch';
  ui.target.element.closest('label').hidden = !series || series.targets < 2;
  ui.scale.element.closest('label').hidden = Boolean(series?.looks.length) && !series.looks[0].numbers.has('peak'); // no strength to compare by
  if (empty) {
    say();
    return;
  }
  const wanted = columns();
  if (tiles.length && tiles[0].canvases.length !== wanted.length) layOut();
  const {look} = wanted[0];
  ui.epoch.max = series.looks.length - 1;
  ui.epoch.value = position();
  setText(ui.epochLabel, unit());
  setText(ui.secondLabel, `beside ${unit()}`);
  ui.epoch.setAttribute('aria-valuetext', `${unit()} ${look.step}`);
  setText(ui.epochText, `${look.step} of ${series.last}`);
  ui.second.max = series.looks.length - 1;
  ui.second.value = series.looks.indexOf(series.at(state.step2));
  setText(ui.secondText, String(series.at(state.step2).step));
  const shown = order(look);
  for (const tile of tiles) if (tile.seen && !tile.figure.hidden) drawTile(tile, wanted);
  say(shown);
  if (ui.large.open) fillLarge();
}

function say(shown) {
  const said = Object.keys(runs).length ? [facts(shown), ...troubles()] : ['none', ...(fault ? [fault] : [])];
  const cautions = Object.keys(runs).length ? cautionsOf() : [];
  const all = [...said, ...cautions].join('\n');
  if (ui.said === all) return; // a screen reader reads what is new
  ui.said = all;
  const notes = said.slice(1).map((note) => make('p', {className: 'broken', textContent: note}));
  const worth = cautions.map((told) => make('p', {className: 'caution', textContent: told}));
  if (Object.keys(runs).length) ui.status.replaceChildren(said[0], ...worth, ...notes);
  else ui.status.replaceChildren(
    make('strong', {textContent: 'No attention yet.'}),
    ' Add the callback to the trainer, and what it logs appears here by itself:',
    make('code', {textContent: 'from lightning_gradcam import GradCAMCallback\n\nTrainer(callbacks=[GradCAMCallback()])'}),
    ...notes);
}

function facts(shown) {
  const sides = state.compare === 'run' && probe2 ? `left ${state.run}, right ${state.run2}` : '';
  const count = shown === undefined || shown === tiles.length ? '' : `${shown} of ${tiles.length} images`;
  return [probe ? probe.about : '', sides, count].filter(Boolean).join('  ·  ');
}

/** What was said at the end of each run that is shown of its maps. */
function cautionsOf() {
  const beside = state.compare === 'run' && series2 !== series ? series2 : null;
  return [series, beside].filter((of) => of?.caution).map((of) => beside ? `${of.run}: ${of.caution}` : of.caution);
}

function troubles() {
  const notes = fault ? [fault] : [], beside = state.compare === 'run';
  for (const of of [series, beside ? series2 : null]) {
    if (of?.broken) notes.push(`Run ${of.run}: ${of.broken} of its records cannot be read and are left out.`);
    if (of?.looks.length && of.others) notes.push(`Run ${of.run}: ${of.others} of its epochs are of other images and are left out.`);
  }
  if (series && !probe) notes.push(`Run ${state.run}: its images cannot be read.`);
  if (series && (probe || !series.received.length) && !series.looks.length) notes.push(`Run ${state.run}: no epoch of ${runs[state.run]?.[state.layer] ?? state.layer} can be read.`);
  if (beside && probe && series2 && !probe2) notes.push(`Run ${state.run2}: its images cannot be read.`);
  if (beside && probe && probe2 && probe2.probe_set !== probe.probe_set) notes.push('The two runs watch different images.');
  return notes;
}

// ---- one image, large ------------------------------------------------------------------------------------------

const STRIP = 60; // epochs in the large view's strip at most

function openLarge(image) {
  state.large = image;
  if (!ui.large.open) ui.large.showModal();
  fillLarge(true);
  writeAddress();
}

function evenly(list, most) {
  if (list.length <= most) return list;
  return Array.from({length: most}, (_, i) => list[Math.round(i * (list.length - 1) / (most - 1))]);
}

function fillLarge(anew = false) {
  const image = state.large, wanted = columns(), {look} = wanted[0];
  if (!probe.pictures[image]) return;
  if (anew || ui.large.dataset.image !== String(image) || ui.bigs.length !== wanted.length || ui.strip.length !== evenly(series.looks, STRIP).length) {
    buildLarge(image, wanted);
  }
  wanted.forEach((column, place) => {
    if (column.probe.pictures[image]) paint(ui.bigs[place], column.probe.pictures[image], column.series, column.look, image);
  });
  for (const {canvas, button, of} of ui.strip) {
    paint(canvas, probe.pictures[image], series, of, image);
    button.setAttribute('aria-current', String(of === look));
  }
  const said = saidOf(probe, look, image);
  setText(ui.largeSaid, [`image ${image + 1}`, `${unit()} ${look.step}`, said.truth, said.answer].filter(Boolean).join('  ·  '));
  ui.chart.replaceChildren(...chart(image, look));
}

function buildLarge(image, wanted) {
  ui.large.dataset.image = image;
  ui.bigs = wanted.map((column) => canvasFor(column.probe.pictures[image] ?? probe.pictures[image], Math.min(480, window.innerWidth / (wanted.length + 0.3))));
  ui.strip = evenly(series.looks, STRIP).map((of) => {
    const canvas = canvasFor(probe.pictures[image], 72);
    const button = make('button', {type: 'button', className: 'frame', onclick: () => goTo(series.looks.indexOf(of))},
      canvas, make('span', {textContent: String(of.step)}));
    button.setAttribute('aria-label', `${unit()} ${of.step}`);
    if (isWrong(of, image)) button.classList.add('wrong');
    return {canvas, button, of};
  });
  ui.largeSaid = make('p', {className: 'said'});
  ui.chart = make('div', {className: 'chart'});
  const step = (by) => openLarge((image + by + tiles.length) % tiles.length);
  const button = (text, label, onclick) => {
    const made = make('button', {type: 'button', textContent: text, onclick});
    made.setAttribute('aria-label', label);
    return made;
  };
  ui.large.replaceChildren(
    make('div', {className: 'row bar'}, ui.largeSaid, button('‹', 'image before', () => step(-1)),
      button('›', 'next image', () => step(1)), button('✕', 'close', () => ui.large.close())),
    make('div', {className: 'row'}, make('div', {className: 'bigs'}, ...ui.bigs), ui.chart),
    make('div', {className: 'strip'}, ...ui.strip.map((frame) => frame.button)));
}

const SVG = 'http://www.w3.org/2000/svg';
const LINES = ['#1e8e3e', '#e8710a', '#9334e6', '#1a73e8', '#d01884', '#129eaf', '#b0861a', '#7c8a99', '#c5221f', '#5f4b8b', '#00897b', '#6d4c41'];
const worded = (name) => name.replaceAll('_', ' ');

/** A number, with what has to be known to read it, which a click shows. */
function explained(name, ...shown) {
  const words = probe?.metrics && Object.hasOwn(probe.metrics, name) ? probe.metrics[name] : null;
  if (!words) return make('li', {}, ...shown);
  const open = ui.words === name;
  const button = make('button', {type: 'button', className: 'metric', title: words.says, onclick: () => {
    ui.words = open ? '' : name;
    fillLarge();
    ui.chart.querySelector(`[data-metric="${CSS.escape(name)}"]`)?.focus();
  }}, ...shown);
  button.dataset.metric = name;
  button.setAttribute('aria-expanded', String(open));
  const told = `${words.says} ${words.direction} By chance: ${words.chance} Mind: ${words.failing}`;
  return make('li', {}, button, ...(open ? [make('p', {className: 'words', textContent: told})] : []));
}

/** The image's numbers over the epochs, and the epoch that is shown: those of 0 to 1, and of -0.5 to 0.5. */
function chart(image, look) {
  const [width, height] = [320, 160], last = Math.max(1, series.last);
  const valueIn = (one, name) => numberOf(one, name, indexOf(one, image));
  const lines = series.metrics.map((name) => ({name, points: series.looks.map((one) => [one.step, valueIn(one, name)]).filter(([, y]) => y !== null)}))
    .filter(({points}) => points.length && points.every(([, y]) => y >= -0.5 && y <= 1));
  const low = lines.some(({points}) => points.some(([, y]) => y < 0)) ? -0.5 : 0;
  const place = ([x, y]) => `${(x / last * width).toFixed(1)},${((1 - y) / (1 - low) * height).toFixed(1)}`;
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `-4 -4 ${width + 8} ${height + 8}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', `numbers of this image over the epochs, from ${low} to 1`);
  const draw = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    svg.append(element);
  };
  draw('rect', {x: 0, y: 0, width, height, class: 'paper'});
  if (low) draw('polyline', {points: [[0, 0], [last, 0]].map(place).join(' '), class: 'now'});
  draw('line', {x1: look.step / last * width, x2: look.step / last * width, y1: 0, y2: height, class: 'now'});
  const legend = make('ul', {className: 'legend'});
  for (const [number, {name, points}] of lines.entries()) {
    const colour = LINES[number % LINES.length], value = valueIn(look, name), swatch = make('i');
    draw('polyline', {points: points.map(place).join(' '), stroke: colour, class: 'line'});
    swatch.style.background = colour;
    legend.append(explained(name, swatch, `${worded(name)} ${value === null ? '–' : value.toFixed(2)}`));
  }
  for (const name of series.metrics.filter((one) => !lines.some((line) => line.name === one))) { // of another range
    const value = valueIn(look, name);
    if (value !== null) legend.append(explained(name, `${worded(name)} ${round(value)}`));
  }
  return [svg, legend];
}

// ---- loading and following -------------------------------------------------------------------------------------

function fillSelectors() {
  const names = Object.keys(runs).sort((a, b) => a.localeCompare(b, undefined, {numeric: true})); // version_9, version_10
  if (!runs[state.run]) state.run = names[names.length - 1] ?? '';
  const layers = runs[state.run] ?? {};
  if (!layers[state.layer]) state.layer = Object.keys(layers)[0] ?? '';
  if (!runs[state.run2]) state.run2 = names.find((name) => name !== state.run) ?? state.run;
  ui.run.fill(names.map((name) => [name, name]));
  ui.run2.fill(names.map((name) => [name, name]));
  ui.layer.fill(Object.entries(layers));
}

let loading = 0;

/** Fetch what the selectors name; a later choice overtakes an earlier one. */
async function load() {
  const turn = ++loading;
  fillSelectors();
  fault = '';
  try {
    if (state.run) {
      const other = state.compare === 'run' ? state.run2 : '';
      const tag2 = other && (runs[other][state.layer] ? state.layer : Object.keys(runs[other])[0]);
      const keep = (old, run, tag) => old && old.run === run && old.tag === tag ? old : new Series(run, tag);
      const next = keep(series, state.run, state.layer), next2 = other ? keep(series2, other, tag2) : null;
      const found = await Promise.all([
        orNull(fetchProbe(state.run, state.layer)), next.update(true), other ? orNull(fetchProbe(other, tag2)) : null, next2?.update(true)]);
      if (turn !== loading) return;
      [series, series2, probe, probe2] = [next, next2, found[0], found[2]];
      series.show(probe?.probe_set);
      series2?.show(probe2?.probe_set);
      fillTargets();
    } else {
      [series, series2, probe, probe2] = [null, null, null, null];
    }
  } catch (error) {
    if (turn !== loading) return;
    fault = `Run ${state.run}: ${error.message}`;
  }
  layOut();
  show();
  if (state.large >= 0 && series?.looks.length && probe?.pictures[state.large] && !ui.large.open) openLarge(state.large);
}

const orNull = (promise) => promise.catch(() => null);

function fillTargets() {
  state.target = Math.max(0, Math.min(state.target, series.targets - 1));
  const names = Array.from({length: series.targets}, (_, t) => [String(t), probe?.columns?.[t] ?? String(t)]);
  ui.target.fill(names);
  const first = (name) => name === 'in_mask' ? 'least on the thing first' : `${isBetter(name) ? 'least' : 'most'} ${worded(name)} first`;
  ui.sort.fill([['', 'as in the data'], ...series.metrics.map((name) => [name, first(name)])]);
}

let polls = 0, following = false;

async function follow() {
  if (document.visibilityState !== 'visible' || following) return;
  following = true;
  polls++;
  try {
    const before = JSON.stringify(runs);
    runs = await (await ask('runs')).json();
    if (!series || !runs[state.run] || !probe) {
      if (JSON.stringify(runs) !== before || (series && !probe)) await load();
      return;
    }
    if (JSON.stringify(runs) !== before) fillSelectors();
    const turn = loading, anew = polls % 12 === 0; // a resumed run writes steps again
    const changes = await Promise.all([series.update(anew), series2?.update(anew)]);
    const replaced = [[series, probe], [series2, probe2]].some(([of, images]) => images && of?.newest && of.newest.probe_set !== images.probe_set);
    if (turn === loading && replaced) await load(); // resumed with other images
    else if (turn === loading && (changes.some(Boolean) || fault)) {
      fault = '';
      show();
    }
  } catch (error) {
    const told = `TensorBoard does not answer: ${error.message}`;
    if (told !== fault) { fault = told; say(); }
  } finally {
    following = false;
  }
}

function followTheme() {
  try {
    const body = window.parent.document.body;
    const apply = () => document.documentElement.classList.toggle('dark', body.classList.contains('dark-mode'));
    new MutationObserver(apply).observe(body, {attributes: true, attributeFilter: ['class']});
    apply();
  } catch {
    document.documentElement.classList.toggle('dark', matchMedia('(prefers-color-scheme: dark)').matches);
  }
}

const SECONDS_BETWEEN_POLLS = 3;

/** TensorBoard calls this when the tab is opened. */
export async function render() {
  readAddress();
  makePalette();
  build();
  followTheme();
  try {
    runs = await (await ask('runs')).json();
  } catch (error) {
    fault = error.message;
  }
  await load();
  setInterval(follow, 1000 * SECONDS_BETWEEN_POLLS);
}
