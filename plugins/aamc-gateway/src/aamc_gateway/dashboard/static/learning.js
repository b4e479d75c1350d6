// What the router has learned: the posteriors of the candidates' quality.

import { densities, interval, nameColours } from "./charts.js";
import { card, h, note, percent, request, table, whole } from "./dom.js";

function group(found) {
  const caption = found.level === "global" ? "Posterior quality over all requests" : `Posterior quality in the category ${found.name}`;
  return h("div", {}, h("h3", {}, found.level === "global" ? "All requests" : found.name),
    densities(`${caption}: the density of each model's quality from 0 to 1`, found.standings.map((each) => [each.candidate, each.density])),
    table(caption, [
      ["model", (each) => each.candidate],
      ["mean", (each) => percent(each.mean)],
      ["95% interval", (each) => h("span", { class: "row" }, interval(each.mean, each.ci95, `${percent(each.ci95[0])} to ${percent(each.ci95[1])}`), `${percent(each.ci95[0])} to ${percent(each.ci95[1])}`), "left"],
      ["alpha", (each) => each.alpha.toFixed(2)], ["beta", (each) => each.beta.toFixed(2)], ["feedback", (each) => whole(each.feedback)],
    ], found.standings));
}

export async function show() {
  const { routers, router } = await request("/admin/posteriors");
  nameColours([...new Set(routers.flatMap((each) => each.groups.flatMap((found) => found.standings.map((standing) => standing.candidate))))].sort());
  if (!routers.length)
    return [card("Posteriors", note(`The router ${router} has no posteriors yet. The routers thompson and epsilon-greedy keep some once feedback came (POST /v1/feedback).`))];
  return routers.map((each) => card(`${each.role ? `${each.role}: ` : ""}${each.router}`, h("div", { class: "pair" }, each.groups.map(group))));
}
