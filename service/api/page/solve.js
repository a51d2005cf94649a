// One question: the form, the examples, the link that holds it.

import { drawAnswer, drawProblem, selectionOf } from "./answer.js";
import { el, find } from "./dom.js";
import { link, linked } from "./snippets.js";
import { post, Problem } from "./service.js";

let current = null; // the request under way
let drawnFor = null; // the address whose answer is shown, or is being asked for
const story = find("outcome").firstElementChild;

export function start() {
  for (const example of find("examples").children) {
    example.addEventListener("click", () => ask({ ...request(), question: example.textContent }));
  }
  find("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(request());
  });
  addEventListener("hashchange", followLink);
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || find("solve").hidden) return;
    event.preventDefault();
    find("question").select();
  });
  if (matchMedia("(hover: hover)").matches) find("question").focus(); // no keyboard over a phone's page
  followLink();
}

const request = () => ({
  question: find("question").value.trim(),
  fallback: find("exact").checked ? "exact" : "none",
});

/** Shows what the address asks, as after Back: its answer, or the start where it asks nothing. */
function followLink() {
  const asked = linked(location.hash);
  if (asked && location.href !== drawnFor) ask(asked);
  if (!location.hash) begin();
}

function begin() {
  current?.abort();
  current = drawnFor = null;
  find("question").value = "";
  find("question").removeAttribute("aria-invalid");
  find("outcome").setAttribute("aria-busy", "false");
  find("outcome").replaceChildren(story);
}

async function ask(asked) {
  find("question").value = asked.question;
  find("exact").checked = asked.fallback === "exact";
  drawnFor = link(asked);
  if (location.href !== drawnFor) history.pushState(null, "", drawnFor);
  current?.abort();
  const mine = (current = new AbortController());
  const outcome = find("outcome");
  outcome.setAttribute("aria-busy", "true");
  const drawn = await drawing(asked, mine.signal);
  if (mine !== current) return;
  outcome.setAttribute("aria-busy", "false");
  outcome.replaceChildren(drawn);
}

async function drawing(asked, signal) {
  find("question").removeAttribute("aria-invalid");
  const exactly = () => ask({ ...asked, fallback: "exact" });
  try {
    const { body, tookMs } = await post("solve", asked, signal);
    return drawAnswer(asked, body, tookMs, exactly);
  } catch (error) {
    if (error.name === "AbortError") return el("p", {}, "Stopped.");
    if (!(error instanceof Problem)) throw error;
    pointAt(asked.question, error.body.span);
    return drawProblem(asked, error, () => ask(asked), exactly);
  }
}

/** Selects the fault in the field, so that typing mends it. */
function pointAt(text, span) {
  const field = find("question");
  if (!span || field.value !== text) return;
  field.setAttribute("aria-invalid", "true");
  const active = document.activeElement;
  if (active === field || active === find("ask-button")) {
    field.focus();
    field.setSelectionRange(...selectionOf(text, span));
  }
}
