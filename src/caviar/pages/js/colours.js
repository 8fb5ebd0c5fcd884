// Colours of trials: by the metric, by stage, by study. Viridis (van der Walt & Smith, 2015), cut
// where it would not be told from the ground.
const VIRIDIS = [
  "#440154",
  "#472c7a",
  "#3b518b",
  "#2c718e",
  "#21908d",
  "#27ad81",
  "#5cc863",
  "#aadc32",
  "#fde725",
];
const SHADES = 24;
const mixed = (a, b, share) =>
  "#" +
  [1, 3, 5]
    .map((i) => {
      const [one, other] = [a, b].map((c) => parseInt(c.slice(i, i + 2), 16));
      return Math.round(one + share * (other - one))
        .toString(16)
        .padStart(2, "0");
    })
    .join("");
const viridis = (u) => {
  const at = Math.min(VIRIDIS.length - 1.001, Math.max(0, u * (VIRIDIS.length - 1)));
  return mixed(VIRIDIS[Math.floor(at)], VIRIDIS[Math.floor(at) + 1], at % 1);
};
// The best is darkest on white and brightest on black; few shades draw faster than many.
const shades = [false, true].map((dark) =>
  Array.from({ length: SHADES + 1 }, (_, i) =>
    viridis(dark ? 1 - (0.72 * i) / SHADES : (0.86 * i) / SHADES),
  ),
);
const shade = (u) => shades[Number(isDark())][Math.round(u * SHADES)];
const category = (i) => {
  const colours = data.themes[isDark() ? "dark" : "light"].range.category;
  return colours[i % colours.length];
};
const styles = new Map(); // to ask the page's style takes long, and thousands of trials ask
const css = (name) => {
  if (!styles.has(name))
    styles.set(name, getComputedStyle(root).getPropertyValue(`--${name}`).trim());
  return styles.get(name);
};
looks.push(() => styles.clear());

const searchedStages = stages.filter((stage) => stage.kind === "search");
const stageNames = [...new Set(searchedStages.map((stage) => stage.name))];
const colourings = [
  {
    name: metric.name,
    of: (row) =>
      row.value === null
        ? css("lost")
        : row.badness === undefined
          ? css("faint")
          : shade(row.badness),
  },
  {
    name: "stage",
    of: (row) => category(stageNames.indexOf(row.stage.name)),
    keys: () => stageNames.map((name, i) => [name, category(i)]),
  },
  ...(several
    ? [
        {
          name: "study",
          of: (row) => category(row.stage.study),
          keys: () => studies.map((name, i) => [name, category(i)]),
        },
      ]
    : []),
];
const firstColouring = several ? "study" : metric.name;
const legendOf = (colouring) => {
  const made = element("span", { className: "legend" });
  const keys = colouring.keys?.() ?? [
    ["best", shade(0)],
    ["middling", shade(0.5)],
    ["worst", shade(1)],
    ["none: it diverged or failed", css("lost")],
  ];
  for (const [name, colour] of keys) {
    const dot = element("i");
    dot.style.background = colour;
    made.append(element("span", {}, dot, name));
  }
  return made;
};
