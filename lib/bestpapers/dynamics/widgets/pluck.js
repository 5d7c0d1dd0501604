// A still picture that one can pull: drag any part that moves, let go, watch it ring; or let the wind's loop play. See pluck.py
// for the traits. The volume (pluck/volume.js) says how each point moves with each mode, the modes (pluck/modes.js) swing by
// their closed form, the painter (pluck/painter.js) draws. It draws only while something moves and can be seen.

import { between, button, dataURL, digits, follow, make, put, shell, slider, unique } from "../../course/widgets/dom.js";
import { Modes, answer, axes } from "./pluck/modes.js";
import { Painter } from "./pluck/painter.js";
import { Volume, readGrey } from "./pluck/volume.js";

const STYLE = `
.bp-pluck .bp-stage { position: relative; width: 100%; max-width: 52em; overflow: hidden; border-radius: 4px; touch-action: manipulation;
  user-select: none; -webkit-user-select: none; -webkit-touch-callout: none; outline-offset: 2px; }
.bp-pluck .bp-stage:focus-visible { outline: 3px solid #0072B2; }
.bp-pluck .bp-stage > * { position: absolute; inset: 0; width: 100%; height: 100%; display: block; margin: 0; pointer-events: none; }
.bp-pluck .bp-stage svg { overflow: visible; }
.bp-pluck .bp-arrow path { fill: none; stroke-linecap: round; }
.bp-pluck .bp-say { min-height: 2.8em; margin: 0.3em 0; line-height: 1.4; font-variant-numeric: tabular-nums; }
.bp-pluck .bp-sliders { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15em), 1fr)); gap: 0 1.5em; }
.bp-pluck .bp-sliders .bp-control { flex-wrap: nowrap; }
.bp-pluck .bp-sliders label { min-width: 4.2em; }
.bp-pluck .bp-sliders output { min-width: 3.4em; text-align: right; }
.bp-pluck details { margin: 0.4em 0; padding: 0; border: 0; background: none; box-shadow: none; }
.bp-pluck summary { cursor: pointer; padding: 0.3em 0; font: inherit; color: inherit; background: none; }
.bp-pluck .bp-bands { display: grid; grid-template-columns: repeat(auto-fit, minmax(2.5em, 1fr)); gap: 0.5em 0.15em; }
.bp-pluck .bp-band { display: flex; flex-direction: column; align-items: center; min-width: 0; }
.bp-pluck .bp-band > div { position: relative; height: 5.5em; width: 100%; display: flex; justify-content: center; }
.bp-pluck .bp-band i { position: absolute; left: calc(50% - 1.1em); bottom: 0; width: 0.35em; height: 100%; background: #D55E00;
  transform: scaleY(0); transform-origin: bottom; border-radius: 2px; }
.bp-pluck .bp-band input { writing-mode: vertical-lr; direction: rtl; flex: none; width: 1.6em; min-width: 0; height: 100%;
  touch-action: none; }
.bp-pluck .bp-band button { padding: 0.1em 0; width: 100%; min-height: 1.9em; font-size: 0.85em; }
.bp-pluck button[aria-pressed=false] { opacity: 0.75; text-decoration: line-through; border-style: dashed; }
.bp-pluck .bp-message { font-weight: 600; margin: 0.4em 0; }
.bp-pluck img { border-radius: 0; }
`;
const REST = 0.03; // px: what moves less has come to rest
const LONGEST = 0.1; // s: a frame that took longer counts as this, so that a page in the background does not jump
const LEAST = 0.04; // of the largest weight: what moves less cannot be pulled
const REACH = 0.05; // of the picture's width: how far beside something that moves a finger may land
const FARTHEST = 0.2; // of the picture's smaller side: no point may be pulled farther than this, wherever it is
const TAP = 0.04; // of the smaller side: how far a tap sends the point
const STEP = 0.02; // of the width: a press of an arrow key
const MORE = 4; // such steps with the shift key
const SLOP = 4; // CSS px: what moves less than this is a tap

