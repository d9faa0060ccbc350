// Draws the plots of a page from the JSON in its #plot-data; the same numbers stand in tables, which are folded then.
import uPlot from "uplot";

const given = document.getElementById("plot-data");
const data = given ? JSON.parse(given.textContent) : { plots: [] };
const language = document.documentElement.lang;
const dates = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone: "UTC" });
const numbers = new Intl.NumberFormat(language);
const compact = new Intl.NumberFormat(language, { notation: "compact" });
const drawn = [];

// As the canvas understands it: variables may be made of others.
const probe = document.body.appendChild(document.createElement("span"));
probe.hidden = true;
function colour(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

function draw(plot) {
  const place = document.getElementById(plot.id);
  if (!place) return;
  const lines = colour("--tblr-border-color");
  const words = colour("--tblr-secondary");
  const axis = { stroke: words, grid: { stroke: lines, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const bars = plot.bars ? uPlot.paths.bars({ size: [0.7, 24] }) : undefined;
  const series = plot.series.map(({ label, colour: name }) => ({
    label,
    stroke: colour(name),
    fill: plot.bars ? colour(name) : undefined,
    width: plot.bars ? 0 : 2,
    paths: bars,
    points: { show: data.days.length < 2 },
    value: (_, value) => (value == null ? "" : numbers.format(value)),
  }));
  const options = {
    width: place.clientWidth,
    height: 220,
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: false, range: () => [-0.5, data.days.length - 0.5] }, y: { range: (_, __, most) => [0, Math.max(most * 1.1, 4)] } },
    axes: [
      { ...axis, values: (_, at) => at.map((day) => (Number.isInteger(day) && data.days[day] ? dates.format(data.days[day] * 864e5) : "")), space: 70 },
      { ...axis, values: (_, at) => at.map((value) => (Number.isInteger(value) ? compact.format(value) : "")), size: 46 },
    ],
    series: [{ label: plot.day, value: (_, day) => (day == null ? "" : dates.format(data.days[day] * 864e5)) }, ...series],
  };
  const rows = [data.days.map((_, index) => index), ...plot.series.map((one) => one.values)];
  place.replaceChildren();
  drawn.push([new uPlot(options, rows, place), place]);
}

function drawAll() {
  for (const [plot] of drawn.splice(0)) plot.destroy();
  data.plots.forEach(draw);
}

for (const table of document.querySelectorAll("details[data-numbers]")) table.open = false;
for (const section of document.querySelectorAll("[data-plot]")) section.hidden = false;
drawAll();
new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
let wait = 0;
addEventListener("resize", () => {
  clearTimeout(wait);
  wait = setTimeout(() => drawn.forEach(([plot, place]) => plot.setSize({ width: place.clientWidth, height: 220 })), 100);
});
