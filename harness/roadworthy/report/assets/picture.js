// Draws one moment of a drive, seen from above, on a canvas.

rw.picture = (() => {
  const NAMES = [
    "ground", "road", "lane-edge", "lane-centre", "crosswalk", "stop", "route", "log", "plan",
    "vehicle", "person", "cycle", "object", "edge", "event", "near", "ink", "green", "yellow", "red",
  ];
  let colours = null;

  function palette() {
    if (!colours) {
      const style = getComputedStyle(document.documentElement);
      colours = {};
      for (const name of NAMES) colours[name] = style.getPropertyValue(`--${name}`).trim();
      for (let i = 0; i < 8; i++) colours[`series-${i}`] = style.getPropertyValue(`--series-${i}`).trim();
    }
    return colours;
  }

  /** Forget the colours, after the theme has changed. */
  const refresh = () => { colours = null; };

  // Driving off goes up the picture, or to the right where it is wide.
  function frame(drive, time, zoom, follow, wide) {
    const turn = (wide ? 0 : Math.PI / 2) - drive.ego.yaw[0];
    if (follow) {
      const ego = rw.motion.egoBox(drive, time);
      const ahead = (wide ? 0.3 : 0.2) * zoom;
      return { x: ego.x + ahead * Math.cos(ego.yaw), y: ego.y + ahead * Math.sin(ego.yaw), across: zoom, turn };
    }
    const low = [Infinity, Infinity];
    const high = [-Infinity, -Infinity];
    for (const track of [drive.ego, drive.log]) {
      for (let i = 0; i < track.x.length; i++) {
        [track.x[i], track.y[i]].forEach((v, k) => {
          low[k] = Math.min(low[k], v);
          high[k] = Math.max(high[k], v);
        });
      }
    }
    const span = Math.hypot(high[0] - low[0], high[1] - low[1]);
    return { x: (low[0] + high[0]) / 2, y: (low[1] + high[1]) / 2, across: Math.max(span + 24, 40) * (zoom / 60), turn };
  }

  function line(ctx, points) {
    ctx.beginPath();
    points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
    ctx.stroke();
  }

  function trail(ctx, track, from, to) {
    const points = [];
    for (let i = Math.max(0, Math.ceil(from)); i <= Math.min(track.x.length - 1, to); i++) {
      points.push([track.x[i], track.y[i]]);
    }
    line(ctx, points);
  }

  function box(ctx, { x, y, yaw, length, width }, fill, stroke, px, nose = true) {
    ctx.save();
    ctx.translate(x, y);
    ctx.rotate(yaw);
    ctx.beginPath();
    ctx.rect(-length / 2, -width / 2, length, width);
    if (fill) {
      ctx.fillStyle = fill;
      ctx.fill();
    }
    ctx.strokeStyle = stroke;
    ctx.lineWidth = 1.25 * px;
    ctx.stroke();
    if (nose && length > 1.2) {
      ctx.beginPath();
      ctx.moveTo(length / 2 - 0.35 * width, width / 2);
      ctx.lineTo(length / 2, 0);
      ctx.lineTo(length / 2 - 0.35 * width, -width / 2);
      ctx.stroke();
    }
    ctx.restore();
  }

  function map(ctx, roads, c, px) {
    ctx.fillStyle = c.road;
    ctx.fill(roads.areas);
    ctx.fill(roads.lanes);
    ctx.fill(roads.connectors);
    ctx.fillStyle = c.crosswalk;
    ctx.fill(roads.crosswalks);
    ctx.strokeStyle = c["lane-edge"];
    ctx.lineWidth = px;
    ctx.stroke(roads.lanes);
    ctx.strokeStyle = c["lane-centre"];
    ctx.setLineDash([1.5, 3]);
    ctx.stroke(roads.centres);
    ctx.setLineDash([]);
    ctx.strokeStyle = c.stop;
    ctx.lineWidth = Math.max(0.4, 2 * px);
    ctx.stroke(roads.stops);
  }

  function signals(ctx, drive, step, c, px) {
    const names = [null, "green", "yellow", "red"];
    ctx.lineWidth = Math.max(0.6, 3 * px);
    for (const { line: [x, y, yaw, half], state } of drive.signals) {
      const name = names[state[Math.min(step, state.length - 1)]];
      if (!name) continue;
      ctx.strokeStyle = c[name];
      const [dx, dy] = [-Math.sin(yaw) * half, Math.cos(yaw) * half];
      line(ctx, [[x - dx, y - dy], [x + dx, y + dy]]);
    }
  }

  function agents(ctx, drive, time, c, px, marked) {
    const step = Math.min(Math.floor(time), drive.steps);
    for (const agent of drive.agents) {
      if (!agent.valid[step]) continue;
      const next = Math.min(step + 1, drive.steps);
      const pose = agent.valid[next] ? rw.motion.at(agent, time) : rw.motion.at(agent, step);
      const fill = agent.kind === 1 ? c.person : agent.kind === 2 ? c.cycle : agent.kind > 2 ? c.object : c.vehicle;
      const hit = marked.has(agent.row);
      box(ctx, { ...agent, ...pose }, fill, hit ? c.event : c.edge, hit ? 2 * px : px, agent.kind < 3);
    }
  }

  function scale(ctx, c, height, perMetre) {
    const metres = [1, 2, 5, 10, 20, 50, 100].find((m) => m * perMetre > 48) || 100;
    ctx.strokeStyle = ctx.fillStyle = c.ink;
    ctx.lineWidth = 1.5;
    line(ctx, [[12, height - 18], [12, height - 13], [12 + metres * perMetre, height - 13], [12 + metres * perMetre, height - 18]]);
    ctx.font = "11px system-ui, sans-serif";
    ctx.fillText(`${metres} m`, 16, height - 18);
  }

  /**
   * Draws.
   * options: entry (for its colour), time (fractional step), zoom (metres across), follow,
   * plan, log (whether to show them), events ([{step, agent}]), small (a thumbnail).
   */
  function draw(canvas, roads, drive, options) {
    const { entry, time, zoom, follow, small = false } = options;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const c = palette();
    const own = c[`series-${entry % 8}`];
    const ctx = canvas.getContext("2d");
    const { x, y, across, turn } = frame(drive, time, zoom, follow, width > 1.2 * height);
    const perMetre = Math.min(width, height) / across;
    const px = 1 / perMetre;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = c.ground;
    ctx.fillRect(0, 0, width, height);
    ctx.save();
    ctx.translate(width / 2, height / 2);
    ctx.scale(perMetre, -perMetre);
    ctx.rotate(turn);
    ctx.translate(-x, -y);
    ctx.lineJoin = ctx.lineCap = "round";
    map(ctx, roads, c, px);
    const step = Math.min(Math.floor(time + 1e-6), drive.steps);
    ctx.lineCap = "butt";
    ctx.strokeStyle = c.route;
    ctx.lineWidth = 1.6;
    line(ctx, drive.route);
    ctx.lineCap = "round";
    signals(ctx, drive, step, c, px);
    if (options.log) {
      ctx.strokeStyle = c.log;
      ctx.lineWidth = 1.5 * px;
      ctx.setLineDash([4 * px, 4 * px]);
      trail(ctx, drive.log, 0, drive.log.x.length);
      if (!small) box(ctx, rw.motion.egoBox(drive, time, drive.log), null, c.log, px, false);
      ctx.setLineDash([]);
    }
    ctx.strokeStyle = own;
    ctx.globalAlpha = 0.35;
    ctx.lineWidth = 2 * px;
    if (small) trail(ctx, drive.ego, 0, drive.steps);
    ctx.globalAlpha = 1;
    ctx.lineWidth = 2.5 * px;
    trail(ctx, drive.ego, 0, step);
    const marked = new Set(options.events.filter((e) => e.step <= step + 1).map((e) => e.agent));
    agents(ctx, drive, time, c, px, marked);
    const plan = drive.plans.findLast((p) => p.step <= step);
    if (options.plan && plan) {
      ctx.strokeStyle = ctx.fillStyle = c.plan;
      ctx.lineWidth = 2 * px;
      line(ctx, plan.points);
      for (const [px0, py0] of plan.points.slice(1)) {
        ctx.beginPath();
        ctx.arc(px0, py0, 2.2 * px, 0, 7);
        ctx.fill();
      }
    }
    box(ctx, rw.motion.egoBox(drive, time), own, c.edge, 1.3 * px);
    ctx.lineWidth = 2 * px;
    for (const event of options.events) {
      ctx.strokeStyle = event.near ? c.near : c.event;
      if (event.step < 0 || (event.step > step && !small)) continue;
      const ego = rw.motion.egoBox(drive, event.step);
      ctx.beginPath();
      ctx.arc(ego.x, ego.y, Math.max(3.2, 9 * px), 0, 7);
      ctx.stroke();
    }
    ctx.restore();
    if (!small) scale(ctx, c, height, perMetre);
  }

  return { draw, refresh };
})();
