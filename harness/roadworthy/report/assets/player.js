// The replay of one case: pictures side by side on one clock, traces, and the controls.

rw.player = (() => {
  const { $, el } = rw;
  const state = { drives: [], time: 0, steps: 0, zoom: 60, playing: false, last: 0, move: () => {} };
  let opened = 0;

  function speedText(drive, step) {
    const ttc = rw.motion.timeToCollision(drive)[step];
    const left = ttc === undefined || ttc > rw.motion.HORIZON ? "over 5 s" : `${ttc.toFixed(1)} s`;
    return `${drive.speed[step].toFixed(1)} m/s, time to collision ${left}`;
  }

  function draw() {
    const step = Math.round(state.time);
    for (const { drive, entry, canvas, events, shown } of state.drives) {
      if (!shown.checked) continue;
      rw.picture.draw(canvas, state.roads, drive, {
        entry, time: Math.min(state.time, drive.steps), zoom: state.zoom, follow: $("follow").checked,
        plan: $("show-plan").checked, log: $("show-log").checked, events,
      });
    }
    const seconds = (step * rw.motion.DT).toFixed(1);
    const all = (state.steps * rw.motion.DT).toFixed(1);
    $("scrub").value = step;
    $("scrub").setAttribute("aria-valuetext", `${seconds} of ${all} seconds`);
    $("clock").textContent = `${seconds} / ${all} s`;
    $("readout").replaceChildren(
      ...state.drives.filter(({ shown }) => shown.checked).map(({ drive, entry }) => {
        const ended = step > drive.steps ? " (ended)" : "";
        const text = `${speedText(drive, Math.min(step, drive.steps))}${ended}`;
        return el("span", {}, el("span", { class: `swatch ${rw.seriesClass(entry)}` }), el("bdi", {}, rw.data.entries[entry].label), `: ${text}`);
      }),
    );
    state.move(step);
  }

  function seek(step) {
    state.time = Math.max(0, Math.min(state.steps, step));
    draw();
    rw.case.mark(Math.round(state.time));
  }

  function tick(now) {
    if (!state.playing) return;
    const rate = Number($("speed").value) / rw.motion.DT;
    state.time = Math.min(state.steps, state.time + ((now - state.last) / 1000) * rate);
    state.last = now;
    draw();
    if (state.time >= state.steps) pause();
    else requestAnimationFrame(tick);
  }

  function play() {
    if (state.time >= state.steps) state.time = 0;
    state.playing = true;
    state.last = performance.now();
    $("readout").setAttribute("aria-live", "off");
    $("play").textContent = "Pause";
    requestAnimationFrame(tick);
  }

  function pause() {
    if (state.playing) rw.case.mark(Math.round(state.time));
    state.playing = false;
    $("play").textContent = "Play";
    $("readout").setAttribute("aria-live", "polite");
  }

  const toggle = () => (state.playing ? pause() : play());

  function step(by) {
    pause();
    seek(Math.round(state.time) + by);
  }

  function zoom(factor) {
    state.zoom = Math.max(15, Math.min(240, state.zoom * factor));
    draw();
  }

  function picture(item, entry, drive) {
    const { label } = rw.data.entries[entry];
    const result = item.results[entry];
    const level = rw.level(result);
    const canvas = el("canvas", { role: "img", "aria-label": `Bird's-eye view of ${label}` });
    const figure = el(
      "figure", { class: "picture" },
      el("figcaption", {}, el("span", { class: `swatch ${rw.seriesClass(entry)}` }), el("bdi", {}, label), " ",
        el("span", { class: `level ${level || "passed"}` }, rw.word(result))),
      canvas,
    );
    const shown = el("input", { type: "checkbox", checked: true, "data-entry": entry });
    shown.addEventListener("change", () => {
      figure.hidden = !shown.checked;
      trace();
      eventList();
      draw();
    });
    $("shown").append(el("label", { class: "check" }, shown, " ", el("bdi", {}, label)));
    $("pictures").append(figure);
    const events = (result && result.e ? result.e : []).filter((event) => event.at_fault !== false);
    return { entry, drive, canvas, figure, shown, events };
  }

  function trace() {
    const shown = state.drives.filter((d) => d.shown.checked);
    const marks = shown.flatMap((d) => d.events).filter(({ step: at }) => at >= 0);
    state.move = rw.traces.build($("traces"), shown, state.steps, marks, (to) => {
      pause();
      seek(to);
    });
  }

  function eventList() {
    const items = state.drives.filter((d) => d.shown.checked).flatMap(({ entry, drive }) => {
      const result = state.item.results[entry];
      const found = (result.e || []).map((event) => ({ step: event.step, text: eventText(event, drive) }));
      if (result.err && result.err.step >= 0) found.push({ step: result.err.step, text: result.err.type });
      return found.map(({ step: when, text }) => {
        const moment = when >= 0 ? `${(when * rw.motion.DT).toFixed(1)} s` : "whole case";
        const button = el("button", { type: "button" }, el("span", { class: `swatch ${rw.seriesClass(entry)}` }), `${moment} `, el("bdi", {}, text));
        button.addEventListener("click", () => {
          pause();
          seek(when);
        });
        return el("li", {}, button);
      });
    });
    $("events").replaceChildren(...items);
  }

  function eventText(event, drive) {
    const kinds = ["vehicle", "pedestrian", "cyclist", "cone", "barrier", "sign", "object"];
    const agent = drive.agents.find(({ row }) => row === event.agent);
    const words = [event.kind, event.how && `(${event.how})`, agent && `with a ${kinds[agent.kind] || "thing"}`];
    if (event.at_fault === true) words.push("at fault");
    if (event.at_fault === false) words.push("not at fault");
    return words.filter(Boolean).join(" ").replaceAll("_", " ");
  }

  /** Where a replay begins: a second before the first thing that went wrong, or at 0. */
  function opening(item) {
    const results = state.drives.filter((d) => d.shown.checked).map(({ entry }) => item.results[entry]);
    const steps = results.flatMap((r) => r.r.filter(([level, , at]) => level !== "near" && at >= 0).map(([, , at]) => at));
    return steps.length ? Math.max(0, Math.min(...steps) - 10) : 0;
  }

  async function open(item, at) {
    close();
    const turn = ++opened;
    $("player").hidden = true;
    $("no-replay").hidden = true;
    let loaded = null;
    let problem = "This case has no replay in this file.";
    try {
      loaded = await rw.motion.load(item);
    } catch (error) {
      problem = `The replay cannot be shown: ${error.message}`;
    }
    if (turn !== opened) return;
    if (!loaded || !loaded.runs.some(Boolean)) {
      $("no-replay").textContent = problem;
      $("no-replay").hidden = false;
      return;
    }
    $("pictures").replaceChildren();
    $("shown").replaceChildren();
    $("player").hidden = false;
    state.item = item;
    state.roads = loaded.roads;
    state.drives = loaded.runs.flatMap((drive, entry) => (drive ? [picture(item, entry, drive)] : []));
    state.drives.slice(2).forEach(({ shown, figure }) => {
      shown.checked = false;
      figure.hidden = true;
    });
    state.steps = Math.max(...state.drives.map(({ drive }) => drive.steps));
    $("scrub").max = state.steps;
    trace();
    eventList();
    seek(at >= 0 ? at : opening(item));
  }

  function close() {
    opened++;
    pause();
    state.drives = [];
  }

  function key(event) {
    if (!state.drives.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = event.target;
    if (place.matches("select, input[type=search]")) return;
    const onControl = place.matches("button, input[type=checkbox], summary, a");
    const actions = {
      " ": () => !onControl && (toggle(), true),
      ArrowLeft: () => (step(-1), true),
      ArrowRight: () => (step(1), true),
      Home: () => (step(-Infinity), true),
      End: () => (step(Infinity), true),
      "+": () => (zoom(0.8), true),
      "=": () => (zoom(0.8), true),
      "-": () => (zoom(1.25), true),
    };
    if (actions[event.key] && actions[event.key]()) event.preventDefault();
  }

  function start() {
    $("play").addEventListener("click", toggle);
    $("back").addEventListener("click", () => step(-1));
    $("forward").addEventListener("click", () => step(1));
    $("zoom-in").addEventListener("click", () => zoom(0.8));
    $("zoom-out").addEventListener("click", () => zoom(1.25));
    $("scrub").addEventListener("input", () => {
      pause();
      seek(Number($("scrub").value));
    });
    for (const name of ["show-plan", "show-log", "follow"]) $(name).addEventListener("change", draw);
    $("case").addEventListener("keydown", key);
    window.addEventListener("resize", () => {
      if (!state.drives.length) return;
      trace();
      draw();
    });
  }

  const redraw = () => state.drives.length && draw();

  return { open, close, start, redraw };
})();
