// The service's OpenAPI document as a page: what each route takes and gives, and a way to ask it.

import { el, find, milliseconds } from "./dom.js";
import { startTheme } from "./frame.js";
import { get, Problem, send, sentenceOf } from "./service.js";

const SHOWN = ["content-type", "retry-after", "x-request-id", "x-queue-time", "x-inference-time", "x-total-time"];
const METHODS = ["get", "post", "put", "patch", "delete"];
let schemas = {};

/** The schema that a reference names, with its name. */
function resolve(schema) {
  const name = schema.$ref?.split("/").at(-1);
  return name ? { name, ...schemas[name] } : schema;
}

/** A type in words: `string`, `array of …`, the values of an enumeration. */
function typeOf(reference) {
  const schema = resolve(reference);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map(typeOf).join(" or ");
  if (schema.type === "array") {
    const parts = schema.prefixItems ?? (schema.items ? [schema.items] : []);
    return `array of ${parts.map(typeOf).join(", ") || "any"}`;
  }
  return schema.name ?? schema.type ?? "any";
}

const BOUNDS = [["minimum", "≥"], ["exclusiveMinimum", ">"], ["maximum", "≤"], ["minLength", "length ≥"], ["maxLength", "length ≤"], ["minItems", "items ≥"], ["maxItems", "items ≤"]];

function boundsOf(schema) {
  const parts = [schema, ...(schema.anyOf ?? [])];
  const found = BOUNDS.flatMap(([key, sign]) => parts.filter((part) => key in part).map((part) => `${sign} ${part[key]}`));
  if (schema.default !== undefined && schema.default !== null) found.push(`default ${JSON.stringify(schema.default)}`);
  return found.join(", ");
}

/** The fields of an object, and below them those of the objects that they hold. */
function fieldsOf(reference, drawn = new Set()) {
  const schema = resolve(reference);
  const inner = schema.items ?? null;
  const below = [inner, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].filter(Boolean);
  if (!schema.properties) return below.flatMap((part) => fieldsOf(part, drawn));
  if (drawn.has(schema.name)) return [];
  drawn.add(schema.name);
  const entries = Object.entries(schema.properties);
  const list = el("table", {}, el("caption", {}, schema.name ?? "Fields"), el("tbody", {}, entries.map(([name, field]) =>
    el("tr", {},
      el("th", { scope: "row" }, el("code", {}, name), schema.required?.includes(name) ? el("small", {}, " required") : null),
      el("td", {}, el("code", {}, typeOf(field)), " ", el("small", {}, boundsOf(resolve(field)))),
      el("td", {}, field.description ?? resolve(field).description ?? "")))));
  return [el("div", { class: "table", tabindex: "0", role: "group", "aria-label": `Fields of ${schema.name ?? "the body"}` }, list),
    ...entries.flatMap(([, field]) => fieldsOf(field, drawn))];
}

/** A body to begin with: the examples of the document, and only what must be there. */
function exampleOf(reference) {
  const schema = resolve(reference);
  if (schema.examples?.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.properties) {
    const needed = Object.entries(schema.properties).filter(([name, field]) => schema.required?.includes(name) || field.examples);
    return Object.fromEntries(needed.map(([name, field]) => [name, exampleOf(field)]));
  }
  if (schema.type === "array") return schema.items ? [exampleOf(schema.items)] : [];
  return { string: "", integer: 1, number: 1, boolean: false }[schema.type] ?? null;
}

const bodyOf = ({ content = {} } = {}) => (content["application/json"] ?? Object.values(content)[0])?.schema ?? null;

function route(path, method, operation) {
  const takes = bodyOf(operation.requestBody);
  const fields = (schema) => (schema ? fieldsOf(schema) : []);
  const id = `${method}-${path.replace(/\W+/g, "-")}`;
  return el("article", { class: "answer route", id },
    el("header", {}, el("h2", {}, el("span", { class: "method" }, method.toUpperCase()), " ", el("code", {}, path))),
    ...(operation.description ?? operation.summary ?? "").split(/\n{2,}/).map((text) => el("p", {}, prose(text))),
    operation.parameters?.length ? parameters(operation.parameters) : null,
    takes ? el("details", {}, el("summary", {}, "It takes"), fields(takes)) : null,
    el("details", {}, el("summary", {}, "It answers"), Object.entries(operation.responses).map(([status, response]) =>
      el("div", { class: "response" }, el("p", {}, el("b", {}, status), " ", prose(response.description)),
        status.startsWith("2") ? fields(bodyOf(response)) : null))),
    path.includes("{") ? null : trial(id, path, method, takes));
}

/** Text with `code` in it. */
const prose = (text) => text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));

const parameters = (all) =>
  el("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Parameters" },
    el("table", {}, el("caption", {}, "Parameters"), el("tbody", {}, all.map((one) =>
      el("tr", {}, el("th", { scope: "row" }, el("code", {}, one.name), el("small", {}, ` in ${one.in}`)),
        el("td", {}, el("code", {}, typeOf(one.schema ?? {}))), el("td", {}, one.description ?? ""))))));

function trial(id, path, method, takes) {
  const text = takes ? JSON.stringify(exampleOf(takes), null, 2) : "";
  const field = el("textarea", { id: `${id}-body`, rows: Math.min(12, text.split("\n").length + 1), spellcheck: "false" }, text);
  const shown = el("div", { role: "status" });
  const form = el("form", { onsubmit: (event) => {
    event.preventDefault();
    ask(path, method, takes ? field.value : undefined, shown);
  } },
    takes ? [el("label", { class: "quiet", for: `${id}-body` }, "Body"), field] : null,
    el("div", { class: "actions" }, el("button", { class: "primary" }, takes ? "Send" : "Ask")), shown);
  return takes ? el("details", { open: true }, el("summary", {}, "Try it"), form) : form;
}

async function ask(path, method, body, shown) {
  const started = performance.now();
  try {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const response = await send(path.slice(1), { method: method.toUpperCase(), body, headers });
    const text = await response.text();
    const tookMs = performance.now() - started;
    const found = SHOWN.filter((name) => response.headers.has(name)).map((name) => `${name}: ${response.headers.get(name)}`);
    shown.replaceChildren(
      el("p", {}, el("b", {}, `${response.status} ${response.statusText}`), ` in ${milliseconds(tookMs)}`),
      el("pre", { class: "raw", tabindex: "0" }, `${found.join("\n")}\n\n${pretty(text)}`));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    shown.replaceChildren(el("p", { class: "trouble" }, sentenceOf(error)));
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function draw() {
  const response = await get("openapi.json");
  if (!response.ok) throw new Problem({ status: response.status, detail: "no description of its routes" });
  const description = JSON.parse(response.text);
  schemas = description.components?.schemas ?? {};
  find("about").textContent = `${description.info.title} ${description.info.version}. ${description.info.description ?? ""}`;
  const routes = Object.entries(description.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => method in methods).map((method) => route(path, method, methods[method])));
  find("routes").replaceChildren(...routes);
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

startTheme();
draw().catch((error) => {
  if (!(error instanceof Problem)) throw error;
  find("about").textContent = sentenceOf(error);
});
