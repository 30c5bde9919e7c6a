// The run itself: what was found at a glance, what is missing, what was run on what, and the tables in full.

function pageHeader() {
  const responses = DATA.coverage.reduce((sum, row) => sum + row.responses, 0);
  const asked = DATA.coverage.reduce((sum, row) => sum + row.prompts, 0);
  const organisms = AUTHORS.filter((author) => MODELS[author].role !== "sham").length;
  const facts = [
    [organisms, organisms === 1 ? "organism" : "organisms"], [AUTHORS.length - organisms, AUTHORS.length - organisms === 1 ? "sham" : "shams"],
    [TRAITS.length, "traits"], [LAYERS.length, LAYERS.length === 1 ? "layer" : "layers"], [`${responses} / ${asked}`, "responses"],
  ];
  const links = [["heat-map", "Heat map"], ["organism", "Organism"], ["controls", "Controls"], ["entries", "All entries"], ["run", "What was run"], ["files", "Files"]];
  return make("header", {}, make("p", { class: "kicker" }, "Audit report"), make("h1", {}, DATA.experiment),
    make("ul", { class: "facts-row" }, facts.map(([number, name]) => make("li", {}, make("b", {}, String(number)), ` ${name}`))),
    make("nav", { "aria-label": "Sections" }, links.map(([id, text]) => make("a", { href: `#${id}` }, text))));
}

function glanceSection() {
  const verdict = DATA.verdict.filter(Boolean);
  return section("glance", "At a glance",
    verdict.length ? make("ul", { class: "verdict" }, verdict.map((line) => make("li", {}, line.replaceAll("`", "")))) : make("p", { class: "muted" }, "There is no verdict."),
    source(fileLink(has("compare_readers/verdict.txt")), fileLink(has("compare_readers/assignments.json"))),
    problemBox(),
    DATA.grades.length ? make("details", {}, make("summary", {}, "Grades"), recordTable("grades", DATA.grades, { label: "grades" }), source(fileLink(has("compare_readers/grades.json")))) : null,
    DATA.assignments.length ? make("details", {}, make("summary", {}, "What each organism was taken for"), assignmentTable(), source(fileLink(has("compare_readers/assignments.json")))) : null);
}

function problemBox() {
  const problems = DATA.coverage.filter((row) => row["missing or wrong"]);
  if (!problems.length && !DATA.left_out.length) {
    return make("p", { class: "notice good" }, "Nothing is missing: every prompt has a response, and both readers have read every response.");
  }
  const listed = problems.slice(0, 8).map((row) => make("li", {}, make("b", {}, `${row.author}, ${row["prompt set"]}: `), row["missing or wrong"]));
  return make("div", { class: "notice bad", role: "note" }, make("p", {}, make("b", {}, "Missing or wrong")),
    make("ul", {},
      DATA.left_out.length ? make("li", {}, make("b", {}, `Left out of the comparison (${DATA.left_out.length}): `), DATA.left_out.join(", ")) : null,
      listed, problems.length > 8 ? make("li", {}, `and ${problems.length - 8} more: see `, make("a", { href: "#coverage" }, "coverage")) : null));
}

// An effect that is not detected means something only of a behaviour that showed in the responses at all.
function verdictOf(row) {
  return row.detected ? "detected" : row.fired === false ? "did not fire" : "not detected";
}

function assignmentTable() {
  const rows = DATA.assignments;
  const column = (name, title, numeric) => ({ name, title, numeric, value: (row) => row[name], text: (row) => (numeric ? show(row[name], name.startsWith("rank") ? 0 : 2) : row[name] ?? "–") });
  return dataTable("assignments", [
    { name: "author", value: (row) => row.author, cell: (row) => button(row.author, () => openOrganism(row.author, row.trait), { class: "plain" }) },
    { ...column("trait", "largest entry"), text: (row) => (row.truth ? `${row.trait} ${row.truth === row.trait ? "✓" : "✗"}` : row.trait) },
    column("effect", "effect", true), column("runner_up", "next"), column("runner_up_effect", "effect of the next", true),
    ...["p_max", "q", "sham_p", "random_p"].filter((name) => name in rows[0]).map((name) => ({ ...column(name, label(name), true), text: (row) => showProbability(row[name]) })),
    ..."detected" in rows[0] ? [{ name: "verdict", title: "verdict", value: verdictOf }] : [],
    column("truth", "planted"), column("rank_of_truth", "rank of what was planted", true),
  ], rows, { label: "assignments" });
}

function entriesSection() {
  return section("entries", "All entries",
    make("p", { class: "muted" }, "Every organism, trait, method and layer, with every column of the file. Text cells that begin like a formula are saved with an apostrophe before them."),
    packedTable("entries", DATA.entries, { label: "all entries" }), source(DATA.entry_files.map((file) => fileLink(encodePath(file)))),
    DATA.tables.map((table) => make("details", { class: "other" }, make("summary", {}, table.file),
      packedTable(table.file.replace(/\.csv$/, "").replaceAll("/", "-"), table.columns, { label: table.file }), source(fileLink(encodePath(table.file))))));
}

function runSection() {
  const { kept, ranked, scored, top_n: most } = DATA.thinning;
  const pairs = DATA.settings.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  return section("run", "What was run",
    make("dl", {}, pairs), source(fileLink(DATA.config)),
    make("h3", {}, "What is shown of it"),
    make("p", { id: "thinning" }, `Scores of ${AUTHORS.length} authors on ${TRAITS.length} traits were ranked, ${scored} pairs of a response and a trait in all. Up to ${most} of each organism and trait can be read token by token: ${kept} of those ${ranked} are in this page${kept < ranked ? "; the n-th response of an organism's m-th trait goes before those with a larger n · m, until the page's room is used. --detail-mb of analysis/report.py makes more room." : "."} Token scores are in a byte each, with a scale per response and reader. All scores are in the projection files.`),
    make("h3", { id: "coverage" }, "Coverage"), recordTable("coverage", DATA.coverage, { rowClass: (row) => (row["missing or wrong"] ? "bad" : null), label: "coverage" }),
    make("h3", {}, "Vectors"), recordTable("vectors", DATA.vectors, { label: "vectors" }),
    make("h3", {}, "Prompt sets"), recordTable("prompt-sets", DATA.prompt_sets, { label: "prompt sets" }),
    make("h3", {}, "Models"), recordTable("models", DATA.models, { label: "models" }), source(fileLink(DATA.config)));
}

function filesSection() {
  const folders = new Map();
  for (const file of DATA.files) {
    const folder = file.includes("/") ? file.slice(0, file.lastIndexOf("/")) : ".";
    folders.set(folder, [...(folders.get(folder) || []), file]);
  }
  return section("files", "Files", make("p", { class: "muted" }, "What the analyses wrote beside this report."),
    make("ul", { class: "files" }, [...folders].map(([folder, files]) => make("li", {}, make("span", {}, `${folder}: `),
      files.flatMap((file, place) => [place ? ", " : null, fileLink(encodePath(file), file.slice(file.lastIndexOf("/") + 1))])))));
}

// A CSV file as it came: columns of values, or of places in a list of names.
function packedTable(name, packed, options = {}) {
  const columns = packed.map((column) => {
    const values = unpack(column);
    return {
      name: column.name,
      about: explain(column.name) || null,
      numeric: Boolean(column.values),
      value: (row) => values[row],
      text: (row) => (column.values ? showCell(values[row]) : values[row]),
    };
  });
  return dataTable(name, columns, [...Array(packed.length ? unpack(packed[0]).length : 0).keys()], options);
}
