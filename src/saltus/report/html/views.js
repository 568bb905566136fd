// Everything that a page does: figures in its colours that follow choices, maps of weights, tables as files.
// Sections by number: the data behind each, what is chosen in it, its plots and its maps.
const mounted = new Map();
const dark = matchMedia("screen and (prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 640px)");
const FEW = 6; // names that fit above a figure on a phone
const touch = matchMedia("(pointer: coarse)");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const sectionOf = (element) => mounted.get(element.closest("section").dataset.number);
const figureOf = (element) => sectionOf(element).data.figures[element.dataset.figure];

// What a figure shows with the present choices; undefined where there is nothing.
function findView(element) {
  const { chosen } = sectionOf(element);
  const { by, views } = figureOf(element);
  return views[by.map((key) => chosen[key]).join(",")];
}

// A figure in the colours of the page, for the width of the page, with what is chosen emphasised.
function dress(source, marks, chosen) {
  const figure = structuredClone(source);
  const theme = dark.matches ? "dark" : "light";
  const [text, muted, grid, card] = ["--text", "--muted", "--grid", "--card"].map(css);
  const { layout } = figure;
  layout.font = { ...layout.font, color: text, size: narrow.matches ? 11 : 13 };
  layout.hoverlabel = { bgcolor: card, bordercolor: muted, font: { color: text } };
  layout.modebar = { bgcolor: card, color: muted, activecolor: text }; // else a dark box, as the paper is transparent
  layout.dragmode = touch.matches ? false : "zoom";
  if (layout.coloraxis && layout.meta) layout.coloraxis.colorscale = layout.meta[theme];
  for (const [name, axis] of Object.entries(layout)) {
    if (/^[xy]axis/.test(name)) Object.assign(axis, { gridcolor: grid, linecolor: muted, zerolinecolor: muted });
  }
  if (narrow.matches && layout.legend?.orientation === "v") {
    const names = figure.data.filter((trace) => trace.showlegend !== false).length;
    if (names > FEW) layout.showlegend = false; // it would fill the screen
    else layout.legend = { ...layout.legend, orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" };
  }
  for (const trace of figure.data) {
    const colour = trace.meta?.[theme];
    for (const part of ["line", "marker", "textfont"]) if (colour && trace[part]) trace[part].color = colour;
    if (marks.some((key) => trace.meta?.[key] === chosen[key])) Object.assign(trace, { opacity: 1, line: { ...trace.line, width: 3.4 } });
  }
  return figure;
}

// Where nothing hovers plotly's buttons would always be there, over what is drawn.
const options = () => ({
  responsive: true,
  displaylogo: false,
  displayModeBar: touch.matches ? false : "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d"],
});

async function drawPlot(div) {
  const view = findView(div);
  const block = div.closest(".block");
  if (block) block.hidden = !view;
  if (!view) return;
  const { data, layout } = dress(view.figure, figureOf(div).marks, sectionOf(div).chosen);
  await Plotly.react(div, data, layout, options());
}

// The map from a byte to a colour: one hue, from near the page's background to the far end of lightness.
const blend = (stops) => Array.from({ length: 256 }, (_, value) => {
  const place = (value / 255) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((from, channel) => Math.round(from + (stops[low + 1][channel] - from) * (place - low)));
});
const ramps = {
  light: blend([[238, 242, 246], [176, 205, 228], [84, 145, 194], [0, 84, 147], [0, 33, 72]]),
  dark: blend([[33, 39, 48], [22, 74, 116], [38, 128, 184], [124, 194, 236], [240, 249, 255]]),
};
const ramp = (value) => ramps[dark.matches ? "dark" : "light"][value];
const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

const TOP = 3; // pixels above the first row, for its label
const OUTLINED = 64; // keys up to which a cell is wide enough for an outline
const WIDEST = 80; // pixels of a label

// Maps of weights, a panel for each, on the option that is chosen and at the frame that the slider is at.
class Maps {
  constructor(figure) {
    const find = (name) => figure.querySelector(name);
    this.figure = figure;
    this.source = sectionOf(figure).data.maps[figure.dataset.maps];
    this.marked = this.source.marked && { name: this.source.marked[0], cells: decode(this.source.marked[1]) };
    [this.slider, this.step, this.play, this.readout] = [".frame", ".step", ".play", ".readout"].map(find);
    this.slider?.addEventListener("input", () => this.draw());
    this.play?.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
    this.load();
  }

  get frame() {
    return Number(this.slider?.value ?? 0);
  }

