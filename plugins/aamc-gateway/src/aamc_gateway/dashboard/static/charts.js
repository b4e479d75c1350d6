// Charts as SVG. Each has a title, and a table with the same figures for those who cannot see it.

import { h, percent, shortUsd, shortWhole, table, usd, whole } from "./dom.js";

// On a phone the drawing is narrower, so that its text stays legible.
const WIDTH = matchMedia("(max-width: 640px)").matches ? 330 : 560, HEIGHT = 190, LEFT = 58, BOTTOM = 22, TOP = 10, RIGHT = 8;
const owners = Array(7).fill(null);  // of the colours but grey

const colour = (name) => (owners.includes(name) ? owners.indexOf(name) : owners.length);

// Return the seven names with the largest amounts, in alphabetical order: nobody can tell more colours apart.
// A name keeps its colour on all pages, until another one takes its place among the seven.
export function largest(names, amount) {
  const shown = [...names].sort().sort((a, b) => amount(b) - amount(a)).slice(0, owners.length).sort();
  for (const name of shown)
    if (!owners.includes(name)) owners[owners.findIndex((owner) => !shown.includes(owner))] = name;
  return shown;
}

const legend = (names) => h("ul", { class: "legend" }, names.map((name) => h("li", {}, h("span", { class: `swatch c${colour(name)}`, "aria-hidden": "true" }), name)));

function ticks(low, high, minimum = 0) {
  const span = high - low || 1, step = Math.max(minimum, [1, 2, 5, 10].map((each) => each * 10 ** Math.floor(Math.log10(span / 4))).find((each) => span / each <= 5));
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return found;
}

// labels: [value, text] of the y axis
function frame(title, low, high, labels, times, label) {
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low || 1));
  const x = (place) => LEFT + ((WIDTH - LEFT - RIGHT) * (place + 0.5)) / times.length;
  const every = Math.max(1, Math.ceil(times.length / (WIDTH / 90)));
  const svg = h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "chart" }, h("title", {}, title));
  for (const [value, text] of labels)
    svg.append(h("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }), h("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, text));
  times.forEach((time, place) => {
    if (place % every === 0) svg.append(h("text", { x: x(place), y: HEIGHT - 6, "text-anchor": "middle" }, label(time)));
  });
  return { svg, x, y };
}

function withTable(svg, caption, columns, rows) {
  return h("div", {}, svg, h("details", {}, h("summary", {}, "Show as a table"), table(caption, columns, rows)));
}

// The numbers of answers: a bar for each part, a colour for each model.
export function stackedBars(title, parts, names, numberOf, label) {
  const totals = new Map(names.map((name) => [name, parts.reduce((sum, part) => sum + numberOf(part, name), 0)]));
  const some = names.filter((name) => totals.get(name)), coloured = largest(names, (name) => totals.get(name));
  const series = some.filter((name) => coloured.includes(name)).map((name) => [name, (part) => numberOf(part, name)]);
  const others = some.filter((name) => !coloured.includes(name));
  if (others.length) series.push([others.length === 1 ? others[0] : `other (${others.length} models)`, (part) => others.reduce((sum, name) => sum + numberOf(part, name), 0)]);
  const high = Math.max(1, ...parts.map((part) => series.reduce((sum, [, of]) => sum + of(part), 0)));
  const { svg, x, y } = frame(title, 0, high, ticks(0, high, 1).map((value) => [value, shortWhole(value)]), parts.map((part) => part.begin), label);
  const width = Math.min(40, Math.max(1, (0.78 * (WIDTH - LEFT - RIGHT)) / parts.length));
  parts.forEach((part, place) => {
    let base = 0;
    for (const [name, of] of series) {
      const value = of(part);
      if (!value) continue;
      svg.append(h("rect", { class: `c${colour(name)}`, x: x(place) - width / 2, width, y: y(base + value), height: y(base) - y(base + value) }, h("title", {}, `${label(part.begin)} ${name}: ${whole(value)}`)));
      base += value;
    }
  });
  const columns = [["begin", (part) => label(part.begin)], ...some.map((name) => [name, (part) => whole(numberOf(part, name))])];
  return h("div", {}, legend(series.map(([name]) => name)), withTable(svg, title, columns, parts));
}

// Amounts in USD. series: [name, values, class of the line, dashed?]
export function lines(title, times, series, label) {
  const values = series.flatMap(([, each]) => each);
  const high = Math.max(...values, 0) || 1, low = Math.min(...values, 0);
  const { svg, x, y } = frame(title, low, high, ticks(low, high).map((value) => [value, shortUsd(value)]), times, label);
  for (const [name, each, kind, dashed] of series) {
    svg.append(h("path", { class: `line l${kind} ${dashed ? "dashed" : ""}`, d: each.map((value, place) => `${place ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("") }));
    each.forEach((value, place) => svg.append(h("circle", { class: `c${kind}`, cx: x(place), cy: y(value), r: each.length > 40 ? 1.5 : 3 }, h("title", {}, `${label(times[place])} ${name}: ${usd(value)}`))));
  }
  const key = h("ul", { class: "legend" }, series.map(([name, , kind, dashed]) => h("li", {}, h("svg", { width: 26, height: 10, "aria-hidden": "true" }, h("line", { class: `line l${kind} ${dashed ? "dashed" : ""}`, x1: 0, x2: 26, y1: 5, y2: 5 })), name)));
  for (const item of key.children) item.className = "row";
  const rows = times.map((time, place) => ({ time, place }));
  return h("div", {}, key, withTable(svg, title, [["begin", (row) => label(row.time)], ...series.map(([name, each]) => [name, (row) => usd(each[row.place])])], rows));
}

// A dot with its 95% interval on the axis from 0 to 1.
export function interval(mean, [low, high], text) {
  const width = 110, at = (value) => 4 + (width - 8) * value;
  return h("svg", { width, height: 16, viewBox: `0 0 ${width} 16`, role: "img" }, h("title", {}, text),
    h("line", { class: "axis", x1: 4, x2: width - 4, y1: 8, y2: 8 }), h("line", { class: "whisker", x1: at(low), x2: at(high), y1: 8, y2: 8 }),
    h("circle", { class: "dot", cx: at(mean), cy: 8, r: 4 }));
}

// Densities on [0, 1], given as shares of their maxima; drawn so that the area under each is 1.
export function densities(title, curves) {
  const scaled = curves.map(([name, shape]) => [name, shape.map((value) => (value * shape.length) / shape.reduce((sum, each) => sum + each))]);
  const { svg, y } = frame(title, 0, 1.05 * Math.max(...scaled.flatMap(([, density]) => density)), [[0, ""]], [], null);
  const x = (value) => LEFT + (WIDTH - LEFT - RIGHT) * value, below = HEIGHT + 16;
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${below}`);
  for (const value of [0, 0.25, 0.5, 0.75, 1]) svg.append(h("text", { x: x(value), y: HEIGHT - 6, "text-anchor": value === 1 ? "end" : "middle" }, percent(value, 0)));
  svg.append(h("text", { x: x(0.5), y: below - 4, "text-anchor": "middle" }, "quality"));
  for (const [name, density] of scaled) {
    const line = density.map((value, place) => `${place ? "L" : "M"}${x(place / (density.length - 1)).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    if (curves.length < 6) svg.append(h("path", { class: `area c${colour(name)}`, d: `${line}L${x(1)} ${y(0)}L${x(0)} ${y(0)}Z` }));
    svg.append(h("path", { class: `line l${colour(name)}`, d: line }, h("title", {}, name)));
  }
  return h("div", {}, legend(curves.map(([name]) => name)), svg);
}
