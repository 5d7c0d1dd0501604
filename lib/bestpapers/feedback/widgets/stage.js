// A picture of few pixels that one can point at, by pointer or by keys, and pictures with a heatmap over them. A part of the
// widgets of this wing (join.py).

import { between, make } from "../../course/widgets/dom.js";

export const STAGE = `
.bp-stage { display: block; position: relative; width: 100%; outline-offset: 2px; }
.bp-stage:focus-visible { outline: 3px solid #0072B2; }
.bp-stage[tabindex] { cursor: crosshair; touch-action: none; }
.bp-stage canvas { display: block; width: 100%; image-rendering: pixelated; margin: 0; pointer-events: none; }
.bp-stage svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; pointer-events: none; }
.bp-stage path { fill: none; vector-effect: non-scaling-stroke; }
`;

// Numbers of a colour map for heat over grey: nothing, then orange, then nearly white.
export const heat = (v) => [Math.min(1, 2.2 * v), Math.min(1, 1.1 * v ** 1.3), Math.max(0, 2 * v - 1)];

// A canvas of H x W pixels in a box; `paint` takes their colours (i) => [r, g, b], 0..255.
export function stage(H, W, attributes) {
  const canvas = make("canvas", { width: W, height: H, "aria-hidden": "true" });
  const rod = [["#000", 4], ["#fff", 1.5]].map(([stroke, width]) => make("path", { stroke, "stroke-width": width }));
  const over = make("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" }, ...rod);
  const node = make("div", { class: "bp-stage", role: "img", ...attributes }, canvas, over);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(W, H);
  return {
    node,
    paint(colour) {
      for (let i = 0; i < H * W; i++) {
        const [r, g, b] = colour(i);
        image.data.set([r, g, b, 255], 4 * i);
      }
      context.putImageData(image, 0, 0);
    },
    mark(d) {
      for (const path of rod) path.setAttribute("d", d);
    },
  };
}

export const circle = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;

// Grey of pixel i, 0..255, and heat over it.
export function glow(pixels, i, v) {
  const grey = 0.3 * pixels[3 * i] + 0.59 * pixels[3 * i + 1] + 0.11 * pixels[3 * i + 2];
  const share = Math.min(1, 1.6 * v);
  return heat(v).map((c) => (1 - share) * (0.35 * grey + 40) + share * 255 * c);
}

// Let a reader point at a stage. act(kind, x, y): "down", "move", "up" with the place in pixels, the corner being 0, 0; "at"
// when the place moves without a press; a fourth argument is true if keys moved it. Arrow keys move it, with shift by four, from
// `start()` if that is given; space or enter is a press and a release.
export function pointing({ node }, H, W, act, start) {
  const at = [W / 2, H / 2];
  let down = false;
  const place = (event) => {
    const box = node.getBoundingClientRect();
    at[0] = between(0, ((event.clientX - box.left) / box.width) * W, W - 0.01);
    at[1] = between(0, ((event.clientY - box.top) / box.height) * H, H - 0.01);
  };
  node.setAttribute("tabindex", 0);
  node.setAttribute("role", "application");
  node.setAttribute("data-lm-suppress-shortcuts", "true"); // keeps JupyterLab from taking the keys
  node.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    node.focus({ preventScroll: true });
    node.setPointerCapture(event.pointerId);
    down = true;
    place(event);
    act("down", ...at);
  });
  node.addEventListener("pointermove", (event) => {
    place(event);
    act(down ? "move" : "at", ...at);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    node.addEventListener(end, () => {
      if (down) act("up", ...at);
      down = false;
    });
  }
  node.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 4 : 1;
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (dx || dy) {
      if (start) at.splice(0, 2, ...start());
      at[0] = between(0.5, Math.floor(at[0]) + 0.5 + dx, W - 0.5);
      at[1] = between(0.5, Math.floor(at[1]) + 0.5 + dy, H - 0.5);
      act("at", ...at, true);
    } else if (event.key === " " || event.key === "Enter") {
      act("down", ...at);
      act("up", ...at);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
