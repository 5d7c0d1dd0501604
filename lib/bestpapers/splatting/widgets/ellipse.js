// One 3D Gaussian and the ellipse that a renderer draws for it. See ellipse.py for the formulas, their source and the
// conventions: the functions below are the same as there, and a test compares them. `c` is the trait `constants`.

import { between, digits, drag, follow, key, make, put, reset, shell, slider, unique } from "../../course/widgets/dom.js";

export function quaternion(turn, roll) {
  const [a, b] = [(turn * Math.PI) / 360, (roll * Math.PI) / 360];
  return [
    Math.cos(b) * Math.cos(a),
    -Math.sin(b) * Math.sin(a),
    Math.cos(b) * Math.sin(a),
    Math.sin(b) * Math.cos(a),
  ];
}

export function rotation([w, x, y, z]) {
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ];
}

export const center = (position, depth, focal, c) => [((position - c.width / 2) * depth) / focal, 0, depth];

// The three axes on the screen, one standard deviation long, as the columns of [2, 3]: S is this times its transpose.
export function axes(scales, R, [x, , z], focal, clamp, c) {
  const limit = ((clamp ? 1 + c.margin : Infinity) * c.width) / 2 / focal;
  const xc = z * between(-limit, x / z, limit);
  const J = [
    [focal / z, 0, (-focal * xc) / z ** 2],
    [0, focal / z, 0],
  ];
  return J.map((row) => scales.map((s, k) => s * row.reduce((sum, value, i) => sum + value * R[i][k], 0)));
}

export function linear(...given) {
  const half = axes(...given);
  return half.map((a) => half.map((b) => a.reduce((sum, value, k) => sum + value * b[k], 0)));
}

// What a reader does who drags the end of axis `a` of the ellipse to the place `p`, both seen from its centre: the factor by
// which the axis grows, and the degrees by which it rolls. Both ends of an axis are one to it.
export function pulled(a, p) {
  const degrees = ([x, y]) => (Math.atan2(y, x) * 180) / Math.PI;
  return { factor: Math.hypot(...p) / Math.max(Math.hypot(...a), 1e-6), roll: halfTurn(degrees(p) - degrees(a)) };
}

// The same axis, from -90 to 90 degrees.
export const halfTurn = (degrees) => degrees - 180 * Math.round(degrees / 180);

export function onScreen(points, scales, R, mean, focal, c) {
  const seen = [];
  for (const point of points) {
    const [x, y, z] = mean.map((m, i) => m + point.reduce((sum, value, k) => sum + value * scales[k] * R[i][k], 0));
    if (z > c.near) seen.push([(focal * x) / z + c.width / 2, (focal * y) / z + c.height / 2]);
  }
  return seen;
}

export function moments(points) {
  const mean = (f) => points.reduce((sum, point) => sum + f(point), 0) / points.length;
  const [u, v] = [mean((p) => p[0]), mean((p) => p[1])];
  const xy = mean((p) => (p[0] - u) * (p[1] - v));
  return { mean: [u, v], cov: [[mean((p) => (p[0] - u) ** 2), xy], [xy, mean((p) => (p[1] - v) ** 2)]] };
}

export const det = (S) => S[0][0] * S[1][1] - S[0][1] * S[1][0];

export const widen = (S, eps2d) => [[S[0][0] + eps2d, S[0][1]], [S[1][0], S[1][1] + eps2d]];

export const rho = (S, eps2d, c) =>
  Math.sqrt(Math.max(det(S) / Math.max(det(widen(S, eps2d)), c.detMin), c.rhoMin ** 2));

export const halfWidth = (S, c) =>
  Math.max(2, 2 ** Math.ceil(Math.log2(1.1 * Math.sqrt(Math.max(S[0][0], S[1][1]) + c.dilation))));

// ------------------------------------------------------------------------------------------------------------ drawing

