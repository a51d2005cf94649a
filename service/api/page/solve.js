// One question: the form, the examples, the link that holds it.

import { drawAnswer, drawProblem, selectionOf } from "./answer.js";
import { el, find } from "./dom.js";
import { link, linked } from "./snippets.js";
import { post, Problem } from "./service.js";

const EXAMPLES = [
  ["Solve 24 = 1601*c - 1605*c for c.", "the dataset's wording"],
  ["3x + 5 = 20", "free form"],
  ["2(x − 1) = 4x + 10", "brackets, a true minus"],
  ["7y = 5 − 2y + 4", "terms on both sides"],
  ["3x + = 20", "a slip"],
  ["x + 1 = x + 2", "no solution"],
  ["x*x = 4", "not linear"],
];

let current = null; // the request under way

export function start() {
  const examples = EXAMPLES.map(([text, kind]) =>
    el("button", { type: "button", class: "example", title: kind, onclick: () => ask({ ...request(), question: text }) }, text));
  find("examples").append(...examples);
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
  question: find("question").value.trim() || find("question").placeholder,
  fallback: find("exact").checked ? "exact" : "none",
});

function followLink() {
  const asked = linked(location.hash);
  if (asked) ask(asked);
}

async function ask(asked) {
  find("question").value = asked.question;
  find("exact").checked = asked.fallback === "exact";
  history.replaceState(null, "", link(asked));
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
  try {
    const { body, tookMs } = await post("solve", asked, signal);
    return drawAnswer(asked, body, tookMs);
  } catch (error) {
    if (error.name === "AbortError") return el("p", {}, "Stopped.");
    if (!(error instanceof Problem)) throw error;
    pointAt(asked.question, error.body.span);
    return drawProblem(asked, error, () => ask(asked));
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
