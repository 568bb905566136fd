const sections = data.sections;
const choices = sections.map((section) => ({ ...section.choices }));
const plots = [...document.querySelectorAll(".plot")];
const viewers = [];

// What a figure shows with the present choices; undefined where there is nothing.
function findView(element) {
  const { by, views } = sections[element.dataset.section].figures[element.dataset.figure];
  return views[by.map((key) => choices[element.dataset.section][key]).join(",")];
}

async function drawPlot(div) {
  const view = findView(div);
  const block = div.closest(".block");
  if (block) block.hidden = !view;
  if (view) await drawFigure(div, view.figure);
}

async function choose(section, key, option) {
  choices[section][key] = option;
  for (const caption of document.querySelectorAll(`figcaption[data-section="${section}"]`)) {
    caption.textContent = findView(caption)?.caption ?? "";
  }
  viewers.filter((viewer) => viewer.figure.dataset.section === section).forEach((viewer) => viewer.load(choices[section].prompt));
  const changed = plots.filter((div) => div.dataset.section === section && sections[section].figures[div.dataset.figure].by.includes(key));
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

for (const select of document.querySelectorAll("select[data-section]")) {
  const { section, key } = select.dataset;
  select.value = choices[section][key];
  select.addEventListener("change", () => choose(section, key, Number(select.value)));
}
for (const button of document.querySelectorAll(".download")) button.addEventListener("click", () => downloadTable(button));
for (const figure of document.querySelectorAll(".attention")) viewers.push(new AttentionMaps(figure, sections[figure.dataset.section].maps));
dark.addEventListener("change", redraw);
narrow.addEventListener("change", redraw);
onResize(() => viewers.forEach((viewer) => viewer.draw()));
drawAll().then(() => (document.documentElement.dataset.ready = "yes"));
