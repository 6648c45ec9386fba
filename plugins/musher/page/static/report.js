// Keeps the tab as fresh as the server is: asks what has changed, and loads the report again only if it has.
"use strict";
(() => {
  const EVERY = 10_000;
  const { dataset } = document.body;
  const byId = (id) => document.getElementById(id);
  const frame = byId("report");
  let shown = "";
  let readAt = dataset.age === "" ? null : Date.now() - Number(dataset.age) * 1000;

  const themed = () => {
    const inner = frame.contentDocument;
    if (!inner) return;
    const { theme } = document.documentElement.dataset;
    if (theme) inner.documentElement.dataset.theme = theme;
    else delete inner.documentElement.dataset.theme;
  };

  const load = (version) => {
    if (!version || version === shown) return;
    const at = shown ? frame.contentWindow.scrollY : 0;
    shown = version;
    frame.addEventListener("load", () => {
      themed();
      frame.hidden = false;
      frame.contentWindow.scrollTo(0, at);
    }, { once: true });
    frame.src = `${dataset.document}?v=${version}`;
  };

  const aged = () => {
    if (readAt === null) return;
    const seconds = Math.max(0, Math.round((Date.now() - readAt) / 1000));
    byId("age").textContent = seconds < 90 ? `as of ${seconds} s ago` : `as of ${Math.round(seconds / 60)} min ago`;
  };

  const said = (state) => {
    byId("sentence").textContent = state.sentence;
    byId("dot").classList.toggle("live", state.unfinished);
    byId("problem").textContent = state.problem;
    byId("problem").hidden = !state.problem;
    byId("notes").replaceChildren(...state.notes.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    byId("notes").hidden = !state.notes.length;
    if (state.age_seconds !== null) readAt = Date.now() - state.age_seconds * 1000;
    load(state.version);
  };

  const ask = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(dataset.state, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(answer.status === 401 ? "You are signed out of Airflow: sign in and reload." : `Airflow answers ${answer.status}.`);
      said(await answer.json());
    } catch (error) {
      byId("problem").textContent = error instanceof TypeError ? "Airflow does not answer." : error.message;
      byId("problem").hidden = false;
    }
    aged();
  };

  document.addEventListener("theme", themed);
  document.addEventListener("visibilitychange", ask);
  load(dataset.version);
  aged();
  setInterval(aged, 1000);
  setInterval(ask, EVERY);
  if (!dataset.version) setTimeout(ask, 1500);
})();
