// Still WebP files as the frames of an animated one, by WebP's container specification (RFC 9649).

/** Join stills, a Uint8Array each; each is shown for so many milliseconds, again and again, smaller ones from the upper left. */
export function animated(stills, milliseconds) {
  const frames = stills.map((still) => chunksOf(still).filter(({name}) => ['ALPH', 'VP8 ', 'VP8L'].includes(name)));
  const sizes = frames.map(sizeOf), [width, height] = [0, 1].map((side) => Math.max(...sizes.map((size) => size[side])));
  const head = chunk('VP8X', [0x12, 0, 0, 0, ...three(width - 1), ...three(height - 1)]); // animated, and parts of it may be transparent
  const endless = chunk('ANIM', [255, 255, 255, 255, 0, 0]);
  const shown = frames.map((parts, place) => chunk('ANMF', [
    ...three(0), ...three(0), ...sizes[place].flatMap((side) => three(side - 1)), ...three(milliseconds), 0x03, // drawn over nothing, then taken away
  ], ...parts.map(({name, data}) => chunk(name, [], data))));
  const body = [head, endless, ...shown], length = body.reduce((sum, part) => sum + part.length, 0);
  return joined([letters('RIFF'), four(length + 4), letters('WEBP'), ...body]);
}

/** What a WebP file holds: [{name, data}]. */
function chunksOf(file) {
  const found = [], view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = 12; at + 8 <= file.length;) {
    const name = String.fromCharCode(...file.subarray(at, at + 4)), length = view.getUint32(at + 4, true);
    found.push({name, data: file.subarray(at + 8, at + 8 + length)});
    at += 8 + length + length % 2;
  }
  return found;
}

/** A still's sides, from its lossy or its lossless part. */
function sizeOf(parts) {
  const {name, data} = parts.find((part) => part.name !== 'ALPH');
  if (name === 'VP8 ') return [(data[6] | data[7] << 8) & 0x3fff, (data[8] | data[9] << 8) & 0x3fff];
  return [1 + ((data[1] | data[2] << 8) & 0x3fff), 1 + ((data[2] >> 6 | data[3] << 2 | data[4] << 10) & 0x3fff)];
}

function chunk(name, data, ...more) {
  const content = joined([data, ...more]);
  return joined([letters(name), four(content.length), content, new Uint8Array(content.length % 2)]);
}

const letters = (word) => [...word].map((letter) => letter.charCodeAt(0));
const three = (number) => [number & 255, number >> 8 & 255, number >> 16 & 255];
const four = (number) => [...three(number), number >>> 24];

function joined(parts) {
  const made = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => { made.set(part, at); return at + part.length; }, 0);
  return made;
}
