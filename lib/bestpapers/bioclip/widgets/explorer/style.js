export const COLUMNS = 16; // of the sheet of pictures

// matplotlib's cividis at even steps
export const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];

export const STYLE = `
.bp-explorer .bp-title { font-weight: 700; margin: 1.1em 0 0.3em; }
.bp-explorer .bp-title:first-of-type { margin-top: 0; }
.bp-explorer .bp-panels { gap: 0.5em 1.5em; }
.bp-explorer .bp-panels > * { flex: 1 1 18em; min-width: 0; }
.bp-explorer .bp-panels > .bp-shown { flex: 0 1 20em; display: flex; gap: 0.8em; align-items: flex-start; }
.bp-explorer p, .bp-explorer output { display: block; margin: 0.3em 0; line-height: 1.4; font-variant-numeric: tabular-nums; }
.bp-explorer figcaption { margin: 0 0 0.2em; }
.bp-explorer input[type=text] { font: inherit; color: inherit; background: transparent; padding: 0.25em 0.5em;
  border: 1px solid color-mix(in srgb, currentColor 60%, transparent); border-radius: 0.3em; }
.bp-explorer input { accent-color: #009E73; }
.bp-explorer .bp-picture { background-image: var(--bp-sheet); background-size: ${100 * COLUMNS}% auto; aspect-ratio: 1;
  image-rendering: pixelated; flex: none; }
.bp-explorer .bp-shown .bp-picture { width: 8em; }
.bp-explorer .bp-few { display: flex; flex-wrap: wrap; gap: 0.3em; min-height: 3em; }
.bp-explorer .bp-few .bp-picture { width: 3em; }
.bp-explorer .bp-grid { display: grid; grid-template-columns: repeat(auto-fill, 2.75em); gap: 0.25em; max-height: 12.2em;
  overflow-y: auto; padding: 3px; position: relative; }
.bp-explorer .bp-grid .bp-picture { width: 2.75em; position: relative; cursor: pointer; }
.bp-explorer .bp-grid [aria-selected=true] { outline: 3px solid #009E73; }
.bp-explorer .bp-mark { position: absolute; right: 0; bottom: 0; background: #1F1F1F; color: #FCFCFA; font-size: 0.7em;
  line-height: 1; padding: 0.15em 0.25em; font-weight: 700; }
.bp-explorer .bp-search { position: relative; flex: 1 1 12em; max-width: 26em; }
.bp-explorer .bp-search input { width: 100%; }
.bp-explorer .bp-found { position: absolute; z-index: 5; left: 0; right: 0; top: 100%; margin: 0; padding: 0; list-style: none;
  background: Canvas; color: CanvasText; border: 1px solid; max-height: 15em; overflow-y: auto; }
.bp-explorer .bp-found li { padding: 0.3em 0.5em; margin: 0; cursor: pointer; line-height: 1.3; }
.bp-explorer .bp-found li[aria-selected=true] { background: #1F1F1F; color: #FCFCFA; outline: 1px solid #FCFCFA; }
.bp-explorer .bp-chips { display: flex; flex-wrap: wrap; gap: 0.3em; align-items: center; margin: 0.3em 0; }
.bp-explorer .bp-chips button { padding: 0.05em 0.5em; min-height: 1.8em; font-size: 0.9em; }
.bp-explorer .bp-bars { list-style: none; margin: 0; padding: 0; }
.bp-explorer .bp-bars li { margin: 0 0 0.3em; padding: 0; line-height: 1.3; }
.bp-explorer .bp-line { display: flex; justify-content: space-between; gap: 0.5em; font-variant-numeric: tabular-nums; }
.bp-explorer .bp-line > :last-child { white-space: nowrap; }
.bp-explorer .bp-line button { padding: 0 0.4em; min-height: 1.5em; line-height: 1.2; }
.bp-explorer .bp-bar { height: 0.5em; background: #009E73; min-width: 1px; }
.bp-explorer .bp-true > .bp-line { font-weight: 700; }
.bp-explorer .bp-true > .bp-bar { background: repeating-linear-gradient(135deg, #009E73 0 4px, #005c43 4px 8px); }
.bp-explorer table { border-collapse: collapse; width: 100%; margin: 0; font-size: 0.95em; font-variant-numeric: tabular-nums;
  background: none; color: inherit; display: table; }
.bp-explorer tr { background: none; }
.bp-explorer th, .bp-explorer td { text-align: left; padding: 0.15em 0.4em 0.15em 0; border: 0; color: inherit;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); vertical-align: top; overflow-wrap: anywhere;
  background: none; }
.bp-explorer th[scope=row] { font-weight: 400; white-space: nowrap; }
.bp-explorer tr[aria-current] > * { font-weight: 700; border-bottom: 3px solid #009E73; }
.bp-explorer figure svg { touch-action: pan-y; }
.bp-explorer svg text { fill: currentColor; font-size: 11.5px; }
.bp-explorer [role=application]:focus-visible { outline: 2px solid #009E73; outline-offset: 2px; }
.bp-explorer svg path { fill: none; }
.bp-explorer .bp-mass { stroke: currentColor; opacity: 0.35; }
.bp-explorer .bp-faint { stroke: currentColor; opacity: 0.18; stroke-width: 1; }
.bp-explorer .bp-predicted { stroke: #0072B2; stroke-width: 3; }
.bp-explorer .bp-truth { stroke: #D55E00; stroke-width: 2.5; stroke-dasharray: 6 4; }
.bp-explorer .bp-cursor { fill: none; stroke: currentColor; stroke-width: 2; }
.bp-explorer svg.bp-key { width: 2em; }
.bp-explorer .bp-map { position: relative; max-width: 24em; cursor: crosshair; }
.bp-explorer canvas { display: block; width: 100%; image-rendering: pixelated; }
.bp-explorer .bp-cell { position: absolute; border: 2px solid #FCFCFA; outline: 1px solid #1F1F1F;
  min-width: 7px; min-height: 7px; pointer-events: none; transform: translate(-50%, -50%); }
.bp-explorer .bp-kingdoms { display: flex; max-width: 24em; font-size: 0.8em; line-height: 1.3; }
.bp-explorer .bp-kingdoms span { border-left: 2px solid currentColor; padding-left: 0.2em; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; min-width: 0; }
.bp-explorer .bp-scale { display: flex; gap: 0.5em; align-items: center; max-width: 24em; font-size: 0.85em; margin-top: 0.2em;
  font-variant-numeric: tabular-nums; }
.bp-explorer .bp-scale i { flex: 1; height: 0.7em; background: linear-gradient(to right, ${CIVIDIS.join(", ")}); }
`;
