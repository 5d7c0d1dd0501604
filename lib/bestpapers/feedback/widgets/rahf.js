// The forward pass of model.py's RAHF, multi-head, in the browser: one picture and its prompt -> two maps, four scores, and a
// number for each word. Weights are float16, arithmetic is float32; a test holds it to torch. A part, joined to the widgets
// that import it (join.py).
//
// Grids are channel after channel, row by row, with a border of zeros one cell wide, so that a convolution needs no `if`.
// Tokens are one after the other. What is slow is the sum over channels: its loops take four outputs, or nine taps, at once.

const BETWEEN = /[,.?!":; ]+/; // what separates words, as in record.py

export const wordsOf = (prompt) => prompt.split(BETWEEN).filter((word) => word);

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// The numbers of a DataView of float16, little-endian.
export function fromHalf(bytes) {
  const out = new Float32Array(bytes.byteLength / 2);
  for (let i = 0; i < out.length; i++) {
    const bits = bytes.getUint16(2 * i, true);
    const [e, m] = [(bits >> 10) & 31, bits & 1023];
    const size = e === 0 ? m * 2 ** -24 : e === 31 ? (m ? NaN : Infinity) : (1 + m / 1024) * 2 ** (e - 15);
    out[i] = bits & 32768 ? -size : size;
  }
  return out;
}

// The error function, to 1.2e-7 (Press et al., Numerical Recipes, erfcc).
function erf(x) {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const terms = [1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277];
  let sum = 0;
  for (let i = terms.length - 1; i >= 0; i--) sum = terms[i] + t * sum;
  const rest = t * Math.exp(-x * x - 1.26551223 + t * sum);
  return x >= 0 ? 1 - rest : rest - 1;
}

// ------------------------------------------------------------------------------------------------------------- tokens

// x [L, a] by weight [b, a] and bias [b], of which rows `from` to `from + b` are taken -> [L, b]
function linear(x, L, a, { weight, bias }, b = bias.length, from = 0) {
  const out = new Float32Array(L * b);
  for (let o = 0; o < b; o++) {
    const [w, start] = [(from + o) * a, bias[from + o]];
    let l = 0;
    for (; l + 3 < L; l += 4) {
      let [s0, s1, s2, s3] = [start, start, start, start];
      const [r0, r1, r2, r3] = [l * a, (l + 1) * a, (l + 2) * a, (l + 3) * a];
      for (let i = 0; i < a; i++) {
        const k = weight[w + i];
        s0 += k * x[r0 + i];
        s1 += k * x[r1 + i];
        s2 += k * x[r2 + i];
        s3 += k * x[r3 + i];
      }
      out[l * b + o] = s0;
      out[(l + 1) * b + o] = s1;
      out[(l + 2) * b + o] = s2;
      out[(l + 3) * b + o] = s3;
    }
    for (; l < L; l++) {
      let s = start;
      for (let i = 0; i < a; i++) s += weight[w + i] * x[l * a + i];
      out[l * b + o] = s;
    }
  }
  return out;
}

// Each token to mean 0 and variance 1, then scaled and shifted.
function layerNorm(x, L, W, { weight, bias }) {
  const out = new Float32Array(L * W);
  for (let l = 0; l < L; l++) {
    let [mean, square] = [0, 0];
    for (let i = l * W; i < (l + 1) * W; i++) mean += x[i];
    mean /= W;
    for (let i = l * W; i < (l + 1) * W; i++) square += (x[i] - mean) ** 2;
    const scale = 1 / Math.sqrt(square / W + 1e-5);
    for (let i = 0; i < W; i++) out[l * W + i] = (x[l * W + i] - mean) * scale * weight[i] + bias[i];
  }
  return out;
}

function attention(x, L, W, heads, { inside, outside }) {
  const qkv = linear(x, L, W, inside);
  const seen = new Float32Array(L * W);
  const share = new Float32Array(L);
  const [d, row] = [W / heads, 3 * W];
  const scale = 1 / Math.sqrt(d);
  for (let h = 0; h < heads; h++) {
    for (let l = 0; l < L; l++) {
      const q = l * row + h * d;
      let top = -Infinity;
      for (let m = 0; m < L; m++) {
        const k = m * row + W + h * d;
        let s = 0;
        for (let i = 0; i < d; i++) s += qkv[q + i] * qkv[k + i];
        share[m] = s * scale;
        if (share[m] > top) top = share[m];
      }
      let total = 0;
      for (let m = 0; m < L; m++) {
        share[m] = Math.exp(share[m] - top);
        total += share[m];
      }
      const o = l * W + h * d;
      for (let m = 0; m < L; m++) {
        const [v, p] = [m * row + 2 * W + h * d, share[m] / total];
        for (let i = 0; i < d; i++) seen[o + i] += p * qkv[v + i];
      }
    }
  }
  return linear(seen, L, W, outside);
}

// The pre-norm block of lab/nn.py, on x in place.
function block(x, L, W, heads, parts) {
  const add = (y) => {
    for (let i = 0; i < y.length; i++) x[i] += y[i];
  };
  add(attention(layerNorm(x, L, W, parts.ln_1), L, W, heads, parts.attn));
  const hidden = linear(layerNorm(x, L, W, parts.ln_2), L, W, parts.fc);
  for (let i = 0; i < hidden.length; i++) hidden[i] *= 0.5 * (1 + erf(hidden[i] * Math.SQRT1_2));
  add(linear(hidden, L, parts.fc.bias.length, parts.proj));
}

// -------------------------------------------------------------------------------------------------------------- grids

const bordered = (channels, g) => new Float32Array(channels * (g + 2) ** 2);

// Call `act` with the place of the first cell of each row of a channel.
function rows(g, channel, act) {
  for (let y = 1; y <= g; y++) act((channel * (g + 2) + y) * (g + 2) + 1);
}

// A convolution 3 x 3 of a grid [a, g, g] -> [b, g / stride, g / stride]
function convolve(x, a, g, { weight, bias }, stride = 1) {
  const [b, n, side] = [bias.length, g + 2, g / stride];
  const out = bordered(b, side);
  for (let o = 0; o < b; o++) {
    rows(side, o, (at) => out.fill(bias[o], at, at + side));
    for (let c = 0; c < a; c++) {
      const k = (o * a + c) * 9;
      const [w0, w1, w2, w3, w4] = [weight[k], weight[k + 1], weight[k + 2], weight[k + 3], weight[k + 4]];
      const [w5, w6, w7, w8] = [weight[k + 5], weight[k + 6], weight[k + 7], weight[k + 8]];
      for (let y = 0; y < side; y++) {
        const i = (c * n + stride * y) * n;
        const to = (o * (side + 2) + y + 1) * (side + 2) + 1;
        const [j, l] = [i + n, i + 2 * n];
        for (let t = 0; t < side; t++) {
          const s = stride * t;
          out[to + t] +=
            w0 * x[i + s] + w1 * x[i + s + 1] + w2 * x[i + s + 2] +
            w3 * x[j + s] + w4 * x[j + s + 1] + w5 * x[j + s + 2] +
            w6 * x[l + s] + w7 * x[l + s + 1] + w8 * x[l + s + 2];
        }
      }
    }
  }
  return out;
}

// A transposed convolution 4 x 4 of stride 2 and padding 1: [a, g, g] -> [b, 2 g, 2 g]. Each cell of the result hangs on two by
// two cells and on the four taps that its place, odd or even, picks.
function double(x, a, g, { weight, bias }) {
  const [b, n, N] = [bias.length, g + 2, 2 * g + 2];
  const out = bordered(b, 2 * g);
  for (let o = 0; o < b; o++) {
    rows(2 * g, o, (at) => out.fill(bias[o], at, at + 2 * g));
    for (let c = 0; c < a; c++) {
      const k = (c * b + o) * 16;
      for (let odd = 0; odd < 4; odd++) {
        const [py, px] = [odd >> 1, odd & 1];
        const [up, left] = [3 - py, 3 - px]; // the tap of the cell before; that of the one after is two less
        const [w0, w1] = [weight[k + 4 * up + left], weight[k + 4 * up + left - 2]];
        const [w2, w3] = [weight[k + 4 * (up - 2) + left], weight[k + 4 * (up - 2) + left - 2]];
        for (let y = 0; y < g; y++) {
          const i = (c * n + y + py) * n + px;
          const j = i + n;
          const to = (o * N + 2 * y + py + 1) * N + px + 1;
          for (let t = 0; t < g; t++) out[to + 2 * t] += w0 * x[i + t] + w1 * x[i + t + 1] + w2 * x[j + t] + w3 * x[j + t + 1];
        }
      }
    }
  }
  return out;
}

// GroupNorm with one group, and what is below 0 cut off; in place.
function normed(x, a, g, { weight, bias }) {
  let [mean, square] = [0, 0];
  for (let c = 0; c < a; c++) rows(g, c, (at) => { for (let t = at; t < at + g; t++) mean += x[t]; });
  mean /= a * g * g;
  for (let c = 0; c < a; c++) rows(g, c, (at) => { for (let t = at; t < at + g; t++) square += (x[t] - mean) ** 2; });
  const scale = 1 / Math.sqrt(square / (a * g * g) + 1e-5);
  for (let c = 0; c < a; c++) {
    const [w, shift] = [scale * weight[c], bias[c] - mean * scale * weight[c]];
    rows(g, c, (at) => { for (let t = at; t < at + g; t++) x[t] = Math.max(0, w * x[t] + shift); });
  }
  return x;
}

function positive(x) {
  for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] = 0;
  return x;
}

