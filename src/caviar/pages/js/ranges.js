// What the table is asked for: words, a stage, a range for each number, columns.

// Below a head: the ends that are kept of a number, or one of a list. It follows brushes.
const rangeOf = (column) => {
  if (column.kind === "choice") {
    const select = element("select", { "aria-label": `${column.title}: keep` });
    const names = column.scale().choices;
    select.add(new Option("all", ""));
    names.forEach((name, i) => select.add(new Option(name, String(i))));
    select.add(new Option("some", "some"));
    select.lastChild.hidden = true;
    const follow = () => {
      const chosen = filters.limits.get(column)?.chosen;
      select.value = !chosen ? "" : chosen.size === 1 ? String([...chosen][0]) : "some";
    };
    select.addEventListener("limits", follow);
    select.addEventListener("change", () =>
      limit(column, select.value === "" ? null : { chosen: new Set([Number(select.value)]) }),
    );
    follow();
    return [select];
  }
  if (column.kind !== "number") return [];
  const inputs = [
    ["low", "from", "≥"],
    ["high", "to", "≤"],
  ].map(([end, word, placeholder]) => {
    const input = element("input", {
      inputmode: "decimal",
      "aria-label": `${column.title}: ${word}`,
      placeholder,
      size: 5,
    });
    const follow = () => {
      if (document.activeElement === input) return; // nobody is written over while typing
      const bound = filters.limits.get(column)?.[end];
      input.value = isNumber(bound) ? String(bound) : "";
      input.removeAttribute("aria-invalid");
    };
    input.addEventListener("limits", follow);
    input.addEventListener("input", () => {
      const value = Number(input.value.replace(",", "."));
      const valid = Number.isFinite(value);
      if (valid) input.removeAttribute("aria-invalid");
      else input.setAttribute("aria-invalid", "true");
      if (!valid) return;
      const bounds = { low: -Infinity, high: Infinity, ...filters.limits.get(column) };
      bounds[end] = input.value.trim() === "" ? { low: -Infinity, high: Infinity }[end] : value;
      limit(column, bounds.low === -Infinity && bounds.high === Infinity ? null : bounds);
    });
    follow();
    return input;
  });
  return [element("span", { className: "range" }, ...inputs)];
};

const searchOf = (found, reset, change) => {
  const search = element("input", {
    type: "search",
    id: "filter-text",
    placeholder: "0.01, adam, error …",
  });
  const label = (text, input) => element("label", { text }, input);
  const select = (name, values) => {
    const made = element("select", { id: `filter-${name}` });
    made.add(new Option("all", ""));
    for (const value of new Set(values)) made.add(new Option(value, value));
    made.addEventListener("input", () => {
      filters[name] = made.value;
      change();
      applyFilters();
    });
    return made;
  };
  search.addEventListener("input", () => {
    filters.text = search.value;
    change();
    refilter();
  });
  return element(
    "div",
    { className: "controls" },
    label("Search", search),
    ...(several ? [label("Study", select("study", studies))] : []),
    label(
      "Stage",
      select(
        "stage",
        stages.map((stage) => stage.name),
      ),
    ),
    label(
      "Status",
      select(
        "status",
        rows.map((row) => row.status),
      ),
    ),
    reset,
    found,
  );
};

const columnsOf = (change) => {
  const boxes = columns.map((column) => {
    const box = element("input", { type: "checkbox" });
    box.checked = column.shown;
    box.addEventListener("change", () => {
      column.shown = box.checked;
      change();
    });
    return element("label", {}, box, column.title);
  });
  return element(
    "details",
    { className: "columns" },
    element("summary", { text: "Columns" }),
    element("div", {}, ...boxes),
  );
};
