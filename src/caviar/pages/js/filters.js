// What is kept: one answer for the table and for all pictures, however it was asked for.
// `limits`: column → {low, high} or {chosen}.
const filters = { text: "", study: "", stage: "", status: "", limits: new Map() };
const filtered = []; // functions that are called when the answer has changed

const within = (row, [column, limit]) => {
  const value = column.get(row);
  if (value === null || value === undefined) return false;
  return limit.chosen ? limit.chosen.has(value) : value >= limit.low && value <= limit.high;
};
const wordsOf = (row) =>
  (row.words ??= columns
    .map((column) => column.text(row))
    .join(" ")
    .toLowerCase());
const isFiltered = () => rows.some((row) => !row.kept);

const applyFilters = () => {
  const words = filters.text.toLowerCase().split(/\s+/).filter(Boolean);
  const limits = [...filters.limits];
  for (const row of rows) {
    row.kept =
      (!filters.study || row.study === filters.study) &&
      (!filters.stage || row.stage.name === filters.stage) &&
      (!filters.status || row.status === filters.status) &&
      limits.every((limit) => within(row, limit)) &&
      words.every((word) => wordsOf(row).includes(word));
  }
  const names = isFiltered()
    ? Object.fromEntries(rows.filter((row) => row.kept).map((row) => [row.name, true]))
    : null;
  if (names || keptNames) dimPictures(names);
  filtered.forEach((action) => action());
};
const refilter = onceAFrame(applyFilters);
const limit = (column, bounds) => {
  if (bounds) filters.limits.set(column, bounds);
  else filters.limits.delete(column);
  refilter();
};
// A part of a scale, from 0 to 1, as a limit: of a list what lies in it, else round numbers.
const limitBetween = (scale, from, to) => {
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  if (scale.kind === "choice") {
    const inside = scale.choices
      .map((_, i) => i)
      .filter(
        (i) =>
          scale.place(i) >= low - 0.3 / scale.choices.length &&
          scale.place(i) <= high + 0.3 / scale.choices.length,
      );
    return { chosen: new Set(inside) };
  }
  if (low <= 0 && high >= 1) return null;
  // Past an end of the axis there is no bound.
  return {
    low: low <= 0 ? -Infinity : Number(scale.text(scale.at(low))),
    high: high >= 1 ? Infinity : Number(scale.text(scale.at(high))),
  };
};
