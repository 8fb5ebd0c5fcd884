// Draws the pictures that are descriptions in Vega-Lite, and lets the filters dim their marks.
const PAPER = 640; // pixels of its width
const drawn = new Map(); // place → what vega-embed returns
const places = [...document.querySelectorAll(".chart")];
const papers = new Map(); // the same of their light doubles
let keptNames = null; // trial → true, or null where nothing is filtered
let pictureTip = null; // how a page with a table of trials shows what a pointer is over

const describe = (place, look, width) => ({
  ...data.charts[place.dataset.name],
  width,
  autosize: { type: "fit-x", contains: "padding" },
  config: data.themes[look],
});
const drawPicture = async (place) => {
  place.dataset.begun = "yes";
  drawn.get(place)?.finalize();
  const spec = describe(place, scheme.matches ? "dark" : "light", "container");
  const options = {
    actions: { export: true, source: false, compiled: false, editor: false },
    downloadFileName: `${data.title}_${place.dataset.name}`,
    tooltip: pictureTip ?? { theme: scheme.matches ? "dark" : undefined },
    renderer: "canvas",
  };
  try {
    const made = await vegaEmbed(place, spec, options);
    drawn.set(place, made);
    if (keptNames) await made.view.signal("kept", keptNames).runAsync();
  } catch (error) {
    console.error(error);
    place.textContent = `This picture could not be drawn: ${error.message}`;
  }
  place.dataset.drawn = "yes";
};
// Vega takes a tenth of a second for thousands of marks: it waits until a brush rests.
const REST = 150; // milliseconds
let resting = 0;
const dimPictures = (names) => {
  keptNames = names;
  clearTimeout(resting);
  resting = setTimeout(async () => {
    for (const { view } of [...drawn.values(), ...papers.values()]) {
      if (keptNames !== names) return; // another answer has come
      await view.signal("kept", names).runAsync();
    }
    root.dataset.dimmed = names ? String(Object.keys(names).length) : "none";
  }, REST);
};

// First what is looked at, so that a page of many thousand trials opens at once; the rest when
// there is time, as paper does not wait.
const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && !target.dataset.begun) drawPicture(target);
    }
  },
  { rootMargin: "600px" },
);
const whenIdle = window.requestIdleCallback ?? ((action) => setTimeout(action, 200));
const drawRest = async () => {
  const next = places.find((place) => !place.dataset.begun);
  const double = scheme.matches && places.find((place) => !papers.has(place));
  if (!next && !double) return;
  await (next ? drawPicture(next) : drawPaper(double));
  whenIdle(drawRest);
};
// vega-embed does not draw at once: a dark page keeps a light double of each picture for paper.
const drawPaper = async (place) => {
  const paper = element("div", { className: "paper" });
  place.after(paper);
  const made = await vegaEmbed(paper, describe(place, "light", PAPER), {
    actions: false,
    renderer: "canvas",
  });
  papers.set(place, made);
  if (keptNames) await made.view.signal("kept", keptNames).runAsync();
  place.dataset.paper = "yes";
};
places.forEach((place) => seen.observe(place));
addEventListener("load", () => whenIdle(drawRest));
scheme.addEventListener("change", () => {
  places.filter((place) => place.dataset.begun).forEach(drawPicture);
  whenIdle(drawRest);
});
