// Draws the pictures that are descriptions in Vega-Lite, and lets the filters dim their marks.
const drawn = new Map(); // place → what vega-embed returns
const places = [...document.querySelectorAll(".chart")];
let keptNames = null; // trial → true, or null where nothing is filtered
let pictureTip = null; // how a page with a table of trials shows what a pointer is over

const drawPicture = async (place) => {
  place.dataset.begun = "yes";
  drawn.get(place)?.finalize();
  const spec = {
    ...data.charts[place.dataset.name],
    width: "container",
    autosize: { type: "fit-x", contains: "padding" },
    config: data.themes[scheme.matches ? "dark" : "light"],
  };
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
const dimPictures = (names) => {
  keptNames = names;
  for (const { view } of drawn.values()) view.signal("kept", names).runAsync();
};

// First what is looked at, so that a page of many thousand trials opens at once; the rest when there
// is time, as paper does not wait.
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && !target.dataset.begun) drawPicture(target);
  }
}, { rootMargin: "600px" });
const whenIdle = window.requestIdleCallback ?? ((action) => setTimeout(action, 200));
const drawRest = async () => {
  const next = places.find((place) => !place.dataset.begun);
  if (!next) return;
  await drawPicture(next);
  whenIdle(drawRest);
};
places.forEach((place) => seen.observe(place));
addEventListener("load", () => whenIdle(drawRest));
// On paper dark ones are turned into light ones by the style: vega-embed does not draw at once.
scheme.addEventListener("change", () => places.filter((place) => place.dataset.begun).forEach(drawPicture));
