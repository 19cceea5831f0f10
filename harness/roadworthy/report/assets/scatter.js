// One planner's score against another's, one mark per case; a mark opens its case.

rw.scatter = (() => {
  const { $, svg } = rw;
  const { entries, columns, cases } = rw.data;
  const SIZE = 420;
  const EDGE = 46;
  const MOST = 2000;

  const KINDS = {
    both: ["both failed", (x, y) => `M${x - 4} ${y - 4}h8v8h-8z`],
    first: ["only across failed", (x, y) => `M${x} ${y - 5}l5 8.5h-10z`],
    second: ["only up failed", (x, y) => `M${x} ${y + 5}l5 -8.5h-10z`],
    none: ["neither failed", (x, y) => `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z`],
  };

  function kind(a, b) {
    if (rw.failed(a)) return rw.failed(b) ? "both" : "first";
    return rw.failed(b) ? "second" : "none";
  }

  // Equal scores would hide one another: they are spread a little, always in the same way.
  function spread(i, k) {
    const wave = Math.sin((i + 1) * (k ? 78.233 : 12.9898)) * 43758.5453;
    return (wave - Math.floor(wave) - 0.5) * 0.09;
  }

  function points(column, first, second) {
    return cases.flatMap((item, i) => {
      const [a, b] = [item.results[first], item.results[second]];
      const [x, y] = [a && a.v[column], b && b.v[column]];
      return Number.isFinite(x) && Number.isFinite(y) ? [{ item, i, x, y, kind: kind(a, b) }] : [];
    });
  }

  // More marks than this are slow to draw and hard to read; the greatest differences stay.
  function drawable(found) {
    if (found.length <= MOST) return found;
    return [...found].sort((a, b) => Math.abs(b.y - b.x) - Math.abs(a.y - a.x)).slice(0, MOST);
  }

  function mark({ item, x, y, kind: name, px, py }) {
    const label = `${rw.caseName(item)}: ${rw.format(x)} and ${rw.format(y)}, ${KINDS[name][0]}`;
    return svg("a", { href: rw.case.href(item), tabindex: "-1", "aria-label": label, class: `mark ${name}` },
      svg("title", {}, label), svg("path", { d: KINDS[name][1](px, py) }));
  }

  function rove(marks, start) {
    let now = start;
    const go = (to) => {
      marks[now].setAttribute("tabindex", "-1");
      now = (to + marks.length) % marks.length;
      marks[now].setAttribute("tabindex", "0");
      marks[now].focus();
    };
    marks.forEach((node, i) => {
      node.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
        if (!by) return;
        event.preventDefault();
        go(i + by);
      });
    });
    if (marks.length) marks[start].setAttribute("tabindex", "0");
  }

  function draw() {
    const form = $("scatter-controls");
    const column = Number(form.column.value);
    const [first, second] = [Number(form.x.value), Number(form.y.value)];
    const everyone = points(column, first, second);
    const found = drawable(everyone);
    const { label, unit, better } = columns[column];
    const all = found.flatMap(({ x, y }) => [x, y]);
    let [low, high] = [Math.min(...all), Math.max(...all)];
    if (low >= 0 && high <= 1) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const places = new Set(found.map(({ x, y }) => `${x} ${y}`));
    const crowded = places.size < 0.8 * found.length;
    const inner = SIZE - 2 * EDGE;
    const xOf = (v) => EDGE + (inner * (v - low)) / (high - low);
    const yOf = (v) => SIZE - EDGE - (inner * (v - low)) / (high - low);
    for (const point of found) {
      point.px = +(xOf(point.x) + (crowded ? inner * spread(point.i, 0) : 0)).toFixed(1);
      point.py = +(yOf(point.y) + (crowded ? inner * spread(point.i, 1) : 0)).toFixed(1);
    }
    found.sort((a, b) => a.px - b.px || a.py - b.py || a.i - b.i);
    const marks = found.map(mark);
    const [from, to] = [EDGE - 10, SIZE - EDGE + 10];
    const name = (entry) => entries[entry].label;
    const title = `${label}${unit ? ` (${unit})` : ""}`;
    $("scatter-plot").replaceChildren(
      svg("svg", { class: "scatter", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "group", "aria-label": `${title}: ${name(first)} across, ${name(second)} up. Arrow keys move between cases.` },
        svg("path", { class: "axis", d: `M${from} ${from}V${to}H${to}` }),
        svg("path", { class: "diagonal", d: `M${from} ${to}L${to} ${from}` }),
        svg("text", { x: xOf(low), y: SIZE - EDGE + 26, class: "middle" }, rw.format(low)),
        svg("text", { x: xOf(high), y: SIZE - EDGE + 26, class: "middle" }, rw.format(high)),
        svg("text", { x: EDGE - 14, y: yOf(low) + 4, class: "end" }, rw.format(low)),
        svg("text", { x: EDGE - 14, y: yOf(high) + 4, class: "end" }, rw.format(high)),
        svg("text", { x: SIZE / 2, y: SIZE - 6, class: `middle ${rw.seriesClass(first)}` }, name(first)),
        svg("text", { x: 12, y: SIZE / 2, class: `middle ${rw.seriesClass(second)}`, transform: `rotate(-90 12 ${SIZE / 2})` }, name(second)),
        ...marks),
      legend(everyone),
    );
    rove(marks, 0);
    note(everyone, better, first, second, crowded);
  }

  function legend(found) {
    const list = rw.el("ul", { class: "legend" });
    for (const [key, [said, shape]] of Object.entries(KINDS)) {
      const count = found.filter((point) => point.kind === key).length;
      list.append(rw.el("li", {}, svg("svg", { class: "key", viewBox: "0 0 14 14", "aria-hidden": "true" },
        svg("g", { class: `mark ${key}` }, svg("path", { d: shape(7, 7) }))), `${said}: ${count}`));
    }
    return list;
  }

  function note(found, better, first, second, crowded) {
    const sign = better === "lower" ? -1 : 1;
    const up = found.filter(({ x, y }) => sign * (y - x) > 0).length;
    const down = found.filter(({ x, y }) => sign * (y - x) < 0).length;
    const words = better === "neither" ? ["higher", "lower"] : ["better", "worse"];
    $("scatter-note").replaceChildren(
      rw.el("bdi", {}, entries[second].label), ` is ${words[0]} than `, rw.el("bdi", {}, entries[first].label),
      ` in ${up} cases, ${words[1]} in ${down}, equal in ${found.length - up - down}, of ${found.length} that both were judged in.`,
      crowded ? " Marks are spread a little so that all can be seen." : "",
      found.length > MOST ? ` The ${MOST} cases that differ most are drawn.` : "",
    );
  }

  function start() {
    const form = $("scatter-controls");
    if (!form) return;
    rw.columnOptions(form.column);
    const choose = (select, chosen) => select.append(...entries.map(({ label }, i) =>
      rw.el("option", { value: i, selected: i === chosen }, label)));
    choose(form.x, 0);
    choose(form.y, 1);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", draw);
    draw();
  }

  return { start };
})();
