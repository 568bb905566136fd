// What every page needs: its data, its theme, figures in its colours, tables as files.
const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("screen and (prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 640px)");
const touch = matchMedia("(pointer: coarse)");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

// A figure in the colours of the page, for the width of the page.
function dress(source, seed) {
  const figure = structuredClone(source);
  const theme = dark.matches ? "dark" : "light";
  const [text, muted, grid, card] = ["--text", "--muted", "--grid", "--card"].map(css);
  const layout = figure.layout;
  layout.font = { ...layout.font, color: text, size: narrow.matches ? 11 : 13 };
  layout.hoverlabel = { bgcolor: card, bordercolor: muted, font: { color: text } };
  layout.modebar = { bgcolor: card, color: muted, activecolor: text }; // else a dark box, as the paper is transparent
  layout.dragmode = touch.matches ? false : "zoom";
  if (layout.coloraxis && layout.meta) layout.coloraxis.colorscale = layout.meta[theme];
  for (const [name, axis] of Object.entries(layout)) {
    if (/^[xy]axis/.test(name)) Object.assign(axis, { gridcolor: grid, linecolor: muted, zerolinecolor: muted });
  }
  if (narrow.matches && layout.legend?.orientation === "v") layout.showlegend = false;
  for (const trace of figure.data) {
    const colour = trace.meta?.[theme];
    if (colour && trace.line) trace.line.color = colour;
    if (colour && trace.marker) trace.marker.color = colour;
    if (colour && trace.textfont) trace.textfont.color = colour;
    if (trace.meta?.seed !== undefined && String(trace.meta.seed) === seed) {
      Object.assign(trace.line, { width: 3.4 });
      trace.opacity = 1;
    }
  }
  return figure;
}

function drawFigure(div, source, seed) {
  const { data, layout } = dress(source, seed);
  return Plotly.react(div, data, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
}

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

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

// The ramp from 0 to 1, as a legend.
function drawRamp(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x += 1) {
    context.fillStyle = `rgb(${ramp(Math.round((255 * x) / (canvas.width - 1))).join(" ")})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

function downloadTable(button) {
  const table = document.getElementById(button.dataset.table);
  const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const value = (cell) => quote(cell.dataset.name ?? cell.dataset.csv ?? cell.textContent.trim().replace(/^–$/, ""));
  const lines = [...table.rows].map((row) => [...row.cells].map(value).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
  link.download = button.dataset.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function onResize(draw) {
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) draw();
    width = innerWidth;
  });
}
