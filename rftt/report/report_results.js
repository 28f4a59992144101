// Results with their intervals, one or several runs side by side, and accuracy over what the answers cost.
const BENCHMARKS = [...new Set(RUNS.flatMap(run => run.measures.map(part => part.name)))];
const benchmarkName = name => name || "held-out questions";
const partOf = (run, name) => run.measures.find(part => part.name === name) || {models: {}};
const runHue = run => hue(RUNS.indexOf(run));
const HUES = new Map(); // of a model in a run
function lineHue(run, model) {
  if (RUNS.length === 1) return modelHue(model);
  const key = `${RUNS.indexOf(run)}/${model}`;
  if (!HUES.has(key)) HUES.set(key, hue(HUES.size));
  return HUES.get(key);
}
const lineName = (run, model) => (RUNS.length > 1 ? `${run.name}, ${modelName(model)}` : modelName(model));

// A part of a section that is drawn for one benchmark; where there are several, the reader chooses.
function perBenchmark(body, draw) {
  const stage = h("div", {}),
    show = name => stage.replaceChildren(...[draw(name)].flat(Infinity).filter(Boolean));
  const pick =
    BENCHMARKS.length > 1 &&
    choice(
      "Benchmark",
      BENCHMARKS.map(b => [b, benchmarkName(b)]),
      show,
    );
  add(body, pick && h("div", {className: "tools"}, pick.node), stage);
  show(BENCHMARKS[0]);
}

function resultCell(m, {title, more, each, color}) {
  if (!m || typeof m.value !== "number") return h("td", {className: "soft"}, "–");
  const ranged = typeof m.low === "number" && typeof m.high === "number",
    x = v => `${2 + 96 * Math.max(0, Math.min(1, v))}%`;
  const stroke = {stroke: "var(--color)", "stroke-width": 2};
  const track = {stroke: "var(--track)", "stroke-width": 6, "stroke-linecap": "round"};
  return h(
    "td",
    {title: `${title}: ${percent(m.value)}`},
    h("span", {className: "value"}, percent(m.value)),
    " ",
    ranged && h("span", {className: "small soft"}, `${percent(m.low).replace("\u00a0%", "")} – ${percent(m.high)}`),
    s(
      "svg",
      {class: "bar", hue: color, "aria-hidden": "true"},
      s("line", {x1: x(0), x2: x(1), y1: 8, y2: 8, ...track}),
      ranged && s("line", {x1: x(m.low), x2: x(m.high), y1: 8, y2: 8, ...stroke}),
      ranged && [m.low, m.high].map(v => s("line", {x1: x(v), x2: x(v), y1: 4, y2: 12, ...stroke})),
      s("circle", {class: "dot", cx: x(m.value), cy: 8, r: 5}),
    ),
    h(
      "div",
      {className: "small soft"},
      [
        ...more,
        typeof m.tokens === "number" && `${num(Number(m.tokens.toPrecision(4)))} tokens`,
        typeof m.n === "number" && `n ${m.n}`,
      ]
        .filter(Boolean)
        .join(" · "),
    ),
    each && h("div", {className: "small soft"}, `${num(Math.round(each))} tokens per right answer`),
  );
}

