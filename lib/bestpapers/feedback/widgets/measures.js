// The measures of metrics.py for one map P and its label G, flat arrays of equal length, in the variant "ours". What has no value
// is NaN. A part (join.py); a test compares each with the library.

const ALIKE = 1e-6; // as in metrics.py

const sum = (n, of) => {
  let s = 0;
  for (let i = 0; i < n; i++) s += of(i);
  return s;
};

// Minus the mean; zeros where all values are alike.
function centred(x) {
  const n = x.length;
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < n; i++) [low, high] = [Math.min(low, x[i]), Math.max(high, x[i])];
  if (high - low <= ALIKE * Math.max(Math.abs(low), Math.abs(high))) return new Float64Array(n);
  const mean = sum(n, (i) => x[i]) / n;
  return Float64Array.from(x, (v) => v - mean);
}

export const mse = (P, G) => sum(P.length, (i) => (P[i] - G[i]) ** 2) / P.length;

export function cc(P, G) {
  const [p, g] = [centred(P), centred(G)];
  if (!g.some((v) => v)) return NaN;
  if (!p.some((v) => v)) return 0;
  return sum(p.length, (i) => p[i] * g[i]) / Math.sqrt(sum(p.length, (i) => p[i] ** 2) * sum(p.length, (i) => g[i] ** 2));
}

function shares(x) {
  const total = sum(x.length, (i) => x[i]);
  return Float64Array.from(x, (v) => (total > 0 ? v / total : 0));
}

export function kld(P, G, eps = 1e-8) {
  const [p, g] = [shares(P), shares(G)];
  if (!g.some((v) => v)) return NaN;
  return sum(p.length, (i) => (g[i] > 0 ? g[i] * Math.log(g[i] / (p[i] + eps) + eps) : 0));
}

export function sim(P, G) {
  const [p, g] = [shares(P), shares(G)];
  return g.some((v) => v) ? sum(p.length, (i) => Math.min(p[i], g[i])) : NaN;
}

const marks = (G) => sum(G.length, (i) => (G[i] > 0 ? 1 : 0));

export function nss(P, G) {
  const [m, n, z] = [marks(G), P.length, centred(P)];
  if (!m || m === n) return NaN;
  if (!z.some((v) => v)) return 0;
  const std = Math.sqrt(sum(n, (i) => z[i] ** 2) / (n - 1));
  return sum(n, (i) => (G[i] > 0 ? z[i] : 0)) / m / std;
}

// By ranks; values that tie share theirs.
export function auc(P, G) {
  const [m, n] = [marks(G), P.length];
  if (!m || m === n) return NaN;
  const order = Uint32Array.from(P, (_, i) => i).sort((a, b) => P[a] - P[b]);
  let ranks = 0;
  for (let i = 0; i < n; ) {
    let j = i;
    let found = 0;
    for (; j < n && P[order[j]] === P[order[i]]; j++) found += G[order[j]] > 0 ? 1 : 0;
    ranks += found * ((i + 1 + j) / 2);
    i = j;
  }
  return (ranks - (m * (m + 1)) / 2) / (m * (n - m));
}

// ------------------------------------------------------------------------------------------------------ masks and counts

// A mask of H x W made wider by d pixels on all sides, corners too (generator.token_mask).
export function dilated(mask, H, W, d) {
  const across = new Uint8Array(H * W);
  const out = new Uint8Array(H * W);
  for (let y = 0; y < H; y++) {
    for (let x = 0; x < W; x++) {
      for (let i = Math.max(0, x - d); i <= Math.min(W - 1, x + d); i++) if (mask[y * W + i]) across[y * W + x] = 1;
    }
  }
  for (let y = 0; y < H; y++) {
    for (let x = 0; x < W; x++) {
      for (let j = Math.max(0, y - d); j <= Math.min(H - 1, y + d); j++) if (across[j * W + x]) out[y * W + x] = 1;
    }
  }
  return out;
}

// Which of g x g tokens a mask touches.
export function touched(mask, H, W, g) {
  const out = new Uint8Array(g * g);
  for (let i = 0; i < H * W; i++) {
    if (mask[i]) out[Math.floor((Math.floor(i / W) * g) / H) * g + Math.floor(((i % W) * g) / W)] = 1;
  }
  return out;
}

// Precision and recall of a mask against the truth, NaN where there is nothing to divide by, and the share that is marked.
export function found(mask, truth) {
  const [n, of] = [mask.length, (test) => sum(mask.length, (i) => (test(i) ? 1 : 0))];
  const both = of((i) => mask[i] && truth[i]);
  const said = of((i) => mask[i]);
  return { precision: both / said, recall: both / of((i) => truth[i]), share: said / n };
}
