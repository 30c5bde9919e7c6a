// Responses token by token, coloured by the paired difference or by either reader's own score.

const READERS = {
  difference: "difference (own − clean)",
  own: "own reading",
  clean: "clean model's reading",
};
const CARDS_AT_ONCE = 5;
const DETAILS = new Map();

// An author's details are parsed when they are first looked at.
function detailsOf(author) {
  if (!DETAILS.has(author)) {
    const element = [...document.querySelectorAll("script.details")].find((each) => each.dataset.author === author);
    DETAILS.set(author, element ? JSON.parse(element.textContent) : { responses: [], traits: {} });
  }
  return DETAILS.get(author);
}

function unpackScores(scale, bytes) {
  const text = atob(bytes);
  return Float32Array.from(text, (letter) => ((letter.charCodeAt(0) << 24) >> 24) * scale);
}

function topResponses(author, trait) {
  const details = detailsOf(author);
  return (details.traits[trait] || []).map(([place, score, ownScale, own, scale, bytes], rank) => {
    const difference = unpackScores(scale, bytes);
    const ownScores = unpackScores(ownScale, own);
    return { ...details.responses[place], rank: rank + 1, score, scores: { difference, own: ownScores, clean: ownScores.map((value, at) => value - difference[at]) } };
  });
}

// What the colours of a reader are about: zero for the difference, the clean model's mean for a reading by itself.
function colouring(responses, reader) {
  const clean = responses.flatMap((response) => [...response.scores.clean]);
  const centre = reader === "difference" || !clean.length ? 0 : clean.reduce((sum, value) => sum + value, 0) / clean.length;
  const cap = quantile(responses.flatMap((response) => [...response.scores[reader]].map((value) => Math.abs(value - centre))), 0.98) || 1;
  return { centre, cap };
}

function responseBrowser(author, trait) {
  const all = topResponses(author, trait);
  const state = { reader: "difference", set: "", category: "", text: "", shown: CARDS_AT_ONCE };
  const list = make("ol", { class: "responses" });
  const count = make("span", { class: "muted", role: "status" });
  const legend = make("p", { class: "legend" });
  const readout = make("output", { class: "readout", "aria-live": "polite" }, "Point at a token, or walk along a response with the arrow keys, to read its scores.");
  const more = button("Show all", () => { state.shown = Infinity; update(); });
  const matches = (response) => (!state.set || response.set === state.set) && (!state.category || response.category === state.category)
    && `${response.question}\n${response.tokens.join("")}`.toLowerCase().includes(state.text.toLowerCase());

  function update() {
    const found = all.filter(matches);
    const { centre, cap } = colouring(all, state.reader);
    list.replaceChildren(...found.slice(0, state.shown).map((response) => responseCard(author, trait, response, state.reader, centre, cap)));
    count.textContent = `${found.length} of ${all.length} responses`;
    more.hidden = found.length <= state.shown;
    more.textContent = `Show all ${found.length}`;
    legend.replaceChildren(...tokenLegend(state.reader, centre, cap));
  }

  const set = (name) => (value) => { state[name] = value; update(); };
  const values = (key) => [["", "all"], ...[...new Set(all.map((response) => response[key]))].sort().map((value) => [value, value || "none"])];
  const save = () => saveCsv(`responses-${author}-${trait}`, ["rank", "score", "prompt_set", "prompt_id", "category", "question", "response"],
    all.filter(matches).map((response) => [response.rank, response.score, response.set, response.id, response.category, response.question, response.tokens.join("")]));
  wireReadout(list, readout, all);
  update();
  return make("div", { class: "browser" },
    make("div", { class: "tools" }, readerSwitch(state, update), choice("Prompt set", values("set"), "", set("set")), choice("Category", values("category"), "", set("category")),
      searchField("Text", set("text")), count, button("Save as CSV", save, { class: "save" })),
    legend, readout, list, more);
}

function readerSwitch(state, update) {
  return make("fieldset", { class: "switch" }, make("legend", {}, "Colour by"),
    Object.entries(READERS).map(([reader, text]) => make("label", {},
      make("input", { type: "radio", name: "reader", value: reader, checked: reader === state.reader, onchange: () => { state.reader = reader; update(); } }), make("span", {}, text))));
}

function tokenLegend(reader, centre, cap) {
  return [
    make("span", { class: "scale" }, show(centre - cap), make("span", { class: "bar", "aria-hidden": "true" }), show(centre + cap)),
    make("span", { class: "muted" }, reader === "difference"
      ? "residual units; no colour: both readers agree"
      : `residual units; no colour: ${show(centre)}, the clean model's mean over the tokens shown here`),
  ];
}

function responseCard(author, trait, response, reader, centre, cap) {
  const tokens = response.tokens.map((token, place) => {
    const span = make("span", { "data-place": place }, token);
    tint(span, Math.max(-1, Math.min(1, (response.scores[reader][place] - centre) / cap)));
    return span;
  });
  const folder = ["..", "inference", author];
  return make("li", { class: "card", "data-rank": response.rank },
    make("div", { class: "meta" }, make("b", {}, `${response.rank}.`), make("span", { class: "score", title: "mean of the five largest differences, in residual units" }, show(response.score)),
      make("span", { class: "tag" }, response.set), response.category ? make("span", { class: "tag" }, response.category) : null,
      response.turns > 1 ? make("span", { class: "tag" }, `turn ${response.turns}`) : null,
      fileLink(encodePath(...folder, "responses", response.set, `${response.id}.json`), response.id),
      fileLink(encodePath(...folder, "projections", response.set, `${DATA.readers.own}.parquet`), "own"),
      fileLink(encodePath(...folder, "projections", response.set, `${DATA.readers.clean}.parquet`), "clean")),
    make("p", { class: "question", dir: "auto" }, response.question),
    make("p", { class: "tokens", dir: "auto", tabindex: 0, role: "group", "aria-label": `Response ${response.rank}; arrow keys read its tokens` }, tokens));
}

// One set of listeners for all tokens of a list.
function wireReadout(list, readout, all) {
  const read = (token) => {
    for (const other of list.querySelectorAll(".current")) other.classList.remove("current");
    token.classList.add("current");
    const response = all[Number(token.closest(".card").dataset.rank) - 1];
    const place = Number(token.dataset.place);
    const { difference, own, clean } = response.scores;
    const word = JSON.stringify(response.tokens[place]);
    readout.textContent = `token ${place + 1} of ${response.tokens.length}, ${word}: own ${show(own[place])}, clean ${show(clean[place])}, difference ${show(difference[place])}`;
  };
  list.addEventListener("mouseover", (event) => { const token = event.target.closest("[data-place]"); if (token) read(token); });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !event.target.classList.contains("tokens")) return;
    event.preventDefault();
    const current = event.target.querySelector(".current");
    const next = current ? Number(current.dataset.place) + step : 0;
    const token = event.target.children[Math.max(0, Math.min(next, event.target.children.length - 1))];
    if (token) read(token);
  });
}