  load() {
    this.view = this.source.views[sectionOf(this.figure).chosen[this.source.by]];
    const { groups, keys } = this.view;
    this.count = this.view.count;
    const holder = this.figure.querySelector(".groups");
    const small = this.count <= 32 && !(narrow.matches && keys.length);
    holder.style.setProperty("--panel", this.count > OUTLINED ? "330px" : small && narrow.matches ? "150px" : "220px");
    holder.style.setProperty("--group", groups.length > 1 && this.count <= 40 ? "470px" : "100%");
    const add = (parent, tag, text, name) => {
      const child = parent.appendChild(document.createElement(tag));
      child.textContent = text;
      child.className = name;
      return child;
    };
    holder.replaceChildren();
    this.panels = groups.flatMap(([title, panels], number) => {
      const group = add(holder, "div", "", "group");
      if (title) add(group, "p", title, "title");
      const row = add(group, "div", "", "panels");
      const truth = this.marked && !number ? [{ title: this.marked.name, cells: this.marked.cells.map((cell) => 255 * cell) }] : [];
      return [...truth, ...panels].map((source) => {
        const cells = source.cells ?? decode(source.weights);
        const element = add(row, "div", "", "panel");
        add(element, "p", cells.length ? source.title : `${source.title}: not kept`, source.cells ? "title" : "");
        const canvas = add(element, "canvas", "", "");
        canvas.setAttribute("role", "img");
        const panel = { canvas, cells, truth: Boolean(source.cells), title: source.title, name: title ? `${source.title} of ${title}` : source.title };
        canvas.addEventListener("pointermove", (event) => this.point(event, panel));
        return panel;
      });
    });
    this.draw();
  }

  // The byte at a cell, in the present frame or in the only one.
  at({ cells }, row, key) {
    const size = this.view.rows.length * this.count;
    return cells[(cells.length > size ? this.frame * size : 0) + row * this.count + key];
  }

  draw() {
    const text = this.source.frames[this.frame] ?? "";
    if (this.slider) this.step.textContent = text;
    this.slider?.setAttribute("aria-valuetext", text);
    this.panels.filter(({ cells }) => cells.length).forEach((panel) => this.drawPanel(panel, text));
    const canvas = this.figure.querySelector(".ramp");
    const context = canvas.getContext("2d");
    for (let x = 0; x < canvas.width; x += 1) {
      context.fillStyle = `rgb(${ramp(Math.round((255 * x) / (canvas.width - 1))).join(" ")})`;
      context.fillRect(x, 0, 1, canvas.height);
    }
  }

