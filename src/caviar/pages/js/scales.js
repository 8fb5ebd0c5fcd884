// A scale places natural values between 0 and 1 as the hyperparameter is drawn: by its logarithm,
// by that of 1-β, evenly, or as one of a list.
const GOLDEN = 0.618034;

const bends = {
  log: { to: (v) => (v > 0 ? Math.log10(v) : NaN), from: (t) => 10 ** t },
  one_minus_log: { to: (v) => (v < 1 ? -Math.log10(1 - v) : NaN), from: (t) => 1 - 10 ** -t },
  linear: { to: (v) => v, from: (t) => t },
};
bends.log_integer = bends.log;
bends.integer = bends.linear;

const logTicks = (low, high, most) => {
  const sets = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]].map((mantissas) => {
    const found = [];
    for (let d = Math.floor(Math.log10(low)); d <= Math.ceil(Math.log10(high)); d++) {
      for (const m of mantissas) {
        const value = Number(`${m}e${d}`);
        if (value >= low && value <= high) found.push(value);
      }
    }
    return found;
  });
  const set = sets.find((s) => s.length >= 3) ?? sets.at(-1);
  const step = Math.ceil(set.length / most);
  return set.length > 1 ? set.filter((_, i) => i % step === 0) : evenTicks(low, high, most);
};
const evenTicks = (low, high, most, least = 0) => {
  const rough = (high - low) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, size * [1, 2, 5, 10].find((m) => m * size >= rough * 0.999));
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
};
// As many digits as tell 1-β: 0.9984 and 0.9985 average over other lengths.
const complementText = (v) =>
  String(Number(v.toPrecision(Math.min(12, Math.max(3, 3 - Math.floor(Math.log10(1 - v)))))));

const listScale = (choices) => ({
  kind: "choice",
  choices,
  // Trials of one choice are spread, or they would hide one another.
  place: (v, number) =>
    v === null
      ? NaN
      : (v + 0.5 + (number === undefined ? 0 : 0.6 * (((number * GOLDEN) % 1) - 0.5))) /
        choices.length,
  at: (u) => u * choices.length - 0.5,
  text: (v) => choices[v] ?? "",
  ticks: () => choices.map((text, i) => ({ place: (i + 0.5) / choices.length, text })),
});
const numberScale = ({ kind, low, high }, values, margin = 0.03) => {
  const { to, from } = bends[kind] ?? bends.linear;
  let [first, last] = [Infinity, -Infinity];
  for (const v of [low, high, ...values]) {
    const t = isNumber(v) ? to(v) : NaN;
    if (t < first) first = t;
    if (t > last) last = t;
  }
  if (first > last) [first, last] = [0, 1];
  const room =
    last > first ? margin * (last - first) : 0.5 * (kind === "linear" ? Math.abs(first) || 1 : 1);
  [first, last] = [first - room, last + room];
  const text = (v) =>
    !isNumber(v) ? "" : kind === "one_minus_log" && v < 1 ? complementText(v) : short(v);
  return {
    kind,
    text,
    place: (v) => (isNumber(v) ? (to(v) - first) / (last - first) : NaN),
    at: (u) => from(first + u * (last - first)),
    ticks: (most = 6) => {
      const [a, b] = [from(first), from(last)];
      const values =
        kind === "one_minus_log"
          ? logTicks(1 - b, 1 - a, most).map((c) => 1 - c)
          : bends[kind] === bends.log
            ? logTicks(a, b, most)
            : evenTicks(a, b, most, kind === "integer" ? 1 : 0);
      return values.map((v) => ({ place: (to(v) - first) / (last - first), text: text(v) }));
    },
  };
};
