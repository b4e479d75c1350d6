// The vote page: answers of several models to one prompt, blind and in random order.

import { card, count, h, note, number, request, table, whole } from "./dom.js";

let result = null, voting = false;

async function vote(match, winner, again, say) {
  if (voting) return;  // a double click is one vote
  voting = true;
  try {
    result = await request(`/admin/arena/${encodeURIComponent(match.id)}/vote`, { winner });
    say("Your vote is recorded.");
  } catch (error) { say(error.message); }
  try { await again(); } finally { voting = false; }
  const next = document.querySelector(".ballot");
  if (next && next.dataset.id !== match.id) next.focus();
}

function ballot(match, again, say) {
  const shown = card("Which answer is best?",
    note("The models are named after your vote. It becomes feedback of comparisons, from which the router learns."),
    match.prompt ? h("pre", { class: "prompt", tabindex: "0", dir: "auto" }, match.prompt) : null,
    h("div", { class: "answers" }, match.answers.map((answer) =>
      h("article", { class: "answer", "aria-label": `Answer ${answer.label}` }, h("h3", {}, `Answer ${answer.label}`), h("pre", { tabindex: "0", dir: "auto" }, answer.text || "(no text)"),
        h("button", { type: "button", class: "primary", onclick: () => vote(match, answer.label, again, say) }, `${answer.label} is best`)))),
    h("p", { class: "row" }, h("button", { type: "button", onclick: () => vote(match, "tie", again, say) }, "All are equally good"), h("button", { type: "button", onclick: () => vote(match, "skip", again, say) }, "Skip")));
  shown.classList.add("ballot");
  shown.setAttribute("tabindex", "-1");
  shown.dataset.id = match.id;
  return shown;
}

export async function show(period, again, say) {
  const [{ match, waiting }, found] = await Promise.all([request("/admin/arena"), request("/admin/overview?period=all")]);
  const ranked = found.candidates.filter((each) => each.comparisons).sort((a, b) => b.wins / b.comparisons - a.wins / a.comparisons);
  const revealed = result?.answers ? card("Your last vote", note(result.winner === "tie" ? "You found all answers equally good." : `You chose answer ${result.winner}.`), h("ul", {}, result.answers.map((answer) => h("li", {}, `Answer ${answer.label} is by ${answer.candidate}${answer.label === result.winner ? ", your choice" : ""}`)))) : null;
  return [
    revealed,
    match ? ballot(match, again, say) : card("Arena", note("No match waits for a vote. Requests with the model aamc/arena, or a share of the traffic (gateway.arena.share), make matches.")),
    card("Standings", note(`${count(waiting, "match waits", "matches wait")} for a vote.`), ranked.length ? table("Comparisons of answers, a tie counts half", [["model", (each) => each.name], ["won", (each) => number(each.wins)], ["comparisons", (each) => whole(each.comparisons)], ["share won", (each) => `${(100 * each.wins / each.comparisons).toFixed(1)}%`]], ranked) : null),
  ];
}
