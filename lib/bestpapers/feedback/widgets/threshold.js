// From a heatmap to what is painted anew: a threshold, some pixels wider, and the tokens that this touches. See threshold.py for
// the traits. Masks and counts are in measures.js. Nothing moves by itself.

import { choice, follow, key, make, put, reset, shell, slider, unique } from "../../course/widgets/dom.js";
import { dilated, found, touched } from "./measures.js";
import { STAGE, glow, stage } from "./stage.js";

const STYLE = `
${STAGE}
.bp-threshold figure { flex: 1 1 10em; max-width: 18em; min-width: 8em; }
.bp-threshold table { border-collapse: collapse; margin: 0.5em 0; font: inherit; color: inherit; }
.bp-threshold td, .bp-threshold th { padding: 0.15em 1em 0.15em 0; border: 0; background: none; font-weight: 400; text-align: left;
  color: inherit; font-variant-numeric: tabular-nums; }
`;
const [RIGHT, EXTRA, MISSED] = [[0, 158, 115], [230, 159, 0], [204, 40, 60]];

// The mask of a heatmap: above the threshold, and `d` pixels wider.
export function masked(map, H, W, threshold, d) {
  return dilated(Uint8Array.from(map, (v) => (v > Math.fround(threshold) ? 1 : 0)), H, W, d);
}

function render({ model, el }) {
  const traits = ["scene", "threshold", "dilation"];
  const id = unique("threshold");
  const [[H, W], g] = [model.get("size"), model.get("grid")];
  const n = H * W;
  const view = (name) => {
    const bytes = model.get(name);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const [pictures, truths, bytes] = [view("pictures"), view("truths"), model.get("maps")];
  const maps = Float32Array.from({ length: bytes.byteLength / 4 }, (_, i) => bytes.getFloat32(4 * i, true));

  const panels = ["picture", "heatmap", "pixels", "tokens, painted anew"].map((title) => {
    const drawn = stage(H, W);
    return { title, drawn, figure: make("figure", {}, make("figcaption", {}, title), drawn.node) };
  });
  const scene = choice(`${id}-scene`, "picture", model.get("titles").map((title, i) => [i, title]), (i) => put(model, { scene: Number(i) }));
  const outputs = ["threshold", "dilation"].map((name) => make("output", { for: `${id}-${name}` }));
  const level = slider(`${id}-threshold`, "threshold", { min: 0, max: 1, step: 0.01 }, (threshold) => put(model, { threshold }), outputs[0]);
  const wider = slider(`${id}-dilation`, "wider by", { min: 0, max: 12, step: 1 }, (dilation) => put(model, { dilation }), outputs[1]);
  const body = ["pixels", "tokens"].map((name) => {
    const cells = ["precision", "recall", "share"].map(() => make("td"));
    return { name, cells, row: make("tr", {}, make("th", { scope: "row" }, name), ...cells) };
  });
  const heads = ["", "precision", "recall", "marked"].map((name) => make("th", { scope: "col" }, name));
  const say = make("p", { class: "bp-caption", role: "status", "aria-live": "polite" });
  const swatch = (c) => make("rect", { width: 32, height: 16, fill: `rgb(${c})` });
  const root = shell("threshold", "From a heatmap to a mask", STYLE,
    make("div", { class: "bp-control" }, scene.label, scene.select, reset(model, traits)), level.row, wider.row,
    make("div", { class: "bp-panels" }, ...panels.map((p) => p.figure)),
    make("p", { class: "bp-caption" }, key(swatch(RIGHT), "faulty, and marked"), key(swatch(EXTRA), "marked, but sound"),
      key(swatch(MISSED), "faulty, but missed")),
    make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body.map((b) => b.row))),
    say, make("p", { class: "bp-caption" }, model.get("caption")));
  el.replaceChildren(root);

  function draw() {
    const [at, threshold, d] = [model.get("scene"), model.get("threshold"), model.get("dilation")];
    const pixels = pictures.subarray(3 * n * at, 3 * n * (at + 1));
    const [map, truth] = [maps.subarray(n * at, n * (at + 1)), truths.subarray(n * at, n * (at + 1))];
    const mask = masked(map, H, W, threshold, d);
    const [tokens, wrong] = [touched(mask, H, W, g), touched(truth, H, W, g)];
    const cell = (i) => Math.floor((Math.floor(i / W) * g) / H) * g + Math.floor(((i % W) * g) / W);
    const coloured = (i, said, faulty) => {
      const c = said ? (faulty ? RIGHT : EXTRA) : faulty ? MISSED : null;
      return [0, 1, 2].map((k) => (c ? 0.3 * pixels[3 * i + k] + 0.7 * c[k] : pixels[3 * i + k]));
    };
    panels[0].drawn.paint((i) => pixels.subarray(3 * i, 3 * i + 3));
    panels[1].drawn.paint((i) => glow(pixels, i, map[i]));
    panels[2].drawn.paint((i) => coloured(i, mask[i], truth[i]));
    panels[3].drawn.paint((i) => coloured(i, tokens[cell(i)], wrong[cell(i)]));

    const counts = { pixels: found(mask, truth), tokens: found(tokens, wrong) };
    for (const { name, cells } of body) {
      ["precision", "recall", "share"].forEach((what, k) => {
        const x = counts[name][what];
        cells[k].textContent = Number.isNaN(x) ? "none" : k === 2 ? `${(100 * x).toFixed(0)} %` : x.toFixed(2);
      });
    }
    scene.select.value = at;
    [level.range.value, wider.range.value] = [threshold, d];
    outputs[0].textContent = threshold.toFixed(2);
    outputs[1].textContent = `${d} px`;
    wider.range.setAttribute("aria-valuetext", `${d} pixels on all sides`);
    say.textContent = body.map(({ name, cells }) =>
      `${name}: precision ${cells[0].textContent}, recall ${cells[1].textContent}, ${cells[2].textContent} marked`).join("; ") + ".";
    for (const { title, drawn } of panels) drawn.node.setAttribute("aria-label", `${title} of “${model.get("titles")[at]}”`);
    Object.assign(root.dataset, { ready: "yes", counts: JSON.stringify(counts) }); // for tests; NaN is null
  }

  draw();
  return follow(model, traits, draw);
}

export default { render };