const STYLE = `
.bp-ellipse figure { flex: 1.6 1 18em; max-width: 40em; }
.bp-ellipse figure:last-child { flex: 1 1 11em; max-width: 25em; }
@media (max-width: 30em) { .bp-ellipse figure:last-child { max-width: 15em; margin: 0 auto; } }
.bp-ellipse figure svg { outline: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
.bp-ellipse .bp-handle { cursor: grab; touch-action: none; }
.bp-ellipse circle { vector-effect: non-scaling-stroke; fill: #0072B2; fill-opacity: 0.15; stroke: #0072B2; stroke-width: 1.5; }
.bp-ellipse text { fill: currentColor; font-size: 1.7px; text-anchor: middle; dominant-baseline: central; user-select: none; }
.bp-ellipse svg.bp-key { width: 1.9em; }
.bp-ellipse path, .bp-ellipse rect { vector-effect: non-scaling-stroke; fill: none; stroke: currentColor; }
.bp-ellipse .bp-controls { display: grid; gap: 0 1.5em; margin: 0.5em 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20em), 1fr)); }
.bp-ellipse .bp-control { flex-wrap: nowrap; gap: 0.6em; min-height: 2em; margin: 0; }
.bp-ellipse .bp-control label { flex: 0 0 8.5em; }
.bp-ellipse .bp-control.bp-tick label { flex: 1; }
.bp-ellipse input[type=checkbox] { width: 1.2em; height: 1.2em; }
.bp-ellipse .bp-value { flex: 0 0 4em; }
.bp-ellipse output { display: block; }
.bp-ellipse .bp-grid { stroke-width: 1; opacity: 0.18; }
.bp-ellipse .bp-image { stroke-width: 2; }
.bp-ellipse .bp-limit { stroke-width: 1.5; stroke-dasharray: 2 4; opacity: 0.8; }
.bp-ellipse .bp-point { stroke-width: 2.2; stroke-linecap: round; opacity: 0.45; }
.bp-ellipse .bp-pixel { fill: currentColor; stroke: none; opacity: 0.3; }
.bp-ellipse .bp-sampled { stroke-width: 1.6; stroke-dasharray: 6 3; }
.bp-ellipse .bp-linear { stroke: #0072B2; stroke-width: 3; }
.bp-ellipse .bp-mip { stroke: #009E73; stroke-width: 2.2; stroke-dasharray: 6 3; }
.bp-ellipse .bp-dilation { stroke: #D55E00; stroke-width: 2.2; stroke-dasharray: 9 3 2 3; }
`;
const GAP = 2.6; // px from the end of an axis to its handle, so that no handle hides the one in the centre
const STEPS = 40; // of sliders whose value grows by a factor

const signed = (x, places) => {
  const text = Math.abs(x).toFixed(places);
  return (Number(text) === 0 ? "" : x < 0 ? "−" : "+") + text;
};

const entry = (name, words) => {
  const d = name === "bp-point" ? "M8 8h0M19 4h0M30 11h0" : "M0 8H38";
  const pixel = { x: 12, y: 1, width: 14, height: 14 };
  const shape = name === "bp-pixel" ? make("rect", { class: name, ...pixel }) : make("path", { class: name, d });
  return key(shape, words, "0 0 38 16");
};

// Of the matrix's roots the triangular one: the image of the unit circle is the ellipse of one standard deviation.
function outline([u, v], S, sigmas) {
  const a = Math.sqrt(S[0][0]);
  const b = S[0][1] / a;
  const d = Math.sqrt(Math.max(0, S[1][1] - b * b));
  const points = Array.from({ length: 90 }, (_, i) => {
    const [x, y] = [Math.cos((i * Math.PI) / 45), Math.sin((i * Math.PI) / 45)];
    return `${(u + sigmas * a * x).toFixed(3)} ${(v + sigmas * (b * x + d * y)).toFixed(3)}`;
  });
  return `M${points.join("L")}Z`;
}

// Lines at whole multiples of `step`, from x0 to x1 and from y0 to y1.
function grid(x0, x1, y0, y1, step) {
  let d = "";
  for (let x = Math.ceil(x0 / step) * step; x <= x1; x += step) d += `M${x} ${y0}V${y1}`;
  for (let y = Math.ceil(y0 / step) * step; y <= y1; y += step) d += `M${x0} ${y}H${x1}`;
  return d;
}

