// The live view: `/metrics` every two seconds while somebody looks, and what changed between two.

import { columns, rows, timeChart } from "./charts.js";
import { el, find, icon, milliseconds, percent, whole } from "./dom.js";
import { buckets, increase, parse, quantile, select, total } from "./prometheus.js";
import { get, Problem } from "./service.js";

const EVERY_MS = 2000;
const AFTER_FAILURE_MS = 10_000;
const POINTS = 150; // five minutes
const GAP_S = 10; // since the last look: more is not one step of a chart
const LATELY_S = 15; // for percentiles: a single interval holds too few
const MINUTES_S = 300;
const QUIET = /^\/($|page\/|docs$|openapi.json$|info$|livez$|readyz$|metrics$|v2\/health\/)/; // routes
const OUTCOMES = [["answered", "good"], ["not understood", "unclear"], ["refused", "refused"], ["failed", "bad"]];
const QUANTILES = [0.5, 0.95, 0.99];
const PREFIX = "cybersolve_";

const seen = []; // {atS, samples, point}, oldest first
const watched = { tab: false, batch: false, paused: false };
let looking = null; // the loop that samples; another takes its place after a pause
let cards = null;

export function start() {
  cards = { requests: requests(), latency: latency(), queue: queue(), sizes: sizes(), verdicts: verdicts(), work: work() };
  find("cards").append(...Object.values(cards).map(({ element }) => element));
  document.addEventListener("visibilitychange", watch);
  find("live-pause").addEventListener("click", () => watching({ paused: !watched.paused }));
}

/** `{tab}`: the view is open; `{batch}`: questions are under way, and shall be seen in it later. */
export function watching(change) {
  Object.assign(watched, change);
  const button = find("live-pause");
  button.setAttribute("aria-pressed", watched.paused);
  button.textContent = watched.paused ? "Go on" : "Pause";
  watch();
}

function watch() {
  const wanted = !document.hidden && !watched.paused && (watched.tab || watched.batch);
  if (wanted && looking === null) look();
  if (!wanted) looking = null;
}

async function look() {
  const mine = (looking = {});
  while (mine === looking) {
    const failure = await gather();
    say(failure);
    const soon = seen.length === 1 ? EVERY_MS / 2 : EVERY_MS; // the first difference comes early
    await new Promise((resolve) => setTimeout(resolve, failure ? AFTER_FAILURE_MS : soon));
  }
}

/** Takes one more sample. What went wrong, in words, or null. */
async function gather() {
  try {
    const response = await get("metrics");
    const samples = response.ok ? parse(response.text) : new Map();
    if (!select(samples, `${PREFIX}requests_total`).length) return closed(response.status);
    remember(samples);
    for (const card of Object.values(cards)) card.draw();
    return null;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) watching({ paused: true });
    return error.status === 401 ? closed(401) : "The service cannot be reached. Trying again every ten seconds.";
  }
}

const closed = (status) =>
  status === 200
    ? "What is at /metrics here are not this service's metrics."
    : `The metrics are not open here (status ${status}). They may be served on another port, or kept for operators.`;

function say(failure) {
  find("live-said").textContent = failure ?? "Every two seconds, from the service's own metrics, while you look.";
  find("live-said").classList.toggle("trouble", failure !== null);
  find("cards").classList.toggle("stale", failure !== null);
}

function remember(samples) {
  const atS = performance.now() / 1000;
  const before = seen.at(-1);
  const entry = { atS, samples, point: null };
  if (before && atS - before.atS < GAP_S) entry.point = pointOf(before, entry);
  seen.push(entry);
  if (seen.length > POINTS) seen.shift();
}

function pointOf(before, now) {
  const grown = increase(before.samples, now.samples);
  const seconds = now.atS - before.atS;
  const busy = total(grown, `${PREFIX}busy_seconds_total`);
  const engines = total(now.samples, `${PREFIX}engines`);
  return {
    rates: outcomes(grown).map((count) => count / seconds),
    quantiles: quantilesOf("request_duration_seconds", ({ route }) => route === "/solve", now),
    depth: total(now.samples, `${PREFIX}queue_depth`),
    busy: busy === null || !engines ? null : Math.min(1, busy / seconds / engines),
    tokens: (total(grown, `${PREFIX}generated_tokens_total`) ?? 0) / seconds,
  };
}

