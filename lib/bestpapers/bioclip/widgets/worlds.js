// The switches of the procedural world: pictures and traits of every position, made beforehand. See worlds.py for the traits.

import { choice, dataURL, follow, make, put, reset, shell, slider, unique } from "../../course/widgets/dom.js";

const COLUMNS = 16; // of the sheet of pictures
const SPAN = 3.5; // standard deviations to both sides in the plot
const [ROW, WIDTH, LEFT] = [16, 300, 84]; // of the plot
const LOOKS = [
  ["#0072B2", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z"],
  ["#009E73", "M-4 -4H4V4H-4Z"],
  ["#D55E00", "M0 -5L5 4H-5Z"],
];

const STYLE = `
.bp-worlds .bp-panels { gap: 0.75em 1.5em; }
.bp-worlds .bp-three { display: flex; gap: 0.6em; flex: 2 1 20em; min-width: 0; }
.bp-worlds .bp-three figure { flex: 1 1 0; min-width: 0; max-width: 12em; }
.bp-worlds .bp-plot { flex: 1 1 18em; max-width: 26em; }
.bp-worlds figcaption { margin: 0.2em 0 0; overflow-wrap: anywhere; }
.bp-worlds .bp-picture { background-image: var(--bp-sheet); background-size: ${100 * COLUMNS}% auto; aspect-ratio: 1;
  image-rendering: pixelated; }
.bp-worlds svg.bp-key { width: 1em; height: 1em; vertical-align: -0.1em; }
.bp-worlds text { fill: currentColor; font-size: 12.5px; }
.bp-worlds .bp-axis { stroke: currentColor; opacity: 0.2; }
.bp-worlds .bp-control { min-height: 2em; }
.bp-worlds select { min-width: 0; text-overflow: ellipsis; }
.bp-worlds input { accent-color: #009E73; }
.bp-worlds input[type=checkbox] { width: 1.2em; height: 1.2em; flex: none; }
.bp-worlds figcaption .bp-caption { margin: 0; }
.bp-worlds .bp-value { min-width: 3em; }
.bp-worlds .bp-tick { display: inline-flex; align-items: center; gap: 0.4em; margin-right: 1em; max-width: 100%; }
.bp-worlds .bp-tick label { flex: 0 1 auto; }
.bp-worlds output { display: block; margin: 0.4em 0; }
`;

function render({ model, el }) {
  const changing = ["trio", "level", "inherit", "mimic", "pose"];
  const id = unique("worlds");
  const groups = model.get("groups");
  const { shares, poses, traits } = model.get("words");
  const [tiles, values] = [model.get("tiles"), model.get("values")];
  const levels = shares.length + 1; // the last is the null world
  const all = Array.from({ length: tiles.byteLength / 2 }, (_, i) => tiles.getUint16(2 * i, true));
  const sheetRows = Math.ceil((Math.max(...all) + 1) / COLUMNS);
  const block = poses.length * 3; // tiles of one trio at one level, without mimicry; those with it follow
  const mimics = groups.map((_, t) => {
    const own = all.slice(t * levels * 2 * block, (t + 1) * levels * 2 * block);
    return own.some((tile, i) => Math.floor(i / block) % 2 === 0 && tile !== own[i + block]);
  });

  const list = (trait, label, options) => {
    const numbered = options.map((words, i) => [i, words]);
    const made = choice(`${id}-${trait}`, label, numbered, (value) => put(model, { [trait]: Number(value) }));
    return { ...made, row: make("span", { class: "bp-tick" }, made.label, made.select) };
  };
  const box = (name, label) => {
    const input = make("input", { id: `${id}-${name}`, type: "checkbox" });
    input.addEventListener("change", () => put(model, { [name]: input.checked }));
    return { input, row: make("span", { class: "bp-tick" }, input, make("label", { for: input.id }, label)) };
  };

  const trio = list("trio", "species", groups.map((group) => group.map(([, common]) => common).join(", ")));
  const pose = list("pose", "shown as", poses);
  const inherit = box("inherit", "traits are inherited");
  const mimic = box("mimic", "mimicry: the viceroy wears the monarch’s colours");
  const value = make("span", { class: "bp-value" });
  const limits = { min: 0, max: shares.length - 1, step: 1 };
  const moved = (level) => put(model, { level });
  const { range, row } = slider(`${id}-level`, "variance that siblings share", limits, moved, value);
  const output = make("output", { for: range.id, "aria-live": "polite" });

  const three = [0, 1, 2].map((k) => {
    const picture = make("div", { class: "bp-picture", role: "img" });
    const name = make("b");
    const rest = make("div", { class: "bp-caption" });
    const shape = make("path", { d: LOOKS[k][1], fill: LOOKS[k][0] });
    const key = make("svg", { class: "bp-key", viewBox: "-7 -7 14 14", "aria-hidden": "true" }, shape);
    return { picture, name, rest, figure: make("figure", {}, picture, make("figcaption", {}, key, name, rest)) };
  });

  const X = (v) => LEFT + ((WIDTH - LEFT) * (Math.min(SPAN, Math.max(-SPAN, v)) + SPAN)) / (2 * SPAN);
  const Y = (i) => 10 + ROW * i;
  const bottom = Y(traits.length) - 2;
  const marks = traits.map(() => LOOKS.map(([fill, d]) => make("path", { d, fill })));
  const plot = make(
    "svg",
    { viewBox: `0 0 ${WIDTH + 8} ${bottom + 34}`, role: "img" },
    ...traits.flatMap((trait, i) => [
      make("line", { class: "bp-axis", x1: LEFT, x2: WIDTH, y1: Y(i), y2: Y(i) }),
      make("text", { x: LEFT - 8, y: Y(i) + 4, "text-anchor": "end" }, trait),
    ]),
    ...[-3, 0, 3].flatMap((v) => [
      make("line", { class: "bp-axis", x1: X(v), x2: X(v), y1: 2, y2: bottom }),
      make("text", { x: X(v), y: bottom + 14, "text-anchor": "middle" }, String(v).replace("-", "−")),
    ]),
    make("text", { x: X(0), y: bottom + 30, "text-anchor": "middle" }, "standard deviations"),
    ...marks.flat(),
  );

  const root = shell(
    "worlds",
    "Two siblings and a stranger in worlds of your choice",
    STYLE,
    make("div", { class: "bp-control" }, trio.row, pose.row),
    row,
    make("div", { class: "bp-control" }, inherit.row, mimic.row, reset(model, changing)),
    make(
      "div",
      { class: "bp-panels" },
      make("div", { class: "bp-three" }, ...three.map((one) => one.figure)),
      make("figure", { class: "bp-plot" }, plot),
    ),
    output,
    make("p", { class: "bp-caption" }, model.get("caption")),
  );
  root.style.setProperty("--bp-sheet", `url("${dataURL(model.get("pictures"), "image/webp")}")`);

  function draw() {
    const [t, level, p] = [model.get("trio"), model.get("level"), model.get("pose")];
    const inherits = model.get("inherit");
    const at = (t * levels + (inherits ? level : levels - 1)) * 2 + Number(model.get("mimic")); // trio, level, mimicry
    const z = (k, i) => values.getFloat32(4 * ((at * 3 + k) * traits.length + i), true);
    trio.select.value = t;
    pose.select.value = p;
    inherit.input.checked = inherits;
    mimic.input.checked = model.get("mimic");
    mimic.input.disabled = !mimics[t];
    range.value = level;
    range.disabled = !inherits;
    value.textContent = `${(100 * shares[level]).toFixed(0)} %`;
    range.setAttribute("aria-valuetext", value.textContent);

    const group = groups[t];
    three.forEach(({ picture, name, rest }, k) => {
      const [latin, common, apart] = group[k];
      const tile = all[at * block + 3 * p + k];
      const [x, y] = [tile % COLUMNS, Math.floor(tile / COLUMNS)];
      picture.style.backgroundPosition = `${(100 * x) / (COLUMNS - 1)}% ${(100 * y) / Math.max(1, sheetRows - 1)}%`;
      picture.dataset.tile = tile;
      picture.setAttribute("aria-label", `${common}, ${latin}, ${poses[p]}`);
      name.textContent = common;
      rest.textContent = latin + (k ? `, ${apart} ${apart === 1 ? "rank" : "ranks"} apart` : "");
      traits.forEach((_, i) => marks[i][k].setAttribute("transform", `translate(${X(z(k, i)).toFixed(1)} ${Y(i)})`));
    });

    const away = [1, 2].map((k) => {
      const mean = traits.reduce((sum, _, i) => sum + (z(k, i) - z(0, i)) ** 2, 0) / traits.length;
      return `${group[k][1]} ${Math.sqrt(mean).toFixed(2)}`;
    });
    const words = `Root mean square difference of the traits from the ${group[0][1]}: ${away.join(", ")}.`;
    const alone = "The null world: every species draws its traits and its body plan by itself. ";
    output.textContent = (inherits ? "" : alone) + words;
    plot.setAttribute("aria-label", `The fourteen traits of the three species. ${words}`);
  }

  draw();
  el.replaceChildren(root);
  return follow(model, changing, draw);
}

export default { render };
