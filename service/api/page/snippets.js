// The same request from elsewhere: as curl, as Python, as a link to this page.

import { addressOf, key } from "./service.js";

/** A word of a POSIX shell, whatever it holds. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The key itself is left out: commands end up in files and in histories. */
export function curl(request) {
  const authorization = key() ? ` \\\n  -H "authorization: Bearer $API_KEY"` : "";
  const body = quoted(JSON.stringify(request));
  return `curl -sS ${quoted(addressOf("solve"))} \\
  -H 'content-type: application/json'${authorization} \\
  --data-binary ${body}`;
}

export function python(request) {
  const known = key() !== null;
  const authorization = known ? `, "authorization": "Bearer " + os.environ["API_KEY"]` : "";
  const pairs = Object.entries(request).map((pair) => pair.map((part) => JSON.stringify(part)).join(": "));
  return `import json${known ? "\nimport os" : ""}
from urllib.request import Request, urlopen

request = Request(
    ${JSON.stringify(addressOf("solve"))},
    data=json.dumps({${pairs.join(", ")}}).encode(),
    headers={"content-type": "application/json"${authorization}},
)
with urlopen(request) as response:
    print(json.load(response))
`;
}

export function link(request) {
  const address = new URL(location.href);
  address.hash = new URLSearchParams({ q: request.question, ...rest(request) });
  return address.href;
}

const rest = ({ fallback }) => (fallback === "exact" ? { fallback } : {});

/** The request that a link's `#q=…` holds, or null. */
export function linked(hash) {
  const held = new URLSearchParams(hash.replace(/^#/, ""));
  if (!held.has("q")) return null;
  return { question: held.get("q"), fallback: held.get("fallback") === "exact" ? "exact" : "none" };
}

/** Whether `text` is on the clipboard now. Browsers offer it to secure pages and localhost alone. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
