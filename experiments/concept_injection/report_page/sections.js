// What was run and found, what is missing, the controls, and the tables in full.

function pageHeader() {
  const facts = [[DATA.trials, "trials"], [CONCEPTS.length, "concepts"], [LAYERS.length, "layers"], [STRENGTHS.length, "strengths"], [DATA.unjudged, "unjudged"]];
  const links = [["heat-map", "Layer × strength"], ["curves", "Dose and response"], ["replies", "Replies"], ["controls", "Controls"], ["tables", "All numbers"], ["run", "What was run"]];
  return make("header", {}, make("p", { class: "kicker" }, "Concept injection"), make("h1", {}, DATA.title),
    make("ul", { class: "facts-row" }, facts.map(([number, name]) => make("li", {}, make("b", {}, String(number)), ` ${name}`))),
    make("nav", { "aria-label": "Sections" }, links.map(([id, text]) => make("a", { href: `#${id}` }, text))));
}

function glanceSection() {
  const listed = (lines) => make("ul", {}, lines.map((text) => make("li", {}, text)));
  return section("glance", "At a glance",
    DATA.warnings.length
      ? make("div", { class: "notice bad", role: "note", id: "missing" }, make("p", {}, make("b", {}, "Missing")), listed(DATA.warnings))
      : make("p", { class: "notice good" }, "Nothing is missing: every trial is there and has a verdict."),
    DATA.findings.length ? listed(DATA.findings) : null,
    make("figure", {}, make("figcaption", {}, "Files beside this one: ", ["summary.md", "rates.csv", "log_odds.csv", "joined.jsonl", "dose_response.png", "dose_response.svg"].flatMap((name, place) => [place ? ", " : "", fileLink(encodePath(name), name)]))));
}

// Rates beside their controls: each condition over all layers and strengths, then each cell of all concepts.
function controlsSection() {
  const rows = DATA.rates.filter((row) => row.concept === ALL);
  if (!DATA.judged) return section("controls", "Controls", make("p", { class: "notice" }, "No reply has been judged: there are no rates to set against each other."));
  const part = (name, title) => ({ name, title, numeric: true, value: (row) => row[name] ?? null, text: (row) => withEnds(row, name) });
  const columns = [
    { name: "condition", value: (row) => row.condition },
    { name: "layer", numeric: true, value: (row) => row.layer }, { name: "strength", numeric: true, value: (row) => row.strength },
    { name: "judged", numeric: true, value: (row) => row.judged }, { name: "unjudged", numeric: true, value: (row) => row.unjudged },
    part("named_rate", "names the concept"), part("control_named", "control names it"), part("random_named", "random directions name it"),
    part("claims_rate", "any claim"), part("control_claims", "control: false alarms"), part("random_claims", "random directions: any claim"),
    part("named_minus_control", "named, less control"), part("claims_minus_control", "any claim, less control"),
    part("named_minus_random", "named, less random"), part("claims_minus_random", "any claim, less random"),
  ];
  return section("controls", "Controls",
    make("p", { class: "lead" }, "Without them “something is unusual” cannot be told from “this concept is there”. The control is shared: nothing was injected, so it has neither layer nor strength."),
    dataTable("controls", columns, rows, { label: "rates beside their controls" }));
}

function withEnds(row, name) {
  const base = name.replace(/_rate$/, "");
  return showWithInterval({ kind: "share", name, low: `${base}_low`, high: `${base}_high` }, row);
}

function numbersTable(name, rows) {
  if (!rows.length) return make("p", { class: "notice" }, "There are none.");
  const columns = Object.keys(rows[0]).map((key) => ({
    name: key,
    numeric: rows.some((row) => typeof row[key] === "number"),
    value: (row) => row[key],
    text: (row) => (typeof row[key] === "number" ? showCell(row[key]) : row[key] ?? "–"),
  }));
  return dataTable(name, columns, rows, { label: name });
}

function tablesSection() {
  return section("tables", "All numbers",
    make("h3", {}, "Rates"), numbersTable("rates", DATA.rates),
    make("h3", {}, "Log-odds"), numbersTable("log_odds", DATA.log_odds));
}

function runSection() {
  return section("run", "What was run",
    make("dl", {}, DATA.facts.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    make("h3", {}, "Coverage"), recordTable("coverage", DATA.coverage, { label: "coverage", rowClass: (row) => (row.unjudged || row.there < row.planned ? "bad" : null) }),
    make("h3", {}, "How to read it"),
    make("ul", {}, [
      "The judge sees the question and the reply, never what was done. What counts as detected is computed from what it reports.",
      "Shares are of judged trials. Incoherent and refused replies are judged and claim nothing; unjudged ones are in no share.",
      "Intervals are Wilson's; of all concepts together, from 4 concepts on, they come from resampling concepts and are never narrower than Wilson's; of 4 concepts alone such an interval covers about 88%, from 8 on about 95%. Differences combine two intervals as Newcombe's method 10 does.",
      "Of the control, “names the concept” is how often its claims happen to name a concept, averaged over the concepts.",
      "A log-odds shift is set against the range of random directions of the same length, read in the same way.",
    ].map((text) => make("li", {}, text))));
}
