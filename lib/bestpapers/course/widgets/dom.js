// What the widgets share: elements, controls, words for numbers. A part, joined to each widget that imports it (join.py).

const DRAWINGS = new Set(["svg", "g", "path", "rect", "line", "circle", "text"]);

// An element with its attributes and children; those of drawings in the namespace that they need.
export function make(tag, attributes = {}, ...children) {
  const svg = DRAWINGS.has(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

let count = 0;

// A text that begins the ids of one widget and of no other on the page.
export const unique = (kind) => `bp-${kind}-${Date.now().toString(36)}-${count++}`;

// What all widgets look like; `me` is the class of one, so that none touches another's.
const base = (me) => `
${me} { font: inherit; color: inherit; max-width: 100%; }
${me} * { box-sizing: border-box; }
${me} figure { margin: 0; padding: 0; }
${me} figcaption { font: inherit; color: inherit; line-height: 1.3; margin: 0; text-align: left; }
${me} figure svg { display: block; width: 100%; height: auto; }
${me} .bp-panels { display: flex; flex-wrap: wrap; gap: 0.75em; }
${me} .bp-control { display: flex; flex-wrap: wrap; align-items: center; gap: 0.3em 0.6em; margin: 0.4em 0; }
${me} input { min-height: 2em; margin: 0; accent-color: #0072B2; }
${me} input[type=range] { flex: 1 1 10em; min-width: 5em; touch-action: pan-y; }
${me} button, ${me} select { font: inherit; color: inherit; background: transparent; padding: 0.25em 0.5em; margin: 0;
  min-height: 2em; max-width: 100%; border: 1px solid color-mix(in srgb, currentColor 60%, transparent); border-radius: 0.3em; }
${me} button { cursor: pointer; }
${me} option { color: CanvasText; background: Canvas; }
${me} output, ${me} .bp-value { font-variant-numeric: tabular-nums; line-height: 1.4; }
${me} .bp-caption { font-size: 0.9em; line-height: 1.4; margin: 0.4em 0 0; }
${me} .bp-item { display: inline-block; margin-right: 1em; }
${me} svg.bp-key { display: inline-block; width: 1.6em; height: 0.8em; vertical-align: baseline; margin: 0 0.3em 0 0; }
`;

// The element that holds a widget: its class bp-<kind>, its name for who cannot see it, its style.
export function shell(kind, label, style, ...children) {
  const css = make("style", {}, base(`.bp-${kind}`) + style);
  return make("div", { class: `bp-${kind}`, role: "group", "aria-label": label }, css, ...children);
}

// Set traits and tell the kernel, if there is one.
export function put(model, changes) {
  for (const [name, value] of Object.entries(changes)) model.set(name, value);
  model.save_changes();
}

// Call `draw` after each change of these traits; what comes back ends that.
export function follow(model, names, draw) {
  for (const name of names) model.on(`change:${name}`, draw);
  return () => names.forEach((name) => model.off(`change:${name}`, draw));
}

// A slider in a row with its name before it and other elements after it; `moved` gets its value.
export function slider(id, name, limits, moved, ...after) {
  const range = make("input", { id, type: "range", ...limits });
  range.addEventListener("input", () => moved(Number(range.value)));
  return { range, row: make("div", { class: "bp-control" }, make("label", { for: id }, name), range, ...after) };
}

// A list to choose from: options [[value, words]]; `chosen` gets the value, as text.
export function choice(id, name, options, chosen) {
  const select = make("select", { id });
  for (const [value, words] of options) select.append(make("option", { value }, words));
  select.addEventListener("change", () => chosen(select.value));
  return { select, label: make("label", { for: id }, name) };
}

export function button(words, act) {
  const node = make("button", { type: "button" }, words);
  node.addEventListener("click", act);
  return node;
}

// A button that brings these traits back to what they are when the widget is made.
export function reset(model, names) {
  const first = Object.fromEntries(names.map((name) => [name, model.get(name)]));
  return button("Reset", () => put(model, first));
}

// Let a reader drag something: `moved` gets the event of the press and of each move until the release.
export function drag(node, moved) {
  node.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    node.setPointerCapture(event.pointerId);
    event.preventDefault();
    moved(event);
  });
  node.addEventListener("pointermove", (event) => node.hasPointerCapture(event.pointerId) && moved(event));
}

// An entry of a legend: a small drawing, and what it stands for.
export function key(shape, words, viewBox = "0 0 32 16") {
  return make("span", { class: "bp-item" }, make("svg", { class: "bp-key", viewBox, "aria-hidden": "true" }, shape), words);
}

// Three digits that count, with a true minus.
export const digits = (x) => Number(x.toPrecision(3)).toString().replace("-", "−");

export const between = (low, x, high) => Math.min(high, Math.max(low, x));

// A picture as an address. It needs no clearing up, and passes a policy that allows images from 'self' and data: only.
export function dataURL(picture, type) {
  const bytes = new Uint8Array(picture.buffer, picture.byteOffset, picture.byteLength);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `data:${type};base64,${btoa(text)}`;
}
