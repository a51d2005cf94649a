// A text for a text: the form with its settings, and the answer while it is written.

import { el, find, milliseconds } from "./dom.js";
import { decoded, Problem, send, sentenceOf } from "./service.js";

// Name, label, step, least; `when` says which box has to be ticked for it to be sent.
const NUMBERS = [
  { name: "max_new_tokens", label: "Most tokens", step: 1, min: 1 },
  { name: "min_new_tokens", label: "Least tokens", step: 1, min: 0 },
  { name: "num_beams", label: "Beams", step: 1, min: 1, when: "likeliest" },
  { name: "length_penalty", label: "Length penalty", step: 0.1, min: -20, when: "likeliest" },
  { name: "num_return_sequences", label: "Answers", step: 1, min: 1 },
  { name: "temperature", label: "Temperature", step: 0.1, min: 0.1, when: "sampled" },
  { name: "top_k", label: "Top k", step: 1, min: 0, when: "sampled" },
  { name: "top_p", label: "Top p", step: 0.05, min: 0, when: "sampled" },
  { name: "min_p", label: "Min p", step: 0.05, min: 0, when: "sampled" },
  { name: "seed", label: "Seed", step: 1, min: 0, when: "sampled" },
  { name: "repetition_penalty", label: "Repetition penalty", step: 0.1, min: 0.1 },
  { name: "no_repeat_ngram_size", label: "No repeated n-gram of", step: 1, min: 0 },
];
const TEXTS = [
  { name: "prefix", label: "Begins with" },
  { name: "stop", label: "Stops at" },
];

let current = null; // the request under way

/** Fills the view of a model that writes text; `info` are its limits. */
export function start(info) {
  find("writing").replaceChildren(
    el("h1", {}, "Write a text"),
    el("p", { class: "lead" }, `${info.name} reads up to ${info.max_source_tokens} tokens and writes up to `,
      `${info.max_new_tokens}. Nothing is added to the text. `, el("a", { href: "docs#post--generate" }, "POST /generate"), " takes the same."),
    form(), el("div", { id: "written", class: "outcome", role: "region", "aria-label": "Answer", "aria-live": "polite", "aria-busy": "false" }));
}

function form() {
  const field = (setting, type) =>
    el("label", {}, el("span", { class: "quiet" }, setting.label), " ", el("input", {
      id: `write-${setting.name}`, type, step: setting.step, min: setting.min, size: 8, autocomplete: "off", placeholder: "default",
    }));
  const box = (name, label) => el("label", { class: "check" }, el("input", { type: "checkbox", id: `write-${name}` }), el("span", {}, label));
  return el("form", { id: "write", autocomplete: "off", onsubmit: (event) => {
    event.preventDefault();
    write(request());
  } },
    el("label", { class: "unseen", for: "write-text" }, "Text for the model"),
    el("textarea", { id: "write-text", rows: 5, required: true, placeholder: "translate English to German: The house is small." }),
    el("details", {}, el("summary", {}, "Settings"),
      el("div", { class: "options" }, box("do_sample", "Sample, rather than take the likeliest"), box("truncate", "Cut a text that is too long")),
      el("div", { class: "facts" }, NUMBERS.map((one) => field(one, "number")), TEXTS.map((one) => field(one, "text")))),
    el("div", { class: "actions" }, el("button", { class: "primary" }, "Write"),
      el("button", { type: "button", id: "write-stop", hidden: true, onclick: () => current?.abort() }, "Stop")));
}

/** What the form asks; an empty field is not sent, so that the model's own default holds. */
function request() {
  const sampled = find("write-do_sample").checked;
  const body = { text: find("write-text").value, stream: true };
  if (sampled) body.do_sample = true;
  if (find("write-truncate").checked) body.truncate = true;
  for (const { name, when } of NUMBERS) {
    const value = find(`write-${name}`).valueAsNumber;
    if (!Number.isNaN(value) && (!when || (when === "sampled") === sampled)) body[name] = value;
  }
  for (const { name } of TEXTS) if (find(`write-${name}`).value) body[name] = find(`write-${name}`).value;
  return body;
}

async function write(body) {
  current?.abort();
  const mine = (current = new AbortController());
  const shown = el("p", { class: "written", "data-state": "writing" });
  const below = el("div", {});
  const outcome = find("written");
  outcome.replaceChildren(el("article", { class: "answer" }, shown, below));
  outcome.setAttribute("aria-busy", "true");
  find("write-stop").hidden = false;
  try {
    const answer = await streamed(body, mine.signal, (piece) => shown.append(piece));
    below.replaceChildren(...facts(answer));
  } catch (error) {
    if (error.name !== "AbortError" && !(error instanceof Problem)) throw error;
    below.replaceChildren(el("p", { class: "trouble" }, error.name === "AbortError" ? "Stopped." : reason(error)));
  } finally {
    if (mine === current) {
      outcome.setAttribute("aria-busy", "false");
      find("write-stop").hidden = true;
      shown.dataset.state = "written";
    }
  }
}

const reason = (problem) => (problem.status === 422 ? `The service refuses this: ${problem.body.errors?.[0]?.message ?? problem.message}.` : sentenceOf(problem));

/** The whole answer of a stream; `onPiece` gets each piece of its text. Throws a `Problem`. */
async function streamed(body, signal, onPiece) {
  const headers = { "content-type": "application/json" };
  const response = await send("generate", { method: "POST", body: JSON.stringify(body), headers, signal });
  if (!response.ok) return decoded(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) throw new Problem({ status: 502, detail: "the stream ended before the text did" });
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, name, data] = event.match(/^(?:event: (\w+)\n)?data: (.*)$/);
      const content = JSON.parse(data);
      if (name === "done") return content;
      if (name === "error") throw new Problem(content);
      onPiece(content.text);
    }
  }
}

const REASONS = { end: "the model ended it", length: "at the most tokens", stop: "at the text to stop at" };

function facts(answer) {
  const fact = (name, value) => (value === null ? null : el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  const others = answer.alternatives.map(({ text }) => el("li", {}, text));
  return [
    answer.unknown.length ? el("p", { class: "trouble" }, `The vocabulary does not have ${answer.unknown.join(" ")}, so the model did not read it.`) : "",
    answer.truncated ? el("p", { class: "quiet" }, `The text was cut to ${answer.source_tokens} tokens.`) : "",
    others.length ? el("ol", { class: "alternatives", "aria-label": "Other answers" }, others) : "",
    el("dl", { class: "facts" },
      fact("Ended", REASONS[answer.finish_reason]), fact("Tokens", String(answer.tokens)),
      fact("Log-probability", answer.logprob.toFixed(3)), fact("Seed", answer.seed === null ? null : String(answer.seed)),
      fact("In the queue", milliseconds(answer.timing_ms.queue)), fact("Inference", milliseconds(answer.timing_ms.inference))),
    el("details", {}, el("summary", {}, "Raw JSON"), el("pre", { tabindex: "0", class: "raw" }, JSON.stringify(answer, null, 2))),
  ];
}
