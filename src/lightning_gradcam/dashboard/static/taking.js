// What of the page can be taken along, as files: as it is when it is asked for, whatever is chosen meanwhile.

import {LESS, MORE, sampled} from './colour.js';
import {setText} from './dom.js';
import {download, overviewSheet, pngFile, sheet, svgFile, toCsv, webpFile} from './export.js';
import {evenly, round, worded} from './measure.js';
import {canvasFor, paint} from './paint.js';
import {evidenceOf} from './saying.js';

const MOST_IMAGES = 100; // of a picture
const LAPSE_IMAGES = 24, FRAMES = 300, LAPSE_SIDE = 128, LAPSE_LINES = 8; // of a time-lapse; lines below a picture
const ACROSS = 6; // tiles in a row

/** Hand over what is asked for: 'png', 'svg', 'overview-png', 'overview-svg', 'webp', 'csv', 'link', or of the large image 'image png', 'image svg', 'image strip-png', 'image strip-svg'. */
export async function take(app, what) {
  if (app.isEmpty) return;
  const {panel, series, unit, state: {large}} = app, run = `attention ${series.run}`, name = `${run} ${unit} ${app.look.step}`, saved = app.large.isOpen ? app.large.saved : panel.progress;
  const kinds = {
    csv: async () => download(`${run}.csv`, new Blob([await csvOf(app)], {type: 'text/csv'})),
    link: () => copyLink(app),
    png: async () => download(`${name}.png`, await pngFile(await imagesNow(app))),
    svg: async () => download(`${name}.svg`, svgFile(await imagesNow(app))),
    'overview-png': async () => download(`${run} overview.png`, await pngFile(overviewSheet(app.overview.picture))),
    'overview-svg': async () => download(`${run} overview.svg`, svgFile(overviewSheet(app.overview.picture))),
    webp: async () => download(`${run}.webp`, await timelapse(app)),
    'image png': async () => download(`${name} image ${large + 1}.png`, await pngFile(await largeNow(app))),
    'image svg': async () => download(`${name} image ${large + 1}.svg`, svgFile(await largeNow(app))),
    'image strip-png': async () => download(`${run} image ${large + 1} strip.png`, await pngFile(await stripsNow(app))),
    'image strip-svg': async () => download(`${run} image ${large + 1} strip.svg`, svgFile(await stripsNow(app))),
  };
  try {
    setText(saved, '');
    await kinds[what]();
  } catch (error) {
    setText(saved, `not saved: ${error.message}`);
  }
}

async function copyLink(app) {
  const {copied} = app.panel;
  await navigator.clipboard?.writeText(app.link());
  setText(copied, navigator.clipboard ? 'copied' : 'the address is above');
  setTimeout(() => setText(copied, 'copy link'), 2000);
}

async function csvOf(app) {
  const {series, images, order, state: {target}, unit, box} = app;
  if (box) await filled(app, series, series.looks);
  return toCsv({series, images, order, target, unit, box});
}

/** All that a picture is made of, as it is now: {views, sides, order, number, title, keys}. */
function shotOf(app, views, most) {
  const {series, images, state, unit} = app, [{look}] = views, order = app.orderOf(views), shown = order.slice(0, most);
  const left = order.length > most ? [`${most} of ${order.length} images`] : [];
  const heat = {colours: sampled(state.colour, 24), before: 'no heat', after: `strongest evidence for ${evidenceOf(views[0], order)}`};
  const change = {colours: [LESS, LESS, null, null, MORE, MORE], before: 'less', after: 'more heat'};
  return {
    views, sides: app.tileSidesOf(views), order: shown, images, number: state.sort || app.number, keys: [heat, ...(state.change && views.length > 1 ? [change] : [])],
    title: [`${app.layerOf(series)}  ·  run ${series.run}  ·  ${unit} ${look.step}`, images.about, ...left],
  };
}

async function imagesNow(app) {
  const shot = shotOf(app, app.viewsAt(app.look), MOST_IMAGES);
  return imagesSheet(app, shot, app.state.size);
}

