// Organisms × traits: a grid to walk with the arrow keys; Enter or a click opens an organism.

const VIEW = {
  statistic: DATA.leading,
  layer: "mean",
  method: METHODS.includes(DATA.method) ? DATA.method : METHODS[0],
  mark: MARKS[0] || "none",
  order: "config",
  rows: "",
  organism: null,
  trait: null,
};
let openOrganism = () => {};
const ON_VIEW = []; // what is drawn again when the view changes

function heatMap() {
  const holder = make("div", { class: "scroll heat-scroll" });
  const legend = make("div", { class: "legend" });
  const update = () => {
    const entries = new Map(AUTHORS.flatMap((author) => TRAITS.map((trait) => [`${author}\n${trait}`, entry(author, trait)])));
    const cap = quantile([...entries.values()].map((each) => (each.value === null ? null : Math.abs(each.value))), 0.99);
    holder.replaceChildren(heatGrid(entries, cap));
    legend.replaceChildren(...heatLegend(cap, entries));
  };
  const set = (name) => (value) => { VIEW[name] = value; update(); for (const redraw of ON_VIEW) redraw(); };
  const tools = make("div", { class: "tools" },
    choice("Statistic", STATISTICS.map((name) => [name, label(name), explain(name)]), VIEW.statistic, set("statistic")),
    choice("Mark where", [...MARKS.map((name) => [name, markLabel(name)]), ["none", "no marks"]], VIEW.mark, set("mark")),
    choice("Layer", [["mean", "all layers together"], ["own", "each trait's own"], ...LAYERS.map((layer) => [String(layer), String(layer)])], VIEW.layer, set("layer")),
    METHODS.length > 1 ? choice("Vectors by", METHODS, VIEW.method, set("method")) : null,
    choice("Order", [["config", "as in the config"], ["largest", "largest entry first"], ["planted", "by what was planted"], ["name", "by name"]], VIEW.order, set("order")),
    searchField("Organisms", set("rows")));
  update();
  return section("heat-map", "Organisms × traits",
    make("p", { class: "lead" }, "How far each organism's own reading of its responses lies from the clean model's reading of the same tokens, along each trait. Choose a cell to see why."),
    tools, legend, holder,
    make("p", { class: "muted" }, "Arrow keys walk the grid, Home and End go to a row's ends, Enter opens an organism."),
    source(DATA.entry_files.map((file) => fileLink(encodePath(file))), fileLink(has("compare_readers/summary.md")), fileLink(has("compare_readers/matrix.png"), "the same as a picture")));
}

function has(path) {
  return DATA.files.includes(path) ? encodePath(path) : null;
}

function entry(author, trait) {
  const rows = rowsOf(author, trait, VIEW.method, VIEW.layer);
  const value = valueOf(VIEW.statistic, rows);
  return { author, trait, value, marked: VIEW.mark === "shams" ? isBeyondShams(author, value) : isMarked(VIEW.mark, rows), rows };
}

// The furthest that any sham reaches on any trait, in the view's statistic.
const SHAM_REACH = new Map();
function isBeyondShams(author, value) {
  const key = [VIEW.statistic, VIEW.layer, VIEW.method].join("\n");
  const sign = isProbability(VIEW.statistic) ? -1 : 1;
  if (!SHAM_REACH.has(key)) {
    const all = SHAMS.flatMap((sham) => TRAITS.map((trait) => valueOf(VIEW.statistic, rowsOf(sham, trait, VIEW.method, VIEW.layer))));
    SHAM_REACH.set(key, Math.max(...all.filter((each) => each !== null).map((each) => sign * each)));
  }
  return value !== null && !SHAMS.includes(author) && sign * value > SHAM_REACH.get(key);
}

function shownAuthors(entries) {
  const words = VIEW.rows.toLowerCase().split(/\s+/).filter(Boolean);
  const found = AUTHORS.filter((author) => words.every((word) => about(author).toLowerCase().includes(word)));
  const sign = isProbability(VIEW.statistic) ? -1 : 1;
  const largest = (author) => Math.max(...TRAITS.map((trait) => { const { value } = entries.get(`${author}\n${trait}`); return value === null ? -Infinity : sign * value; }));
  const planted = (author) => MODELS[author].truth || "\uffff";
  if (VIEW.order === "name") found.sort();
  if (VIEW.order === "largest") found.sort((a, b) => largest(b) - largest(a));
  if (VIEW.order === "planted") found.sort((a, b) => (planted(a) < planted(b) ? -1 : planted(a) > planted(b) ? 1 : 0));
  return found;
}

