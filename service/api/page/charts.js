// Small charts of the last minutes. Each says in words what it draws.

import { el, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 84;
const FEWEST = 31; // points

/** A round number at or above `value`: 1, 2 or 5 times a power of ten. */
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999999);
}

/**
 * Series over time, newest at the right edge; the axis grows with them from `FEWEST` points on.
 * `classes` name the series. Returns the element and `draw(series, words, label, span)`: arrays of
 * numbers (null: a gap), what a screen reader says, and how to write the top and the length.
 */
export function timeChart(classes, { stacked = false, filled = stacked } = {}) {
  const paths = classes.map((name) => svg("path", { class: `${name}${filled ? " filled" : ""}` }));
  const grid = svg("path", { class: "grid", d: `M0 1H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 1}H${WIDTH}` });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, grid, paths);
  const top = el("span", { class: "top", "aria-hidden": "true" });
  const length = el("span", { class: "span", "aria-hidden": "true" });
  const draw = (series, words, label, span) => {
    const points = Math.max(FEWEST, ...series.map((values) => values.length));
    const heaped = stacked ? heap(series) : series;
    const most = roundUp(Math.max(0, ...heaped.flat().filter((value) => value !== null)));
    const shift = points - Math.max(0, ...heaped.map((values) => values.length));
    // The highest pile is drawn first, behind the others.
    heaped.forEach((values, index) => {
      paths[index].setAttribute("d", filled ? area(values, most, shift, points) : line(values, most, shift, points));
    });
    if (stacked) drawing.append(grid, ...[...paths].reverse());
    drawing.setAttribute("aria-label", words);
    top.textContent = label(most);
    length.textContent = span(points - 1);
  };
  return { element: el("div", { class: "chart" }, drawing, top, length), draw };
}

/** Each series on top of those before it. */
function heap(series) {
  let below = series[0]?.map(() => 0) ?? [];
  return series.map((values) => (below = values.map((value, index) => (value ?? 0) + below[index])));
}

const across = (index, points) => ((index * WIDTH) / (points - 1)).toFixed(1);
const up = (value, most) => (HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1);

function line(values, most, shift, points) {
  let drawn = "";
  values.forEach((value, index) => {
    if (value === null) return;
    const starts = index === 0 || values[index - 1] === null;
    drawn += `${starts ? "M" : "L"}${across(index + shift, points)} ${up(value, most)}`;
    if (starts && (values[index + 1] ?? null) === null) drawn += "h1"; // alone it would be invisible
  });
  return drawn;
}

function area(values, most, shift, points) {
  if (!values.length) return "";
  const tops = values.map((value, index) => `L${across(index + shift, points)} ${up(value ?? 0, most)}`);
  const [left, right] = [across(shift, points), across(points - 1, points)];
  return `M${left} ${HEIGHT}${tops.join("")}L${right} ${HEIGHT}Z`;
}

/** Bars side by side, the highest in full: `[name, share, share in words]` each. */
export function columns(bars, words) {
  const most = Math.max(...bars.map(([, share]) => share)) || 1;
  const width = 100 / Math.max(1, bars.length);
  const rects = bars.map(([, share], index) =>
    svg("rect", { x: index * width + width * 0.14, width: width * 0.72, y: 60 - (58 * share) / most, height: (58 * share) / most + 2 }));
  return el("div", { class: "columns" },
    svg("svg", { viewBox: "0 0 100 62", preserveAspectRatio: "none", role: "img", "aria-label": words }, rects),
    el("ol", { "aria-hidden": "true" }, bars.map(([name, , text]) => el("li", {}, el("b", {}, text), name))));
}

/** Bars below each other: `[name, share of 1, text, class]` each. The text says it all. */
export const rows = (bars) =>
  el("ul", { class: "rows" },
    bars.map(([name, share, text, kind]) => {
      const bar = svg("rect", { width: 100 * share, height: 4 });
      return el("li", { class: kind }, el("span", {}, name), el("b", {}, text),
        svg("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" }, bar));
    }));
