// Many questions: sent in parts, shown as they come, kept as CSV.

import { badge, valuesOf } from "./answer.js";
import { csv } from "./csv.js";
import { el, find, milliseconds, percent, whole } from "./dom.js";
import { chunksOf, linesOf, sample } from "./lines.js";
import { post, Problem, sentenceOf } from "./service.js";

const PART = 100; // lines in a request: an answer every half second on a small machine
const LANES = 2; // requests at once, so that the engine is busy while one travels
const TRIES = 4; // of a part that the service refuses for the moment
const DRAWN = 500; // rows: a file may hold many thousands
const MOST_FILE_BYTES = 20_000_000;
const KINDS = ["correct", "wrong", "unverifiable", "problem"];
const HEADER = [
  "line", "question", "answer", "solution", "variable", "verdict", "reason", "source", "confidence", "tries",
  "equation", "work", "total_ms", "status", "problem", "character", "expected",
];

const state = { lines: [], limits: { questions: 1000, bytes: 1_000_000 }, running: null, startedMs: 0 };

/** Keep to the service's limits. */
export const within = (limits) => Object.assign(state.limits, limits);

/** `running(true|false)` is told when work begins and ends. */
export function start(running) {
  find("batch-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!state.running) run(linesOf(find("lines").value), running);
  });
  find("lines").addEventListener("input", count);
  find("lines").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("batch-form").requestSubmit();
  });
  find("batch-stop").addEventListener("click", () => state.running?.abort());
  find("batch-sample").addEventListener("click", () => fillIn(sample(60).join("\n")));
  find("batch-again").addEventListener("click", () => run(state.lines, running));
  find("batch-filter").addEventListener("change", drawRows);
  find("batch-csv").addEventListener("click", download);
  find("batch-file").addEventListener("change", ({ target }) => {
    open(target.files[0]);
    target.value = ""; // so that the same file can be opened again
  });
  acceptDrops(find("paper"));
  count();
}

function acceptDrops(place) {
  const over = (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    place.classList.add("over");
  };
  place.addEventListener("dragenter", over);
  place.addEventListener("dragover", over);
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    place.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    open(event.dataTransfer.files[0]);
  });
}

async function open(file) {
  if (!file) return;
  if (file.size > MOST_FILE_BYTES) {
    say(`${file.name} has ${whole(file.size / 1e6)} MB; this page takes 20. For more: cybersolve batch.`);
    return;
  }
  fillIn(await file.text());
  say(`${file.name} is open.`);
}

function fillIn(text) {
  find("lines").value = text;
  count();
}

function count() {
  const lines = linesOf(find("lines").value).length;
  find("lines-count").textContent = lines ? counted(lines) : "no lines";
}

const counted = (lines) => `${whole(lines)} ${lines === 1 ? "line" : "lines"}`;
const say = (text) => (find("batch-said").textContent = text);

/** Asks every line that has no result yet, or one that may pass. */
async function run(lines, running) {
  const waiting = lines.filter(isOpen);
  if (!waiting.length) return say("There is no line to solve.");
  Object.assign(state, { lines, running: new AbortController(), startedMs: performance.now() });
  for (const line of waiting) line.result = null;
  show(true);
  running(true);
  const most = Math.min(PART, state.limits.questions);
  const parts = chunksOf(waiting, most, state.limits.bytes / 2);
  const lane = async () => {
    for (let part; (part = parts.shift()); draw()) await solve(part, state.running.signal);
  };
  try {
    draw();
    await Promise.all(Array.from({ length: LANES }, lane));
    say(`Done: ${summary(waiting.length)}.`);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    say("Stopped. The lines that were answered are below.");
  } finally {
    state.running = null;
    running(false);
    show(false);
    draw();
  }
}

