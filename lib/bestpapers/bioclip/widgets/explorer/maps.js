// Two maps of all pairs of taxa: how similar they are, and how far apart in the tree.

import { choice, make, put } from "../../../course/widgets/dom.js";
import { similarities, spearman } from "./scores.js";
import { CIVIDIS } from "./style.js";
import { KINDS, PLURALS, full, signed, treeDistance } from "./taxa.js";
import { spokenBy } from "./tree.js";

function color(t) {
  const at = Math.min(1, Math.max(0, t)) * (CIVIDIS.length - 1);
  const k = Math.min(CIVIDIS.length - 2, Math.floor(at));
  const [a, b] = [CIVIDIS[k], CIVIDIS[k + 1]].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return a.map((v, i) => Math.round(v + (at - k) * (b[i] - v)));
}

// { parts, to be put on the page; draw }. textsOf: a kind of caption -> the embeddings of all labels; means: of photographs
export function mapsOf({ id, model, taxa, labels, textsOf, means }) {
  const mapRank = choice(`${id}-taxa`, "taxa", PLURALS.map((name, r) => [r, name]), (v) => put(model, { rank: Number(v) }));
  const sources = ["captions", "photographs"].map((name) => [name, name]);
  const mapSource = choice(`${id}-source`, "similarity of", sources, (source) => put(model, { source }));
  const maps = [0, 1].map(() => {
    const canvas = make("canvas", { role: "img" });
    const cell = make("div", { class: "bp-cell" });
    const [low, high] = [make("span"), make("span")];
    const kingdoms = make("div", { class: "bp-kingdoms", "aria-hidden": "true" });
    const words = make("figcaption");
    const map = make("div", { class: "bp-map" }, canvas, cell);
    const figure = make("figure", {}, words, kingdoms, map, make("div", { class: "bp-scale" }, low, make("i"), high));
    map.addEventListener("pointerdown", (event) => choose(event));
    map.addEventListener("pointermove", (event) => event.pointerType === "mouse" && choose(event));
    function choose(event) {
      const box = canvas.getBoundingClientRect();
      const at = (part) => Math.min(seen.groups.length - 1, Math.max(0, Math.floor(part * seen.groups.length)));
      pair = [at((event.clientY - box.top) / box.height), at((event.clientX - box.left) / box.width)];
      drawPair();
    }
    return { canvas, cell, low, high, kingdoms, words, figure };
  });
  const mapKeys = "Arrow keys move to another pair.";
  const mapArea = make("div", { class: "bp-panels", tabindex: 0, role: "application" }, ...maps.map((m) => m.figure));
  const pairWords = spokenBy(mapArea, "bp-pair");
  const mapWords = make("p");
  let [seen, pair] = [null, [0, 1]];
  mapArea.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    pair = pair.map((at, k) => Math.min(seen.groups.length - 1, Math.max(0, at + move[k])));
    drawPair();
  });

  function draw() {
    const [rank, source] = [model.get("rank"), model.get("source")];
    const texts = textsOf(model.get("kind"));
    mapRank.select.value = rank;
    mapSource.select.value = source;
    seen = similarities({ taxa, labels, texts, means, rank, source });
    const of = seen.groups.map((g) => labels[g]);
    seen.apart = of.map((a) => of.map((b) => treeDistance(a, b, rank)));
    const n = of.length;
    const upper = (matrix) => matrix.flatMap((row, i) => row.slice(i + 1));
    const [near, far] = [upper(seen.cosines), upper(seen.apart)];
    const spread = (values) => [Math.min(...values), Math.max(...values)];
    const r = spearman(far, near.map((c) => -c));
    const [first, second] = maps;
    paint(first, seen.cosines, ...spread(near), (v) => signed(v, 2));
    paint(second, seen.apart.map((row) => row.map((v) => -v)), -(rank + 1), 0, (v) => (v ? `${-v} ranks apart` : "the same"));
    const what = source === "captions" ? KINDS[model.get("kind")] : "the mean of each taxon";
    first.words.replaceChildren(make("b", {}, `Cosine of ${source}`), `, ${what}`);
    second.words.replaceChildren(make("b", {}, "Ranks apart in the tree"));
    for (const { kingdoms } of maps) {
      const sizes = new Map();
      for (const { path } of of) sizes.set(path[0], (sizes.get(path[0]) ?? 0) + 1);
      kingdoms.replaceChildren(...[...sizes].map(([name, size]) => make("span", { style: `flex:${size} 1 0` }, name)));
    }
    const pairs = `${n} ${PLURALS[rank]}, ${near.length} pairs`;
    mapWords.textContent = Number.isNaN(r)
      ? `${pairs}: all equally far apart in the tree, so there is nothing to correlate.`
      : `${pairs}: Spearman's correlation of distance in the tree and distance of ${source} is ${signed(r, 2)}.`;
    first.canvas.setAttribute("aria-label", `Map of cosines. ${mapWords.textContent}`);
    second.canvas.setAttribute("aria-label", `Map of distances in the tree of ${pairs}`);
    mapArea.setAttribute("aria-label", `Two maps. ${mapWords.textContent} ${mapKeys}`);
    pair = pair.map((at) => Math.min(n - 1, at));
    drawPair();
  }

  function paint({ canvas, low, high }, matrix, least, most, words) {
    const n = matrix.length;
    canvas.width = canvas.height = n;
    const image = new ImageData(n, n);
    matrix.flat().forEach((v, i) => image.data.set([...color((v - least) / (most - least || 1)), 255], 4 * i));
    canvas.getContext("2d").putImageData(image, 0, 0);
    low.textContent = words(least);
    high.textContent = words(most);
  }

  function drawPair() {
    const [i, j] = pair;
    const n = seen.groups.length;
    const [a, b] = pair.map((at) => labels[seen.groups[at]]);
    const [left, top, side] = [(j + 0.5) / n, (i + 0.5) / n, 1 / n].map((part) => `${100 * part}%`);
    for (const { cell } of maps) Object.assign(cell.style, { left, top, width: side, height: side });
    const apart = seen.apart[i][j];
    const ranks = apart === 1 ? "1 rank" : `${apart} ranks`;
    pairWords.textContent = `${full(a)} and ${full(b)}: cosine ${signed(seen.cosines[i][j], 3)}, ${ranks} apart`;
  }

  const parts = [
    make("div", { class: "bp-control" }, mapRank.label, mapRank.select, mapSource.label, mapSource.select),
    mapArea,
    pairWords,
    mapWords,
  ];
  return { parts, draw };
}
