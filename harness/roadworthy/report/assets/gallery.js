// Cards of the worst cases, each with a picture of the moment that it went wrong.

rw.gallery = (() => {
  const { $, el } = rw;
  const drawn = new Map();

  /** The entry to draw: the first that failed and has a replay, else the first that has one. */
  function subject(item) {
    const place = rw.data.replays[item.id];
    if (!place) return -1;
    const there = place.runs.flatMap((blobs, i) => (blobs ? [i] : []));
    return there.find((i) => rw.failed(item.results[i])) ?? there[0] ?? -1;
  }

  async function paint(canvas, item) {
    const entry = subject(item);
    try {
      const { roads, runs } = await rw.motion.load(item);
      const drive = runs[entry];
      const result = item.results[entry];
      const moments = result.r.filter(([level, , step]) => level !== "near" && step >= 0).map(([, , step]) => step);
      const events = (result.e || []).filter((event) => event.at_fault !== false && moments.includes(event.step));
      const time = Math.min(moments[0] ?? drive.steps, drive.steps);
      const show = () => rw.picture.draw(canvas, roads, drive, { entry, time, zoom: 44, follow: true, plan: false, log: true, events, small: true });
      drawn.set(canvas, show);
      show();
    } catch (error) {
      canvas.replaceWith(el("span", { class: "blank" }, `No picture: ${error.message}`));
    }
  }

  function card(item, watch) {
    const has = subject(item) >= 0;
    const picture = has ? el("canvas", { "aria-hidden": "true" }) : el("span", { class: "blank" }, "no replay");
    if (has) watch(picture, item);
    const outcome = (result, i) => {
      if (!result) return null;
      const value = rw.data.primary >= 0 ? rw.format(result.v[rw.data.primary]) : "";
      const why = result.r.length ? result.r[0][1] : rw.word(result);
      return el("span", { class: "outcome" }, el("span", { class: `swatch ${rw.seriesClass(i)}` }),
        el("span", { class: "quiet" }, `${rw.data.entries[i].label}: `), el("bdi", {}, why), el("span", { class: "figure" }, value));
    };
    return el("li", {}, el("a", { href: rw.case.href(item), class: "card" },
      picture, el("strong", {}, el("bdi", {}, rw.caseName(item))), el("span", { class: "source" }, item.source), ...item.results.map(outcome)));
  }

  async function start() {
    const waiting = [];
    const watch = (canvas, item) => waiting.push([canvas, item]);
    $("gallery").append(...rw.data.worst.map((i) => card(rw.data.cases[i], watch)));
    window.addEventListener("resize", redraw);
    for (const [canvas, item] of waiting) await paint(canvas, item);
  }

  function redraw() {
    for (const show of drawn.values()) show();
  }

  return { start, redraw };
})();