/** Puts a result at every line of `part`; the same problem at all where the service gives none. */
async function solve(part, signal) {
  const fallback = find("batch-exact").checked ? "exact" : "none";
  const questions = part.map(({ question }) => question);
  for (let tries = 1; ; tries++) {
    try {
      const { body } = await post("solve/batch", { questions, fallback }, signal);
      part.forEach((line, index) => (line.result = body.results[index]));
      return;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (!error.passing || error.status === 401 || tries === TRIES) {
        for (const line of part) line.result = { ...error.body, detail: sentenceOf(error) };
        return;
      }
      say(`${sentenceOf(error)} Trying again…`);
      await pause(1000 * (error.retryAfter ?? tries), signal);
    }
  }
}

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", () => reject(signal.reason));
  });

const kindOf = (result) => ("verdict" in result ? result.verdict : "problem");
const isOpen = ({ result }) => !result || (kindOf(result) === "problem" && new Problem(result).passing);

function summary(lines) {
  const seconds = (performance.now() - state.startedMs) / 1000;
  return `${counted(lines)} in ${milliseconds(1000 * seconds)}, ${whole(lines / seconds)} a second`;
}

function show(running) {
  find("batch-stop").hidden = !running;
  find("batch-run").hidden = running;
  find("batch-results").hidden = false;
  if (running) say("Under way…");
}

function draw() {
  const done = state.lines.filter(({ result }) => result);
  const progress = find("batch-progress");
  [progress.max, progress.value] = [state.lines.length || 1, done.length];
  const kinds = done.map(({ result }) => kindOf(result));
  find("batch-counts").replaceChildren(
    ...KINDS.map((kind) =>
      el("div", { "data-verdict": kind },
        el("dt", {}, kind === "problem" ? "problems" : kind),
        el("dd", {}, whole(kinds.filter((found) => found === kind).length)))));
  find("batch-again").hidden = state.running !== null || !state.lines.some(isOpen);
  find("batch-csv").disabled = !done.length;
  drawRows();
}

function drawRows() {
  const wanted = find("batch-filter").value;
  const chosen = state.lines.filter(
    ({ result }) => result && (wanted === "all" || kindOf(result) === wanted));
  find("batch-rows").replaceChildren(...chosen.slice(0, DRAWN).map(row));
  find("batch-shown").textContent =
    chosen.length > DRAWN ? `the first ${DRAWN} of ${whole(chosen.length)}; the CSV has all` : "";
}

function row({ number, question, result }) {
  const kind = kindOf(result);
  const cells = kind === "problem"
    ? [el("td", { colspan: "4", class: "trouble" }, trouble(result))]
    : [el("td", { class: "math" }, valuesOf(result).replaceAll("-", "−") || "—"),
       el("td", {}, badge(kind), result.reason ? el("small", {}, ` ${result.reason}`) : null),
       el("td", {}, result.confidence === null ? "—" : percent(result.confidence)),
       el("td", {}, milliseconds(result.timing_ms.total))];
  return el("tr", { "data-verdict": kind },
    el("th", { scope: "row" }, String(number)),
    el("td", { class: "line" }, kind === "problem" ? marked(question, result.span) : question), cells);
}

function trouble({ detail, expected, span }) {
  const place = span ? ` at character ${span[0] + 1}` : "";
  return [el("strong", { class: "badge", "data-verdict": "problem" }, "Problem"), " ",
    `${detail}${place}${expected ? `; expected ${expected}` : ""}`];
}

function marked(text, span) {
  if (!span) return text;
  const characters = Array.from(text);
  const piece = (a, b) => characters.slice(a, b).join("");
  return [piece(0, span[0]), el("mark", {}, piece(...span) || "\u00a0"), piece(span[1])];
}

function download() {
  const rows = state.lines.filter(({ result }) => result).map(({ number, question, result: r }) => [
    number, question, r.answer, valuesOf(r), r.variable, r.verdict, r.reason, r.source, r.confidence, r.tries,
    r.equation, r.work?.join("; "), r.timing_ms?.total, r.status ?? 200, r.detail,
    r.span ? r.span[0] + 1 : null, r.expected,
  ]);
  const address = URL.createObjectURL(new Blob([csv(HEADER, rows)], { type: "text/csv" }));
  el("a", { href: address, download: "cybersolve.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
