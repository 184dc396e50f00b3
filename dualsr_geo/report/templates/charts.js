// Line charts as SVG: axes with units, gaps between distant bands, values by pointer and by arrow keys.

const HEIGHT = 272;
const MARGIN = { top: 10, right: 14, bottom: 44, left: 64 };
// A step along x longer than this many median steps is a gap in the spectrum (water vapour).
const GAP_STEPS = 4;
// Series of up to this many points also have a dot at each point.
const MAX_DOTS = 40;
const COLOR_COUNT = 7;
const DASHES = ["", "7 3", "2 3", "10 3 2 3"];
const NO_VALUE = "\u2013";
// Read from the page, which contains no address.
const SVG = document.getElementById("sprite").namespaceURI;

function make(name, attributes = {}, ...content) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...content);
  return node;
}

function makeSvg(name, attributes = {}, ...content) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...content);
  return node;
}

function isNumber(value) {
  return value !== null && Number.isFinite(value);
}

// Smallest and largest of all values; of equal values or none, a range around them.
function extent(lists) {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists) {
    for (const value of list) {
      if (!isNumber(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return [0, 1];
  if (low < high) return [low, high];
  const half = Math.abs(low) / 10 || 0.5;
  return [low - half, high + half];
}

// About `count` round numbers within a range.
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((k) => k * power >= rough) ?? 10);
  const values = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i += 1) values.push(i * step);
  return values;
}

// A formatter with as many digits as a quantisation step resolves; `size` is the largest absolute value.
function formatter(step, size) {
  if (!(step > 0)) return (value) => (isNumber(value) ? String(Number(value.toPrecision(7))) : NO_VALUE);
  const places = Math.max(0, Math.ceil(-Math.log10(step)));
  if (places <= 9 && size < 1e12) return (value) => (isNumber(value) ? value.toFixed(places) : NO_VALUE);
  const digits = Math.min(17, Math.max(1, Math.ceil(Math.log10(size / step)) + 1));
  return (value) => (isNumber(value) ? value.toPrecision(digits) : NO_VALUE);
}

function short(value) {
  return isNumber(value) ? String(Number(value.toPrecision(4))) : NO_VALUE;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : 0;
}

// Runs of points that a line joins: cut at missing values, and at steps along x wider than `widest`.
function runs(points, widest) {
  const finished = [];
  let run = [];
  for (const point of points) {
    const far = run.length > 0 && point.x - run[run.length - 1].x > widest;
    if (run.length && (far || !isNumber(point.y))) {
      finished.push(run);
      run = [];
    }
    if (isNumber(point.y)) run.push(point);
  }
  if (run.length) finished.push(run);
  return finished;
}

function stroke(index) {
  return { stroke: `var(--c${index % COLOR_COUNT})`, "stroke-dasharray": DASHES[index % DASHES.length] };
}

// Draw a chart in `host`. `spec` is {label, xLabel, yLabel, x, names, series: [{name, values, text}], stepped, yRange};
// `stepped` is the width of a bin of a histogram.
function lineChart(host, spec) {
  const order = spec.x.map((_, i) => i).sort((a, b) => spec.x[a] - spec.x[b]);
  const chart = { host, spec, order, selected: null };
  const plot = make("div", { tabindex: "0", role: "slider", "aria-label": spec.label, "aria-valuemin": "0" });
  plot.setAttribute("aria-valuemax", String(Math.max(0, order.length - 1)));
  const readout = make("div", { class: "readout" }, "Point at the chart to read values, or focus it and use the arrow keys.");
  host.replaceChildren(plot, legendOf(spec), readout);
  Object.assign(chart, { plot, readout });
  plot.addEventListener("pointermove", (event) => select(chart, nearest(chart, event)));
  plot.addEventListener("pointerdown", (event) => select(chart, nearest(chart, event)));
  plot.addEventListener("keydown", (event) => selectByKey(chart, event));
  plot.addEventListener("focus", () => select(chart, chart.selected ?? 0));
  host.resizeObserver?.disconnect();
  host.resizeObserver = new ResizeObserver(() => paint(chart));
  host.resizeObserver.observe(host);
  paint(chart);
}

function legendOf(spec) {
  const list = make("ul", { class: "key" });
  spec.series.forEach((one, i) => {
    const line = makeSvg("line", { x1: 0, x2: 34, y1: 5, y2: 5, class: "series", ...stroke(i) });
    list.append(make("li", {}, makeSvg("svg", { "aria-hidden": "true" }, line), make("bdi", {}, one.name)));
  });
  list.hidden = spec.series.length < 2;
  return list;
}

function scales(chart, width) {
  const { spec } = chart;
  const margin = spec.stepped ? spec.stepped / 2 : 0;
  const [x0, x1] = extent([spec.x.flatMap((x) => [x - margin, x + margin])]);
  const [low, high] = spec.yRange ?? extent(spec.series.map((s) => s.values));
  const pad = spec.yRange ? 0 : (high - low) * 0.05;
  const [y0, y1] = [spec.stepped ? 0 : low - pad, high + pad];
  const innerWidth = Math.max(40, width - MARGIN.left - MARGIN.right);
  const innerHeight = HEIGHT - MARGIN.top - MARGIN.bottom;
  return {
    x: (value) => MARGIN.left + ((value - x0) / (x1 - x0)) * innerWidth,
    y: (value) => HEIGHT - MARGIN.bottom - ((value - y0) / (y1 - y0)) * innerHeight,
    xTicks: ticks(x0, x1, innerWidth / 65).filter((t) => !chart.spec.integerX || Number.isInteger(t)),
    yTicks: ticks(y0, y1, 5),
    right: MARGIN.left + innerWidth,
  };
}

