// The spectral volume as the state holds it: a grey PNG (see pluck.py), read byte by byte. A canvas would hand the numbers back
// changed where a browser guards against fingerprints. DecompressionStream is in all browsers since spring 2023.

const CHANNELS = 4; // Re x, Im x, Re y, Im y
const HALO = [1.4, 0.04]; // who is slower by this factor, and by this part of the largest weight, is taken along

// Grey PNG of 8 bits, not interlaced -> { width, height, pixels: Uint8Array }.
export async function readGrey(file) {
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const [parts, size] = [[], [view.getUint32(16), view.getUint32(20)]];
  if (view.getUint32(0) !== 0x89504e47 || view.getUint32(24) !== 0x08000000 || bytes[28] !== 0) {
    throw new Error("the spectral volume is no grey PNG of 8 bits");
  }
  for (let at = 8; at < bytes.length; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) parts.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at))); // IDAT
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = new Uint8Array(await new Response(stream).arrayBuffer());
  const [width, height] = size;
  const pixels = new Uint8Array(width * height);
  for (let y = 0, from = 0, to = 0; y < height; y++) {
    const filter = data[from++];
    for (let x = 0; x < width; x++, from++, to++) {
      const left = x ? pixels[to - 1] : 0;
      const up = y ? pixels[to - width] : 0;
      const corner = x && y ? pixels[to - width - 1] : 0;
      pixels[to] = data[from] + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
    }
  }
  return { width, height, pixels };
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

// S on its grid, in pixels of the picture. A "field" is a displacement [2, cells]: x of all cells, then y of all.
export class Volume {
  // grey: of readGrey; scales [modes * 4]; grid [height, width]; size [height, width] of the picture
  constructor(grey, scales, grid, size) {
    [this.h, this.w] = grid;
    [this.H, this.W] = size;
    this.cells = this.h * this.w;
    this.modes = scales.length / CHANNELS;
    if (grey.width !== this.w || grey.height !== (scales.length + 1) * this.h) throw new Error("the spectral volume is cut off");
    const plane = (i) => grey.pixels.subarray(i * this.cells, (i + 1) * this.cells);
    const [across, down] = [this.W / this.w, this.H / this.h]; // stored are cells, drawn are pixels
    this.S = scales.map((scale, i) => {
      const unit = scale * (i % CHANNELS < 2 ? across : down);
      return Float32Array.from(plane(i), (byte) => {
        const root = (byte - 128) / 127;
        return unit * root * Math.abs(root); // stored with a square root, as the network sees it
      });
    });
    this.weight = Float32Array.from(plane(scales.length), (byte) => byte / 255); // 1: moves most, lies in front
    this.takeAlong();
    this.largest = Array.from({ length: this.modes }, (_, k) => {
      let most = 0;
      for (let i = 0; i < this.cells; i++) {
        let sum = 0;
        for (let c = 0; c < CHANNELS; c++) sum += this.S[CHANNELS * k + c][i] ** 2;
        most = Math.max(most, sum);
      }
      return Math.sqrt(most); // px for each unit of q, at least as much as any point moves
    });
  }

  // What moves takes slower neighbours along, by one cell: outlines stay whole, and what stretches lies behind them.
  takeAlong() {
    const { w, h, weight } = this;
    const from = new Int32Array(this.cells);
    for (let y = 0, i = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) {
        let best = i;
        for (let v = Math.max(0, y - 1); v <= Math.min(h - 1, y + 1); v++) {
          for (let u = Math.max(0, x - 1); u <= Math.min(w - 1, x + 1); u++) {
            if (weight[v * w + u] > weight[best]) best = v * w + u;
          }
        }
        from[i] = weight[best] > Math.max(HALO[0] * weight[i], weight[i] + HALO[1]) ? best : i;
      }
    }
    for (const plane of [...this.S, weight]) plane.set(plane.map((_, i) => plane[from[i]]));
  }

  // F = Re sum_k (a_k + i b_k) S_k in each cell, into `out` [2 * cells], px
  field(a, b, out) {
    const { cells } = this;
    out.fill(0);
    for (let k = 0; k < this.modes; k++) {
      const [re, im] = [a[k], b[k]];
      if (!re && !im) continue;
      for (let c = 0; c < 2; c++) {
        const [R, I] = [this.S[CHANNELS * k + 2 * c], this.S[CHANNELS * k + 2 * c + 1]];
        for (let i = 0, to = c * cells; i < cells; i++, to++) out[to] += re * R[i] - im * I[i];
      }
    }
    return out;
  }

  // Four cells around a point of the picture, and what part of each: pixel centres lie at integers.
  around([x, y]) {
    const u = Math.min(this.w - 1, Math.max(0, ((x + 0.5) * this.w) / this.W - 0.5));
    const v = Math.min(this.h - 1, Math.max(0, ((y + 0.5) * this.h) / this.H - 0.5));
    const [u0, v0] = [Math.min(this.w - 2, Math.floor(u)), Math.min(this.h - 2, Math.floor(v))];
    const [s, t, i] = [u - u0, v - v0, v0 * this.w + u0];
    return [[i, (1 - s) * (1 - t)], [i + 1, s * (1 - t)], [i + this.w, (1 - s) * t], [i + this.w + 1, s * t]];
  }

  // S at a point: for each mode [Re x, Im x, Re y, Im y], px
  at(point) {
    const near = this.around(point);
    const mean = (plane) => near.reduce((sum, [i, part]) => sum + part * plane[i], 0);
    return Array.from({ length: this.modes }, (_, k) => [0, 1, 2, 3].map((c) => mean(this.S[CHANNELS * k + c])));
  }

  // A field at a point, px
  sample(field, point) {
    const near = this.around(point);
    return [0, this.cells].map((plane) => near.reduce((sum, [i, part]) => sum + part * field[plane + i], 0));
  }

  weightAt(point) {
    return this.around(point).reduce((sum, [i, part]) => sum + part * this.weight[i], 0);
  }

  // Where the middle of a cell lies in the picture
  place(i) {
    return [(((i % this.w) + 0.5) * this.W) / this.w - 0.5, ((Math.floor(i / this.w) + 0.5) * this.H) / this.h - 0.5];
  }

  // The point of the still picture that is seen at `x` while `field` moves it: the one that moves most lies in front. A little
  // beside something that moves counts as on it. Null where nothing moves.
  pick(x, field, least, reach) {
    let [best, score] = [-1, -Infinity];
    const cell = 0.75 * Math.max(this.W / this.w, this.H / this.h);
    for (let i = 0; i < this.cells; i++) {
      if (this.weight[i] < least) continue;
      const [px, py] = this.place(i);
      const away = Math.hypot(px + field[i] - x[0], py + field[this.cells + i] - x[1]);
      if (away > reach) continue;
      const found = away <= cell ? 2 + this.weight[i] : 1 - away / reach;
      if (found > score) [best, score] = [i, found];
    }
    if (best < 0) return null;
    const middle = this.place(best);
    if (score < 2) return middle;
    let point = middle;
    for (let n = 0; n < 8; n++) {
      const moved = this.sample(field, point);
      point = [x[0] - moved[0], x[1] - moved[1]];
    }
    const close = Math.hypot(point[0] - middle[0], point[1] - middle[1]) < 2 * cell;
    return close && this.weightAt(point) >= least ? point : middle; // where it folds, the middle of the cell will do
  }
}
