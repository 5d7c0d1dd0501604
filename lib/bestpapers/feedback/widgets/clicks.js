// Mark what is wrong with a picture, as the annotators did, and see what a panel of three says: see clicks.py for the traits.
// Nothing moves by itself.

import { button, choice, follow, make, put, shell, unique } from "../../course/widgets/dom.js";
import { cc } from "./measures.js";
import { wordsOf } from "./rahf.js";
import { STAGE, circle, glow, pointing, stage } from "./stage.js";

const STYLE = `
${STAGE}
.bp-clicks figure { flex: 1 1 11em; max-width: 22em; min-width: 8em; }
.bp-clicks button[aria-pressed=true] { border: 2px solid currentColor; font-weight: 600; }
.bp-clicks table { border-collapse: collapse; margin: 0.5em 0; font: inherit; color: inherit; }
.bp-clicks td, .bp-clicks th { padding: 0.15em 0.8em 0.15em 0; border: 0; background: none; font-weight: 400; text-align: left;
  color: inherit; }
`;
const KEYS = "Arrow keys move the cross, with shift by four pixels; space or enter marks a place, or takes back the mark there.";

// The mean over people of the discs round each one's points [[x, y]]: values [H * W] (panel.heatmap).
export function heatmap(people, H, W, radius) {
  const out = new Float64Array(H * W);
  const limit = radius * radius * (1 + 1e-9);
  for (const points of people) {
    for (let i = 0; i < H * W; i++) {
      if (points.some(([x, y]) => ((i % W) - x) ** 2 + (Math.floor(i / W) - y) ** 2 <= limit)) out[i] += 1 / people.length;
    }
  }
  return out;
}

function render({ model, el }) {
  const id = unique("clicks");
  const [[H, W], radius, asked] = [model.get("size"), model.get("radius"), model.get("asked")];
  const bytes = model.get("pictures");
  const pictures = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kinds = asked.maps;
  let mine, kind, open, cursor;

  const picture = stage(H, W, { "aria-describedby": `${id}-say` });
  const panel = stage(H, W);
  const scene = choice(`${id}-scene`, "picture", model.get("prompts").map((p, i) => [i, p]), (i) => put(model, { scene: Number(i) }));
  const pens = kinds.map((name) => button(name, () => {
    kind = name;
    draw();
  }));
  const words = make("div", { class: "bp-control", role: "group", "aria-label": "words that the picture does not honour" });
  const answers = asked.scores.map((name, k) => {
    const made = choice(`${id}-${name}`, name, [["", "–"], ...[1, 2, 3, 4, 5].map((x) => [x, `${x}`])], (x) => {
      mine.likert[k] = x;
      draw();
    });
    const theirs = make("td");
    return { ...made, theirs, row: make("tr", {}, make("th", { scope: "row" }, made.label), make("td", {}, made.select), theirs) };
  });
  const show = button("", () => {
    open = !open;
    draw();
  });
  const clear = button("Take all back", () => begin());
  const say = make("p", { class: "bp-caption", id: `${id}-say`, role: "status", "aria-live": "polite" });
  const root = shell("clicks", "Annotate a picture", STYLE,
    make("div", { class: "bp-control" }, scene.label, scene.select),
    make("div", { class: "bp-control", role: "group", "aria-label": "what a click marks" }, ...pens, clear),
    make("div", { class: "bp-panels" }, make("figure", {}, make("figcaption", {}, "your marks"), picture.node),
      make("figure", {}, make("figcaption", {}, "the panel’s heatmap"), panel.node)),
    words,
    make("table", {}, make("thead", {}, make("tr", {}, ...["1 worst, 5 best", "you", "the panel"].map((t) => make("th", { scope: "col" }, t)))),
      make("tbody", {}, ...answers.map((a) => a.row))),
    make("div", { class: "bp-control" }, show), say, make("p", { class: "bp-caption" }, model.get("caption")));
  el.replaceChildren(root);

  pointing(picture, H, W, (what, x, y) => {
    cursor = [x, y];
    if (what === "down") {
      const points = mine.points[kind];
      const [px, py] = [x - 0.5, y - 0.5];
      const near = points.findIndex(([a, b]) => Math.hypot(a - px, b - py) < radius / 2);
      if (near >= 0) points.splice(near, 1);
      else points.push([px, py]);
    }
    draw();
  });

  function draw() {
    const at = model.get("scene");
    const theirs = model.get("answers")[at];
    const prompt = model.get("prompts")[at];
    const pixels = pictures.subarray(3 * at * H * W, 3 * (at + 1) * H * W);
    const own = heatmap([mine.points[kind]], H, W, radius);
    const other = heatmap(theirs.points[kind], H, W, radius);
    picture.paint((i) => (own[i] ? glow(pixels, i, 0.45) : pixels.subarray(3 * i, 3 * i + 3)));
    panel.paint((i) => glow(pixels, i, open ? other[i] : 0));
    picture.mark(cursor ? circle(...cursor, 1) : "");
    pens.forEach((pen, k) => pen.setAttribute("aria-pressed", String(kinds[k] === kind)));
    const majority = mine.words.map((_, k) => 2 * theirs.misaligned.filter((marks) => marks[k]).length > theirs.misaligned.length);
    [...words.children].forEach((node, k) => {
      node.setAttribute("aria-pressed", String(mine.words[k]));
      node.textContent = wordsOf(prompt)[k] + (open && majority[k] ? " (panel: misaligned)" : "");
    });
    answers.forEach(({ theirs: cell }, k) => (cell.textContent = open ? theirs.likert.map((person) => person[k]).join(", ") : "hidden"));
    show.textContent = open ? "Hide the panel’s answer" : "Show the panel’s answer";
    const match = cc(own, other);
    const count = mine.points[kind].length;
    const yours = `You marked ${count} ${count === 1 ? "place" : "places"} of ${kind}.`;
    const agree = Number.isNaN(match) ? "The panel marked none." : `Correlation with the panel’s heatmap: ${match.toFixed(2).replace("-", "−")}.`;
    const same = mine.words.filter((marked, k) => marked === majority[k]).length;
    say.textContent = open ? `${yours} ${agree} You agree on ${same} of ${majority.length} words.` : yours;
    picture.node.setAttribute("aria-label", `Picture for “${prompt}”, to mark ${kind} on. ${KEYS}`);
    panel.node.setAttribute("aria-label", open ? `Heatmap of ${kind} of the panel.` : "The panel’s heatmap, hidden.");
    Object.assign(root.dataset, { ready: "yes", points: JSON.stringify(mine.points), match: Number.isNaN(match) ? "" : match });
  }

  function begin() {
    const at = model.get("scene");
    const list = wordsOf(model.get("prompts")[at]);
    mine = { points: Object.fromEntries(kinds.map((name) => [name, []])), words: list.map(() => false), likert: [] };
    [kind, open, cursor] = [kinds[0], false, null];
    words.replaceChildren(...list.map((_, k) => button("", () => {
      mine.words[k] = !mine.words[k];
      draw();
    })));
    for (const { select } of answers) select.value = "";
    scene.select.value = at;
    draw();
  }

  begin();
  return follow(model, ["scene"], begin);
}

export default { render };
