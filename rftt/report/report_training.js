// Training curves: of one run those that belong together share a chart, of several runs each curve compares them.
function training(body) {
  const draw = RUNS.length > 1 ? compareTraining : ownTraining,
    phases = [...new Set(RUNS.flatMap(run => run.metrics.map(c => c.phase)))],
    others = phases.filter(phase => SIDE.test(phase));
  for (const phase of phases.filter(phase => !SIDE.test(phase))) draw(body, phase);
  if (others.length)
    add(
      body,
      lazy(`What ${others.join(", ")} logged`, () => {
        const box = h("div", {});
        for (const phase of others) draw(box, phase);
        return box;
      }),
    );
  for (const run of RUNS) missing(body, "training", run);
}

const SIDE = /^(search|eval)/; // phases that train nothing
// A curve is known by its own name or by its prefix.
const curveName = key => [key, key.slice(0, key.lastIndexOf("/") + 1)].find(name => name in CURVES);
const curveRank = key => {
  const i = Object.keys(CURVES).indexOf(curveName(key));
  return i < 0 ? Infinity : i;
};
const byRank = (a, b) => (curveRank(a) === curveRank(b) ? (a < b ? -1 : 1) : curveRank(a) - curveRank(b));
const DASHES = [null, "6 3", "2 3", "8 3 2 3"];

// Charts, those that the page knows by name in view and the others behind a fold.
function folded(body, charts, draw) {
  const split = charts.filter(([key]) => curveRank(key) < Infinity).length || charts.length;
  const rest = charts.length - split > 4 ? charts.splice(split) : [];
  add(
    body,
    h("div", {className: "charts"}, charts.map(draw)),
    rest.length
      ? lazy(`${plural(rest.length, "more curve")}`, () => h("div", {className: "charts"}, rest.map(draw)))
      : "",
  );
}

// Several runs: a chart for each curve, a line for each run.
function compareTraining(body, phase) {
  const found = new Map();
  for (const run of RUNS)
    for (const curve of run.metrics.filter(c => c.phase === phase))
      found.set(curve.name, [...(found.get(curve.name) || []), {run, curve}]);
  const charts = [...found].sort(([a], [b]) => byRank(a, b));
  add(body, h("h3", {}, phase || "without a phase"));
  folded(body, charts, ([name, lines]) =>
    lineChart({
      title: words(name),
      note: CURVES[curveName(name)] || "",
      x: "step",
      height: 190,
      series: lines.map(({run, curve}) => {
        const i = RUNS.indexOf(run);
        return {name: run.name, points: curve.points.map(([x, y]) => ({x, y})), hue: hue(i), dash: DASHES[i % 4]};
      }),
    }),
  );
}

function ownTraining(body, phase) {
  // The shares of the functions have a section of their own.
  const metrics = RUNS[0].metrics.filter(c => c.phase === phase && !c.name.startsWith(SHARE));
  const groups = new Map();
  if (!metrics.length) return;
  for (const curve of metrics) {
    const cut = curve.name.lastIndexOf("/"),
      key = cut < 0 ? curve.name : curve.name.slice(0, cut + 1);
    groups.set(key, [
      ...(groups.get(key) || []),
      {...curve, short: curve.name.slice(cut + 1), top: Math.max(...curve.points.map(p => Math.abs(p[1])))},
    ]);
  }
  // Curves of one prefix share a chart where one scale serves them all.
  const charts = [...groups].flatMap(([key, curves]) => {
    const tops = curves.map(c => c.top),
      together =
        SHARED[key] ??
        (curves.every(c => c.top <= 1 && c.points.every(p => p[1] >= 0)) ||
          Math.max(...tops) <= 10 * Math.min(...tops));
    return together && curves.length > 1 ? [[key, curves]] : curves.map(c => [c.name, [c]]);
  });
  charts.sort(([a], [b]) => byRank(a, b));
  const draw = ([key, curves]) =>
    lineChart({
      title: words(curves.length > 1 ? key.replace(/\/$/, "") : curves[0].name),
      note: CURVES[curveName(key)] || "",
      x: "step",
      height: 190,
      series: curves.map((c, i) => ({
        name: curves.length > 1 ? c.short : words(c.name),
        points: c.points.map(([x, y]) => ({x, y})),
        hue: functionHue(c.short) ?? hue(i),
        dash: DASHES[i % 4],
      })),
    });
  const steps = Math.max(...metrics.map(c => c.steps));
  const thinned = metrics.some(c => c.steps > c.points.length);
  add(
    body,
    h(
      "h3",
      {},
      phase || "without a phase",
      h(
        "span",
        {className: "soft small"},
        ` · ${plural(steps, "step")} logged`,
        thinned && "; each point is the mean of neighbouring steps",
      ),
    ),
  );
  folded(body, charts, draw);
}
