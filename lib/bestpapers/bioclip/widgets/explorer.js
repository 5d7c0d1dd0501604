// A species explorer. See explorer.py for the traits, and for the functions that have the same names there: those below give
// the same results, and a test compares them. A label is { path: names from the kingdom down, common, rank }.

export function labelsOf(taxa) {
  const paths = new Map(); // the longer a path, the later; of one length in the order of the table
  for (let rank = 0; rank < 6; rank++) {
    for (const row of taxa) paths.set(row.slice(0, rank + 1).join("\n"), row.slice(0, rank + 1));
  }
  const above = [...paths.values()].map((path) => ({ path, common: "", rank: path.length - 1 }));
  return [...above, ...taxa.map((row) => ({ path: row.slice(0, 7), common: row[7], rank: 6 }))];
}

export function captions({ path, common }) {
  const taxonomic = path.join(" ");
  const scientific = path.length > 5 ? path.slice(5).join(" ") : taxonomic;
  const c = common.toLowerCase() || scientific;
  return {
    com: `a photo of ${c}.`,
    sci: `a photo of ${scientific}.`,
    taxon: `a photo of ${taxonomic}.`,
    sci_com: `a photo of ${scientific} with common name ${c}.`,
    taxon_com: `a photo of ${taxonomic} with common name ${c}.`,
  };
}

// Rows of `count` numbers in half precision.
export function rows(view, count) {
  const values = Float64Array.from({ length: view.byteLength / 2 }, (_, i) => half(view.getUint16(2 * i, true)));
  const size = values.length / count;
  return Array.from({ length: count }, (_, i) => values.subarray(i * size, (i + 1) * size));
}

function half(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
  return bits >> 15 ? -size : size;
}

export const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

