// Choices above a picture.
const chooser = (label, options, value, change) => {
  const select = element("select", { "aria-label": label });
  for (const option of options) select.add(new Option(option, option));
  select.value = value;
  select.addEventListener("change", () => change(select.value));
  return element("label", { text: label }, select);
};
const colourChooser = (colouring, change) =>
  chooser(
    "Colour",
    colourings.map((c) => c.name),
    colouring.name,
    (name) => change(colourings.find((c) => c.name === name)),
  );