// A grid [a, g, g] as tokens, one for each cell: [g g, a].
function tokensOf(x, a, g) {
  const out = new Float32Array(g * g * a);
  for (let c = 0; c < a; c++) {
    let to = c;
    rows(g, c, (at) => { for (let t = at; t < at + g; t++, to += a) out[to] = x[t]; });
  }
  return out;
}

// A grid without its border.
function inner(x, a, g) {
  const out = new Float32Array(a * g * g);
  let to = 0;
  for (let c = 0; c < a; c++) {
    rows(g, c, (at) => {
      out.set(x.subarray(at, at + g), to);
      to += g;
    });
  }
  return out;
}

// ---------------------------------------------------------------------------------------------------------- the model

export class Rahf {
  // config: of model.Config; tensors: [[name, shape]] in the order of the weights, a DataView of float16 (damage.py packs them)
  constructor(config, tensors, weights) {
    const numbers = fromHalf(weights);
    const at = new Map();
    let from = 0;
    for (const [name, shape] of tensors) {
      const size = shape.reduce((a, b) => a * b, 1);
      at.set(name, numbers.subarray(from, from + size));
      from += size;
    }
    if (from !== numbers.length) throw new Error(`${numbers.length} weights for tensors of ${from}`);
    const tensor = (name) => {
      if (!at.has(name)) throw new Error(`no weights ${name}`);
      return at.get(name);
    };
    const layer = (name) => ({ weight: tensor(`${name}.weight`), bias: tensor(`${name}.bias`) });
    const blocks = (name, count) =>
      Array.from({ length: count }, (_, i) => {
        const of = `trunk.${name}.${i}`;
        const inside = { weight: tensor(`${of}.attn.in_proj_weight`), bias: tensor(`${of}.attn.in_proj_bias`) };
        return {
          ln_1: layer(`${of}.ln_1`), ln_2: layer(`${of}.ln_2`), attn: { inside, outside: layer(`${of}.attn.out_proj`) },
          fc: layer(`${of}.mlp.c_fc`), proj: layer(`${of}.mlp.c_proj`),
        };
      });
    Object.assign(this, {
      config, tensor, layer, grid: config.size / config.patch, number: new Map(config.vocabulary.map((word, i) => [word, i + 3])),
      image: blocks("image", config.image_layers), fusion: blocks("fusion", config.fusion_layers),
    });
    this.names = (kind) => [...new Set(tensors.map(([name]) => name.split(".")).filter(([k]) => k === kind).map(([, n]) => n))];
  }

