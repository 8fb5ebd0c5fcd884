// What the table gives away: its rows as CSV, and what a row opens to.

const csvButton = (listed) => {
  const button = element("button", { text: "Save as CSV", type: "button", id: "csv" });
  const cell = (value) =>
    /[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
  button.addEventListener("click", () => {
    const visible = columns.filter((column) => column.shown);
    const name = (column) => (column.axis ? column.key : column.title); // a config's own names
    const lines = [
      visible.map(name),
      ...listed().map((row) => visible.map((column) => column.exact(row))),
    ];
    const text = lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
    const link = element("a", {
      href: URL.createObjectURL(new Blob([text], { type: "text/csv" })),
      download: `${data.title}_trials.csv`,
    });
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
      } catch {
        // a file may not write to the clipboard everywhere
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
