const task = JSON.parse(document.getElementById("task").textContent);

// What people answered: kept in the browser, written out as the export, read in again. Nothing here touches the page.

const blank = (picture) => ({
  points: Object.fromEntries(task.maps.map((kind) => [kind, []])),
  likert: {},
  misaligned: picture.words.map(() => false),
  changed: 0, // when, in milliseconds
});

const whole = (answer) => task.scores.every((name) => answer.likert[name] !== undefined);
const started = (answer) =>
  Object.keys(answer.likert).length > 0 ||
  answer.misaligned.includes(true) ||
  task.maps.some((kind) => answer.points[kind].length > 0);

// A click at shares 0..1 of the picture -> pixels, the centre of the first one being 0, 0; two digits, never outside
const pixel = (share, side) => Math.min(side - 0.5, Math.max(-0.5, Math.round(100 * (share * side - 0.5)) / 100));

// Answers by person, then by picture. A browser that keeps nothing (private windows, some settings for files) is told apart
class Answers {
  constructor(store, key) {
    Object.assign(this, { store, key });
    this.load();
  }

  load() {
    this.people = new Map();
    try {
      const found = JSON.parse(this.store.getItem(this.key) ?? "{}");
      for (const [person, answers] of Object.entries(found.people ?? {})) {
        for (const [name, answer] of Object.entries(answers)) this.put(person, name, answer);
      }
      this.last = found.last;
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }

  // Whatever was stored, only what fits the pictures of this page is taken
  put(person, name, answer) {
    const picture = task.pictures.find((p) => p.name === name);
    if (!picture || typeof person !== "string" || !person || person.length > 200) return false;
    const made = blank(picture);
    const inside = (at, side) => Number.isFinite(at) && at >= -0.5 && at <= side - 0.5;
    for (const kind of task.maps) {
      made.points[kind] = (answer?.points?.[kind] ?? [])
        .filter((p) => p?.length === 2 && inside(p[0], picture.width) && inside(p[1], picture.height))
        .slice(0, task.most);
    }
    for (const score of task.scores) {
      const said = answer?.likert?.[score];
      if (Number.isInteger(said) && said >= 1 && said <= task.likert) made.likert[score] = said;
    }
    made.misaligned = made.misaligned.map((_, i) => answer?.misaligned?.[i] === true);
    if (Number.isFinite(answer?.changed)) made.changed = answer.changed;
    if (!this.people.has(person)) this.people.set(person, new Map());
    this.people.get(person).set(name, made);
    return true;
  }

  of(person, picture) {
    if (!this.people.has(person)) this.people.set(person, new Map());
    const theirs = this.people.get(person);
    if (!theirs.has(picture.name)) theirs.set(picture.name, blank(picture));
    return theirs.get(picture.name);
  }

  done(person) {
    const theirs = this.people.get(person) ?? new Map();
    return task.pictures.filter((p) => theirs.has(p.name) && whole(theirs.get(p.name))).length;
  }

  save(last) {
    this.last = last;
    const people = Object.fromEntries(
      [...this.people].map(([who, theirs]) => [who, Object.fromEntries([...theirs].filter(([, a]) => started(a)))]),
    );
    try {
      this.store.setItem(this.key, JSON.stringify({ people, last }));
      this.kept = true;
    } catch {
      this.kept = false;
    }
    return this.kept;
  }

  // Only whole answers: a picture without its four scores is not said to be anything yet
  exported() {
    const pictures = task.pictures.map(({ name, prompt, width, height }) => ({
      name, prompt, width, height,
      annotations: [...this.people]
        .filter(([, theirs]) => theirs.has(name) && whole(theirs.get(name)))
        .map(([annotator, theirs]) => ({ annotator, ...theirs.get(name) })),
    }));
    return { format: task.format, pictures: pictures.filter((p) => p.annotations.length) };
  }

  // An export of this page's pictures; returns how many answers were taken, and how many not: what is here is as new, or newer
  take(text) {
    const found = JSON.parse(text);
    if (found?.format !== task.format) throw new Error("not an export");
    const count = { taken: 0, stay: 0 };
    for (const { name, prompt, width, height, annotations } of found.pictures) {
      const same = task.pictures.some(
        (p) => p.name === name && p.prompt === prompt && p.width === width && p.height === height,
      );
      for (const answer of same ? annotations : []) {
        const here = this.people.get(answer.annotator)?.get(name);
        if (here && started(here) && here.changed >= (answer.changed ?? 0)) count.stay += 1;
        else count.taken += this.put(answer.annotator, name, answer);
      }
    }
    return count;
  }
}
