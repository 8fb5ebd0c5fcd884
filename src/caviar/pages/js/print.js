// Light, dark or paper: paper is light, and has to be drawn at once, as it does not wait.
const scheme = matchMedia("(prefers-color-scheme: dark)");
let printing = false;
const isDark = () => scheme.matches && !printing;
const looks = []; // functions that draw anew; told whether it is for paper

scheme.addEventListener("change", () => looks.forEach((draw) => draw(false)));
const forPaper = (paper) => {
  if (printing === paper) return;
  printing = paper;
  root.classList.toggle("printing", paper);
  looks.forEach((draw) => draw(paper));
};
addEventListener("beforeprint", () => forPaper(true));
addEventListener("afterprint", () => forPaper(false));
