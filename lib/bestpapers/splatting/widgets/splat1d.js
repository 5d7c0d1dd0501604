// One Gaussian under a lens that zooms. See splat1d.py for the formulas, their source and the conventions: the functions
// below are the same as there, and a test compares them.

import { digits, follow, key, make, put, reset, shell, slider, unique } from "../../course/widgets/dom.js";
import { erf } from "./erf.js";

export const screenStd = (scale, depth, focal) => (focal * scale) / depth;

const rho = (g, { eps2d, compensate }) => (compensate ? g ** 2 / (g ** 2 + eps2d) : 1);

const distances = (pixels, offset) => Array.from({ length: pixels }, (_, i) => i + 0.5 - (pixels / 2 + offset));

const filtered = (g, method, x) => rho(g, method) * Math.exp(-(x ** 2) / (2 * (g ** 2 + method.eps2d)));

export const pixelRow = (g, method, pixels, offset = 0) => distances(pixels, offset).map((x) => filtered(g, method, x));

const mass = (a, b, g) => Math.sqrt(Math.PI / 2) * g * (erf(b / (g * Math.SQRT2)) - erf(a / (g * Math.SQRT2)));

export const boxRow = (g, pixels, offset = 0) =>
  distances(pixels, offset).map((x) => mass(x - 0.5, x + 0.5, g) * mass(-0.5, 0.5, g));

export const lightGain = (g, method) => (rho(g, method) * (g ** 2 + method.eps2d)) / g ** 2;

export function lightHere(g, method, offset = 0) {
  const reach = 2 * Math.ceil(6 * Math.sqrt(g ** 2 + method.eps2d)) + 3;
  const sum = (at) => pixelRow(g, { ...method, compensate: false }, reach, at).reduce((a, b) => a + b, 0);
  return (rho(g, method) * sum(offset) * sum(0)) / (2 * Math.PI * g ** 2);
}

// ------------------------------------------------------------------------------------------------------------ drawing

const STYLE = `
.bp-splat .bp-panels { gap: 1em; }
.bp-splat figure { flex: 1 1 15em; max-width: 26em; min-width: 12em; }
.bp-splat figure svg { overflow: visible; }
.bp-splat .bp-readout { font-variant-numeric: tabular-nums; line-height: 1.4; font-size: 0.95em; }
.bp-splat .bp-control label { min-width: 8em; }
.bp-splat output { flex: 0 1 20em; }
.bp-splat text { fill: currentColor; font-size: 15px; }
.bp-splat .bp-bar { fill: #3F97CC; }
.bp-splat .bp-axis { stroke: currentColor; stroke-width: 1; opacity: 0.6; }
.bp-splat .bp-truth { stroke: currentColor; stroke-width: 2; }
.bp-splat .bp-before { fill: none; stroke: currentColor; stroke-width: 1.2; stroke-dasharray: 4 3; }
.bp-splat .bp-after { fill: none; stroke: #0072B2; stroke-width: 2; }
`;
const WIDTH = 330;
const HEIGHT = 150;

function curve(pixels, height) {
  const points = Array.from({ length: 8 * pixels + 1 }, (_, i) => {
    const x = i / 8;
    return `${((x / pixels) * WIDTH).toFixed(1)},${(HEIGHT * (1 - height(x))).toFixed(1)}`;
  });
  return `M${points.join("L")}`;
}

const line = (name) => make("line", { class: name, x1: 0, x2: 32, y1: 8, y2: 8 });

