// What all files share: the page's data, elements, numbers as text. Text is always a text node.
const data = JSON.parse(document.getElementById("study-data").textContent);
const root = document.documentElement;

const fill = (made, { text, className, ...attributes }, children) => {
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};
const element = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);
const drawing = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const short = (value, digits = 4) => {
  if (!isNumber(value)) return "";
  const size = Math.abs(value);
  const rounded = Number(value.toPrecision(digits));
  return value && (size < 1e-4 || size >= 1e7) ? rounded.toExponential() : String(rounded);
};
const grouped = (count) => count.toLocaleString("en");
const counted = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const duration = (seconds) => {
  const [size, unit] = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
  ].find(([s]) => seconds >= 2 * s) ?? [1, "s"];
  return `${short(seconds / size, 3)} ${unit}`;
};

// Calls `action` once for any number of calls within a frame, of which the last one's words count.
const onceAFrame = (action) => {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      action();
    });
  };
};
