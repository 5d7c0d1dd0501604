// Gaussian clouds side by side under one camera, each through the filters of its method. See viewer.py for the traits.
//
// Four steps, in viewer/: read a file and apply the 3D smoothing filter (clouds.js), sort from far to near (sort.js, in a
// worker), project and blend (shaders.js, painter.js). Each does what bestpapers.kernels.rasterize does, by the constants of its
// rules.py, and tests compare the pictures. Nothing moves by itself, so there is no motion to reduce.
//
// A cloud of N Gaussians is { count, degree, means [N, 3], scales [N, 3], quats [N, 4] (w, x, y, z), opacities [N],
// sh [N, (degree + 1)^2, 3], phi [N] or null }: after the activations, lengths in scene units.
// A camera is { R [9] and t [3], world to camera with x right, y down, z forward, R by rows; fx, fy, cx, cy, width, height
// in pixels }. A method is { eps2d, compensate, smooth_3d }, as in bestpapers.splatting.filters.

import { between, button, digits, follow, make, put, shell, slider, unique } from "../../course/widgets/dom.js";
import { LEAST, MOST, aimAt, depthRow, orbit } from "./viewer/camera.js";
import { parseFile, smooth3D } from "./viewer/clouds.js";
import { Painter } from "./viewer/painter.js";
import { Sorter } from "./viewer/sort.js";

const STYLE = `
.bp-viewer .bp-panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(6.5em, 1fr)); gap: 0.75em;
  padding: 3px; border-radius: 4px; }
.bp-viewer .bp-panels:focus-visible { outline: 3px solid #0072B2; }
.bp-viewer.bp-over .bp-panels { outline: 3px dashed #0072B2; }
.bp-viewer figure { display: grid; grid-row: span 3; grid-template-rows: subgrid; row-gap: 0; max-width: 24em; }
.bp-viewer figcaption { align-self: end; font-weight: 600; text-align: center; }
.bp-viewer canvas { display: block; width: 100%; height: auto; image-rendering: pixelated;
  touch-action: pan-x pan-y; cursor: grab; user-select: none; outline: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
.bp-viewer.bp-turning canvas { touch-action: none; }
.bp-viewer button[aria-pressed=true] { outline: 2px solid #0072B2; outline-offset: 1px; font-weight: 600; }
.bp-viewer:fullscreen { background: Canvas; color: CanvasText; padding: 1em; overflow: auto; }
.bp-viewer:fullscreen figure { max-width: 75vh; }
@media (max-width: 30em) {
  .bp-viewer .bp-panels { display: flex; flex-wrap: nowrap; overflow-x: auto; scroll-snap-type: x mandatory; }
  .bp-viewer figure { flex: 0 0 85%; scroll-snap-align: center; }
}
.bp-viewer .bp-words { text-align: center; font-size: 0.9em; line-height: 1.35; font-variant-numeric: tabular-nums; }
.bp-viewer .bp-words span { display: inline-block; }
.bp-viewer input[type=file] { min-width: 0; max-width: 100%; font: inherit; }
.bp-viewer output { min-width: 15em; }
.bp-viewer .bp-message { font-weight: 600; margin: 0.3em 0 0; overflow-wrap: anywhere; }
.bp-viewer .bp-message:empty { display: none; }
.bp-viewer .bp-hint { font-size: 0.9em; line-height: 1.4; margin: 0.4em 0 0; }
`;
const DEGREES = 5; // a press of an arrow key
const STEP = 2 ** 0.25; // a press of + or -

const counted = (n) => n.toLocaleString("en");

