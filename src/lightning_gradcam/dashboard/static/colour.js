// Colour scales: of heat over a picture, of numbers in the overview, and of runs.

const STEPS = { // 17 even steps of matplotlib's maps of these names
  turbo: '30123b4040a2466be34294ff28bceb18ddc232f2986dfe62a4fc3ccdec34eecf3afdac34fb7e21eb500ed02f05a916017a0403',
  inferno: '0000040b0724210c4a3d096557106e71196e8a226aa32c61bc3754d24644e45a31f1731df98e09fcac11f9cb35f2ea69fcffa4',
  viridis: '44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725',
};
export const COLOURS = Object.keys(STEPS);
// TensorBoard's own, in the order in which it gives them to runs
const RUNS = ['#ff7043', '#0077bb', '#cc3311', '#33bbee', '#ee3377', '#009988', '#bbbbbb'];

/** A colour of a scale, 0..1, as [red, green, blue] of 0..255. */
export function colourAt(name, part) {
  const steps = Object.hasOwn(STEPS, name) ? STEPS[name] : STEPS.turbo;
  const place = Math.max(0, Math.min(1, part)) * 16, step = Math.min(15, Math.floor(place)), rest = place - step;
  const channel = (which, at) => parseInt(steps.slice(6 * at + 2 * which, 6 * at + 2 * which + 2), 16);
  return [0, 1, 2].map((which) => Math.round(channel(which, step) * (1 - rest) + channel(which, step + 1) * rest));
}

/** 256 colours as RGBA words; the weaker the heat, the more of the picture stays. `opacity` is 0..1. */
export function heatPalette(name, opacity) {
  return wordsOf((part) => [...colourAt(name, part), 255 * opacity * (0.4 + 0.6 * part)]);
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

/** The colour that TensorBoard gives a run, by its place among all of them. */
export const colourOfRun = (place) => RUNS[Math.max(0, place) % RUNS.length];
