// The page itself: whose answers, which picture, where, which words, how good.

const KINDS = {
  implausibility: ["Looks wrong", "a hand with six fingers, a melted edge, text that is none"],
  misalignment: ["Is not what was asked for", "the wrong colour, number or place, a thing too many"],
};
const QUESTIONS = {
  plausibility: ["Plausibility", "impossible", "flawless"],
  aesthetics: ["Beauty", "ugly", "beautiful"],
  alignment: ["Match with the prompt", "none", "full"],
  overall: ["All in all", "bad", "excellent"],
};
const counted = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const STEP = 0.02; // of the picture's height, by an arrow key; with Shift one pixel

function make(tag, props = {}, ...children) {
  const svg = ["svg", "circle", "path"].includes(tag);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (name in e && !svg) e[name] = value;
    else e.setAttribute(name, value);
  }
  e.append(...children);
  return e;
}

function storage() {
  try {
    return window.localStorage;
  } catch {
    return null; // every use of it fails, and that is told
  }
}

const answers = new Answers(storage(), `bestpapers annotations ${task.mark}`);
const at = { person: answers.last?.person ?? "", number: 0, kind: task.maps[0], cursor: null };
if (task.pictures[answers.last?.number]) at.number = answers.last.number;

const picture = () => task.pictures[at.number];
const answer = () => answers.of(at.person, picture());

// ------------------------------------------------------------------------------------------------------------ elements

