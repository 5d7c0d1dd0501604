// Brings the book's widgets to life on a page without a kernel.
//
// In JupyterLab a widget is an anywidget. On the page the same ES module is mounted on the element that the widget left
// in its text/html output:
//   <div class="nbwidget" data-module="x.js" data-state='{"trait": value, "bytes": {"b64": "..."}}'>shown until mounted</div>
// The module is found in esm/ beside this file, or, on a page that is one file (Widget.page), as a JSON string in the script
// element whose id is the module's name. What JupyterLab hands over as a DataView is a DataView here too.

class Model {
  constructor(state) {
    this.state = state;
    this.listeners = new Map();
  }
  get(key) {
    return this.state[key];
  }
  set(key, value) {
    if (this.state[key] === value) return;
    this.state[key] = value;
    this.emit(`change:${key}`);
    this.emit("change");
  }
  on(names, callback) {
    for (const name of names.split(/\s+/)) {
      if (!this.listeners.has(name)) this.listeners.set(name, new Set());
      this.listeners.get(name).add(callback);
    }
  }
  off(names, callback) {
    if (!names) return this.listeners.clear();
    for (const name of names.split(/\s+/)) {
      if (callback) this.listeners.get(name)?.delete(callback);
      else this.listeners.delete(name);
    }
  }
  emit(name) {
    for (const callback of [...(this.listeners.get(name) ?? [])]) callback();
  }
  save_changes() {} // there is no kernel to tell
  send() {}
}

function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  const keys = Object.keys(value);
  if (typeof value.b64 === "string") {
    const bytes = Uint8Array.from(atob(value.b64), (c) => c.charCodeAt(0));
    return new DataView(bytes.buffer);
  }
  return Object.fromEntries(keys.map((k) => [k, decode(value[k])]));
}

async function mount(el) {
  const held = document.getElementById(el.dataset.module);
  const module = await import(
    held
      ? `data:text/javascript,${encodeURIComponent(JSON.parse(held.textContent))}`
      : new URL(`esm/${el.dataset.module}`, import.meta.url)
  );
  const widget = typeof module.default === "function" ? await module.default() : module.default;
  const model = new Model(decode(JSON.parse(el.dataset.state)));
  await widget.initialize?.({ model });
  el.replaceChildren();
  await widget.render({ model, el });
  el.dataset.mounted = "yes";
}

for (const el of document.querySelectorAll(".nbwidget")) {
  const still = [...el.childNodes]; // what stands there without script comes back if the figure cannot start
  mount(el).catch((error) => {
    el.replaceChildren(`This figure could not be started: ${error.message}`, ...still);
    console.error(`widget ${el.dataset.module}:`, error);
  });
}
