// The quantised cubes of the crops, unpacked on first use; their spectra and histograms.

const CUBE_KINDS = ["before", "after", "reference"];
// The code of NaN, as spectra.py writes it.
const NAN_CODE = 65535;
const BINS = 60;
// Share of the values at either end that the outermost bins of a histogram collect: outliers would squeeze the rest.
const TAIL_SHARE = 0.005;
const unpacked = new Map();

// Return the codes of a cube (band, y, x), from the base64 of their deflated bytes.
function codes(id) {
  if (!unpacked.has(id)) unpacked.set(id, inflate(document.getElementById(id).textContent));
  return unpacked.get(id);
}

async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint16Array(await new Response(stream).arrayBuffer());
}

// Return the cubes of a crop: [{kind, shape, scale, offset, codes}], in the order of CUBE_KINDS.
async function open(crop, index) {
  const kinds = CUBE_KINDS.filter((kind) => kind in crop.cubes);
  return Promise.all(
    kinds.map(async (kind) => ({ kind, ...crop.cubes[kind], codes: await codes(`cube-${index}-${kind}`) })),
  );
}

function value(cube, band, code) {
  return code === NAN_CODE ? null : code * cube.scale[band] + cube.offset[band];
}

// Return the size of a band of a cube, and the index in it of a pixel given as indices of crop.rows and crop.columns.
function pixelIndex(crop, cube, row, column) {
  const [, height, width] = cube.shape;
  const whole = cube.kind === "before" && crop.stride <= crop.ratio;
  const y = whole ? Math.floor(crop.rows[row] / crop.ratio) : row;
  const x = whole ? Math.floor(crop.columns[column] / crop.ratio) : column;
  return { plane: height * width, index: y * width + x };
}

function spectrum(crop, cube, row, column) {
  const { plane, index } = pixelIndex(crop, cube, row, column);
  return Array.from({ length: cube.shape[0] }, (_, band) => value(cube, band, cube.codes[band * plane + index]));
}

// Return a formatter for each band of a cube.
function formatters(cube) {
  return cube.scale.map((step, band) => {
    const low = cube.offset[band];
    return formatter(step, Math.max(Math.abs(low), Math.abs(low + step * (NAN_CODE - 1))));
  });
}

function bandValues(cube, band) {
  const plane = cube.shape[1] * cube.shape[2];
  const values = [];
  for (const code of cube.codes.subarray(band * plane, (band + 1) * plane)) {
    if (code !== NAN_CODE) values.push(value(cube, band, code));
  }
  return values;
}

// Return the range of the bins, which holds nearly all values of all cubes.
function binRange(lists) {
  const sorted = Float64Array.from(lists.flat()).sort();
  if (!sorted.length) return [0, 1];
  const cut = Math.floor((sorted.length - 1) * TAIL_SHARE);
  return extent([[sorted[cut], sorted[sorted.length - 1 - cut]]]);
}

// Return the percentage of the values in each bin; values out of range count in the outermost bins.
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
