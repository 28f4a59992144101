// The sections of the page, and their order.
const date = value => new Date(value).toLocaleString("en-GB", {dateStyle: "medium", timeStyle: "short"});
const flat = (value, place = "") =>
  Object.entries(value || {}).flatMap(([k, v]) =>
    v && typeof v === "object" && !Array.isArray(v)
      ? flat(v, `${place}${k}.`)
      : [[place + k, Array.isArray(v) ? v.join(", ") : String(v)]],
  );

function header(head) {
  const [first, last] = DATA.times.map(t => t * 1000),
    seeds = Object.entries(DATA.seeds),
    versions = flat(DATA.summary.versions);
  add(
    head,
    h("h1", {}, DATA.name),
    h("div", {className: "soft"}, "Report of a run with functional tokens, written ", date(DATA.written)),
    facts(
      [
        first && ["Logged", `${date(first)} – ${date(last)}`],
        seeds.length && ["Seed", seeds.map(([k, v]) => (k === "seed" ? v : `${v} (${k})`)).join(", ")],
        DATA.summary.command && ["Command", h("code", {}, String(DATA.summary.command))],
        versions.length && ["Versions", versions.map(([k, v]) => `${k} ${v}`).join(" · ")],
      ].filter(Boolean),
    ),
    DATA.notes.length > 0 &&
      h(
        "div",
        {className: "notes"},
        DATA.notes.map(text => h("p", {className: "note"}, text)),
      ),
  );
}

function results(body) {
  const found = DATA.summary.models || {},
    shown = models(Object.keys(found));
  if (!shown.length) return;
  const place = name => {
    const i = METRICS.findIndex(([pattern]) => pattern.test(name));
    return (i < 0 ? METRICS.length : i) * 1e6 + Number((name.match(/\d+$/) || [0])[0]);
  };
  // The size of the vote at equal tokens differs from model to model; where each has one, they share a row.
  const vote = name => name.startsWith("maj@");
  const single = shown.every(m => Object.keys(found[m]).filter(vote).length < 2);
  const rowOf = name => (single && vote(name) ? "maj@k" : name);
  const names = [...new Set(shown.flatMap(m => Object.keys(found[m]).map(rowOf)))].sort((a, b) => place(a) - place(b));
  const why = name => {
    const [pattern, text] = METRICS.find(([p]) => p.test(name)) || [];
    return text ? name.replace(pattern, text) : "";
  };
  const cell = (cellOf, row) => {
    const name = Object.keys(found[cellOf]).find(key => rowOf(key) === row),
      m = found[cellOf][name];
    if (!m || typeof m.value !== "number") return h("td", {className: "soft"}, "–");
    const ranged = typeof m.low === "number" && typeof m.high === "number",
      x = v => `${2 + 96 * Math.max(0, Math.min(1, v))}%`;
    const more = [
      name !== row && name.replace("maj@", "k "),
      typeof m.tokens === "number" && `${num(Number(m.tokens.toPrecision(4)))} tokens`,
      typeof m.n === "number" && `n ${m.n}`,
    ];
    return h(
      "td",
      {
        title: `${modelName(cellOf)}, ${name}: ${percent(m.value)}`,
      },
      h("span", {className: "value"}, percent(m.value)),
      " ",
      ranged && h("span", {className: "small soft"}, `${percent(m.low).replace("\u00a0%", "")} – ${percent(m.high)}`),
      s(
        "svg",
        {class: "bar", hue: modelHue(cellOf), "aria-hidden": "true"},
        s("line", {
          x1: x(0),
          x2: x(1),
          y1: 8,
          y2: 8,
          stroke: "var(--track)",
          "stroke-width": 6,
          "stroke-linecap": "round",
        }),
        ranged && s("line", {x1: x(m.low), x2: x(m.high), y1: 8, y2: 8, stroke: "var(--color)", "stroke-width": 2}),
        ranged &&
          [m.low, m.high].map(v =>
            s("line", {x1: x(v), x2: x(v), y1: 4, y2: 12, stroke: "var(--color)", "stroke-width": 1.5}),
          ),
        s("circle", {class: "dot", cx: x(m.value), cy: 8, r: 5}),
      ),
      h("div", {className: "small soft"}, more.filter(Boolean).join(" · ")),
    );
  };
  const main = ["pass@1", "greedy"].find(name => shown.filter(m => found[m][name]).length > 1);
  const lines = shown
    .slice(1)
    .map((m, i) => [shown[i], m])
    .filter(([a, b]) => main && found[a][main] && found[b][main])
    .map(([a, b]) => {
      const [before, after] = [found[a][main], found[b][main]],
        gain = 100 * (after.value - before.value);
      const apart = after.low > before.high || after.high < before.low;
      return h(
        "li",
        {},
        h("b", {}, `${modelName(b)} against ${modelName(a)}: `),
        `${gain < 0 ? "−" : "+"}${Math.abs(gain).toFixed(1)} points ${main}`,
        Number.isFinite(before.high + after.low) && (apart ? "; the intervals are apart." : "; the intervals overlap."),
      );
    });
  add(
    body,
    lines.length ? h("ul", {className: "headline"}, lines) : "",
    h(
      "div",
      {className: "scroll", tabIndex: 0, ariaLabel: "Results"},
      h(
        "table",
        {className: "results"},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {scope: "col"}, "Measure"),
            shown.map(m => h("th", {scope: "col"}, modelName(m))),
          ),
        ),
        h(
          "tbody",
          {},
          names.map(name =>
            h(
              "tr",
              {},
              h("th", {scope: "row"}, name, h("span", {className: "why"}, why(name))),
              shown.map(m => cell(m, name)),
            ),
          ),
        ),
      ),
    ),
  );
}

