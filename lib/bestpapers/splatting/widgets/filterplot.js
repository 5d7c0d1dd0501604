// The pixel's box and the Gaussian that stands for it. See filterplot.py for the formulas and their source: the functions
// below are the same as there, and a test compares them.

import { button, digits, follow, key, make, put, reset, shell, slider, unique } from "../../course/widgets/dom.js";
import { erf } from "./erf.js";

export const gaussian = (t, variance) => Math.exp(-(t ** 2) / (2 * variance)) / Math.sqrt(2 * Math.PI * variance);

export const gaussianResponse = (f, variance) => Math.exp(-2 * Math.PI ** 2 * variance * f ** 2);

export const boxResponse = (f) => (f === 0 ? 1 : Math.sin(Math.PI * f) / (Math.PI * f));

export const distance = (variance) =>
  1 + 1 / (2 * Math.sqrt(Math.PI * variance)) - 2 * erf(1 / Math.sqrt(8 * variance));

// ------------------------------------------------------------------------------------------------------------ drawing

const STYLE = `
.bp-filter figure { flex: 1 1 11.5em; max-width: 20em; }
.bp-filter text { fill: currentColor; font-size: 15px; }
.bp-filter button[aria-pressed=true] { outline: 2px solid #0072B2; outline-offset: 1px; font-weight: 600; }
.bp-filter output { display: block; margin-bottom: 0.5em; }
.bp-filter .bp-axis { stroke: currentColor; stroke-width: 1; opacity: 0.6; }
.bp-filter .bp-nyquist { stroke: currentColor; stroke-width: 1; stroke-dasharray: 2 3; opacity: 0.8; }
.bp-filter .bp-box { fill: none; stroke: currentColor; stroke-width: 1.6; }
.bp-filter .bp-bell { fill: none; stroke: #0072B2; stroke-width: 2.6; stroke-dasharray: 7 3; }
.bp-filter .bp-mark { fill: currentColor; }
.bp-filter .bp-here { fill: #0072B2; }
`;
const WIDTH = 210;
const HEIGHT = 120;
const STEPS = 120; // of the slider

const entry = (name, words) => key(make("line", { class: name, x1: 0, x2: 32, y1: 8, y2: 8 }), words);

// Axes with ticks. What is drawn into `layer` is cut at the edge of the plot.
function plot({ title, x, y, xticks, yticks, xlabel, log = false }) {
  const t = log ? Math.log : (v) => v;
  const X = (v) => (WIDTH * (t(v) - t(x[0]))) / (t(x[1]) - t(x[0]));
  const Y = (v) => HEIGHT * (1 - (v - y[0]) / (y[1] - y[0]));
  const layer = make("svg", { width: WIDTH, height: HEIGHT });
  const svg = make(
    "svg",
    { viewBox: `-30 -10 ${WIDTH + 42} ${HEIGHT + 52}`, role: "img" },
    layer,
    make("line", { class: "bp-axis", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }),
    make("line", { class: "bp-axis", x1: 0, x2: 0, y1: 0, y2: HEIGHT }),
    ...xticks.flatMap((v) => [
      make("line", { class: "bp-axis", x1: X(v), x2: X(v), y1: HEIGHT, y2: HEIGHT + 4 }),
      make("text", { x: X(v), y: HEIGHT + 18, "text-anchor": "middle" }, digits(v)),
    ]),
    ...yticks.flatMap((v) => [
      make("line", { class: "bp-axis", x1: -4, x2: 0, y1: Y(v), y2: Y(v) }),
      make("text", { x: -6, y: Y(v) + 5, "text-anchor": "end" }, v),
    ]),
    make("text", { x: WIDTH / 2, y: HEIGHT + 36, "text-anchor": "middle" }, xlabel),
  );
  const curve = (f, n = 240) => {
    const at = (i) => (log ? x[0] * (x[1] / x[0]) ** (i / n) : x[0] + ((x[1] - x[0]) * i) / n);
    const points = Array.from({ length: n + 1 }, (_, i) => `${X(at(i)).toFixed(1)},${Y(f(at(i))).toFixed(1)}`);
    return `M${points.join("L")}`;
  };
  return { svg, layer, X, Y, curve, figure: make("figure", {}, make("figcaption", {}, make("b", {}, title)), svg) };
}

