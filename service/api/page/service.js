// Asks the service, and puts what goes wrong into words. Holds the API key, for this tab alone.

import { find } from "./dom.js";

export const addressOf = (path) => new URL(path, document.baseURI).href;

/** An answer that is not one: a problem of the service, or none at all (status 0). */
export class Problem extends Error {
  constructor(body, retryAfter = null) {
    super(body.detail);
    this.body = body;
    this.retryAfter = retryAfter; // seconds, or null
  }

  get status() {
    return this.body.status;
  }

  /** Whether the question is understood, but longer than the model's prompt may be. */
  get beyondModel() {
    return this.body.type === "urn:problem-type:cybersolve:too-long-for-model";
  }

  /** Whether the same question may well be answered later. */
  get passing() {
    return [0, 401, 429, 500, 502, 503, 504].includes(this.status);
  }
}

const SENTENCES = {
  0: "The service cannot be reached. Is it running, and is this machine connected?",
  401: "The service wants an API key, and has none that it accepts.",
  413: "That is more than the service takes at once.",
  429: "The queue is full, so the service refused this at once.",
  500: "The engine failed on this. Others are not affected.",
  502: "Something between this page and the service does not reach it.",
  503: "The service cannot take this now: it warms up, is about to stop, or its memory is full.",
  504: "The deadline passed before there was an answer.",
};

export function sentenceOf(problem) {
  if (problem.beyondModel) return `${problem.message[0].toUpperCase()}${problem.message.slice(1)}.`;
  if (problem.status === 422) return `Not understood: ${problem.message}.`;
  return SENTENCES[problem.status] ?? `The service answered ${problem.status}: ${problem.message}`;
}

/** `{body, tookMs}` of a POST, or a `Problem`. A missing key is asked for, and the request repeated. */
export async function post(path, content, signal) {
  const body = JSON.stringify(content);
  const headers = { "content-type": "application/json" };
  const started = performance.now();
  const response = await send(path, { method: "POST", body, headers, signal });
  const answer = await decoded(response);
  return { body: answer, tookMs: performance.now() - started };
}

/** `{ok, status, text}` of a GET, whatever its status; a `Problem` where there is none. */
export async function get(path) {
  const response = await send(path, { cache: "no-store" });
  // Always read: an unread body holds its connection.
  return { ok: response.ok, status: response.status, text: await response.text().catch(() => "") };
}

/** The response to any request; a missing key is asked for, and the request repeated. */
export async function send(path, options) {
  for (;;) {
    const used = key();
    const authorization = used ? { authorization: `Bearer ${used}` } : {};
    const response = await reach(path, { ...options, headers: { ...options.headers, ...authorization } });
    if (response.status !== 401) return response;
    if (key() === used) await askForKey(used !== null, options.signal);
  }
}

async function reach(path, options) {
  try {
    return await fetch(addressOf(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ status: 0, detail: error.message });
  }
}

export async function decoded(response) {
  const text = await response.text().catch(() => "");
  const wait = Number.parseFloat(response.headers.get("retry-after"));
  try {
    const body = JSON.parse(text);
    if (response.ok) return body;
    throw new Problem({ ...body, status: response.status }, Number.isFinite(wait) ? wait : null);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem({ status: response.ok ? 502 : response.status, detail: response.statusText });
  }
}

let remembered = null; // where storage is closed

export function key() {
  try {
    return sessionStorage.getItem("key") ?? remembered;
  } catch {
    return remembered;
  }
}

function keep(value) {
  remembered = value;
  try {
    sessionStorage.setItem("key", value);
  } catch {
    // It lives as long as the page does.
  }
}

let asking = null; // one question for all requests that wait for the key

function askForKey(refused, signal) {
  asking ??= new Promise((resolve, reject) => {
    const form = find("key");
    find("key-note").textContent = refused
      ? "That key is not accepted."
      : "It is kept until you close this tab.";
    const end = (settle, value) => {
      form.hidden = true;
      asking = null;
      settle(value);
    };
    const given = (event) => {
      event.preventDefault();
      keep(find("key-value").value.trim());
      end(resolve);
      dispatchEvent(new Event("keygiven"));
    };
    const refuse = () => end(reject, new Problem({ status: 401, detail: "no key was given" }));
    form.onsubmit = given;
    find("key-cancel").onclick = refuse;
    form.hidden = false;
    find("key-value").select();
    find("key-value").focus();
  });
  return Promise.race([asking, aborted(signal)]);
}

const aborted = (signal) =>
  new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