/** What grew in the last `seconds`, as far as there was somebody looking. */
function lately(seconds, now = seen.at(-1)) {
  const old = seen.findLast(({ atS }) => atS <= now.atS - seconds) ?? seen[0] ?? now;
  return increase(old.samples, now.samples);
}

function quantilesOf(name, keep, now) {
  const counts = buckets(lately(LATELY_S, now), PREFIX + name, keep);
  return QUANTILES.map((q) => quantile(q, counts)).map((s) => (s === null ? null : 1000 * s));
}

/** Requests by outcome, but for those about the service itself, this page's among them. */
function outcomes(grown) {
  const count = (keep) => total(grown, `${PREFIX}requests_total`, (l) => !QUIET.test(l.route) && keep(Number(l.status))) ?? 0;
  return [
    count((s) => s < 400),
    count((s) => s >= 400 && s < 500 && s !== 429),
    count((s) => s === 429 || s === 503),
    count((s) => s >= 500 && s !== 503),
  ];
}

const newest = () => seen.at(-1)?.point ?? null;
const column = (read) => seen.map(({ point }) => (point ? read(point) : null));
const rate = (value) => (value >= 100 ? whole(value) : value.toFixed(1));
const span = (intervals) => `last ${intervals * EVERY_MS < 90_000 ? `${(intervals * EVERY_MS) / 1000} s` : `${Math.round((intervals * EVERY_MS) / 60_000)} min`}`;
const orDash = (value, write) => (value === null || value === undefined ? "—" : write(value));

/** A card: title, one large value, a body and a legend of `[name, class]` with values. */
function card(title, unit, body, legend = []) {
  const value = el("b", { class: "large" }, "—");
  const values = legend.map(() => el("b", {}, "—"));
  const element = el("article", { class: "card" },
    el("h2", {}, title), el("p", {}, value, " ", el("span", { class: "quiet" }, unit)), body,
    el("ul", { class: "legend" }, legend.map(([name, kind], index) => el("li", { class: kind }, `${name} `, values[index]))));
  const show = (large, texts = []) => {
    value.textContent = large;
    texts.forEach((text, index) => (values[index].textContent = text));
  };
  return { element, show };
}

function requests() {
  const chart = timeChart(OUTCOMES.map(([, kind]) => kind), { stacked: true });
  const { element, show } = card("Requests", "a second", chart.element, OUTCOMES);
  const draw = () => {
    const rates = newest()?.rates ?? null;
    const sum = rates?.reduce((a, b) => a + b, 0) ?? null;
    show(orDash(sum, rate), OUTCOMES.map((_, index) => orDash(rates?.[index], rate)));
    chart.draw(OUTCOMES.map((_, index) => column((point) => point.rates[index])),
      `Requests a second over the last five minutes, now ${orDash(sum, rate)}`, (most) => `${most}/s`, span);
  };
  return { element, draw };
}

function latency() {
  const legend = [["p50", "p50"], ["p95", "p95"], ["p99", "p99"]];
  const chart = timeChart(legend.map(([, kind]) => kind));
  const { element, show } = card("Latency of /solve", "median", chart.element, legend);
  const draw = () => {
    const values = newest()?.quantiles ?? [];
    const texts = legend.map((_, index) => orDash(values[index], milliseconds));
    show(texts[0], texts);
    chart.draw(legend.map((_, index) => column((point) => point.quantiles[index])),
      `Latency of /solve in the last ${LATELY_S} seconds: ${legend.map(([name], i) => `${name} ${texts[i]}`).join(", ")}`,
      milliseconds, span);
  };
  return { element, draw };
}

