// What came of one question, drawn: an answer with its verdict, or what went wrong and where.

import { el, icon, milliseconds, percent, svg, typeset, typesetAll } from "./dom.js";
import { copied, curl, link, python } from "./snippets.js";
import { sentenceOf } from "./service.js";

const WORDS = { correct: "Correct", wrong: "Wrong", unverifiable: "Unverifiable" };
const STEPS = ["Terms collected", "Divided"];
const SOURCES = { model: "the model", exact: "the exact solver" };
const NEARBY = 36; // characters drawn on either side of a fault

const NO_NUMBER = { "no solution": "No solution", "infinitely many solutions": "Every number solves it" };
const NO_VALUES = { ...NO_NUMBER, "infinitely many solutions": "Infinitely many solutions" };

/** Whether several equations, or several variables, were asked about. */
const isSystem = ({ equation, variable }) => variable === null || equation.includes(", ");

/** The values that were found, as equations; an empty text where there are none. */
export const valuesOf = ({ solution }) =>
  Object.entries(solution ?? {}).map((pair) => pair.join(" = ")).join(", ");

/** An answer; `exactly` repeats the request with the exact solver where the model is wrong. */
export function drawAnswer(request, answer, tookMs, exactly) {
  const given = valuesOf(answer);
  const nothing = answer.verdict === "unverifiable" ? (isSystem(answer) ? NO_VALUES : NO_NUMBER)[answer.reason] : null;
  const result = nothing ?? (given || "No readable answer");
  const helps = answer.verdict === "wrong" && request.fallback !== "exact";
  return el("article", { class: "answer", "data-verdict": answer.verdict },
    el("p", { class: "read", "data-text": answer.equation }, el("span", { class: "quiet" }, "Read as"),
      typesetAll(answer.equation)),
    el("header", {},
      el("h2", { class: "result", "aria-label": result }, typesetAll(result)),
      badge(answer.verdict)),
    el("p", { class: "why" }, why(answer)),
    helps ? solveExactly(exactly) : null,
    steps(answer),
    el("dl", { class: "facts" },
      fact("Answered by", SOURCES[answer.source] ?? answer.source),
      fact("Model's confidence", answer.confidence === null ? "not known" : percent(answer.confidence),
        "How often the model was right when it was as sure as this, on questions easy and far too hard."),
      fact("Tries", String(answer.tries), "Answers of the model that were checked to find this one."),
      fact("Round trip", milliseconds(tookMs), "As this page saw it.")),
    timing(answer.timing_ms),
    sharing(request),
    el("details", {}, el("summary", {}, "Raw JSON"),
      el("pre", { tabindex: "0", class: "raw" }, JSON.stringify(answer, null, 2))));
}

export const badge = (verdict) =>
  el("strong", { class: "badge", "data-verdict": verdict }, icon(verdict), WORDS[verdict] ?? verdict);

function why(given) {
  const { verdict, reason, variable, solution, source, tries } = given;
  if (source === "exact") {
    const model = tries ? "What the model wrote was wrong" : "The model does not read numbers this long";
    return `${model}; this answer was computed, and holds.`;
  }
  if (verdict === "correct") {
    return isSystem(given)
      ? "The equations, solved exactly, give the same."
      : [`Put back for `, el("i", {}, variable), `, it makes both sides equal.`];
  }
  if (verdict === "unverifiable") return `There is nothing to check it against: ${reason}.`;
  if (solution === null || reason) return `The check failed: ${reason ?? "no answer to put back"}.`;
  return isSystem(given)
    ? "The equations, solved exactly, give something else."
    : [`Put back for `, el("i", {}, variable), `, it does not make both sides equal.`];
}

const solveExactly = (exactly) =>
  el("div", { class: "actions" },
    el("button", { type: "button", class: "primary", onclick: exactly }, "Solve exactly"),
    el("span", { class: "quiet" }, "Exact arithmetic in place of the model."));

function steps(answer) {
  const { work } = answer;
  if (!work?.length) return null;
  const labels = isSystem(answer) ? [] : STEPS;
  const rows = work.map((line, index) => step(labels[index] ?? `Step ${index + 1}`, line));
  return el("ol", { class: "steps", "aria-label": "Worked steps" }, rows);
}