function render({ model, el }) {
  const id = unique("ellipse");
  const c = model.get("constants");
  const traits = [...Object.keys(c.ranges), "clamp"];
  const bytes = model.get("points");
  const points = Array.from({ length: bytes.byteLength / 12 }, (_, i) =>
    [0, 4, 8].map((k) => bytes.getFloat32(12 * i + k, true)),
  );

  const path = (name, d = "") => make("path", { class: name, d });
  const [linearWide, sampled, dots] = [path("bp-linear"), path("bp-sampled"), path("bp-point")];
  const [middle, ...ends] = ["", "1", "2"].map((words) => {
    const parts = [make("circle", { r: 1.2 }), make("text", {}, words)];
    return { node: make("g", { class: "bp-handle", "aria-hidden": "true" }, ...parts), axis: [0, 0] };
  });
  const [bx, by] = c.border;
  const limits = [-1, 1].map((sign) => (c.width / 2) * (1 + sign * (1 + c.margin)));
  const image = make(
    "svg",
    { viewBox: `${-bx} ${-by} ${c.width + 2 * bx} ${c.height + 2 * by}`, role: "img" },
    path("bp-grid", grid(0, c.width, 0, c.height, 1)),
    make("rect", { class: "bp-image", width: c.width, height: c.height }),
    path("bp-limit", limits.map((x) => `M${x} ${-by}V${c.height + by}`).join("")),
    dots,
    linearWide,
    sampled,
    ...[middle, ...ends].map((handle) => handle.node),
  );
  const place = (event) => {
    const box = image.getBoundingClientRect();
    const [u, v] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return [u * (c.width + 2 * bx) - bx, v * (c.height + 2 * by) - by];
  };
  drag(middle.node, (event) => {
    const [least, most] = c.ranges.position;
    put(model, { position: between(least, place(event)[0], most) });
  });
  ends.forEach((end, k) =>
    drag(end.node, (event) => {
      const [u, v] = place(event);
      const p = [u - model.get("position"), v - c.height / 2];
      const inside = Math.max(1e-3, 1 - GAP / Math.hypot(...p));
      const { factor, roll } = pulled(end.axis, p.map((x) => x * inside));
      const [least, most] = c.ranges.scales;
      const scales = model.get("scales").map((s, i) => (i === k ? between(least, s * factor, most) : s));
      put(model, { scales, roll: halfTurn(model.get("roll") + roll) });
    }),
  );
  const [linearNear, mip, dilation, lines] = [path("bp-linear"), path("bp-mip"), path("bp-dilation"), path("bp-grid")];
  const pixel = make("rect", { class: "bp-pixel", width: 1, height: 1 });
  const close = make("svg", { role: "img" }, lines, pixel, linearNear, mip, dilation);
  const closeTitle = make("span");

  const sliders = [
    ["scales", 0, "size, 1st axis", ""],
    ["scales", 1, "size, 2nd axis", ""],
    ["scales", 2, "size, 3rd axis", ""],
    ["turn", null, "turn into depth", "°"],
    ["roll", null, "roll in the image", "°"],
    ["position", null, "place across", " px"],
    ["depth", null, "depth", ""],
    ["focal", null, "focal length", " px"],
  ].map(([name, index, label, unit]) => {
    const [min, max] = c.ranges[name];
    const log = min > 0; // a size: each step multiplies it
    const step = unit === "°" ? 5 : 1;
    const attributes = log ? { min: 0, max: STEPS, step: 1 } : { min, max, step };
    const value = make("span", { class: "bp-value" });
    const get = () => (index === null ? model.get(name) : model.get(name)[index]);
    const moved = (at) => {
      const wanted = log ? Math.min(max, min * (max / min) ** (at / STEPS)) : at;
      put(model, { [name]: index === null ? wanted : model.get(name).map((old, i) => (i === index ? wanted : old)) });
    };
    const { range, row } = slider(`${id}-${name}-${index ?? 0}`, label, attributes, moved, value);
    const show = () => {
      range.value = log ? Math.round((STEPS * Math.log(get() / min)) / Math.log(max / min)) : get();
      value.textContent = digits(get()) + unit;
      range.setAttribute("aria-valuetext", value.textContent);
    };
    return { show, row };
  });
  const clamp = make("input", { id: `${id}-clamp`, type: "checkbox" });
  clamp.addEventListener("change", () => put(model, { clamp: clamp.checked }));
  const words = `clamp J at ${digits(1 + c.margin)} half widths`;
  const tick = make("div", { class: "bp-control bp-tick" }, clamp, make("label", { for: clamp.id }, words));
  const output = make("output", { "aria-live": "polite" });

  const root = shell(
    "ellipse",
    "A 3D Gaussian and its ellipse on the screen",
    STYLE,
    make(
      "div",
      { class: "bp-panels" },
      make("figure", {}, make("figcaption", {}, make("b", {}, `Image of ${c.width} × ${c.height} px`)), image),
      make("figure", {}, make("figcaption", {}, make("b", {}, "Close-up"), closeTitle), close),
    ),
    make(
      "p",
      { class: "bp-caption" },
      entry("bp-linear", "S, the linear map"),
      entry("bp-point", "points, projected exactly"),
      entry("bp-sampled", "their ellipse"),
      entry("bp-limit", "where the clamp stops"),
      entry("bp-mip", `S + ${c.mip} I (Mip)`),
      entry("bp-dilation", `S + ${c.dilation} I (3DGS, EWA)`),
      entry("bp-pixel", "one pixel"),
    ),
    make("div", { class: "bp-controls" }, ...sliders.map((s) => s.row), tick),
    reset(model, traits),
    output,
    make("p", { class: "bp-caption" }, model.get("caption")),
  );

  function draw() {
    for (const slider of sliders) slider.show();
    clamp.checked = model.get("clamp");
    const [scales, position, focal] = [model.get("scales"), model.get("position"), model.get("focal")];
    const q = quaternion(model.get("turn"), model.get("roll"));
    const mean = center(position, model.get("depth"), focal, c);
    const S = linear(scales, rotation(q), mean, focal, model.get("clamp"), c);
    const seen = onScreen(points, scales, rotation(q), mean, focal, c);
    const found = moments(seen);
    const at = [position, c.height / 2];

    dots.setAttribute("d", seen.map(([u, v]) => `M${u.toFixed(2)} ${v.toFixed(2)}h0`).join(""));
    linearWide.setAttribute("d", outline(at, S, 3));
    sampled.setAttribute("d", outline(found.mean, found.cov, 3));

    const set = ({ node }, [u, v]) => node.setAttribute("transform", `translate(${at[0] + u} ${at[1] + v})`);
    const half = axes(scales, rotation(q), mean, focal, model.get("clamp"), c);
    set(middle, [0, 0]);
    ends.forEach((end, k) => {
      const [u, v] = half.map((row) => 3 * row[k]);
      const side = u * end.axis[0] + v * end.axis[1] < 0 ? -1 : 1; // of the two ends the one that is nearer to the hand
      end.axis = [side * u, side * v];
      set(end, end.axis.map((x) => x * (1 + GAP / Math.max(Math.hypot(u, v), 1e-6))));
    });

    const size = halfWidth(S, c);
    const step = Math.max(1, size / 8);
    const [left, top] = [at[0] - size, at[1] - size];
    close.setAttribute("viewBox", `${left} ${top} ${2 * size} ${2 * size}`);
    closeTitle.textContent = `, grid of ${step} px`;
    lines.setAttribute("d", grid(left, left + 2 * size, top, top + 2 * size, step));
    pixel.setAttribute("x", at[0] - 0.5);
    pixel.setAttribute("y", at[1] - 0.5);
    linearNear.setAttribute("d", outline(at, S, 1));
    mip.setAttribute("d", outline(at, widen(S, c.mip), 1));
    dilation.setAttribute("d", outline(at, widen(S, c.dilation), 1));

    const compare = (i) => {
      const [flat, real] = [Math.sqrt(S[i][i]), Math.sqrt(found.cov[i][i])];
      const error = `${signed(flat - real, 2)} px (${signed(100 * (flat / real - 1), 0)} %)`;
      return `linear ${digits(flat)} px, points ${digits(real)} px, error ${error}`;
    };
    const off = Math.hypot(found.mean[0] - at[0], found.mean[1] - at[1]);
    const behind = points.length - seen.length;
    const report = [
      `q = (${q.map((v) => v.toFixed(3).replace("-", "−")).join(", ")}); det S = ${digits(det(S))} px⁴`,
      `ρ = ${digits(rho(S, c.mip, c))} with ε = ${c.mip} px², ${digits(rho(S, c.dilation, c))} with ε = ${c.dilation} px²`,
      `std across the image: ${compare(0)}`,
      `std down the image: ${compare(1)}`,
      `the points' mean lies ${off.toFixed(2)} px from the projected centre` +
        (behind ? `; ${behind} of ${points.length} points lie behind the camera and are left out` : ""),
    ];
    output.replaceChildren(...report.map((line) => make("div", {}, line)));
    image.setAttribute("aria-label", `Image plane. ${report.slice(2).join("; ")}`);
    close.setAttribute("aria-label", `Close-up of ${2 * size} pixels. ${report.slice(0, 2).join("; ")}`);
  }

  draw();
  el.replaceChildren(root);
  return follow(model, traits, draw);
}

export default { render };
