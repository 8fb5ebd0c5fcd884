// Who worked when: a bar for each trial, in as many rows of a machine as trials ran side by side.
const workersView = (place) => {
  const note = element("p", { className: "faint" });
  const frame = new Frame(place, 240, { left: 110, top: 8, bottom: 40, right: 14 });
  const legend = element("div", { className: "controls" });
  place.prepend(legend);
  place.append(note);
  let bars = [];
  const colourOf = (status) =>
    ({ complete: category(2), pruned: category(4), diverged: category(1), running: category(0) })[
      status
    ] ?? css("lost");

  const rowsOf = (of) => {
    const free = []; // when each row is free again
    for (const bar of of.sort((a, b) => a.from - b.from)) {
      const found = free.findIndex((time) => time <= bar.from + 0.05);
      bar.lane = found < 0 ? free.length : found;
      free[bar.lane] = bar.to;
    }
    return free.length;
  };
  const draw = () => {
    const worked = rows.filter((row) => isNumber(row.started));
    const all = worked.map((row) => ({
      row,
      from: row.started,
      to: row.status === "running" ? explorer.now : row.started + (row.seconds ?? 0),
    }));
    const hosts = [...new Set(worked.map((row) => titleOfHost(row)))];
    let lanes = 0;
    const labels = hosts.map((host) => {
      const own = all.filter((bar) => titleOfHost(bar.row) === host);
      const count = rowsOf(own);
      own.forEach((bar) => {
        bar.lane += lanes;
      });
      lanes += count;
      return { host, first: lanes - count, count };
    });
    frame.height = Math.min(520, Math.max(90, 18 * lanes + 52));
    const context = frame.begin();
    const clock = clockOf(all.map((bar) => [bar.from, bar.to]));
    const ticks = clockScale(clock);
    frame.across(
      ticks.scale,
      all.length ? `time of work, ${ticks.unit}` : "no trial has left its times",
    );
    drawCuts(frame, clock, ticks);
    const tall = (frame.inner.bottom - frame.inner.top) / Math.max(1, lanes);
    for (const { host, first, count } of labels) {
      const y = frame.inner.top + first * tall;
      if (first) frame.rule(frame.inner.left, y, frame.inner.right, y, "grid");
      frame.words(clipped(host, 14), frame.inner.left - 6, y + (count * tall) / 2 + 4, {
        "text-anchor": "end",
      });
    }
    bars = all.map((bar) => {
      const [x, end] = [frame.x(ticks.place(bar.from)), frame.x(ticks.place(bar.to))];
      return {
        ...bar,
        x,
        y: frame.inner.top + bar.lane * tall,
        width: Math.max(1, end - x - 0.5),
        height: Math.max(1, tall - (tall > 4 ? 2 : 0)),
      };
    });
    for (const { row, x, y, width, height } of bars) {
      context.globalAlpha = row.kept ? 0.9 : 0.15;
      context.fillStyle = colourOf(row.status);
      context.fillRect(x, y, width, height);
    }
    context.globalAlpha = 1;
    legend.replaceChildren(statusLegend(worked));
    const cut = clock.cuts.length ? "At a dashed line a pause is cut, in which no trial ran. " : "";
    const sample = explorer.sampled ? "Of the trials that the table lists. " : "";
    const without = rows.length - worked.length;
    const missing = `${counted(without, "trial")} of ${grouped(rows.length)} left no time.`;
    note.textContent = sample + cut + (without ? missing : "");
    mark(pointed);
  };
  const titleOfHost = (row) => row.host || "a machine";
  const statusLegend = (worked) => {
    const made = element("span", { className: "legend" });
    for (const status of new Set(worked.map((row) => row.status))) {
      const dot = element("i");
      dot.style.background = colourOf(status);
      made.append(element("span", {}, dot, status));
    }
    return made;
  };
  const mark = (row) => {
    frame.over.replaceChildren();
    const bar = row && bars.find((b) => b.row === row);
    if (!bar) return;
    const { x, y, width, height } = bar;
    frame.over.append(
      drawing("rect", {
        x: x - 1,
        y: y - 1,
        width: width + 2,
        height: height + 2,
        className: "pointed",
      }),
    );
  };
  frame.onPointer(
    (x, y, event) => {
      const found = bars.find(
        (bar) =>
          x >= bar.x - 1 && x <= bar.x + bar.width + 1 && y >= bar.y && y <= bar.y + bar.height + 2,
      );
      pointAt(found?.row ?? null);
      return found
        ? showRow(event, found.row, [
            ["took", duration(found.to - found.from)],
            ["host", found.row.host],
          ])
        : hideTip();
    },
    () => {
      pointAt(null);
      hideTip();
    },
  );
  return { draw, mark };
};
