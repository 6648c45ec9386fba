// Airflow's theme is a class of the page around this one; alone, it is the system's.
"use strict";
(() => {
  const outer = (() => {
    try { return window.parent !== window ? window.parent.document.documentElement : null; } catch { return null; }
  })();
  const apply = () => {
    const own = document.documentElement;
    if (outer && outer.classList.contains("dark")) own.dataset.theme = "dark";
    else if (outer && outer.classList.contains("light")) own.dataset.theme = "light";
    else delete own.dataset.theme;
    document.dispatchEvent(new Event("theme"));
  };
  apply();
  if (outer) new MutationObserver(apply).observe(outer, { attributes: true, attributeFilter: ["class"] });
  else matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
})();
