// On the page of the search alone: a result's summary shows text of its page, not code, formulas or the state of a live figure.
const NO_TEXT = "pre, .cell_input, .cell_output, details, .nbwidget, .nbwidget-later, .math, .d-print-none, .onlyprint, .prev-next-area, footer";

if (typeof Search !== "undefined") {
  const htmlToText = Search.htmlToText;
  Search.htmlToText = (text, anchor) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    page.querySelectorAll(NO_TEXT).forEach((el) => el.remove());
    return htmlToText(page.documentElement.outerHTML, anchor);
  };
}
