// The statistics of differences.csv, found by name: whatever columns there are can be looked at.

const UNITS = "in residual units; where layers are averaged, in standard deviations";
const ABOUT = {
  effect: ["effect", "Mean of the largest tenth of the paired differences, over the spread of single differences of all organisms and prompts."],
  mean_effect: ["mean effect", "Mean paired difference, over the spread of single differences of all organisms and prompts."],
  top: ["largest tenth", `Mean of the largest tenth of the paired differences, ${UNITS}.`],
  mean: ["mean difference", `Mean paired difference, author − clean reader, ${UNITS}.`],
  mean_p: ["p of the mean", "Two-sided, by sign flips of whole prompts."],
  mean_q: ["q of the mean", "p of the mean with the false discovery rate over the table."],
  top_p: ["p of the largest tenth", "One-sided, by sign flips of whole prompts."],
  top_q: ["q of the largest tenth", "p of the largest tenth with the false discovery rate over the table."],
  p: ["p", "By sign flips of whole prompts: of the mean or the largest tenth, whichever is further out, corrected for the choice."],
  p_max: ["p, for all that was searched", "Corrected for having searched all columns of the organism too (max-statistic)."],
  q: ["q", "p with the false discovery rate over the table (Benjamini-Hochberg)."],
  random_p: ["p against random directions", "Where the effect would stand among the organism's effects along random directions with the residuals' covariance."],
  sham_p: ["p against the shams", "Where the effect would stand among the entries of the shams."],
  z_others: ["robust z against the other organisms", "Largest tenth against the other organisms' own values, in their robust standard deviations: what all share cancels."],
  cosine: ["cosine difference", "Mean difference of the cosines with the vector."],
};
const KINDS = { centred: "less its peers", raw: "as measured" };
const KEYS = ["author", "trait", "method", "layer"];
const LEVEL = 0.05;

const COLUMNS = Object.fromEntries(DATA.entries.map((column) => [column.name, unpack(column)]));
const AUTHORS = DATA.authors;
const TRAITS = [...new Set(COLUMNS.trait)].sort();
const METHODS = [...new Set(COLUMNS.method)].sort();
const LAYERS = [...new Set(COLUMNS.layer.map(Number))].filter((layer) => layer >= 0).sort((a, b) => a - b);
const ALL_LAYERS = COLUMNS.layer.find((layer) => !(Number(layer) >= 0)); // what stands for all of them together
const NUMERIC = DATA.entries.filter((column) => column.values && !KEYS.includes(column.name)).map((column) => column.name);
const MODELS = Object.fromEntries(DATA.models.map((model) => [model.name, model]));
const VECTORS = Object.fromEntries(DATA.vectors.map((vector) => [vector.trait, vector]));

const ROW_OF = new Map();
COLUMNS.author.forEach((author, row) => {
  ROW_OF.set([author, COLUMNS.trait[row], COLUMNS.method[row], COLUMNS.layer[row]].join("\n"), row);
});

function unpack(column) {
  return column.values || column.places.map((place) => column.names[place]);
}

// An effect is a largest tenth, or a mean, in other units; so are the ends of its interval.
for (const [name, other] of [["effect", "top"], ["mean_effect", "mean"]].flatMap((pair) => [pair, pair.map((each) => `centred_${each}`)])) {
  const [effects, values] = [COLUMNS[name], COLUMNS[other]];
  for (const end of ["low", "high"]) {
    const ends = COLUMNS[`${other}_${end}`];
    if (!effects || !values || !ends || COLUMNS[`${name}_${end}`]) continue;
    COLUMNS[`${name}_${end}`] = effects.map((effect, row) => (values[row] && ends[row] !== null && effect !== null ? (ends[row] * effect) / values[row] : null));
  }
}

function isProbability(name) {
  return /(^|_)(p|q|fdr)(_|$)/.test(name);
}

function intervalOf(name) {
  const ends = [`${name}_low`, `${name}_high`];
  return ends.every((end) => COLUMNS[end]) ? ends : null;
}

// What can fill the heat map: every number but the ends of intervals, counts and spreads.
const STATISTICS = NUMERIC.filter((name) => !/_(low|high)$|^n(_|$)|(^|_)sd$/.test(name));

// What can mark an entry, the strictest kind first: q and p at 5%, more than any sham has, intervals without zero.
const SHAMS = AUTHORS.filter((author) => MODELS[author].role === "sham");
const FLAGS = DATA.entries.filter(isFlag).map((column) => column.name);
const MARKS = [...FLAGS, ...STATISTICS.filter(isProbability), ...(SHAMS.length ? ["shams"] : []), ...STATISTICS.filter((name) => NUMERIC.includes(`${name}_low`) && intervalOf(name))]
  .map((name, place) => [strictness(name), place, name]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , name]) => name);

