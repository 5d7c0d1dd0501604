// Labels and their names. Functions that explorer.py has too give the same results, and a test compares them.

export const RANKS = ["kingdom", "phylum", "class", "order", "family", "genus", "species"];
export const PLURALS = ["kingdoms", "phyla", "classes", "orders", "families", "genera", "species"];
export const KINDS = {
  com: "common name",
  sci: "scientific name",
  taxon: "all ranks",
  sci_com: "scientific and common name",
  taxon_com: "all ranks and common name",
};

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

// Ranks up to the lowest common ancestor.
export function treeDistance(a, b, rank = 6) {
  const differs = a.path.findIndex((name, i) => name !== b.path[i]);
  return differs < 0 ? 0 : rank + 1 - differs;
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

export const nameOf = ({ path, rank }) => (rank === 6 ? path.slice(5).join(" ") : path[rank]);
export const full = (label) => nameOf(label) + (label.common ? ` (${label.common})` : "");
export const short = (path) => (path.length === 7 ? path.slice(5).join(" ") : path.at(-1));
export const signed = (x, places) => x.toFixed(places).replace("-", "−");
export const same = (a, b) => a.length === b.length && a.every((name, i) => name === b[i]);
export const starts = (path, start) => start.every((name, i) => name === path[i]);
