// The answer: the most probable labels, their sums up the ranks, and how deep these carry at a confidence.

import { button, make, put, slider } from "../../../course/widgets/dom.js";
import { best, rollup } from "./scores.js";
import { RANKS, full, nameOf, same, short, starts } from "./taxa.js";

const SHOWN = 8; // labels with a bar

// { parts, to be put on the page; answer: the element with the answer in words; draw }. input takes the focus if no bar is left.
export function answers({ id, model, labels, species, input }) {
  const bars = make("ol", { class: "bp-bars", "aria-label": "Most probable labels" });
  const others = make("p", { class: "bp-caption" });
  const body = make("tbody");
  const head = ["rank", "most probable", "true"].map((words) => make("th", { scope: "col" }, words));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), body);
  const value = make("span", { class: "bp-value" });
  const moved = (percent) => put(model, { confidence: percent / 100 });
  const limits = { min: 0, max: 100, step: 1 };
  const { range, row } = slider(`${id}-confidence`, "stop at the deepest rank above", limits, moved, value);
  const answer = make("output", { for: range.id, "aria-live": "polite" });

  // p: probabilities of the chosen labels; result: { path, p } of the deepest rank above the confidence, or null
  function draw(p, result) {
    const truth = species[model.get("organism")];
    const chosen = model.get("labels");
    const own = chosen.map((i) => labels[i]);
    const order = p.map((_, i) => i).sort((a, b) => p[b] - p[a] || a - b);
    bars.replaceChildren(
      ...order.slice(0, SHOWN).map((i) => {
        const right = starts(truth.path, own[i].path);
        const words = make("span", {}, full(own[i]), own[i].rank < 6 ? `, ${RANKS[own[i].rank]}` : "", right ? " ✓" : "");
        const bar = make("div", { class: "bp-bar" });
        bar.style.width = `${100 * p[i]}%`;
        const off = button("×", () => {
          put(model, { labels: model.get("labels").filter((other) => other !== chosen[i]) });
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

    const percent = Math.round(100 * model.get("confidence"));
    range.value = percent;
    value.textContent = `${percent} %`;
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
  }

  const parts = [
    row,
    answer,
    make("div", { class: "bp-panels" }, make("div", {}, bars, others), make("div", {}, table)),
  ];
  return { parts, answer, draw };
}
