// Rows to CSV (RFC 4180) whose fields a spreadsheet shows as they are: nothing runs, no fraction
// becomes a date. A tab at the start makes a field text, and is blank to programs that read numbers.

const FORMULA = /^[=+\-@\t\r]/;
const NUMBER = /^[+-]?(0|[1-9]\d*)(\.\d+)?$/;
const DIGITS = 15; // of a number, in a spreadsheet; more would be lost
// What a spreadsheet may take for a date, a time or another number than it is.
const FRACTION = /^[+-]?\d+ *\/ *\d+$/;
const NUMERIC = /^[+-]?\d[\d.,:/ ]*%?$|^\d+(-\d+)+$|^[+-]?[\d.]+e[+-]?\d+$/i;

const isNumber = (text) => NUMBER.test(text) && text.replace(/\D/g, "").length <= DIGITS;

/** One field: quoted where it must be; a text that a spreadsheet would run starts with `'`. */
export function field(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value !== "number" && !isNumber(text)) {
    if (FRACTION.test(text) || NUMERIC.test(text)) text = `\t${text}`;
    else if (FORMULA.test(text)) text = `'${text}`;
  }
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The whole file. It starts with a mark, or spreadsheets would not read it as UTF-8. */
export function csv(header, rows) {
  return `\ufeff${[header, ...rows].map((row) => row.map(field).join(",") + "\r\n").join("")}`;
}
