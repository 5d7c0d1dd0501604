// Figures on the front page: those whose state lies in a file of its own come when a reader is near; the first one moves once by itself.

const waiting = document.querySelectorAll(".nbwidget-later");

async function bring(el) {
  try {
    const { mount } = await import(document.querySelector('script[src*="mount.js"]').src); // the very module that the page has
    const answer = await fetch(el.dataset.from);
    if (!answer.ok) throw new Error(`${answer.status} ${el.dataset.from}`);
    el.dataset.state = await answer.text();
    el.className = "nbwidget";
    await mount(el);
  } catch (error) {
    console.error("a figure could not be fetched:", error); // what stands there without script stays
  }
}

if (waiting.length) {
  const near = new IntersectionObserver(
    (seen) =>
      seen.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
        near.unobserve(target);
        bring(target);
      }),
    { rootMargin: "800px 0px" },
  );
  waiting.forEach((el) => near.observe(el));
}

// The slider of a figure that plays goes up to its end and back to where it began, unless somebody takes hold of it or has asked for rest.
const STEP = 1100; // ms: a picture has to be seen

function play(block) {
  const slider = block.querySelector("input[type=range]");
  if (!slider) return;
  const [begin, last] = [Number(slider.value), Number(slider.max)];
  const way = [];
  for (let k = begin + 1; k <= last; k++) way.push(k);
  for (let k = last - 1; k >= begin; k--) way.push(k);
  const stop = () => clearInterval(clock);
  const clock = setInterval(() => {
    if (!way.length || document.hidden) return way.length || stop();
    slider.value = way.shift();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }, STEP);
  for (const what of ["pointerdown", "keydown", "focusin", "touchstart"]) block.addEventListener(what, stop, { once: true, passive: true });
}

if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
  for (const block of document.querySelectorAll(".live.plays")) {
    const ready = new MutationObserver(() => {
      if (!block.querySelector("[data-mounted]")) return;
      ready.disconnect();
      play(block);
    });
    if (block.querySelector("[data-mounted]")) play(block);
    else ready.observe(block, { attributes: true, subtree: true });
  }
}
