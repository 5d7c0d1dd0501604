// Drag a blob over a heatmap that people made, and watch six measures of the match: see sandbox.py for the traits. The measures
// (measures.js) are those of metrics.py. Nothing moves by itself.

import { choice, follow, make, put, reset, shell, slider, unique } from "../../course/widgets/dom.js";
import { auc, cc, kld, mse, nss, sim } from "./measures.js";
import { STAGE, circle, glow, pointing, stage } from "./stage.js";

const STYLE = `
${STAGE}
.bp-sandbox figure { flex: 1 1 11em; max-width: 20em; min-width: 8em; }
.bp-sandbox dl { flex: 1 1 14em; display: grid; grid-template-columns: auto 1fr; gap: 0.2em 0.8em; margin: 0; align-content: start; }
.bp-sandbox dt, .bp-sandbox dd { margin: 0; line-height: 1.4; }
.bp-sandbox dd { font-variant-numeric: tabular-nums; }
`;
const MEASURES = [
  ["MSE", mse, "0 is perfect"], ["CC", cc, "1 is perfect"], ["KLD", kld, "0 is perfect"], ["SIM", sim, "1 is perfect"],
  ["NSS", nss, "high is good"], ["AUC", auc, "1 is perfect, 0.5 is chance"],
];
const KEYS = "Arrow keys move the blob, with shift by four pixels.";

// A Gaussian of height `peak` and standard deviation `width` round (x, y), pixel i having its centre at i: values [H * W].
export function blob(H, W, x, y, width, peak) {
  return Float64Array.from({ length: H * W }, (_, i) =>
    peak * Math.exp(-(((i % W) - x) ** 2 + (Math.floor(i / W) - y) ** 2) / (2 * width ** 2)));
}

function render({ model, el }) {
  const traits = ["label", "x", "y", "width", "peak"];
  const id = unique("sandbox");
  const [H, W] = model.get("size");
  const bytes = model.get("labels");
  const labels = Float32Array.from({ length: bytes.byteLength / 4 }, (_, i) => bytes.getFloat32(4 * i, true));
  const grey = new Uint8Array(3 * H * W);

  const truth = stage(H, W);
  const guess = stage(H, W, { "aria-describedby": `${id}-say` });
  const values = MEASURES.map(([name, of, good]) => ({ name, of, good, value: make("dd") }));
  const names = model.get("titles").map((title, i) => [i, title]);
  const label = choice(`${id}-label`, "label", names, (i) => put(model, { label: Number(i) }));
  const width = slider(`${id}-width`, "width", { min: 1, max: Math.round(H / 2), step: 0.5 }, (x) => put(model, { width: x }));
  const peak = slider(`${id}-peak`, "height", { min: 0, max: 1, step: 0.05 }, (x) => put(model, { peak: x }));
  const say = make("p", { class: "bp-caption", id: `${id}-say`, role: "status", "aria-live": "polite" });
  const root = shell("sandbox", "Measures of a heatmap", STYLE,
    make("div", { class: "bp-control" }, label.label, label.select, reset(model, traits)), width.row, peak.row,
    make("div", { class: "bp-panels" },
      make("figure", {}, make("figcaption", {}, "what people marked"), truth.node),
      make("figure", {}, make("figcaption", {}, "what is predicted: drag it"), guess.node),
      make("dl", {}, ...values.flatMap(({ name, value }) => [make("dt", {}, name), value]))),
    say, make("p", { class: "bp-caption" }, model.get("caption")));
  el.replaceChildren(root);

  pointing(guess, H, W, (kind, x, y, keys) => {
    if (kind !== "at" || keys) put(model, { x: x - 0.5, y: y - 0.5 });
  }, () => [model.get("x") + 0.5, model.get("y") + 0.5]);

  function draw() {
    const G = labels.subarray(model.get("label") * H * W, (model.get("label") + 1) * H * W);
    const P = blob(H, W, model.get("x"), model.get("y"), model.get("width"), model.get("peak"));
    truth.paint((i) => glow(grey, i, G[i]));
    guess.paint((i) => glow(grey, i, P[i]));
    guess.mark(circle(model.get("x") + 0.5, model.get("y") + 0.5, model.get("width")));
    const got = values.map(({ name, of, good, value }) => {
      const x = of(P, G);
      value.textContent = Number.isNaN(x) ? "no value: the label has no marks" : `${x.toFixed(3).replace("-", "−")} (${good})`;
      return [name, Number.isNaN(x) ? null : x];
    });
    label.select.value = model.get("label");
    for (const [made, trait, unit] of [[width, "width", " pixels"], [peak, "peak", ""]]) {
      made.range.value = model.get(trait);
      made.range.setAttribute("aria-valuetext", `${model.get(trait)}${unit}`);
    }
    const where = `Blob at ${model.get("x").toFixed(1)}, ${model.get("y").toFixed(1)}`;
    say.textContent = `${where}: ${values.map(({ name }, k) => `${name} ${got[k][1] === null ? "none" : got[k][1].toFixed(2)}`).join(", ")}.`;
    truth.node.setAttribute("aria-label", `Heatmap of people: ${names[model.get("label")][1]}.`);
    guess.node.setAttribute("aria-label", `Predicted heatmap, a blob to drag. ${KEYS}`);
    Object.assign(root.dataset, { ready: "yes", values: JSON.stringify(Object.fromEntries(got)) }); // for tests
  }

  draw();
  return follow(model, traits, draw);
}

export default { render };