/** The images of a shot, each side over its words. */
async function imagesSheet(app, {views, sides, order, images, number, keys, title}, size, lines = 0) {
  for (const view of views) await filled(app, view.series, [view.look]);
  await Promise.all(views.flatMap((view) => order.filter((image) => view.has(image)).map((image) => view.images.load(view.place(image)))));
  const across = Math.max(1, Math.floor(ACROSS / sides.length)), rows = [];
  for (let at = 0; at < order.length; at += across) {
    rows.push(order.slice(at, at + across).flatMap((image) => sides.map((side) => pictured(side, image, number, canvasFor(images.pictures[0], size), sides.length > 1))));
  }
  return sheet(title, rows, keys, lines);
}

function pictured(side, image, number, canvas, isNamed) {
  const said = side.said(image), {why} = side.draw(canvas, image), value = said.missing ? undefined : side.value(number, image);
  return {
    canvas, wrong: said.wrong,
    words: [isNamed ? side.name : '', said.truth ?? '', said.missing ?? `${said.wrong ? '✗ ' : ''}${said.answer}`, said.of ?? '', why,
      value === undefined || value === null ? '' : `${worded(side.before ? 'change' : number)} ${round(value)}`].filter(Boolean),
  };
}

async function largeNow(app) {
  const {views, number, keys, title: [title, about]} = shotOf(app, app.viewsAt(app.look), MOST_IMAGES), image = app.state.large, {original, zoom} = app.large;
  const sides = app.sidesOf(views), picture = views[0].picture(image), canvas = () => canvasFor(picture, Math.max(original.canvas.width, original.canvas.height) / zoom);
  for (const view of views) await filled(app, view.series, [view.look]);
  const shown = sides.map((side) => pictured(side, image, number, canvas(), sides.length > 1)), plain = canvas();
  paint(plain, picture, null);
  return sheet([`image ${image + 1}  ·  ${title}`, about], [[{canvas: plain, words: ['the image'], wrong: false}, ...shown]], keys);
}

async function stripsNow(app) {
  const {strips} = app.large, image = app.state.large, {keys} = shotOf(app, app.viewsAt(app.look), 1), {series, unit, images} = app, rows = [];
  for (const {views: [view], name, frames} of strips) {
    await filled(app, view.series, frames.map(({of}) => of));
    rows.push(frames.map(({canvas, of}, place) => {
      const now = view.at(of), {why} = now.draw(canvas, image);
      return {canvas, wrong: now.said(image).wrong, words: [String(of.step), why.split(':')[0], ...(place === 0 ? [name] : [])].filter(Boolean)};
    }));
  }
  return sheet([`image ${image + 1}, ${unit} by ${unit}  ·  ${app.layerOf(series)}  ·  run ${series.run}`, images.about], rows, keys.slice(0, 1));
}

/** The images that are shown over the epochs that are brushed, or all of them; 24 of them and 300 epochs at most. */
async function timelapse(app) {
  const {series, panel, unit, bounds: {first, last}} = app, looks = evenly(series.looks.slice(first, last + 1), FRAMES), {order} = app, {speed} = app.state;
  const shots = looks.map((look) => ({...shotOf(app, app.viewsAt(look), LAPSE_IMAGES), order: order.slice(0, LAPSE_IMAGES)})); // in the order of now
  await filled(app, series, looks);
  const frames = shots.map((shot) => () => imagesSheet(app, shot, LAPSE_SIDE, LAPSE_LINES));
  const file = await webpFile(frames, Math.max(0.05, 1 / speed), (count) => setText(panel.progress, `${unit} ${count} of ${frames.length} …`));
  setText(panel.progress, '');
  return file;
}

/** Wait until the maps of some looks are there. */
async function filled(app, series, looks) {
  for (const look of looks) {
    if (look.maps === undefined) await series.fill(look, () => app.later());
    if (look.maps === undefined) throw new Error(`the maps of step ${look.step} of run ${series.run} do not come`);
  }
}
