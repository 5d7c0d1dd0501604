// A picture to damage, and what the model of feedback says of it at once: see damage.py for the traits. The model computes here
// (rahf.js). It looks at the picture after each stroke, and nothing moves by itself.

import { button, choice, follow, make, put, shell, slider, unique } from "../../course/widgets/dom.js";
import { Rahf, sigmoid, wordsOf } from "./rahf.js";
import { STAGE, circle, glow, pointing, stage } from "./stage.js";

const STYLE = `
${STAGE}
.bp-damage .bp-panels { gap: 0.75em 1em; }
.bp-damage figure { flex: 1 1 11em; max-width: 22em; min-width: 8em; }
.bp-damage { container-type: inline-size; }
@container (max-width: 30em) { /* a phone: what one paints on, and below it, side by side, what the model sees */
  .bp-damage .bp-panels { display: grid; grid-template-columns: 1fr 1fr; }
  .bp-damage figure { min-width: 0; }
  .bp-damage figure:first-child { grid-column: 1 / -1; }
}
.bp-damage .bp-value { display: block; font-size: 0.9em; }
.bp-damage button[aria-pressed=true] { border: 2px solid currentColor; font-weight: 600; }
.bp-damage .bp-dab { display: inline-block; width: 0.9em; height: 0.9em; margin-right: 0.35em; vertical-align: -0.1em; }
.bp-damage .bp-prompt { display: flex; flex-wrap: wrap; gap: 0.3em; margin: 0.4em 0; padding: 0; border: 0; }
.bp-damage .bp-said { margin: 0.3em 0; font-size: 1.05em; line-height: 1.9; }
.bp-damage .bp-said span { padding: 0.1em 0.15em; margin-right: 0.2em; border-bottom: 3px solid transparent; }
.bp-damage .bp-said .bp-off { font-weight: 700; border-color: #D55E00; }
.bp-damage table { border-collapse: collapse; width: 100%; max-width: 34em; margin: 0.4em 0; font: inherit; color: inherit; }
.bp-damage td, .bp-damage th { padding: 0.15em 0.5em 0.15em 0; border: 0; background: none; font-weight: 400; text-align: left;
  color: inherit; font-variant-numeric: tabular-nums; }
.bp-damage td:nth-child(2) { width: 45%; }
.bp-damage .bp-bar { position: relative; height: 0.8em; background: color-mix(in srgb, currentColor 15%, transparent); }
.bp-damage .bp-bar i { position: absolute; inset: 0 auto 0 0; background: #0072B2; }
.bp-damage .bp-bar b { position: absolute; top: -0.15em; bottom: -0.15em; width: 2px; background: currentColor; }
`;
const KEYS = "Arrow keys move the brush, with shift by four pixels; space or enter paints.";
const FIRST_NOUN = "kind";

// What a caption's phrases say in words. Nouns follow the count before them.
export function sentence(phrases, table) {
  let many = false;
  return phrases.map(([role, i]) => {
    if (role === "count") many = i > 0;
    return table[role === FIRST_NOUN && many ? "kinds" : role][i];
  });
}

