// What is around the views of every document: the theme.

import { find } from "./dom.js";

export function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const show = () => find("theme").setAttribute("aria-pressed", isDark());
  find("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // It lives as long as the page does.
    }
    show();
  });
  dark.addEventListener("change", show);
  show();
}
