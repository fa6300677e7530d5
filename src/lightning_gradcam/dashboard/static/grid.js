// The images beside each other, each with its heat, its numbers and what is said of it.

import {make, setText} from './dom.js';
import {meanMap, round, worded} from './measure.js';
import {canvasFor, paint} from './paint.js';

/** Tiles, of which those in sight are drawn; `open(image)` and `pin(image)` are told of clicks. */
export class Grid {
  constructor({open, pin}) {
    Object.assign(this, {open, pin, tiles: [], shown: '', figures: new WeakMap()});
    this.element = make('main', {className: 'grid'});
    this.element.setAttribute('aria-label', 'images and their attention');
    this.sight = new IntersectionObserver((entries) => {
      for (const {target, isIntersecting} of entries) {
        const tile = this.figures.get(target);
        if (!tile || isIntersecting === tile.seen) continue;
        tile.seen = isIntersecting;
        this.makeRoom(tile);
        if (isIntersecting && this.given) this.drawTile(tile);
      }
    }, {rootMargin: '200px'});
  }

  /** Make a tile an image, `sides` canvases each of a picture's sides. */
  layOut(count, sides, picture, size) {
    this.sight.disconnect();
    const {width, height} = canvasFor(picture, size);
    Object.assign(this, {given: null, shown: '', picture, size, sides: {width, height}});
    this.tiles = Array.from({length: count}, (_, image) => this.tile(image, sides));
    this.element.replaceChildren();
  }

  tile(image, count) {
    const {width, height} = this.sides;
    const sides = Array.from({length: count}, () => ({
      canvas: make('canvas'), cell: make('span', {className: 'cell'}), word: make('span', {className: 'word'}),
      name: make('span', {className: 'side'}), answer: make('span', {className: 'answer'}),
      of: make('span', {className: 'explained'}), number: make('span', {className: 'number'}),
    }));
    for (const {cell, canvas, word} of sides) {
      Object.assign(cell.style, {width: `${width}px`, height: `${height}px`});
      cell.append(canvas, word);
    }
    const truth = make('span', {className: 'truth'});
    const button = make('button', {type: 'button', className: 'open', onclick: () => this.open(image)}, ...sides.map((side) => side.cell));
    const pin = make('button', {type: 'button', className: 'pin', textContent: '☆', title: 'pin: show it first, whatever is filtered', onclick: () => this.pin(image)});
    pin.setAttribute('aria-label', `pin image ${image + 1}`);
    const cells = make('span', {className: 'answers'}, ...sides.map(({name, answer, of, number}) => make('span', {}, name, answer, of, number)));
    const figure = make('figure', {className: 'tile'}, button, make('figcaption', {}, pin, truth, cells));
    figure.dataset.image = image;
    figure.style.setProperty('--sides', count);
    figure.style.setProperty('--width', `${width * count}px`);
    figure.style.setProperty('--height', `${height + 80}px`);
    const tile = {image, figure, sides, truth, pin, button, seen: image < 24};
    this.makeRoom(tile);
    this.sight.observe(figure);
    this.figures.set(figure, tile);
    return tile;
  }

  /** Only what is in sight has canvases of a size: each is memory and a layer, and a thousand are slow to scroll. */
  makeRoom({sides, seen}) {
    for (const {canvas} of sides) Object.assign(canvas, seen ? this.sides : {width: 0, height: 0});
  }

  /**
   * Show these images in this order.
   *
   * given: {groups: [{name, images, told}], view, sides, palette, number, pins: a Set}; `view` is the groups', sides are
   * views, changes between them and the images themselves.
   */
  show(given) {
    this.given = given;
    const shown = given.groups.map(({name, images}) => `${name}:${images}`).join('|');
    if (shown !== this.shown) {
      this.shown = shown;
      this.heads = given.groups.map(() => this.head());
      const parts = given.groups.flatMap(({name, images}, place) => [
        ...(name ? [this.heads[place].element] : []), ...images.map((image) => this.tiles[image].figure)]);
      const focused = document.activeElement;
      this.element.replaceChildren(...parts); // as they are read and tabbed to
      if (this.element.contains(focused)) focused.focus({preventScroll: true});
    }
    given.groups.forEach((group, place) => { if (group.name) this.drawHead(this.heads[place], group); });
    for (const {images} of given.groups) for (const image of images) if (this.tiles[image].seen) this.drawTile(this.tiles[image]);
  }

  /** Draw an image again, if it is in sight. */
  drawAnew(image) {
    if (this.given && this.tiles[image]?.seen) this.drawTile(this.tiles[image]);
  }

  head() {
    const canvas = canvasFor(this.picture, Math.min(96, this.size)), title = make('h2'), said = make('p');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', 'mean of the maps');
    return {element: make('div', {className: 'group'}, canvas, make('div', {}, title, said)), canvas, title, said};
  }

  /** A group's name, its mean map without a picture, and its numbers. */
  drawHead({canvas, title, said}, {name, images, told}) {
    const {view, palette} = this.given, maps = images.map((image) => view.map(image).map).filter(Boolean);
    const {h, w} = maps[0] ?? {};
    paint(canvas, null, meanMap(maps.filter((map) => map.h === h && map.w === w)), palette);
    setText(title, name);
    setText(said, told);
  }

  drawTile(tile) {
    const {sides, number, pins} = this.given, {image} = tile, isPinned = pins.has(image);
    let isAnyComing = false;
    sides.forEach((side, place) => {
      const {canvas, cell, word, name, answer, of, number: text} = tile.sides[place], said = side.said(image);
      const {why, isComing} = side.draw(canvas, image);
      isAnyComing ||= Boolean(isComing);
      setText(word, why);
      word.hidden = !why;
      cell.classList.toggle('wrong', Boolean(said.wrong));
      setText(name, sides.length > 1 ? side.name : '');
      setText(answer, said.missing ? '' : `${said.wrong ? '✗ ' : ''}${said.answer}`);
      answer.classList.toggle('wrong', Boolean(said.wrong));
      setText(of, said.of ?? '');
      const value = number && !said.missing ? side.value(number, image) : undefined; // the image itself has none
      setText(text, value === undefined ? '' : `${worded(side.before ? 'change' : number)} ${value === null ? '–' : round(value)}`);
    });
    const {truth = '', answer = '', wrong} = this.given.view.said(image);
    setText(tile.truth, truth);
    tile.truth.title = truth;
    tile.button.setAttribute('aria-label', `image ${image + 1}: ${truth}, ${answer}${wrong ? ', wrong' : ''}; open large`);
    tile.figure.toggleAttribute('data-coming', isAnyComing);
    tile.figure.classList.toggle('pinned', isPinned);
    setText(tile.pin, isPinned ? '★' : '☆');
    tile.pin.setAttribute('aria-pressed', String(isPinned));
  }
}
