// Rows, one for each trial, and columns: what there is to read of a row, as the table, the axes
// and the map offer it.
const explorer = data.explorer;
const { metric, studies, stages } = explorer;
const several = studies.length > 1;

const rows =
  explorer.trials.number?.map((number, order) => {
    const row = { order };
    for (const [name, values] of Object.entries(explorer.trials)) row[name] = values[order];
    row.stage = stages[row.stage];
    row.study = studies[row.stage.study];
    row.searched = row.stage.kind === "search"; // the others repeat its settings
    row.name = `${row.stage.name}/${number}`;
    row.lost = row.value === null && row.searched && !["waiting", "running"].includes(row.status);
    row.kept = true;
    return row;
  }) ?? [];
const searched = rows.filter((row) => row.searched);

const shortNames = (() => {
  const last = (key) => key.split(".").at(-1);
  const taken = explorer.axes.map((axis) => last(axis.key));
  return explorer.axes.map((axis, i) =>
    taken.indexOf(taken[i]) === taken.lastIndexOf(taken[i]) ? taken[i] : axis.key,
  );
})();

const column = (key, title, get, more = {}) => {
  const made = {
    key,
    title,
    get,
    kind: "words",
    shown: true,
    text: (row) => String(get(row) ?? ""),
    ...more,
  };
  made.exact ??= (row) => {
    const value = get(row);
    return value === null || value === undefined ? "" : value;
  };
  return made;
};
const numeric = (key, title, get, axis = {}, more = {}) => {
  let scale = null;
  return column(key, title, get, {
    kind: "number",
    text: (row) => short(get(row)),
    scale: () => (scale ??= numberScale({ kind: "linear", ...axis }, searched.map(get))),
    ...more,
  });
};
const named = (field) => [...new Set(rows.flatMap((row) => Object.keys(row[field] ?? {})))].sort();

const axisColumns = explorer.axes.map((axis, i) => {
  const get = (row) => row.setting[i];
  if (axis.kind === "choice") {
    const scale = listScale(axis.choices);
    const text = (row) => scale.text(get(row));
    return column(axis.key, shortNames[i], get, {
      kind: "choice",
      text,
      exact: text,
      scale: () => scale,
      axis,
    });
  }
  const made = numeric(axis.key, shortNames[i], get, axis, { axis });
  return { ...made, text: (row) => made.scale().text(get(row)) };
});
const metricColumn = numeric(
  metric.name,
  metric.name,
  (row) => row.value,
  {},
  {
    // Cut where runs are about to diverge: the picture is about the others.
    scale: () =>
      numberScale(
        { kind: metric.log ? "log" : "linear", low: metric.low, high: metric.high },
        [],
        0,
      ),
  },
);
const epochColumn = numeric(
  "epoch",
  explorer.curves.unit === "step" ? "validation" : "epoch",
  (row) => row.epoch,
);
const secondsColumn = numeric("seconds", "seconds", (row) => row.seconds);
const isTest = (name) => (name.startsWith("test") ? name : `${name} (test)`);
const columns = [
  ...(several ? [column("study", "study", (row) => row.study)] : []),
  column("trial", "trial", (row) => row.order, {
    text: (row) => row.name,
    exact: (row) => row.name,
  }),
  column("status", "status", (row) => row.status),
  metricColumn,
  ...named("test").map((name) =>
    numeric(`test:${name}`, isTest(name), (row) => row.test?.[name] ?? null),
  ),
  epochColumn,
  ...axisColumns,
  secondsColumn,
  ...named("ended").map((name) =>
    numeric(
      `ended:${name}`,
      `${name} at its end`,
      (row) => row.ended?.[name] ?? null,
      {},
      { shown: false },
    ),
  ),
  column("started", "started", (row) => row.started, {
    shown: false,
    text: (row) => (row.started ? new Date(row.started * 1000).toLocaleString("sv") : ""),
    exact: (row) => (row.started ? new Date(row.started * 1000).toISOString() : ""),
  }),
  column("host", "host", (row) => row.host, { shown: false }),
  numeric("seed", "seed", (row) => row.seed, {}, { shown: false, text: (row) => String(row.seed) }),
  column("note", "note", (row) => row.note || row.error || null),
];
// What an axis of the map may be.
const placed = [...axisColumns, metricColumn, epochColumn, secondsColumn];

const sign = metric.mode === "min" ? 1 : -1;
const byValue = (a, b) =>
  (a.value === null) - (b.value === null) || sign * (a.value - b.value) || a.order - b.order;
// Where a trial stands, from 0, the best, to 1: by rank, as a few far values would make all others
// look alike.
const valued = searched.filter((row) => row.value !== null).sort(byValue);
valued.forEach((row, i) => {
  row.badness = valued.length > 1 ? i / (valued.length - 1) : 0;
});
// The worst end, where a trial without a value is drawn.
const worst = sign > 0 ? 1 : 0;
