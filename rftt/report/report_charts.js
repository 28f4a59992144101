// Line charts: inline SVG drawn at the width of its box, with intervals, hover and arrow keys.
function roundStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map(m => m * power).find(v => v >= raw * 0.999);
}
function ticks(low, high, step) {
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}
function logTicks(xs) {
  const distinct = [...new Set(xs)].sort((a, b) => a - b);
  if (distinct.length <= 8 && distinct.every(Number.isInteger) && distinct[0] < 4) return distinct;
  const found = [];
  for (let p = 10 ** Math.floor(Math.log10(distinct[0])); p <= distinct.at(-1); p *= 10) found.push(p, 2 * p, 5 * p);
  return found.filter(t => t >= distinct[0] * 0.999 && t <= distinct.at(-1) * 1.001);
}
function smoothed(points) {
  const reach = Math.round(points.length / 30);
  return points.map((p, i) => {
    const near = Math.min(reach, i, points.length - 1 - i),
      around = points.slice(i - near, i + near + 1);
    return {...p, y: around.reduce((sum, q) => sum + q.y, 0) / around.length};
  });
}
const MARGIN = {left: 44, right: 12, top: 10, bottom: 34};

// Value → pixel on both axes, and where the ticks stand.
function scales(spec, points, W) {
  const xs = points.map(p => p.x),
    ys = points.flatMap(p => [p.y, p.low, p.high]).filter(Number.isFinite);
  let [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const logarithmic = spec.log && x0 > 0 && x1 >= 6 * x0;
  if (x0 === x1) [x0, x1] = [x0 - 1, x1 + 1];
  if (y0 > 0 && y0 < 0.4 * y1) y0 = 0;
  if (y1 - y0 <= 1e-9 * Math.abs(y1)) [y0, y1] = [y0 - (Math.abs(y0) * 0.1 || 0.5), y1 + (Math.abs(y1) * 0.1 || 0.5)];
  const gap = roundStep((y1 - y0) / Math.max(3, spec.height / 55));
  y0 = Math.floor(y0 / gap + 1e-6) * gap;
  y1 = Math.ceil(y1 / gap - 1e-6) * gap;
  const at = v => (logarithmic ? Math.log(v) : v);
  const X = v => MARGIN.left + ((at(v) - at(x0)) / (at(x1) - at(x0))) * (W - MARGIN.left - MARGIN.right);
  const Y = v => spec.height - MARGIN.bottom - ((v - y0) / (y1 - y0)) * (spec.height - MARGIN.top - MARGIN.bottom);
  let last = -Infinity;
  const wide = roundStep((x1 - x0) / Math.max(2, W / 110));
  const step = xs.every(Number.isInteger) ? Math.max(1, Math.round(wide)) : wide;
  const wanted = logarithmic ? logTicks(xs) : ticks(x0, x1, step);
  const xTicks = wanted.filter(t => X(t) - last > 30 && ((last = X(t)), true));
  return {X, Y, xTicks, yTicks: ticks(y0, y1, gap), logarithmic};
}
const MARKS = {
  __proto__: null,
  circle: "M-3.8 0a3.8 3.8 0 1 0 7.6 0a3.8 3.8 0 1 0 -7.6 0z",
  square: "M-3.4 -3.4h6.8v6.8h-6.8z",
  diamond: "M0 -4.8L4.8 0L0 4.8L-4.8 0z",
  up: "M0 -4.6L4.5 3.6H-4.5z",
  down: "M0 4.6L4.5 -3.6H-4.5z",
};
const dot = (line, x, y) =>
  s("path", {class: "dot", d: MARKS[line.mark || "circle"], transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`});
// spec: {title, note, x, log, percent, height, table, series}; x names the axis, table adds the values as a table;
// series: [{name, hue, dash, mark, points: [{x, y, low, high, more}]}]
function lineChart(spec) {
  const hidden = new Set(),
    show = spec.percent ? percent : num;
  const series = spec.series
    .map(line => ({...line, points: line.points.filter(p => Number.isFinite(p.x) && Number.isFinite(p.y))}))
    .filter(line => line.points.length);
  const plot = h("div", {className: "plot"});
  let width = 0;

  function draw() {
    const live = series.filter(line => !hidden.has(line.name));
    if (!live.length) return plot.replaceChildren(h("p", {className: "soft small"}, "Nothing is switched on."));
    const W = width,
      H = spec.height;
    const {X, Y, xTicks, yTicks, logarithmic} = scales(
      spec,
      live.flatMap(line => line.points),
      W,
    );
    const path = list => list.map((p, i) => `${i ? "L" : "M"}${X(p.x).toFixed(1)} ${Y(p.y).toFixed(1)}`).join("");
    const span = line => `${line.name} from ${show(line.points[0].y)} to ${show(line.points.at(-1).y)}`;
    tip(null, null);
    const svg = s(
      "svg",
      {
        width: W,
        height: H,
        viewBox: `0 0 ${W} ${H}`,
        tabindex: 0,
        role: "img",
        "aria-label": `${spec.title}: ${live.map(span).join("; ")}. Arrow keys read the values.`,
      },
      yTicks.map(t => [
        s("line", {class: "grid", x1: MARGIN.left, x2: W - MARGIN.right, y1: Y(t), y2: Y(t)}),
        s("text", {x: MARGIN.left - 6, y: Y(t) + 4, "text-anchor": "end"}, spec.percent ? percent(t, 0) : num(t)),
      ]),
      s("line", {class: "axis", x1: MARGIN.left, x2: W - MARGIN.right, y1: H - MARGIN.bottom, y2: H - MARGIN.bottom}),
      xTicks.map(t => s("text", {x: X(t), y: H - MARGIN.bottom + 15, "text-anchor": "middle"}, num(t))),
      s(
        "text",
        {x: (MARGIN.left + W - MARGIN.right) / 2, y: H - 3, "text-anchor": "middle"},
        spec.x + (logarithmic ? " (log)" : ""),
      ),
    );
    for (const line of live) {
      const ranged = line.points.filter(p => Number.isFinite(p.low) && Number.isFinite(p.high));
      const long = line.points.length > 60,
        group = s("g", {hue: line.hue});
      const upper = ranged.map(p => ({x: p.x, y: p.high})).reverse();
      const outline = `${path([...ranged.map(p => ({x: p.x, y: p.low})), ...upper])}Z`;
      if (ranged.length > 1)
        group.append(
          s("path", {
            class: "band",
            d: outline,
          }),
        );
      if (long) group.append(s("path", {class: "line faint", d: path(line.points)}));
      group.append(
        s("path", {class: "line", d: path(long ? smoothed(line.points) : line.points), "stroke-dasharray": line.dash}),
      );
      if (line.points.length <= 24) for (const p of line.points) group.append(dot(line, X(p.x), Y(p.y)));
      svg.append(group);
    }
    hover(svg, {live, X, top: MARGIN.top, bottom: H - MARGIN.bottom, x: spec.x, show});
    plot.replaceChildren(svg);
  }
  followWidth(plot, wide => {
    width = wide;
    draw();
  });
  plot.style.minHeight = `${spec.height}px`;
  return h(
    "figure",
    {className: series.length > 4 ? "chart many" : "chart"},
    h("figcaption", {}, h("b", {}, spec.title), h("span", {className: "soft small"}, spec.note)),
    series.length > 1 && legend(series, hidden, draw),
    plot,
    spec.table && lazy("Values", () => values(series, spec.x, show)),
  );
}

// The values under the pointer, or where the arrow keys stand.
function hover(svg, view) {
  let cursor = null;
  const interval = p => (Number.isFinite(p.low) ? ` (${view.show(p.low)} – ${view.show(p.high)})` : "");
  const rule = s("line", {class: "cursor", y1: view.top, y2: view.bottom, visibility: "hidden"});
  const stops = [...new Set(view.live.flatMap(line => line.points.map(p => p.x)))].sort((a, b) => a - b);
  const point = (event, x) => {
    cursor = x;
    rule.setAttribute("visibility", x === null ? "hidden" : "visible");
    if (x === null) return tip(event, null);
    rule.setAttribute("x1", view.X(x));
    rule.setAttribute("x2", view.X(x));
    const rows = view.live.flatMap(l => l.points.filter(p => p.x === x).map(p => [l, p]));
    const lines = rows.map(([l, p]) => [l, `${l.name}: ${view.show(p.y)}${interval(p)}${p.more || ""}`]);
    tip(event, [
      h("div", {className: "soft"}, `${view.x}: ${num(x)}`),
      ...lines.map(([l, t]) => h("div", {hue: l.hue}, t)),
    ]);
    if (event.keyed) said(`${view.x} ${num(x)}. ${lines.map(([, t]) => t).join(". ")}`);
  };
  svg.append(rule);
  svg.addEventListener("pointermove", e => {
    const x = e.clientX - svg.getBoundingClientRect().left;
    point(
      e,
      stops.reduce((best, v) => (Math.abs(view.X(v) - x) < Math.abs(view.X(best) - x) ? v : best)),
    );
  });
  svg.addEventListener("pointerleave", e => point(e, null));
  svg.addEventListener("blur", e => point(e, null));
  svg.addEventListener("keydown", e => {
    const turn = {ArrowRight: 1, ArrowLeft: -1}[e.key];
    if (!turn && e.key !== "Escape") return;
    e.preventDefault();
    const next = turn
      ? stops[Math.max(0, Math.min(stops.length - 1, cursor === null ? 0 : stops.indexOf(cursor) + turn))]
      : null;
    const box = svg.getBoundingClientRect();
    point(
      {clientX: box.left + (next === null ? 0 : view.X(next)), clientY: box.top + view.bottom / 2, keyed: true},
      next,
    );
  });
}

function legend(series, hidden, redraw) {
  const sign = line =>
    s(
      "svg",
      {"aria-hidden": "true"},
      line.points.length > 1 && s("path", {class: "line", d: "M0 5H24", "stroke-dasharray": line.dash}),
      dot(line, 12, 5),
    );
  return h(
    "div",
    {className: "legend"},
    series.map(line => {
      const press = () => {
        if (!hidden.delete(line.name)) hidden.add(line.name);
        button.ariaPressed = String(!hidden.has(line.name));
        redraw();
      };
      const button = h(
        "button",
        {type: "button", hue: line.hue, ariaPressed: "true", title: "Show or hide", onclick: press},
        sign(line),
        line.name,
      );
      return button;
    }),
  );
}
function values(series, x, show) {
  const head = ["", x, "value", "low", "high", ""].map(text => h("th", {scope: "col"}, text));
  const cells = (line, p) => [
    line.name,
    num(p.x),
    ...[p.y, p.low, p.high].map(v => show(v)),
    (p.more || "").replace(/^, /, ""),
  ];
  const rows = series.flatMap(line =>
    line.points.map(p =>
      h(
        "tr",
        {},
        cells(line, p).map(text => h("td", {}, text)),
      ),
    ),
  );
  return h(
    "div",
    {className: "scroll"},
    h("table", {className: "plain"}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)),
  );
}
