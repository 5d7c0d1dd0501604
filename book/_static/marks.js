// Words that were searched for are marked by the builder's own script, shortly after the page is there: go to the first of them.
const terms = localStorage.getItem("sphinx_highlight_terms");

function first() {
  return [...document.querySelectorAll(".bd-article .highlighted")].find((mark) => mark.checkVisibility());
}

if (terms && !location.hash) setTimeout(() => first()?.scrollIntoView({ block: "center" }), 300);
