// A figure opens large on a click, a tap or Enter; Escape, a click or the button closes it, and the focus returns. The builder
// links each sharp figure to its picture, so that without script a click shows that.

const figures = document.querySelectorAll(".cell_output a.image-reference");

function open(link) {
  const small = link.querySelector("img");
  const dialog = document.createElement("dialog");
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", small.alt);
  const large = new Image();
  Object.assign(large, { src: link.href, alt: small.alt });
  large.toggleAttribute("data-drawn", small.hasAttribute("data-drawn"));
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
  dialog.append(close, large);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    link.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal(); // the browser keeps the focus inside, and closes at Escape
}

for (const link of figures) {
  link.setAttribute("aria-haspopup", "dialog");
  link.title = "Open large";
  link.addEventListener("click", (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return; // into a tab of its own, as any link
    event.preventDefault();
    open(link);
  });
}