const KEYS = "Arrow keys move the handle; Enter or space takes hold, arrow keys pull, Enter or space lets go, Escape puts back.";

async function render({ model, el }) {
  const id = unique("pluck");
  const [H, W] = model.get("size");
  const step = model.get("step");
  const quiet = matchMedia("(prefers-reduced-motion: reduce)");

  // ---- what stands on the page
  const canvas = make("canvas", { "aria-hidden": "true" });
  const still = make("img", { src: dataURL(model.get("picture"), "image/webp"), alt: model.get("alt"), draggable: "false" });
  const rod = [["#000", 5], ["#fff", 2.5]].map(([stroke, width]) =>
    make("path", { stroke, "stroke-width": width, "vector-effect": "non-scaling-stroke" }));
  const arrow = make("svg", { class: "bp-arrow", viewBox: `-0.5 -0.5 ${W} ${H}`, "aria-hidden": "true" }, ...rod);
  const stage = make("div", {
    class: "bp-stage", tabindex: 0, role: "application", "aria-roledescription": "picture to pull", style: `aspect-ratio:${W}/${H}`,
    "aria-label": `${model.get("alt")} ${KEYS}`, "aria-describedby": `${id}-say`, "data-lm-suppress-shortcuts": "true",
  }, still, canvas, arrow); // the last attribute keeps JupyterLab from taking the keys
  const say = make("p", { class: "bp-say", id: `${id}-say`, role: "status", "aria-live": "polite" });
  const play = button("", () => (playing() ? pause() : wind()));
  const calm = button("Come to rest", () => settle("At rest."));
  const log = (name, trait, low, high) => {
    const output = make("output", { for: `${id}-${trait}` });
    const limits = { min: Math.log2(low), max: Math.log2(high), step: 0.25 };
    const made = slider(`${id}-${trait}`, name, limits, (x) => put(model, { [trait]: 2 ** x }), output);
    return { ...made, trait, show: () => {
      const [x, words] = [Math.log2(model.get(trait)), `× ${digits(model.get(trait))}`];
      made.range.value = x;
      made.range.setAttribute("aria-valuetext", `${name} ${words}`);
      output.textContent = words;
    } };
  };
  const sliders = [log("damping", "damping", 1 / 16, 4), log("speed", "speed", 1 / 8, 2), log("strength", "gain", 1 / 4, 4)];
  const bands = model.get("bands").map((_, k) => {
    const hertz = k ? `${digits(step * k)}` : "lean";
    const name = k ? `${hertz} hertz` : "lean of the loop";
    const range = make("input", { type: "range", min: 0, max: 2, step: 0.1, "aria-label": name, orient: "vertical" });
    const toggle = button(hertz, () => change(k, model.get("bands")[k] ? 0 : 1));
    const meter = make("i", { "aria-hidden": "true" });
    range.addEventListener("input", () => change(k, Number(range.value)));
    return { range, toggle, meter, name, node: make("div", { class: "bp-band" }, make("div", {}, meter, range), toggle) };
  });
  const change = (k, value) => put(model, { bands: model.get("bands").map((old, i) => (i === k ? value : old)) });
  const all = (of) => put(model, { bands: model.get("bands").map((_, k) => of(k)) });
  const equaliser = make("details", model.get("equaliser") ? { open: "" } : {},
    make("summary", {}, `${bands.length} bands: an equaliser for motion`),
    make("div", { class: "bp-bands", role: "group", "aria-label": "how loud each frequency is" }, ...bands.map((b) => b.node)),
    make("div", { class: "bp-control" },
      button("All", () => all(() => 1)), button("Slow ones", () => all((k) => Number(k <= 3))),
      button("Fast ones", () => all((k) => Number(k === 0 || k > 3)))),
    make("p", { class: "bp-caption" },
      `Each band is one mode of motion; the numbers are hertz, a click on one switches it off or on. “lean” is what the loop adds `
      + "so that it begins with the picture. Orange: how much each band moves now."));
  const more = make("div", { class: "bp-sliders" }, ...sliders.map((s) => s.row));
  const root = shell("pluck", "A picture to pull", STYLE, stage, say, make("div", { class: "bp-control" }, play, calm),
    ...(model.get("compact") ? [make("details", {}, make("summary", {}, "Damping, speed, strength"), more)] : [more, equaliser]),
    make("p", { class: "bp-caption" }, model.get("caption")));
  if (model.get("compact")) root.querySelector("details").append(equaliser);
  el.replaceChildren(root);

  // ---- the moving picture, if this browser can draw it
  let [volume, painter] = [];
  let redraw = () => {};
  function aim() {
    painter = new Painter(canvas, still, volume);
    painter.easel.addEventListener("webglcontextlost", lost);
    painter.easel.addEventListener("webglcontextrestored", restored);
    painter.fit(stage.clientWidth);
  }
  function lost(event) {
    event.preventDefault(); // so that it may come back
    [still.style.visibility, canvas.style.visibility] = ["", "hidden"];
  }
  function restored() {
    aim();
    [still.style.visibility, canvas.style.visibility] = ["hidden", ""];
    redraw();
  }
  try {
    await still.decode();
    volume = new Volume(await readGrey(model.get("volume")), model.get("scales"), model.get("grid"), [H, W]);
    aim();
  } catch (error) {
    for (const node of root.querySelectorAll("input, button")) node.disabled = true;
    stage.removeAttribute("tabindex");
    stage.setAttribute("role", "img");
    canvas.remove();
    say.textContent = `The picture stands still here: moving it takes WebGL2 and decompression, which this browser does not offer or `
      + `has switched off (${error.message}).`;
    Object.assign(root.dataset, { ready: "yes", state: "still" });
    return;
  }
  still.style.visibility = "hidden";
  const modes = new Modes(volume.modes, step, model.get("alpha"), model.get("beta"));
  const field = new Float32Array(2 * volume.cells);
  const trial = new Float32Array(2 * volume.cells);
  let held = null; // { point, from: where it was, base: states, s, pulls, pull: [x, y], q, cursor }
  let last = null; // the point that was pulled last
  let handle = [W / 2, H / 2]; // of the keyboard
  let blown = 0; // s of the loop that have passed
  let [windy, frozen] = [false, false]; // does the loop blow; does its time stand still
  let [running, visible, before] = [0, true, 0]; // the frame that is asked for; can one see it; the time of the one before

  const playing = () => windy && !frozen;
  const loud = () => model.get("bands").slice(1, volume.modes + 1);
  const strength = () => (2 / model.get("frames")) * model.get("gain"); // of the loop: the inverse transform of one-sided slices

  // F = Re sum_k (a_k + i b_k) S_k, what is seen now
  function coefficients() {
    const [w, lean, L] = [loud(), model.get("bands")[0], windy ? strength() : 0];
    const states = held ? held.base.map(([r, i], k) => [r + held.q[k][0], i + held.q[k][1]]) : modes.now();
    const angle = (k) => modes.omega[k] * blown;
    const a = states.map(([r], k) => w[k] * (r + L * Math.cos(angle(k))) - L * lean);
    const b = states.map(([, i], k) => w[k] * (i + L * Math.sin(angle(k))));
    return [a, b];
  }

  function paint() {
    const [a, b] = coefficients();
    volume.field(a, b, field);
    painter.draw(field);
    bands.forEach(({ meter }, k) => {
      const size = k ? Math.hypot(a[k - 1] + (windy ? strength() * model.get("bands")[0] : 0), b[k - 1]) * (volume.largest[k - 1] ?? 0) : 0;
      meter.style.transform = `scaleY(${Math.min(1, Math.sqrt(size / (FARTHEST * Math.min(W, H)))).toFixed(3)})`;
    });
    const now = last ? volume.sample(field, last) : [0, 0];
    point(now);
    const four = (x) => x.toFixed(4);
    Object.assign(root.dataset, {
      state: held ? "held" : windy ? (frozen ? "paused" : "loop") : swinging() ? "ringing" : "rest",
      point: last ? last.map(four).join() : "", displacement: now.map(four).join(), time: four(windy ? blown : modes.time),
    }); // for tests: px of the picture, s
  }

  const swinging = () => modes.now().some(([r, i, vr, vi], k) =>
    loud()[k] && (Math.hypot(r, i) + Math.hypot(vr, vi) / modes.omega[k]) * volume.largest[k] * loud()[k] > REST / volume.modes);

  // The handle, and the rod from where the point was
  function point([x, y]) {
    const focus = stage.matches(":focus-visible") || held;
    const p = held ? held.point : handle;
    const [cx, cy] = held ? [p[0] + x, p[1] + y] : p;
    const r = W / 60;
    const ring = `M${cx - r} ${cy}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
    const from = held ? `M${held.from[0]} ${held.from[1]}L${cx} ${cy}` : `M${cx - 2 * r} ${cy}h${r}m${2 * r} 0h${r}M${cx} ${cy - 2 * r}v${r}m0 ${2 * r}v${r}`;
    for (const path of rod) path.setAttribute("d", focus ? `${ring}${from}` : "");
  }

  function frame(time) {
    running = 0;
    const dt = before ? Math.min(LONGEST, Math.max(0, time - before) / 1000) * model.get("speed") : 0;
    before = time;
    if (!held && !(windy && frozen)) {
      modes.time += dt;
      if (windy) blown += dt;
    }
    paint();
    if (held || (windy && frozen)) before = 0;
    else if (windy || swinging()) return go();
    else settle("It has come to rest.");
  }

  function go() {
    if (running || !visible) return;
    running = requestAnimationFrame(frame);
  }

  redraw = () => {
    if (!running) paint();
  };

  function words(text) {
    if (say.textContent !== text) say.textContent = text;
  }

  // ---- rest and wind
  function settle(text) {
    modes.rest();
    [held, windy, frozen, before, blown] = [null, false, false, 0, 0];
    cancelAnimationFrame(running);
    running = 0;
    show();
    paint();
    words(text);
  }

  function wind() {
    if (!windy) blown = 0;
    [held, windy, frozen] = [null, true, false];
    if (model.get("mode") !== "loop") put(model, { mode: "loop" });
    words(`The loop plays: ${digits(1 / step)} seconds that end where they begin. Take hold of something and the wind drops.`);
    show();
    go();
  }

  function pause() {
    frozen = true;
    before = 0;
    words("The loop stands still.");
    show();
    redraw();
  }

  // The wind drops: what it moved swings on freely from where it is
  function lull() {
    const [L, w, lean] = [strength(), loud(), model.get("bands")[0]];
    if (windy) {
      modes.begin(([r, i, vr, vi], k) => {
        const [c, s, omega] = [L * Math.cos(modes.omega[k] * blown), L * Math.sin(modes.omega[k] * blown), modes.omega[k]];
        return [r + c - (w[k] ? (L * lean) / w[k] : 0), i + s, vr - omega * s, vi + omega * c];
      });
      [windy, frozen] = [false, false];
    }
    if (model.get("mode") !== "touch") put(model, { mode: "touch" });
  }

  // ---- pulling
  function grab(x, cursor = x) {
    const found = volume.pick(x, field, LEAST, REACH * W);
    if (!found) return false;
    lull();
    const s = volume.at(found);
    const pulls = axes(s, loud()).filter(({ gives }) => gives > 0).map(({ axis, gives }) => {
      const q = answer(s, axis).map(([r, i]) => [r / gives, i / gives]); // moves the point by 1 px along the axis
      volume.field(q.map(([r], k) => loud()[k] * r), q.map(([, i], k) => loud()[k] * i), trial);
      let most = 0;
      for (let i = 0; i < volume.cells; i++) most = Math.max(most, trial[i] ** 2 + trial[volume.cells + i] ** 2);
      return { axis, q, farthest: (FARTHEST * Math.min(W, H)) / Math.sqrt(most) };
    });
    const at = volume.sample(field, found);
    held = { point: found, from: [found[0] + at[0], found[1] + at[1]], base: modes.now(), s, pulls, pull: [0, 0], cursor };
    last = found;
    pull([0, 0]);
    show();
    return true;
  }

  // The point goes where the cursor goes; along an axis in which it hardly gives, only as far as nothing else flies away.
  function pull([x, y]) {
    held.pull = [x, y];
    held.q = held.base.map(() => [0, 0]);
    held.limited = false;
    for (const { axis, q, farthest } of held.pulls) {
      const wanted = model.get("gain") * (x * axis[0] + y * axis[1]);
      const size = between(-farthest, wanted, farthest);
      held.limited ||= Math.abs(wanted - size) > 0.5;
      q.forEach(([r, i], k) => {
        held.q[k][0] += size * r;
        held.q[k][1] += size * i;
      });
    }
    cancelAnimationFrame(running);
    running = 0;
    before = 0;
    go();
  }

  const where = ([x, y]) => `${Math.round(Math.abs(x))} pixels ${x < 0 ? "left" : "right"} and ${Math.round(Math.abs(y))} ${y < 0 ? "up" : "down"}`;
  const tell = () => words(`Held, pulled ${where(held.pull)}.` + (held.limited ? " It gives no more that way." : "") + " Let go and it rings.");

  function release() {
    const { base, q, pull } = held;
    modes.begin((_, k) => [base[k][0] + q[k][0], base[k][1] + q[k][1], 0, 0]);
    held = null;
    words(`Let go after a pull ${where(pull)}: it rings, each mode with its own frequency, until the damping has taken all.`);
    show();
    before = 0;
    go();
  }

  // A tap is a push: no way, but speed, so that it comes a quarter of a period later
  function tap(states) {
    const { s } = held;
    const [{ axis }] = axes(s, loud());
    const pushes = answer(s, axis[0] < 0 ? axis.map((x) => -x) : axis);
    const far = s.reduce((sum, _, k) => sum + (loud()[k] * (pushes[k][0] ** 2 + pushes[k][1] ** 2)) / modes.omega[k], 0);
    const size = far ? (TAP * Math.min(W, H) * model.get("gain")) / far : 0;
    held = null;
    modes.begin((_, k) => [states[k][0], states[k][1], states[k][2] + size * pushes[k][0], states[k][3] + size * pushes[k][1]]);
    words("Tapped: a push instead of a pull.");
    show();
    before = 0;
    go();
  }

  // ---- mouse, finger, pen
  const inPicture = (event) => {
    const box = stage.getBoundingClientRect();
    return [((event.clientX - box.left) * W) / box.width - 0.5, ((event.clientY - box.top) * H) / box.height - 0.5];
  };
  let pointer = null; // { id, x, y, far: has it moved }
  stage.addEventListener("pointerdown", (event) => {
    if (event.button || pointer) return;
    const x = inPicture(event);
    handle = x;
    if (!grab(x)) {
      words("Nothing moves here. Try a part that the wind can reach.");
      return redraw();
    }
    pointer = { id: event.pointerId, x: event.clientX, y: event.clientY, far: false };
    stage.setPointerCapture(event.pointerId);
    words("Held. Pull, then let go.");
  });
  stage.addEventListener("pointermove", (event) => {
    const x = inPicture(event);
    if (pointer?.id !== event.pointerId) {
      if (!pointer) stage.style.cursor = volume.pick(x, field, LEAST, REACH * W) ? "grab" : "default";
      return;
    }
    pointer.far ||= Math.hypot(event.clientX - pointer.x, event.clientY - pointer.y) > SLOP;
    stage.style.cursor = "grabbing";
    if (pointer.far && held) pull([x[0] - held.cursor[0], x[1] - held.cursor[1]]);
  });
  const lift = (event) => {
    if (pointer?.id !== event.pointerId) return;
    const { far } = pointer;
    pointer = null;
    stage.style.cursor = "grab";
    if (!held) return;
    if (far || event.type !== "pointerup") release();
    else tap(held.base);
  };
  stage.addEventListener("pointerup", lift);
  stage.addEventListener("pointercancel", lift);
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  // A finger on what moves pulls it; beside it, it scrolls the page as elsewhere.
  stage.addEventListener("touchstart", (event) => {
    const touch = event.touches.length === 1 && event.touches[0];
    if (held || (touch && volume.pick(inPicture(touch), field, LEAST, REACH * W))) event.preventDefault();
  }, { passive: false });

  // ---- keys
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || pointer) return;
    const by = arrows[event.key]?.map((x) => x * STEP * W * (event.shiftKey ? MORE : 1));
    const take = event.key === "Enter" || event.key === " ";
    if (!by && !take && !(event.key === "Escape" && held)) return;
    event.preventDefault();
    event.stopPropagation();
    if (by && held) {
      pull([held.pull[0] + by[0], held.pull[1] + by[1]]);
      tell();
    } else if (by) {
      handle = [between(0, handle[0] + by[0], W - 1), between(0, handle[1] + by[1], H - 1)];
      const can = volume.pick(handle, field, LEAST, REACH * W);
      words(`Handle at ${Math.round((100 * handle[0]) / W)} % from the left, ${Math.round((100 * handle[1]) / H)} % from the top: `
        + (can ? "something that moves." : "nothing moves here."));
      redraw();
    } else if (event.key === "Escape") settle("Put back.");
    else if (event.repeat) return;
    else if (held) release();
    else if (grab(handle)) words("Held. Arrow keys pull, Enter or space lets go.");
    else words("Nothing moves here. Move the handle with the arrow keys.");
  });
  stage.addEventListener("focus", redraw);
  stage.addEventListener("blur", () => (held && !pointer ? release() : redraw()));

  // ---- controls
  function show() {
    play.textContent = playing() ? "Pause the loop" : "Play the loop";
    for (const s of sliders) s.show();
    const values = model.get("bands");
    bands.forEach(({ range, toggle, name }, k) => {
      range.value = values[k];
      range.setAttribute("aria-valuetext", values[k] ? `× ${digits(values[k])}` : "off");
      toggle.setAttribute("aria-pressed", String(values[k] > 0));
      toggle.setAttribute("aria-label", `${name} on`);
    });
  }
  const unfollow = [
    follow(model, ["damping"], () => {
      modes.set(model.get("damping"));
      show();
    }),
    follow(model, ["speed"], show),
    follow(model, ["gain", "bands"], () => {
      show();
      if (held) pull(held.pull);
      else redraw();
      if (!held && !(windy && frozen)) go();
    }),
    follow(model, ["mode"], () => {
      if (model.get("mode") === "loop" && !windy) wind();
      else if (model.get("mode") === "touch" && windy) {
        lull();
        show();
        go();
      }
    }),
  ];

  // ---- start, and the end
  const sized = new ResizeObserver(() => {
    painter.fit(stage.clientWidth);
    redraw();
  });
  const seen = new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    before = 0;
    if (visible && (windy ? !frozen : swinging())) go();
    else if (!visible) {
      cancelAnimationFrame(running);
      running = 0;
    }
  });
  modes.damping = model.get("damping");
  settle("");
  words("Drag any part that moves, then let go. A tap pushes it.");
  if (model.get("mode") === "loop") {
    if (!quiet.matches && model.get("playing")) wind();
    else words("You asked for less motion, so the picture stands still until you pull it or play the loop.");
  }
  sized.observe(stage);
  seen.observe(stage);
  root.dataset.ready = "yes";
  return () => {
    unfollow.forEach((end) => end());
    cancelAnimationFrame(running);
    sized.disconnect();
    seen.disconnect();
    painter.gl.getExtension("WEBGL_lose_context")?.loseContext();
  };
}

export default { render };
