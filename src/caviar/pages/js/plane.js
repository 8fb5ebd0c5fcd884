// Any two columns as a map: a point for each trial, a box to keep some of them.
const planeView = (place) => {
  const titles = placed.map((column) => column.title);
  const first = axisColumns.find((c) => c.title === "lr") ?? placed[0];
  const other =
    axisColumns.find((c) => c !== first && /^(momentum|beta1)$/.test(c.title)) ??
    axisColumns.find((c) => c !== first) ??
    metricColumn;
  let [across, up] = [first, other];
  let colouring = colourings.find((c) => c.name === firstColouring);
  let spots = [];
  const byTitle = (title) => placed[titles.indexOf(title)];
  const legend = element("span");
  place.append(
    element(
      "div",
      { className: "controls" },
      chooser("Across", titles, across.title, (title) => {
        across = byTitle(title);
        draw();
      }),
      chooser("Up", titles, up.title, (title) => {
        up = byTitle(title);
        draw();
      }),
      colourChooser(colouring, (chosen) => {
        colouring = chosen;
        draw();
      }),
      legend,
    ),
  );
  const frame = new Frame(place, 380);
  const at = (column, row, spread) => {
    if (column === metricColumn)
      return row.value === null ? worst : Math.min(1, Math.max(0, column.scale().place(row.value)));
    return column.scale().place(column.get(row), row.number + spread);
  };
  const named = (column) =>
    column.axis?.kind === "one_minus_log" ? `${column.key}, log in 1-β` : column.key;

  const draw = () => {
    const context = frame.begin();
    frame.across(across.scale(), named(across));
    frame.up(up.scale(), named(up));
    spots = searched
      .map((row) => ({ row, x: frame.x(at(across, row, 0)), y: frame.y(at(up, row, 1)) }))
      .filter(
        ({ row, x, y }) =>
          Number.isFinite(x) && Number.isFinite(y) && (row.value !== null || row.lost),
      );
    spots.sort((a, b) => a.row.kept - b.row.kept || byValue(b.row, a.row));
    const size = spots.length > 1000 ? 2.2 : 4;
    for (const { row, x, y } of spots) {
      context.globalAlpha = row.kept ? 0.85 : 0.07;
      context.fillStyle = context.strokeStyle = colouring.of(row);
      if (row.value === null) {
        cross(context, x, y);
        continue;
      }
      context.beginPath();
      context.arc(x, y, size, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
    for (const best of spots.filter(({ row }) => row.best && row.kept)) {
      context.strokeStyle = css("ink");
      context.lineWidth = 2;
      context.beginPath();
      context.arc(best.x, best.y, 8, 0, 2 * Math.PI);
      context.stroke();
    }
    legend.replaceChildren(legendOf(colouring));
    mark(pointed);
  };
  const mark = (row) => {
    frame.over.replaceChildren();
    const spot = row && spots.find((s) => s.row === row);
    if (spot) frame.dot(spot.x, spot.y, 7);
  };

  let drag = null;
  const unit = ([x, y]) => [
    (x - frame.inner.left) / (frame.inner.right - frame.inner.left),
    (frame.inner.bottom - y) / (frame.inner.bottom - frame.inner.top),
  ];
  frame.box.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") return; // a finger scrolls the page
    event.preventDefault();
    document.activeElement?.blur(); // an input of the table follows once more
    frame.box.setPointerCapture(event.pointerId);
    drag = { from: frame.at(event), moved: false };
  });
  frame.box.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const to = frame.at(event);
    drag.moved ||= Math.hypot(to[0] - drag.from[0], to[1] - drag.from[1]) > 4;
    if (!drag.moved) return;
    const [a, b] = [unit(drag.from), unit(to)];
    [across, up].forEach((column, i) => limit(column, limitBetween(column.scale(), a[i], b[i])));
  });
  frame.box.addEventListener("pointerup", () => {
    if (drag && !drag.moved) [across, up].forEach((column) => limit(column, null));
    drag = null;
  });
  frame.onPointer(
    (x, y, event) => {
      if (drag?.moved) return hideTip();
      const found = nearestSpot(spots.filter((spot) => spot.row.kept), x, y);
      pointAt(found?.row ?? null);
      return found ? showRow(event, found.row) : hideTip();
    },
    () => {
      pointAt(null);
      hideTip();
    },
  );
  return { draw, mark };
};