const step = (label, line) =>
  el("li", { "data-text": line }, el("span", { class: "quiet" }, label), el("span", {}, typesetAll(line)));

const fact = (name, value, title) =>
  el("div", title ? { title } : {}, el("dt", {}, name), el("dd", {}, value));

/** A bar of queue, inference and the rest, and the same in words. */
function timing({ queue, inference, total }) {
  const rest = Math.max(0, total - queue - inference);
  const parts = [["queue", queue], ["inference", inference], ["parsing and checks", rest]];
  let at = 0;
  const bars = parts.map(([, ms], index) => {
    const width = total > 0 ? (100 * ms) / total : 0;
    const bar = svg("rect", { x: at, y: 0, width, height: 6, class: `part-${index}` });
    at += width;
    return bar;
  });
  return el("div", { class: "timing" },
    svg("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, bars),
    el("ul", {},
      parts.map(([name, ms], index) =>
        el("li", { class: `part-${index}` }, `${name} `, el("b", {}, milliseconds(ms)))),
      el("li", {}, "total ", el("b", {}, milliseconds(total)))));
}

function sharing(request) {
  const shown = el("pre", { class: "raw", tabindex: "0", hidden: true });
  const said = el("span", { class: "quiet", role: "status" });
  const button = (name, what, write) => {
    const copy = async () => {
      const text = write(request);
      const done = await copied(text);
      said.textContent = done ? `${what} is on the clipboard.` : `Copy it from below: this browser keeps its clipboard shut.`;
      shown.hidden = done;
      shown.textContent = text;
      if (!done) getSelection().selectAllChildren(shown);
    };
    return el("button", { type: "button", onclick: copy }, name);
  };
  return el("div", { class: "sharing" },
    el("div", { class: "actions" },
      button("Copy as curl", "The command", curl),
      button("Copy as Python", "The program", python),
      button("Copy link", "The link", link), said),
    shown);
}

/**
 * A problem; where it has a place, the line with that place marked. `again` repeats the request,
 * `exactly` does so with the exact solver.
 */
export function drawProblem(request, problem, again, exactly) {
  const { span, expected, request_id } = problem.body;
  return el("article", { class: "answer", "data-verdict": "problem" },
    el("header", {}, el("h2", {}, sentenceOf(problem)),
      el("strong", { class: "badge", "data-verdict": "problem" }, icon("problem"),
        problem.status ? `Status ${problem.status}` : "No connection")),
    span ? fault(request.question, span) : null,
    expected ? el("p", { class: "expected" }, "Expected ", el("b", {}, expected), span ? ` at character ${span[0] + 1}.` : ".") : null,
    problem.retryAfter ? el("p", {}, `It asks to wait ${problem.retryAfter} s.`) : null,
    request_id ? el("p", {}, "For whoever runs it: request ", el("code", {}, request_id), ".") : null,
    problem.beyondModel && request.fallback !== "exact" ? solveExactly(exactly) : null,
    problem.passing ? el("div", { class: "actions" },
      el("button", { type: "button", class: "primary", onclick: again }, "Try again")) : null);
}

/** The neighbourhood of `span`, which counts characters as Python does: by code points. */
function fault(text, [start, end]) {
  const characters = Array.from(text, (c) => (/[\p{C}\p{Zl}\p{Zp}\p{M}]/u.test(c) ? "�" : c));
  const from = Math.max(0, start - NEARBY);
  const to = Math.min(characters.length, Math.max(end, start + 1) + NEARBY);
  const piece = (a, b) => characters.slice(a, b).join("");
  const wrong = piece(start, Math.min(end, start + NEARBY)) || "\u00a0"; // the end of the text
  return el("p", { class: "fault", role: "img",
    "aria-label": `The text, wrong at character ${start + 1}: ${piece(start, end) || "it ends"}` },
    from ? "…" : "", piece(from, start), el("mark", {}, wrong), piece(end, to), to < characters.length ? "…" : "");
}

/** `span` in the units of the browser's selections, UTF-16. */
export function selectionOf(text, [start, end]) {
  const units = (count) => Array.from(text).slice(0, count).join("").length;
  return [units(start), units(end)];
}
