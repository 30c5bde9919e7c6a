// Dose and response: a chart for each layer, with intervals, the control as a band, random directions beside.

function curvesSection() {
  const holder = make("div", { class: "curves" });
  const key = make("div", { class: "keys" });
  const update = () => {
    holder.replaceChildren(...(VIEW.measure ? LAYERS.map(doseCurve) : []));
    key.replaceChildren(...curveKeys());
  };
  ON_VIEW.push(update);
  update();
  if (!MEASURES.length) holder.append(make("p", { class: "notice" }, "Nothing is measured yet."));
  return section("curves", "Dose and response", make("p", { class: "muted" }, "What the heat map shows, by strength, with 95% intervals."), key, holder);
}

function pointsOf(layer, condition) {
  return STRENGTHS.map((strength) => {
    const row = rowOf(VIEW.measure, condition, layer, strength, VIEW.concept);
    const [value, low, high] = valueOf(VIEW.measure, row);
    return { strength, row, value, low, high };
  }).filter((point) => point.value !== null);
}

// What the chosen condition is seen against: the control's interval, or the range of the random directions.
function nullBand(points) {
  const { measure } = VIEW;
  const ends = (row) => {
    if (measure.kind === "nats") return [row.random_low, row.random_high];
    if (measure.kind !== "share") return [null, null];
    return measure.control ? [row[`${measure.control}_low`], row[`${measure.control}_high`]] : UNPUSHED ? [UNPUSHED[measure.low], UNPUSHED[measure.high]] : [null, null];
  };
  return points.map((point) => [point.strength, ...ends(point.row)]).filter(([, low, high]) => typeof low === "number" && typeof high === "number");
}

function doseCurve(layer) {
  const { measure, condition } = VIEW;
  const points = pointsOf(layer, condition);
  const random = showsRandom() ? pointsOf(layer, "random") : [];
  const nulls = nullBand(points);
  const [width, height, left, right, top, bottom] = [330, 210, 46, 12, 12, 36];
  const all = SEEN.flatMap((each) => LAYERS.flatMap((one) => pointsOf(one, each))).flatMap(({ value, low, high }) => [value, low, high]).filter((value) => value !== null);
  const [low, high] = measure.kind === "share" ? [0, 1] : [Math.min(0, ...all), Math.max(0, ...all)];
  const x = scaleOf(Math.min(0, ...STRENGTHS), Math.max(...STRENGTHS), left + 10, width - right - 8);
  const y = scaleOf(low, high, height - bottom, top);
  const said = points.map(({ strength, row }) => `strength ${strength}: ${showWithInterval(measure, row)}`).join("; ");
  const series = (kind, found, shape) => [
    line(kind, found.map((each) => x(each.strength)), found.map((each) => each.value), y),
    ...found.map((each) => [whisker(kind, x(each.strength), each, y), shape(x(each.strength), y(each.value), `strength ${each.strength}: ${showWithInterval(measure, each.row)}`)]).flat(),
  ];
  return make("figure", { class: "chart dose" }, make("figcaption", {}, `Layer ${layer}`),
    draw("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${measure.label} at layer ${layer}: ${said || "no value"}` },
      ticks(low, high).flatMap((tick) => [draw("line", { class: tick === 0 ? "axis" : "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }), draw("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, measure.kind === "nats" ? tickText(tick) : `${tickText(100 * tick)}%`)]),
      STRENGTHS.map((strength) => draw("text", { x: x(strength), y: height - bottom + 16, "text-anchor": "middle" }, String(strength))),
      draw("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle", class: "quiet" }, "strength"),
      nulls.length ? band("others", nulls.map(([strength]) => x(strength)), nulls.map(([, from]) => from), nulls.map(([, , to]) => to), y) : null,
      random.length ? series("random", random, square) : null,
      series("own", points, disc)));
}

function showsRandom() {
  return VIEW.measure && VIEW.measure.kind === "share" && VIEW.condition !== "random" && SEEN.includes("random");
}

function whisker(kind, x, { low, high }, y) {
  return low === null || high === null ? null : draw("line", { class: `whisker ${kind}`, x1: x, x2: x, y1: y(low), y2: y(high) });
}

function disc(x, y, title) {
  return draw("circle", { class: "point", cx: x, cy: y, r: 4 }, draw("title", {}, title));
}

function square(x, y, title) {
  return draw("rect", { class: "point random", x: x - 3.5, y: y - 3.5, width: 7, height: 7 }, draw("title", {}, title));
}

function curveKeys() {
  if (!VIEW.measure) return [];
  const sign = (...parts) => draw("svg", { class: "sign", width: 26, height: 14, viewBox: "0 0 26 14", "aria-hidden": "true" }, parts);
  const entry = (text, ...parts) => make("span", { class: "key" }, sign(...parts), text);
  const bands = { share: "control, nothing injected (95% interval)", nats: "range of the random directions", difference: null };
  return [
    entry(CONDITIONS[VIEW.condition], draw("polyline", { class: "line own", points: "1,7 25,7" }), disc(13, 7, "")),
    showsRandom() ? entry(CONDITIONS.random, draw("polyline", { class: "line random", points: "1,7 25,7" }), square(13, 7, "")) : null,
    bands[VIEW.measure.kind] ? entry(bands[VIEW.measure.kind], draw("rect", { class: "band others", x: 1, y: 1, width: 24, height: 12 })) : null,
  ].filter(Boolean);
}
