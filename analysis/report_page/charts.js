// Small charts: intervals, curves over layers, strips of dots. Colours come from the style sheet.

// One row's interval on an axis that all rows share.
function intervalBar(value, low, high, [from, to], marked) {
  const width = 180;
  const x = scaleOf(from, to, 6, width - 6);
  return draw("svg", { class: `interval${marked ? " marked" : ""}`, width, height: 18, viewBox: `0 0 ${width} 18`, "aria-hidden": "true" },
    draw("line", { class: "axis", x1: x(0), x2: x(0), y1: 0, y2: 18 }),
    low === null || high === null ? null : draw("line", { class: "whisker", x1: x(low), x2: x(high), y1: 9, y2: 9 }),
    value === null ? null : draw("circle", { class: "point", cx: x(value), cy: 9, r: 4 }));
}

// A statistic over layers: this organism with its interval, the range of the other organisms, and each sham.
function layerCurve(author, trait) {
  const name = VIEW.statistic;
  const [width, height, left, right, top, bottom] = [520, 240, 52, 118, 14, 34];
  const at = (each) => LAYERS.map((layer) => valueOf(name, rowsOf(each, trait, VIEW.method, String(layer))));
  const mine = at(author);
  const others = AUTHORS.filter((each) => each !== author && MODELS[each].role !== "sham").map(at);
  const shams = AUTHORS.filter((each) => each !== author && MODELS[each].role === "sham").map((each) => [each, at(each)]);
  const ends = (intervalOf(name) || []).map((end) => LAYERS.map((layer) => valueOf(end, rowsOf(author, trait, VIEW.method, String(layer)))));
  const all = [mine, ...others, ...shams.map(([, values]) => values), ...ends].flat().filter((value) => value !== null);
  const [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
  const x = scaleOf(0, LAYERS.length - 1 || 1, left, width - right);
  const y = scaleOf(low, high, height - bottom, top);
  const xs = LAYERS.map((_, place) => x(LAYERS.length === 1 ? 0.5 : place));
  const column = (values, pick) => LAYERS.map((_, place) => { const found = values.map((row) => row[place]).filter((value) => value !== null); return found.length ? pick(...found) : null; });
  const parts = [
    ...ticks(low, high).map((tick) => [draw("line", { class: tick === 0 ? "axis" : "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }), draw("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick))]).flat(),
    ...LAYERS.map((layer, place) => draw("text", { x: xs[place], y: height - bottom + 16, "text-anchor": "middle" }, String(layer))),
    draw("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle", class: "quiet" }, "layer"),
    others.length ? band("others", xs, column(others, Math.min), column(others, Math.max), y) : null,
    ends.length === 2 ? band("own", xs, ends[0], ends[1], y) : null,
    ...shams.map(([, values]) => line("sham", xs, values, y)),
    line("own", xs, mine, y),
    ...mine.map((value, place) => (value === null ? null : draw("circle", { class: "point", cx: xs[place], cy: y(value), r: 4 }, draw("title", {}, `layer ${LAYERS[place]}: ${show(value, 3)}`)))),
    ...curveKey(width - right + 12, author, others.length, shams.length, ends.length === 2),
  ];
  const said = LAYERS.map((layer, place) => `layer ${layer}: ${show(mine[place])}`).join(", ");
  return make("figure", { class: "chart" },
    draw("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label(name)} of ${author} on ${trait} by layer: ${said}` }, parts.filter(Boolean)),
    make("figcaption", {}, `On ${trait}, by layer: ${label(name)}`));
}

function curveKey(x, author, others, shams, interval) {
  const entries = [["line own", author.length > 13 ? `${author.slice(0, 12)}…` : author]];
  if (interval) entries.push(["band own", "95% interval"]);
  if (others) entries.push(["band others", `${others} others`]);
  if (shams) entries.push(["line sham", shams === 1 ? "the sham" : `${shams} shams`]);
  return entries.flatMap(([kind, text], place) => {
    const y = 24 + 20 * place;
    const sign = kind.startsWith("line") ? draw("polyline", { class: kind, points: `${x},${y} ${x + 18},${y}` }) : draw("rect", { class: kind, x, y: y - 6, width: 18, height: 12 });
    return [sign, draw("text", { x: x + 24, y: y + 4 }, text)];
  });
}

// Every author's value on every trait: organisms that were given it, the other organisms, shams.
function stripPlot(statistic) {
  const left = 8 + 7 * Math.max(...TRAITS.map((trait) => trait.length));
  const [width, rowHeight, top] = [900, 26, 26];
  const height = top + rowHeight * TRAITS.length + 8;
  const points = TRAITS.flatMap((trait, row) => AUTHORS.map((author) => ({ author, trait, row, value: valueOf(statistic, rowsOf(author, trait, VIEW.method, VIEW.layer)) })))
    .filter((point) => point.value !== null);
  const values = points.map((point) => point.value);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const x = scaleOf(low, high, left + 12, width - 12);
  const kindOf = ({ author, trait }) => (MODELS[author].role === "sham" ? "sham" : MODELS[author].truth === trait ? "given" : "other");
  const drawn = ["other", "sham", "given"].flatMap((kind) => points.filter((point) => kindOf(point) === kind).map((point) => dot(kind, x(point.value), top + rowHeight * (point.row + 0.5), point)));
  return draw("svg", { class: "strip", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label(statistic)} of every author on every trait; the same numbers are in the table of all entries` },
    ticks(low, high, 8).flatMap((tick) => [draw("line", { class: tick === 0 ? "axis" : "grid", x1: x(tick), x2: x(tick), y1: top - 6, y2: height }), draw("text", { x: x(tick), y: 12, "text-anchor": "middle" }, tickText(tick))]),
    TRAITS.map((trait, row) => draw("text", { x: left, y: top + rowHeight * (row + 0.5) + 4, "text-anchor": "end" }, trait)),
    drawn);
}

// Shapes as well as colours tell the kinds apart.
function dot(kind, x, y, { author, trait, value }) {
  const title = draw("title", {}, `${author} · ${trait}: ${show(value)}`);
  if (kind === "sham") return draw("path", { class: kind, d: `M${x - 5} ${y - 5}L${x + 5} ${y + 5}M${x - 5} ${y + 5}L${x + 5} ${y - 5}` }, title);
  if (kind === "given") return draw("path", { class: kind, d: `M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z` }, title);
  return draw("circle", { class: kind, cx: x, cy: y, r: 4 }, title);
}
