// The page: crops with their divider, the pixel cursor, and the charts.

const data = JSON.parse(document.getElementById("data").textContent);
const state = { crop: 0, layer: "after", split: 50, cursor: { y: 0, x: 0 }, pixel: null, band: data.first };
const withUnit = (label) => (data.unit ? `${label} (${data.unit})` : label);
const byId = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// ---- crops and layers -------------------------------------------------------------------

// Fill a fieldset with radio buttons, which the browser operates by keys.
function fillChoices(host, name, options, checked, onChange) {
  host.querySelectorAll("label").forEach((label) => label.remove());
  for (const [option, text] of options) {
    const input = make("input", { type: "radio", name, value: option });
    input.checked = String(option) === String(checked);
    input.addEventListener("change", () => onChange(option));
    host.append(make("label", {}, input, make("span", {}, make("bdi", {}, text))));
  }
}

function figure(kind) {
  return byId(`figure-${state.crop}-${kind}`);
}

function layers() {
  const images = document.querySelectorAll(`[id^="figure-${state.crop}-"]`);
  return [...images].map((img) => img.dataset.kind).filter((kind) => kind !== "before");
}

function showFigure(img, kind) {
  img.src = figure(kind).src;
  img.alt = figure(kind).alt;
}

function showCrop(index) {
  const crop = data.crops[index];
  state.crop = index;
  const stage = byId("stage");
  stage.style.setProperty("--w", crop.width);
  stage.style.setProperty("--h", crop.height);
  byId("crop-where").textContent = byId(`crop-${index}`).textContent;
  showFigure(byId("left"), "before");
  byId("left-tag").textContent = figure("before").dataset.label;
  if (!layers().includes(state.layer)) state.layer = "after";
  fillChoices(byId("layer-choice"), "layer", layers().map((k) => [k, figure(k).dataset.label]), state.layer, showLayer);
  showLayer(state.layer);
  byId("stride").textContent =
    crop.stride > 1 ? `This page has the spectra of every ${crop.stride} pixels along rows and columns; the nearest one is shown.` : "";
  // Right of the divider, which would hide the cursor.
  pick(Math.floor(crop.height / 2), Math.floor(crop.width * 0.75));
  showHistogram();
}

function showLayer(kind) {
  state.layer = kind;
  showFigure(byId("right"), kind);
  byId("right-tag").textContent = figure(kind).dataset.label;
  const legend = byId(`legend-${state.crop}-${kind}`);
  byId("layer-legend").innerHTML = legend ? legend.innerHTML : "";
  showSplit(state.split);
}

// ---- the divider ------------------------------------------------------------------------

function showSplit(percent) {
  state.split = clamp(percent, 0, 100);
  byId("stage").style.setProperty("--split", `${state.split}%`);
  const divider = byId("divider");
  const rounded = Math.round(state.split);
  divider.setAttribute("aria-valuenow", String(rounded));
  divider.setAttribute("aria-valuetext", `${rounded} % before, ${100 - rounded} % ${byId("right-tag").textContent}`);
}

const DIVIDER_KEYS = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };

function wireDivider() {
  const divider = byId("divider");
  divider.addEventListener("keydown", (event) => {
    if (!(event.key in DIVIDER_KEYS)) return;
    event.preventDefault();
    showSplit(state.split + DIVIDER_KEYS[event.key]);
  });
  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = byId("stage").getBoundingClientRect();
    showSplit((100 * (event.clientX - box.left)) / box.width);
  });
}

// ---- the pixel cursor -------------------------------------------------------------------

function moveCursor(y, x) {
  const crop = data.crops[state.crop];
  state.cursor = { y: clamp(y, 0, crop.height - 1), x: clamp(x, 0, crop.width - 1) };
  const { style } = byId("cross");
  style.top = `${(100 * state.cursor.y) / crop.height}%`;
  style.left = `${(100 * state.cursor.x) / crop.width}%`;
  style.height = `${100 / crop.height}%`;
  style.width = `${100 / crop.width}%`;
  byId("cursor-where").textContent = `Cursor at row ${state.cursor.y}, column ${state.cursor.x}.`;
}

