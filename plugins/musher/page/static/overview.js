// The page "Musher": stays fresh, asks before it rolls back, and puts the requests for approval before a person.
"use strict";
(() => {
  const EVERY = 10_000;
  const byId = (id) => document.getElementById(id);
  const api = new URL("../api/v2/", location.href).pathname;
  let freshAt = byId("fresh").dataset.at;
  // Each panel as the server wrote it: charts and clocks have changed it since.
  const written = new Map([...document.querySelectorAll("[data-panel]")].map((panel) => [panel.id, panel.outerHTML]));

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  // Airflow's own REST API, by the user's own rights; its refusals are sentences, or become one.
  const airflow = async (method, path, body) => {
    const answer = await fetch(api + path, {
      method,
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
    if (answer.ok) return answer.json();
    const said = await answer.json().catch(() => ({}));
    const why = { 401: "You are signed out of Airflow: sign in and reload.", 403: "Your rights in Airflow do not include this." };
    throw new Error(why[answer.status] ?? (typeof said.detail === "string" ? said.detail : `Airflow answers ${answer.status}.`));
  };
  const trouble = (error) => error instanceof TypeError ? "Airflow does not answer." : error.message;

  // ---- times, as this person's clock and language have them
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const ago = (seconds) => {
    const past = Math.max(0, Date.now() / 1000 - seconds);
    for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) if (past >= 1.5 * length) return relative.format(-Math.round(past / length), unit);
    return past < 5 ? "just now" : `${Math.round(past)} s ago`;
  };
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
  const seconds = (text) => /^\d+$/.test(text) ? Number(text) : Date.parse(text) / 1000;
  const times = () => {
    for (const each of document.querySelectorAll("time[data-when]")) {
      const at = seconds(each.dataset.when);
      each.title = whole.format(at * 1000);
      each.textContent = Date.now() / 1000 - at < 14 * 86400 ? ago(at) : whole.format(at * 1000);
    }
    for (const each of document.querySelectorAll("time[data-clock]")) each.textContent = clock.format(seconds(each.dataset.clock) * 1000);
    for (const each of document.querySelectorAll("time[data-ago]")) each.textContent = ago(seconds(each.dataset.ago));
    const old = Date.now() / 1000 - freshAt;
    byId("fresh").textContent = !freshAt ? "" : old < 75 ? "up to date" : `as of ${ago(freshAt)}`;
  };

  // ---- links lead Airflow itself there: this frame may not
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[target=_top]");
    if (!link || window.parent === window || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const outer = window.parent.document.createElement("a");
    outer.href = link.href;
    outer.click();
  });

  // ---- panels
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error();
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const panel of document.querySelectorAll("[data-panel]")) {
        const other = fresh.getElementById(panel.id);
        if (!other || other.outerHTML === written.get(panel.id)) continue;
        written.set(panel.id, other.outerHTML);
        exchange(panel, other);
      }
      freshAt = fresh.getElementById("fresh").dataset.at;
      document.dispatchEvent(new Event("panels"));
    } catch { /* it says how old it is */ }
    times();
    approvals();
  };
  const exchange = (panel, other) => {
    const ticked = [...panel.querySelectorAll("input:checked")].map((box) => box.value);
    const focused = panel.contains(document.activeElement) ? document.activeElement.id : "";
    panel.className = other.className;
    panel.replaceChildren(...other.childNodes);
    for (const box of panel.querySelectorAll("input[type=checkbox]")) box.checked = ticked.includes(box.value);
    if (focused) byId(focused)?.focus();
    if (panel.id === "history") ticked();
  };

  // ---- roll back
  // On the document, since panels come and go.
  document.addEventListener("click", (event) => {
    if (event.target.id !== "roll-back") return;
    byId("ask-problem").hidden = true;
    byId("ask").showModal();
  });
  byId("ask-no").addEventListener("click", () => byId("ask").close());
  byId("ask-yes").addEventListener("click", async () => {
    const yes = byId("ask-yes");
    yes.disabled = true;
    try {
      const run = await airflow("POST", "dags/roll_back_deployment/dagRuns", { logical_date: null, note: "Started from the page Musher." });
      byId("ask").close();
      const place = byId("roll-back").parentElement.querySelector("p");
      place.hidden = false;
      place.replaceChildren("Started: ", element("a", { href: `../dags/roll_back_deployment/runs/${encodeURIComponent(run.dag_run_id)}`, target: "_top", textContent: run.dag_run_id }));
    } catch (error) {
      byId("ask-problem").textContent = trouble(error);
      byId("ask-problem").hidden = false;
    }
    yes.disabled = false;
  });

  // ---- two runs
  const ticked = () => {
    if (!byId("compare")) return;
    const boxes = [...document.querySelectorAll("#compare input:checked")];
    document.querySelector("#compare button").disabled = boxes.length !== 2;
    byId("chosen").textContent = ["Tick two runs to see what changed between them.", "Tick one more.", ""][boxes.length] ?? "Two at a time: untick one.";
  };
  const beside = (event) => {
    if (event.target.id !== "compare") return;
    event.preventDefault();
    const [b, a] = [...document.querySelectorAll("#compare input:checked")].map((box) => box.value);
    location.href = `${event.target.getAttribute("action")}?${new URLSearchParams({ a, b })}`;
  };
  document.addEventListener("change", ticked);
  document.addEventListener("submit", beside);

  // ---- a photo
  const base64 = (blob) => new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
  let asking = 0;
  const ask = async (event, picture) => {
    const mine = ++asking;
    const place = byId("answer");
    place.replaceChildren(element("p", { className: "quiet", textContent: "Asking …" }));
    try {
      const answer = await fetch(byId("photo").getAttribute("action"), { method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify(event) });
      const told = await answer.json().catch(() => ({ error: `Airflow answers ${answer.status}.` }));
      if (mine !== asking) return;
      const error = told.error ?? told.detail ?? told.answer?.error;
      if (error) throw new Error(error);
      if (!Array.isArray(told.answer.predictions)) throw new Error("The model answers without predictions.");
      place.replaceChildren(...answered(told, picture));
    } catch (error) {
      if (mine === asking) place.replaceChildren(element("p", { className: "problem", textContent: trouble(error) }));
    }
  };
  const label = (text) => text.replace(/^\d+[.\-_ ]+/, "").replaceAll("_", " ") || text;
  const answered = (told, picture) => {
    const share = (value) => `${(value * 100).toFixed(1)}%`;
    const bars = element("ol", { className: "labels" }, ...told.answer.predictions.map((each) => {
      const bar = element("span", { className: "bar-of" });
      bar.style.width = `${Math.max(1, each.probability * 100)}%`;
      return element("li", {}, element("span", { className: "name", textContent: label(each.label), title: each.label }), element("span", { className: "n", textContent: share(each.probability) }), bar);
    }));
    const facts = [`${told.milliseconds.toFixed(0)} ms as the caller saw it`];
    if (told.function_ms !== null) facts.push(`${told.function_ms.toFixed(0)} ms in the function`);
    if (told.initialization) facts.push(`${told.initialization} environment`);
    const weights = element("p", { className: "quiet" }, `${facts.join(", ")}. Answered by `, element("code", { textContent: told.model ?? "a model without a name" }));
    if (told.weights) weights.append(", weights ", element("code", { textContent: told.weights.slice(0, 16) }));
    weights.append(".");
    const { figure, said } = shown(told.answer.picture, picture);
    const saw = said ? [element("p", { className: "quiet", textContent: said })] : [];
    return [element("div", { className: "answered" }, ...figure, bars), ...saw, weights];
  };
  // The photo, dimmed where the network was not shown it; of one that is not at hand (an address) the frame alone.
  const shown = (seen, picture) => {
    const image = picture && element("img", { src: picture, alt: "The photo that was asked about" });
    const known = seen && [seen.width, seen.height, ...seen.crop ?? []].every((each) => Number.isFinite(each) && each >= 0 && each <= 1e6) && seen.crop?.length === 4 && seen.width && seen.height;
    if (!known) return { figure: image ? [element("div", { className: "asked" }, image)] : [], said: "" };
    const [left, top, right, bottom] = seen.crop, { width, height } = seen;
    const drawing = (name, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      return made;
    };
    const frame = drawing("svg", { viewBox: `0 0 ${width} ${height}`, class: "crop", "aria-hidden": "true" });
    const box = `M${left} ${top}H${right}V${bottom}H${left}Z`;
    frame.append(drawing("path", { class: "unshown", "fill-rule": "evenodd", d: `M0 0H${width}V${height}H0Z${box}` }), drawing("path", { class: "shown", d: box }));
    const place = element("div", { className: image ? "asked" : "asked bare" }, ...image ? [image] : [], frame);
    // Some formats the model reads and a browser does not.
    image?.addEventListener("error", () => { image.remove(); place.classList.add("bare"); });
    const middle = right - left < width || bottom - top < height;
    const scaled = Number.isFinite(seen.input) ? `, as ${seen.input} × ${seen.input}` : "";
    const said = `It saw ${middle ? "the middle " : "all of "}${middle ? `${right - left} × ${bottom - top} of ` : ""}${width} × ${height} pixels${scaled}.`;
    return { figure: [place], said };
  };
  let held = "";
  const file = async (blob) => {
    if (!blob) return;
    URL.revokeObjectURL(held);
    held = URL.createObjectURL(blob);
    ask({ image: await base64(blob) }, held);
  };
  const drop = byId("drop");
  if (drop) {
    byId("file").addEventListener("change", (event) => file(event.target.files[0]));
    file(byId("file").files[0]); // chosen while this was still loading
    for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); file(event.dataTransfer.files[0]); });
    document.addEventListener("paste", (event) => file([...event.clipboardData.files].find((each) => each.type.startsWith("image/"))));
    byId("photo").addEventListener("submit", (event) => {
      event.preventDefault();
      if (byId("url").value.trim()) ask({ url: byId("url").value.trim() });
    });
  }

  // ---- approvals
  let asked = "";
  const approvals = async () => {
    let waiting;
    try {
      const found = await airflow("GET", "dags/~/dagRuns/~/hitlDetails?response_received=false&limit=20");
      waiting = found.hitl_details.filter((each) => each.task_instance.task_id === "approve_release");
    } catch { return; }
    const now = JSON.stringify(waiting.map((each) => each.task_instance.id));
    if (now === asked) return;
    asked = now;
    byId("waiting").hidden = !waiting.length;
    byId("approvals").replaceChildren(...waiting.map(request));
  };
  const request = (each) => {
    const { dag_id, dag_run_id, task_id, map_index } = each.task_instance;
    const path = `dags/${encodeURIComponent(dag_id)}/dagRuns/${encodeURIComponent(dag_run_id)}/taskInstances/${task_id}/${map_index}/hitlDetails`;
    const why = element("input", { type: "text", placeholder: "Why (kept in the registry)", maxLength: 500 });
    why.setAttribute("aria-label", "Why");
    const problem = element("p", { className: "problem", hidden: true });
    problem.setAttribute("role", "alert");
    const answer = (option, style) => {
      const button = element("button", { type: "button", className: style, textContent: option });
      button.addEventListener("click", async () => {
        for (const one of place.querySelectorAll("button")) one.disabled = true;
        try {
          await airflow("PATCH", path, { chosen_options: [option], params_input: { why: why.value } });
          place.replaceChildren(element("p", { textContent: `${option === "Approve" ? "Approved" : "Rejected"}: the run goes on.` }));
        } catch (error) {
          problem.textContent = trouble(error);
          problem.hidden = false;
          for (const one of place.querySelectorAll("button")) one.disabled = false;
        }
      });
      return button;
    };
    const place = element("article", { className: "request" },
      element("h3", { textContent: each.subject }),
      element("div", { className: "body" }, ...prose(each.body ?? "", dag_run_id)),
      element("p", {}, element("a", { target: "_top", href: `../dags/${encodeURIComponent(dag_id)}/runs/${encodeURIComponent(dag_run_id)}/required_actions`, textContent: dag_run_id })),
      why, problem,
      element("div", { className: "do" }, answer("Approve", ""), answer("Reject", "plain")));
    return place;
  };
  // The body is Markdown of ours: paragraphs, lists and one table. Everything becomes text.
  const prose = (body, run) => {
    const plain = (text) => text.replaceAll(/\*\*|`/g, "").replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").trim();
    return body.split(/\n{2,}/).filter((block) => block.trim()).map((block) => {
      const lines = block.trim().split("\n");
      if (lines[0].startsWith("|")) {
        const rows = lines.filter((line) => !/^\|[\s:|-]+\|$/.test(line)).map((line) => line.replace(/^\||\|$/g, "").split("|").map(plain));
        const [head, ...rest] = rows;
        const region = element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: `Both models of ${run}` });
        region.append(element("table", {},
          element("thead", {}, element("tr", {}, ...head.map((text) => text ? element("th", { scope: "col", textContent: text }) : element("td")))),
          element("tbody", {}, ...rest.map((row) => element("tr", {}, ...row.map((text) => element("td", { textContent: text })))))));
        return region;
      }
      if (lines.every((line) => /^[-*] /.test(line))) return element("ul", {}, ...lines.map((line) => element("li", { textContent: plain(line.slice(2)) })));
      return element("p", { textContent: plain(lines.join(" ").replace(/^#+ /, "")) });
    });
  };

  ticked();
  times();
  approvals();
  setInterval(times, 5000);
  setInterval(refresh, EVERY);
  document.addEventListener("visibilitychange", refresh);
  if (document.body.textContent.includes("Reading …")) setTimeout(refresh, 2000);
})();
