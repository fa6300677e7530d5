// What of the page can be taken along, as files.

import {setText} from './dom.js';
import {download, overviewSheet, pngFile, sheet, svgFile, toCsv, webpFile} from './export.js';
import {evenly, round, worded} from './measure.js';
import {canvasFor} from './paint.js';

const MOST_IMAGES = 100; // of a picture
const LAPSE_IMAGES = 24, FRAMES = 300, LAPSE_SIDE = 128; // of a time-lapse
const ACROSS = 6; // tiles in a row

/** Hand over what is asked for: 'png', 'svg', 'overview-png', 'overview-svg', 'webp', 'csv', 'link', or of the large image 'image png', 'image svg', 'image strip'. */
export async function take(app, what) {
  if (app.isEmpty) return;
  const {panel, series} = app, name = `attention ${series.run} ${app.unit} ${series.at(app.state.step).step}`;
  const kinds = {
    csv: async () => download(`attention ${series.run}.csv`, new Blob([toCsv({series, images: app.images, order: app.order, target: app.state.target, unit: app.unit, box: app.box})], {type: 'text/csv'})),
    link: async () => {
      await navigator.clipboard?.writeText(app.link());
      setText(panel.copied, navigator.clipboard ? 'copied' : 'the address is above');
      setTimeout(() => setText(panel.copied, 'copy link'), 2000);
    },
    png: async () => download(`${name}.png`, await pngFile(await imagesSheet(app))),
    svg: async () => download(`${name}.svg`, svgFile(await imagesSheet(app))),
    'overview-png': async () => download(`attention overview ${series.run}.png`, await pngFile(overviewSheet(app.overview.picture))),
    'overview-svg': async () => download(`attention overview ${series.run}.svg`, svgFile(overviewSheet(app.overview.picture))),
    webp: async () => download(`attention ${series.run}.webp`, await timelapse(app)),
    'image png': async () => download(`${name} image ${app.state.large + 1}.png`, await pngFile(largeSheet(app))),
    'image svg': async () => download(`${name} image ${app.state.large + 1}.svg`, svgFile(largeSheet(app))),
    'image strip': async () => download(`attention ${series.run} image ${app.state.large + 1} strip.png`, await pngFile(stripSheet(app))),
  };
  try {
    setText(panel.progress, '');
    await kinds[what]();
  } catch (error) {
    setText(panel.progress, `not saved: ${error.message}`);
  }
}

function titleOf(app, look) {
  return [`${app.runs[app.series.run][app.series.tag].layer}  ·  run ${app.series.run}  ·  ${app.unit} ${look.step}`, app.images.about];
}

/** The images that are shown, of these views, each over its words. */
async function imagesSheet(app, views = app.viewsNow(), side = app.state.size, most = MOST_IMAGES) {
  const shown = app.order.slice(0, most), sides = app.tileSidesOf(views), across = Math.max(1, Math.floor(ACROSS / sides.length)), rows = [];
  await Promise.all(views.flatMap((view) => shown.filter((image) => view.has(image)).map((image) => view.images.load(view.place(image)))));
  for (let at = 0; at < shown.length; at += across) {
    rows.push(shown.slice(at, at + across).flatMap((image) => sides.map((one) => pictured(app, one, image, canvasFor(app.images.pictures[image], side), sides.length > 1))));
  }
  const left = app.order.length > shown.length ? [`${shown.length} of ${app.order.length} images`] : [];
  return sheet([...titleOf(app, views[0].look), ...left], rows);
}

function pictured(app, side, image, canvas, isNamed) {
  const said = side.said(image), {why} = side.draw(canvas, image), number = app.state.sort || app.number, value = said.missing ? null : side.value(number, image) ?? null;
  return {
    canvas, wrong: said.wrong,
    words: [isNamed ? side.name : '', said.truth ?? '', said.missing ?? `${said.wrong ? '✗ ' : ''}${said.answer}`, said.of ?? '', why,
      value === null ? '' : `${worded(side.before ? 'change' : number)} ${round(value)}`].filter(Boolean),
  };
}

function largeSheet(app) {
  const views = app.viewsNow(), image = app.state.large, {original, bigs} = app.large, sides = app.sidesOf(views);
  const shown = sides.map((side, place) => ({...pictured(app, side, image, bigs[place].canvas, sides.length > 1)}));
  return sheet([`image ${image + 1}`, ...titleOf(app, views[0].look)], [[{canvas: original.canvas, words: ['the image'], wrong: false}, ...shown]]);
}

function stripSheet(app) {
  const {strips} = app.large, image = app.state.large, named = strips.length > 1;
  const rows = strips.map(({view, frames}) => frames.map(({canvas, of}, place) => (
    {canvas, wrong: view.at(of).said(image).wrong, words: [String(of.step), ...(named && place === 0 ? [view.name] : [])]})));
  const layer = app.runs[app.series.run][app.series.tag].layer;
  return sheet([`image ${image + 1}, ${app.unit} by ${app.unit}  ·  ${layer}  ·  run ${app.series.run}`, app.images.about], rows);
}

/** The images that are shown over the epochs that are brushed, or all of them; the first 24 of them and 300 epochs at most. */
async function timelapse(app) {
  const {series, panel} = app, {first, last} = app.bounds, looks = evenly(series.looks.slice(first, last + 1), FRAMES);
  await filled(app, looks);
  const shown = app.viewsNow(), frames = looks.map((look) => async () => {
    const views = shown.map((view, place) => place === 0 ? view.at(look) : view); // what stands beside it stays as it is
    return imagesSheet(app, views, LAPSE_SIDE, LAPSE_IMAGES);
  });
  const seconds = Math.max(0.05, 1 / app.state.speed);
  const file = await webpFile(frames, seconds, (count) => setText(panel.progress, `${app.unit} ${count} of ${frames.length} …`));
  setText(panel.progress, '');
  return file;
}

/** Wait until the maps of some looks are there. */
async function filled(app, looks) {
  const {series} = app;
  series.wantsAll = true;
  for (const look of looks) {
    if (look.maps === undefined) await series.fill(look, () => app.later());
    if (look.maps === undefined) throw new Error(`the maps of ${app.unit} ${look.step} do not come`);
  }
}