// Sentences on what changed: from model to model of one run, or from the first run to each other one. Where the evaluation
// kept each question, the difference is paired.
function headline(benchmark, columns) {
  const pairs =
    RUNS.length === 1
      ? columns.slice(1).map((c, i) => [columns[i], c])
      : columns
          .filter(c => c.run !== RUNS[0])
          .map(c => [columns.find(a => a.run === RUNS[0] && a.model === c.model), c])
          .filter(([a]) => a);
  const main = ["pass@1", "greedy"].find(name => columns.filter(c => c.metrics[name]).length > 1);
  const names = (a, b) =>
    a.run === b.run
      ? `${modelName(b.model)} against ${modelName(a.model)}`
      : `${modelName(b.model)}, ${b.run.name} against ${a.run.name}`;
  const points = v => `${v < 0 ? "−" : "+"}${Math.abs(100 * v).toFixed(1)}`;
  const isAt = ([run, model], c) => RUNS[run] === c.run && model === c.model;
  return pairs
    .filter(([a, b]) => main && a.metrics[main] && b.metrics[main])
    .map(([a, b]) => {
      const [before, after] = [a.metrics[main], b.metrics[main]],
        apart = after.low > before.high || after.high < before.low;
      const paired = DATA.comparisons.find(
        d => d.benchmark === benchmark && d.metric === main && isAt(d.from, a) && isAt(d.to, b),
      );
      return h(
        "li",
        {},
        h("b", {}, `${names(a, b)}: `),
        `${points(paired ? paired.value : after.value - before.value)} points ${main}`,
        paired
          ? h(
              "span",
              {className: "soft"},
              ` (${points(paired.low)} to ${points(paired.high)}, paired over ${plural(paired.n, "question")}, `,
              `p ${paired.p < 0.001 ? "< 0.001" : `= ${paired.p.toFixed(3)}`}, ${paired.test})`,
            )
          : Number.isFinite(before.high + after.low) &&
              (apart ? "; the intervals are apart." : "; the intervals overlap."),
      );
    });
}

function resultsTable(benchmark) {
  // The same model of several runs stands side by side.
  const shown = models([...new Set(RUNS.flatMap(run => Object.keys(partOf(run, benchmark).models)))]);
  const columns = shown.flatMap(model =>
    RUNS.map(run => ({run, model, metrics: partOf(run, benchmark).models[model]})).filter(c => c.metrics),
  );
  if (!columns.length) return h("p", {className: "soft"}, "Nothing was measured here.");
  const place = name => {
    const i = METRICS.findIndex(([pattern]) => pattern.test(name));
    return (i < 0 ? METRICS.length : i) * 1e6 + Number((name.match(/\d+/) || [0])[0]);
  };
  // The size of the vote at equal tokens differs from model to model; where each has one, they share a row.
  const vote = name => name.startsWith("maj@");
  const single = columns.every(c => Object.keys(c.metrics).filter(vote).length < 2);
  const rowOf = name => (single && vote(name) ? "maj@k" : name);
  const names = [...new Set(columns.flatMap(c => Object.keys(c.metrics).map(rowOf)))];
  names.sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
  const why = name => {
    const [pattern, text] = METRICS.find(([p]) => p.test(name)) || [];
    return text ? name.replace(pattern, text) : "";
  };
  const cell = (c, row) => {
    const name = Object.keys(c.metrics).find(key => rowOf(key) === row);
    const each = ((partOf(c.run, benchmark).tokens_per_correct || {})[c.model] || {})[name];
    return resultCell(c.metrics[name], {
      title: `${lineName(c.run, c.model)}, ${name}`,
      more: [name !== row && (name || "").replace("maj@", "k ")],
      each,
      color: RUNS.length > 1 ? runHue(c.run) : modelHue(c.model),
    });
  };
  const lines = headline(benchmark, columns);
  return [
    lines.length ? h("ul", {className: "headline"}, lines) : "",
    h(
      "div",
      {className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Results"},
      h(
        "table",
        {className: "results"},
        h(
          "thead",
          {},
          RUNS.length > 1 &&
            h(
              "tr",
              {},
              h("th", {}),
              shown.map(model => {
                const colSpan = columns.filter(c => c.model === model).length;
                return h("th", {scope: "colgroup", colSpan, className: "of-run"}, modelName(model));
              }),
            ),
          h(
            "tr",
            {},
            h("th", {scope: "col"}, "Measure"),
            columns.map(c => h("th", {scope: "col"}, RUNS.length > 1 ? c.run.name : modelName(c.model))),
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
              columns.map(c => cell(c, name)),
            ),
          ),
        ),
      ),
    ),
    h(
      "div",
      {className: "buttons"},
      copyButton("Copy as JSON", "Results", () =>
        Object.fromEntries(RUNS.map(run => [run.name, partOf(run, benchmark).models])),
      ),
    ),
    resultGroups(benchmark, columns),
    resultLengths(benchmark, columns),
  ];
}

