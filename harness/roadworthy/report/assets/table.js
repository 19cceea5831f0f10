// All cases: filter, sort, and open one.

rw.table = (() => {
  const { $, el } = rw;
  const PAGE = 100;
  const { entries, columns, cases } = rw.data;
  const pair = entries.length === 2;
  const state = { key: "worst", down: true, rows: [], shown: PAGE };

  const text = new Map(cases.map((item) => [item, [
    item.source, rw.caseName(item), ...item.tags,
    ...item.results.flatMap((r) => (r ? [r.s, ...r.r.map((reason) => reason[1])] : [])),
  ].join(" ").toLowerCase()]));

  const column = () => Number($("filters").column.value);
  const value = (item, entry) => (item.results[entry] ? item.results[entry].v[column()] : null);
  const change = (item) => {
    const [a, b] = [value(item, 0), value(item, 1)];
    return a === null || b === null ? null : b - a;
  };

  function badness(item) {
    const levels = item.results.map(rw.level);
    const count = (level) => levels.filter((l) => l === level).length;
    return 1e4 * count("fail") + 100 * count("error") + count("near");
  }

  function wanted(item, outcome) {
    const levels = item.results.map(rw.level);
    const bad = item.results.map(rw.failed);
    return {
      "": true,
      failed: bad.some(Boolean),
      error: levels.includes("error"),
      near: levels.includes("near"),
      differ: new Set(bad).size > 1,
      passed: !bad.some(Boolean),
    }[outcome];
  }

  function sorter() {
    const { key } = state;
    if (key === "name") return (item) => `${item.source}/${item.name}`;
    if (key === "worst") return badness;
    if (key === "change") return change;
    return (item) => value(item, Number(key));
  }

  function compute() {
    const form = $("filters");
    const words = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const reason = form.reason.value;
    const has = (item) => item.results.some((r) => r && r.r.some((found) => found[1] === reason));
    const rows = cases.filter((item) =>
      wanted(item, form.outcome.value) && (!reason || has(item)) && words.every((word) => text.get(item).includes(word)));
    const of = sorter();
    const keyed = rows.map((item, i) => ({ item, i, by: of(item), score: value(item, 0) }));
    const sign = state.down ? -1 : 1;
    const better = columns[column()].better === "lower" ? -1 : 1;
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    keyed.sort((a, b) => {
      if (a.by === null || b.by === null) return (a.by === null) - (b.by === null) || a.i - b.i;
      const first = sign * compare(a.by, b.by);
      const tie = state.key === "worst" ? better * compare(a.score ?? Infinity, b.score ?? Infinity) : 0;
      return first || tie || a.i - b.i;
    });
    state.rows = keyed.map(({ item }) => item);
  }

  function heading(key, label, names = {}) {
    const sorted = state.key === key ? (state.down ? "descending" : "ascending") : null;
    const arrow = sorted ? (state.down ? " ▾" : " ▴") : "";
    const button = el("button", { type: "button", "data-sort": key }, el("bdi", {}, label), el("span", { "aria-hidden": "true" }, arrow));
    button.addEventListener("click", () => {
      state.down = state.key === key ? !state.down : key === "worst";
      state.key = key;
      update();
      $("table").querySelector(`[data-sort="${key}"]`).focus();
    });
    return el("th", { scope: "col", "aria-sort": sorted, ...names }, button);
  }

  function cell(item, entry) {
    const result = item.results[entry];
    const names = { class: `number ${rw.seriesClass(entry)}`, "data-label": entries[entry].label };
    if (!result) return el("td", { ...names, class: `${names.class} quiet-cell` }, "not run");
    const level = rw.level(result);
    return el("td", names, rw.format(result.v[column()]), " ",
      level ? el("span", { class: `level ${level}` }, rw.levelWord[level]) : null);
  }

  function changeCell(item) {
    const found = change(item);
    const { better } = columns[column()];
    const good = found && better !== "neither" ? (found > 0) === (better === "higher") : null;
    const name = good === null ? "" : good ? " up" : " down";
    return el("td", { class: `number${name}`, "data-label": "Change" }, found === null ? "–" : `${found > 0 ? "+" : ""}${rw.format(found)}`);
  }

  function reasonCell(item) {
    const found = new Map();
    const levels = new Map();
    item.results.forEach((result, entry) => {
      for (const [level, said] of result ? result.r : []) {
        found.set(said, [...(found.get(said) || []), entry]);
        levels.set(said, level);
      }
    });
    const rank = { error: 0, fail: 1, near: 2 };
    const ordered = [...found].sort(([a], [b]) => rank[levels.get(a)] - rank[levels.get(b)]);
    return el("td", { class: "why" }, ...ordered.map(([said, who]) =>
      el("span", { class: "reason" }, ...who.map((i) => el("span", { class: `swatch ${rw.seriesClass(i)}`, title: entries[i].label })), el("bdi", {}, said))));
  }

  function row(item) {
    return el("tr", {},
      el("th", { scope: "row" }, el("a", { href: rw.case.href(item) }, el("bdi", {}, rw.caseName(item))), el("span", { class: "source" }, item.source)),
      ...entries.map((_, i) => cell(item, i)),
      pair ? changeCell(item) : null,
      reasonCell(item));
  }

  function update() {
    compute();
    const shown = state.rows.slice(0, state.shown);
    $("table").tHead.replaceChildren(el("tr", {},
      heading("name", "Case"),
      ...entries.map(({ label }, i) => heading(String(i), label, { class: "number" })),
      pair ? heading("change", "Change", { class: "number" }) : null,
      heading("worst", "What went wrong")));
    $("table").tBodies[0].replaceChildren(...shown.map(row));
    rw.keepTable($("table"));
    const more = state.rows.length - shown.length;
    $("more").hidden = !more;
    $("count").textContent = `${state.rows.length} of ${cases.length} cases${more ? `, the first ${shown.length} shown` : ""}`;
  }

  function filterBy(reason) {
    $("filters").reset();
    $("filters").reason.value = reason;
    state.shown = PAGE;
    update();
  }

  function start() {
    const form = $("filters");
    rw.columnOptions(form.column);
    const reasons = new Set(cases.flatMap((item) => item.results.flatMap((r) => (r ? r.r.map((found) => found[1]) : []))));
    form.reason.append(...[...reasons].sort().map((said) => el("option", { value: said }, said)));
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const kind of ["input", "change"]) {
      form.addEventListener(kind, () => {
        state.shown = PAGE;
        update();
      });
    }
    $("more").addEventListener("click", () => {
      state.shown += 4 * PAGE;
      update();
    });
    for (const link of document.querySelectorAll("[data-reason]")) {
      link.addEventListener("click", () => filterBy(link.dataset.reason));
    }
    update();
  }

  return { start, order: () => state.rows };
})();
