// The overview's lines: of which runs, and of which of their images.

import {fitting, matching} from './choosing.js';
import {colourOfRun, DASHES} from './colour.js';

export const LINES = 12; // runs that have one at most

/** A line for each run, layer and target that is shown or searched for: of the same images, or of its own that fit. */
export function linesOf(order, views, app) {
  const {images, state} = app, [{series}] = views, lines = new Map();
  const add = (of, own, target, label) => {
    const key = JSON.stringify([of.run, of.tag, target]);
    if (lines.has(key) || own.unit !== images.unit) return;
    const same = order.map((image) => images.placeIn(own, image)).filter((image) => image >= 0), isOther = own !== images && !same.length;
    const shown = isOther ? own.said.map((_, image) => image).filter(fitting(own, of.looks[of.looks.length - 1], /^(true|has):/.test(state.filter) ? state.filter : '', null)) : same;
    const count = isOther ? ` (${shown.length} other image${shown.length === 1 ? '' : 's'})` : shown.length < order.length ? ` (${shown.length} of ${order.length} images)` : '';
    const place = app.places.get(of.run) ?? 0, before = [...lines.values()].filter((line) => line.run === of.run).length;
    lines.set(key, {series: of, run: of.run, target, images: shown, label: `${label}${count}`, colour: colourOfRun(place), dash: DASHES[(before + Math.floor(place / 7)) % DASHES.length]});
  };
  const differs = (part) => views.some((view) => part(view) !== part(views[0]));
  for (const view of views) {
    const name = [view.series.run, differs(({series: {tag}}) => tag) ? app.layerOf(view.series) : '', differs(({target}) => target) ? view.images.columns?.[view.target] ?? view.target : ''];
    add(view.series, view.images, view.target, name.filter((part) => part !== '').join(', '));
  }
  for (const {series: of, images: own} of app.lines) if (own && of.looks.length && of !== series) add(of, own, Math.min(state.target, of.targets - 1), of.run);
  return [...lines.values()];
}

/** What is said beside the names of the lines: where not all runs have one. */
export function noteOfRuns({state, names, lines, unit}) {
  const found = matching(names, state.runs), isHalf = state.runs.trim().startsWith('/') && found.length === names.length;
  if (!found.length) return `no run's name has '${state.runs}'`;
  const others = lines.filter(({images}) => images && images.unit !== unit).length;
  const notes = [found.length > LINES ? `${LINES} of ${found.length} runs: find runs to choose which` : '', isHalf ? 'all runs: the pattern has no end yet, or finds all' : '',
    others ? `${others} run${others === 1 ? ' is' : 's are'} not counted in ${unit}s` : ''];
  return notes.filter(Boolean).join('; ');
}
