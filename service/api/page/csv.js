// Rows to CSV (RFC 4180) that spreadsheets show and do not run.

const FORMULA = /^[=+\-@\t\r]/;
const NUMBER = /^[+-]?\d+(\.\d+)?$/; // `-6` starts like a formula and is none

/** One field: quoted where it must be; a text that a spreadsheet would run starts with `'`. */
export function field(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (FORMULA.test(text) && !NUMBER.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The whole file. It starts with a mark, or spreadsheets would not read it as UTF-8. */
export function csv(header, rows) {
  return `\ufeff${[header, ...rows].map((row) => row.map(field).join(",") + "\r\n").join("")}`;
}
