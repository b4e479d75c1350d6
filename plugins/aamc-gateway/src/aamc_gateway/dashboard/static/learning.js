// What the router has learned: the posteriors of the candidates' quality.

import { densities, interval, largest } from "./charts.js";
import { card, h, note, percent, request, table, whole } from "./dom.js";

function group(found, drawn, router) {
  const caption = `Posterior quality ${found.level === "global" ? "over all requests" : `in the category ${found.name}`}${router && ` (${router})`}`;
  return h("div", {}, h("h3", {}, found.level === "global" ? "All requests" : found.name),
    densities(`${caption}: the density of each model's quality from 0 to 1`, found.standings.filter((each) => drawn.includes(each.candidate)).map((each) => [each.candidate, each.density])),
    note(`The area under each curve is 1: the more feedback, the narrower and higher.${drawn.length < found.standings.length ? ` The curves are those of the ${drawn.length} models with the most feedback; the table has all.` : ""}${found.level === "global" ? "" : " Outcomes of the category count once, those of others as a few. Decisions use a narrower distribution with nearly the same mean."}`),
    table(caption, [
      ["model", (each) => each.candidate],
      ["mean", (each) => percent(each.mean)],
      ["95% interval", (each) => h("span", { class: "row" }, interval(each.mean, each.ci95, `${percent(each.ci95[0])} to ${percent(each.ci95[1])}`), `${percent(each.ci95[0])} to ${percent(each.ci95[1])}`), "left"],
      ["alpha", (each) => each.alpha.toFixed(2)], ["beta", (each) => each.beta.toFixed(2)], ["feedback", (each) => whole(each.feedback)],
    ], found.standings));
}

export async function show() {
  const { routers, router } = await request("/admin/posteriors");
  const standings = routers.flatMap((each) => each.groups.flatMap((found) => found.standings)), feedback = new Map();
  for (const each of standings) feedback.set(each.candidate, (feedback.get(each.candidate) ?? 0) + each.feedback);
  const drawn = largest(feedback.keys(), (name) => feedback.get(name));
  if (!routers.length)
    return [card("Posteriors", note(`The router ${router} has no posteriors yet. The routers thompson and epsilon-greedy keep some once feedback came (POST /v1/feedback).`))];
  return routers.map((each) => card(`${each.role ? `${each.role}: ` : ""}${each.router}`, h("div", { class: "pair" }, each.groups.map((found) => group(found, drawn, each.role ?? "")))));
}
