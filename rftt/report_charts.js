// Line charts: inline SVG drawn at the width of its box, with intervals, hover and arrow keys.
function roundStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map(m => m * power).find(v => v >= raw * 0.999);
}
function ticks(low, high, step) {
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
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
    const near = Math.min(reach, i, points.length - 1 - i), around = points.slice(i - near, i + near + 1);
    return {...p, y: around.reduce((sum, q) => sum + q.y, 0) / around.length};
  });
}
// spec: {title, note, x (name of the axis), log, percent, height, table, series: [{name, hue, dash, square, points: [{x, y, low, high, more}]}]}
function lineChart(spec) {
  const hidden = new Set(), show = spec.percent ? percent : num;
  const series = spec.series.map(line => ({...line, points: line.points.filter(p => Number.isFinite(p.x) && Number.isFinite(p.y))}))
    .filter(line => line.points.length);
  const plot = h("div", {className: "plot"});
  let width = 0, cursor = null;

  function draw() {
    const W = width, H = spec.height, left = 44, right = 12, top = 10, bottom = 34;
    const live = series.filter(line => !hidden.has(line.name));
    const points = live.flatMap(line => line.points), xs = points.map(p => p.x);
    if (!points.length) return plot.replaceChildren(h("p", {className: "soft small"}, "Nothing is switched on."));
    const logarithmic = spec.log && Math.min(...xs) > 0 && Math.max(...xs) >= 6 * Math.min(...xs);
    const at = v => logarithmic ? Math.log(v) : v;
    let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
    if (x0 === x1) [x0, x1] = logarithmic ? [x0 / 2, x1 * 2] : [x0 - 1, x1 + 1];
    const ys = points.flatMap(p => [p.y, p.low, p.high]).filter(Number.isFinite);
    let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
    if (y0 > 0 && y0 < 0.4 * y1) y0 = 0;
    if (y1 - y0 < 1e-12) [y0, y1] = [y0 - (Math.abs(y0) * 0.1 || 0.5), y1 + (Math.abs(y1) * 0.1 || 0.5)];
    const gap = roundStep((y1 - y0) / Math.max(3, H / 55));
    y0 = Math.floor(y0 / gap + 1e-6) * gap;
    y1 = Math.ceil(y1 / gap - 1e-6) * gap;
    const X = v => left + (at(v) - at(x0)) / (at(x1) - at(x0)) * (W - left - right);
    const Y = v => H - bottom - (v - y0) / (y1 - y0) * (H - top - bottom);
    const path = list => list.map((p, i) => `${i ? "L" : "M"}${X(p.x).toFixed(1)} ${Y(p.y).toFixed(1)}`).join("");
    let last = -99;
    const xTicks = (logarithmic ? logTicks(xs) : ticks(x0, x1, roundStep((x1 - x0) / Math.max(2, W / 110)))).filter(t => {
      const free = X(t) - last > 30;
      if (free) last = X(t);
      return free;
    });
    const svg = s("svg", {width: W, height: H, viewBox: `0 0 ${W} ${H}`, tabindex: 0, role: "img", "aria-label":
      `${spec.title}: ${live.map(l => `${l.name} from ${show(l.points[0].y)} to ${show(l.points.at(-1).y)}`).join("; ")}. Arrow keys read the values.`},
    ticks(y0, y1, gap).map(t => [s("line", {class: "grid", x1: left, x2: W - right, y1: Y(t), y2: Y(t)}),
      s("text", {x: left - 6, y: Y(t) + 4, "text-anchor": "end"}, spec.percent ? percent(t, 0) : num(t))]),
    s("line", {class: "axis", x1: left, x2: W - right, y1: H - bottom, y2: H - bottom}),
    xTicks.map(t => s("text", {x: X(t), y: H - bottom + 15, "text-anchor": "middle"}, num(t))),
    s("text", {x: (left + W - right) / 2, y: H - 3, "text-anchor": "middle"}, spec.x + (logarithmic ? " (log)" : "")));
    for (const line of live) {
      const ranged = line.points.filter(p => Number.isFinite(p.low) && Number.isFinite(p.high));
      const long = line.points.length > 60, group = s("g", {hue: line.hue});
      if (ranged.length > 1) group.append(s("path", {class: "band",
        d: `${path(ranged.map(p => ({x: p.x, y: p.low})))}${path(ranged.map(p => ({x: p.x, y: p.high})).reverse()).replace("M", "L")}Z`}));
      if (long) group.append(s("path", {class: "line faint", d: path(line.points)}));
      group.append(s("path", {class: "line", d: path(long ? smoothed(line.points) : line.points), "stroke-dasharray": line.dash}));
      if (line.points.length <= 24) for (const p of line.points) group.append(line.square
        ? s("rect", {class: "dot", x: X(p.x) - 3.5, y: Y(p.y) - 3.5, width: 7, height: 7})
        : s("circle", {class: "dot", cx: X(p.x), cy: Y(p.y), r: 3.8}));
      svg.append(group);
    }
    const rule = s("line", {class: "cursor", y1: top, y2: H - bottom, visibility: "hidden"});
    const stops = [...new Set(xs)].sort((a, b) => a - b);
    const point = (event, x) => {
      cursor = x;
      rule.setAttribute("visibility", x === null ? "hidden" : "visible");
      if (x === null) return tip(event, null);
      rule.setAttribute("x1", X(x)); rule.setAttribute("x2", X(x));
      const rows = live.flatMap(l => l.points.filter(p => p.x === x).map(p => [l, p]));
      const lines = rows.map(([l, p]) => [l, `${l.name}: ${show(p.y)}${Number.isFinite(p.low) ? ` (${show(p.low)} – ${show(p.high)})` : ""}${p.more || ""}`]);
      tip(event, [h("div", {className: "soft"}, `${spec.x}: ${num(x)}`), ...lines.map(([l, t]) => h("div", {hue: l.hue}, t))]);
      if (event.keyed) said(`${spec.x} ${num(x)}. ${lines.map(([, t]) => t).join(". ")}`);
    };
    svg.append(rule);
    svg.addEventListener("pointermove", e => {
      const x = e.clientX - svg.getBoundingClientRect().left;
      point(e, stops.reduce((best, v) => Math.abs(X(v) - x) < Math.abs(X(best) - x) ? v : best));
    });
    svg.addEventListener("pointerleave", e => point(e, null));
    svg.addEventListener("blur", e => point(e, null));
    svg.addEventListener("keydown", e => {
      const turn = {ArrowRight: 1, ArrowLeft: -1}[e.key];
      if (!turn && e.key !== "Escape") return;
      e.preventDefault();
      const next = turn ? stops[Math.max(0, Math.min(stops.length - 1, cursor === null ? 0 : stops.indexOf(cursor) + turn))] : null;
      const box = svg.getBoundingClientRect();
      point({clientX: box.left + (next === null ? 0 : X(next)), clientY: box.top + H / 2, keyed: true}, next);
    });
    plot.replaceChildren(svg);
  }
  new ResizeObserver(([entry]) => {
    if (entry.contentRect.width && Math.abs(entry.contentRect.width - width) > 0.5) { width = entry.contentRect.width; draw(); }
  }).observe(plot);
  plot.style.minHeight = `${spec.height}px`;
  const legend = series.length > 1 && h("div", {className: "legend"}, series.map(line => {
    const button = h("button", {type: "button", hue: line.hue, ariaPressed: "true", title: "Show or hide", onclick: () => {
      if (!hidden.delete(line.name)) hidden.add(line.name);
      button.ariaPressed = String(!hidden.has(line.name));
      draw();
    }}, s("svg", {"aria-hidden": "true"}, s("path", {class: "line", d: "M0 5H24", "stroke-dasharray": line.dash}),
      line.square ? s("rect", {class: "dot", x: 8.5, y: 1.5, width: 7, height: 7}) : s("circle", {class: "dot", cx: 12, cy: 5, r: 3.8})), line.name);
    return button;
  }));
  const table = spec.table && lazy("Values", () => h("div", {className: "scroll"}, h("table", {className: "plain"},
    h("thead", {}, h("tr", {}, ["", spec.x, "value", "low", "high", ""].map(t => h("th", {scope: "col"}, t)))),
    h("tbody", {}, series.flatMap(line => line.points.map(p => h("tr", {}, h("td", {}, line.name), h("td", {}, num(p.x)),
      [p.y, p.low, p.high].map(v => h("td", {}, show(v))), h("td", {}, (p.more || "").replace(/^, /, "")))))))));
  return h("figure", {className: series.length > 4 ? "chart many" : "chart"}, h("figcaption", {}, h("b", {}, spec.title), h("span", {className: "soft small"}, spec.note)), legend, plot, table);
}
function lazy(title, make, props) {
  const node = h("details", {...props, ontoggle: () => { if (node.open && !node.dataset.made) { node.dataset.made = "1"; node.append(make()); } }},
    h("summary", {className: props ? null : "small soft"}, title));
  return node;
}
