// Line charts as SVG: axes with units, gaps where no band lies, values by pointer and by arrow keys.

const HEIGHT = 272;
const MARGIN = { top: 10, right: 14, bottom: 44, left: 64 };
// A step along x this many times the usual one is a gap in the spectrum (water vapour), not a step.
const GAP_STEPS = 4;
// Up to here every point is also drawn as a dot: few bands are places, not a curve.
const MOST_DOTS = 40;
const COLORS = 7;
const DASHES = ["", "7 3", "2 3", "10 3 2 3"];
const NOTHING = "\u2013";
// Taken from the page, so that no address stands in it.
const SVG = document.getElementById("sprite").namespaceURI;

function make(name, attributes = {}, ...content) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...content);
  return node;
}

function draw(name, attributes = {}, ...content) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...content);
  return node;
}

function known(value) {
  return value !== null && Number.isFinite(value);
}

// Least and largest of all values; a span even of one value or none.
function extent(lists) {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists) {
    for (const value of list) {
      if (!known(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return [0, 1];
  if (low < high) return [low, high];
  const half = Math.abs(low) / 10 || 0.5;
  return [low - half, high + half];
}

// Round numbers within a span, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((k) => k * power >= rough) ?? 10);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

// Digits that keep what a step of the recording can tell; `size` is the largest value.
function figures(step, size) {
  if (!(step > 0)) return (value) => (known(value) ? String(Number(value.toPrecision(7))) : NOTHING);
  const places = Math.max(0, Math.ceil(-Math.log10(step)));
  if (places <= 9 && size < 1e12) return (value) => (known(value) ? value.toFixed(places) : NOTHING);
  const digits = Math.min(17, Math.max(1, Math.ceil(Math.log10(size / step)) + 1));
  return (value) => (known(value) ? value.toPrecision(digits) : NOTHING);
}

function short(value) {
  return known(value) ? String(Number(value.toPrecision(4))) : NOTHING;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : 0;
}

// Runs of points that a line may join: cut where nothing is known, and where the step along x is far too wide.
function runs(points, widest) {
  const found = [];
  let run = [];
  for (const point of points) {
    const far = run.length > 0 && point.x - run[run.length - 1].x > widest;
    if (run.length && (far || !known(point.y))) {
      found.push(run);
      run = [];
    }
    if (known(point.y)) run.push(point);
  }
  if (run.length) found.push(run);
  return found;
}

function stroke(index) {
  return { stroke: `var(--c${index % COLORS})`, "stroke-dasharray": DASHES[index % DASHES.length] };
}

// A chart in `host`: {label, xLabel, yLabel, x, names, series: [{name, values, text}], stepped, yEnds}.
function lineChart(host, spec) {
  const order = spec.x.map((_, i) => i).sort((a, b) => spec.x[a] - spec.x[b]);
  const chart = { host, spec, order, at: null };
  const plot = make("div", { tabindex: "0", role: "slider", "aria-label": spec.label, "aria-valuemin": "0" });
  plot.setAttribute("aria-valuemax", String(Math.max(0, order.length - 1)));
  const readout = make("div", { class: "readout" }, "Point at the chart, or focus it and use the arrow keys, to read values.");
  host.replaceChildren(plot, key(spec), readout);
  Object.assign(chart, { plot, readout });
  plot.addEventListener("pointermove", (event) => point(chart, nearest(chart, event)));
  plot.addEventListener("pointerdown", (event) => point(chart, nearest(chart, event)));
  plot.addEventListener("keydown", (event) => step(chart, event));
  plot.addEventListener("focus", () => point(chart, chart.at ?? 0));
  host.watcher?.disconnect();
  host.watcher = new ResizeObserver(() => paint(chart));
  host.watcher.observe(host);
  paint(chart);
}

function key(spec) {
  const list = make("ul", { class: "key" });
  spec.series.forEach((one, i) => {
    const line = draw("line", { x1: 0, x2: 34, y1: 5, y2: 5, class: "series", ...stroke(i) });
    list.append(make("li", {}, draw("svg", { "aria-hidden": "true" }, line), make("bdi", {}, one.name)));
  });
  list.hidden = spec.series.length < 2;
  return list;
}

function scales(chart, width) {
  const { spec } = chart;
  const margin = spec.stepped ? spec.stepped / 2 : 0;
  const [x0, x1] = extent([spec.x.flatMap((x) => [x - margin, x + margin])]);
  const [low, high] = spec.yEnds ?? extent(spec.series.map((s) => s.values));
  const pad = spec.yEnds ? 0 : (high - low) * 0.05;
  const [y0, y1] = [spec.stepped ? 0 : low - pad, high + pad];
  const inner = Math.max(40, width - MARGIN.left - MARGIN.right);
  const tall = HEIGHT - MARGIN.top - MARGIN.bottom;
  return {
    x: (value) => MARGIN.left + ((value - x0) / (x1 - x0)) * inner,
    y: (value) => HEIGHT - MARGIN.bottom - ((value - y0) / (y1 - y0)) * tall,
    xTicks: ticks(x0, x1, inner / 65).filter((t) => !chart.spec.whole || Number.isInteger(t)),
    yTicks: ticks(y0, y1, 5),
    right: MARGIN.left + inner,
  };
}

function paint(chart) {
  const width = Math.max(240, Math.round(chart.host.clientWidth));
  const scale = scales(chart, width);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
  svg.append(...axes(chart.spec, scale));
  chart.spec.series.forEach((one, i) => svg.append(...line(chart, one, i, scale)));
  const cursor = draw("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  svg.append(cursor);
  chart.plot.replaceChildren(svg);
  Object.assign(chart, { scale, cursor, svg });
  if (chart.at !== null) point(chart, chart.at);
}

function axes(spec, scale) {
  const bottom = HEIGHT - MARGIN.bottom;
  const parts = [];
  for (const value of scale.yTicks) {
    const y = scale.y(value);
    parts.push(draw("line", { class: "grid", x1: MARGIN.left, x2: scale.right, y1: y, y2: y }));
    parts.push(draw("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of scale.xTicks) {
    const x = scale.x(value);
    parts.push(draw("line", { class: "tick", x1: x, x2: x, y1: bottom, y2: bottom + 5 }));
    parts.push(draw("text", { x, y: bottom + 18, "text-anchor": "middle" }, short(value)));
  }
  const middle = (MARGIN.left + scale.right) / 2;
  const half = (MARGIN.top + bottom) / 2;
  parts.push(draw("path", { class: "axis", d: `M${MARGIN.left} ${bottom}H${scale.right}` }));
  parts.push(draw("text", { x: middle, y: HEIGHT - 6, "text-anchor": "middle" }, spec.xLabel));
  parts.push(draw("text", { transform: `translate(13 ${half}) rotate(-90)`, "text-anchor": "middle" }, spec.yLabel));
  return parts;
}

function line(chart, one, index, scale) {
  const { spec, order } = chart;
  const points = order.map((i) => ({ x: spec.x[i], y: one.values[i] }));
  const steps = points.slice(1).map((p, i) => p.x - points[i].x).filter((s) => s > 0);
  const found = runs(points, spec.stepped ? Infinity : median(steps) * GAP_STEPS || Infinity);
  const paths = found.map((run) => (spec.stepped ? stairs(run, spec.stepped, scale) : joined(run, scale)));
  const dots = spec.stepped || points.length > MOST_DOTS ? found.filter((run) => run.length === 1 && !spec.stepped) : found;
  const marks = dots.flat().map((p) =>
    draw("circle", { class: "dot", cx: scale.x(p.x), cy: scale.y(p.y), r: 2.6, fill: stroke(index).stroke }),
  );
  return [draw("path", { class: "series", d: paths.join(""), ...stroke(index) }), ...marks];
}

function joined(run, scale) {
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

function step(chart, event) {
  const by = CHART_KEYS[event.key];
  if (!by) return;
  event.preventDefault();
  point(chart, (chart.at ?? 0) + by);
}

// Show the values at a place along x, counted in order of x.
function point(chart, place) {
  const { spec, order } = chart;
  if (!order.length) return;
  chart.at = Math.min(order.length - 1, Math.max(0, place));
  const i = order[chart.at];
  const x = chart.scale.x(spec.x[i]);
  for (const [name, value] of Object.entries({ x1: x, x2: x, visibility: "visible" })) chart.cursor.setAttribute(name, value);
  const said = spec.series.map((s) => `${s.name} ${(s.text ?? short)(s.values[i])}`).join(", ");
  const text = `${spec.names[i]}: ${said}`;
  chart.readout.textContent = text;
  chart.plot.setAttribute("aria-valuenow", String(chart.at));
  chart.plot.setAttribute("aria-valuetext", text);
}

// A table: its caption, the heads of the columns, and rows that each begin with their own head.
function table(caption, heads, rows) {
  const head = make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, make("bdi", {}, h))));
  const body = rows.map(([first, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, first)), ...cells.map((c) => make("td", {}, c))),
  );
  return make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
}
