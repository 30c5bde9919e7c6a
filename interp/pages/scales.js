// What charts are drawn with: scales, ticks, bands and lines. Colours come from the style sheet.

function scaleOf(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

// Round numbers between two ends, zero among them where it lies between.
function ticks(low, high, about = 4) {
  const step = 10 ** Math.floor(Math.log10((high - low || 1) / about));
  const wide = [1, 2, 5, 10].map((each) => each * step).find((each) => (high - low) / each <= about + 1);
  const found = [];
  for (let tick = Math.ceil(low / wide) * wide; tick <= high + wide * 1e-9; tick += wide) found.push(Math.abs(tick) < wide * 1e-9 ? 0 : tick);
  return found;
}

function tickText(value) {
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

function band(kind, xs, lows, highs, y) {
  const places = xs.map((_, place) => place).filter((place) => lows[place] !== null && highs[place] !== null);
  if (places.length === 1) {
    const [place] = places;
    return draw("line", { class: `stick ${kind}`, x1: xs[place], x2: xs[place], y1: y(lows[place]), y2: y(highs[place]) });
  }
  const there = places.map((place) => `${xs[place]},${y(lows[place])}`);
  const back = places.map((place) => `${xs[place]},${y(highs[place])}`).reverse();
  return draw("polygon", { class: `band ${kind}`, points: [...there, ...back].join(" ") });
}

function line(kind, xs, values, y) {
  const points = xs.map((x, place) => (values[place] === null ? null : `${x},${y(values[place])}`)).filter(Boolean);
  return draw("polyline", { class: `line ${kind}`, points: points.join(" ") });
}