function render({ model, el }) {
  const id = unique("viewer");
  const easel = document.createElement("canvas"); // stays off the page; the panels have their own
  let painter = new Painter(easel);

  const files = model.get("files").map((file) => parseFile(file));
  const panels = model.get("panels").map((given) => {
    const canvas = make("canvas", { role: "img" });
    const words = make("div", { class: "bp-words" });
    const figure = make("figure", {}, make("figcaption", {}, given.label), canvas, words);
    return { ...given, own: files[given.file], canvas, words, figure, pen: canvas.getContext("2d") };
  });

  const keys = "Arrow keys turn the view, + and − zoom, Home goes back to the start.";
  const mouse = "Drag a picture to turn the scene; the wheel zooms after a click on a picture, or with Ctrl.";
  const touch = "Two fingers turn and zoom; one finger scrolls the page, or turns the scene once you have pressed Turn.";
  const stage = make(
    "div",
    { class: "bp-panels", tabindex: 0, role: "application", "aria-label": `The scene. ${keys}`, "data-lm-suppress-shortcuts": "true" },
    ...panels.map((p) => p.figure),
  ); // the last attribute keeps JupyterLab from taking the keys
  const output = make("output", { for: id, "aria-live": "polite" });
  const home = button("Back to the start", () => set({ zoom: 1, yaw: 0, pitch: 0 }));
  const turn = button("Turn", () => {
    turn.setAttribute("aria-pressed", root.classList.toggle("bp-turning"));
  });
  turn.setAttribute("aria-pressed", false);
  turn.hidden = !navigator.maxTouchPoints;
  const large = button("Full screen", () => {
    if (document.fullscreenElement === root) document.exitFullscreen();
    else root.requestFullscreen();
  });
  large.hidden = !document.fullscreenEnabled;
  const limits = { min: Math.log2(LEAST), max: Math.log2(MOST), step: 0.125 };
  const { range: zoom, row: zoomRow } = slider(id, "zoom", limits, (at) => zoomTo(2 ** at), output, home, turn, large);
  const picker = make("input", { id: `${id}-file`, type: "file", accept: ".ply,.splat" });
  const own = button("Show the figure's own files again", backToOwn);
  own.hidden = true;
  const message = make("p", { class: "bp-message", role: "status" });
  const root = shell(
    "viewer",
    `${panels.map((p) => p.label).join(", ")} under one camera`,
    STYLE,
    stage,
    zoomRow,
    make("div", { class: "bp-control" }, make("label", { for: picker.id }, "a .ply or .splat file of yours"), picker, own),
    message,
    make("p", { class: "bp-hint" }, `${mouse} ${turn.hidden ? "" : touch} ${keys}`),
    make("p", { class: "bp-caption" }, model.get("caption")),
  );

  // ---- what is shown
  let scene; // { start, target } of the camera
  let sorter; // of the clouds that differ
  let orders; // of their Gaussians, as seen in
  let direction; // the camera's depth row, as text
  let [stale, busy] = [false, false];

  const camera = () => {
    const { yaw, pitch, zoom, size } = Object.fromEntries(["yaw", "pitch", "zoom", "size"].map((k) => [k, model.get(k)]));
    return orbit(scene.start, scene.target, model.get("up"), { yaw, pitch, zoom, size });
  };

  function show(given, at) {
    const filtered = new Map(given.map((cloud) => [cloud, smooth3D(cloud)]));
    const clouds = panels.map((p, i) => (p.method.smooth_3d ? filtered.get(given[i]) : given[i]));
    painter.hold(clouds);
    const different = [...filtered.keys()];
    panels.forEach((p, i) => {
      Object.assign(p, { cloud: clouds[i], which: different.indexOf(given[i]) });
      const parts = p.formula.split(/(?<=,) /).flatMap((part) => [make("span", {}, part), " "]); // lines break at commas first
      p.words.replaceChildren(`${counted(p.cloud.count)} Gaussians`, make("br"), ...parts);
    });
    sorter?.stop();
    sorter = new Sorter(different.map((cloud) => cloud.means));
    [scene, direction] = [at, null];
    refresh();
  }

  // Sort if the direction of view has changed, draw, and begin again if there was a change meanwhile.
  async function draw() {
    if (busy) return;
    busy = true;
    while (stale && sorter) {
      stale = false;
      const [seen, asked] = [camera(), sorter];
      const row = depthRow(seen);
      if (`${row}` !== direction) {
        const found = await Promise.all(asked.all.map((_, i) => asked.order(i, row)));
        if (asked !== sorter) continue; // other clouds have come; they have made this stale
        [orders, direction] = [found, `${row}`];
      }
      const shown = panels.map(({ cloud, method, which, background }) => ({ cloud, method, order: orders[which], background }));
      const pictures = await painter.paint(shown, seen);
      pictures?.forEach((picture, i) => {
        const { canvas, pen } = panels[i];
        if (canvas.width !== picture.width) canvas.width = picture.width;
        if (canvas.height !== picture.height) canvas.height = picture.height;
        pen.putImageData(picture, 0, 0);
      });
    }
    busy = false;
    root.dataset.ready = "yes"; // the pictures are those of the traits
  }

  function refresh() {
    const [z, yaw, pitch] = ["zoom", "yaw", "pitch"].map((name) => model.get(name));
    const words = `zoom ${digits(z)} ×, ${digits(yaw)}° to the right, ${digits(pitch)}° up`;
    zoom.value = Math.log2(z);
    zoom.setAttribute("aria-valuetext", `zoom ${digits(z)}`);
    output.textContent = words;
    for (const p of panels) p.canvas.setAttribute("aria-label", `${p.label}, ${counted(p.cloud.count)} Gaussians, ${words}`);
    root.dataset.ready = "no";
    stale = true;
    draw();
  }

  // ---- controls
  const set = (changes) => put(model, changes);
  const zoomTo = (z) => set({ zoom: between(LEAST, z, MOST) });
  const turnBy = (right, upward) => {
    const [low, high] = model.get("pitch_range");
    const yaw = model.get("yaw") + right;
    set({ yaw: yaw - 360 * Math.round(yaw / 360), pitch: between(low, model.get("pitch") + upward, high) });
  };

  const pressed = {
    ArrowLeft: () => turnBy(-DEGREES, 0), ArrowRight: () => turnBy(DEGREES, 0),
    ArrowUp: () => turnBy(0, DEGREES), ArrowDown: () => turnBy(0, -DEGREES),
    "+": () => zoomTo(model.get("zoom") * STEP), "=": () => zoomTo(model.get("zoom") * STEP),
    "-": () => zoomTo(model.get("zoom") / STEP), "_": () => zoomTo(model.get("zoom") / STEP),
    Home: () => home.click(),
  };
  stage.addEventListener("keydown", (event) => {
    if (!pressed[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    pressed[event.key]();
  });

  const fingers = new Map(); // pointers on a picture: id -> [x, y]
  const held = () => {
    const [a, b = a] = [...fingers.values()];
    return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, spread: Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1])) };
  };
  for (const { canvas } of panels) {
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = held();
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      const after = held();
      if (event.pointerType === "touch" && fingers.size < 2 && !root.classList.contains("bp-turning")) return; // it scrolls
      if (fingers.size > 1) zoomTo((model.get("zoom") * after.spread) / before.spread);
      const degrees = 180 / canvas.getBoundingClientRect().width; // across a picture is half a turn
      turnBy((before.x - after.x) * degrees, (after.y - before.y) * degrees); // the scene follows the finger
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    }
    for (const kind of ["touchstart", "touchmove"]) {
      const ours = (event) => event.touches.length > 1 && event.cancelable && event.preventDefault(); // the page stays
      canvas.addEventListener(kind, ours, { passive: false });
    }
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !stage.matches(":focus")) return; // the page scrolls
      const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
      const z = between(LEAST, model.get("zoom") * 2 ** (-pixels / (event.ctrlKey ? 100 : 400)), MOST);
      if (z === model.get("zoom") && !event.ctrlKey) return; // at its end the page scrolls on
      event.preventDefault();
      zoomTo(z);
    }, { passive: false });
  }

  // ---- files of the reader
  const first = { start: model.get("start"), target: model.get("target") };
  const showOwn = () => show(panels.map((p) => p.own), first);
  let opening = 0;

  async function open(file) {
    if (!file) return;
    const mine = ++opening;
    try {
      if (file.size > 1e9) throw new Error(`it has ${counted(file.size)} bytes, too many for a page`);
      message.textContent = `Reading ${file.name} …`;
      const cloud = parseFile(await file.arrayBuffer(), file.name);
      if (mine !== opening) return; // the reader has chosen another one meanwhile
      const { moved, ...at } = aimAt(cloud, first.start, first.target);
      show(panels.map(() => cloud), at);
      const needs = panels.some((p) => p.method.smooth_3d) && !cloud.phi;
      message.textContent = [
        `${file.name}: ${counted(cloud.count)} Gaussians, spherical harmonics of degree ${cloud.degree}, in every panel.`,
        needs ? "It holds no filter_3D, so that no 3D filter is applied." : "",
        moved ? "The camera has moved to where it sees them." : "",
      ].filter(Boolean).join(" ");
      own.hidden = false;
    } catch (error) {
      if (mine === opening) message.textContent = `${file.name} cannot be shown: ${error.message}.`;
    }
  }

  picker.addEventListener("change", () => open(picker.files[0]));
  function backToOwn() {
    opening++;
    showOwn();
    message.textContent = "";
    picker.value = "";
    own.hidden = true;
  }
  const over = (event, is) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    root.classList.toggle("bp-over", is);
  };
  root.addEventListener("dragover", (event) => over(event, true));
  root.addEventListener("dragleave", (event) => over(event, false));
  root.addEventListener("drop", (event) => {
    over(event, false);
    open(event.dataTransfer?.files[0]);
  });

  // ---- start, and the end
  easel.addEventListener("webglcontextlost", (event) => event.preventDefault()); // so that it may come back
  easel.addEventListener("webglcontextrestored", () => {
    painter = new Painter(easel);
    refresh();
  });
  showOwn();
  const unfollow = follow(model, ["zoom", "yaw", "pitch", "size"], refresh);
  el.replaceChildren(root);
  return () => {
    unfollow();
    sorter.stop();
    sorter = null;
    painter.gl.getExtension("WEBGL_lose_context")?.loseContext();
  };
}

export default { render };