function queue() {
  const chart = timeChart(["depth"], { filled: true });
  const legend = [["may wait", ""], ["waited, p50", ""], ["p95", ""]];
  const { element, show } = card("Queue", "waiting", chart.element, legend);
  const draw = () => {
    const { samples } = seen.at(-1);
    const depth = total(samples, `${PREFIX}queue_depth`);
    const [middle, high] = quantilesOf("queue_wait_seconds", () => true, seen.at(-1));
    const limit = orDash(total(samples, `${PREFIX}queue_limit`), whole);
    show(orDash(depth, whole), [limit, orDash(middle, milliseconds), orDash(high, milliseconds)]);
    chart.draw([column((point) => point.depth)], `Questions that wait: ${orDash(depth, whole)} of at most ${limit}`, whole, span);
  };
  return { element, draw };
}

function sizes() {
  const place = el("div", { class: "chart" });
  const { element, show } = card("Batch sizes", "rows in a step, last minute", place, [["steps", ""]]);
  const draw = () => {
    const grown = lately(60);
    const counts = buckets(grown, `${PREFIX}batch_size`);
    const steps = counts.at(-1)?.[1] ?? 0;
    const mean = steps ? total(grown, `${PREFIX}batch_size_sum`) / steps : null;
    const bars = counts.map(([bound, count], index) => {
      const share = steps ? (count - (counts[index - 1]?.[1] ?? 0)) / steps : 0;
      const least = index ? counts[index - 1][0] + 1 : bound;
      return [bound === Infinity ? `${least}+` : least === bound ? `${bound}` : `${least}–${bound}`, share, share ? percent(share) : "–"];
    }).filter(([, share], index) => share > 0 || index < 6);
    show(orDash(mean, (value) => value.toFixed(1)), [whole(steps)]);
    const words = bars.filter(([, share]) => share > 0).map(([name, share]) => `${name} rows: ${percent(share)}`).join(", ");
    place.replaceChildren(columns(bars, `Decoding steps by rows. ${words || "None in the last minute"}`));
  };
  return { element, draw };
}

function verdicts() {
  const place = el("div", { class: "chart tall" });
  const { element, show } = card("Verdicts", "answers since the start", place);
  const kinds = ["correct", "wrong", "unverifiable"];
  const draw = () => {
    const count = (samples) =>
      kinds.map((kind) => total(samples, `${PREFIX}verdicts_total`, ({ verdict }) => verdict === kind) ?? 0);
    const [ever, now] = [count(seen.at(-1).samples), count(lately(MINUTES_S))];
    const sum = ever.reduce((a, b) => a + b, 0);
    show(whole(sum));
    place.replaceChildren(rows(kinds.map((kind, index) =>
      [el("span", { "data-verdict": kind }, icon(kind), kind), sum ? ever[index] / sum : 0,
        [el("small", {}, now[index] ? `+${whole(now[index])} while you look ` : ""), whole(ever[index])], kind])));
  };
  return { element, draw };
}

function work() {
  const chart = timeChart(["busy"], { filled: true });
  const legend = [["up", ""], ["tokens a second", ""], ["answers reused", ""]];
  const { element, show } = card("Engines", "busy", chart.element, legend);
  const draw = () => {
    const point = newest();
    const grown = lately(MINUTES_S);
    const reused = total(grown, `${PREFIX}reused_total`) ?? 0;
    const computed = total(grown, `${PREFIX}inference_seconds_count`, ({ phase }) => phase === "decode") ?? 0;
    const { samples } = seen.at(-1);
    const engines = orDash(total(samples, `${PREFIX}engines`), whole);
    const up = orDash(total(samples, `${PREFIX}engines_up`), whole);
    const share = reused + computed ? `${percent(reused / (reused + computed))} (${whole(reused)})` : "—";
    show(orDash(point?.busy, percent), [`${up} of ${engines}`, orDash(point?.tokens, rate), share]);
    chart.draw([column((p) => p.busy)], `Share of the engines' time that they compute: ${orDash(point?.busy, percent)}`, percent, span);
  };
  return { element, draw };
}
