// What is looked at, and where its numbers are found.

const ALL = "all";
const CONTROL = "control";
const CONDITIONS = { injection: "the concept's own vector", random: "random directions", other: "another concept's vector" };
const OUTCOMES = {
  detected: "detected", wrong_concept: "claims, but not what was injected", denied: "denied", incoherent: "incoherent",
  refused: "refused", unjudged: "unjudged",
};

const share = (name, label, about, control) => ({ name: `${name}_rate`, low: `${name}_low`, high: `${name}_high`, label, about, control, kind: "share", rows: DATA.rates });
const gap = (name, label, about) => ({ name, low: `${name}_low`, high: `${name}_high`, label, about, kind: "difference", rows: DATA.rates });
const nats = (name, label, about, ends) => ({ name, low: null, high: null, ...ends, label, about, kind: "nats", rows: DATA.log_odds });

const MEASURES = [
  share("detected", "Detected", "Claims a detection and names what was injected. Along random directions there is nothing to name.", "control_named"),
  share("claims", "Any claim", "Claims a detection, whatever it names. In the control, and along random directions, a false alarm.", "control_claims"),
  gap("named_minus_control", "Names the concept, less the control", "How much more often the concept is claimed and named than in the control, where nothing was injected."),
  gap("claims_minus_control", "Any claim, less the control", "How much more often a detection is claimed than in the control, where nothing was injected."),
  gap("named_minus_random", "Names the concept, less random directions", "How much more often the concept is claimed and named than along random directions of the same length."),
  gap("claims_minus_random", "Any claim, less random directions", "How much more often a detection is claimed than along random directions of the same length."),
  { ...share("affirmed_corrected", "Affirmed, corrected for the judge", "The share of replies that affirm a detection, readable or not, as people would have judged, by the calibration.", "none"), name: "affirmed_corrected" },
  gap("affirmed_corrected_minus_control", "Affirmed, corrected, less the control", "The corrected share less that of the control."),
  nats("corrected_shift", "Log-odds shift", "How much the log-odds of yes over no rise above the control's, less the mean rise on questions whose answer is no; in nats. No sampling, no judge.", { low: "corrected_shift_low", high: "corrected_shift_high" }),
  nats("shift", "Log-odds shift, yes-bias left in", "How much the log-odds of yes over no rise above the control's, in nats."),
  share("incoherent", "Incoherent", "Replies that are no readable answer."),
  share("refused", "Refused", "Replies that decline to answer."),
  share("denied", "Denied", "Readable replies that claim no detection."),
].filter((measure) => measure.rows.some((row) => typeof row[measure.name] === "number"));

const CELL_ROWS = [...DATA.rates, ...DATA.log_odds].filter((row) => row.layer !== ALL);
const UNPUSHED = DATA.rates.find((row) => row.condition === CONTROL);
const among = (name, rows) => [...new Set(rows.map((row) => row[name]))];
const places = DATA.replies.filter((reply) => reply.layer !== null);
const LAYERS = among("layer", [...CELL_ROWS, ...places]).sort((a, b) => a - b);
const STRENGTHS = among("strength", [...CELL_ROWS, ...places]).sort((a, b) => a - b);
const CONCEPTS = among("concept", [...CELL_ROWS, ...places]).filter((concept) => concept !== ALL).sort();
const SEEN = Object.keys(CONDITIONS).filter((condition) => [...CELL_ROWS, ...places].some((row) => row.condition === condition));

const VIEW = { measure: MEASURES[0] || null, condition: SEEN[0] || null, concept: ALL, open: null };
const ON_VIEW = []; // what is drawn again when the view changes
let openCell = () => {};

function setView(name) {
  return (value) => {
    VIEW[name] = name === "measure" ? MEASURES.find((measure) => measure.name === value) : value;
    for (const redraw of ON_VIEW) redraw();
  };
}

const KEYS = ["condition", "layer", "strength", "concept"];
const FOUND = new Map([["share", new Map()], ["nats", new Map()]]);
for (const [kind, rows] of [["share", DATA.rates], ["nats", DATA.log_odds]]) {
  for (const row of rows) FOUND.get(kind).set(KEYS.map((key) => row[key]).join("\n"), row);
}

function rowOf(measure, condition, layer, strength, concept) {
  const rows = FOUND.get(measure.kind === "nats" ? "nats" : "share");
  return rows.get([condition, layer, strength, concept].join("\n")) || null;
}

// [value, low, high], null where there is none.
function valueOf(measure, row) {
  return [measure.name, measure.low, measure.high].map((name) => (row && name ? row[name] ?? null : null));
}

function showValue(measure, value) {
  if (value === null || value === undefined) return "–";
  if (measure.kind === "nats") return show(value);
  return `${show(100 * value, Math.abs(value) < 0.0995 && value !== 0 ? 1 : 0)}%`;
}

function showWithInterval(measure, row) {
  const [value, low, high] = valueOf(measure, row);
  const interval = low === null || high === null ? "" : ` (95%: ${showValue(measure, low)} to ${showValue(measure, high)})`;
  return `${showValue(measure, value)}${interval}`;
}
