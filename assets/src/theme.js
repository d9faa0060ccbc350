// Runs before the page is drawn, so that nobody sees the wrong colours first.
const wanted = document.documentElement.dataset.theme;
const dark = matchMedia("(prefers-color-scheme: dark)");
const show = () => {
  const theme = wanted === "auto" ? (dark.matches ? "dark" : "light") : wanted;
  document.documentElement.setAttribute("data-bs-theme", theme);
};
show();
dark.addEventListener("change", show);
