// The labels: found by typing, taken or drawn by rank, removed one by one.

import { button, choice, make, put } from "../../../course/widgets/dom.js";
import { KINDS, PLURALS, RANKS, captions, full, nameOf, search } from "./taxa.js";

const CHIPS = 16; // labels with a button of their own; of more than these,
const FEW = 5; // so many have one
const DRAWN = 8; // labels in a draw

// { parts, to be put on the page; draw }
export function chooser({ id, model, labels, species }) {
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
    put(model, { labels: now.includes(i) ? now.filter((other) => other !== i) : [...now, i] });
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
  const drawRank = choice(`${id}-rank`, "rank", RANKS.map((rank, r) => [r, rank]), rename);
  drawRank.select.value = 6;
  const all = button("", () => put(model, { labels: ofRank(Number(drawRank.select.value)) }));
  const some = button("", () => {
    const pool = ofRank(Number(drawRank.select.value));
    for (let i = pool.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [pool[i], pool[j]] = [pool[j], pool[i]];
    }
    put(model, { labels: pool.slice(0, DRAWN).sort((a, b) => a - b) });
  });
  const none = button("none", () => put(model, { labels: [] }));
  function rename() {
    const rank = Number(drawRank.select.value);
    const size = ofRank(rank).length;
    all.textContent = `all ${size} ${PLURALS[rank]}`;
    some.textContent = `draw ${Math.min(DRAWN, size)} of them`;
  }
  rename();
  const kind = choice(`${id}-captions`, "captions", Object.entries(KINDS), (value) => put(model, { kind: value }));
  const example = make("p", { class: "bp-caption" });

  function draw() {
    const chosen = model.get("labels");
    const named = chosen.slice(chosen.length > CHIPS ? -FEW : 0).reverse(); // the newest first
    const extra = chosen.length - named.length;
    chips.replaceChildren(
      ...named.map((i) => {
        const chip = button(`${nameOf(labels[i])} ×`, () => {
          put(model, { labels: model.get("labels").filter((other) => other !== i) });
          (chips.querySelector("button") ?? input).focus(); // the button that had the focus is gone
        });
        chip.setAttribute("aria-label", `remove ${nameOf(labels[i])}`);
        return chip;
      }),
      make("span", {}, extra > 0 ? `and ${extra} more` : chosen.length ? "" : "no labels"),
    );
    kind.select.value = model.get("kind");
    example.textContent = `The true one would read: “${captions(species[model.get("organism")])[model.get("kind")]}”`;
  }

  const parts = [
    make(
      "div",
      { class: "bp-control" },
      make("label", { for: input.id }, "add or remove"),
      make("div", { class: "bp-search" }, input, found),
    ),
    make("div", { class: "bp-control" }, drawRank.label, drawRank.select, all, some, none),
    news,
    chips,
    make("div", { class: "bp-control" }, kind.label, kind.select),
    example,
  ];
  return { input, parts, draw };
}
