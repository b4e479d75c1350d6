// Charts as SVG. Each has a title, and a table with the same figures for those who cannot see it.

import { h, table } from "./dom.js";

// On a phone the drawing is narrower, so that its text stays legible.
const WIDTH = matchMedia("(max-width: 640px)").matches ? 330 : 560, HEIGHT = 190, LEFT = 58, BOTTOM = 22, TOP = 10, RIGHT = 8;
const order = new Map();

// A candidate keeps its colour on all pages.
export function colour(name) {
  if (!order.has(name)) order.set(name, order.size);
  return Math.min(order.get(name), 7);
}
export const nameColours = (names) => names.forEach(colour);

export const legend = (names) => h("ul", { class: "legend" }, names.map((name) => h("li", {}, h("span", { class: `swatch c${colour(name)}`, "aria-hidden": "true" }), name)));

function ticks(low, high) {
  const span = high - low || 1, step = [1, 2, 5, 10].map((each) => each * 10 ** Math.floor(Math.log10(span / 4))).find((each) => span / each <= 5);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return found;
}

function frame(title, low, high, format, times, label) {
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low || 1));
  const x = (place) => LEFT + ((WIDTH - LEFT - RIGHT) * (place + 0.5)) / times.length;
  const every = Math.max(1, Math.ceil(times.length / (WIDTH / 90)));
  const svg = h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "chart" }, h("title", {}, title));
  for (const value of format ? ticks(low, high) : [0])
    svg.append(h("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }), h("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format ? format(value) : ""));
  times.forEach((time, place) => {
    if (place % every === 0) svg.append(h("text", { x: x(place), y: HEIGHT - 6, "text-anchor": "middle" }, label(time)));
  });
  return { svg, x, y };
}

function withTable(svg, caption, columns, rows) {
  return h("div", {}, svg, h("details", {}, h("summary", {}, "Show as a table"), table(caption, columns, rows)));
}

export function stackedBars(title, parts, names, valueOf, format, label) {
  const high = Math.max(1, ...parts.map((part) => names.reduce((sum, name) => sum + valueOf(part, name), 0)));
  const { svg, x, y } = frame(title, 0, high, format, parts.map((part) => part.begin), label);
  const width = Math.min(40, Math.max(1, (0.78 * (WIDTH - LEFT - RIGHT)) / parts.length));
  parts.forEach((part, place) => {
    let base = 0;
    for (const name of names) {
      const value = valueOf(part, name);
      if (!value) continue;
      svg.append(h("rect", { class: `c${colour(name)}`, x: x(place) - width / 2, width, y: y(base + value), height: y(base) - y(base + value) }, h("title", {}, `${label(part.begin)} ${name}: ${format(value)}`)));
      base += value;
    }
  });
  const columns = [["begin", (part) => label(part.begin)], ...names.map((name) => [name, (part) => format(valueOf(part, name))])];
  return withTable(svg, title, columns, parts);
}

// series: [name, values, class of the line, dashed?]
export function lines(title, times, series, format, label) {
  const values = series.flatMap(([, each]) => each);
  const high = Math.max(...values, 0), low = Math.min(...values, 0);
  const { svg, x, y } = frame(title, low, high || 1, format, times, label);
  for (const [name, each, kind, dashed] of series) {
    svg.append(h("path", { class: `line l${kind} ${dashed ? "dashed" : ""}`, d: each.map((value, place) => `${place ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("") }));
    each.forEach((value, place) => svg.append(h("circle", { class: `c${kind}`, cx: x(place), cy: y(value), r: each.length > 40 ? 1.5 : 3 }, h("title", {}, `${label(times[place])} ${name}: ${format(value)}`))));
  }
  const key = h("ul", { class: "legend" }, series.map(([name, , kind, dashed]) => h("li", {}, h("svg", { width: 26, height: 10, "aria-hidden": "true" }, h("line", { class: `line l${kind} ${dashed ? "dashed" : ""}`, x1: 0, x2: 26, y1: 5, y2: 5 })), name)));
  for (const item of key.children) item.className = "row";
  const rows = times.map((time, place) => ({ time, place }));
  return h("div", {}, key, withTable(svg, title, [["begin", (row) => label(row.time)], ...series.map(([name, each]) => [name, (row) => format(each[row.place])])], rows));
}

// A dot with its 95% interval on the axis from 0 to 1.
export function interval(mean, [low, high], text) {
  const width = 110, at = (value) => 4 + (width - 8) * value;
  return h("svg", { width, height: 16, viewBox: `0 0 ${width} 16`, role: "img" }, h("title", {}, text),
    h("line", { class: "axis", x1: 4, x2: width - 4, y1: 8, y2: 8 }), h("line", { class: "whisker", x1: at(low), x2: at(high), y1: 8, y2: 8 }),
    h("circle", { class: "dot", cx: at(mean), cy: 8, r: 4 }));
}

// Densities on [0, 1], each as a share of its own maximum.
export function densities(title, curves) {
  const { svg, y } = frame(title, 0, 1.05, null, [0], () => "");
  const x = (value) => LEFT + (WIDTH - LEFT - RIGHT) * value;
  for (const value of [0, 0.25, 0.5, 0.75, 1]) svg.append(h("text", { x: x(value), y: HEIGHT - 6, "text-anchor": "middle" }, String(value)));
  for (const [name, density] of curves) {
    const line = density.map((value, place) => `${place ? "L" : "M"}${x(place / (density.length - 1)).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    svg.append(h("path", { class: `area c${colour(name)}`, d: `${line}L${x(1)} ${y(0)}L${x(0)} ${y(0)}Z` }), h("path", { class: `line l${colour(name)}`, d: line }, h("title", {}, name)));
  }
  return h("div", {}, legend(curves.map(([name]) => name)), svg);
}
