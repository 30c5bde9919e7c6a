// One organism: its traits with intervals, its curves over layers, its responses.

function organismPanel() {
  const body = make("div", {}, make("p", { class: "muted" }, "Choose a cell of the heat map."));
  openOrganism = (author, trait, options = {}) => {
    if (!author || !trait) return;
    Object.assign(VIEW, { organism: author, trait });
    markChosen();
    body.replaceChildren(...organismContent(author, trait));
    if (options.quiet) return;
    history.replaceState(null, "", `#${new URLSearchParams({ organism: author, trait })}`);
    const title = body.querySelector("h3");
    title.focus({ preventScroll: true });
    document.getElementById("organism").scrollIntoView({ block: "start" });
  };
  ON_VIEW.push(() => openOrganism(VIEW.organism, VIEW.trait, { quiet: true }));
  const panel = section("organism", "Organism", body);
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") backToHeatMap(); });
  return panel;
}

function backToHeatMap() {
  document.getElementById("heat-map").scrollIntoView({ block: "start" });
  const cell = document.querySelector("table.heat .chosen");
  if (cell) cell.focus({ preventScroll: true });
}

function organismContent(author, trait) {
  const at = AUTHORS.indexOf(author);
  const step = (by) => { const next = AUTHORS[(at + by + AUTHORS.length) % AUTHORS.length]; openOrganism(next, strongest(next)); };
  return [
    make("div", { class: "heading" },
      make("h3", { tabindex: -1 }, author, make("span", { class: "arrow", "aria-hidden": "true" }, " → "), trait),
      make("div", { class: "tools" }, button("← Previous", () => step(-1)), button("Next →", () => step(1)), button("Back to the heat map (Esc)", backToHeatMap))),
    make("p", { class: "facts" }, organismFacts(author)),
    VECTORS[trait] && VECTORS[trait].definition ? make("p", { class: "definition" }, make("b", {}, `${trait}: `), VECTORS[trait].definition) : null,
    make("div", { class: "columns" }, make("div", {}, traitTable(author, trait)), make("div", {}, layerCurve(author, trait))),
    source(DATA.entry_files.map((file) => fileLink(encodePath(file)))),
    make("h4", {}, `What it said that lies furthest along ${trait}`),
    responsesOf(author, trait),
  ].filter(Boolean);
}

function organismFacts(author) {
  const { role, truth, recipe, model, adapter, quantization } = MODELS[author];
  const facts = [role, truth ? `planted: ${truth}` : null, recipe ? `recipe: ${recipe}` : null, model, adapter ? `adapter: ${adapter}` : null, quantization];
  return facts.filter(Boolean).join(" · ");
}

// The traits of an organism: all columns of the view's layer, the leading interval drawn.
function traitTable(author, chosen) {
  const wanted = [VIEW.statistic, VIEW.statistic.startsWith("centred") ? "centred_top" : "top", ...STATISTICS];
  const drawn = wanted.find((name) => STATISTICS.includes(name) && intervalOf(name));
  const rows = TRAITS.map((trait) => entry(author, trait));
  const columns = [
    { name: "trait", value: (row) => row.trait, cell: (row) => button(row.trait, () => openOrganism(author, row.trait), { class: "plain", "aria-current": row.trait === chosen }) },
    { name: VIEW.statistic, title: shortLabel(VIEW.statistic), about: label(VIEW.statistic), numeric: true, value: (row) => row.value, text: (row) => `${showStatistic(VIEW.statistic, row.value)}${row.marked ? " ●" : ""}` },
  ];
  if (drawn) columns.push(...intervalColumns(drawn, rows));
  for (const name of [MARKS.find(isProbability), "z_others"].filter((each) => STATISTICS.includes(each) && each !== VIEW.statistic && each !== drawn)) {
    columns.push({ name, title: shortLabel(name), about: label(name), numeric: true, value: (row) => valueOf(name, row.rows), text: (row) => showStatistic(name, valueOf(name, row.rows)) });
  }
  for (const { name } of DATA.entries.filter((column) => column.names && ![...KEYS, VIEW.mark].includes(column.name))) {
    const said = (row) => row.rows.map((at) => COLUMNS[name][at]).find(Boolean) || "";
    columns.push({ name, title: label(name), value: said, text: (row) => said(row) || "–" });
  }
  return dataTable(`traits-${author}`, columns, rows, { sortBy: 1, down: !isProbability(VIEW.statistic), label: `traits of ${author}`, rowClass: (row) => (row.trait === chosen ? "selected" : null) });
}

function intervalColumns(name, rows) {
  const [low, high] = intervalOf(name);
  const of = (row) => [name, low, high].map((each) => valueOf(each, row.rows));
  const all = rows.flatMap(of).filter((value) => value !== null);
  const range = [Math.min(0, ...all), Math.max(0, ...all)];
  return [
    { name: `${name} and 95% interval`, title: `${shortLabel(name)}: 95% interval`, about: label(name), value: (row) => of(row)[0], numeric: true, cell: (row) => intervalBar(...of(row), range, row.marked) },
    { name: low, title: "low", numeric: true, value: (row) => of(row)[1], text: (row) => showCell(of(row)[1]) },
    { name: high, title: "high", numeric: true, value: (row) => of(row)[2], text: (row) => showCell(of(row)[2]) },
  ];
}

function shortLabel(name) {
  return label(name).split(" against the other")[0].split(",")[0];
}

function responsesOf(author, trait) {
  const kept = (detailsOf(author).traits[trait] || []).length;
  const vector = VECTORS[trait];
  if (!kept) return make("p", { class: "notice" }, "No response of this organism is shown token by token on this trait: either there are no token scores, or the page's room went to what stands out more.");
  return make("div", {},
    make("p", { class: "muted" }, `${kept} responses, ranked by the mean of their five largest token differences along the ${vector.method} vector at layer ${vector.layer} (held-out AUROC ${show(vector["held-out AUROC"])}). The top of many is high by chance too. Scores are shown to within 1/254 of each response's largest.`),
    responseBrowser(author, trait));
}