function nearestIndex(positions, wanted) {
  const distances = positions.map((p) => Math.abs(p - wanted));
  return distances.indexOf(Math.min(...distances));
}

function pick(y, x) {
  const crop = data.crops[state.crop];
  const row = nearestIndex(crop.rows, y);
  const column = nearestIndex(crop.columns, x);
  moveCursor(crop.rows[row], crop.columns[column]);
  state.pixel = { ...state.cursor };
  byId("position").textContent = `at row ${state.cursor.y}, column ${state.cursor.x} of crop ${crop.name}`;
  showSpectrum(crop, state.crop, row, column);
}

const CURSOR_KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function wirePicker() {
  const picker = byId("picker");
  picker.addEventListener("click", (event) => {
    const crop = data.crops[state.crop];
    const box = picker.getBoundingClientRect();
    const y = Math.floor(((event.clientY - box.top) / box.height) * crop.height);
    const x = Math.floor(((event.clientX - box.left) / box.width) * crop.width);
    pick(clamp(y, 0, crop.height - 1), clamp(x, 0, crop.width - 1));
  });
  picker.addEventListener("keydown", (event) => {
    const [down, right] = CURSOR_KEYS[event.key] ?? [0, 0];
    const stride = event.shiftKey ? 10 : 1;
    if (down || right) moveCursor(state.cursor.y + down * stride, state.cursor.x + right * stride);
    else if (event.key === "Enter" || event.key === " ") pick(state.cursor.y, state.cursor.x);
    else return;
    event.preventDefault();
  });
}

async function showSpectrum(crop, index, row, column) {
  const cubes = await open(crop, index);
  const [y, x] = [crop.rows[row], crop.columns[column]];
  // The user may have picked another pixel while the crop was unpacked.
  if (state.crop !== index || state.pixel.y !== y || state.pixel.x !== x) return;
  const spectra = cubes.map((cube) => spectrum(crop, cube, row, column));
  const series = cubes.map((cube, i) => ({ name: cube.kind, values: spectra[i] }));
  const host = byId("spectrum");
  lineChart(host, { ...bandAxis(), label: "Spectrum of the pixel", yLabel: withUnit("Value"), series });
  const format = cubes.map(formatters);
  const rows = data.bands.map((name, band) => [name, ...spectra.map((values, i) => format[i][band](values[band]))]);
  const caption = withUnit(`Crop ${crop.name}, row ${y}, column ${x}`);
  byId("spectrum-table").replaceChildren(table(caption, ["Band", ...series.map((s) => s.name)], rows));
  host.dataset.ready = `${index} ${y} ${x}`;
}

function bandAxis() {
  return { xLabel: data.axis.label, x: data.axis.values, names: data.bands, integerX: data.axis.label === "Band number" };
}

// ---- the histogram ----------------------------------------------------------------------

async function showHistogram() {
  const [index, band] = [state.crop, state.band];
  const cubes = await open(data.crops[index], index);
  if (state.crop !== index || state.band !== band || !data.bands.length) return;
  const lists = cubes.map((cube) => bandValues(cube, band));
  const range = binRange(lists);
  const stepped = (range[1] - range[0]) / BINS;
  const x = Array.from({ length: BINS }, (_, i) => range[0] + (i + 0.5) * stepped);
  const names = x.map((v) => `${short(v - stepped / 2)} to ${short(v + stepped / 2)}`);
  const text = (v) => (isNumber(v) ? `${v.toFixed(2)} %` : NO_VALUE);
  const series = cubes.map((cube, i) => ({ name: cube.kind, values: histogram(lists[i], range), text }));
  const label = `Histogram of ${data.bands[band]}`;
  lineChart(byId("histogram"), { label, xLabel: withUnit("Value"), yLabel: "Pixels (%)", x, names, series, stepped });
  byId("histogram-note").textContent = `${data.bands[band]}. The outermost bins also count the values below ${short(range[0])} and above ${short(range[1])}.`;
  showStatistics(label, cubes, lists);
}

