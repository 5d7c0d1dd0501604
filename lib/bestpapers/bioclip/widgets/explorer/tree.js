// The tree of the labels: branches as wide as their probability, walked by arrow keys.

import { button, key, make, put } from "../../../course/widgets/dom.js";
import { RANKS, short, starts } from "./taxa.js";

const WIDEST = 16; // px, a branch that has all the probability

// A line that screen readers hear change while `area` has the focus, and not whenever a control elsewhere changes it too.
export function spokenBy(area, name) {
  const line = make("p", { class: name, "aria-live": "off" });
  area.addEventListener("focus", () => line.setAttribute("aria-live", "polite"));
  area.addEventListener("blur", () => line.setAttribute("aria-live", "off"));
  return line;
}

// The tree of the labels: every path once, with the probability of all labels that begin so.
function grow(p, own) {
  const grown = new Map();
  own.forEach(({ path }, i) => {
    for (let depth = 1; depth <= path.length; depth++) {
      const name = path.slice(0, depth).join("\n");
      if (!grown.has(name)) grown.set(name, { path: path.slice(0, depth), p: 0, children: [], count: 0 });
      grown.get(name).p += p[i];
      grown.get(name).count += 1;
    }
  });
  const roots = [];
  for (const node of grown.values()) {
    node.parent = grown.get(node.path.slice(0, -1).join("\n")) ?? null;
    (node.parent?.children ?? roots).push(node);
  }
  return { grown, roots };
}

