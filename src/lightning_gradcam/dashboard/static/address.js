// What is shown, and its place in TensorBoard's address, which can be sent to a colleague.

export const DEFAULTS = {
  run: '', layer: '', target: 0, step: -1, // -1: the last epoch, also when training adds one
  compare: '', run2: '', step2: 0, // compare: '', 'epoch' or 'run'
  number: '', opacity: 65, colour: 'turbo', scale: '', size: 160, speed: 5, sort: '', mistakes: 0, filter: '', large: -1,
};
const BOUNDS = {opacity: [0, 100], size: [64, 384], speed: [1, 50]}; // an address may say anything
const CHOICES = {compare: ['', 'epoch', 'run'], scale: ['', 'image', 'run', 'all'], speed: [1, 2, 5, 10, 20, 50]};
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
export function readAddress() {
  const given = new URLSearchParams(hash()), found = {...DEFAULTS};
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

let last = '', due = 0;

/** Let the address say what is shown, soon; what is not ours in it stays. */
export function writeAddress(state) {
  if (due) return;
  due = setTimeout(() => {
    due = 0;
    if (!isOpen()) return;
    const [tab, ...rest] = hash().split('&');
    const others = rest.filter((part) => !part.startsWith(PREFIX));
    const ours = Object.entries(state)
      .filter(([name, value]) => value !== DEFAULTS[name])
      .map(([name, value]) => `${PREFIX}${name}=${encodeURIComponent(value)}`);
    const address = '#' + [tab || 'gradcam', ...others, ...ours].join('&');
    last = address;
    try {
      if (address !== page().location.hash) page().history.replaceState(page().history.state, '', address);
    } catch { /* refused for now: the next change writes it */ }
  }, 1000 * SECONDS_BETWEEN_WRITES);
}

/** The address of what is shown. */
export const link = () => page().location.href;

/** Follow an address that is pasted, or gone back to. */
export function onAddress(follow) {
  page().addEventListener('hashchange', () => {
    if (isOpen() && page().location.hash !== last) follow(readAddress());
  });
}