// How long answers are, how many were cut off, and which training questions were too near.
function resultLengths(benchmark, columns) {
  const of = (c, key) => (partOf(c.run, benchmark)[key] || {})[c.model] || {};
  const rows = columns.flatMap(c =>
    Object.entries(of(c, "lengths")).map(([kind, l]) => [
      `${lineName(c.run, c.model)}, ${KINDS[kind] || kind}`,
      ...["mean", "median", "p95", "max", "correct", "other"].map(key => num(l[key])),
      percent(l.truncated),
    ]),
  );
  if (!rows.length) return null;
  const overlaps = columns.map(c => [c, of(c, "contamination")]).filter(([, found]) => found.n);
  return lazy("Lengths of answers, overlap with the training questions", () =>
    h(
      "div",
      {},
      table("Tokens of an answer", ["", "mean", "median", "95 %", "longest", "right ones", "others", "cut off"], rows),
      overlaps.length > 0 &&
        table(
          "Overlap with the training questions",
          ["", "n-gram", "in use and overlapping", "left out before", "pass@1 without overlap"],
          overlaps.map(([c, found]) => [
            lineName(c.run, c.model),
            num(found.n),
            num(found.train_overlaps),
            num(found.left_out),
            found.clean ? `${percent(found.clean.value)} of ${num(found.clean.n)}` : "–",
          ]),
        ),
    ),
  );
}

// pass@1 by level, by subject: only where the questions have one.
function resultGroups(benchmark, columns) {
  const of = (c, kind) => ((partOf(c.run, benchmark).groups || {})[c.model] || {})[kind] || {};
  const kinds = ["level", "subject"].filter(kind => columns.some(c => Object.keys(of(c, kind)).length > 1));
  return kinds.map(kind => {
    const values = [...new Set(columns.flatMap(c => Object.keys(of(c, kind))))];
    values.sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
    return lazy(`pass@1 by ${kind}`, () =>
      h(
        "div",
        {className: "scroll"},
        h(
          "table",
          {className: "results"},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              [kind, ...columns.map(c => lineName(c.run, c.model))].map(t => h("th", {scope: "col"}, t)),
            ),
          ),
          h(
            "tbody",
            {},
            values.map(value =>
              h(
                "tr",
                {},
                h("th", {scope: "row"}, value),
                columns.map(c =>
                  resultCell(of(c, kind)[value], {
                    title: `${lineName(c.run, c.model)}, ${kind} ${value}`,
                    more: [],
                    color: RUNS.length > 1 ? runHue(c.run) : modelHue(c.model),
                  }),
                ),
              ),
            ),
          ),
        ),
      ),
    );
  });
}

function results(body) {
  if (RUNS.some(run => run.measures.some(part => Object.keys(part.models).length))) perBenchmark(body, resultsTable);
  if (DATA.differences.length)
    add(
      body,
      h(
        "details",
        {className: "differences", open: DATA.differences.length <= 12},
        h(
          "summary",
          {className: "small soft"},
          `${plural(DATA.differences.length, "setting differs", "settings differ")}`,
        ),
        table(
          "Settings that differ",
          ["", ...RUNS.map(run => run.name)],
          DATA.differences.map(row => [row.name, ...row.values.map(v => v ?? "–")]),
        ),
      ),
    );
  for (const run of RUNS) missing(body, "results", run);
}