  knows(word) {
    return this.number.has(word.toLowerCase());
  }

  // Pixels [size, size, 3], 0..255, `step` bytes for each -> image tokens [N, width]. They do not hang on the prompt.
  see(pixels, step = 3) {
    const { size, width, heads } = this.config;
    const g = this.grid;
    let [x, a, side] = [bordered(3, size), 3, size];
    for (let c = 0; c < 3; c++) {
      let from = c;
      rows(size, c, (at) => { for (let t = at; t < at + size; t++, from += step) x[t] = (2 * pixels[from]) / 255 - 1; });
    }
    for (let i = 0; side > g; i += 3, side /= 2) {
      const made = convolve(x, a, side, this.layer(`trunk.stem.convolutions.${i}`), 2);
      const norm = this.layer(`trunk.stem.convolutions.${i + 1}`);
      [x, a] = [normed(made, norm.bias.length, side / 2, norm), norm.bias.length];
    }
    const tokens = linear(tokensOf(x, a, g), g * g, a, this.layer("trunk.stem.last"));
    const positions = this.tensor("trunk.stem.positions");
    for (let i = 0; i < tokens.length; i++) tokens[i] += positions[i];
    for (const parts of this.image) block(tokens, g * g, width, heads, parts);
    return tokens;
  }

  // Image tokens and a prompt -> { maps: {name: [size * size]}, scores: {name: number}, words: [n] }, all as logits.
  answer(seen, prompt) {
    const { width: W, heads, longest } = this.config;
    const g = this.grid;
    const N = g * g;
    const words = wordsOf(prompt);
    if (words.length > longest) throw new Error(`the prompt has ${words.length} words; this model reads ${longest} at the most`);
    const L = N + words.length; // without padding: no token looks at it
    const x = new Float32Array(L * W);
    x.set(seen);
    const [embedding, positions] = [this.tensor("trunk.embedding.weight"), this.tensor("trunk.positions")];
    words.forEach((word, k) => {
      const row = (this.number.get(word.toLowerCase()) ?? 2) * W;
      for (let i = 0; i < W; i++) x[(N + k) * W + i] = embedding[row + i] + positions[k * W + i];
    });
    for (const parts of this.fusion) block(x, L, W, heads, parts);
    const fused = layerNorm(x, L, W, this.layer("trunk.norm"));
    const grid = bordered(W, g);
    for (let cell = 0; cell < N; cell++) {
      const to = (Math.floor(cell / g) + 1) * (g + 2) + (cell % g) + 1;
      for (let c = 0; c < W; c++) grid[c * (g + 2) ** 2 + to] = fused[cell * W + c];
    }
    const each = (kind, head) => Object.fromEntries(this.names(kind).map((name) => [name, head(`${kind}.${name}`, grid)]));
    const said = linear(fused.subarray(N * W), words.length, W, this.layer("word"));
    return { maps: each("maps", this.map.bind(this)), scores: each("scores", this.score.bind(this)), words: [...said] };
  }

