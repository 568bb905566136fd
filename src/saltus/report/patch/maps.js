// Attention of some heads before and after, on one prompt at a time, with tokens as labels.
class AttentionMaps {
  constructor(figure, packed) {
    this.figure = figure;
    this.packed = packed;
    this.readout = figure.querySelector(".readout");
    this.load(0);
  }

  load(number) {
    const prompt = this.packed.prompts[number];
    this.tokens = prompt.tokens;
    const holder = this.figure.querySelector(".heads");
    holder.replaceChildren();
    holder.style.setProperty("--head", this.tokens.length > 40 ? "100%" : "470px");
    this.panels = this.packed.heads.flatMap((name, head) => {
      const block = holder.appendChild(document.createElement("div"));
      block.appendChild(document.createElement("p")).textContent = name;
      const pair = block.appendChild(document.createElement("div"));
      pair.className = "panels";
      return ["recipient", "donor"].map((model) => this.addPanel(pair, model, `${model} of ${name}`, prompt[model][head]));
    });
    this.draw();
  }

  addPanel(pair, model, name, weights) {
    const element = pair.appendChild(document.createElement("div"));
    element.className = "panel";
    element.appendChild(document.createElement("p")).textContent = weights ? model : `${model}: not kept`;
    const canvas = element.appendChild(document.createElement("canvas"));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Attention, ${name}`);
    const panel = { canvas, model, weights: bytes(weights) };
    canvas.addEventListener("pointermove", (event) => this.point(event, panel));
    return panel;
  }

  draw() {
    this.panels.filter((panel) => panel.weights.length).forEach((panel) => this.drawPanel(panel));
    drawRamp(this.figure.querySelector(".ramp"));
  }

  drawPanel(panel) {
    const { canvas, weights } = panel;
    const { tokens } = this;
    const context = canvas.getContext("2d");
    const font = `10px ${getComputedStyle(document.body).fontFamily}`;
    context.font = font;
    const margin = Math.min(80, Math.ceil(Math.max(...tokens.map((token) => context.measureText(token).width)))) + 7;
    const width = Math.max(canvas.clientWidth, 120);
    const count = tokens.length;
    const cellWidth = (width - margin) / count;
    const cellHeight = Math.min(Math.max(cellWidth, 5), 16);
    const height = count * cellHeight + margin;
    panel.shape = { margin, cellWidth, cellHeight };
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    context.scale(ratio, ratio);
    const image = new ImageData(count, count);
    for (let query = 0; query < count; query += 1) {
      for (let key = 0; key <= query; key += 1) {
        image.data.set([...ramp(weights[query * count + key]), 255], 4 * (query * count + key));
      }
    }
    const small = new OffscreenCanvas(count, count);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, margin, 0, count * cellWidth, count * cellHeight);
    context.fillStyle = css("--muted");
    context.font = font;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const everyRow = Math.ceil(9 / cellHeight);
    const everyColumn = Math.ceil(9 / cellWidth);
    for (let row = (count - 1) % everyRow; row < count; row += everyRow) {
      context.fillText(tokens[row], margin - 5, (row + 0.5) * cellHeight, margin - 5);
    }
    for (let key = (count - 1) % everyColumn; key < count; key += everyColumn) {
      context.save();
      context.translate(margin + (key + 0.5) * cellWidth, count * cellHeight + 5);
      context.rotate(-Math.PI / 2);
      context.fillText(tokens[key], 0, 0, margin - 5);
      context.restore();
    }
  }

  point(event, { model, weights, shape }) {
    if (!shape) return;
    const query = Math.floor(event.offsetY / shape.cellHeight);
    const key = Math.floor((event.offsetX - shape.margin) / shape.cellWidth);
    const { tokens } = this;
    if (query < 0 || key < 0 || query >= tokens.length || key > query) return;
    const value = ((weights[query * tokens.length + key] / 255) ** 2).toFixed(2);
    this.readout.textContent = `${model}: ${tokens[query]} (${query}) looks at ${tokens[key]} (${key}) with ${value}`;
  }
}