// A column that says yes or no of each entry, in one way or another.
function isFlag({ name, names }) {
  const words = (names || []).filter(Boolean).map((word) => word.toLowerCase());
  return !KEYS.includes(name) && words.length > 0 && (words.includes("detected") || words.every((word) => /^(true|false|yes|no)$/.test(word)));
}

function strictness(name) {
  const kind = FLAGS.includes(name) ? -10 : /(^|_)(q|fdr)(_|$)/.test(name) ? 0 : isProbability(name) ? 10 : name === "shams" ? 20 : 30;
  return kind + (name.startsWith("centred") ? 0 : 3) + (/(^|_)mean/.test(name) ? 2 : /(^|_)top/.test(name) ? 1 : 0);
}

function known(name) {
  if (ABOUT[name]) return [...ABOUT[name], ""];
  const [kind, ...rest] = name.split("_");
  const base = ABOUT[rest.join("_")];
  return KINDS[kind] && base ? [`${base[0]}, ${KINDS[kind]}`, `${base[1]} Here ${KINDS[kind]}: other organisms on the same prompt, as the comparison says.`] : [name.replaceAll("_", " "), ""];
}

function label(name) {
  return known(name)[0];
}

function explain(name) {
  return known(name)[1];
}

function markLabel(name) {
  if (FLAGS.includes(name)) return `${label(name)}, the comparison says`;
  if (name === "shams") return "beyond every entry of the shams";
  return isProbability(name) ? `${label(name)} ≤ ${LEVEL}` : `95% interval of ${label(name)} leaves out 0`;
}

// Rows of an entry: of one layer, or of all where `layer` is "mean", or of the trait's own where it is "own".
function rowsOf(author, trait, method, layer) {
  const own = VECTORS[trait] && method === DATA.method ? VECTORS[trait].layer : LAYERS[LAYERS.length >> 1];
  const layers = layer === "mean" ? [ALL_LAYERS, ...LAYERS] : [layer === "own" ? own : Number(layer)];
  return layers.map((each) => ROW_OF.get([author, trait, method, each].join("\n"))).filter((row) => row !== undefined);
}

// A statistic over layers: that of all together where the file has it; else the mean, for p and q the largest.
function valueOf(name, rows) {
  const together = rows.find((row) => COLUMNS.layer[row] === ALL_LAYERS);
  if (together !== undefined && typeof COLUMNS[name][together] === "number") return COLUMNS[name][together];
  const values = rows.map((row) => COLUMNS[name][row]).filter((value) => typeof value === "number");
  if (!values.length) return null;
  if (isProbability(name)) return Math.max(...values);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

// The ends of an interval as text, nothing where there is none.
function showInterval(name, rows) {
  const ends = (intervalOf(name) || []).map((end) => valueOf(end, rows));
  return ends.length && ends.every((end) => end !== null) ? ` (95%: ${show(ends[0])} to ${show(ends[1])})` : "";
}

function isMarked(name, rows) {
  if (name === "none" || name === "shams" || !rows.length) return false;
  if (FLAGS.includes(name)) {
    const [author, trait, method] = KEYS.map((key) => COLUMNS[key][rows[0]]); // said of all layers together, or of each
    return [...rows, ...rowsOf(author, trait, method, "mean")].some((row) => /^(true|yes|detected)$/i.test(COLUMNS[name][row]));
  }
  if (isProbability(name)) {
    const value = valueOf(name, rows);
    return value !== null && value <= LEVEL;
  }
  const [low, high] = intervalOf(name).map((end) => valueOf(end, rows));
  return low !== null && high !== null && (low > 0 || high < 0);
}

function showProbability(value) {
  if (value === null) return "–";
  return value < 0.001 ? "<.001" : value.toFixed(3).replace("0.", ".");
}

function showStatistic(name, value) {
  if (isProbability(name)) return showProbability(value);
  return Number.isInteger(value) ? String(value) : show(value);
}

function quantile(values, share) {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : 0;
}

// -1 … 1: where a value lies between a cap below zero and one above; p and q by their logarithm.
function depth(name, value, cap) {
  if (value === null) return 0;
  if (isProbability(name)) return Math.min(1, -Math.log10(Math.max(value, 1e-9)) / 4);
  return Math.max(-1, Math.min(1, value / (cap || 1)));
}
