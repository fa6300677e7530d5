// Where data come from: TensorBoard's routes. A source of another kind has the same five methods.

const base = new URL('../', import.meta.url);

/** The answers of a TensorBoard with the plugin. */
export class Server {
  /** What runs there are, {run: {tag: {layer, written, images}}}, with marks of what was written; null where they, and all that they wrote, are as of the mark. */
  async runs(mark) {
    return (await ask('runs', {mark})).json();
  }

  /** What is known of a layer's images, of a set or the last; or null. */
  async probe(run, tag, set) {
    return (await ask('probe', set === undefined ? {run, tag} : {run, tag, set})).json();
  }

  /** One of these images, decoded. */
  async picture(run, tag, set, image) {
    const picture = new Image();
    picture.src = address('picture', {run, tag, set, image});
    await picture.decode();
    return picture;
  }

  /** A layer's looks behind the first `count`, without their maps: {known, mark, looks, broken, caution}. */
  async looks(run, tag, count, mark) {
    const [head, bytes] = await parts('looks', {run, tag, count, mark});
    return {...head, looks: readLooks(head, bytes)};
  }

  /** The maps of some looks of the `known` first, which have the mark: an array each; null where they are broken. */
  async maps(run, tag, start, count, known, mark) {
    const [lengths, bytes] = await parts('maps', {run, tag, start, count, known, mark});
    let at = 0;
    return lengths.map((length) => length ? bytes.subarray(at, at += length) : null);
  }
}

function address(route, query) {
  const url = new URL(route, base);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}

async function ask(route, query = {}) {
  const answer = await fetch(address(route, query));
  if (!answer.ok) throw Object.assign(new Error(await answer.text()), {code: answer.status});
  return answer;
}

/** A line of JSON, and the bytes behind it. */
async function parts(route, query) {
  const bytes = new Uint8Array(await (await ask(route, query)).arrayBuffer()), end = bytes.indexOf(10);
  return [JSON.parse(new TextDecoder().decode(bytes.subarray(0, end))), bytes.subarray(end + 1)];
}

const KINDS = {'|u1': Uint8Array, '<i4': Int32Array, '<f4': Float32Array}; // by NumPy's names

/** Take the bytes apart as the answer's own fields lay them out. */
export function readLooks({fields, looks}, bytes) {
  let at = 0;
  return looks.map((head) => {
    const {N, T, h, w} = head.sizes, look = {...head, shape: [N, T, h, w], maps: undefined};
    for (const [name, dtype, axes] of fields) {
      const Kind = KINDS[dtype], count = [...axes].reduce((product, axis) => product * head.sizes[axis], 1);
      const length = count * Kind.BYTES_PER_ELEMENT;
      look[name] = new Kind(bytes.slice(at, at += length).buffer);
    }
    const ofMetric = (place) => look.numbers.subarray(place * N * T, (place + 1) * N * T);
    const {answers} = look, numbers = new Map(head.metrics.map((name, place) => [name, ofMetric(place)]));
    return Object.defineProperty({...look, numbers}, 'answers', {get() { // a thousand looks have a million words
      const read = JSON.parse(new TextDecoder().decode(answers));
      Object.defineProperty(this, 'answers', {value: read});
      return read;
    }, configurable: true});
  });
}
