// The photographs: a grid of one for each species, and the chosen one in large.

import { choice, make, put } from "../../../course/widgets/dom.js";
import { COLUMNS } from "./style.js";
import { full } from "./taxa.js";

const MARKS = { seen: "", u1: "S", u2: "G" };

// { picture: a species' number, attributes, children -> its picture; panel, to be put on the page; draw }
export function photographs({ id, model, taxa, species, parts }) {
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
    tile.addEventListener("click", () => put(model, { organism: i }));
    return tile;
  });
  const gridName = "Photographs, one of each species";
  const grid = make("div", { class: "bp-grid", role: "listbox", tabindex: 0, "aria-label": gridName });
  let filter = "all";
  const listed = () => tiles.map((_, i) => i).filter((i) => filter === "all" || taxa[i][8] === filter);
  const marked = Object.entries(parts).map(([part, words]) => [part, MARKS[part] ? `${MARKS[part]}: ${words}` : words]);
  const filters = choice(`${id}-photographs`, "photographs", [["all", `all ${taxa.length}`], ...marked], (value) => {
    filter = value;
    fill();
  });
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
    put(model, { organism: all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : moves[event.key]))] });
  });

  function draw() {
    const organism = model.get("organism");
    const truth = species[organism];
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
  }

  const chosen = make("div", {}, make("div", { class: "bp-control" }, filters.label, filters.select), grid);
  return { picture, panel: make("div", { class: "bp-panels" }, shown, chosen), draw, fill };
}
