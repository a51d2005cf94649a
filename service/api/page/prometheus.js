// Prometheus' text format, and what its functions make of it: increase and histogram_quantile.

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** The samples of an exposition: `name{labels}` to `{name, labels, value}`. */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (!match) continue;
    const [, name, inside = "", value] = match;
    samples.set(`${name}{${inside}}`, { name, labels: labelsOf(inside), value: number(value) });
  }
  return samples;
}

const labelsOf = (inside) =>
  Object.fromEntries(
    [...inside.matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c))]));

const number = (text) => Number(text.replace("Inf", "Infinity"));

/** By how much each sample grew. One that fell was reset, and has grown from zero. */
export function increase(before, after) {
  const grown = new Map();
  for (const [series, sample] of after) {
    const was = before.get(series)?.value ?? 0;
    grown.set(series, { ...sample, value: sample.value < was ? sample.value : sample.value - was });
  }
  return grown;
}

/** The samples of a metric whose labels pass `keep`. */
export const select = (samples, name, keep = () => true) =>
  [...samples.values()].filter((sample) => sample.name === name && keep(sample.labels));

/** Their sum, or null where there is none. */
export function total(samples, name, keep) {
  const found = select(samples, name, keep);
  return found.length ? found.reduce((sum, { value }) => sum + value, 0) : null;
}

/** `[upper bound, observations up to it]` of a histogram, lowest first, summed over its series. */
export function buckets(samples, name, keep) {
  const counts = new Map();
  for (const { labels, value } of select(samples, `${name}_bucket`, keep)) {
    const bound = number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return [...counts].sort(([a], [b]) => a - b);
}

/** As `histogram_quantile`: linear within a bucket; null where nothing was observed. */
export function quantile(q, cumulative) {
  const observations = cumulative.at(-1)?.[1] ?? 0;
  if (cumulative.length < 2 || observations === 0) return null;
  const rank = q * observations;
  const at = cumulative.findIndex(([, count]) => count >= rank);
  if (at === cumulative.length - 1) return cumulative.at(-2)[0]; // beyond the last finite bound
  const [end, count] = cumulative[at];
  if (at === 0 && end <= 0) return end;
  const [begin, below] = at === 0 ? [0, 0] : cumulative[at - 1];
  return begin + ((end - begin) * (rank - below)) / (count - below);
}
