// A strip of precomputed pictures: several panels side by side, one slider. See strip.py for the traits.
// Nothing moves by itself and nothing fades, so there is no motion to reduce.

import { dataURL, follow, make, put, reset, shell, slider, unique } from "./dom.js";

const STYLE = `
.bp-strip figure { flex: 1 1 9em; max-width: 24em; min-width: 7em; }
.bp-strip figcaption { text-align: center; }
.bp-strip .bp-readout { display: block; text-align: center; font-variant-numeric: tabular-nums; min-height: 1.3em; }
.bp-strip img { display: block; width: 100%; margin: 0; image-rendering: pixelated; border-radius: 0;
  outline: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
.bp-strip output { min-width: 6em; font-weight: 600; }
`;

function render({ model, el }) {
  const id = unique("strip");
  const labels = model.get("labels");
  const name = model.get("slider");

  const panels = model.get("panels").map(({ title, frames, readouts }) => {
    const urls = frames.map((frame) => dataURL(frame, "image/png"));
    const img = make("img", { draggable: "false" });
    const readout = make("span", { class: "bp-readout" });
    const figure = make("figure", {}, make("figcaption", {}, title), img, readout);
    return { title, urls, readouts, img, readout, figure };
  });

  const output = make("output", { for: id, "aria-live": "polite" });
  const limits = { min: 0, max: labels.length - 1, step: 1 };
  const { range, row } = slider(id, name, limits, (frame) => put(model, { frame }), output, reset(model, ["frame"]));
  const root = shell(
    "strip",
    `${panels.map((p) => p.title).join(", ")} by ${name}`,
    STYLE,
    make("div", { class: "bp-panels" }, ...panels.map((p) => p.figure)),
    row,
    make("p", { class: "bp-caption" }, model.get("caption")),
  );

  function draw() {
    const i = model.get("frame");
    range.value = i;
    range.setAttribute("aria-valuetext", labels[i]);
    const lines = panels.filter((p) => p.readouts.length).map((p) => `${p.title} ${p.readouts[i]}`);
    output.replaceChildren(labels[i], spoken(lines));
    for (const { title, urls, readouts, img, readout } of panels) {
      img.src = urls[i];
      img.alt = `${title}, ${name} ${labels[i]}`;
      readout.textContent = readouts[i] ?? "";
    }
  }

  draw();
  el.replaceChildren(root);
  return follow(model, ["frame"], draw);
}

// Words for screen readers only: they hear the readouts of all panels after each move, others see them in place.
function spoken(lines) {
  const hidden = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap";
  return make("span", { style: hidden }, lines.length ? `: ${lines.join(", ")}` : "");
}

export default { render };
