// What is shown, and its place in TensorBoard's address, which can be sent to a colleague.

export const DEFAULTS = {
  run: '', layer: '', target: 0, step: -1, // -1: the last epoch, also when training adds one
  beside: '', plain: 0, change: 0, // the views beside it, as `views.writeBeside` has them
  runs: '', number: '', sort: '', by: 0, filter: '', least: '', most: '', mistakes: 0, group: '', pins: '', box: '', range: '',
  opacity: 80, colour: 'plasma', scale: '', size: 160, speed: 5, large: -1,
};
const BOUNDS = {by: [0, 7], target: [0, 10 ** 6], opacity: [0, 100], size: [64, 384], plain: [0, 1], change: [0, 1], mistakes: [0, 1]}; // an address may say anything
const CHOICES = {scale: ['', 'image', 'run', 'all'], speed: [1, 2, 5, 10, 20, 50], group: ['', 'true', 'predicted']};
const PREFIX = 'p.gradcam.';
const SECONDS_BETWEEN_WRITES = 0.4; // browsers refuse an address that changes with each frame

/** The window whose address it is: TensorBoard's own. */
function page() {
  try {
    return window.parent.location.hash !== undefined ? window.parent : window;
  } catch {
    return window;
  }
}

const hash = () => page().location.hash.replace(/^#/, '');

/** Whether the tab is the one that is open. */
export const isOpen = () => !hash() || hash().split('&')[0] === 'gradcam';

/** Read what an address asks for; what it does not name, or cannot be, is as usual. */
export function readAddress(text = hash()) {
  const given = new URLSearchParams(text), found = {...DEFAULTS};
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = given.get(PREFIX + name);
    if (value === null) continue;
    const asked = typeof usual === 'string' ? value : Number(value);
    if (Number.isNaN(asked)) continue;
    const choice = CHOICES[name], [least, most] = BOUNDS[name] ?? [-1, Infinity];
    if (choice ? choice.includes(asked) : typeof usual === 'string') found[name] = asked;
    else if (!choice) found[name] = Math.max(least, Math.min(most, Math.trunc(asked)));
  }
  return found;
}

/** The address of a state; what is not ours in `now` stays. */
export function addressOf(state, now = hash()) {
  const [tab, ...rest] = now.split('&'), others = rest.filter((part) => !part.startsWith(PREFIX));
  const ours = Object.entries(state)
    .filter(([name, value]) => value !== DEFAULTS[name])
    .map(([name, value]) => `${PREFIX}${name}=${encodeURIComponent(value)}`);
  return '#' + [tab || 'gradcam', ...others, ...ours].join('&');
}

let last = page().location.hash, due = 0, follow = () => {}; // of the one address that a page has: as it was read or written

/** Whether there is an address of ours that was neither read nor written: it is pasted, or gone back to. */
const isPasted = () => hash().includes(PREFIX) && page().location.hash !== last;

function noticed() {
  if (!isOpen() || page().location.hash === last) return;
  last = page().location.hash;
  follow(readAddress());
}

/** Let the address say what is shown, soon. */
export function writeAddress(state) {
  if (due) return;
  due = setTimeout(() => {
    due = 0;
    if (!isOpen() || isPasted()) return; // which is followed, and not written over
    last = addressOf(state);
    try {
      if (last !== page().location.hash) page().history.replaceState(page().history.state, '', last);
    } catch { /* refused for now: the next change writes it */ }
  }, 1000 * SECONDS_BETWEEN_WRITES);
}

/** A link to a state. */
export const linkTo = (state) => page().location.href.replace(/#.*/s, '') + addressOf(state);

/** Follow addresses that are pasted, or gone back to, also one that was while all was read. */
export function onAddress(how) {
  follow = how;
  page().addEventListener('hashchange', noticed);
  if (isPasted()) noticed();
}
