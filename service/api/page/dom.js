// Elements from values. Text goes in as text, never as markup.

const SPACES = { svg: "http://www.w3.org/2000/svg", math: "http://www.w3.org/1998/Math/MathML" };

export const find = (id) => document.getElementById(id);

/** An HTML element; `on…` properties become listeners, null children are left out. */
export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SPACES.svg, tag), attributes, children);

export const math = (tag, attributes, ...children) =>
  fill(document.createElementNS(SPACES.math, tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const ICONS = {
  correct: ["M5 12.5 10 17 19 7"],
  wrong: ["M6 6 18 18", "M18 6 6 18"],
  unverifiable: ["M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4", "M12 17.6v.1"],
  problem: ["M12 6v7", "M12 17.6v.1"],
};

/** A small drawing for a verdict; the word stands beside it, so it is hidden from readers. */
export function icon(name) {
  const paths = ICONS[name].map((d) => svg("path", { d }));
  return svg("svg", { viewBox: "0 0 24 24", class: "sign", "aria-hidden": "true" }, paths);
}

const TOKEN = /\s*(?:(?<number>\d+(?:\.\d+)?)|(?<name>[A-Za-z][A-Za-z0-9_']*)|(?<sign>[-+*/=()]))/gy;
const SIGNS = { "-": "−", "*": "\u2062" }; // a product is read as one and drawn without a sign

/** An equation of the service, such as `4*c = -24` or `x = 7/3`, typeset. */
export function typeset(text) {
  const parts = [];
  for (const { groups } of text.matchAll(TOKEN)) {
    if (groups.number) parts.push(math("mn", {}, groups.number));
    else if (groups.name) parts.push(math("mi", {}, groups.name));
    else parts.push(math("mo", isPrefix(groups.sign, parts.at(-1)), SIGNS[groups.sign] ?? groups.sign));
  }
  for (let at = parts.findIndex(isSlash); at > 0 && parts[at + 1]; at = parts.findIndex(isSlash)) {
    parts.splice(at - 1, 3, math("mfrac", {}, parts[at - 1], parts[at + 1]));
  }
  return math("math", {}, parts);
}

/** Equations separated by commas, as in the service's wording of a system; other words as text. */
export const typesetAll = (text) =>
  text.split(", ").flatMap((part, index) => [index ? ", " : null, part.includes("=") ? typeset(part) : part]);

/** A sign with nothing to subtract from belongs to the number after it: no space between. */
const isPrefix = (sign, before) =>
  sign === "-" && (!before || before.localName === "mo") ? { form: "prefix", lspace: "0", rspace: "0" } : {};

const isSlash = (part) => part.textContent === "/";

export const milliseconds = (ms) =>
  ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms >= 100 ? ms.toFixed(0) : ms.toFixed(1)} ms`;

export const whole = (count) => count.toLocaleString("en", { maximumFractionDigits: 0 });

export const percent = (share) => `${(100 * share).toFixed(share >= 0.995 && share < 1 ? 1 : 0)}%`;