function budget(body) {
  const sources = [
    ["search", DATA.summary.curves || {}, "rollouts"],
    ["majority", DATA.summary.majority || {}, "k"],
  ];
  const lines = x =>
    models([...new Set(sources.flatMap(([, found]) => Object.keys(found)))]).flatMap(model =>
      sources
        .filter(([, found]) => found[model])
        .map(([strategy, found, key]) => ({
          name: `${modelName(model)}, ${strategy}`,
          hue: modelHue(model),
          square: strategy === "majority",
          dash: strategy === "majority" ? "5 4" : null,
          points: found[model]
            .map(p => ({
              x: x === "tokens" ? p.tokens : p[key],
              y: p.value,
              low: p.low,
              high: p.high,
              more:
                x === "tokens"
                  ? `, ${key} ${num(p[key])}`
                  : typeof p.tokens === "number"
                    ? `, ${num(p.tokens)} tokens`
                    : "",
            }))
            .sort((a, b) => a.x - b.x),
        })),
    );
  if (!lines("").length) return;
  const common = {log: true, percent: true, height: 320, table: true};
  add(
    body,
    h(
      "div",
      {className: "charts wide"},
      lineChart({
        ...common,
        title: "Over rollouts",
        note: "Search: rollouts of one tree. Majority: independent samples that vote.",
        x: "rollouts or samples",
        series: lines(""),
      }),
      lineChart({
        ...common,
        title: "Over generated tokens",
        note: "The same answers at what they cost: the fair comparison.",
        x: "tokens per question",
        series: lines("tokens"),
      }),
    ),
  );
}

function training(body) {
  const phases = [...new Set(DATA.metrics.map(c => c.phase))],
    known = Object.keys(CURVES);
  for (const phase of phases) {
    const groups = new Map();
    for (const curve of DATA.metrics.filter(c => c.phase === phase)) {
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
    // A curve is known by its own name or by its prefix.
    const nameOf = key => [key, key.slice(0, key.lastIndexOf("/") + 1)].find(name => name in CURVES);
    const rank = ([key]) => {
      const i = known.indexOf(nameOf(key));
      return i < 0 ? known.length : i;
    };
    charts.sort((a, b) => rank(a) - rank(b) || (a[0] < b[0] ? -1 : 1));
    const draw = ([key, curves]) =>
      lineChart({
        title: words(curves.length > 1 ? key.replace(/\/$/, "") : curves[0].name),
        note: CURVES[nameOf(key)] || "",
        x: "step",
        height: 190,
        series: curves.map((c, i) => ({
          name: curves.length > 1 ? c.short : words(c.name),
          points: c.points.map(([x, y]) => ({x, y})),
          hue: functionHue(c.short) ?? hue(i),
          dash: [null, "6 3", "2 3", "8 3 2 3"][i % 4],
        })),
      });
    const split = charts.filter(c => rank(c) < known.length).length || charts.length;
    const rest = charts.length - split > 4 ? charts.splice(split) : [];
    const steps = Math.max(...DATA.metrics.filter(c => c.phase === phase).map(c => c.steps));
    const thinned = DATA.metrics.some(c => c.phase === phase && c.steps > c.points.length);
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
      h("div", {className: "charts"}, charts.map(draw)),
      rest.length
        ? lazy(`${plural(rest.length, "more curve")}`, () => h("div", {className: "charts"}, rest.map(draw)))
        : "",
    );
  }
}

function time(body) {
  const spent = Object.entries(DATA.summary.seconds || {}).filter(([, t]) => typeof t === "number");
  if (!spent.length) return;
  const longest = Math.max(...spent.map(([, t]) => t));
  add(
    body,
    h(
      "div",
      {className: "card"},
      h(
        "div",
        {className: "spans"},
        spent.map(([phase, t]) => [
          h("span", {}, phase),
          h("i", {vars: {width: `${(100 * t) / longest}%`}}),
          h("span", {className: "num"}, seconds(t)),
        ]),
      ),
      h("p", {className: "soft small total"}, `${seconds(spent.reduce((sum, [, t]) => sum + t, 0))} in all.`),
    ),
  );
}

function run(body) {
  const counts = flat(DATA.summary.data),
    versions = flat(DATA.summary.versions);
  if (counts.length)
    add(body, h("h3", {}, "Data"), h("div", {className: "card"}, facts(counts.map(([k, v]) => [words(k), v]))));
  if (versions.length) add(body, h("h3", {}, "Versions"), h("div", {className: "card"}, facts(versions)));
  if (DATA.config)
    add(
      body,
      h("h3", {}, "Settings"),
      h("details", {className: "card"}, h("summary", {}, "config.yaml"), h("pre", {}, DATA.config)),
    );
}

const SECTIONS = {results, budget, training, time, trees, chains, rollouts, samples, run};
header(document.getElementById("head"));
for (const [id, draw] of Object.entries(SECTIONS)) {
  const body = document.querySelector(`#${id} .body`);
  try {
    draw(body);
  } catch (error) {
    // A record of another shape must not take the other sections with it.
    console.error(error);
    add(body, h("p", {className: "note"}, `This section could not be drawn: ${error.message}`));
  }
  add(
    body,
    ...DATA.missing
      .filter(m => m.section === id)
      .map(m => h("p", {className: "note"}, `Missing: ${m.what}. `, h("code", {}, m.command), " makes it.")),
  );
}
document.documentElement.dataset.drawn = "yes";