function render({ model, el }) {
  const id = unique("filter");
  const [least, most] = model.get("variance_range");
  const marks = model.get("marks");

  const space = plot({
    title: "Weight (1/px)",
    xlabel: "position (px)",
    x: [-2, 2],
    xticks: [-2, -1, 0, 1, 2],
    y: [0, 2],
    yticks: [0, 1, 2],
  });
  const freq = plot({
    title: "Share kept",
    xlabel: "frequency (cycles/px)",
    x: [0, 1.5],
    xticks: [0, 0.5, 1, 1.5],
    y: [0, 1.05],
    yticks: [0, 0.5, 1],
  });
  const dist = plot({
    title: "Squared distance",
    xlabel: "variance (px²)",
    log: true,
    x: [least, most],
    xticks: [0.05, 0.1, 0.2, 0.5, 1],
    y: [0, 1.05],
    yticks: [0, 0.5, 1],
  });
  const [bell, response] = [make("path", { class: "bp-bell" }), make("path", { class: "bp-bell" })];
  const here = make("circle", { class: "bp-here", r: 7 });
  const [a, b, floor, top] = [space.X(-0.5), space.X(0.5), space.Y(0) - 1, space.Y(1)];
  space.layer.append(make("path", { class: "bp-box", d: `M0,${floor}H${a}V${top}H${b}V${floor}H${WIDTH}` }), bell);
  freq.layer.append(
    make("line", { class: "bp-nyquist", x1: freq.X(0.5), x2: freq.X(0.5), y1: 0, y2: HEIGHT }),
    make("text", { x: freq.X(0.5) + 5, y: 14 }, "Nyquist"),
    make("path", { class: "bp-box", d: freq.curve((f) => Math.abs(boxResponse(f))) }),
    response,
  );
  dist.layer.append(make("path", { class: "bp-box", d: dist.curve(distance) }), here);
  marks.forEach(({ variance }, i) => {
    const [x, y] = [dist.X(variance), dist.Y(distance(variance))];
    dist.layer.append(
      make("circle", { class: "bp-mark", cx: x, cy: y, r: 2.5 }),
      make("text", { x, y: y - (i % 2 ? 24 : 11), "text-anchor": "middle" }, i + 1), // neighbours at two heights
    );
  });

  const set = (variance) => put(model, { variance });
  const value = make("span", { class: "bp-value" });
  const moved = (at) => set(Math.min(most, least * (most / least) ** (at / STEPS)));
  const { range, row } = slider(id, "variance", { min: 0, max: STEPS, step: 1 }, moved, value);
  const buttons = marks.map(({ label, variance }, i) => button(`${i + 1}: ${label}`, () => set(variance)));
  const output = make("output", { for: id, "aria-live": "polite" });
  const root = shell(
    "filter",
    "A box of one pixel and a Gaussian",
    STYLE,
    row,
    output,
    make("div", { class: "bp-panels" }, ...[space, freq, dist].map((p) => p.figure)),
    make("p", { class: "bp-caption" }, entry("bp-box", "box, one pixel"), entry("bp-bell", "Gaussian")),
    make("div", { class: "bp-control" }, ...buttons, reset(model, ["variance"])),
    make("p", { class: "bp-caption" }, model.get("caption")),
  );

  function draw() {
    const s = model.get("variance");
    range.value = Math.round((STEPS * Math.log(s / least)) / Math.log(most / least));
    range.setAttribute("aria-valuetext", `${digits(s)} square pixels`);
    value.textContent = `${digits(s)} px² (std ${digits(Math.sqrt(s))} px)`;
    bell.setAttribute("d", space.curve((t) => gaussian(t, s)));
    response.setAttribute("d", freq.curve((f) => gaussianResponse(f, s)));
    here.setAttribute("cx", dist.X(s));
    here.setAttribute("cy", dist.Y(distance(s)));
    marks.forEach(({ variance }, i) => buttons[i].setAttribute("aria-pressed", Math.abs(s / variance - 1) < 1e-6));
    const kept = (f) => `${gaussianResponse(f, s).toFixed(3)} (box ${boxResponse(f).toFixed(3)})`;
    const lines = [
      `squared distance ${distance(s).toFixed(3)}`,
      `kept at 0.25 cycles/px: ${kept(0.25)}, at the Nyquist rate: ${kept(0.5)}`,
    ];
    output.replaceChildren(...lines.map((line) => make("div", {}, line)));
    space.svg.setAttribute("aria-label", `Box of one pixel and Gaussian of variance ${digits(s)} square pixels`);
    freq.svg.setAttribute("aria-label", lines[1]);
    dist.svg.setAttribute("aria-label", `${lines[0]} at variance ${digits(s)}`);
  }

  draw();
  el.replaceChildren(root);
  return follow(model, ["variance"], draw);
}

export default { render };
