// The newest decisions, each with its explanation, its calls and its feedback.

import { card, duration, h, moment, note, number, percent, request, table, unread, usd } from "./dom.js";

let open = null;  // the decision that is explained, also once newer ones have taken its place in the list

const describedFeedback = (each) => (each.over ? `${each.candidate} ${each.tie ? "ties with" : "beats"} ${each.over}` : percent(each.quality, 0)) + ` (${each.source})`;

function served(decision) {
  const answers = decision.calls.filter((call) => call.status === "ok");
  return answers.length ? answers[answers.length - 1] : null;
}

function thumbs(decision, say) {
  const send = (value) => async () => {
    try {
      const found = await request("/admin/feedback", { decision_id: decision.id, thumbs: value, source: "implicit:dashboard" });
      say(`Recorded: ${found.id}.`);
    } catch (error) { say(error.message); }
  };
  return h("p", { class: "row" }, "Was the answer good?", h("button", { type: "button", onclick: send("up") }, "Good"), h("button", { type: "button", onclick: send("down") }, "Bad"));
}

async function details(decision, say) {
  const found = await request(`/admin/decisions/${encodeURIComponent(decision.id)}`);
  const objectives = ["quality", "cost", "latency"];
  const shown = card(`Decision ${decision.id}`,
    found.text ? h("pre", { class: "prompt", tabindex: "0", dir: "auto" }, found.text) : note("The log keeps no prompts (store_text is off)."),
    h("p", {}, found.why),
    note(`Preference: ${objectives.map((name, place) => `${name} ${number(found.preference[place])}`).join(", ")}. Propensity ${found.propensity === null ? "unknown" : number(found.propensity)}.`),
    table("The candidates as the router saw them", [
      ["model", (each) => each.name],
      ["quality", (each) => percent(each.quality)], ["cost", (each) => usd(each.cost_usd)], ["latency", (each) => duration(each.latency_ms)],
      ["utility", (each) => number(each.utility)], ["expected reward", (each) => number(each.expected_reward)],
      ...objectives.map((name) => [`from ${name}`, (each) => number(each.contributions[name])]),
      ["not allowed", (each) => each.masked_why ?? "", "wrap"],
    ], found.candidates, (each) => (each.name === found.candidate ? "chosen" : null)),
    decision.calls.length ? table("Calls", [
      ["model", (call) => call.candidate], ["status", (call) => call.status], ["cost", (call) => `${usd(call.cost_usd)} ${call.cost_source ? `(${call.cost_source})` : ""}`],
      ["latency", (call) => duration(call.latency_ms)], ["first token", (call) => duration(call.first_token_ms)],
      ["prompt tokens", (call) => call.prompt_tokens ?? "–"], ["cached", (call) => call.cached_tokens ?? "–"], ["output tokens", (call) => call.output_tokens ?? "–"],
    ], decision.calls) : note("No calls are recorded."),
    decision.feedback.length ? note(`Feedback: ${decision.feedback.map(describedFeedback).join("; ")}`) : null,
    thumbs(decision, say));
  shown.setAttribute("tabindex", "-1");
  shown.dataset.id = decision.id;
  return shown;
}

export async function show(period, again, say) {
  const { decisions, left } = await request("/admin/decisions?limit=50");
  const place = h("div", {});
  const toggle = async (decision) => {
    open = decision;
    try { place.replaceChildren(await details(decision, say)); } catch (error) { place.replaceChildren(h("p", { class: "error", tabindex: "-1" }, error.message)); }
  };
  const select = async (decision) => { await toggle(decision); place.firstChild.focus(); place.scrollIntoView({ block: "nearest" }); };
  if (open) await toggle(decisions.find((decision) => decision.id === open.id) ?? open);  // its calls and feedback are those of the last list with it
  const list = card("Recent decisions", decisions.length ? table("The newest first; choose one for its explanation.", [
    ["time", (each) => h("button", { type: "button", class: "link", "data-id": each.id, onclick: () => select(each), "aria-label": `Explain the decision of ${moment(each.time)} for ${each.candidate}` }, moment(each.time))],
    ["chosen", (each) => each.candidate, "wrap"], ["served", (each) => served(each)?.candidate ?? "–", "wrap"], ["router", (each) => each.router, "left"],
    ["propensity", (each) => number(each.propensity)], ["cost", (each) => usd(served(each)?.cost_usd)], ["latency", (each) => duration(served(each)?.latency_ms)],
    ["feedback", (each) => each.feedback.map(describedFeedback).join("; ") || "–", "wrap"], ["prompt", (each) => (each.text ? h("div", { dir: "auto" }, each.text.slice(0, 120)) : "–"), "wrap"],
  ], decisions) : note("No decisions yet. Send a request to /v1/chat/completions with model aamc/auto."));
  return [unread(left), place, list];
}
