// Lines of text as questions, and questions to have some.

/** The lines that hold something, with their numbers from 1. */
export function linesOf(text) {
  return text
    .split(/\r\n|\r|\n/)
    .map((line, index) => ({ number: index + 1, question: line.trim() }))
    .filter(({ question }) => question);
}

/** Parts of at most `most` questions and about `bytes` bytes of JSON each. */
export function chunksOf(lines, most, bytes) {
  const chunks = [];
  let chunk = [];
  let size = 0;
  for (const line of lines) {
    const cost = 3 + new TextEncoder().encode(JSON.stringify(line.question)).length;
    if (chunk.length === most || (chunk.length && size + cost > bytes)) {
      chunks.push(chunk);
      [chunk, size] = [[], 0];
    }
    chunk.push(line);
    size += cost;
  }
  return chunk.length ? [...chunks, chunk] : chunks;
}

/** Linear equations with whole solutions, in many a form. */
export const sample = (count) => Array.from({ length: count }, equation);

function equation() {
  const name = "abcdhkmnpqrstuvwxyz"[between(0, 18)];
  const solution = between(-60, 60);
  const factor = between(2, 90) * (Math.random() < 0.5 ? -1 : 1);
  const other = between(-40, 40);
  const shift = between(-200, 200);
  const left = `${factor}*${name} ${signed(shift)}`;
  const right = (factor - other) * solution + shift;
  if (other === 0) return `${left} = ${right}`;
  const sides = `${left} = ${other}*${name} ${signed(right)}`;
  return Math.random() < 0.5 ? `Solve ${sides} for ${name}.` : sides;
}

const between = (low, high) => low + Math.floor(Math.random() * (high - low + 1));
const signed = (value) => (value < 0 ? `- ${-value}` : `+ ${value}`);
