// The state of a canary or shadow: who serves, and whether the new router is better.

import { card, h, note, percent, request, table, whole } from "./dom.js";

const signed = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}`;

export async function show() {
  const { serving, trials } = await request("/admin/trials");
  if (!serving) return [card("Canary and shadow", note("The gateway serves with one router. To try a new one as well, name the router canary or shadow in the configuration file."))];
  const state = serving.ended ? h("p", { class: "bad" }, `The trial has ended: ${serving.ended}.`) : h("p", {}, serving.kind === "canary" ? `A canary runs: the new router serves ${percent(serving.share)} of the requests.` : "A shadow runs: the new router only decides, and the stable one serves.");
  const between = (row) => (row.ci95 ? `${signed(row.difference)} points (${signed(row.ci95[0])} to ${signed(row.ci95[1])})` : "–");
  return [card("Canary and shadow", state, trials.length ? table("Trials in the log. The difference, with its 95% interval, is a separate estimate and can differ from that of the two qualities. You may look at any time: the interval stays valid.", [
    ["new router", (row) => (row.trial ? `${row.candidate} (${row.trial})` : row.candidate)], ["stable router", (row) => row.stable, "left"],
    ["verdict", (row) => (row.ended ? `ended: ${row.ended}` : row.verdict ?? row.why), "wrap"],
    ["difference", between], ["quality of new", (row) => percent(row.quality.candidate)], ["of stable", (row) => percent(row.quality.stable)],
    ["compared", (row) => `${whole(row.compared)} of ${whole(row.judged)} judged`],
    ["served by new", (row) => whole(row.served.candidate)], ["by stable", (row) => whole(row.served.stable)],
  ], trials) : note("No decision of the trial is in the log yet."))];
}
