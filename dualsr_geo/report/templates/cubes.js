// The recorded cubes: unpacked when first asked for; spectra and histograms of them.

const NAMES = { before: "before", after: "after", reference: "reference" };
// The code that says NaN, as recording.py writes it.
const NO_VALUE = 65535;
const BINS = 60;
// Beyond these shares of all values a histogram only counts: a few outliers would squeeze the rest.
const TAIL = 0.005;
const unpacked = new Map();

// The codes of a cube (band, y, x), from the base64 of their deflated bytes.
function codes(id) {
  if (!unpacked.has(id)) unpacked.set(id, inflate(document.getElementById(id).textContent));
  return unpacked.get(id);
}

async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint16Array(await new Response(stream).arrayBuffer());
}

// All cubes of a crop: [{kind, shape, scale, offset, codes}], before, after, reference.
async function open(crop, index) {
  const kinds = Object.keys(NAMES).filter((kind) => kind in crop.cubes);
  return Promise.all(
    kinds.map(async (kind) => ({ kind, ...crop.cubes[kind], codes: await codes(`cube-${index}-${kind}`) })),
  );
}

function value(cube, band, code) {
  return code === NO_VALUE ? null : code * cube.scale[band] + cube.offset[band];
}

// The place of a recorded pixel (counted in recorded rows and columns) in one of the crop's cubes.
function place(crop, cube, row, column) {
  const [, height, width] = cube.shape;
  const whole = cube.kind === "before" && crop.stride <= crop.ratio;
  const y = whole ? Math.floor(crop.rows[row] / crop.ratio) : row;
  const x = whole ? Math.floor(crop.columns[column] / crop.ratio) : column;
  return { plane: height * width, at: y * width + x };
}

function spectrum(crop, cube, row, column) {
  const { plane, at } = place(crop, cube, row, column);
  return Array.from({ length: cube.shape[0] }, (_, band) => value(cube, band, cube.codes[band * plane + at]));
}

// The writer of a cube's values: as many digits as the recording tells apart.
function writers(cube) {
  return cube.scale.map((step, band) => {
    const low = cube.offset[band];
    return figures(step, Math.max(Math.abs(low), Math.abs(low + step * (NO_VALUE - 1))));
  });
}

function bandValues(cube, band) {
  const plane = cube.shape[1] * cube.shape[2];
  const found = [];
  for (const code of cube.codes.subarray(band * plane, (band + 1) * plane)) {
    if (code !== NO_VALUE) found.push(value(cube, band, code));
  }
  return found;
}

// Ends of the bins: nearly all values of all cubes.
function binEnds(lists) {
  const sorted = Float64Array.from(lists.flat()).sort();
  if (!sorted.length) return [0, 1];
  const cut = Math.floor((sorted.length - 1) * TAIL);
  return extent([[sorted[cut], sorted[sorted.length - 1 - cut]]]);
}

// Per cent of the values in each bin; what lies beyond the ends counts in the outermost.
function histogram(values, [low, high]) {
  const counts = new Array(BINS).fill(0);
  for (const v of values) {
    const bin = Math.floor(((v - low) / (high - low)) * BINS);
    counts[Math.min(BINS - 1, Math.max(0, bin))] += 1;
  }
  return counts.map((n) => (values.length ? (100 * n) / values.length : null));
}

function moments(values) {
  const count = values.length;
  if (!count) return { count, mean: null, deviation: null, low: null, high: null };
  const mean = values.reduce((a, b) => a + b, 0) / count;
  const square = values.reduce((a, b) => a + (b - mean) ** 2, 0) / count;
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  return { count, mean, deviation: Math.sqrt(square), low, high };
}