// { parts, to be put on the page; draw; fit: to be called when the width may have changed; area: what has that width }
export function treeOf({ model, labels, species, firstSpecies, picture }) {
  const svg = make("svg", { "aria-hidden": "true" });
  const treeKeys = "Arrow keys walk along the branches.";
  const tree = make("div", { tabindex: 0, role: "application" }, svg);
  const treeWords = spokenBy(tree, "bp-here");
  const few = make("div", { class: "bp-few" });
  const useThese = button("", () => {
    const path = here.path;
    put(model, { labels: species.map((_, i) => firstSpecies + i).filter((i) => starts(labels[i].path, path)) });
  });
  const without = button("", () => {
    const path = here.path;
    put(model, { labels: model.get("labels").filter((i) => !starts(labels[i].path, path)) });
    tree.focus(); // the button may have gone
  });
  let [nodes, here] = [new Map(), null]; // of the tree of labels, by path
  const entry = (name, words) =>
    key(make("path", { class: name, d: "M0 6H32", "stroke-width": 9 }), words, "0 0 32 12"); // a width in STYLE comes first

  let latest = null;

  // p: probabilities of the labels `own`; result: { path, p } or null; words: the answer, for who cannot see the tree
  function redraw(...given) {
    latest = given;
    const [p, own, truth, result, words] = given;
    const { grown, roots } = grow(p, own);
    nodes = grown;
    const width = Math.max(280, tree.clientWidth || 700);
    const leaves = [...grown.values()].filter((node) => !node.children.length).length;
    const row = Math.min(24, Math.max(3.4, 440 / Math.max(1, leaves)));
    const top = 24;
    const height = top + Math.max(row * leaves, 30) + 8;
    const column = (width - 12) / 6.5;
    const X = (depth) => 4 + column * (depth + 0.5);
    let next = 0;
    const lay = (node) => {
      node.children.forEach(lay);
      node.x = X(node.path.length - 1);
      node.y = node.children.length
        ? (node.children[0].y + node.children.at(-1).y) / 2
        : top + row * (next++ + 0.5);
    };
    roots.forEach(lay);
    const trunk = { x: 4, y: roots.length ? (roots[0].y + roots.at(-1).y) / 2 : top };
    const link = (node) => {
      const from = node.parent ?? trunk;
      const end = from.x + 0.8 * (node.x - from.x);
      const [x0, y0, middle, x1, y1] = [from.x, from.y, (from.x + end) / 2, end, node.y].map((v) => v.toFixed(1));
      return `M${x0} ${y0}C${middle} ${y0} ${middle} ${y1} ${x1} ${y1}H${node.x.toFixed(1)}`;
    };
    const along = (path) => path.map((_, i) => grown.get(path.slice(0, i + 1).join("\n"))).filter(Boolean);
    const [predicted, right] = [along(result ? result.path : []), along(truth.path)];
    const line = (name, way) => make("path", { class: name, d: way.map(link).join("") });
    const names = column < 76 ? [] : [...new Set([...predicted, ...right])];
    const written = names.map((node) => {
      const rival = names.find((other) => other !== node && other.path.length === node.path.length);
      const below = rival && rival.y < node.y;
      const y = node.y + (below ? 15 : -6 - (WIDEST * node.p) / 2);
      const text = make("text", { x: node.x, y, "text-anchor": "end" }, node.path.at(-1));
      if (6.4 * node.path.at(-1).length > column) {
        text.setAttribute("textLength", column - 4);
        text.setAttribute("lengthAdjust", "spacingAndGlyphs");
      }
      return text;
    });
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.height = `${height}px`;
    svg.replaceChildren(
      ...RANKS.map((rank, r) => {
        const heading = column < 76 ? rank.slice(0, 3) : rank;
        return make("text", { x: Math.max(X(r), 6.6 * heading.length), y: 12, "text-anchor": "end" }, heading);
      }),
      make("path", { class: "bp-faint", d: [...grown.values()].map(link).join("") }),
      ...[...grown.values()]
        .filter((node) => node.p >= 0.005)
        .map((node) => make("path", { class: "bp-mass", d: link(node), "stroke-width": (WIDEST * node.p).toFixed(2) })),
      line("bp-predicted", predicted),
      line("bp-truth", right),
      ...written,
    );
    tree.setAttribute(
      "aria-label",
      `Tree of ${own.length} labels. ${words} The true path is ${truth.path.join(", ")}. ${treeKeys}`,
    );
    const wanted = here && grown.get(here.path.join("\n"));
    look(wanted ?? predicted.at(-1) ?? roots[0] ?? null);
  }

  function look(node) {
    here = node;
    svg.querySelector(".bp-cursor")?.remove();
    useThese.hidden = without.hidden = true;
    if (!node) {
      treeWords.textContent = "No labels, no tree.";
      return few.replaceChildren();
    }
    svg.append(make("circle", { class: "bp-cursor", cx: node.x, cy: node.y, r: 6 }));
    const inside = species.map((_, i) => i).filter((i) => starts(species[i].path, node.path));
    const rank = RANKS[node.path.length - 1];
    treeWords.textContent =
      `${rank} ${short(node.path)}: ${node.p.toFixed(3)}, ` +
      `the sum over ${node.count} ${node.count === 1 ? "label" : "labels"}. ` +
      `It has ${inside.length} of the ${species.length} species${inside.length > 12 ? "; the first 12" : ""}:`;
    few.replaceChildren(...inside.slice(0, 12).map((i) => picture(i)));
    useThese.hidden = inside.length < 2;
    without.hidden = false;
    without.textContent = `remove its ${node.count === 1 ? "label" : `${node.count} labels`}`;
    useThese.textContent = `take its ${inside.length} species as labels`;
  }
  tree.addEventListener("keydown", (event) => {
    if (!here) return;
    const level = [...nodes.values()].filter((node) => node.path.length === here.path.length).sort((a, b) => a.y - b.y);
    const at = level.indexOf(here);
    const heaviest = here.children.reduce((a, b) => (a && a.p >= b.p ? a : b), undefined);
    const moves = { ArrowLeft: here.parent, ArrowRight: heaviest, ArrowUp: level[at - 1], ArrowDown: level[at + 1] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    if (moves[event.key]) look(moves[event.key]);
  });
  tree.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    const far = (node) => Math.hypot(node.x - event.clientX + box.left, node.y - event.clientY + box.top);
    const all = [...nodes.values()];
    if (all.length) look(all.reduce((a, b) => (far(a) <= far(b) ? a : b)));
  });

  const draw = (...given) => {
    here = null; // back to the answer
    redraw(...given);
  };
  let width = 0;
  function fit() {
    if (tree.clientWidth === width) return;
    width = tree.clientWidth;
    if (latest) redraw(...latest);
  }
  const parts = [
    make(
      "p",
      { class: "bp-caption" },
      entry("bp-mass", "probability"),
      entry("bp-predicted", "answer"),
      entry("bp-truth", "true path"),
      treeKeys,
    ),
    make("figure", {}, tree),
    treeWords,
    few,
    make("div", { class: "bp-control" }, useThese, without),
  ];
  return { parts, draw, fit, area: tree };
}
