// Speed and time to collision over the drive, under the picture; a click goes to that moment.

rw.traces = (() => {
  const HEIGHT = 74;
  const LEFT = 52;
  const RIGHT = 10;
  const TOP = 16;
  const BOTTOM = 8;

  function path(values, top, xOf) {
    let out = "";
    let pen = false;
    values.forEach((value, i) => {
      if (!Number.isFinite(value)) {
        pen = false;
        return;
      }
      const y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(value, top) / top);
      out += `${pen ? "L" : "M"}${xOf(i).toFixed(1)} ${y.toFixed(1)}`;
      if (!pen) out += "h.01";
      pen = true;
    });
    return out;
  }

  function panel(box, { title, unit, top, series, steps, events, limit, seek }) {
    const width = Math.max(box.clientWidth, 240);
    const xOf = (step) => LEFT + ((width - LEFT - RIGHT) * step) / Math.max(steps, 1);
    const base = HEIGHT - BOTTOM;
    const yOf = (value) => TOP + (base - TOP) * (1 - value / top);
    const cursor = rw.svg("path", { class: "cursor", d: "" });
    const svg = rw.svg(
      "svg",
      { class: "trace", viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": `${title} over time, ${unit}` },
      rw.svg("path", { class: "axis", d: `M${LEFT} ${base}H${width - RIGHT}M${LEFT} ${TOP}H${width - RIGHT}` }),
      rw.svg("text", { x: LEFT, y: 11 }, title),
      rw.svg("text", { x: LEFT - 6, y: base, class: "end" }, "0"),
      rw.svg("text", { x: LEFT - 6, y: TOP + 5, class: "end" }, `${Math.round(top)} ${unit}`),
      limit ? rw.svg("path", { class: "limit", d: `M${LEFT} ${yOf(limit)}H${width - RIGHT}` }) : null,
      ...events.map(({ step, near }) => rw.svg("path", { class: near ? "event-mark near" : "event-mark", d: `M${xOf(step)} ${TOP}V${base}` })),
      ...series.map(({ entry, values }) => rw.svg("path", { class: `line ${rw.seriesClass(entry)}`, d: path(values, top, xOf) })),
      cursor,
    );
    const go = (pointer) => {
      const x = pointer.clientX - svg.getBoundingClientRect().left;
      seek(Math.round(((x - LEFT) / (width - LEFT - RIGHT)) * steps));
    };
    svg.addEventListener("pointerdown", (pointer) => {
      svg.setPointerCapture(pointer.pointerId);
      go(pointer);
    });
    svg.addEventListener("pointermove", (pointer) => pointer.buttons && go(pointer));
    box.append(svg);
    return (step) => cursor.setAttribute("d", `M${xOf(step)} ${TOP - 4}V${base}`);
  }

  /**
   * Builds both panels into `box`.
   * drives: [{entry, drive}]; returns a function that moves the cursor to a step.
   */
  function build(box, drives, steps, events, seek) {
    box.replaceChildren();
    const fastest = Math.max(5, ...drives.map(({ drive }) => Math.max(...drive.speed)));
    const moves = [
      panel(box, {
        title: "Speed", unit: "m/s", top: Math.ceil(fastest / 5) * 5, steps, events, seek,
        series: drives.map(({ entry, drive }) => ({ entry, values: Array.from(drive.speed) })),
      }),
      panel(box, {
        title: "Time to collision, at constant velocity", unit: "s", top: rw.motion.HORIZON, limit: 1, steps, events, seek,
        series: drives.map(({ entry, drive }) => ({ entry, values: Array.from(rw.motion.timeToCollision(drive)) })),
      }),
    ];
    return (step) => moves.forEach((move) => move(step));
  }

  return { build };
})();
