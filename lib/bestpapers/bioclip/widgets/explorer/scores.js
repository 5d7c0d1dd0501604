// From embeddings to probabilities and similarities: the functions of the same names in explorer.py and evaluate.py.

import { treeOrder } from "./taxa.js";

// Rows of `count` numbers in half precision.
export function rows(view, count) {
  const values = Float64Array.from({ length: view.byteLength / 2 }, (_, i) => half(view.getUint16(2 * i, true)));
  const size = values.length / count;
  return Array.from({ length: count }, (_, i) => values.subarray(i * size, (i + 1) * size));
}

function half(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
  return bits >> 15 ? -size : size;
}

export const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

export function probabilities(photo, texts, scale) {
  const logits = texts.map((text) => scale * dot(photo, text));
  const most = Math.max(...logits);
  const powers = logits.map((z) => Math.exp(z - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

// Groups of labels with the same path down to a rank: [{ path, p }]. Of labels that end above it, the path is shorter.
export function rollup(p, labels, rank) {
  const groups = new Map();
  labels.forEach(({ path }, i) => {
    const cut = path.slice(0, rank + 1);
    const group = groups.get(cut.join("\n")) ?? { path: cut, p: 0 };
    group.p += p[i];
    groups.set(cut.join("\n"), group);
  });
  return [...groups.values()];
}

// The most probable group with a name at a rank, if there is one.
export function best(p, labels, rank) {
  const named = rollup(p, labels, rank).filter(({ path }) => path.length > rank);
  return named.reduce((a, b) => (a && a.p >= b.p ? a : b), undefined);
}

export function deepest(p, labels, confidence) {
  for (let rank = 6; rank >= 0; rank--) {
    const found = best(p, labels, rank);
    if (found && found.p > confidence) return found;
  }
  return null;
}

const unit = (x) => {
  const length = Math.sqrt(dot(x, x));
  return x.map((value) => value / length);
};

// Of all taxa of a rank, in the order of the tree: their numbers in `labels`, and their cosines. texts [L], means [S].
export function similarities({ taxa, labels, texts, means, rank, source }) {
  const number = new Map(labels.map(({ path }, i) => [path.join("\n"), i]));
  const members = new Map();
  for (const i of treeOrder(taxa)) {
    const key = taxa[i].slice(0, rank + 1).join("\n");
    members.set(key, [...(members.get(key) ?? []), i]);
  }
  const groups = [...members.keys()].map((key) => number.get(key));
  const sum = (all) => all.reduce((a, b) => a.map((value, k) => value + b[k]));
  const x =
    source === "captions"
      ? groups.map((g) => unit(texts[g]))
      : [...members.values()].map((all) => unit(sum(all.map((i) => means[i]))));
  return { groups, cosines: x.map((a) => x.map((b) => dot(a, b))) };
}

// Spearman's correlation; NaN if one of the two is the same everywhere.
export function spearman(a, b) {
  const [x, y] = [places(a), places(b)];
  const mean = (x.length - 1) / 2;
  const product = (u, v) => u.reduce((sum, value, i) => sum + (value - mean) * (v[i] - mean), 0);
  return product(x, y) / Math.sqrt(product(x, x) * product(y, y));
}

function places(values) {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const out = new Array(values.length);
  for (let i = 0; i < order.length; ) {
    let j = i;
    while (j + 1 < order.length && values[order[j + 1]] === values[order[i]]) j++;
    for (let k = i; k <= j; k++) out[order[k]] = (i + j) / 2; // equal values share the mean of their places
    i = j + 1;
  }
  return out;
}
