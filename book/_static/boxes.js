// Code, printed lines, tables and formulas that are wider than their box: the box can be reached by the Tab key and scrolled by
// arrow keys, has a name for who cannot see it, and fades out on the side where there is more (book.css, by data-more).

const FORMULA = "span.math, div.math mjx-container";
const BOXES = `.bd-article pre, .wide-table, .pst-scrollable-table-container, .cell_output div:has(> table), ${FORMULA}`;

function nameOf(box) {
  if (box.querySelector("table")) {
    const nth = [...document.querySelectorAll(".bd-article table")].indexOf(box.querySelector("table")) + 1;
    return box.querySelector("caption")?.textContent.trim() || `Table ${nth}`; // each region needs a name of its own
  }
  return box.closest(".cell_input, [class*='highlight-']") ? "Code" : "Printed output";
}

function look(box) {
  const formula = box.matches(FORMULA) && box.querySelector("mjx-math"); // beside it stand words, unseen
  const hidden = (formula ? formula.getBoundingClientRect().width - 1 : box.scrollWidth) - box.clientWidth;
  const sides = hidden > 1 ? { left: box.scrollLeft > 1, right: box.scrollLeft < hidden - 1 } : {};
  const more = Object.keys(sides).filter((side) => sides[side]).join(" ");
  if (more === (box.dataset.more ?? "")) return;
  if (!more) {
    delete box.dataset.more;
    return;
  }
  box.dataset.more = more;
  if (formula) return; // MathJax has made it focusable and given it words
  box.tabIndex = 0;
  box.setAttribute("role", box.querySelector("table") ? "region" : "group"); // a page has too much code to make it all landmarks
  box.setAttribute("aria-label", `${nameOf(box)}, scrolls sideways`);
}

const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => look(target)));

function watch() {
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.closest(".nbwidget") || box.dataset.watched) continue;
    box.dataset.watched = "yes";
    box.addEventListener("scroll", () => look(box), { passive: true });
    sizes.observe(box);
    look(box);
  }
}

// A heading inside a live figure is at most one level below the heading before it: a figure does not know what page it is shown on.
function levels() {
  let last = 1;
  for (const heading of document.querySelectorAll(".bd-article :is(h1, h2, h3, h4, h5, h6, [role=heading])")) {
    const level = Number(heading.ariaLevel ?? heading.tagName[1]);
    if (heading.ariaLevel && level > last + 1) heading.ariaLevel = String(last + 1);
    last = Math.min(level, last + 1);
  }
}

watch();
document.fonts?.ready.then(() => document.querySelectorAll("[data-watched]").forEach(look));
// formulas come when MathJax has drawn them, outputs when a fold is opened
new MutationObserver(() => (watch(), levels())).observe(document.querySelector(".bd-article") ?? document.body, { childList: true, subtree: true });