function paint(chart) {
  const width = Math.max(240, Math.round(chart.host.clientWidth));
  const scale = scales(chart, width);
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
  svg.append(...axes(chart.spec, scale));
  chart.spec.series.forEach((one, i) => svg.append(...line(chart, one, i, scale)));
  const cursor = makeSvg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  svg.append(cursor);
  chart.plot.replaceChildren(svg);
  Object.assign(chart, { scale, cursor, svg });
  if (chart.selected !== null) select(chart, chart.selected);
}

function axes(spec, scale) {
  const bottom = HEIGHT - MARGIN.bottom;
  const parts = [];
  for (const value of scale.yTicks) {
    const y = scale.y(value);
    parts.push(makeSvg("line", { class: "grid", x1: MARGIN.left, x2: scale.right, y1: y, y2: y }));
    parts.push(makeSvg("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of scale.xTicks) {
    const x = scale.x(value);
    parts.push(makeSvg("line", { class: "tick", x1: x, x2: x, y1: bottom, y2: bottom + 5 }));
    parts.push(makeSvg("text", { x, y: bottom + 18, "text-anchor": "middle" }, short(value)));
  }
  const middle = (MARGIN.left + scale.right) / 2;
  const half = (MARGIN.top + bottom) / 2;
  parts.push(makeSvg("path", { class: "axis", d: `M${MARGIN.left} ${bottom}H${scale.right}` }));
  parts.push(makeSvg("text", { x: middle, y: HEIGHT - 6, "text-anchor": "middle" }, spec.xLabel));
  parts.push(makeSvg("text", { transform: `translate(13 ${half}) rotate(-90)`, "text-anchor": "middle" }, spec.yLabel));
  return parts;
}

function line(chart, one, index, scale) {
  const { spec, order } = chart;
  const points = order.map((i) => ({ x: spec.x[i], y: one.values[i] }));
  const steps = points.slice(1).map((p, i) => p.x - points[i].x).filter((s) => s > 0);
  const joined = runs(points, spec.stepped ? Infinity : median(steps) * GAP_STEPS || Infinity);
  const paths = joined.map((run) => (spec.stepped ? stairs(run, spec.stepped, scale) : polyline(run, scale)));
  const dots = spec.stepped || points.length > MAX_DOTS ? joined.filter((run) => run.length === 1 && !spec.stepped) : joined;
  const circles = dots.flat().map((p) =>
    makeSvg("circle", { class: "dot", cx: scale.x(p.x), cy: scale.y(p.y), r: 2.6, fill: stroke(index).stroke }),
  );
  return [makeSvg("path", { class: "series", d: paths.join(""), ...stroke(index) }), ...circles];
}

function polyline(run, scale) {
  return run.map((p, i) => `${i ? "L" : "M"}${scale.x(p.x).toFixed(1)} ${scale.y(p.y).toFixed(1)}`).join("");
}

function stairs(run, width, scale) {
  const edge = (p, side) => `${scale.x(p.x + (side * width) / 2).toFixed(1)} ${scale.y(p.y).toFixed(1)}`;
  return run.map((p, i) => `${i ? "L" : "M"}${edge(p, -1)}L${edge(p, 1)}`).join("");
}

function nearest(chart, event) {
  const box = chart.svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * chart.svg.viewBox.baseVal.width;
  const distance = chart.order.map((i) => Math.abs(chart.scale.x(chart.spec.x[i]) - x));
  return distance.indexOf(Math.min(...distance));
}

const CHART_KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1e9, End: 1e9 };

function selectByKey(chart, event) {
  const step = CHART_KEYS[event.key];
  if (!step) return;
  event.preventDefault();
  select(chart, (chart.selected ?? 0) + step);
}

// Show the values of a point; points are counted in order of x.
function select(chart, index) {
  const { spec, order } = chart;
  if (!order.length) return;
  chart.selected = Math.min(order.length - 1, Math.max(0, index));
  const i = order[chart.selected];
  const x = chart.scale.x(spec.x[i]);
  for (const [name, value] of Object.entries({ x1: x, x2: x, visibility: "visible" })) chart.cursor.setAttribute(name, value);
  const values = spec.series.map((s) => `${s.name} ${(s.text ?? short)(s.values[i])}`).join(", ");
  const text = `${spec.names[i]}: ${values}`;
  chart.readout.textContent = text;
  chart.plot.setAttribute("aria-valuenow", String(chart.selected));
  chart.plot.setAttribute("aria-valuetext", text);
}

// A table of a caption, column headers, and rows that each begin with a header.
function table(caption, heads, rows) {
  const head = make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, make("bdi", {}, h))));
  const body = rows.map(([first, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, first)), ...cells.map((c) => make("td", {}, c))),
  );
  return make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
}