  drawPanel(panel, text) {
    const { canvas } = panel;
    const { labels, keys, visible } = this.view;
    const { count } = this;
    const context = canvas.getContext("2d");
    const font = `10px ${getComputedStyle(document.body).fontFamily}`;
    const widest = (names) => Math.ceil(Math.max(...names.map((name) => context.measureText(name).width)));
    context.font = `700 ${font}`;
    const left = Math.min(WIDEST, widest(labels.map((label) => `● ${label}`))) + 7;
    const below = keys.length ? Math.min(WIDEST, widest(keys)) + 7 : 15;
    const cellWidth = (Math.max(canvas.clientWidth, 60) - left) / count;
    const cellHeight = Math.min(Math.max(cellWidth, 6), 16);
    const bottom = TOP + labels.length * cellHeight;
    const ratio = devicePixelRatio || 1;
    panel.shape = { left, cellWidth, cellHeight };
    canvas.width = Math.round((left + count * cellWidth) * ratio);
    canvas.height = Math.round((bottom + below) * ratio);
    canvas.style.height = `${bottom + below}px`;
    canvas.setAttribute("aria-label", text ? `${panel.name} at ${text}` : panel.name);
    context.scale(ratio, ratio);
    const image = new ImageData(count, labels.length);
    visible.forEach((end, row) => {
      for (let key = 0; key < end; key += 1) image.data.set([...ramp(this.at(panel, row, key)), 255], 4 * (row * count + key));
    });
    const cells = new OffscreenCanvas(count, labels.length);
    cells.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(cells, left, TOP, count * cellWidth, labels.length * cellHeight);
    if (this.marked && !panel.truth && count <= OUTLINED) this.outline(context, panel.shape);
    context.textBaseline = "middle";
    context.textAlign = "right";
    const there = this.view.there[this.frame] ?? [];
    labels.forEach((label, row) => {
      if ((labels.length - 1 - row) % Math.ceil(10 / cellHeight)) return;
      context.fillStyle = css(there[row] ? "--text" : "--muted");
      context.font = there[row] ? `700 ${font}` : font;
      context.fillText(there[row] ? `● ${label}` : label, left - 5, TOP + (row + 0.5) * cellHeight, left - 5);
    });
    context.fillStyle = css("--muted");
    context.font = font;
    const gap = keys.length ? 9 : 22; // pixels that a label needs
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].find((step) => step * cellWidth > gap) ?? count;
    for (let key = keys.length ? (count - 1) % every : 0; key < count; key += every) {
      context.save();
      context.translate(left + (key + 0.5) * cellWidth, bottom + 5);
      if (keys.length) context.rotate(-Math.PI / 2);
      else Object.assign(context, { textAlign: "center", textBaseline: "top" });
      context.fillText(keys[key] ?? key, 0, 0, below);
      context.restore();
    }
  }

  outline(context, { left, cellWidth, cellHeight }) {
    context.strokeStyle = dark.matches ? "#ff8a3d" : "#d55e00";
    context.lineWidth = cellWidth < 7 ? 1 : 1.5;
    this.marked.cells.forEach((marked, cell) => {
      const [row, key] = [Math.floor(cell / this.count), cell % this.count];
      if (marked) context.strokeRect(left + key * cellWidth + 0.7, TOP + row * cellHeight + 0.7, cellWidth - 1.4, cellHeight - 1.4);
    });
  }

  point(event, panel) {
    if (!panel.shape) return;
    const { rows, keys, visible } = this.view;
    const { left, cellWidth, cellHeight } = panel.shape;
    const [row, key] = [Math.floor((event.offsetY - TOP) / cellHeight), Math.floor((event.offsetX - left) / cellWidth)];
    if (row < 0 || key < 0 || row >= rows.length || key >= visible[row]) return;
    const place = `${rows[row]}, key ${key}${keys.length ? ` (${keys[key]})` : ""}`;
    const value = panel.truth ? "" : `: ${((this.at(panel, row, key) / 255) ** 2).toFixed(2)}`;
    const truth = this.marked ? `, ${this.marked.cells[row * this.count + key] ? "" : "not "}one of the ${this.marked.name}` : "";
    this.readout.textContent = `${panel.title}: ${place}${value}${truth}`;
  }

  start() {
    if (this.frame === Number(this.slider.max)) this.slider.value = 0;
    this.play.textContent = "Pause";
    this.play.setAttribute("aria-pressed", "true");
    this.timer = setInterval(() => {
      if (this.frame === Number(this.slider.max)) return this.stop();
      this.slider.value = this.frame + 1;
      this.draw();
    }, 180);
    this.draw();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = undefined;
    this.play.textContent = "Play";
    this.play.setAttribute("aria-pressed", "false");
  }
}

function download(button) {
  const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const value = (cell) => quote(cell.dataset.csv ?? cell.textContent.trim());
  const lines = [...button.closest(".table").querySelector("table").rows].map((row) => [...row.cells].map(value).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
  link.download = button.dataset.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function choose(select) {
  const section = sectionOf(select);
  const { key } = select.dataset;
  section.chosen[key] = Number(select.value);
  const follows = (element) => [...figureOf(element).by, ...figureOf(element).marks].includes(key);
  for (const caption of section.element.querySelectorAll("figcaption[data-figure]")) {
    if (follows(caption)) caption.textContent = findView(caption)?.caption ?? "";
  }
  section.maps.filter((each) => each.source.by === key).forEach((each) => each.load());
  await Promise.all(section.plots.filter(follows).map(drawPlot));
}

async function drawPlots(plots) {
  for (const div of plots) {
    await drawPlot(div);
    await new Promise((resolve) => setTimeout(resolve, 0)); // the page stays alive between two plots
  }
}

// Make a section live. What was chosen in the one that it replaces stays chosen, where it can still be chosen.
function mount(element, data, before) {
  const section = { element, data, chosen: { ...data.choices }, plots: [...element.querySelectorAll(".plot")], maps: [] };
  mounted.set(element.dataset.number, section);
  for (const select of element.querySelectorAll("select")) {
    const { key } = select.dataset;
    const kept = before?.chosen[key];
    if (kept < select.options.length) section.chosen[key] = kept;
    select.value = section.chosen[key]; // a browser that goes back keeps another one
    select.addEventListener("change", () => choose(select));
  }
  for (const button of element.querySelectorAll(".download")) button.addEventListener("click", () => download(button));
  for (const caption of element.querySelectorAll("figcaption[data-figure]")) caption.textContent = findView(caption)?.caption ?? "";
  section.maps = [...element.querySelectorAll(".maps")].map((figure) => new Maps(figure));
  return drawPlots(section.plots);
}

const all = (name) => [...mounted.values()].flatMap((section) => section[name]);
for (const changed of [dark, narrow]) {
  changed.addEventListener("change", () => {
    all("maps").forEach((each) => each.draw());
    drawPlots(all("plots"));
  });
}
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) all("maps").forEach((each) => each.draw());
  width = innerWidth;
});
