// Starts the page: its views, its theme, and what it says of the service.

import * as batch from "./batch.js";
import * as solve from "./solve.js";
import { find } from "./dom.js";
import { startTheme } from "./frame.js";
import { get, Problem } from "./service.js";

const VIEWS = ["solve", "batch", "live"];
const NOT_READY_MS = 2000;

function startTabs() {
  for (const view of VIEWS) {
    find(`tab-${view}`).addEventListener("click", () => open(view));
    find(`tab-${view}`).addEventListener("keydown", ({ key }) => {
      const views = VIEWS.filter((name) => !find(`tab-${name}`).hidden);
      const at = views.indexOf(view);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[key];
      if (to === undefined) return;
      const next = views.at(to % views.length);
      find(`tab-${next}`).focus();
      open(next);
    });
  }
  addEventListener("hashchange", follow);
  follow();
}

function open(view) {
  if (location.hash !== `#${view}`) history.pushState(null, "", `#${view}`);
  show(view);
}

const follow = () => show(VIEWS.find((view) => location.hash === `#${view}`) ?? "solve");

function show(chosen) {
  for (const view of VIEWS) {
    const tab = find(`tab-${view}`);
    tab.setAttribute("aria-selected", view === chosen);
    tab.tabIndex = view === chosen ? 0 : -1;
    find(view).hidden = view !== chosen;
  }
  watch({ tab: chosen === "live" });
}

let live = null; // loaded when there is something to see

function watch(change) {
  if (live === null && !Object.values(change).includes(true)) return;
  live ??= import("./live.js").then((module) => {
    module.start();
    return module;
  });
  live.then(({ watching }) => watching(change), unloaded);
}

function unloaded() {
  live = null;
  find("live-said").textContent = "The service cannot be reached. Open this view again to try again.";
}

let writing = null; // loaded where the model writes text

/** Shows the model and what it is for. Its limits, or none where the service does not tell. */
async function describe() {
  const response = await get("info");
  if (!response.ok) return {};
  const info = JSON.parse(response.text);
  const provider = info.provider?.replace("ExecutionProvider", "") ?? "starting";
  const words = [`${info.name} ${info.version}`, `${(info.parameters / 1e6).toFixed(1)} million parameters`, info.precision, provider];
  find("model").textContent = words.join(" · ");
  find("solving").hidden = find("tab-batch").hidden = info.solves === false;
  find("writing").hidden = info.solves !== false;
  if (info.solves === false) {
    find("tab-solve").textContent = "Write";
    writing ??= import("./write.js").then(({ start }) => start(info));
  }
  return { questions: info.max_batch_questions, bytes: info.max_body_bytes };
}

/** Shows whether the service is ready; asks again, while somebody looks, until it is. */
async function watchState(again = false) {
  const state = find("state");
  const ready = await get("readyz").then(({ ok }) => ok, () => null);
  state.dataset.ready = ready;
  state.textContent = ready ? "ready" : ready === null ? "out of reach" : "not ready";
  if (!ready) setTimeout(() => whenLookedAt(() => watchState(true)), NOT_READY_MS);
  else if (again) described();
}

function whenLookedAt(act) {
  if (document.hidden) addEventListener("visibilitychange", act, { once: true });
  else act();
}

const described = () => describe().then(batch.within, (error) => {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) addEventListener("keygiven", described, { once: true });
});
startTheme();
batch.start((underWay) => watch({ batch: underWay }));
described();
startTabs();
solve.start();
watchState();
