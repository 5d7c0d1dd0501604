// A species explorer. See explorer.py for the traits. Its rooms are in explorer/: what is computed (taxa.js, scores.js), and the
// five parts of the page from top to bottom (photographs.js, chooser.js, answer.js, tree.js, maps.js).
// A label is { path: names from the kingdom down, common, rank }.

import { dataURL, follow, make, reset, shell, unique } from "../../course/widgets/dom.js";
import { answers } from "./explorer/answer.js";
import { chooser } from "./explorer/chooser.js";
import { mapsOf } from "./explorer/maps.js";
import { photographs } from "./explorer/photographs.js";
import { deepest, probabilities, rows } from "./explorer/scores.js";
import { STYLE } from "./explorer/style.js";
import { KINDS, labelsOf } from "./explorer/taxa.js";
import { treeOf } from "./explorer/tree.js";

const title = (words) => make("div", { class: "bp-title", role: "heading", "aria-level": 3 }, words);

function render({ model, el }) {
  const taxa = model.get("taxa");
  const labels = labelsOf(taxa);
  const firstSpecies = labels.length - taxa.length;
  const species = labels.slice(firstSpecies);
  const kinds = Object.keys(KINDS);
  const byKind = rows(model.get("texts"), kinds.length * labels.length);
  const textsOf = (kind) => byKind.slice(kinds.indexOf(kind) * labels.length).slice(0, labels.length);
  const organisms = rows(model.get("photos"), taxa.length);
  const means = rows(model.get("means"), taxa.length);

  const given = { id: unique("explorer"), model, taxa, labels, species, firstSpecies, parts: model.get("parts") };
  const photos = photographs(given);
  const choosing = chooser(given);
  const answer = answers({ ...given, input: choosing.input });
  const tree = treeOf({ ...given, picture: photos.picture });
  const maps = mapsOf({ ...given, textsOf, means });
  const root = shell(
    "explorer",
    "Species explorer",
    STYLE,
    title("A photograph"),
    photos.panel,
    title("Labels"),
    ...choosing.parts,
    title("Answer"),
    ...answer.parts,
    title("The tree of these labels"),
    ...tree.parts,
    title("Similarity, and distance in the tree"),
    ...maps.parts,
    reset(model, ["organism", "labels", "kind", "confidence", "rank", "source"]),
    make("p", { class: "bp-caption" }, model.get("caption")),
  );
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys to it
  root.style.setProperty("--bp-sheet", `url("${dataURL(model.get("pictures"), "image/webp")}")`);

  function draw() {
    const [organism, chosen] = [model.get("organism"), model.get("labels")];
    const own = chosen.map((i) => labels[i]);
    const texts = textsOf(model.get("kind"));
    const wanted = chosen.map((i) => texts[i]);
    const p = chosen.length ? probabilities(organisms[organism], wanted, model.get("scale")) : [];
    const result = deepest(p, own, model.get("confidence"));
    photos.draw();
    choosing.draw();
    answer.draw(p, result);
    tree.draw(p, own, species[organism], result, answer.answer.textContent);
  }

  const ends = [
    follow(model, ["organism", "labels", "kind", "confidence"], draw),
    follow(model, ["rank", "source", "kind"], maps.draw),
  ];
  el.replaceChildren(root);
  photos.fill();
  draw();
  maps.draw();
  const watch = new ResizeObserver(tree.fit);
  watch.observe(tree.area);
  return () => {
    watch.disconnect();
    for (const end of ends) end();
  };
}

export default { render };
