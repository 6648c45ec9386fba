// The charts of a page, by uPlot: one for each element with data-chart, in the page's own colours.
"use strict";
(() => {
  const drawn = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // A custom property keeps light-dark() as it is written: what it comes to is asked of an element.
  const resolved = (() => {
    const probe = document.createElement("span");
    probe.hidden = true;
    return (name) => {
      if (!probe.isConnected) document.body.append(probe);
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color || colour(name);
    };
  })();
  const rounded = (value, digits = 3) => Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
  const lasting = (seconds) => seconds < 120 ? `${rounded(seconds)} s` : seconds < 7200 ? `${rounded(seconds / 60)} min` : `${rounded(seconds / 3600)} h`;
  const WRITE = {
    percent: (value) => `${(value * 100).toFixed(1)}%`,
    usd: (value) => value >= 1 ? `$${value.toFixed(2)}` : `$${rounded(value)}`,
    seconds: lasting,
    ms: (value) => `${rounded(value)} ms`,
    rps: (value) => `${rounded(value)}/s`,
    count: (value) => rounded(value),
  };
  const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  const hour = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

  const FONT = "11px system-ui, sans-serif";
  // As wide as what it says of its ticks, and uPlot's gap beside that.
  const ruler = document.createElement("canvas").getContext("2d");
  const wide = (u, said) => {
    ruler.font = FONT;
    return Math.ceil(Math.max(30, ...(said ?? []).map((text) => ruler.measureText(text).width))) + 12;
  };

  const draw = (figure) => {
    const chart = JSON.parse(figure.dataset.chart);
    const write = WRITE[chart.unit];
    const said = document.createElement("p");
    said.className = "point";
    said.setAttribute("aria-live", "off");
    const values = chart.values.filter((value) => value !== null);
    const whole = `${chart.title}: ${values.length} points, lowest ${write(Math.min(...values))}, highest ${write(Math.max(...values))}, last ${write(values.at(-1))}`;
    const host = document.createElement("div");
    host.setAttribute("role", "img");
    host.setAttribute("aria-label", whole);
    const resting = `last ${write(values.at(-1))}`;
    said.textContent = resting;
    figure.replaceChildren(figure.querySelector("figcaption"), said, host);
    if (values.length === 1) {
      said.textContent = `${write(values[0])}, so far once`;
      drawn.set(figure, { destroy() {} });
      return;
    }
    const [ink, grid, line] = ["--muted", "--grid", "--first"].map(resolved);
    const axis = { stroke: ink, font: FONT, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const few = values.length < 60;
    const plot = new uPlot({
      width: Math.max(200, host.clientWidth),
      height: 130,
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: {
        x: { time: true },
        y: { range: (u, low, high) => {
          const room = (high - low) * 0.15 || Math.abs(high) * 0.15 || 1;
          const top = chart.unit === "percent" ? Math.min(1.005, high + room) : high + room;
          return [low >= 0 ? Math.max(0, low - room) : low - room, top];
        } },
      },
      axes: [
        { ...axis, space: 70, size: 26, grid: { show: false }, values: (u, ticks) => ticks.map((at) => (u.scales.x.max - u.scales.x.min < 2 * 86400 ? hour : day).format(at * 1000)) },
        { ...axis, size: wide, space: 32, values: (u, ticks) => ticks.map(write) },
      ],
      series: [{}, { stroke: line, width: 1.6, points: { show: few, size: 5, fill: line } }],
      hooks: { setCursor: [(u) => {
        const at = u.cursor.idx;
        const value = at === null || at === undefined ? null : chart.values[at];
        said.textContent = value === null ? resting : [write(value), short.format(chart.at[at] * 1000), chart.names && chart.names[at]].filter(Boolean).join(" · ");
      }] },
    }, [chart.at, chart.values], host);
    // By keys as by the mouse.
    host.tabIndex = 0;
    let at = chart.at.length - 1;
    host.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (!step) return;
      event.preventDefault();
      said.setAttribute("aria-live", "polite");
      at = Math.min(chart.at.length - 1, Math.max(0, at + step));
      plot.setCursor({ left: plot.valToPos(chart.at[at], "x"), top: 0 });
    });
    drawn.set(figure, plot);
  };

  const all = () => {
    for (const [figure, plot] of drawn) if (!figure.isConnected) { plot.destroy(); drawn.delete(figure); }
    for (const figure of document.querySelectorAll("[data-chart]")) if (!drawn.has(figure)) draw(figure);
  };
  const anew = () => {
    for (const plot of drawn.values()) plot.destroy();
    drawn.clear();
    all();
  };
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; anew(); } });
  document.addEventListener("theme", () => { if (drawn.size) anew(); });
  document.addEventListener("panels", all);
  all();
})();
