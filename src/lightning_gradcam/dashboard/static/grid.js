// The images beside each other, each with its heat, its numbers and what is said of it.

import {make, setText} from './dom.js';
import {round, worded} from './measure.js';
import {canvasFor, paint} from './paint.js';

/** Tiles, of which those in sight are drawn; `open(image)` is told of a click. */
export class Grid {
  constructor(open) {
    this.open = open;
    this.element = make('main', {className: 'grid'});
    this.element.setAttribute('aria-label', 'images and their attention');
    this.tiles = [];
    this.figures = new WeakMap();
    this.sight = new IntersectionObserver((entries) => {
      for (const {target, isIntersecting} of entries) {
        const tile = this.figures.get(target);
        if (!tile) continue;
        const appears = isIntersecting && !tile.seen;
        tile.seen = isIntersecting;
        if (appears && this.given) this.drawTile(tile);
      }
    }, {rootMargin: '200px'});
  }

  /** Make a tile an image, `columns` canvases each of a picture's sides. */
  layOut(count, columns, picture, size) {
    this.sight.disconnect();
    this.given = null;
    this.tiles = Array.from({length: count}, (_, image) => this.tile(image, columns, picture, size));
    this.element.replaceChildren(...this.tiles.map((tile) => tile.figure));
    this.shown = this.tiles.map((tile) => tile.image);
  }

  tile(image, columns, picture, size) {
    const sides = Array.from({length: columns}, () => ({
      canvas: canvasFor(picture, size), word: make('span', {className: 'word'}), name: make('span', {className: 'side'}),
      answer: make('span', {className: 'answer'}), of: make('span', {className: 'explained'}),
    }));
    const truth = make('span', {className: 'truth'}), number = make('span', {className: 'number'});
    const button = make('button', {type: 'button', className: 'open', onclick: () => this.open(image)},
      ...sides.map((side) => make('span', {className: 'cell'}, side.canvas, side.word)));
    const cells = make('span', {className: 'answers'}, ...sides.map((side) => make('span', {}, side.name, side.answer, side.of)));
    const figure = make('figure', {className: 'tile'}, button, make('figcaption', {}, truth, cells, number));
    figure.dataset.image = image;
    figure.style.setProperty('--columns', columns);
    figure.style.setProperty('--width', `${sides[0].canvas.width * columns}px`);
    const tile = {image, figure, sides, truth, number, button, seen: image < 24};
    this.sight.observe(figure);
    this.figures.set(figure, tile);
    return tile;
  }

  /**
   * Show these images in this order.
   *
   * given: {order, columns: [{name, said(image), map(image)}], palette, number, value(image), picture(column, image)}.
   */
  show(given) {
    this.given = given;
    if (given.order.length !== this.shown.length || given.order.some((image, place) => image !== this.shown[place])) {
      this.element.replaceChildren(...given.order.map((image) => this.tiles[image].figure)); // as they are read and tabbed to
      this.shown = given.order;
    }
    for (const image of given.order) if (this.tiles[image].seen) this.drawTile(this.tiles[image]);
  }

  drawTile(tile) {
    const {columns, palette, number, value, picture} = this.given, {image} = tile;
    columns.forEach((column, place) => {
      const {canvas, word, name, answer, of} = tile.sides[place], said = column.said(image);
      const {map, why, isComing} = said.missing ? {map: null, why: said.missing} : column.map(image);
      tile.figure.toggleAttribute('data-coming', Boolean(isComing));
      paint(canvas, said.missing ? null : picture(column, image), map, palette);
      setText(word, why);
      word.hidden = !why;
      setText(name, columns.length > 1 ? column.name : '');
      setText(answer, said.missing ? '' : `${said.wrong ? '✗ ' : ''}${said.answer}`);
      answer.classList.toggle('wrong', Boolean(said.wrong));
      setText(of, said.of ?? '');
      if (place > 0) return;
      setText(tile.truth, said.truth);
      tile.truth.title = said.truth;
      tile.figure.classList.toggle('wrong', Boolean(said.wrong));
      tile.button.setAttribute('aria-label', `image ${image + 1}: ${said.truth}, ${said.answer}; open large`);
    });
    const shown = number ? value(image) : null;
    setText(tile.number, number ? `${worded(number)} ${shown === null ? '–' : round(shown)}` : '');
  }
}