function about(author) {
  const { role, truth, recipe } = MODELS[author];
  return [author, role, truth && `planted: ${truth}`, recipe && `recipe: ${recipe}`].filter(Boolean).join(" · ");
}

function heatGrid(entries, cap) {
  const authors = shownAuthors(entries);
  const head = make("tr", { role: "row" }, make("td", { class: "corner" }),
    TRAITS.map((trait) => make("th", { scope: "col", role: "columnheader", title: VECTORS[trait] ? VECTORS[trait].definition : null }, make("span", {}, trait.replaceAll("_", " ")))));
  const rows = authors.map((author) => make("tr", { role: "row" },
    make("th", { scope: "row", role: "rowheader", title: about(author) },
      button(author, () => openOrganism(author, strongest(author)), { class: "plain", tabindex: -1 }),
      MODELS[author].role === "sham" ? make("span", { class: "tag" }, "sham") : null),
    TRAITS.map((trait) => heatCell(entries.get(`${author}\n${trait}`), cap))));
  const grid = make("table", { class: "heat", role: "grid", "aria-label": `Organisms by traits: ${label(VIEW.statistic)}` }, make("thead", {}, head), make("tbody", {}, rows));
  walkable(grid, openCell);
  const first = grid.querySelector(".chosen") || grid.querySelector("td[data-trait]");
  if (first) first.tabIndex = 0;
  return grid;
}

function heatCell({ author, trait, value, marked, rows }, cap) {
  const planted = MODELS[author].truth === trait;
  const text = showStatistic(VIEW.statistic, value);
  const interval = showInterval(VIEW.statistic, rows);
  const cell = make("td", {
    role: "gridcell", tabindex: -1, "data-author": author, "data-trait": trait,
    "aria-label": `${author}, ${trait}: ${text}${interval}${marked ? ", marked" : ""}${planted ? ", planted" : ""}`,
    title: `${author} · ${trait}: ${text}${interval}${marked ? `\n${markLabel(VIEW.mark)}` : ""}${planted ? "\nplanted here" : ""}`,
  }, text);
  tint(cell, depth(VIEW.statistic, value, cap));
  cell.classList.toggle("marked", marked);
  cell.classList.toggle("planted", planted);
  cell.classList.toggle("chosen", author === VIEW.organism && trait === VIEW.trait);
  return cell;
}

function heatLegend(cap, entries) {
  const marked = [...entries.values()].filter((each) => each.marked).length;
  const ends = isProbability(VIEW.statistic) ? ["1", "≤ .0001"] : [show(-cap), `0`, show(cap)];
  const bar = make("span", { class: isProbability(VIEW.statistic) ? "bar one-sided" : "bar", "aria-hidden": "true" });
  const layers = VIEW.layer === "mean" && LAYERS.length > 1 && !ALL_LAYERS
    ? ` Over ${LAYERS.length} layers: means; p and q are the largest of any layer, and the ends of intervals are averaged, which makes them no narrower.` : "";
  return [
    make("span", { class: "scale" }, ends[0], bar, ends[ends.length - 1]),
    VIEW.mark === "none" ? null : make("span", { class: "key" }, make("i", { class: "swatch marked" }), `${markLabel(VIEW.mark)}: ${marked} of ${entries.size} entries`),
    Object.values(MODELS).some((model) => model.truth) ? make("span", { class: "key" }, make("i", { class: "swatch planted" }), "planted here") : null,
    make("p", { class: "muted" }, `${explain(VIEW.statistic)}${layers} The largest of ${entries.size} entries is high by chance too.`),
  ].filter(Boolean);
}

function strongest(author) {
  const sign = isProbability(VIEW.statistic) ? -1 : 1;
  const size = (trait) => { const { value } = entry(author, trait); return value === null ? -Infinity : sign * value; };
  return TRAITS.reduce((best, trait) => (size(trait) > size(best) ? trait : best));
}

function openCell(cell) {
  openOrganism(cell.dataset.author, cell.dataset.trait);
}

function markChosen() {
  let reachable = null;
  for (const cell of document.querySelectorAll("table.heat td[data-trait]")) {
    const chosen = cell.dataset.author === VIEW.organism && cell.dataset.trait === VIEW.trait;
    cell.classList.toggle("chosen", chosen);
    if (chosen) cell.setAttribute("aria-selected", "true"); else cell.removeAttribute("aria-selected");
    cell.tabIndex = -1;
    if (chosen || !reachable) reachable = cell;
  }
  if (reachable) reachable.tabIndex = 0;
}
