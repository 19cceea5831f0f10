// One case in a dialog, addressed as #case=ID or #case=ID&step=N.

rw.case = (() => {
  const { $, el } = rw;
  const byId = new Map(rw.data.cases.map((item) => [item.id, item]));

  let marking = 0;

  const href = (item) => `#case=${item.id}`;

  function scores(item) {
    const { entries, columns } = rw.data;
    $("case-scores").hidden = !columns.length;
    const cell = (result, entry, column) => {
      const value = result ? result.v[column] : null;
      const names = { class: `number ${rw.seriesClass(entry)}`, "data-label": entries[entry].label };
      return el("td", names, rw.format(value));
    };
    $("case-scores").tHead.replaceChildren(
      el("tr", {}, el("th", { scope: "col" }, "Metric"), ...entries.map(({ label }, i) =>
        el("th", { scope: "col", class: "number" }, el("span", { class: `swatch ${rw.seriesClass(i)}` }), el("bdi", {}, label)))),
    );
    const order = [...columns.keys()].sort((a, b) => columns[b].headline - columns[a].headline);
    $("case-scores").tBodies[0].replaceChildren(
      ...order.map((column) => {
        const { label, unit, doc, headline } = columns[column];
        return el("tr", { class: headline ? "strong" : null },
          el("th", { scope: "row", title: doc || null }, label, unit ? el("span", { class: "unit" }, ` ${unit}`) : null),
          ...item.results.map((result, entry) => cell(result, entry, column)));
      }),
    );
    rw.keepTable($("case-scores"));
  }

  function errors(item) {
    const blocks = item.results.flatMap((result, i) => {
      if (!result) return [el("p", { class: "note" }, el("bdi", {}, rw.data.entries[i].label), " did not run this case.")];
      if (!result.err) return [];
      const { type, message, trace, step } = result.err;
      return [el("div", { class: "fault" },
        el("p", {}, el("span", { class: "level error" }, result.s.replaceAll("_", " ")), " ",
          el("strong", {}, el("bdi", {}, rw.data.entries[i].label)), step >= 0 ? ` at step ${step}: ` : ": ", el("bdi", {}, `${type}: ${message}`)),
        trace >= 0 ? el("details", {}, el("summary", {}, "Traceback"), el("pre", { tabindex: "0" }, rw.data.texts[trace])) : null)];
    });
    $("case-errors").replaceChildren(...blocks);
  }

  function facts(item) {
    const rows = item.facts || [
      ["Tags", item.tags.join(", ") || "none"],
      ["Seed", item.rep ? `${item.seed} (repetition ${item.rep})` : item.seed],
      ["Scenario hash", item.hash || "none, it was rejected"],
      ["Case key", item.key],
    ];
    $("case-facts").replaceChildren(
      ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("bdi", {}, value)))),
    );
  }

  function show(item, step) {
    const dialog = $("case");
    $("case-source").textContent = item.source;
    $("case-title").textContent = rw.caseName(item);
    errors(item);
    scores(item);
    facts(item);
    const order = rw.table.order();
    const place = order.indexOf(item);
    $("case-previous").disabled = place <= 0;
    $("case-next").disabled = place < 0 || place >= order.length - 1;
    dialog.dataset.id = item.id;
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    $("case-title").focus();
    return rw.player.open(item, step);
  }

  function neighbour(by) {
    const order = rw.table.order();
    const next = order[order.indexOf(byId.get($("case").dataset.id)) + by];
    if (next) location.replace(href(next));
  }

  /** Puts the moment into the address, once it has stood for a while, so that it can be shared. */
  function mark(step) {
    clearTimeout(marking);
    const { id } = $("case").dataset;
    marking = setTimeout(() => {
      const shown = $("case").open && $("case").dataset.id === id;
      if (shown) history.replaceState(null, "", `#case=${id}&step=${step}`);
    }, 400);
  }

  /** Follows the address: opens the case that it names, or closes the dialog. */
  function follow() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const item = byId.get(wanted.get("case"));
    if (item) show(item, wanted.has("step") ? Number(wanted.get("step")) : -1);
    else if ($("case").open) $("case").close();
  }

  function start() {
    // A dialog tells that it closed a moment after it did: another case may be open by then.
    $("case").addEventListener("close", () => {
      if ($("case").open) return;
      rw.player.close();
      if (location.hash.startsWith("#case=")) history.replaceState(null, "", "#");
    });
    $("case-close").addEventListener("click", () => $("case").close());
    $("case-previous").addEventListener("click", () => neighbour(-1));
    $("case-next").addEventListener("click", () => neighbour(1));
    window.addEventListener("hashchange", follow);
    follow();
  }

  return { start, href, mark };
})();
