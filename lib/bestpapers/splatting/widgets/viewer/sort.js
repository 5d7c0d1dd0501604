// From far to near.

import * as RULES from "../../../kernels/rasterize/rules.py";

// Indices of the Gaussians before the camera, from far to near; of equal depths the later one counts as farther, as in the
// library. means [N, 3]; z = row[0] x + row[1] y + row[2] z + row[3] is the depth. The bits of positive floats sort like
// whole numbers, so two passes of a counting sort over 16 bits each are exact. A worker runs its text: it uses RULES alone.
export function depthOrder(means, row) {
  const n = means.length / 3;
  const z = new Float32Array(n);
  let order = new Uint32Array(n);
  let count = 0;
  for (let i = n - 1; i >= 0; i--) {
    z[i] = row[0] * means[3 * i] + row[1] * means[3 * i + 1] + row[2] * means[3 * i + 2] + row[3];
    if (z[i] > RULES.NEAR_PLANE && z[i] < RULES.FAR_PLANE) order[count++] = i;
  }
  const bits = new Uint32Array(z.buffer);
  let other = new Uint32Array(count);
  order = order.subarray(0, count);
  for (const shift of [0, 16]) {
    const start = new Uint32Array(65537);
    for (const i of order) start[65535 - ((bits[i] >>> shift) & 65535) + 1]++;
    for (let k = 1; k <= 65536; k++) start[k] += start[k - 1];
    for (const i of order) other[start[65535 - ((bits[i] >>> shift) & 65535)]++] = i;
    [order, other] = [other, order];
  }
  return order.slice();
}

// Sorts the means of some clouds in a worker. Where a page's policy forbids one, the page's own thread does it.
export class Sorter {
  constructor(all) {
    this.all = all;
    this.waiting = new Map(); // number of a request -> function that takes its order
    this.requests = 0;
    const program = `const RULES = ${JSON.stringify(RULES)};
      const order = ${depthOrder};
      let all;
      onmessage = ({ data }) => {
        if (data.all) all = data.all;
        else {
          const found = order(all[data.which], data.row);
          postMessage({ request: data.request, found }, [found.buffer]);
        }
      };`;
    const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    try {
      this.worker = new Worker(address);
      this.worker.onmessage = ({ data }) => this.answer(data.request, data.found);
      this.worker.onerror = () => this.giveUp();
      this.worker.postMessage({ all });
    } catch {
      this.giveUp();
    }
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
  order(which, row) {
    if (!this.worker) return Promise.resolve(depthOrder(this.all[which], row));
    return new Promise((resolve) => {
      const request = this.requests++;
      this.waiting.set(request, { which, row, resolve });
      this.worker.postMessage({ which, row, request });
    });
  }
  answer(request, found) {
    this.waiting.get(request)?.resolve(found);
    this.waiting.delete(request);
  }
  giveUp() {
    this.worker = null;
    for (const [request, { which, row }] of this.waiting) this.answer(request, depthOrder(this.all[which], row));
  }
  stop() {
    this.worker?.terminate();
    for (const { resolve } of this.waiting.values()) resolve(null);
  }
}
