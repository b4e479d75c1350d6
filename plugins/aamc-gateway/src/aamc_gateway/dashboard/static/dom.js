// Elements, formats and requests. Texts are always set as text, never as HTML: prompts and names may hold anything.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "rect", "line", "path", "circle", "text", "title", "desc"]);

export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function request(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Failure(0, "The gateway cannot be reached.");
  }
  const text = await response.text();
  let found = null;
  try { found = JSON.parse(text); } catch { /* an error page of a proxy */ }
  if (!response.ok) throw new Failure(response.status, found?.error?.message ?? `The gateway answered with status ${response.status}.`);
  return found;
}

export const whole = (value) => (value ?? 0).toLocaleString("en-US");
export const number = (value, digits = 3) => (value === null || value === undefined ? "–" : Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumSignificantDigits: digits }));
export const count = (value, one, many = `${one}s`) => `${whole(value)} ${value === 1 ? one : many}`;
export const percent = (value, digits = 1) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)}%`);

export function usd(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value), sign = value < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size >= 1000) return `${sign}$${Math.round(size).toLocaleString("en-US")}`;
  if (size >= 1) return `${sign}$${size.toFixed(2)}`;
  if (size >= 0.0001) return `${sign}$${Number(size.toPrecision(3))}`;
  return `${sign}$${size.toExponential(1)}`;
}

// For the labels of an axis, which have place for about eight characters.
const compact = new Intl.NumberFormat("en-US", { notation: "compact" }), compactUsd = new Intl.NumberFormat("en-US", { notation: "compact", style: "currency", currency: "USD" });
export const shortWhole = (value) => compact.format(value);
export const shortUsd = (value) => (Math.abs(value) < 1000 ? usd(value) : compactUsd.format(value));

export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(milliseconds < 10000 ? 2 : 1)} s`;
}

export function moment(seconds, withDate = true) {
  const options = { hour: "2-digit", minute: "2-digit", second: withDate ? "2-digit" : undefined, hour12: false };
  return new Date(1000 * seconds).toLocaleString("en-GB", withDate ? { day: "2-digit", month: "short", ...options } : options);
}

// columns: [heading, cell of a row, class]; the first column's cells are row headings.
export function table(caption, columns, rows, rowClass = () => null) {
  if (!rows.length) return h("div", {}, note(caption), note("No entries yet."));
  const head = h("tr", {}, columns.map(([heading, , kind]) => h("th", { scope: "col", class: kind }, heading)));
  const body = rows.map((row) =>
    h("tr", { class: rowClass(row) }, columns.map(([, cell, kind], place) => h(place ? "td" : "th", place ? { class: kind } : { scope: "row", class: kind }, cell(row)))));
  const scrolling = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", { "aria-label": caption }, h("thead", {}, head), h("tbody", {}, body)));
  return h("div", {}, h("p", { class: "note" }, caption), scrolling);
}

export const card = (title, ...content) => h("section", { class: "card" }, h("h2", {}, title), ...content);
export const note = (...text) => h("p", { class: "note" }, ...text);
export const unread = (left) => (left ? h("p", { class: "note", "data-left": left }, `The log is being read: ${count(left, "entry is", "entries are")} left.`) : null);
