// A strip of precomputed pictures: several panels side by side, one slider. See strip.py for the traits.
// Nothing moves by itself and nothing fades, so there is no motion to reduce.

const STYLE = `
.bp-strip { font: inherit; color: inherit; max-width: 100%; }
.bp-strip .bp-panels { display: flex; flex-wrap: wrap; gap: 0.75em; }
.bp-strip figure { flex: 1 1 9em; max-width: 24em; min-width: 7em; margin: 0; }
.bp-strip figcaption { font: inherit; line-height: 1.3; color: inherit; margin: 0; text-align: center; }
.bp-strip .bp-readout { display: block; text-align: center; font-variant-numeric: tabular-nums; min-height: 1.3em; }
.bp-strip img { display: block; width: 100%; margin: 0; image-rendering: pixelated; border-radius: 0;
  outline: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
.bp-strip .bp-control { display: flex; flex-wrap: wrap; align-items: center; gap: 0.6em; margin: 0.6em 0 0.2em; }
.bp-strip input { flex: 1 1 12em; min-height: 2em; margin: 0; accent-color: #0072B2; touch-action: pan-y; }
.bp-strip output { min-width: 6em; font-weight: 600; font-variant-numeric: tabular-nums; }
.bp-strip .bp-caption { font-size: 0.9em; margin: 0.2em 0 0; }
`;

let count = 0;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const id = `bp-strip-${Date.now().toString(36)}-${count++}`;
  const labels = model.get("labels");
  const name = model.get("slider");

  const panels = model.get("panels").map(({ title, frames, readouts }) => {
    const urls = frames.map(dataURL);
    const img = make("img", { draggable: "false" });
    const readout = make("span", { class: "bp-readout" });
    const figure = make("figure", {}, make("figcaption", {}, title), img, readout);
    return { title, urls, readouts, img, readout, figure };
  });

  const range = make("input", { id, type: "range", min: 0, max: labels.length - 1, step: 1 });
  const output = make("output", { for: id, "aria-live": "polite" });
  const root = make(
    "div",
    { class: "bp-strip", role: "group", "aria-label": `${panels.map((p) => p.title).join(", ")} by ${name}` },
    make("style", {}, STYLE),
    make("div", { class: "bp-panels" }, ...panels.map((p) => p.figure)),
    make("div", { class: "bp-control" }, make("label", { for: id }, name), range, output),
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

  range.addEventListener("input", () => {
    model.set("frame", Number(range.value));
    model.save_changes();
  });
  model.on("change:frame", draw);
  draw();
  el.replaceChildren(root);
  return () => model.off("change:frame", draw);
}

// A data: URL needs no clearing up and passes a content policy that allows nothing but 'self' and data: for images.
function dataURL(png) {
  const bytes = new Uint8Array(png.buffer, png.byteOffset, png.byteLength);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `data:image/png;base64,${btoa(text)}`;
}

// Words for screen readers only: they hear the readouts of all panels after each move, others see them in place.
function spoken(lines) {
  const hidden = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap";
  return make("span", { style: hidden }, lines.length ? `: ${lines.join(", ")}` : "");
}

export default { render };
