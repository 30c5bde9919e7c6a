// What the numbers look like where nothing was planted: shams, and traits that nobody was given.

function controlsSection() {
  const truths = new Set(AUTHORS.map((author) => MODELS[author].truth).filter(Boolean));
  const controls = truths.size ? TRAITS.filter((trait) => !truths.has(trait)) : [];
  const strip = make("div", { class: "scroll" });
  const state = { statistic: DATA.leading };
  const tables = make("div");
  const update = () => strip.replaceChildren(stripPlot(state.statistic));
  const redraw = () => { update(); tables.replaceChildren(...tablesOfView(truths.size, controls)); };
  ON_VIEW.push(redraw);
  redraw();
  return section("controls", "Controls",
    make("p", { class: "lead" }, "An organism's own trait should lie apart from the other organisms and from shams: adapters made by the same recipe, without a quirk."),
    make("div", { class: "tools" }, choice("Statistic", STATISTICS.map((name) => [name, label(name)]), state.statistic, (value) => { state.statistic = value; update(); }), stripKey(truths.size, SHAMS.length)),
    strip, tables, source(DATA.entry_files.map((file) => fileLink(encodePath(file)))));
}

function tablesOfView(truths, controls) {
  return [
    make("h3", {}, "Shams"), SHAMS.length ? shamTable() : make("p", { class: "notice" }, "No sham was audited: how large entries come out where nothing was planted is not known from this run."),
    make("h3", {}, "Control traits"), controls.length ? controlTable(controls) : make("p", { class: "notice" }, truths ? "Every trait was planted in some organism: there is no control trait." : "What was planted is not said in the config, so no trait can be called a control."),
  ];
}

function stripKey(truths, shams) {
  const sign = (kind) => draw("svg", { class: "strip key", width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" }, dot(kind, 8, 8, { author: kind, trait: "", value: 0 }));
  return make("span", { class: "keys" },
    truths ? make("span", { class: "key" }, sign("given"), "organism that was given the trait") : null,
    make("span", { class: "key" }, sign("other"), "other organism"),
    shams ? make("span", { class: "key" }, sign("sham"), "sham") : null);
}

function summaryRow(name, cells) {
  const sized = cells.filter((cell) => cell.value !== null).sort((a, b) => (isProbability(VIEW.statistic) ? a.value - b.value : b.value - a.value));
  return { name, largest: sized[0], marked: cells.filter((cell) => cell.marked).length, cells };
}

function controlColumns(first, of) {
  return [
    { name: first, value: (row) => row.name },
    { name: `furthest ${VIEW.statistic}`, title: `furthest ${shortLabel(VIEW.statistic)}`, numeric: true, value: (row) => row.largest && row.largest.value, text: (row) => showStatistic(VIEW.statistic, row.largest ? row.largest.value : null) },
    { name: of, value: (row) => row.largest && row.largest[of], cell: (row) => row.largest ? button(row.largest[of], () => openOrganism(row.largest.author, row.largest.trait), { class: "plain" }) : "–" },
    { name: "marked", title: "entries marked", about: VIEW.mark === "none" ? "" : markLabel(VIEW.mark), numeric: true, value: (row) => row.marked, text: (row) => `${row.marked} of ${row.cells.length}` },
  ];
}

function shamTable() {
  const rows = SHAMS.map((author) => summaryRow(author, TRAITS.map((trait) => entry(author, trait))));
  return dataTable("shams", controlColumns("author", "trait"), rows, { sortBy: 1, label: "shams" });
}

function controlTable(controls) {
  const rows = controls.map((trait) => summaryRow(trait, AUTHORS.map((author) => entry(author, trait))));
  return dataTable("control-traits", controlColumns("trait", "author"), rows, { sortBy: 1, label: "control traits" });
}
