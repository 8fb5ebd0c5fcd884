// Draws the pictures with vega-embed, and keeps the table of all trials. No library but that one.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("study-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();

  // -- pictures

  const draw = async (place) => {
    const config = data.themes[dark.matches ? "dark" : "light"];
    const spec = {
      ...data.charts[place.dataset.name],
      width: "container",
      autosize: { type: "fit-x", contains: "padding" },
      config,
    };
    const name = `${data.study}_${place.dataset.name}`;
    drawn.get(place)?.finalize();
    const actions = { export: true, source: false, compiled: false, editor: false };
    const theme = dark.matches ? "dark" : undefined;
    const options = { actions, downloadFileName: name, tooltip: { theme }, renderer: "canvas" };
    try {
      drawn.set(place, await vegaEmbed(place, spec, options));
    } catch (error) {
      console.error(error);
      place.textContent = `This picture could not be drawn: ${error.message}`;
    }
    place.dataset.drawn = "yes";
  };

  // Only what is looked at: a page of many thousand trials opens at once.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  const places = document.querySelectorAll(".chart");
  places.forEach((place) => seen.observe(place));
  dark.addEventListener("change", () => [...drawn.keys()].forEach(draw));
  addEventListener("beforeprint", () => places.forEach(draw));

  // -- the table of all trials

  if (!data.rows.length) return;
  const STEP = 200; // rows at a time
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const more = document.getElementById("more");
  const search = document.getElementById("filter-text");
  const filters = { stage: document.getElementById("filter-stage"), status: document.getElementById("filter-status") };
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const short = (value) => (value === null || value === undefined ? "" : String(Number(value.toPrecision(4))));
  const settings = [...new Set(data.rows.flatMap((row) => Object.keys(row.setting)))];
  const columns = [
    { title: "trial", value: (row) => row.order, text: (row) => `${row.stage}/${row.number}` },
    { title: "status", value: (row) => row.status },
    { title: data.metric, value: (row) => row.value, text: (row) => short(row.value), number: true },
    { title: "epoch", value: (row) => row.epoch, number: true },
    ...settings.map((name) => {
      const numeric = data.rows.every((row) => !row.setting[name] || isFinite(row.setting[name]));
      const value = (row) => (row.setting[name] ? (numeric ? Number(row.setting[name]) : row.setting[name]) : null);
      return { title: name, value, text: (row) => row.setting[name] ?? "", number: numeric };
    }),
    { title: "seconds", value: (row) => row.seconds, text: (row) => short(row.seconds), number: true },
    { title: "note", value: (row) => row.note || row.error || null },
  ];
  data.rows.forEach((row, order) => {
    row.order = order;
    row.words = [row.stage + "/" + row.number, row.status, short(row.value), ...Object.entries(row.setting).flat(), row.note, row.error]
      .join(" ").toLowerCase();
  });
  let sorted = { column: 0, up: true };
  let shown = STEP;

  const compare = (a, b) => {
    const [one, other] = [a, b].map(columns[sorted.column].value);
    const missing = (one === null || one === undefined) - (other === null || other === undefined);
    if (missing) return missing; // what has no value comes last, whichever way
    if (one === other || one === null || one === undefined) return a.order - b.order;
    return (one < other ? -1 : 1) * (sorted.up ? 1 : -1);
  };
  const wanted = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = Object.entries(filters).filter(([, select]) => select.value);
    return data.rows
      .filter((row) => chosen.every(([name, select]) => row[name] === select.value))
      .filter((row) => words.every((word) => row.words.includes(word)));
  };
  const details = (row) => {
    const line = element("tr", null, "details");
    const cell = line.appendChild(element("td"));
    cell.colSpan = columns.length;
    if (row.error) cell.appendChild(element("p", row.error));
    if (row.command) cell.append(...reproduction(row));
    const folder = cell.appendChild(element("p"));
    if (row.there) {
      const link = folder.appendChild(element("a", row.folder + "/"));
      link.href = row.folder.split("/").map(encodeURIComponent).join("/") + "/";
    } else {
      folder.textContent = `${row.folder}/ (not on the machine that wrote this page)`;
    }
    return line;
  };
  const reproduction = (row) => {
    const command = element("p");
    command.appendChild(element("code", row.command));
    const copy = element("button", "Copy");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(row.command);
        copy.textContent = "Copied";
      } catch { // a file may not write to the clipboard everywhere
        getSelection().selectAllChildren(command.firstChild);
      }
    });
    return [command, copy];
  };
  const toggle = (line, row) => {
    const next = line.nextElementSibling;
    if (next?.classList.contains("details")) next.remove();
    else line.after(details(row));
    line.setAttribute("aria-expanded", String(!next?.classList.contains("details")));
  };
  const render = () => {
    const rows = wanted().sort(compare);
    body.replaceChildren(...rows.slice(0, shown).map((row) => {
      const line = element("tr", null, row.best ? "trial best" : "trial");
      for (const column of columns) {
        const text = column.text ? column.text(row) : column.value(row);
        line.appendChild(element("td", text, column.number ? "number" : ""));
      }
      line.tabIndex = 0;
      line.setAttribute("aria-expanded", "false");
      line.addEventListener("click", () => toggle(line, row));
      line.addEventListener("keydown", (event) => {
        if (event.target !== line || ![" ", "Enter"].includes(event.key)) return;
        event.preventDefault();
        toggle(line, row);
      });
      return line;
    }));
    more.hidden = rows.length <= shown;
    const all = data.rows.length;
    document.getElementById("found").textContent = rows.length === all ? `${all} trials` : `${rows.length} of ${all} trials`;
    heads.forEach((head, i) => {
      const way = i === sorted.column ? (sorted.up ? "ascending" : "descending") : "none";
      head.setAttribute("aria-sort", way);
      head.firstChild.textContent = columns[i].title + { ascending: " ▲", descending: " ▼", none: "" }[way];
    });
  };
  const heads = columns.map((column, i) => {
    const head = element("th", null, column.number ? "number" : "");
    head.scope = "col";
    const button = head.appendChild(element("button", column.title));
    button.type = "button";
    button.addEventListener("click", () => {
      sorted = { column: i, up: sorted.column === i ? !sorted.up : true };
      render();
    });
    return head;
  });
  table.tHead.rows[0].replaceChildren(...heads);
  for (const [name, select] of Object.entries(filters)) {
    for (const value of new Set(data.rows.map((row) => row[name]))) select.add(new Option(value, value));
  }
  document.getElementById("filters").addEventListener("input", () => { shown = STEP; render(); });
  more.addEventListener("click", () => { shown += 5 * STEP; render(); });
  render();
})();
