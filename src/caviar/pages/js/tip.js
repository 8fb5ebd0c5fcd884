// What a pointer is over, in one box for all pictures.
const tip = element("div", { className: "tip", role: "status" });
tip.hidden = true;
document.body.append(tip);

const hideTip = () => {
  tip.hidden = true;
};
const showTip = (event, title, lines) => {
  const list = element("dl");
  for (const [name, value] of lines) {
    if (value === "" || value === null || value === undefined) continue;
    list.append(element("dt", { text: name }), element("dd", { text: value }));
  }
  tip.replaceChildren(...(title ? [element("strong", { text: title })] : []), list);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const beside =
    event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  tip.style.left = `${Math.max(4, Math.min(beside, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 4))}px`;
};
const settingLines = (row) => axisColumns.map((column) => [column.title, column.text(row)]);
const titleOf = (row) => `${several ? `${row.study}: ` : ""}${row.name}`;
const showRow = (event, row, lines = []) =>
  showTip(event, titleOf(row), [
    ...lines,
    ["status", row.status],
    [metric.name, short(row.value)],
    ...settingLines(row),
    ["note", row.note],
  ]);

const byName = new Map(rows.map((row) => [row.name, row]));
pictureTip = (handler, event, item, value) => {
  if (!value) return hideTip();
  const { trial, ...rest } = value;
  const row = byName.get(trial);
  return showTip(event, trial ?? "", [...Object.entries(rest), ...(row ? settingLines(row) : [])]);
};

// One trial that is pointed at is marked in every picture.
const markers = [];
let pointed = null;
const pointAt = (row) => {
  if (row === pointed) return;
  pointed = row;
  markers.forEach((mark) => mark(row));
};
addEventListener("scroll", hideTip, { passive: true });
