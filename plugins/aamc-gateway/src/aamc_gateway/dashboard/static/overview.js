// Traffic, cost and saving, latency and quality.

import { interval, lines, stackedBars } from "./charts.js";
import { card, count, duration, h, moment, note, percent, request, table, unread, usd, whole } from "./dom.js";

let baseline = "";

const some = (parts) => parts.some((part) => part.decisions);
const none = (found) => (found.period === "all" ? "No decisions in the last 30 days." : "No decisions in this period.");

function tile(name, figure, about, kind = "") {
  return h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, h("div", { class: `figure ${kind}` }, figure), h("div", { class: "about" }, about)));
}

function tiles(found) {
  const { cost } = found, answers = found.candidates.reduce((sum, each) => sum + each.answers, 0), failed = found.candidates.reduce((sum, each) => sum + each.failed, 0);
  const { quality } = found;
  const unknown = [cost.unknown ? `${count(cost.unknown, "call")} of unknown cost` : "", cost.estimated ? `${whole(cost.estimated)} estimated` : ""].filter(Boolean).join(", ");
  const saved = cost.saved_usd, kind = saved > 0 ? "good" : saved < 0 ? "bad" : "";
  return h("dl", { class: "tiles" },
    tile("Decisions", whole(found.decisions), `${count(answers, "answer")}, ${count(failed, "failed call")}`),
    tile("Cost", usd(cost.total_usd), unknown || "of all calls and decisions"),
    tile("Saved", saved === null ? "–" : usd(saved), saved === null ? "no answers of known cost and tokens yet" : `${percent(cost.saved_share)} of always using ${cost.baseline} (n = ${whole(cost.compared)})`, kind),
    tile("Cost of routing", usd(cost.routing_usd), `deciding ${usd(cost.deciding_usd)}, calls that did not serve ${usd(cost.extra_calls_usd)}`),
    tile("Quality", percent(quality?.mean), quality ? `by explicit feedback (n = ${whole(quality.n)})` : "no explicit feedback yet"),
    tile("Fallbacks", percent(answers ? found.fell_back / answers : null), `${count(found.fell_back, "answer")} of a model other than the chosen one`));
}

function qualityCell(quality) {
  if (!quality) return "–";
  const [low, high] = quality.ci95, text = `${percent(quality.mean)}, 95% interval ${percent(low)} to ${percent(high)}, n = ${quality.n}`;
  return [interval(quality.mean, quality.ci95, text), `${percent(quality.mean)} (${percent(low, 0)}–${percent(high, 0)}), n = ${whole(quality.n)}`];
}

function models(found) {
  return card("Models", table("Answers and cost by model", [
    ["model", (each) => each.name],
    ["answers", (each) => whole(each.answers)],
    ["share", (each) => percent(each.share)],
    ["failed calls", (each) => `${whole(each.failed)} (${percent(each.failure_rate)})`],
    ["cost", (each) => usd(each.cost_usd + each.extra_usd)],
    ["an answer", (each) => usd(each.mean_cost_usd)],
    ["unknown costs", (each) => whole(each.unknown_costs)],
  ], found.candidates));
}

function latency(found) {
  const shown = (of, name) => [name, (each) => duration(each[of][name])];
  return card("Latency", table("Percentiles of the time until the whole answer, and of the first token, to within 2.5%", [
    ["model", (each) => each.name],
    ...["p50", "p90", "p95", "p99"].map((name) => shown("latency_ms", name)),
    ["first token p50", (each) => duration(each.first_token_ms.p50)],
    ["p95", (each) => duration(each.first_token_ms.p95)],
  ], found.candidates));
}

function quality(found) {
  return card("Quality", table("Mean quality from feedback, with the 95% interval (Wilson, all feedback of one user as one observation) and n", [
    ["model", (each) => each.name],
    ["explicit", (each) => qualityCell(each.quality), "left"],
    ["inferred", (each) => qualityCell(each.implicit_quality), "left"],
    ["comparisons won", (each) => (each.comparisons ? `${each.wins} of ${whole(each.comparisons)}` : "–")],
  ], found.candidates));
}

function costs(found, label, again) {
  const { cost } = found;
  const choice = h("select", { onchange: (event) => { baseline = event.target.value; again(); } }, h("option", { value: "" }, "the best model"), found.baselines.map((name) => h("option", { value: name, selected: name === baseline }, name)));
  const parts = found.parts;
  let spent = 0, other = 0;
  const actual = parts.map((part) => (spent += part.total_usd)), always = parts.map((part) => (other += part.baseline_usd ?? 0));
  return card("Cost and saving",
    h("label", {}, "Compared with always using ", choice),
    note(cost.baseline ? `${cost.baseline}: ${cost.baseline_why}.${cost.baseline_usd === null ? "" : ` The same tokens at the list prices of their time cost ${usd(cost.baseline_usd)}; the saving is net of what routing cost.`}` : cost.baseline_why),
    some(parts) ? lines(`Cost since the start of ${found.period === "all" ? "the last 30 days" : "the period"}, in USD`, parts.map((part) => part.begin), [["routed", actual, 0, false], ...(cost.baseline ? [[`always ${cost.baseline}`, always, 1, true]] : [])], label) : note(none(found)));
}

function budgets(spending) {
  const cell = (name) => (row) => usd(row.spent_usd[name]) + (row.budget_usd[name] === null ? "" : ` of ${usd(row.budget_usd[name])}`);
  const name = (row) => `${row.kind} ${row.name}${row.tenant && row.kind !== "tenant" ? ` (${row.tenant})` : ""}`;
  return card("Budgets", table("Spending of keys, tenants and users, and their budgets (UTC)", [
    ["whose", name], ["today", cell("day")], ["this month", cell("month")], ["in all", cell("total")],
  ], spending));
}

export async function show(period, again) {
  const [found, { spending }] = await Promise.all([request(`/admin/overview?period=${period}&baseline=${encodeURIComponent(baseline)}`), request("/admin/spending")]);
  const names = [...new Set([...found.baselines, ...found.candidates.map((each) => each.name)])].sort();
  const label = (time) => (period === "hour" || period === "day" ? moment(time, false) : new Date(1000 * time).toLocaleDateString("en-GB", { day: "2-digit", month: "short", timeZone: "UTC" }));
  const traffic = card("Traffic by model", some(found.parts) ? stackedBars(`Answers by model${found.period === "all" ? " in the last 30 days" : ""}`, found.parts, names, (part, name) => part.answers[name] ?? 0, label) : note(none(found)));
  const since = found.is_whole || !found.since ? null : note(`The log is longer: these figures begin with the decisions of ${moment(found.since)}.`);
  return [unread(found.left), tiles(found), h("div", { class: "pair" }, traffic, costs(found, label, again)), models(found), h("div", { class: "pair" }, latency(found), quality(found)), spending.length ? budgets(spending) : null, since];
}
