const runs = data.runs;
const chosen = runs.map((run) => String(run.chosen));
const plots = [...document.querySelectorAll(".plot")];

function drawPlot(div) {
  const run = runs[div.dataset.run];
  const seed = chosen[div.dataset.run];
  const source = "seeded" in div.dataset ? run.seeds[seed].figures : run.figures;
  return drawFigure(div, source[div.dataset.figure], seed);
}

const TOP = 3; // pixels above the first row, for its label
const OUTLINED = 64; // keys up to which a cell is wide enough for an outline

class PatternViewer {
  constructor(figure) {
    this.run = figure.dataset.run;
    this.packed = runs[this.run].patterns;
    this.truth = bytes(this.packed.truth);
    this.figure = figure;
    this.slider = figure.querySelector(".snapshot");
    this.step = figure.querySelector(".step");
    this.play = figure.querySelector(".play");
    this.readout = figure.querySelector(".readout");
    this.slider.max = this.packed.steps.length - 1;
    this.slider.value = this.slider.max;
    this.slider.addEventListener("input", () => this.draw());
    this.play.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
    this.load();
  }

  load() {
    const { packed, figure } = this;
    const seed = chosen[this.run];
    this.weights = bytes(packed.weights[seed]);
    this.names = packed.heads[seed];
    const panels = figure.querySelector(".panels");
    panels.style.setProperty("--panel", packed.keys > OUTLINED ? "330px" : narrow.matches && packed.keys <= 32 ? "150px" : "230px");
    panels.replaceChildren();
    this.canvases = [this.packed.marked, ...this.names].map((name, index) => {
      const panel = panels.appendChild(document.createElement("div"));
      panel.className = index ? "panel" : "panel truth";
      panel.appendChild(document.createElement("p")).textContent = name;
      const canvas = panel.appendChild(document.createElement("canvas"));
      canvas.setAttribute("role", "img");
      canvas.addEventListener("pointermove", (event) => this.point(event, index));
      return canvas;
    });
    this.draw();
  }

  // The value at a cell: of the truth for panel 0, else of a head.
  at(panel, row, key) {
    const { rows, keys } = this.packed;
    const cell = row * keys + key;
    if (!panel) return 255 * this.truth[cell];
    const snapshot = Number(this.slider.value);
    return this.weights[(snapshot * this.names.length + panel - 1) * rows.length * keys + cell];
  }

  draw() {
    const text = `step ${this.packed.steps[this.slider.value].toLocaleString("en")}`;
    this.step.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    this.canvases.forEach((canvas, panel) => this.drawPanel(canvas, panel, text));
    drawRamp(this.figure.querySelector(".ramp"));
  }

  drawPanel(canvas, panel, text) {
    const { rows, labels, keys, visible, there } = this.packed;
    const ratio = devicePixelRatio || 1;
    const width = Math.max(canvas.clientWidth, 60);
    const left = 8 + 7 * Math.max(...labels.map((label) => label.length)) + 9;
    const cellWidth = (width - left) / keys;
    const cellHeight = Math.min(Math.max(cellWidth, 7), 16);
    const height = TOP + rows.length * cellHeight + 15;
    this.shape = { left, cellWidth, cellHeight };
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const name = panel ? `What ${this.names[panel - 1]} shows at ${text}` : `The ${this.packed.marked} of each query`;
    canvas.setAttribute("aria-label", name);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const image = new ImageData(keys, rows.length);
    rows.forEach((_, row) => {
      for (let key = 0; key < visible[row]; key += 1) {
        image.data.set([...ramp(this.at(panel, row, key)), 255], 4 * (row * keys + key));
      }
    });
    const small = new OffscreenCanvas(keys, rows.length);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, left, TOP, keys * cellWidth, rows.length * cellHeight);
    const [strong, muted] = [css("--text"), css("--muted")];
    if (panel && keys <= OUTLINED) {
      context.strokeStyle = dark.matches ? "#ff8a3d" : "#d55e00";
      context.lineWidth = cellWidth < 7 ? 1 : 1.5;
      this.truth.forEach((needed, cell) => {
        if (needed) context.strokeRect(left + (cell % keys) * cellWidth + 0.7, TOP + Math.floor(cell / keys) * cellHeight + 0.7, cellWidth - 1.4, cellHeight - 1.4);
      });
    }
    const family = getComputedStyle(document.body).fontFamily;
    const now = there[chosen[this.run]][this.slider.value];
    context.textBaseline = "middle";
    context.textAlign = "right";
    labels.forEach((label, row) => {
      if (row % Math.ceil(10 / cellHeight)) return;
      context.fillStyle = now[row] ? strong : muted;
      context.font = `${now[row] ? "700 " : ""}10px ${family}`;
      context.fillText(now[row] ? `● ${label}` : label, left - 5, TOP + (row + 0.5) * cellHeight);
    });
    context.fillStyle = muted;
    context.font = `10px ${family}`;
    context.textAlign = "center";
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].find((gap) => gap * cellWidth > 22) ?? keys;
    for (let key = 0; key < keys; key += every) context.fillText(key, left + (key + 0.5) * cellWidth, height - 6);
  }

  point(event, panel) {
    const { left, cellWidth, cellHeight } = this.shape;
    const [row, key] = [Math.floor((event.offsetY - TOP) / cellHeight), Math.floor((event.offsetX - left) / cellWidth)];
    const { rows, keys, visible } = this.packed;
    if (row < 0 || key < 0 || row >= rows.length || key >= keys || key >= visible[row]) return;
    const needed = `${this.truth[row * keys + key] ? "" : "not "}a ${this.packed.marked.slice(0, -1)}`;
    const value = panel ? `${this.names[panel - 1]}: ${((this.at(panel, row, key) / 255) ** 2).toFixed(2)}, ` : "";
    this.readout.textContent = `${rows[row]}, key ${key}: ${value}${needed}`;
  }

  start() {
    if (Number(this.slider.value) === Number(this.slider.max)) this.slider.value = 0;
    this.play.textContent = "Pause";
    this.play.setAttribute("aria-pressed", "true");
    this.timer = setInterval(() => {
      if (Number(this.slider.value) === Number(this.slider.max)) return this.stop();
      this.slider.value = Number(this.slider.value) + 1;
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

const viewers = [];

async function chooseSeed(run, seed) {
  chosen[run] = seed;
  for (const caption of document.querySelectorAll(`figcaption[data-run="${run}"]`)) {
    caption.textContent = runs[run].seeds[seed].captions[caption.dataset.caption];
  }
  viewers.filter((viewer) => viewer.run === run).forEach((viewer) => viewer.load());
  const changed = plots.filter((div) => div.dataset.run === run && ("seeded" in div.dataset || div.dataset.figure === "losses"));
  await Promise.all(changed.map(drawPlot));
}

async function drawAll() {
  for (const div of plots) {
    await drawPlot(div);
    await pause();
  }
}

async function redraw() {
  viewers.forEach((viewer) => viewer.draw());
  await drawAll();
}

for (const select of document.querySelectorAll("select[data-run]")) {
  select.value = chosen[select.dataset.run];
  select.addEventListener("change", () => chooseSeed(select.dataset.run, select.value));
}
for (const button of document.querySelectorAll(".download")) button.addEventListener("click", () => downloadTable(button));
for (const figure of document.querySelectorAll(".patterns")) viewers.push(new PatternViewer(figure));
dark.addEventListener("change", redraw);
narrow.addEventListener("change", redraw);
onResize(() => viewers.forEach((viewer) => viewer.draw()));
drawAll().then(() => (document.documentElement.dataset.ready = "yes"));