function render({ model, el }) {
  const id = unique("splat");
  const methods = model.get("methods");
  const [least, most] = model.get("zoom_range").map(Math.log2);
  const control = (trait, name, min, max, step, value) => {
    const output = make("output", { for: `${id}-${trait}`, "aria-live": "polite" });
    const moved = (at) => put(model, { [trait]: value(at) });
    return { output, ...slider(`${id}-${trait}`, name, { min, max, step }, moved, output) };
  };
  const zoom = control("zoom", "zoom", least, most, 0.125, (exponent) => 2 ** exponent);
  const offset = control("offset", "place in the pixel", -0.5, 0.5, 0.05, (at) => at);

  const panels = methods.map((method) => {
    const plot = make("g");
    const svg = make(
      "svg",
      { viewBox: `-18 -10 ${WIDTH + 22} ${HEIGHT + 30}`, role: "img" },
      plot,
      make("line", { class: "bp-axis", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }),
      make("line", { class: "bp-axis", x1: 0, x2: 0, y1: 0, y2: HEIGHT }),
      make("text", { x: -6, y: 5, "text-anchor": "end" }, "1"),
      make("text", { x: -6, y: HEIGHT + 5, "text-anchor": "end" }, "0"),
      make("text", { x: WIDTH, y: HEIGHT + 17, "text-anchor": "end" }, `${model.get("pixels")} pixels`),
    );
    const height = method.compensate ? `g² / (g² + ${method.eps2d})` : "1";
    const readout = make("div", { class: "bp-readout" });
    const words = [`variance g² + ${method.eps2d} px²`, make("br"), `height ${height}`];
    const title = make("figcaption", {}, make("b", {}, method.label), make("br"), ...words);
    return { method, plot, svg, readout, figure: make("figure", {}, title, svg, readout) };
  });

  const root = shell(
    "splat",
    "One Gaussian under a zooming lens",
    STYLE,
    make("div", { class: "bp-panels" }, ...panels.map((p) => p.figure)),
    zoom.row,
    offset.row,
    reset(model, ["zoom", "offset"]),
    make(
      "p",
      { class: "bp-caption" },
      key(make("rect", { class: "bp-bar", x: 8, y: 0, width: 16, height: 16 }), "value of a pixel, taken at its centre"),
      key(line("bp-truth"), "truth: mean over the pixel's square"),
      key(line("bp-before"), "the Gaussian as projected"),
      key(line("bp-after"), "after the filter"),
      make("br"),
      model.get("caption"),
    ),
  );

  function draw() {
    const [z, at, pixels] = [model.get("zoom"), model.get("offset"), model.get("pixels")];
    const focal = model.get("focal") * z;
    const g = screenStd(model.get("scale"), model.get("depth"), focal);
    zoom.range.value = Math.log2(z);
    zoom.range.setAttribute("aria-valuetext", `zoom ${digits(z)}`);
    zoom.output.textContent = `${digits(z)} ×: focal length ${digits(focal)} px, g = ${digits(g)} px`;
    offset.range.value = at;
    offset.range.setAttribute("aria-valuetext", `${digits(at)} pixels from the middle`);
    offset.output.textContent = `${digits(at)} px from its middle`;

    const truth = boxRow(g, pixels, at);
    const middle = (pixels - 1) / 2;
    const step = WIDTH / pixels;
    const before = curve(pixels, (x) => Math.exp(-((x - pixels / 2 - at) ** 2) / (2 * g ** 2)));
    for (const { method, plot, svg, readout } of panels) {
      const row = pixelRow(g, method, pixels, at);
      plot.replaceChildren(
        ...row.map((value, i) =>
          make("rect", {
            class: "bp-bar",
            x: (i + 0.1) * step,
            width: 0.8 * step,
            y: HEIGHT * (1 - value),
            height: HEIGHT * value,
          }),
        ),
        ...truth.map((value, i) => {
          const y = HEIGHT * (1 - value);
          return make("line", { class: "bp-truth", x1: i * step, x2: (i + 1) * step, y1: y, y2: y });
        }),
        make("path", { class: "bp-before", d: before }),
        make("path", { class: "bp-after", d: curve(pixels, (x) => filtered(g, method, x - pixels / 2 - at)) }),
      );
      const lines = [
        `light × ${digits(lightHere(g, method, at))} here, × ${digits(lightGain(g, method))} on average`,
        `middle pixel ${digits(row[middle])}, truth ${digits(truth[middle])}`,
      ];
      readout.replaceChildren(...lines.map((line) => make("div", {}, line)));
      svg.setAttribute("aria-label", `${method.label}: ${lines.join("; ")}`);
    }
  }

  draw();
  el.replaceChildren(root);
  return follow(model, ["scale", "depth", "focal", "zoom", "offset", "pixels"], draw);
}

export default { render };