// How the lines of a strategy look; an unknown strategy takes the looks that are left.
const LOOKS = {
  __proto__: null,
  search: ["circle", null],
  majority: ["square", "5 4"],
  mcts: ["circle", "10 3"],
  best_of_n: ["up", "2 3"],
  beam: ["diamond", "8 3 2 3"],
  dvts: ["down", "6 2 2 2 2 2"],
  "any of k right": ["diamond", "1 4"],
  greedy: ["up", null],
  "one sample": ["diamond", null],
};
// Lines {run, model, strategy, points: [{rollouts, tokens, value, low, high}]} of what a benchmark measured.
function strategyLines(benchmark) {
  return RUNS.flatMap(run => {
    const part = partOf(run, benchmark),
      of = key => part[key] || {};
    const found = [...new Set(["curves", "majority", "strategies", "models"].flatMap(key => Object.keys(of(key))))];
    return models(found).flatMap(model => {
      const single = (name, strategy) => {
        const m = (of("models")[model] || {})[name];
        return m && typeof m.tokens === "number" ? [{strategy, points: [m]}] : [];
      };
      const grouped = new Map();
      for (const p of of("strategies")[model] || []) {
        const name = [p.strategy, p.vote && p.vote !== "majority" && p.vote].filter(Boolean).join(", ");
        grouped.set(name, [...(grouped.get(name) || []), {...p, rollouts: p.unit === "tokens" ? null : p.budget}]);
      }
      return [
        ...(of("curves")[model] ? [{strategy: "search", points: of("curves")[model]}] : []),
        ...(of("majority")[model]
          ? [{strategy: "majority", points: of("majority")[model].map(p => ({...p, rollouts: p.k}))}]
          : []),
        ...[...grouped].map(([strategy, points]) => ({
          strategy: strategy === "majority" ? "majority, alone" : strategy,
          points,
        })),
        ...(of("pass_at_k")[model]?.length > 1
          ? [{strategy: "any of k right", points: of("pass_at_k")[model].map(p => ({...p, rollouts: p.k}))}]
          : []),
        ...single("greedy", "greedy"),
        ...single("pass@1", "one sample"),
      ].map(line => ({...line, run, model}));
    });
  });
}

function budgetCharts(benchmark) {
  const all = strategyLines(benchmark);
  if (!all.some(line => line.points.length > 1))
    return h("p", {className: "soft"}, "No strategy was measured at several budgets.");
  const found = models([...new Set(all.map(l => l.model))]),
    wanted = {model: RUNS.length > 1 ? found.at(-1) : "", strategy: ""}, // of several runs, all would be too many lines
    stage = h("div", {className: "charts wide"});
  const looks = strategy => LOOKS[strategy] || LOOKS[strategy.split(",")[0]] || ["down", "3 3"];
  const series = (x, lines) =>
    lines.map(line => ({
      name: `${lineName(line.run, line.model)}, ${line.strategy}`,
      hue: RUNS.length > 1 && wanted.model ? runHue(line.run) : lineHue(line.run, line.model),
      mark: looks(line.strategy)[0],
      dash: looks(line.strategy)[1],
      points: line.points
        .filter(p => typeof p[x] === "number")
        .map(p => ({
          x: p[x],
          y: p.value,
          low: p.low,
          high: p.high,
          more: [
            x === "tokens" && typeof p.rollouts === "number" && `, ${num(p.rollouts)} rollouts or samples`,
            x !== "tokens" && typeof p.tokens === "number" && `, ${num(p.tokens)} tokens`,
          ]
            .filter(Boolean)
            .join(""),
        }))
        .sort((a, b) => a.x - b.x),
    }));
  const draw = () => {
    const lines = all.filter(
      l => (!wanted.model || l.model === wanted.model) && (!wanted.strategy || l.strategy === wanted.strategy),
    );
    const common = {log: true, percent: true, height: 320, table: true};
    stage.replaceChildren(
      lineChart({
        ...common,
        title: "Over generated tokens",
        note: "The same answers at what they cost: the fair comparison.",
        x: "tokens per question",
        series: series("tokens", lines),
      }),
      lineChart({
        ...common,
        title: "Over rollouts",
        note: "Search: rollouts of one tree. Other strategies: answers that they choose from.",
        x: "rollouts or samples",
        series: series("rollouts", lines),
      }),
    );
  };
  const pick = (label, key, values, name = v => v) => {
    if (values.length < 2) return null;
    const field = choice(label, [["", "all"], ...values.map(v => [v, name(v)])], value => {
      wanted[key] = value;
      draw();
    });
    field.select.value = wanted[key];
    return field.node;
  };
  draw();
  return [
    h(
      "div",
      {className: "tools"},
      pick("Model", "model", found, modelName),
      pick("Strategy", "strategy", [...new Set(all.map(l => l.strategy))]),
      copyButton("Copy as JSON", "Lines", () => all.map(({run, ...line}) => ({run: run.name, ...line}))),
    ),
    stage,
  ];
}

function budget(body) {
  if (RUNS.some(run => run.measures.some(part => Object.keys({...part.curves, ...part.majority}).length)))
    perBenchmark(body, budgetCharts);
  for (const run of RUNS) missing(body, "budget", run);
}
