// A replay in memory: where everyone is at a time, and how long until the ego would hit someone.

rw.motion = (() => {
  const DT = 0.1;
  const HORIZON = 5;

  function polygons(fields, name) {
    const { shape, data } = fields[`${name}_xy`];
    const count = shape[1];
    let start = 0;
    return Array.from(fields[`${name}_end`].data, (end) => {
      const points = [];
      for (let i = start; i < end; i++) points.push([data[i], data[count + i]]);
      start = end;
      return points;
    });
  }

  function roads(fields) {
    const path = (lines, closed) => {
      const out = new Path2D();
      for (const line of lines) {
        line.forEach(([x, y], i) => (i ? out.lineTo(x, y) : out.moveTo(x, y)));
        if (closed && line.length) out.closePath();
      }
      return out;
    };
    return {
      areas: path(polygons(fields, "area"), true),
      lanes: path(polygons(fields, "lane"), true),
      connectors: path(polygons(fields, "connector"), true),
      centres: path(polygons(fields, "centre"), false),
      crosswalks: path(polygons(fields, "crosswalk"), true),
      stops: path(polygons(fields, "stop"), false),
    };
  }

  const row = (field, i) => field.data.subarray(i * field.shape[1], (i + 1) * field.shape[1]);

  function drive(own, others, log) {
    const [width, front, rear] = own.vehicle.data;
    const kinds = others.agent_kind.data;
    const agents = Array.from(kinds, (kind, i) => ({
      kind,
      row: others.agent_row.data[i],
      length: others.agent_size.data[2 * i],
      width: others.agent_size.data[2 * i + 1],
      x: row(others.agent_x, i),
      y: row(others.agent_y, i),
      yaw: row(others.agent_yaw, i),
      valid: row(others.agent_valid, i),
    }));
    const plans = Array.from(own.plan_step.data, (step, i) => {
      const count = own.plan_xy.shape[2];
      const data = own.plan_xy.data.subarray(2 * i * count, 2 * (i + 1) * count);
      const [x0, y0, yaw] = [own.ego_x.data[step], own.ego_y.data[step], own.ego_yaw.data[step]];
      const points = [[x0, y0]];
      for (let k = 0; k < count; k++) {
        const [x, y] = [data[k], data[count + k]];
        points.push([
          x0 + Math.cos(yaw) * x - Math.sin(yaw) * y,
          y0 + Math.sin(yaw) * x + Math.cos(yaw) * y,
        ]);
      }
      return { step, points };
    });
    const signals = Array.from({ length: own.signal_state.shape[0] }, (_, i) => ({
      line: [0, 1, 2, 3].map((k) => own.signal_line.data[k * own.signal_line.shape[1] + i]),
      state: row(own.signal_state, i),
    }));
    const route = log.route.shape[1];
    return {
      steps: own.ego_x.data.length - 1,
      ego: { x: own.ego_x.data, y: own.ego_y.data, yaw: own.ego_yaw.data },
      speed: own.speed.data,
      box: { width, length: front + rear, centre: (front - rear) / 2 },
      log: { x: log.log_x.data, y: log.log_y.data, yaw: log.log_yaw.data },
      route: Array.from({ length: route }, (_, i) => [log.route.data[i], log.route.data[route + i]]),
      agents,
      plans,
      signals,
      ttc: null,
    };
  }

  /** The replay of a case: {roads, runs: per planner a drive or null}; null if there is none. */
  async function load(item) {
    const place = rw.data.replays[item.id];
    if (!place) return null;
    const map = rw.blobs.read(place.map);
    const runs = place.runs.map(async (blobs) =>
      blobs ? drive(...(await Promise.all(blobs.map(rw.blobs.read)))) : null,
    );
    return { roads: roads(await map), runs: await Promise.all(runs) };
  }

  /** The pose at a fractional step, between its neighbours. */
  function at(track, time) {
    const last = track.x.length - 1;
    const low = Math.max(0, Math.min(last, Math.floor(time)));
    const high = Math.min(last, low + 1);
    const part = Math.max(0, Math.min(1, time - low));
    const mix = (values) => values[low] + part * (values[high] - values[low]);
    return { x: mix(track.x), y: mix(track.y), yaw: mix(track.yaw) };
  }

  /** The ego's box at a fractional step; its pose is that of the rear axle. */
  function egoBox(drive, time, track = drive.ego) {
    const pose = at(track, time);
    return {
      x: pose.x + Math.cos(pose.yaw) * drive.box.centre,
      y: pose.y + Math.sin(pose.yaw) * drive.box.centre,
      yaw: pose.yaw,
      length: drive.box.length,
      width: drive.box.width,
    };
  }

  function apart(a, b, ux, uy) {
    const gap = Math.abs((b.x - a.x) * ux + (b.y - a.y) * uy);
    const reach = (box) => {
      const [c, s] = [Math.cos(box.yaw), Math.sin(box.yaw)];
      return (box.length * Math.abs(c * ux + s * uy) + box.width * Math.abs(c * uy - s * ux)) / 2;
    };
    return gap > reach(a) + reach(b);
  }

  function overlap(a, b) {
    for (const yaw of [a.yaw, b.yaw]) {
      const [c, s] = [Math.cos(yaw), Math.sin(yaw)];
      if (apart(a, b, c, s) || apart(a, b, -s, c)) return false;
    }
    return true;
  }

  function contact(ego, evx, evy, agent, avx, avy) {
    const [dx, dy] = [agent.x - ego.x, agent.y - ego.y];
    const [vx, vy] = [avx - evx, avy - evy];
    const reach = (Math.hypot(ego.length, ego.width) + Math.hypot(agent.length, agent.width)) / 2;
    const [a, b, c] = [vx * vx + vy * vy, dx * vx + dy * vy, dx * dx + dy * dy - reach * reach];
    if (c > 0 && (b >= 0 || a < 1e-9)) return Infinity;
    const root = b * b - a * c;
    if (root < 0) return Infinity;
    const first = c <= 0 ? 0 : (-b - Math.sqrt(root)) / a;
    const last = a < 1e-9 ? 0 : Math.min(HORIZON, (-b + Math.sqrt(root)) / a);
    for (let t = Math.ceil(first / DT) * DT; t <= last + 1e-9; t += DT) {
      const mine = { ...ego, x: ego.x + evx * t, y: ego.y + evy * t };
      const other = { ...agent, x: agent.x + avx * t, y: agent.y + avy * t };
      if (overlap(mine, other)) return t;
    }
    return Infinity;
  }

  function slope(values, i, valid) {
    let low = i;
    let high = i;
    while (low > 0 && i - low < 2 && valid[low - 1]) low--;
    while (high < values.length - 1 && high - i < 2 && valid[high + 1]) high++;
    return high > low ? (values[high] - values[low]) / ((high - low) * DT) : 0;
  }

  /** Per step, seconds until boxes meet if all keep their velocity; Infinity beyond 5 s. */
  function timeToCollision(drive) {
    if (drive.ttc) return drive.ttc;
    drive.ttc = new Float64Array(drive.steps + 1).fill(Infinity);
    for (let i = 0; i <= drive.steps; i++) {
      const ego = egoBox(drive, i);
      const [evx, evy] = [drive.speed[i] * Math.cos(ego.yaw), drive.speed[i] * Math.sin(ego.yaw)];
      for (const agent of drive.agents) {
        if (!agent.valid[i] || Math.hypot(agent.x[i] - ego.x, agent.y[i] - ego.y) > 100) continue;
        const box = { x: agent.x[i], y: agent.y[i], yaw: agent.yaw[i], length: agent.length, width: agent.width };
        const time = contact(
          ego, evx, evy, box, slope(agent.x, i, agent.valid), slope(agent.y, i, agent.valid),
        );
        if (time < drive.ttc[i]) drive.ttc[i] = time;
      }
    }
    return drive.ttc;
  }

  return { DT, HORIZON, load, at, egoBox, timeToCollision };
})();