export function probabilities(photo, texts, scale) {
  const logits = texts.map((text) => scale * dot(photo, text));
  const most = Math.max(...logits);
  const powers = logits.map((z) => Math.exp(z - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

// Groups of labels with the same path down to a rank: [{ path, p }]. Of labels that end above it, the path is shorter.
export function rollup(p, labels, rank) {
  const groups = new Map();
  labels.forEach(({ path }, i) => {
    const cut = path.slice(0, rank + 1);
    const group = groups.get(cut.join("\n")) ?? { path: cut, p: 0 };
    group.p += p[i];
    groups.set(cut.join("\n"), group);
  });
  return [...groups.values()];
}

// The most probable group with a name at a rank, if there is one.
export function best(p, labels, rank) {
  const named = rollup(p, labels, rank).filter(({ path }) => path.length > rank);
  return named.reduce((a, b) => (a && a.p >= b.p ? a : b), undefined);
}

export function deepest(p, labels, confidence) {
  for (let rank = 6; rank >= 0; rank--) {
    const found = best(p, labels, rank);
    if (found && found.p > confidence) return found;
  }
  return null;
}

// Numbers of the species, so that relatives stand together.
export function treeOrder(taxa) {
  const first = new Map();
  const keys = taxa.map((row, i) =>
    Array.from({ length: 7 }, (_, rank) => {
      const key = row.slice(0, rank + 1).join("\n");
      if (!first.has(key)) first.set(key, i);
      return first.get(key);
    }),
  );
  const compare = (a, b) => {
    const rank = keys[a].findIndex((value, r) => value !== keys[b][r]);
    return rank < 0 ? 0 : keys[a][rank] - keys[b][rank];
  };
  return taxa.map((_, i) => i).sort(compare);
}

const unit = (x) => {
  const length = Math.sqrt(dot(x, x));
  return x.map((value) => value / length);
};

// Of all taxa of a rank, in the order of the tree: their numbers in `labels`, and their cosines. texts [L], means [S].
export function similarities({ taxa, labels, texts, means, rank, source }) {
  const number = new Map(labels.map(({ path }, i) => [path.join("\n"), i]));
  const members = new Map();
  for (const i of treeOrder(taxa)) {
    const key = taxa[i].slice(0, rank + 1).join("\n");
    members.set(key, [...(members.get(key) ?? []), i]);
  }
  const groups = [...members.keys()].map((key) => number.get(key));
  const sum = (all) => all.reduce((a, b) => a.map((value, k) => value + b[k]));
  const x =
    source === "captions"
      ? groups.map((g) => unit(texts[g]))
      : [...members.values()].map((all) => unit(sum(all.map((i) => means[i]))));
  return { groups, cosines: x.map((a) => x.map((b) => dot(a, b))) };
}

// Ranks up to the lowest common ancestor.
export function treeDistance(a, b, rank = 6) {
  const differs = a.path.findIndex((name, i) => name !== b.path[i]);
  return differs < 0 ? 0 : rank + 1 - differs;
}

// Spearman's correlation; NaN if one of the two is the same everywhere.
export function spearman(a, b) {
  const [x, y] = [places(a), places(b)];
  const mean = (x.length - 1) / 2;
  const product = (u, v) => u.reduce((sum, value, i) => sum + (value - mean) * (v[i] - mean), 0);
  return product(x, y) / Math.sqrt(product(x, x) * product(y, y));
}

function places(values) {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const out = new Array(values.length);
  for (let i = 0; i < order.length; ) {
    let j = i;
    while (j + 1 < order.length && values[order[j + 1]] === values[order[i]]) j++;
    for (let k = i; k <= j; k++) out[order[k]] = (i + j) / 2; // equal values share the mean of their places
    i = j + 1;
  }
  return out;
}

// What a reader types -> numbers of labels: names that begin so first, then words that do, then any place in the name.
export function search(query, labels, limit) {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return [];
  const found = labels.map((label, i) => {
    const names = [nameOf(label), label.common].map((name) => name.toLowerCase());
    const kinds = names.map((name) => {
      const at = name.indexOf(wanted);
      if (at < 0) return 3;
      return at === 0 ? 0 : " -".includes(name[at - 1]) ? 1 : 2;
    });
    return [Math.min(...kinds), i];
  });
  return found.filter(([kind]) => kind < 3).sort(([a, i], [b, j]) => a - b || i - j).slice(0, limit).map(([, i]) => i);
}

// ------------------------------------------------------------------------------------------------------------ drawing

const RANKS = ["kingdom", "phylum", "class", "order", "family", "genus", "species"];
const PLURALS = ["kingdoms", "phyla", "classes", "orders", "families", "genera", "species"];
const KINDS = {
  com: "common name",
  sci: "scientific name",
  taxon: "all ranks",
  sci_com: "scientific and common name",
  taxon_com: "all ranks and common name",
};
const MARKS = { seen: "", u1: "S", u2: "G" };
const COLUMNS = 16; // of the sheet of pictures
const SHOWN = 8; // labels with a bar
const CHIPS = 16; // labels with a button of their own; of more than these,
const FEW = 5; // so many have one
const DRAWN = 8; // labels in a draw
const WIDEST = 16; // px, a branch that has all the probability
// matplotlib's cividis at even steps
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];

const STYLE = `
.bp-explorer { font: inherit; color: inherit; max-width: 100%; }
.bp-explorer * { box-sizing: border-box; }
.bp-explorer .bp-title { font-weight: 700; margin: 1.1em 0 0.3em; }
.bp-explorer .bp-title:first-of-type { margin-top: 0; }
.bp-explorer .bp-panels { display: flex; flex-wrap: wrap; gap: 0.5em 1.5em; }
.bp-explorer .bp-panels > * { flex: 1 1 18em; min-width: 0; }
.bp-explorer .bp-panels > .bp-shown { flex: 0 1 20em; display: flex; gap: 0.8em; align-items: flex-start; }
.bp-explorer p, .bp-explorer output { display: block; margin: 0.3em 0; line-height: 1.4; font-variant-numeric: tabular-nums; }
.bp-explorer figure { margin: 0; padding: 0; }
.bp-explorer figcaption { font: inherit; color: inherit; line-height: 1.3; margin: 0 0 0.2em; text-align: left; }
.bp-explorer .bp-control { display: flex; flex-wrap: wrap; align-items: center; gap: 0.3em 0.6em; margin: 0.4em 0; }
.bp-explorer button, .bp-explorer select, .bp-explorer input[type=text] { font: inherit; color: inherit;
  background: transparent; border: 1px solid color-mix(in srgb, currentColor 60%, transparent); border-radius: 0.3em;
  padding: 0.25em 0.5em; margin: 0; min-height: 2em; max-width: 100%; }
.bp-explorer option { color: CanvasText; background: Canvas; }
.bp-explorer button { cursor: pointer; }
.bp-explorer input[type=range] { flex: 1 1 8em; min-width: 6em; min-height: 2em; margin: 0; accent-color: #009E73;
  touch-action: pan-y; }
.bp-explorer .bp-caption { font-size: 0.9em; }
.bp-explorer .bp-picture { background-image: var(--bp-sheet); background-size: ${100 * COLUMNS}% auto; aspect-ratio: 1;
  image-rendering: pixelated; flex: none; }
.bp-explorer .bp-shown .bp-picture { width: 8em; }
.bp-explorer .bp-few { display: flex; flex-wrap: wrap; gap: 0.3em; min-height: 3em; }
.bp-explorer .bp-few .bp-picture { width: 3em; }
.bp-explorer .bp-grid { display: grid; grid-template-columns: repeat(auto-fill, 2.75em); gap: 0.25em; max-height: 12.2em;
  overflow-y: auto; padding: 3px; position: relative; }
.bp-explorer .bp-grid .bp-picture { width: 2.75em; position: relative; cursor: pointer; }
.bp-explorer .bp-grid [aria-selected=true] { outline: 3px solid #009E73; }
.bp-explorer .bp-mark { position: absolute; right: 0; bottom: 0; background: #1F1F1F; color: #FCFCFA; font-size: 0.7em;
  line-height: 1; padding: 0.15em 0.25em; font-weight: 700; }
.bp-explorer .bp-search { position: relative; flex: 1 1 12em; max-width: 26em; }
.bp-explorer .bp-search input { width: 100%; }
.bp-explorer .bp-found { position: absolute; z-index: 5; left: 0; right: 0; top: 100%; margin: 0; padding: 0; list-style: none;
  background: Canvas; color: CanvasText; border: 1px solid; max-height: 15em; overflow-y: auto; }
.bp-explorer .bp-found li { padding: 0.3em 0.5em; margin: 0; cursor: pointer; line-height: 1.3; }
.bp-explorer .bp-found li[aria-selected=true] { background: #1F1F1F; color: #FCFCFA; outline: 1px solid #FCFCFA; }
.bp-explorer .bp-chips { display: flex; flex-wrap: wrap; gap: 0.3em; align-items: center; margin: 0.3em 0; }
.bp-explorer .bp-chips button { padding: 0.05em 0.5em; min-height: 1.8em; font-size: 0.9em; }
.bp-explorer .bp-bars { list-style: none; margin: 0; padding: 0; }
.bp-explorer .bp-bars li { margin: 0 0 0.3em; padding: 0; line-height: 1.3; }
.bp-explorer .bp-line { display: flex; justify-content: space-between; gap: 0.5em; font-variant-numeric: tabular-nums; }
.bp-explorer .bp-line > :last-child { white-space: nowrap; }
.bp-explorer .bp-line button { padding: 0 0.4em; min-height: 1.5em; line-height: 1.2; }
.bp-explorer .bp-bar { height: 0.5em; background: #009E73; min-width: 1px; }
.bp-explorer .bp-true > .bp-line { font-weight: 700; }
.bp-explorer .bp-true > .bp-bar { background: repeating-linear-gradient(135deg, #009E73 0 4px, #005c43 4px 8px); }
.bp-explorer table { border-collapse: collapse; width: 100%; margin: 0; font-size: 0.95em; font-variant-numeric: tabular-nums;
  background: none; color: inherit; display: table; }
.bp-explorer tr { background: none; }
.bp-explorer th, .bp-explorer td { text-align: left; padding: 0.15em 0.4em 0.15em 0; border: 0; color: inherit;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); vertical-align: top; overflow-wrap: anywhere;
  background: none; }
.bp-explorer th[scope=row] { font-weight: 400; white-space: nowrap; }
.bp-explorer tr[aria-current] > * { font-weight: 700; border-bottom: 3px solid #009E73; }
.bp-explorer svg { display: block; width: 100%; touch-action: pan-y; }
.bp-explorer svg text { fill: currentColor; font-size: 11.5px; }
.bp-explorer [role=application]:focus-visible { outline: 2px solid #009E73; outline-offset: 2px; }
.bp-explorer svg path { fill: none; }
.bp-explorer .bp-mass { stroke: currentColor; opacity: 0.35; }
.bp-explorer .bp-faint { stroke: currentColor; opacity: 0.18; stroke-width: 1; }
.bp-explorer .bp-predicted { stroke: #0072B2; stroke-width: 3; }
.bp-explorer .bp-truth { stroke: #D55E00; stroke-width: 2.5; stroke-dasharray: 6 4; }
.bp-explorer .bp-cursor { fill: none; stroke: currentColor; stroke-width: 2; }
.bp-explorer .bp-key { display: inline-block; width: 2em; height: 0.8em; vertical-align: baseline; margin: 0 0.3em 0 0; }
.bp-explorer .bp-item { display: inline-block; margin-right: 1em; }
.bp-explorer .bp-map { position: relative; max-width: 24em; cursor: crosshair; }
.bp-explorer canvas { display: block; width: 100%; image-rendering: pixelated; }
.bp-explorer .bp-cell { position: absolute; border: 2px solid #FCFCFA; outline: 1px solid #1F1F1F;
  min-width: 7px; min-height: 7px; pointer-events: none; transform: translate(-50%, -50%); }
.bp-explorer .bp-kingdoms { display: flex; max-width: 24em; font-size: 0.8em; line-height: 1.3; }
.bp-explorer .bp-kingdoms span { border-left: 2px solid currentColor; padding-left: 0.2em; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; min-width: 0; }
.bp-explorer .bp-scale { display: flex; gap: 0.5em; align-items: center; max-width: 24em; font-size: 0.85em; margin-top: 0.2em;
  font-variant-numeric: tabular-nums; }
.bp-explorer .bp-scale i { flex: 1; height: 0.7em; background: linear-gradient(to right, ${CIVIDIS.join(", ")}); }
`;

let count = 0;

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "text", "circle"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// A line that screen readers hear change while `area` has the focus, and not whenever a control elsewhere changes it too.
function spokenBy(area, name) {
  const line = make("p", { class: name, "aria-live": "off" });
  area.addEventListener("focus", () => line.setAttribute("aria-live", "polite"));
  area.addEventListener("blur", () => line.setAttribute("aria-live", "off"));
  return line;
}

const title = (words) => make("div", { class: "bp-title", role: "heading", "aria-level": 4 }, words);
const nameOf = ({ path, rank }) => (rank === 6 ? path.slice(5).join(" ") : path[rank]);
const full = (label) => nameOf(label) + (label.common ? ` (${label.common})` : "");
const short = (path) => (path.length === 7 ? path.slice(5).join(" ") : path.at(-1));
const signed = (x, places) => x.toFixed(places).replace("-", "−");
const same = (a, b) => a.length === b.length && a.every((name, i) => name === b[i]);
const starts = (path, start) => start.every((name, i) => name === path[i]);

function render({ model, el }) {
  const id = `bp-explorer-${Date.now().toString(36)}-${count++}`;
  const taxa = model.get("taxa");
  const labels = labelsOf(taxa);
  const parts = model.get("parts");
  const firstSpecies = labels.length - taxa.length;
  const species = labels.slice(firstSpecies);
  const kinds = Object.keys(KINDS);
  const byKind = rows(model.get("texts"), kinds.length * labels.length);
  const textsOf = (kind) => byKind.slice(kinds.indexOf(kind) * labels.length).slice(0, labels.length);
  const photos = rows(model.get("photos"), taxa.length);
  const means = rows(model.get("means"), taxa.length);

  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const choice = (label, options, chosen, act) => {
    const select = make("select", { id: `${id}-${label.replaceAll(" ", "-")}` });
    for (const [value, words] of options) select.append(make("option", { value }, words));
    if (chosen !== null) select.value = chosen;
    select.addEventListener("change", () => act(select.value));
    return { select, label: make("label", { for: select.id }, label) };
  };
  const button = (words, act) => {
    const node = make("button", { type: "button" }, words);
    node.addEventListener("click", act);
    return node;
  };

  // ---- the photograph
  const sheetRows = Math.ceil(taxa.length / COLUMNS);
  const place = (i) => {
    const [x, y] = [i % COLUMNS, Math.floor(i / COLUMNS)];
    return `${(100 * x) / (COLUMNS - 1)}% ${sheetRows > 1 ? (100 * y) / (sheetRows - 1) : 0}%`;
  };
  const heard = (i) => `${full(species[i])}, ${parts[taxa[i][8]]}`;
  const picture = (i, attributes = {}, ...children) => {
    const words = { "aria-label": heard(i), title: heard(i) };
    const node = make("div", { class: "bp-picture", role: "img", ...words, ...attributes }, ...children);
    node.style.backgroundPosition = place(i);
    return node;
  };
  const shown = make("div", { class: "bp-shown" });
  const tiles = taxa.map((row, i) => {
    const mark = MARKS[row[8]];
    const tile = picture(
      i,
      { role: "option", id: `${id}-tile-${i}` },
      ...(mark ? [make("span", { class: "bp-mark", "aria-hidden": "true" }, mark)] : []),
    );
    tile.addEventListener("click", () => set({ organism: i }));
    return tile;
  });
  const gridName = "Photographs, one of each species";
  const grid = make("div", { class: "bp-grid", role: "listbox", tabindex: 0, "aria-label": gridName });
  let filter = "all";
  const listed = () => tiles.map((_, i) => i).filter((i) => filter === "all" || taxa[i][8] === filter);
  const filters = choice(
    "photographs",
    [
      ["all", `all ${taxa.length}`],
      ...Object.entries(parts).map(([part, words]) => [part, MARKS[part] ? `${MARKS[part]}: ${words}` : words]),
    ],
    "all",
    (value) => {
      filter = value;
      fill();
    },
  );
  function fill() {
    grid.replaceChildren(...listed().map((i) => tiles[i]));
    reveal();
  }
  function reveal() {
    const tile = tiles[model.get("organism")];
    if (tile.parentNode !== grid) return grid.removeAttribute("aria-activedescendant");
    grid.setAttribute("aria-activedescendant", tile.id);
    const [top, bottom] = [tile.offsetTop - 3, tile.offsetTop + tile.offsetHeight + 3];
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (bottom > grid.scrollTop + grid.clientHeight) grid.scrollTop = bottom - grid.clientHeight;
  }
  grid.addEventListener("keydown", (event) => {
    const all = listed();
    if (!all.length) return;
    const across = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const at = all.indexOf(model.get("organism"));
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - across, ArrowDown: at + across };
    const moves = { ...steps, Home: 0, End: all.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    set({ organism: all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : moves[event.key]))] });
  });

  // ---- the labels
  const input = make("input", {
    id: `${id}-search`,
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "lion, Felidae, Quercus …",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": `${id}-found`,
  });
  const found = make("ul", { id: `${id}-found`, class: "bp-found", role: "listbox", "aria-label": "Labels found", hidden: "" });
  let [hits, active] = [[], -1];
  function complete() {
    hits = search(input.value, labels, 8);
    active = hits.length ? 0 : -1;
    found.replaceChildren(
      ...hits.map((i, k) => {
        const words = `${full(labels[i])}, ${RANKS[labels[i].rank]}${model.get("labels").includes(i) ? ": remove" : ""}`;
        const item = make("li", { role: "option", id: `${id}-found-${k}`, "aria-selected": "false" }, words);
        item.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
        item.addEventListener("click", () => toggle(i));
        return item;
      }),
    );
    point();
  }
  function point() {
    found.hidden = !hits.length;
    input.setAttribute("aria-expanded", String(hits.length > 0));
    [...found.children].forEach((item, k) => item.setAttribute("aria-selected", String(k === active)));
    if (active < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `${id}-found-${active}`);
      found.children[active].scrollIntoView({ block: "nearest" });
    }
  }
  function shut() {
    [hits, active] = [[], -1];
    found.replaceChildren();
    point();
  }
  function toggle(i) {
    const now = model.get("labels");
    news.textContent = `${nameOf(labels[i])} is ${now.includes(i) ? "no label any more" : "a label now"}.`;
    input.value = "";
    shut();
    set({ labels: now.includes(i) ? now.filter((other) => other !== i) : [...now, i] });
  }
  input.addEventListener("input", () => {
    news.textContent = input.value.trim() && !search(input.value, labels, 1).length ? "No taxon has such a name." : "";
    complete();
  });
  input.addEventListener("blur", shut);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && hits.length) {
      active = (active + step + hits.length) % hits.length;
      point();
    } else if (event.key === "Enter" && active >= 0) toggle(hits[active]);
    else if (event.key === "Escape" && hits.length) shut();
    else return;
    event.preventDefault();
  });
  const news = make("p", { role: "status", class: "bp-caption" });
  const chips = make("div", { class: "bp-chips", role: "group", "aria-label": "Chosen labels" });
  const ofRank = (rank) => labels.map((_, i) => i).filter((i) => labels[i].rank === rank);
  const drawRank = choice("rank", RANKS.map((rank, r) => [r, rank]), 6, () => rename());
  const all = button("", () => set({ labels: ofRank(Number(drawRank.select.value)) }));
  const some = button("", () => {
    const pool = ofRank(Number(drawRank.select.value));
    for (let i = pool.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [pool[i], pool[j]] = [pool[j], pool[i]];
    }
    set({ labels: pool.slice(0, DRAWN).sort((a, b) => a - b) });
  });
  function rename() {
    const rank = Number(drawRank.select.value);
    const size = ofRank(rank).length;
    all.textContent = `all ${size} ${PLURALS[rank]}`;
    some.textContent = `draw ${Math.min(DRAWN, size)} of them`;
  }
  const kind = choice("captions", kinds.map((k) => [k, KINDS[k]]), model.get("kind"), (value) => set({ kind: value }));
  const example = make("p", { class: "bp-caption" });

  // ---- the answer
  const bars = make("ol", { class: "bp-bars", "aria-label": "Most probable labels" });
  const others = make("p", { class: "bp-caption" });
  const body = make("tbody");
  const head = ["rank", "most probable", "true"].map((words) => make("th", { scope: "col" }, words));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), body);
  const range = make("input", { id: `${id}-confidence`, type: "range", min: 0, max: 100, step: 1 });
  range.addEventListener("input", () => set({ confidence: Number(range.value) / 100 }));
  const value = make("span", { class: "bp-value" });
  const answer = make("output", { for: range.id, "aria-live": "polite" });

  // ---- the tree
  const svg = make("svg", { "aria-hidden": "true" });
  const treeKeys = "Arrow keys walk along the branches.";
  const tree = make("div", { tabindex: 0, role: "application" }, svg);
  const treeWords = spokenBy(tree, "bp-here");
  const few = make("div", { class: "bp-few" });
  const useThese = button("", () => {
    const path = here.path;
    set({ labels: species.map((_, i) => firstSpecies + i).filter((i) => starts(labels[i].path, path)) });
  });
  const without = button("", () => {
    const path = here.path;
    set({ labels: model.get("labels").filter((i) => !starts(labels[i].path, path)) });
    tree.focus(); // the button may have gone
  });
  let [nodes, here] = [new Map(), null]; // of the tree of labels, by path
  const key = (name, words) => {
    const line = make("path", { class: name, d: "M0 6H32", "stroke-width": 9 }); // a width in STYLE comes first
    const svg = make("svg", { class: "bp-key", viewBox: "0 0 32 12", "aria-hidden": "true" }, line);
    return make("span", { class: "bp-item" }, svg, words);
  };

  // ---- the maps
  const mapRank = choice("taxa", RANKS.map((_, r) => [r, PLURALS[r]]), model.get("rank"), (v) => set({ rank: Number(v) }));
  const sources = ["captions", "photographs"].map((name) => [name, name]);
  const mapSource = choice("similarity of", sources, model.get("source"), (v) => set({ source: v }));
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

  const root = make(
    "div",
    { class: "bp-explorer", role: "group", "aria-label": "Species explorer", "data-lm-suppress-shortcuts": "true" },
    make("style", {}, STYLE),
    title("A photograph"),
    make(
      "div",
      { class: "bp-panels" },
      shown,
      make("div", {}, make("div", { class: "bp-control" }, filters.label, filters.select), grid),
    ),
    title("Labels"),
    make(
      "div",
      { class: "bp-control" },
      make("label", { for: input.id }, "add or remove"),
      make("div", { class: "bp-search" }, input, found),
    ),
    make("div", { class: "bp-control" }, drawRank.label, drawRank.select, all, some, button("none", () => set({ labels: [] }))),
    news,
    chips,
    make("div", { class: "bp-control" }, kind.label, kind.select),
    example,
    title("Answer"),
    make("div", { class: "bp-control" }, make("label", { for: range.id }, "stop at the deepest rank above"), range, value),
    answer,
    make("div", { class: "bp-panels" }, make("div", {}, bars, others), make("div", {}, table)),
    title("The tree of these labels"),
    make(
      "p",
      { class: "bp-caption" },
      key("bp-mass", "probability"),
      key("bp-predicted", "answer"),
      key("bp-truth", "true path"),
      treeKeys,
    ),
    make("figure", {}, tree),
    treeWords,
    few,
    make("div", { class: "bp-control" }, useThese, without),
    title("Similarity, and distance in the tree"),
    make("div", { class: "bp-control" }, mapRank.label, mapRank.select, mapSource.label, mapSource.select),
    mapArea,
    pairWords,
    mapWords,
    make("p", { class: "bp-caption" }, model.get("caption")),
  );
  root.style.setProperty("--bp-sheet", `url("${dataURL(model.get("pictures"))}")`);

  // ---- drawing
  function draw() {
    const organism = model.get("organism");
    const truth = species[organism];
    const chosen = model.get("labels");
    const own = chosen.map((i) => labels[i]);
    const texts = textsOf(model.get("kind"));
    const confidence = model.get("confidence");
    const p = chosen.length ? probabilities(photos[organism], chosen.map((i) => texts[i]), model.get("scale")) : [];
    const result = deepest(p, own, confidence);

    tiles.forEach((tile, i) => tile.setAttribute("aria-selected", String(i === organism)));
    reveal();
    shown.replaceChildren(
      picture(organism),
      make(
        "div",
        {},
        make("b", {}, truth.path.slice(5).join(" ")),
        make("div", {}, truth.common),
        make("div", { class: "bp-caption" }, truth.path.slice(0, 5).join(" › ")),
        make("div", { class: "bp-caption" }, parts[taxa[organism][8]]),
      ),
    );

    const named = chosen.slice(chosen.length > CHIPS ? -FEW : 0).reverse(); // the newest first
    const extra = chosen.length - named.length;
    chips.replaceChildren(
      ...named.map((i) => {
        const chip = button(`${nameOf(labels[i])} ×`, () => {
          set({ labels: model.get("labels").filter((other) => other !== i) });
          (chips.querySelector("button") ?? input).focus(); // the button that had the focus is gone
        });
        chip.setAttribute("aria-label", `remove ${nameOf(labels[i])}`);
        return chip;
      }),
      make("span", {}, extra > 0 ? `and ${extra} more` : chosen.length ? "" : "no labels"),
    );
    kind.select.value = model.get("kind");
    example.textContent = `The true one would read: “${captions(truth)[model.get("kind")]}”`;

    const order = p.map((_, i) => i).sort((a, b) => p[b] - p[a] || a - b);
    bars.replaceChildren(
      ...order.slice(0, SHOWN).map((i) => {
        const right = starts(truth.path, own[i].path);
        const words = make("span", {}, full(own[i]), own[i].rank < 6 ? `, ${RANKS[own[i].rank]}` : "", right ? " ✓" : "");
        const bar = make("div", { class: "bp-bar" });
        bar.style.width = `${100 * p[i]}%`;
        const off = button("×", () => {
          set({ labels: model.get("labels").filter((other) => other !== chosen[i]) });
          (bars.querySelector("button") ?? input).focus(); // this one has gone
        });
        off.setAttribute("aria-label", `without ${nameOf(own[i])}`);
        const line = make("div", { class: "bp-line" }, words, make("span", {}, p[i].toFixed(3), " ", off));
        return make("li", right ? { class: "bp-true" } : {}, line, bar);
      }),
    );
    const rest = order.slice(SHOWN);
    const fits = own.some(({ path }) => starts(truth.path, path));
    others.textContent = [
      rest.length ? `${rest.length} more labels share ${rest.reduce((sum, i) => sum + p[i], 0).toFixed(3)}.` : "",
      own.length && !fits ? "No label fits: the probabilities sum to 1 all the same." : "✓ marks what fits.",
    ].join(" ");

    range.value = Math.round(100 * confidence);
    value.textContent = `${Math.round(100 * confidence)} %`;
    range.setAttribute("aria-valuetext", value.textContent);
    body.replaceChildren(
      ...RANKS.map((rank, r) => {
        const top = best(p, own, r);
        const trueCut = truth.path.slice(0, r + 1);
        const mine = rollup(p, own, r).find(({ path }) => same(path, trueCut));
        const right = top && same(top.path, trueCut);
        const current = result && result.path.length === r + 1 ? { "aria-current": "true" } : {};
        return make(
          "tr",
          current,
          make("th", { scope: "row" }, rank),
          make("td", {}, top ? `${right ? "✓" : "✗"} ${short(top.path)} ${top.p.toFixed(3)}` : "–"),
          make("td", {}, `${short(trueCut)} ${mine ? mine.p.toFixed(3) : "–"}`),
        );
      }),
    );
    answer.textContent = !chosen.length
      ? "Choose labels first."
      : result
        ? `Answer: the ${RANKS[result.path.length - 1]} ${short(result.path)} (${result.p.toFixed(3)}), which is ` +
          `${starts(truth.path, result.path) ? "right" : "wrong"}.`
        : `No answer: no kingdom is above ${value.textContent}.`;
    here = null; // back to the answer
    drawTree(p, own, truth, result);
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

  let latest = null;
  function drawTree(...given) {
    latest = given;
    const [p, own, truth, result] = given;
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
    const words = names.map((node) => {
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
        const words = column < 76 ? rank.slice(0, 3) : rank;
        return make("text", { x: Math.max(X(r), 6.6 * words.length), y: 12, "text-anchor": "end" }, words);
      }),
      make("path", { class: "bp-faint", d: [...grown.values()].map(link).join("") }),
      ...[...grown.values()]
        .filter((node) => node.p >= 0.005)
        .map((node) => make("path", { class: "bp-mass", d: link(node), "stroke-width": (WIDEST * node.p).toFixed(2) })),
      line("bp-predicted", predicted),
      line("bp-truth", right),
      ...words,
    );
    tree.setAttribute(
      "aria-label",
      `Tree of ${own.length} labels. ${answer.textContent} The true path is ${truth.path.join(", ")}. ${treeKeys}`,
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
      `It has ${inside.length} of the ${taxa.length} species${inside.length > 12 ? "; the first 12" : ""}:`;
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

  function drawMaps() {
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

  const answers = ["organism", "labels", "kind", "confidence"].map((name) => `change:${name}`);
  const mapped = ["rank", "source", "kind"].map((name) => `change:${name}`);
  for (const name of answers) model.on(name, draw);
  for (const name of mapped) model.on(name, drawMaps);
  el.replaceChildren(root);
  rename();
  fill();
  draw();
  drawMaps();
  let width = tree.clientWidth;
  const watch = new ResizeObserver(() => {
    if (tree.clientWidth === width) return;
    width = tree.clientWidth;
    if (latest) drawTree(...latest);
  });
  watch.observe(tree);
  return () => {
    watch.disconnect();
    for (const name of answers) model.off(name, draw);
    for (const name of mapped) model.off(name, drawMaps);
  };
}

function color(t) {
  const at = Math.min(1, Math.max(0, t)) * (CIVIDIS.length - 1);
  const k = Math.min(CIVIDIS.length - 2, Math.floor(at));
  const [a, b] = [CIVIDIS[k], CIVIDIS[k + 1]].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return a.map((v, i) => Math.round(v + (at - k) * (b[i] - v)));
}

// A data: URL needs no clearing up and passes a content policy that allows nothing but 'self' and data: for images.
function dataURL(webp) {
  const bytes = new Uint8Array(webp.buffer, webp.byteOffset, webp.byteLength);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `data:image/webp;base64,${btoa(text)}`;
}

export default { render };
