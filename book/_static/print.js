// On paper hints and answers are open, and the page is light, whatever it is on the screen. Code that draws a figure stays folded.
const root = document.documentElement;
let before = null;

addEventListener("beforeprint", () => {
  if (before) return;
  const closed = [...document.querySelectorAll(".bd-article details:not(.below-output):not([open])")];
  before = { theme: root.dataset.theme, closed };
  closed.forEach((fold) => (fold.open = true));
  root.dataset.theme = "light";
});

addEventListener("afterprint", () => {
  before?.closed.forEach((fold) => (fold.open = false));
  if (before) root.dataset.theme = before.theme;
  before = null;
});
