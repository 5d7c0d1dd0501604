// How the generator draws: step after step, some tokens of a grid are settled and the rest is masked again. See steps.py for the
// traits. The reader moves on; nothing moves by itself.

import { button, follow, make, put, reset, shell, slider, unique } from "../../course/widgets/dom.js";
import { STAGE, stage } from "./stage.js";

const STYLE = `
${STAGE}
.bp-steps figure { flex: 1 1 12em; max-width: 22em; min-width: 8em; }
.bp-steps .bp-tokens { display: block; width: 100%; }
.bp-steps button:disabled { opacity: 0.5; cursor: default; }
.bp-steps text { fill: #fff; font-size: 0.42px; text-anchor: middle; dominant-baseline: central; }
`;
const [MASK, SETTLED, NEW] = ["#3b3b3b", "#0072B2", "#B34E00"]; // white letters are legible on each

function render({ model, el }) {
  const id = unique("steps");
  const [[H, W], g, count] = [model.get("size"), model.get("grid"), model.get("count")];
  const view = (name) => {
    const bytes = model.get(name);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const [pictures, settled, sure] = [view("pictures"), view("settled"), view("sure")];
  const n = g * g;

  const drawn = stage(H, W);
  const squares = Array.from({ length: n }, (_, i) => make("rect", { x: i % g, y: Math.floor(i / g), width: 0.94, height: 0.94 }));
  const numbers = Array.from({ length: n }, (_, i) => make("text", { x: (i % g) + 0.47, y: Math.floor(i / g) + 0.47 }));
  const grid = make("svg", { class: "bp-tokens", viewBox: `0 0 ${g} ${g}`, role: "img" }, ...squares, ...numbers);
  const output = make("output", { for: `${id}-step`, "aria-live": "polite" });
  const { range, row } = slider(`${id}-step`, "step", { min: 1, max: count, step: 1 }, (step) => put(model, { step }), output);
  const move = (by) => () => put(model, { step: Math.min(count, Math.max(1, model.get("step") + by)) });
  const [back, on] = [button("Back", move(-1)), button("Next", move(1))];
  const root = shell("steps", "How the generator draws, step by step", STYLE,
    row, make("div", { class: "bp-control" }, back, on, reset(model, ["step"])),
    make("div", { class: "bp-panels" },
      make("figure", {}, make("figcaption", {}, "what it would paint now"), drawn.node),
      make("figure", {}, make("figcaption", {}, "tokens: settled before (blue), now (orange), masked (grey)"),
        grid)),
    make("p", { class: "bp-caption" }, model.get("caption")));
  el.replaceChildren(root);

  function draw() {
    const step = model.get("step");
    const at = step - 1;
    const one = pictures.subarray(at * 3 * H * W, step * 3 * H * W);
    drawn.paint((i) => one.subarray(3 * i, 3 * i + 3));
    let [now, open] = [0, 0];
    for (let i = 0; i < n; i++) {
      const when = settled[i]; // the step that settled it, 0: it was never masked
      const fresh = when === step;
      const masked = when > step;
      now += fresh;
      open += masked;
      squares[i].setAttribute("fill", masked ? MASK : fresh ? NEW : SETTLED);
      numbers[i].textContent = masked || !when ? "" : fresh ? `${Math.round((100 * sure[at * n + i]) / 255)}` : String(when);
    }
    range.value = step;
    const words = `step ${step} of ${count}: ${now} settled now, ${open} of ${n} still masked`;
    range.setAttribute("aria-valuetext", words);
    output.textContent = words;
    [back.disabled, on.disabled] = [step === 1, step === count];
    drawn.node.setAttribute("aria-label", `“${model.get("prompt")}” after step ${step}`);
    grid.setAttribute("aria-label", `Grid of ${g} x ${g} tokens, ${words}.`);
    Object.assign(root.dataset, { ready: "yes", now, open }); // for tests
  }

  draw();
  return follow(model, ["step"], draw);
}

export default { render };
