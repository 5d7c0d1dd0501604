// A splat that is dragged over a grid of pixels. See splatgrid.py for the formulas, their source and the conventions: the
// functions below are the same as there, and a test compares them. `c` is the trait `constants`.

import { between, button, digits, drag, follow, make, put, reset, shell, slider, unique } from "../../course/widgets/dom.js";
import { erf } from "./erf.js";

const heights = (g, { eps2d, compensate }, x, y, half, c) => {
  const rho = compensate ? g ** 2 / (g ** 2 + eps2d) : 1;
  const at = Array.from({ length: 2 * half + 1 }, (_, i) => i - half);
  return at.map((row) =>
    at.map((column) => {
      const d2 = (column - x) ** 2 + (row - y) ** 2;
      const alpha = c.opacity * rho * Math.exp(-d2 / (2 * (g ** 2 + eps2d)));
      return alpha < c.cut ? 0 : alpha;
    }),
  );
};

const sum = (rows) => rows.flat().reduce((a, b) => a + b, 0);

export const drawn = (g, method, x, y, c) => heights(g, method, x, y, (c.side - 1) / 2, c);

export function light(g, method, x, y, c) {
  const half = Math.ceil(c.reach + 4 * Math.sqrt(g ** 2 + method.eps2d));
  return sum(heights(g, method, x, y, half, c)) / (c.opacity * 2 * Math.PI * g ** 2);
}

export function measured(g, x, y, c) {
  const along = (middle) =>
    Array.from({ length: c.side }, (_, i) => {
      const edge = (k) => erf((k - c.side / 2 - middle) / (g * Math.SQRT2));
      return (edge(i + 1) - edge(i)) * Math.sqrt(Math.PI / 2) * g;
    });
  const across = along(x);
  return along(y).map((down) => across.map((value) => c.opacity * down * value));
}

// ------------------------------------------------------------------------------------------------------------ drawing

const STYLE = `
.bp-splatgrid figure { flex: 1 1 9em; max-width: 15em; min-width: 8em; }
.bp-splatgrid figure svg { touch-action: pan-y; cursor: grab; }
.bp-splatgrid .bp-square { fill: #0072B2; stroke: currentColor; stroke-width: 0.02; stroke-opacity: 0.35; }
.bp-splatgrid .bp-here { fill: none; stroke: currentColor; stroke-width: 0.07; }
.bp-splatgrid .bp-control label { min-width: 6.6em; }
.bp-splatgrid input[type=range] { flex: 1 1 5em; }
.bp-splatgrid .bp-value { flex: 0 0 3.8em; }
.bp-splatgrid output { display: block; min-height: 4.2em; }
`;
const STEPS = 40; // of the size: each multiplies it

function render({ model, el }) {
  const traits = ["std", "x", "y"];
  const id = unique("splatgrid");
  const c = model.get("constants");
  const [least, most] = c.sizes;
  const half = c.side / 2;
  const methods = [null, ...model.get("methods")]; // null: the sensor

  const move = (x, y) => put(model, { x: between(-c.reach, x, c.reach), y: between(-c.reach, y, c.reach) });
  const panels = methods.map((method) => {
    const squares = Array.from({ length: c.side ** 2 }, (_, i) =>
      make("rect", { class: "bp-square", x: (i % c.side) - half, y: Math.floor(i / c.side) - half, width: 1, height: 1 }),
    );
    const here = make("path", { class: "bp-here" });
    const svg = make("svg", { viewBox: `${-half} ${-half} ${c.side} ${c.side}`, role: "img" }, ...squares, here);
    drag(svg, (event) => {
      const box = svg.getBoundingClientRect();
      const place = (at, from, size) => ((at - from) / size - 0.5) * c.side;
      move(place(event.clientX, box.left, box.width), place(event.clientY, box.top, box.height));
    });
    const label = method ? method.label : "a sensor";
    return { method, label, squares, here, svg, figure: make("figure", {}, make("figcaption", {}, make("b", {}, label)), svg) };
  });

  const control = (name, words, limits, value) => {
    const text = make("span", { class: "bp-value" });
    return { name, text, ...slider(`${id}-${name}`, words, limits, (at) => put(model, { [name]: value(at) }), text) };
  };
  const size = control("std", "size", { min: 0, max: STEPS, step: 1 }, (at) =>
    between(least, least * (most / least) ** (at / STEPS), most),
  );
  const limits = { min: -c.reach, max: c.reach, step: 0.05 };
  const places = [control("x", "place across", limits, (at) => at), control("y", "place down", limits, (at) => at)];
  const output = make("output", { "aria-live": "polite" });

  const root = shell(
    "splatgrid",
    "A splat on a grid of pixels",
    STYLE,
    make("div", { class: "bp-panels" }, ...panels.map((p) => p.figure)),
    size.row,
    ...places.map((p) => p.row),
    make(
      "div",
      { class: "bp-control" },
      button("to the middle of a pixel", () => move(0, 0)),
      button("to a corner", () => move(0.5, 0.5)),
      reset(model, traits),
    ),
    output,
    make("p", { class: "bp-caption" }, model.get("caption")),
  );

  function draw() {
    const [g, x, y] = [model.get("std"), model.get("x"), model.get("y")];
    size.range.value = Math.round((STEPS * Math.log(g / least)) / Math.log(most / least));
    size.text.textContent = `${digits(g)} px`;
    size.range.setAttribute("aria-valuetext", `standard deviation ${digits(g)} pixels`);
    for (const { name, range, text } of places) {
      range.value = model.get(name);
      text.textContent = `${digits(model.get(name))} px`;
      range.setAttribute("aria-valuetext", `${digits(model.get(name))} pixels from the middle`);
    }
    const full = 1.5 * Math.max(...measured(g, 0, 0, c).flat());
    const r = Math.max(g, 0.12);
    const ring = `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
    const lines = [];
    for (const { method, label, squares, here, svg } of panels) {
      const values = (method ? drawn(g, method, x, y, c) : measured(g, x, y, c)).flat();
      values.forEach((value, i) => squares[i].setAttribute("fill-opacity", Math.min(1, value / full).toFixed(3)));
      here.setAttribute("d", ring);
      const at = (a, b) => digits(method ? light(g, method, a, b, c) : 1);
      const words = method
        ? `light × ${at(x, y)} here, × ${at(0, 0)} in the middle of a pixel, × ${at(0.5, 0.5)} in a corner`
        : "light × 1 everywhere";
      lines.push(make("div", {}, make("b", {}, `${label}: `), words));
      svg.setAttribute("aria-label", `${label}: ${words}`);
    }
    output.replaceChildren(...lines);
  }

  draw();
  el.replaceChildren(root);
  return follow(model, traits, draw);
}

export default { render };
