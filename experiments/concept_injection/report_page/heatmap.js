// Layers × strengths: a grid to walk with the arrow keys; Enter or a click shows a cell's replies.

function heatMap() {
  if (!LAYERS.length) return section("heat-map", "Layer × strength", make("p", { class: "notice" }, "There is no trial yet with anything injected."));
  const holder = make("div", { class: "scroll" });
  const legend = make("div", { class: "legend" });
  const update = () => {
    holder.replaceChildren(heatGrid());
    legend.replaceChildren(...heatLegend());
  };
  const tools = make("div", { class: "tools" },
    MEASURES.length ? choice("Show", MEASURES.map(({ name, label, about }) => [name, label, about]), VIEW.measure.name, setView("measure")) : null,
    choice("Injected", SEEN.map((condition) => [condition, CONDITIONS[condition]]), VIEW.condition, setView("condition")),
    choice("Which concept", [[ALL, "all together"], ...CONCEPTS], VIEW.concept, setView("concept")));
  ON_VIEW.push(update);
  update();
  return section("heat-map", "Layer × strength", tools, legend, holder,
    make("p", { class: "muted" }, "Arrow keys walk the grid, Home and End go to a row's ends, Enter shows the replies of a cell."));
}

function capOf(measure) {
  if (measure.kind !== "nats") return 1;
  return Math.max(...measure.rows.map((row) => Math.abs(row[measure.name] ?? 0)), 1e-9);
}

function heatGrid() {
  const head = make("tr", { role: "row" }, make("td", { class: "corner" }, "layer ↓ strength →"), STRENGTHS.map((strength) => make("th", { scope: "col", role: "columnheader" }, String(strength))));
  const rows = LAYERS.map((layer) => make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader" }, String(layer)), STRENGTHS.map((strength) => heatCell(layer, strength))));
  const grid = make("table", { class: "heat", role: "grid", "aria-label": `Layers by strengths: ${VIEW.measure ? VIEW.measure.label : "replies"}` }, make("thead", {}, head), make("tbody", {}, rows));
  walkable(grid, (cell) => openCell(VIEW.condition, Number(cell.dataset.layer), Number(cell.dataset.strength)));
  (grid.querySelector(".chosen") || grid.querySelector(GRID_CELL)).tabIndex = 0;
  return grid;
}

function heatCell(layer, strength) {
  const { measure, condition, concept, open } = VIEW;
  const row = measure && rowOf(measure, condition, layer, strength, concept);
  const value = row ? row[measure.name] ?? null : null;
  const unjudged = row && row.unjudged ? `, ${row.unjudged} of ${row.trials} unjudged` : "";
  const random = row && row.beyond_random ? `, ${row.beyond_random === "yes" ? "beyond" : "not beyond"} every random direction` : "";
  const said = `layer ${layer}, strength ${strength}: ${measure ? showWithInterval(measure, row) : "replies"}${unjudged}${random}`;
  const cell = make("td", { role: "gridcell", tabindex: -1, "data-layer": layer, "data-strength": strength, "aria-label": said, title: said }, measure ? showValue(measure, value) : "");
  if (measure) tint(cell, Math.max(-1, Math.min(1, (value ?? 0) / capOf(measure))));
  cell.classList.toggle("marked", Boolean(unjudged) || Boolean(row && row.beyond_random === "yes"));
  const chosen = Boolean(open) && open.condition === condition && open.layer === layer && open.strength === strength;
  cell.classList.toggle("chosen", chosen);
  if (chosen) cell.setAttribute("aria-selected", "true");
  return cell;
}

function heatLegend() {
  const { measure } = VIEW;
  if (!measure) return [make("p", { class: "muted" }, "Nothing is measured yet: a cell shows its replies.")];
  const cap = capOf(measure);
  const ends = [measure.kind === "share" ? "0%" : showValue(measure, -cap), showValue(measure, cap)];
  const mark = measure.kind === "nats" ? "beyond every random direction" : "some trials are unjudged";
  const by = measure.kind === "nats" ? "Intervals over concepts." : VIEW.concept === ALL && among("interval_by", DATA.rates).includes("concepts") ? "Intervals by resampling concepts." : "Intervals by trials, for these concepts alone.";
  return [
    make("span", { class: "scale" }, ends[0], make("span", { class: measure.kind === "share" ? "bar one-sided" : "bar", "aria-hidden": "true" }), ends[1]),
    make("span", { class: "key" }, make("i", { class: "swatch marked" }), mark),
    make("p", { class: "muted" }, `${measure.about} ${by} The largest of ${LAYERS.length * STRENGTHS.length} cells is high by chance too.`),
  ];
}
