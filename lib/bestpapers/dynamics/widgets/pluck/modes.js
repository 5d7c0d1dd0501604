// Modes that swing freely: q'' + gamma q' + omega^2 q = 0 with gamma = alpha + beta omega^2 for each slice, solved exactly, so
// that no frame rate and no damping can blow it up. q is complex; a point moves by Re sum_k S_k q_k.

const FLOOR = 0.01;

// What a mode with q(0) = 1, q'(0) = 0 does after t seconds, and one with q(0) = 0, q'(0) = 1: [cosine, sine], both decayed.
export function swing(t, omega, gamma) {
  const half = gamma / 2;
  const under = omega * omega - half * half;
  const rate = Math.sqrt(Math.abs(under));
  if (rate * t < 1e-4) return [Math.exp(-half * t), t * Math.exp(-half * t)]; // on the border of swinging
  if (under > 0) return [Math.cos(rate * t), Math.sin(rate * t) / rate].map((x) => x * Math.exp(-half * t));
  const [slow, fast] = [Math.exp((rate - half) * t), Math.exp(-(rate + half) * t)];
  return [(slow + fast) / 2, (slow - fast) / (2 * rate)];
}

// State of one mode after t seconds: [q, q'] from [q0, v0], for one real part.
export function after(t, omega, gamma, q0, v0) {
  const [c, s] = swing(t, omega, gamma);
  return [q0 * (c + (gamma / 2) * s) + v0 * s, v0 * (c - (gamma / 2) * s) - omega * omega * q0 * s];
}

export class Modes {
  // step: Hz between slices; the first mode has this frequency. alpha in 1/s, beta in s
  constructor(count, step, alpha, beta) {
    this.omega = Array.from({ length: count }, (_, k) => 2 * Math.PI * step * (k + 1));
    this.alpha = alpha;
    this.beta = beta;
    this.damping = 1;
    this.rest();
  }

  rest() {
    this.start = this.omega.map(() => [0, 0, 0, 0]); // Re q, Im q, Re q', Im q' at time 0
    this.time = 0;
  }

  gamma(k) {
    return this.damping * (this.alpha + this.beta * this.omega[k] ** 2);
  }

  now() {
    return this.start.map(([qr, qi, vr, vi], k) => {
      const [omega, gamma] = [this.omega[k], this.gamma(k)];
      const [[r, dr], [i, di]] = [after(this.time, omega, gamma, qr, vr), after(this.time, omega, gamma, qi, vi)];
      return [r, i, dr, di];
    });
  }

  // From here on with other states: a function of (state, k)
  begin(change) {
    this.start = this.now().map(change);
    this.time = 0;
  }

  set(damping) {
    this.begin((state) => state); // what has happened, happened with the old damping
    this.damping = damping;
  }
}

// How a pull at one point acts. s: S there, [Re x, Im x, Re y, Im y] for each mode; bands: how loud each mode is.
// A force f moves the point by M f with M = sum_k w_k Re(S_k S_k^H). Its axes: [{ axis: [x, y], gives }], the easier one first;
// the other is taken for at least FLOOR of it, so that along a branch its tip follows only part of the way. As dynamics/modal.py.
export function axes(s, bands) {
  let [xx, xy, yy] = [0, 0, 0];
  s.forEach(([a, b, c, d], k) => {
    xx += bands[k] * (a * a + b * b);
    yy += bands[k] * (c * c + d * d);
    xy += bands[k] * (a * c + b * d);
  });
  const [mean, half] = [(xx + yy) / 2, Math.hypot((xx - yy) / 2, xy)];
  const angle = Math.atan2(xy, (xx - yy) / 2) / 2;
  const axis = [Math.cos(angle), Math.sin(angle)];
  return [{ axis, gives: mean + half }, { axis: [-axis[1], axis[0]], gives: Math.max(FLOOR * (mean + half), mean - half) }];
}

// q_k = conj(f . S_k): [Re, Im] for each mode
export const answer = (s, [x, y]) => s.map(([a, b, c, d]) => [x * a + y * c, -(x * b + y * d)]);
