// Tables that can be sorted, filtered and saved as CSV.

const ROWS_AT_ONCE = 100;

// columns: [{name, title, numeric, text(row) or cell(row), value(row)}]; rows: any objects.
function dataTable(name, columns, rows, options = {}) {
  const state = { by: options.sortBy ?? null, down: options.down ?? true, filter: "", shown: ROWS_AT_ONCE };
  const body = make("tbody");
  const count = make("span", { class: "muted", role: "status" });
  const more = button("Show more rows", () => { state.shown += 5 * ROWS_AT_ONCE; update(); });
  const headers = columns.map((column, place) => headerCell(column, () => sortBy(place)));
  const textOf = (row) => columns.map((column) => column.value(row) ?? "").join("\n").toLowerCase();

  function sortBy(place) {
    state.down = state.by === place ? !state.down : Boolean(columns[place].numeric);
    state.by = place;
    update();
  }

  function chosen() {
    const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => { const text = textOf(row); return words.every((word) => text.includes(word)); });
    return state.by === null ? found : found.sort((a, b) => compare(columns[state.by].value(a), columns[state.by].value(b), state.down));
  }

  function update() {
    const found = chosen();
    headers.forEach((header, place) => {
      header.setAttribute("aria-sort", state.by !== place ? "none" : state.down ? "descending" : "ascending");
    });
    body.replaceChildren(...found.slice(0, state.shown).map((row) => bodyRow(columns, row, options)));
    count.textContent = found.length > state.shown ? `${state.shown} of ${found.length} rows shown` : `${found.length} rows`;
    more.hidden = found.length <= state.shown;
  }

  const save = () => saveCsv(name, columns.map((column) => column.name), chosen().map((row) => columns.map((column) => column.value(row))));
  const tools = make("div", { class: "tools" },
    searchField("Filter rows", (text) => { state.filter = text; state.shown = ROWS_AT_ONCE; update(); }),
    count, button("Save as CSV", save, { class: "save" }));
  const table = make("table", { class: "data", "aria-label": options.label || name }, make("thead", {}, make("tr", {}, headers)), body);
  update();
  return make("div", { class: "table", id: `table-${name}` }, tools, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${options.label || name}, scrollable` }, table), more);
}

function headerCell(column, onclick) {
  const title = column.title || column.name.replaceAll("_", " ");
  return make("th", { scope: "col", class: column.numeric ? "number" : null }, button(title, onclick, { class: "sort", title: column.about }));
}

function bodyRow(columns, row, options) {
  const cells = columns.map((column) => {
    const content = column.cell ? column.cell(row) : column.text ? column.text(row) : column.value(row) ?? "–";
    return make("td", { class: column.numeric ? "number" : column.wide ? "wide" : null }, content);
  });
  return make("tr", { class: options.rowClass ? options.rowClass(row) : null }, cells);
}

function compare(a, b, down) {
  const lacking = (value) => value === null || value === undefined || value === "";
  if (lacking(a) || lacking(b)) return lacking(a) - lacking(b);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return down ? -order : order;
}

// A table of plain records; keys of the first one are the columns, and `file` becomes a link.
function recordTable(name, records, options = {}) {
  const names = Object.keys(records[0] || {}).filter((key) => key !== "file");
  const columns = names.map((key) => ({
    name: key,
    numeric: records.some((record) => typeof record[key] === "number"),
    wide: records.some((record) => String(record[key] ?? "").length > 40),
    value: (record) => record[key],
    text: (record) => (record[key] === null || record[key] === "" ? "–" : String(record[key])),
  }));
  if (records.some((record) => record.file)) {
    columns.push({ name: "file", value: (record) => record.file, cell: (record) => fileLink(record.file, "open") || "–" });
  }
  return dataTable(name, columns, records, options);
}

function showCell(value) {
  if (value === null) return "–";
  return (Number.isInteger(value) ? String(value) : Number(value).toPrecision(3)).replace("-", "−");
}

function show(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const text = Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}
