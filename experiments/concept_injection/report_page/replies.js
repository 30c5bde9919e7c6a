// A cell: its counts by concept, and replies to read, by outcome, with what the judge said of each.

const CARDS_AT_ONCE = 10;

function repliesSection() {
  const body = make("div", {}, make("p", { class: "muted" }, "Choose a cell of the heat map, or the control."));
  openCell = (condition, layer, strength) => {
    VIEW.open = { condition, layer, strength };
    for (const redraw of ON_VIEW) redraw();
    body.querySelector("h3").focus({ preventScroll: true });
    document.getElementById("replies").scrollIntoView({ block: "start" });
  };
  ON_VIEW.push(() => { if (VIEW.open) body.replaceChildren(...cellContent(VIEW.open)); });
  const shown = DATA.replies.length < DATA.trials ? `${DATA.replies.length} of ${DATA.trials} replies are in this page, all outcomes in turn in each cell; joined.jsonl has them all.` : "All replies are in this page.";
  const panel = section("replies", "Replies", make("p", { class: "muted" }, shown), make("div", { class: "tools" }, button("Show the control's replies", () => openCell(CONTROL, null, null))), body);
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") backToHeatMap(); });
  return panel;
}

function backToHeatMap() {
  document.getElementById("heat-map").scrollIntoView({ block: "start" });
  const cell = document.querySelector("table.heat .chosen") || document.querySelector(`table.heat ${GRID_CELL}`);
  if (cell) cell.focus({ preventScroll: true });
}

function cellName({ condition, layer, strength }) {
  return condition === CONTROL ? "Control: nothing injected" : `Layer ${layer}, strength ${strength}: ${CONDITIONS[condition]}`;
}

function cellContent(open) {
  const keys = open.condition === CONTROL ? ["condition"] : ["condition", "layer", "strength"];
  const [rows, replies] = [DATA.rates, DATA.replies].map((all) => all.filter((each) => keys.every((key) => each[key] === open[key])));
  return [
    make("div", { class: "heading" }, make("h3", { tabindex: -1 }, cellName(open)), button("Back to the heat map (Esc)", backToHeatMap)),
    rows.length ? outcomeTable(rows) : null,
    replyBrowser(open, replies),
  ].filter(Boolean);
}

function outcomeTable(rows) {
  const counts = ["trials", "unjudged", "detected", "wrong_concept", "denied", "incoherent", "refused"];
  const columns = [
    { name: "concept", value: (row) => row.concept },
    ...counts.map((name) => ({ name, title: OUTCOMES[name] || name, numeric: true, value: (row) => row[name] })),
    ...MEASURES.filter((measure) => ["detected_rate", "claims_rate", "named_minus_control"].includes(measure.name))
      .map((measure) => ({ name: measure.name, title: `${measure.label}, 95%`, about: measure.about, numeric: true, value: (row) => row[measure.name], text: (row) => showWithInterval(measure, row) })),
    { name: "control_claims", title: "false alarms of the control", numeric: true, value: (row) => row.control_claims, text: (row) => showValue({ kind: "share" }, row.control_claims) },
  ];
  return dataTable("cell", columns, rows, { label: "this cell by concept" });
}

function replyBrowser(open, replies) {
  const state = { outcome: "", text: "", shown: CARDS_AT_ONCE };
  const list = make("ul", { class: "responses" });
  const count = make("span", { class: "muted", role: "status" });
  const more = button("Show more replies", () => { state.shown += 5 * CARDS_AT_ONCE; update(); });
  const chosen = () => replies.filter((reply) =>
    (VIEW.concept === ALL || reply.concept === null || reply.concept === VIEW.concept)
    && (!state.outcome || reply.outcome === state.outcome)
    && [reply.response, reply.reasoning, reply.claimed, reply.id].join("\n").toLowerCase().includes(state.text.toLowerCase()));
  const update = () => {
    const found = chosen();
    list.replaceChildren(...found.slice(0, state.shown).map(replyCard));
    count.textContent = `${found.length} of ${replies.length} replies`;
    more.hidden = found.length <= state.shown;
  };
  const set = (name) => (value) => { Object.assign(state, { [name]: value, shown: CARDS_AT_ONCE }); update(); };
  const number = (outcome) => replies.filter((reply) => reply.outcome === outcome).length;
  const outcomes = Object.entries(OUTCOMES).filter(([outcome]) => number(outcome)).map(([outcome, text]) => [outcome, `${text} (${number(outcome)})`]);
  const columns = ["id", "concept", "condition", "layer", "strength", "direction", "outcome", "claimed", "response", "reasoning", "error"];
  const save = () => saveCsv(`replies-${[open.condition, open.layer, open.strength].filter((part) => part !== null).join("-")}`, columns, chosen().map((reply) => columns.map((name) => reply[name])));
  update();
  return make("div", { class: "browser" },
    make("div", { class: "tools" }, choice("Outcome", [["", "all"], ...outcomes], "", set("outcome")), searchField("Text", set("text")), count, button("Save as CSV", save, { class: "save" })),
    list, more);
}

function replyCard(reply) {
  const claimed = reply.claimed ? `names “${reply.claimed}”` : null;
  const pushed = reply.direction ? `injected: ${reply.direction}` : null;
  return make("li", { class: "card" },
    make("div", { class: "meta" }, make("span", { class: `tag outcome ${reply.outcome}` }, OUTCOMES[reply.outcome]), make("span", {}, reply.id), [pushed, claimed].filter(Boolean).map((text) => make("span", { class: "muted" }, text))),
    make("p", { class: "reply" }, reply.response),
    reply.reasoning ? make("p", { class: "reasoning" }, make("b", {}, "Judge: "), reply.reasoning) : null,
    reply.error ? make("p", { class: "reasoning" }, make("b", {}, "Unjudged: "), reply.error) : null);
}
