// The frame: pages by the address's #name, signing in, and refreshing.

import { show as arena } from "./arena.js";
import { show as decisions } from "./decisions.js";
import { card, Failure, h, request } from "./dom.js";
import { show as learning } from "./learning.js";
import { show as overview } from "./overview.js";
import { show as trials } from "./trials.js";

const PAGES = { overview, decisions, learning, arena, trials };
const REFRESH_MS = 10_000;
const main = document.querySelector("main"), period = document.querySelector("#period"), pause = document.querySelector("#pause");
let turn = 0, timer = null, paused = false;

const page = () => (location.hash.slice(1) in PAGES ? location.hash.slice(1) : "overview");

// A screen reader reads the text aloud, unless it is silent.
function say(text, isProblem = false, isSilent = false) {
  const status = document.querySelector("#status");
  status.setAttribute("aria-live", isSilent ? "off" : "polite");
  status.textContent = text;
  status.classList.toggle("error", isProblem);
}

function frame(signedIn) {
  document.querySelector("nav").hidden = document.querySelector(".controls").hidden = !signedIn;
  period.parentElement.hidden = page() !== "overview";
  pause.hidden = page() === "arena";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${page()}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function login(message = "") {
  clearTimeout(timer);
  delete main.dataset.page;
  say("");
  frame(false);
  const field = h("input", { type: "password", name: "key", autocomplete: "current-password", required: true });
  const problem = h("p", { class: "error", role: "alert" }, message);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await request("/dashboard/login", { key: field.value });
      document.querySelector("#logout").hidden = false;
      await render();
      main.focus({ preventScroll: true });
    } catch (error) { problem.textContent = error.message; field.select(); }
  };
  main.replaceChildren(h("div", { class: "login" }, card("Sign in", h("form", { onsubmit: submit }, h("label", {}, "Admin key", field), h("button", { class: "primary" }, "Sign in"), problem))));
  field.focus();
}

async function render(isAutomatic = false) {
  clearTimeout(timer);
  const mine = ++turn;
  frame(true);
  try {
    const content = await PAGES[page()](period.value, render, say);
    if (mine !== turn) return;
    if (main.dataset.page === page()) keepState(content);
    else main.replaceChildren(...content.filter(Boolean));
    main.dataset.page = page();
    if (page() === "overview" || page() === "trials" || page() === "learning") say(`Updated at ${new Date().toLocaleTimeString("en-GB")}.`, false, isAutomatic);
  } catch (error) {
    if (mine !== turn) return;
    if (error instanceof Failure && (error.status === 401 || error.status === 403)) return login(main.dataset.page ? "Your session has ended; sign in again." : "");
    if (main.dataset.page === page()) say(`${error.message} The page shows the figures of the last refresh.`, true);
    else main.replaceChildren(card("The figures cannot be shown", h("p", { class: "error", role: "alert" }, error.message)));
    if (!(error instanceof Failure)) throw error;
  }
  const next = main.querySelector("[data-left]") ? 200 : REFRESH_MS;
  if (page() !== "arena") timer = setTimeout(() => (document.hidden || paused ? null : render(true)), next);
}

// What an element is, whatever its place: rows come and go between two refreshes.
function identity(each) {
  const section = each.closest("section"), name = each.dataset.id ?? each.getAttribute("aria-label") ?? each.textContent;
  return [section?.dataset.id ?? section?.querySelector("h2").textContent, each.tagName, name].join(" ");
}

// A refresh keeps open tables open, their scrolling, and the focus on the same control.
function keepState(content) {
  const all = (selector) => [...main.querySelectorAll(selector)];
  const opened = new Set(all("details[open] > summary").map(identity));
  const scrolled = new Map(all(".scroll").map((each) => [identity(each), [each.scrollLeft, each.scrollTop]]));
  const focused = main.contains(document.activeElement) && document.activeElement !== main ? identity(document.activeElement) : null;
  main.replaceChildren(...content.filter(Boolean));
  for (const each of all("summary")) each.parentElement.open = opened.has(identity(each));
  for (const each of all(".scroll")) each.scrollTo(...(scrolled.get(identity(each)) ?? [0, 0]));
  if (focused !== null) (all("a, button, select, input, summary, [tabindex]").find((each) => identity(each) === focused) ?? main).focus({ preventScroll: true });
}

addEventListener("hashchange", () => { delete main.dataset.page; main.replaceChildren(); say(""); main.focus({ preventScroll: true }); render(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused && !document.querySelector(".login")) render(); });
period.addEventListener("change", () => render());
pause.addEventListener("click", () => { paused = !paused; pause.textContent = paused ? "Resume" : "Pause"; if (!paused) render(); });
document.querySelector("#refresh").addEventListener("click", () => render());
document.querySelector("#logout").addEventListener("click", async () => {
  try {
    await request("/dashboard/logout", {});
    login();
  } catch (error) { say(`${error.message} You are still signed in.`, true); }
});
request("/dashboard/session").then((found) => {
  document.querySelector("#logout").hidden = !found.has_cookie;
  return found.signed_in ? render() : login();
}).catch((error) => login(error.message));