function render({ model, el }) {
  const id = unique("damage");
  const config = model.get("config");
  const size = config.size;
  const table = model.get("table");
  const all = (name) => {
    const bytes = model.get(name);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const [pictures, boards] = [all("pictures"), all("boards")];
  const rahf = new Rahf(config, model.get("tensors"), model.get("weights"));
  const one = 3 * size * size;

  let pixels, phrases, seen, first, queued;
  let answers = 0;
  let [tool, radius, cursor] = ["erase", 4, null];

  // ---- what stands on the page
  const canvas = stage(size, size, { "aria-roledescription": "picture to paint on", "aria-describedby": `${id}-say` });
  const maps = rahf.names("maps").map((name) => {
    const value = make("span", { class: "bp-value" });
    const drawn = stage(size, size);
    return { name, drawn, value, figure: make("figure", {}, make("figcaption", {}, name), drawn.node, value) };
  });
  const scene = choice(`${id}-scene`, "picture", model.get("titles").map((title, i) => [i, title]), (i) => put(model, { scene: Number(i) }));
  const tools = ["erase", "put back", ...table.colour].map((name) => {
    const node = button(name, () => {
      tool = name;
      show();
    });
    const k = table.colour.indexOf(name);
    const dab = make("span", { class: "bp-dab", "aria-hidden": "true", style: k < 0 ? "" : `background:rgb(${model.get("paints")[k]})` });
    if (k >= 0) node.prepend(dab);
    return { name, node };
  });
  const brush = slider(`${id}-brush`, "brush", { min: 1, max: 12, step: 1 }, (r) => {
    radius = r;
    show();
  });
  const prompt = make("fieldset", { class: "bp-prompt", "aria-label": "the prompt, phrase by phrase" });
  const said = make("p", { class: "bp-said" });
  const scores = rahf.names("scores").map((name) => {
    const [bar, tick, value] = [make("i"), make("b"), make("td")];
    const row = make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, make("div", { class: "bp-bar", "aria-hidden": "true" }, bar, tick)), value);
    return { name, bar, tick, value, row };
  });
  const say = make("p", { class: "bp-caption", id: `${id}-say`, role: "status", "aria-live": "polite" });
  const root = shell("damage", "A picture to damage, and what the model says of it", STYLE,
    make("div", { class: "bp-control" }, scene.label, scene.select, button("As it was", () => begin())),
    prompt,
    make("div", { class: "bp-control", role: "group", "aria-label": "what the brush does" }, ...tools.map((t) => t.node)),
    brush.row,
    make("div", { class: "bp-panels" }, make("figure", {}, make("figcaption", {}, "paint here"), canvas.node), ...maps.map((m) => m.figure)),
    said,
    make("table", { "aria-label": "scores, 0 to 1, high is good" }, make("tbody", {}, ...scores.map((s) => s.row))),
    say,
    make("p", { class: "bp-caption" }, model.get("caption")));
  el.replaceChildren(root);

  // ---- painting
  function dab(x, y) {
    const at = model.get("scene") * one;
    const paint = model.get("paints")[table.colour.indexOf(tool)];
    for (let j = Math.max(0, Math.floor(y - radius)); j < Math.min(size, y + radius); j++) {
      for (let i = Math.max(0, Math.floor(x - radius)); i < Math.min(size, x + radius); i++) {
        if ((i + 0.5 - x) ** 2 + (j + 0.5 - y) ** 2 > radius ** 2) continue;
        for (let c = 0; c < 3; c++) {
          const k = 3 * (j * size + i) + c;
          pixels[k] = paint ? paint[c] : (tool === "erase" ? boards : pictures)[at + k];
        }
      }
    }
  }
  let before = null;
  pointing(canvas, size, size, (kind, x, y) => {
    cursor = [x, y];
    if (kind === "down" || kind === "move") {
      const from = kind === "move" && before ? before : [x, y];
      const steps = Math.ceil(Math.hypot(x - from[0], y - from[1])) || 1;
      for (let s = 1; s <= steps; s++) dab(from[0] + ((x - from[0]) * s) / steps, from[1] + ((y - from[1]) * s) / steps);
      before = [x, y];
      seen = null;
      later();
    } else before = null;
    show();
  });

  // ---- what the model says
  const text = () => sentence(phrases, table).join(" ");

  function later() {
    root.dataset.state = "waiting";
    queued ??= setTimeout(() => {
      queued = null;
      answer();
    }, 15); // first the stroke is seen, then its answer
  }

  function answer() {
    seen ??= rahf.see(pixels);
    const out = rahf.answer(seen, text());
    first ??= out;
    const chance = Object.fromEntries(Object.entries(out.scores).map(([name, x]) => [name, sigmoid(x)]));
    for (const { name, drawn, value } of maps) {
      const map = out.maps[name];
      let most = 0;
      for (let i = 0; i < map.length; i++) most = Math.max(most, sigmoid(map[i]));
      drawn.paint((i) => glow(pixels, i, sigmoid(map[i])));
      value.textContent = `highest ${most.toFixed(2)}`;
      drawn.node.setAttribute("aria-label", `heatmap of ${name}, ${value.textContent}`);
    }
    const words = wordsOf(text());
    said.replaceChildren("marked words: ", ...words.flatMap((word, k) => {
      const p = sigmoid(out.words[k]);
      const node = make("span", p > 0.5 ? { class: "bp-off" } : {}, p > 0.5 ? `${word}_0` : word);
      node.title = `misaligned: ${p.toFixed(2)}`;
      return [node, " "]; // the space is where lines may break
    }));
    for (const { name, bar, tick, value } of scores) {
      const was = sigmoid(first.scores[name]);
      bar.style.width = `${100 * chance[name]}%`;
      tick.style.left = `${100 * was}%`;
      value.textContent = chance[name].toFixed(2) + (out === first ? "" : `, was ${was.toFixed(2)}`);
    }
    const off = words.filter((_, k) => out.words[k] > 0);
    say.textContent = `${scores.map(({ name, value }) => `${name} ${value.textContent}`).join("; ")}. `
      + (off.length ? `Words not honoured: ${off.join(", ")}.` : "No word is marked.");
    answers += 1;
    Object.assign(root.dataset, { ready: "yes", state: "answered", answers, prompt: text(),
      scores: JSON.stringify(chance), words: JSON.stringify(out.words.map(sigmoid)),
      highest: JSON.stringify(maps.map(({ value }) => value.textContent)) }); // for tests
  }

  function show() {
    canvas.paint((i) => [pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]]);
    canvas.mark(cursor ? circle(...cursor, radius) : "");
    canvas.node.setAttribute("aria-label", `Picture for “${text()}”, to paint on. ${KEYS}`);
    for (const { name, node } of tools) node.setAttribute("aria-pressed", String(name === tool));
    brush.range.value = radius;
    brush.range.setAttribute("aria-valuetext", `${radius} pixels to each side`);
  }

  function ask() {
    const words = sentence(phrases, table);
    prompt.replaceChildren(...phrases.map(([role, i], k) => {
      const many = table[role] !== undefined && role === FIRST_NOUN && words[k] !== table.kind[i];
      const options = table[many ? "kinds" : role].map((word, n) => [n, word]);
      const made = choice(`${id}-phrase-${k}`, role, options, (n) => {
        phrases[k] = [role, Number(n)];
        ask();
        prompt.querySelectorAll("select")[k].focus();
        show();
        later();
      });
      made.select.value = i;
      made.select.setAttribute("aria-label", role);
      return made.select;
    }));
  }

  function begin() {
    const at = model.get("scene");
    scene.select.value = at;
    pixels = pictures.slice(at * one, (at + 1) * one);
    phrases = model.get("phrases")[at].map(([role, i]) => [role, i]);
    [seen, first, cursor, before] = [null, null, null, null];
    ask();
    show();
    later();
  }

  begin();
  const end = follow(model, ["scene"], begin);
  return () => {
    clearTimeout(queued);
    end();
  };
}

export default { render };
