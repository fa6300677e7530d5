// Elements of the page. Text is only ever set as text.

const SVG = 'http://www.w3.org/2000/svg';

/** Make an element with properties, or attributes where it has no such property, and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && key !== 'list') element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Make an SVG element with attributes and children. */
export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Set an element's text where it is another: a screen reader reads what is new. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
