// The table of all trials: best first, a range for each number, columns that one chooses, and CSV.
const STEP = 200; // rows at a time
const MANY = 18; // columns: more than paper has room for, without breaking words
const tableView = (place) => {
  let sorted = { column: metricColumn, up: sign > 0 };
  let shown = STEP;
  let listed = [];
  const body = element("tbody");
  const heads = element("tr");
  const ranges = element("tr", { className: "ranges" });
  const found = element("output", { className: "faint", id: "found" });
  const more = element("button", { text: "Show more", type: "button", id: "more" });
  const reset = element("button", { text: "Keep all", type: "button", id: "keep-all" });

  const compare = (a, b) => {
    const [one, other] = [a, b].map(sorted.column.get);
    const missing = (one === null || one === undefined) - (other === null || other === undefined);
    if (missing) return missing; // what has no value comes last, whichever way
    if (one === other || one === null || one === undefined) return a.order - b.order;
    return (one < other ? -1 : 1) * (sorted.up ? 1 : -1);
  };
  const render = () => {
    const visible = columns.filter((column) => column.shown);
    listed = rows.filter((row) => row.kept).sort(compare);
    body.replaceChildren(...listed.slice(0, shown).map((row) => lineOf(row, visible)));
    more.hidden = listed.length <= shown;
    reset.hidden = !isFiltered();
    const all = rows.length.toLocaleString("en");
    found.textContent = (listed.length === rows.length ? `${all} trials` : `${listed.length.toLocaleString("en")} of ${all} trials`)
      + (listed.length > shown ? `, the first ${shown} shown` : "");
    for (const head of heads.children) {
      const way = head.column === sorted.column ? (sorted.up ? "ascending" : "descending") : "none";
      head.setAttribute("aria-sort", way);
      head.firstChild.textContent = head.column.title + { ascending: " ▲", descending: " ▼", none: "" }[way];
    }
  };
  const lineOf = (row, visible) => {
    const line = element("tr", { className: row.best ? "trial best" : "trial", tabindex: 0, "aria-expanded": "false" });
    for (const column of visible) {
      line.append(element("td", { text: column.text(row), className: column.kind === "number" ? "number" : "" }));
    }
    line.addEventListener("click", () => toggle(line, row, visible.length));
    line.addEventListener("pointerenter", () => pointAt(row));
    line.addEventListener("pointerleave", () => pointAt(null));
    line.addEventListener("keydown", (event) => {
      if (event.target !== line || ![" ", "Enter"].includes(event.key)) return;
      event.preventDefault();
      toggle(line, row, visible.length);
    });
    return line;
  };
  const toggle = (line, row, width) => {
    const next = line.nextElementSibling;
    const open = !next?.classList.contains("details");
    if (open) line.after(detailsOf(row, width));
    else next.remove();
    line.setAttribute("aria-expanded", String(open));
  };
  const build = () => {
    const visible = columns.filter((column) => column.shown);
    heads.replaceChildren(...visible.map((column) => {
      const button = element("button", { text: column.title, type: "button", title: column.key.replace(/^\w+:/, "") });
      const head = element("th", { scope: "col", className: column.kind === "number" ? "number" : "" }, button);
      head.column = column;
      button.addEventListener("click", () => {
        const first = column === metricColumn ? sign > 0 : true;
        sorted = { column, up: sorted.column === column ? !sorted.up : first };
        render();
      });
      return head;
    }));
    table.classList.toggle("many", visible.length > MANY);
    ranges.replaceChildren(...visible.map((column) => element("td", {}, ...rangeOf(column))));
    render();
  };
  const table = element("table", { id: "table" }, element("thead", {}, heads, ranges), body);
  place.append(
    searchOf(found, reset, () => { shown = STEP; }),
    element("div", { className: "scroll" }, table),
    element("p", {}, more, " ", csvButton(() => listed)),
  );
  place.querySelector(".controls").after(columnsOf(build));
  more.addEventListener("click", () => { shown += 5 * STEP; render(); });
  reset.addEventListener("click", () => {
    Object.assign(filters, { text: "", study: "", stage: "", status: "" });
    filters.limits.clear();
    place.querySelectorAll(".controls input, .controls select").forEach((input) => { input.value = ""; });
    applyFilters();
  });
  let begun = false;
  return {
    draw: () => {
      if (!begun) build();
      else {
        ranges.querySelectorAll("input, select").forEach((input) => input.dispatchEvent(new Event("limits")));
        render();
      }
      begun = true;
    },
  };
};

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
    select.addEventListener("change", () => limit(column, select.value === "" ? null : { chosen: new Set([Number(select.value)]) }));
    follow();
    return [select];
  }
  if (column.kind !== "number") return [];
  const inputs = [["low", "from", "≥"], ["high", "to", "≤"]].map(([end, word, placeholder]) => {
    const input = element("input", { inputmode: "decimal", "aria-label": `${column.title}: ${word}`, placeholder, size: 5 });
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
  const search = element("input", { type: "search", id: "filter-text", placeholder: "0.01, adam, error …" });
  const label = (text, input) => element("label", { text }, input);
  const select = (name, values) => {
    const made = element("select", { id: `filter-${name}` });
    made.add(new Option("all", ""));
    for (const value of new Set(values)) made.add(new Option(value, value));
    made.addEventListener("input", () => { filters[name] = made.value; change(); applyFilters(); });
    return made;
  };
  search.addEventListener("input", () => { filters.text = search.value; change(); refilter(); });
  return element("div", { className: "controls" },
    label("Search", search),
    ...(several ? [label("Study", select("study", studies))] : []),
    label("Stage", select("stage", stages.map((stage) => stage.name))),
    label("Status", select("status", rows.map((row) => row.status))),
    reset, found);
};

const columnsOf = (change) => {
  const boxes = columns.map((column) => {
    const box = element("input", { type: "checkbox" });
    box.checked = column.shown;
    box.addEventListener("change", () => { column.shown = box.checked; change(); });
    return element("label", {}, box, column.title);
  });
  return element("details", { className: "columns" }, element("summary", { text: "Columns" }), element("div", {}, ...boxes));
};

const csvButton = (listed) => {
  const button = element("button", { text: "Save as CSV", type: "button", id: "csv" });
  const cell = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  button.addEventListener("click", () => {
    const visible = columns.filter((column) => column.shown);
    const name = (column) => (column.axis ? column.key : column.title); // a config's own names
    const lines = [visible.map(name), ...listed().map((row) => visible.map((column) => column.exact(row)))];
    const text = lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: `${data.title}_trials.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  return button;
};

// What a row opens to: why it failed, the command that trains it again, its folder.
const detailsOf = (row, width) => {
  const cell = element("td", { colspan: width });
  if (row.error) cell.append(element("p", { text: row.error }));
  if (row.command) {
    const code = element("code", { text: row.command });
    const copy = element("button", { text: "Copy", type: "button" });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(row.command);
        copy.textContent = "Copied";
      } catch { // a file may not write to the clipboard everywhere
        getSelection().selectAllChildren(code);
      }
    });
    cell.append(element("p", {}, code), copy);
  }
  const folder = element("p");
  if (row.there) {
    const href = row.folder.split("/").map(encodeURIComponent).join("/") + "/";
    folder.append(element("a", { text: `${row.folder}/`, href }));
  } else folder.textContent = `${row.folder}/ (not on the machine that wrote this page)`;
  cell.append(folder);
  return element("tr", { className: "details" }, cell);
};