  map(name, grid) {
    const channels = this.config.maps;
    let [x, a, g] = [positive(convolve(grid, this.config.width, this.grid, this.layer(`${name}.first`))), channels[0], this.grid];
    channels.forEach((b, i) => {
      const up = double(x, a, g, this.layer(`${name}.up.${i}`));
      [x, a, g] = [normed(up, b, 2 * g, this.layer(`${name}.norms.${i}`)), b, 2 * g];
      const read = convolve(x, a, g, this.layer(`${name}.read.${i}`));
      for (let c = 0; c < a; c++) rows(g, c, (at) => { for (let t = at; t < at + g; t++) if (read[t] > 0) x[t] += read[t]; });
    });
    return inner(convolve(x, a, g, this.layer(`${name}.last`)), 1, g);
  }

  score(name, grid) {
    let [x, a] = [grid, this.config.width];
    this.config.scores.forEach((b, i) => {
      const made = convolve(x, a, this.grid, this.layer(`${name}.convolutions.${3 * i}`));
      [x, a] = [normed(made, b, this.grid, this.layer(`${name}.convolutions.${3 * i + 1}`)), b];
    });
    const found = new Float32Array(2 * a); // of each channel the mean, then of each the largest
    for (let c = 0; c < a; c++) {
      found[a + c] = -Infinity;
      rows(this.grid, c, (at) => {
        for (let t = at; t < at + this.grid; t++) {
          found[c] += x[t] / this.grid ** 2;
          found[a + c] = Math.max(found[a + c], x[t]);
        }
      });
    }
    const hidden = positive(linear(found, 1, 2 * a, this.layer(`${name}.dense.0`)));
    return linear(hidden, 1, hidden.length, this.layer(`${name}.dense.2`))[0];
  }
}