const say = make("output", { className: "say" });
const who = make("input", {
  id: "who", autocomplete: "off", maxLength: 100, value: at.person, onchange: () => begin(who.value),
  onkeydown: (event) => event.key === "Enter" && begin(who.value),
});
who.setAttribute("list", "people");
const people = make("datalist", { id: "people" });
const count = make("p", { className: "count" });
const prompt = make("p", { className: "prompt" });
const image = make("img", { alt: "" });
const marks = make("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
const stage = make("div", {
  className: "stage", tabIndex: 0, onclick: clicked, onkeydown: keyed, onblur: draw, onfocus: draw,
});
stage.setAttribute("role", "application");
stage.append(image, marks);
const chosen = make("div", { className: "row", role: "radiogroup" });
chosen.setAttribute("aria-label", "What a point says");
for (const kind of task.maps) {
  const box = make("input", { type: "radio", name: "kind", value: kind, checked: kind === at.kind });
  box.addEventListener("change", () => { at.kind = kind; draw(); });
  const [title, such] = KINDS[kind];
  const said = make("span", {}, make("b", {}, title), make("small", {}, such));
  chosen.append(make("label", { className: kind }, box, said));
}
const undo = make("button", {
  type: "button", textContent: "Take back the last point",
  onclick: () => { answer().points[at.kind].pop(); changed(); },
});
const toggles = make("div", { className: "row words", role: "group" });
toggles.setAttribute("aria-label", "Words that the picture does not honour");
const scores = make("div", { className: "scores" });
for (const name of task.scores) {
  const [title, low, high] = QUESTIONS[name];
  const row = make("div", { className: "likert" }, make("small", {}, low));
  for (let n = 1; n <= task.likert; n++) {
    const box = make("input", { type: "radio", name, value: String(n) });
    box.addEventListener("change", () => { answer().likert[name] = n; changed(); });
    box.setAttribute("aria-label", `${title}: ${n} of ${task.likert}`);
    row.append(make("label", {}, box, String(n)));
  }
  row.append(make("small", {}, high));
  scores.append(make("fieldset", {}, make("legend", {}, title), row));
}
const back = make("button", { type: "button", textContent: "Back", onclick: () => go(at.number - 1) });
const next = make("button", { type: "button", textContent: "Next", onclick: () => go(at.number + 1) });
const open = make("button", { type: "button", textContent: "Next without answers", onclick: missing });
const download = make("button", { type: "button", textContent: "Download all answers", onclick: exported });
const file = make("input", { type: "file", id: "file", accept: ".json,application/json", onchange: taken });
const body = make("div", { className: "body" },
  make("div", { className: "left" }, prompt, stage, chosen, undo),
  make("div", { className: "right" },
    make("h2", { textContent: "Words that the picture does not honour" }), toggles,
    make("h2", { textContent: "Four scores" }), scores,
    make("div", { className: "row" }, back, next, open)));
document.getElementById("page").replaceChildren(
  make("p", {}, make("label", { htmlFor: "who", textContent: "Your name " }), who, people),
  count, body, say,
  make("div", { className: "row" }, download,
    make("label", { htmlFor: "file", textContent: "Go on from a download " }), file));

// ------------------------------------------------------------------------------------------------------------- drawing

function circle(kind, [x, y], radius) {
  return make("circle", { class: kind, cx: x, cy: y, r: radius });
}

function draw() {
  const { width, height } = picture();
  marks.replaceChildren();
  for (const kind of task.maps) {
    for (const point of answer().points[kind]) {
      marks.append(circle(`edge ${kind}`, point, task.radius * height), circle(kind, point, task.radius * height));
    }
  }
  if (at.cursor && document.activeElement === stage) {
    const [x, y] = at.cursor, r = task.radius * height;
    for (const name of ["edge", ""]) {
      marks.append(make("path", { class: `cursor ${name}`, d: `M${x - r} ${y}H${x + r}M${x} ${y - r}V${y + r}` }));
    }
  }
  const n = task.maps.map((kind) => `${answer().points[kind].length} ${KINDS[kind][0].toLowerCase()}`).join(", ");
  stage.setAttribute("aria-label",
    `Picture ${at.number + 1}, ${width} by ${height} pixels. Points: ${n}. Arrow keys move, Enter marks or takes away.`);
  undo.disabled = !answer().points[at.kind].length;
}

function show() {
  const named = at.person !== "";
  body.hidden = !named;
  people.replaceChildren(...[...answers.people.keys()].map((value) => make("option", { value })));
  if (!named) {
    count.textContent =
      `${counted(task.pictures.length, "picture")}. Give a name, any name, to begin; with it you go on another time.`;
    return;
  }
  const { name, prompt: text, words, width, height, source } = picture();
  count.textContent =
    `Picture ${at.number + 1} of ${task.pictures.length}: ${name}. ` +
    `${at.person} has answered ${answers.done(at.person)}.`;
  prompt.textContent = text || "(no prompt)";
  if (image.dataset.name !== name) image.src = source;
  image.dataset.name = name;
  stage.style.setProperty("--ratio", width / height);
  stage.classList.toggle("small", Math.max(width, height) <= 256);
  marks.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  const { misaligned, likert } = answer();
  if (toggles.dataset.name !== `${at.person} ${name}`) {
    toggles.dataset.name = `${at.person} ${name}`;
    toggles.replaceChildren(...words.map((word, i) => make("button", {
      type: "button", textContent: word,
      onclick: () => { answer().misaligned[i] = !answer().misaligned[i]; changed(); },
    })));
  }
  [...toggles.children].forEach((button, i) => button.setAttribute("aria-pressed", misaligned[i]));
  for (const box of scores.querySelectorAll("input")) box.checked = likert[box.name] === Number(box.value);
  back.disabled = at.number === 0;
  next.disabled = at.number === task.pictures.length - 1;
  draw();
}

// ------------------------------------------------------------------------------------------------------------ what is done

function changed() {
  answer().changed = Date.now();
  const kept = answers.save({ person: at.person, number: at.number });
  say.textContent = kept
    ? whole(answer()) ? "Saved in this browser." : "Saved in this browser. The picture still lacks a score."
    : "This browser keeps nothing: download the answers before you close the page.";
  show();
}

function begin(name) {
  name = name.trim();
  if (name === at.person) return;
  at.person = name;
  at.cursor = null;
  if (name) answers.save({ person: name, number: at.number });
  say.textContent = answers.kept ? "" : "This browser keeps nothing: download the answers before you close the page.";
  show();
}

function go(number) {
  at.number = number;
  at.cursor = null;
  answers.save({ person: at.person, number });
  say.textContent = "";
  show();
  stage.scrollIntoView({ block: "nearest" });
}

function missing() {
  const n = task.pictures.length;
  for (let i = 1; i <= n; i++) {
    const number = (at.number + i) % n;
    if (!whole(answers.of(at.person, task.pictures[number]))) return go(number);
  }
  say.textContent = "All pictures are answered. Download the answers.";
}

// A point where there is one of its kind already takes that away
function mark(x, y, reach) {
  const points = answer().points[at.kind];
  const near = points.findIndex(([a, b]) => Math.hypot(a - x, b - y) <= reach);
  if (near >= 0) points.splice(near, 1);
  else if (points.length < task.most) points.push([x, y]);
  changed();
}

function clicked(event) {
  const box = image.getBoundingClientRect(), { width, height } = picture();
  const x = pixel((event.clientX - box.left) / box.width, width);
  const y = pixel((event.clientY - box.top) / box.height, height);
  at.cursor = null;
  mark(x, y, (8 * width) / box.width); // 8 px of the screen
}

function keyed(event) {
  const { width, height } = picture();
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const done = way || ["Enter", " ", "Backspace", "Delete"].includes(event.key);
  if (!done || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  at.cursor ??= [(width - 1) / 2, (height - 1) / 2];
  if (way) {
    const step = event.shiftKey ? 1 : Math.max(1, STEP * height);
    at.cursor = at.cursor.map((v, i) => pixel((v + way[i] * step + 0.5) / [width, height][i], [width, height][i]));
    say.textContent = `At ${at.cursor.map((v) => Math.round(v)).join(", ")}.`;
    draw();
  } else if (event.key === "Enter" || event.key === " ") mark(...at.cursor, Math.max(0.5, STEP * height));
  else if (!undo.disabled) undo.click();
}

function exported() {
  const made = answers.exported();
  if (!made.pictures.length) {
    say.textContent = "No picture has all four scores yet; one without them is not exported.";
    return;
  }
  const url = URL.createObjectURL(new Blob([JSON.stringify(made, null, 1)], { type: "application/json" }));
  const name = [...answers.people.keys()].filter((p) => answers.done(p)).join("_").replace(/[^\p{L}\p{N}_-]+/gu, "-");
  make("a", { href: url, download: `annotations_${name.slice(0, 60)}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  say.textContent = `The download holds ${counted(made.pictures.length, "picture")} with whole answers.`;
}

async function taken() {
  if (!file.files.length) return;
  try {
    const { taken, stay } = answers.take(await file.files[0].text());
    answers.save({ person: at.person, number: at.number });
    const rest = stay ? `, ${stay} not: what this browser holds is as new, or newer` : "";
    say.textContent = `Taken: ${counted(taken, "answer")} to pictures of this page${rest}.`;
  } catch {
    say.textContent = "This file is no download of an annotation page.";
  }
  file.value = "";
  show();
}

// another tab of the same page has written
window.addEventListener("storage", (event) => {
  if (event.key !== answers.key) return;
  answers.load();
  show();
});

show();
