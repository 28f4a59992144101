// Which functional tokens are used: over the training, and over the depth of a chain, as columns of shares.

// spec: {title, note, x, columns: [{x, total, parts: {name: number}}], more}; more says what `total` counts.
function stackChart(spec) {
  const names = DATA.functions.filter(name => spec.columns.some(c => c.parts[name] > 0));
  const plot = h("div", {className: "plot"}),
    H = 220;
  plot.style.minHeight = `${H}px`;
  const sum = c => names.reduce((all, name) => all + (c.parts[name] || 0), 0) || 1;
  const lines = c =>
    names.filter(name => c.parts[name] > 0).map(name => [name, `${name}: ${percent(c.parts[name] / sum(c))}`]);
  const about = c => `${spec.x} ${c.label ?? num(c.x)}${spec.more ? ` · ${plural(c.total, spec.more)}` : ""}`;
  let width = 0,
    current = -1;

  function draw() {
    const wide = (width - MARGIN.left - MARGIN.right) / spec.columns.length,
      tall = H - MARGIN.top - MARGIN.bottom;
    const Y = v => MARGIN.top + tall * (1 - v);
    let last = -Infinity;
    const svg = s(
      "svg",
      {
        width,
        height: H,
        viewBox: `0 0 ${width} ${H}`,
        tabindex: 0,
        role: "img",
        "aria-label": `${spec.title}, ${plural(spec.columns.length, "column")}. Arrow keys read the values.`,
      },
      [0, 0.5, 1].map(v => [
        s("line", {class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: Y(v), y2: Y(v)}),
        s("text", {x: MARGIN.left - 6, y: Y(v) + 4, "text-anchor": "end"}, percent(v, 0)),
      ]),
    );
    spec.columns.forEach((c, i) => {
      const x = MARGIN.left + i * wide,
        all = sum(c);
      let under = 0;
      for (const name of names) {
        const part = (c.parts[name] || 0) / all;
        if (part <= 0) continue;
        under += part;
        const box = {x: x + wide * 0.06, y: Y(under), width: wide * 0.88, height: tall * part};
        svg.append(s("rect", {class: "part", hue: functionHue(name), "data-name": name, ...box}));
      }
      const middle = x + wide / 2;
      if (middle - last > 30) {
        last = middle;
        svg.append(s("text", {x: middle, y: H - MARGIN.bottom + 15, "text-anchor": "middle"}, c.label ?? num(c.x)));
      }
    });
    const frame = s("rect", {class: "frame", y: MARGIN.top, height: tall, width: wide, visibility: "hidden"});
    const axis = s("text", {x: (MARGIN.left + width) / 2, y: H - 3, "text-anchor": "middle"}, spec.x);
    svg.append(axis, frame);
    const point = (event, i) => {
      current = i;
      frame.setAttribute("visibility", i < 0 ? "hidden" : "visible");
      if (i < 0) return tip(event, null);
      frame.setAttribute("x", MARGIN.left + i * wide);
      const c = spec.columns[i],
        found = lines(c).reverse();
      tip(event, [
        h("div", {className: "soft"}, about(c)),
        ...found.map(([name, text]) => h("div", {hue: functionHue(name)}, text)),
      ]);
      if (event.keyed) said(`${about(c)}. ${found.map(([, text]) => text).join(". ")}`);
    };
    const within = i => Math.max(0, Math.min(spec.columns.length - 1, i));
    svg.addEventListener("pointermove", e =>
      point(e, within(Math.floor((e.clientX - svg.getBoundingClientRect().left - MARGIN.left) / wide))),
    );
    svg.addEventListener("pointerleave", e => point(e, -1));
    svg.addEventListener("blur", e => point(e, -1));
    svg.addEventListener("keydown", e => {
      const turn = {ArrowRight: 1, ArrowLeft: -1}[e.key];
      if (!turn && e.key !== "Escape") return;
      e.preventDefault();
      const next = turn ? within(current < 0 ? 0 : current + turn) : -1,
        box = svg.getBoundingClientRect();
      point({clientX: box.left + MARGIN.left + next * wide, clientY: box.top + H / 2, keyed: true}, next);
    });
    plot.replaceChildren(svg);
  }
  followWidth(plot, wide => {
    width = wide;
    draw();
  });
  return h(
    "figure",
    {className: "chart"},
    h("figcaption", {}, h("b", {}, spec.title), h("span", {className: "soft small"}, spec.note)),
    h("div", {className: "keys"}, names.map(functionBadge)),
    plot,
    lazy("Values", () =>
      table(
        spec.title,
        [spec.x, spec.more || "", ...names],
        spec.columns.map(c => [
          c.label ?? num(c.x),
          spec.more ? num(c.total) : "",
          ...names.map(name => percent((c.parts[name] || 0) / sum(c))),
        ]),
      ),
    ),
  );
}

const SHARE = "function_share/";
const COLUMNS = 60; // of one chart over the training
// Steps of the RL with the share of each function; neighbours are averaged where there are many steps.
function overTraining(run) {
  const curves = run.metrics.filter(
    c => c.name.startsWith(SHARE) && DATA.functions.includes(c.name.slice(SHARE.length)),
  );
  const steps = [...new Set(curves.flatMap(c => c.points.map(([x]) => x)))].sort((a, b) => a - b);
  const size = Math.ceil(steps.length / COLUMNS) || 1,
    columns = new Map(steps.map((x, i) => [x, Math.floor(i / size)]));
  const found = Array.from({length: Math.ceil(steps.length / size)}, (_, i) => ({
    x: steps[Math.min((i + 1) * size, steps.length) - 1],
    parts: {__proto__: null},
  }));
  for (const c of curves)
    for (const [x, y] of c.points) {
      const {parts} = found[columns.get(x)],
        name = c.name.slice(SHARE.length);
      parts[name] = (parts[name] || 0) + y;
    }
  return found;
}
function overDepth({functions}) {
  const deepest = Math.max(...Object.values(functions).map(counts => counts.length));
  return Array.from({length: deepest}, (_, i) => {
    const parts = bare(Object.fromEntries(Object.entries(functions).map(([name, counts]) => [name, counts[i] || 0])));
    return {
      x: i + 1,
      label: i + 1 === DEEPEST ? `${DEEPEST}+` : null,
      parts,
      total: Object.values(parts).reduce((a, b) => a + b, 0),
    };
  });
}
const DEEPEST = 24; // where the counts end, see usage.py

function functions(body) {
  for (const run of RUNS) {
    const steps = overTraining(run);
    if (!steps.length && !run.usage.length) continue;
    const charts = run.usage.map(part =>
      stackChart({
        title: part.source === "chains" ? "Warm-up chains, by depth" : `Answers of ${modelName(part.source)}, by depth`,
        note: `${plural(part.chains, "chain")} (${part.path}).`,
        x: "step of the chain",
        more: "step",
        columns: overDepth(part),
      }),
    );
    if (steps.length)
      charts.unshift(
        stackChart({
          title: "Over the training",
          note: "Share of each function among the steps of the rollouts.",
          x: "training step",
          columns: steps,
        }),
      );
    add(body, RUNS.length > 1 && h("h3", {}, run.name), h("div", {className: "charts wide"}, charts));
  }
  for (const run of RUNS) missing(body, "functions", run);
}
