// The theme that was chosen here before, set before anything is drawn. Not a module: those come late.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be closed; the system's theme it is.
}
