// Colour scales: of heat over a picture, of a change of heat, of numbers in the overview, and of lines.

const STEPS = { // 17 even steps of matplotlib's maps of these names, all of which only get brighter
  plasma: '0d08873105974c02a16600a77e03a89511a1aa2395bc3587cc4778da5a6ae66c5cf0804ef89540fdac33fdc527f8df25f0f921',
  inferno: '0000040b0724210c4a3d096557106e71196e8a226aa32c61bc3754d24644e45a31f1731df98e09fcac11f9cb35f2ea69fcffa4',
  viridis: '44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725',
};
export const COLOURS = Object.keys(STEPS);
export const LESS = [64, 156, 255], MORE = [255, 140, 26]; // of a change: neither darkens a picture
// TensorBoard's own, in the order in which it gives them to runs
const RUNS = ['#ff7043', '#0077bb', '#cc3311', '#33bbee', '#ee3377', '#009988', '#bbbbbb'];
// of an image's numbers: each has a contrast of 3 with white paper and with dark
export const LINES = ['#2b9348', '#d9730d', '#a45ee5', '#3d7fe0', '#d6409f', '#1f8fa3', '#9a7b1e', '#7a8694', '#d64545', '#8370c4', '#6b8e23', '#a0715c'];

/** A colour of a scale, 0..1, as [red, green, blue] of 0..255. */
export function colourAt(name, part) {
  const steps = Object.hasOwn(STEPS, name) ? STEPS[name] : STEPS.plasma;
  const place = Math.max(0, Math.min(1, part)) * 16, step = Math.min(15, Math.floor(place)), rest = place - step;
  const channel = (which, at) => parseInt(steps.slice(6 * at + 2 * which, 6 * at + 2 * which + 2), 16);
  return [0, 1, 2].map((which) => Math.round(channel(which, step) * (1 - rest) + channel(which, step + 1) * rest));
}

const weight = (part) => part ** 0.75; // as the logged pictures: where there is no heat, the picture is as it is

/** 256 colours as RGBA words; the weaker the heat, the more of the picture stays. `opacity` is 0..1. */
export function heatPalette(name, opacity) {
  return wordsOf((part) => [...colourAt(name, part), 255 * opacity * weight(part)]);
}

/** 256 colours as RGBA words, from all that is less, over no change in the middle, to all that is more. */
export function changePalette(opacity) {
  return wordsOf((part) => [...(part < 0.5 ? LESS : MORE), 255 * opacity * weight(Math.abs(2 * part - 1))]);
}

/** 256 colours as RGBA words, none of the page's showing through. */
export function numberPalette(name) {
  return wordsOf((part) => [...colourAt(name, part), 255]);
}

function wordsOf(colour) {
  return Uint32Array.from({length: 256}, (_, level) => {
    const [red, green, blue, alpha] = colour(level / 255);
    return (Math.round(alpha) << 24 | blue << 16 | green << 8 | red) >>> 0;
  });
}

/** So many colours of a scale, from its first to its last. */
export const sampled = (name, count) => Array.from({length: count}, (_, at) => colourAt(name, at / (count - 1)));

/** A scale as a CSS background. */
export const gradientOf = (name) => `linear-gradient(to right, ${sampled(name, 5).map((colour) => `rgb(${colour})`).join(', ')})`;

/** Of lines whose colour is another's too. */
export const DASHES = ['', '6 3', '2 3', '8 3 2 3'];

/** The colour that TensorBoard gives a run, by its place among all of them. */
export const colourOfRun = (place) => RUNS[Math.max(0, place) % RUNS.length];
