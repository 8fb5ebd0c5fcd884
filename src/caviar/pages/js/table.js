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
    const all = grouped(rows.length);
    found.textContent =
      (listed.length === rows.length
        ? `${all} trials`
        : `${grouped(listed.length)} of ${all} trials`) +
      (listed.length > shown ? `, the first ${shown} shown` : "");
    for (const head of heads.children) {
      const way = head.column === sorted.column ? (sorted.up ? "ascending" : "descending") : "none";
      head.setAttribute("aria-sort", way);
      head.firstChild.textContent =
        head.column.title + { ascending: " ▲", descending: " ▼", none: "" }[way];
    }
  };
  const lineOf = (row, visible) => {
    const line = element("tr", {
      className: row.best ? "trial best" : "trial",
      tabindex: 0,
      "aria-expanded": "false",
    });
    for (const column of visible) {
      line.append(
        element("td", {
          text: column.text(row),
          className: column.kind === "number" ? "number" : "",
        }),
      );
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
    heads.replaceChildren(
      ...visible.map((column) => {
        const button = element("button", {
          text: column.title,
          type: "button",
          title: column.key.replace(/^\w+:/, ""),
        });
        const head = element(
          "th",
          { scope: "col", className: column.kind === "number" ? "number" : "" },
          button,
        );
        head.column = column;
        button.addEventListener("click", () => {
          const first = column === metricColumn ? sign > 0 : true;
          sorted = { column, up: sorted.column === column ? !sorted.up : first };
          render();
        });
        return head;
      }),
    );
    table.classList.toggle("many", visible.length > MANY);
    ranges.replaceChildren(...visible.map((column) => element("td", {}, ...rangeOf(column))));
    render();
  };
  const table = element("table", { id: "table" }, element("thead", {}, heads, ranges), body);
  place.append(
    searchOf(found, reset, () => {
      shown = STEP;
    }),
    element("div", { className: "scroll" }, table),
    element(
      "p",
      {},
      more,
      " ",
      csvButton(() => listed),
    ),
  );
  place.querySelector(".controls").after(columnsOf(build));
  more.addEventListener("click", () => {
    shown += 5 * STEP;
    render();
  });
  reset.addEventListener("click", () => {
    Object.assign(filters, { text: "", study: "", stage: "", status: "" });
    filters.limits.clear();
    place.querySelectorAll(".controls input, .controls select").forEach((input) => {
      input.value = "";
    });
    applyFilters();
  });
  let begun = false;
  return {
    draw: () => {
      if (!begun) build();
      else {
        ranges
          .querySelectorAll("input, select")
          .forEach((input) => input.dispatchEvent(new Event("limits")));
        render();
      }
      begun = true;
    },
  };
};