function showStatistics(label, cubes, lists) {
  const heads = ["", "Pixels", "Mean", "Standard deviation", "Smallest", "Largest"];
  const rows = cubes.map((cube, i) => {
    const { count, mean, deviation, low, high } = moments(lists[i]);
    return [cube.kind, String(count), ...[mean, deviation, low, high].map(short)];
  });
  byId("histogram-table").replaceChildren(table(withUnit(label), heads, rows));
}

function wireHistogram() {
  const select = byId("histogram-band");
  data.bands.forEach((name, i) => select.append(make("option", { value: i }, name)));
  select.value = String(state.band);
  select.addEventListener("change", () => {
    state.band = Number(select.value);
    showHistogram();
  });
}

// ---- the other charts -------------------------------------------------------------------

function showMetric() {
  const select = byId("metric");
  const label = select.selectedOptions[0].textContent;
  const series = Object.entries(data.perBand[select.value]).map(([name, values]) => ({ name, values }));
  lineChart(byId("per-band"), { ...bandAxis(), label: `${label} of each band`, yLabel: label, series });
}

function showRelevance() {
  const series = [{ name: "relevance", values: data.relevance }];
  lineChart(byId("relevance"), { ...bandAxis(), label: "Relevance of each band", yLabel: "Relevance", series, yRange: [0, 1] });
}

function showDetail() {
  const series = Object.entries(data.detail).map(([name, values]) => ({ name, values }));
  const label = "Share of the true detail";
  lineChart(byId("detail"), { ...bandAxis(), label: `${label} of each band`, yLabel: label, series });
}

function wireCopy() {
  byId("copy").addEventListener("click", async () => {
    const text = byId("provenance-json");
    try {
      await navigator.clipboard.writeText(text.textContent);
      byId("copied").textContent = "Copied.";
    } catch {
      // Some browsers refuse local files the clipboard: select the text for the user to copy.
      getSelection().selectAllChildren(text);
      byId("copied").textContent = "The text is selected; copy it with the keyboard.";
    }
  });
}

document.documentElement.classList.add("scripted");
if (byId("viewer")) {
  wireDivider();
  wirePicker();
  wireHistogram();
  fillChoices(byId("crop-choice"), "crop", data.crops.map((c, i) => [i, c.name]), 0, showCrop);
  showCrop(0);
}
if (byId("metric")) {
  byId("metric").addEventListener("change", showMetric);
  showMetric();
}
if (byId("relevance")) showRelevance();
if (byId("detail")) showDetail();
if (byId("copy")) wireCopy();

// ---- tables as CSV ----------------------------------------------------------------------

// Text that a spreadsheet would run as a formula begins with an apostrophe.
function csvCell(text) {
  const value = text.trim().replace(/\s+/g, " ");
  const safe = /^[=+@\-]/.test(value) && !Number.isFinite(Number(value)) ? `'${value}` : value;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csvOf(table) {
  return [...table.rows].map((row) => [...row.cells].map((cell) => csvCell(cell.textContent)).join(",")).join("\n");
}

// Add a button below each table; of tables that change, the one is taken that is there when it is pressed.
function wireCsv(host, name) {
  const button = make("button", { type: "button" });
  button.className = "csv";
  button.textContent = "Save as CSV";
  button.addEventListener("click", () => {
    const shown = host.querySelector("table");
    if (!shown) return;
    const link = make("a", { href: URL.createObjectURL(new Blob([`${csvOf(shown)}\n`], { type: "text/csv" })), download: `${name}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  host.after(button);
}

document.querySelectorAll(".scroll:not(pre)").forEach((host, i) => wireCsv(host, host.id || `table-${i + 1}`));
