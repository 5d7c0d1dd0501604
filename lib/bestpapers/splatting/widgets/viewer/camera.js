// The camera that the reader turns around a target.

export const [LEAST, MOST] = [1 / 8, 8]; // zoom
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => a.map((x) => x / Math.hypot(...a));
const minus = (a, b) => a.map((x, i) => x - b[i]);
const columns = (M) => [0, 1, 2].map((k) => [M[k], M[3 + k], M[6 + k]]);

// v turned about a unit axis by an angle in degrees (Rodrigues)
function turn(v, axis, degrees) {
  const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const [w, along] = [cross(axis, v), (1 - c) * dot(axis, v)];
  return v.map((x, i) => c * x + s * w[i] + along * axis[i]);
}

// The start camera carried around the target: up by `pitch` degrees, then to the right about `up` by `yaw` degrees; zoom
// multiplies its focal length; the picture is `size` pixels wide. The same as Viewer.view in viewer.py.
export function orbit(start, target, up, { yaw, pitch, zoom, size }) {
  const eye = columns(start.R).map((row) => -dot(row, start.t));
  const offset = minus(eye, target);
  const [pole, right] = [unit(up), unit(cross(up, offset))];
  const carry = (v) => turn(turn(v, right, -pitch), pole, yaw);
  const R = [0, 3, 6].flatMap((k) => carry(start.R.slice(k, k + 3))); // its rows are the camera's axes in the world
  const at = carry(offset).map((x, i) => x + target[i]);
  const t = [0, 3, 6].map((k) => -dot(R.slice(k, k + 3), at));
  const height = Math.max(1, Math.round((start.height * size) / start.width));
  const [across, down] = [size / start.width, height / start.height];
  const [fx, fy] = [start.fx * across * zoom, start.fy * down * zoom];
  return { R, t, fx, fy, cx: start.cx * across, cy: start.cy * down, width: size, height };
}

// A camera and target for a cloud of unknown place and size: as they are if the camera sees half of the centres or more,
// otherwise moved and grown together until the middle of the cloud fills the view.
export function aimAt({ means, count }, start, target) {
  const step = Math.ceil(count / 10_000);
  const some = Array.from({ length: Math.floor(count / step) }, (_, i) => means.subarray(3 * i * step, 3 * i * step + 3));
  const seen = some.filter((mean) => {
    const [x, y, z] = [0, 1, 2].map((k) => dot(start.R.slice(3 * k, 3 * k + 3), mean) + start.t[k]);
    const [u, v] = [(start.fx * x) / z + start.cx, (start.fy * y) / z + start.cy];
    return z > 0 && u > 0 && u < start.width && v > 0 && v < start.height;
  });
  if (2 * seen.length >= some.length) return { start, target, moved: false };
  const quantile = (values, q) => values.sort((a, b) => a - b)[Math.floor(q * (values.length - 1))];
  const middle = [0, 1, 2].map((k) => quantile(some.map((mean) => mean[k]), 0.5));
  const radius = quantile(some.map((mean) => Math.hypot(...minus(mean, middle))), 0.8);
  const offset = minus(columns(start.R).map((row) => -dot(row, start.t)), target);
  const grow = Math.max((1.2 * radius * 2 * start.fx) / start.width, 0.1) / Math.hypot(...offset);
  const eye = offset.map((x, i) => grow * x + middle[i]);
  const t = [0, 3, 6].map((k) => -dot(start.R.slice(k, k + 3), eye));
  return { start: { ...start, t }, target: middle, moved: true };
}

// Depth of a point: the first three times it, plus the fourth.
export const depthRow = ({ R, t }) => [R[6], R[7], R[8], t[2]];
