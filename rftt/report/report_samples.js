// Answers of the evaluation: counts by verdict, level and function, and a browser of failures and right answers.
const KINDS = {__proto__: null, greedy: "greedy", samples: "sampled"};
const NOT_CORRECT = "not correct";

// Verdicts as they are counted: an answer that nobody graded is "answered".
const verdictOf = name => (name === "None" || name === "null" || !name ? "answered" : name);

function samples(body, run) {
  const parts = run.samples;
  if (!parts.length) return;
  const all = parts.flatMap(part =>
    part.records.map(r => ({...r, part, verdict: verdictOf(r.verdict), functions: r.functions || []})),
  );
  for (const r of all) r.haystack = `${r.question_id}\n${r.question}\n${r.text}\n${r.answer}\n${r.gold}`.toLowerCase();
  const failed = all.some(r => r.verdict !== "correct" && r.verdict !== "answered");
  const start = {
    benchmark: "",
    model: "",
    kind: "",
    verdict: failed ? NOT_CORRECT : "",
    level: "",
    subject: "",
    used: "",
    unused: "",
    format: "",
    text: "",
  };
  const wanted = {...start};
  const list = h("div", {}),
    head = h("p", {className: "soft small", role: "status"});
  const distinct = values => [...new Set(values.filter(v => v !== null && v !== undefined).map(String))];
  const sorted = values => values.sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
  let limit = 20,
    fit = [];

  const holds = {
    benchmark: r => !wanted.benchmark || benchmarkName(r.part.benchmark) === wanted.benchmark,
    model: r => !wanted.model || r.part.model === wanted.model,
    kind: r => !wanted.kind || r.part.kind === wanted.kind,
    verdict: r =>
      !wanted.verdict || (wanted.verdict === NOT_CORRECT ? r.verdict !== "correct" : r.verdict === wanted.verdict),
    level: r => !wanted.level || String(r.level) === wanted.level,
    subject: r => !wanted.subject || String(r.subject) === wanted.subject,
    used: r => !wanted.used || r.functions.includes(wanted.used),
    unused: r => !wanted.unused || !r.functions.includes(wanted.unused),
    format: r => !wanted.format || String(r.well_formed) === wanted.format,
    text: r => r.haystack.includes(wanted.text),
  };
  const plainSample = ({haystack, part, ...r}) => ({
    model: part.model,
    ...(part.benchmark ? {benchmark: part.benchmark} : {}),
    decoding: part.kind,
    ...r,
  });
  const entry = r =>
    lazy(
      [
        state(r.verdict),
        h("span", {className: "small"}, [modelName(r.part.model), KINDS[r.part.kind]].filter(Boolean).join(", ")),
        h("span", {className: "soft small"}, String(r.question_id ?? "")),
        h("span", {className: "cut"}, r.question),
        h("span", {className: "small"}, `answer ${r.answer ?? "–"} · gold ${r.gold ?? "–"}`),
      ],
      () =>
        h(
          "div",
          {},
          h("p", {className: "text"}, r.question),
          chain(r.text),
          facts([
            ["answer", r.answer ?? "–"],
            ["gold", r.gold ?? "–"],
            ["tokens", num(r.tokens)],
            ...(typeof r.well_formed === "boolean"
              ? [["chain", r.well_formed ? "well formed" : "not well formed"]]
              : []),
            ...(r.candidates ? [["chosen from", plural(r.candidates, "candidate")]] : []),
            ...(r.vote ? [["vote", r.vote]] : []),
            ...(r.stopped === false ? [["end", "cut off at the limit"]] : []),
            ...["level", "subject"].filter(k => r[k] != null).map(k => [k, String(r[k])]),
          ]),
          h(
            "div",
            {className: "buttons"},
            copyButton("Copy as JSON", "Answer", () => plainSample(r)),
            RUNS.length === 1 &&
              (drawNow("trees"), run.hasTree?.(r)) &&
              h("button", {type: "button", onclick: () => run.showTree(r)}, "Show its search tree"),
          ),
        ),
      {className: "entry"},
    );
  const show = () => {
    fit = all.filter(r => Object.values(holds).every(hold => hold(r)));
    head.textContent = `${plural(fit.length, "answer")} of this page fit${fit.length === 1 ? "s" : ""}.`;
    list.replaceChildren(...fit.slice(0, limit).map(entry));
    if (fit.length <= limit) return;
    const more = () => {
      limit += 40;
      show();
    };
    list.append(h("button", {type: "button", onclick: more}, `Show more (${fit.length - limit} left)`));
  };
  const fields = {};
  const set = (key, value) => {
    wanted[key] = value;
    if (fields[key]) fields[key].value = value;
    limit = 20;
    show();
  };
  const pick = (label, key, options, all = "all") => {
    if (options.length < 2 && key !== "used" && key !== "unused") return null;
    const found = choice(label, [["", all], ...options], value => set(key, value));
    found.select.value = wanted[key];
    fields[key] = found.select;
    return found.node;
  };
  // What a number in a table stands for becomes the filter.
  const jump = (part, filter) => {
    Object.assign(wanted, start, {
      verdict: "",
      model: part.model,
      kind: part.kind,
      benchmark: benchmarkName(part.benchmark),
    });
    Object.assign(wanted, filter);
    for (const [key, field] of Object.entries(fields)) field.value = wanted[key];
    tools.querySelector("input").value = "";
    limit = 20;
    show();
    tools.scrollIntoView({block: "nearest"});
  };
  const verdicts = distinct(all.map(r => r.verdict)).sort();
  const used = DATA.functions.filter(name => all.some(r => r.functions.includes(name)));
  const tools = h(
    "div",
    {className: "tools"},
    pick(
      "Benchmark",
      "benchmark",
      distinct(parts.map(p => benchmarkName(p.benchmark))).map(b => [b, b]),
    ),
    pick(
      "Model",
      "model",
      models(distinct(parts.map(p => p.model))).map(m => [m, modelName(m)]),
    ),
    pick(
      "Decoding",
      "kind",
      distinct(parts.map(p => p.kind)).map(k => [k, KINDS[k] || k]),
    ),
    pick("Verdict", "verdict", [
      [NOT_CORRECT, NOT_CORRECT],
      ...verdicts.map(v => [v, (STATES[v] || ["", v]).join(" ")]),
    ]),
    pick(
      "Level",
      "level",
      sorted(distinct(all.map(r => r.level))).map(l => [l, l]),
    ),
    pick(
      "Subject",
      "subject",
      sorted(distinct(all.map(r => r.subject))).map(v => [v, v]),
    ),
    pick(
      "Uses",
      "used",
      used.map(f => [f, f]),
      "any function",
    ),
    pick(
      "Does not use",
      "unused",
      used.map(f => [f, f]),
      "–",
    ),
    pick("Chain", "format", [
      ["true", "well formed"],
      ["false", "not well formed"],
    ]),
    search("Text", "question, answer or text", value => set("text", value)),
    copyButton("Copy as JSON", "Answers", () => fit.map(plainSample)),
  );
  const shownOf = p =>
    `${p.records.filter(r => r.verdict !== "correct").length} of ${plural(p.failures, "failure")}, ` +
    `${p.records.filter(r => r.verdict === "correct").length} of ${(p.total - p.failures).toLocaleString("en")} right`;
  const partName = p => [p.benchmark, modelName(p.model), KINDS[p.kind] || p.kind].filter(Boolean).join(", ");
  const number = (n, label, press) =>
    h("button", {type: "button", className: "link", ariaLabel: label, onclick: press}, num(n));
  add(
    body,
    table(
      "Verdicts of all answers",
      ["", "answers", "verdicts", "chains", "in this page"],
      parts.map(p => [
        partName(p),
        num(p.total),
        Object.entries(p.verdicts).map(([v, n], i) => [
          i ? " · " : "",
          state(verdictOf(v)),
          " ",
          number(n, `${partName(p)}: ${n} ${verdictOf(v)}`, () => jump(p, {verdict: verdictOf(v)})),
        ]),
        p.kind in KINDS ? `${num(p.well_formed)} well formed` : "",
        shownOf(p),
      ]),
    ),
    crossTable(parts, "levels", "level", partName, (p, value) => jump(p, {level: value, verdict: NOT_CORRECT})),
    crossTable(parts, "functions", "function", partName, (p, value) => jump(p, {used: value, verdict: NOT_CORRECT})),
    tools,
    head,
    list,
  );
  show();
}

// Share of right answers by level or by function used, one column for each file of answers.
function crossTable(parts, key, what, partName, press) {
  const shown = parts.filter(p => Object.keys(p[key] || {}).length);
  let values = [...new Set(shown.flatMap(p => Object.keys(p[key])))];
  if (!values.length) return null;
  values =
    key === "functions"
      ? DATA.functions.filter(name => values.includes(name))
      : values.sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
  const cell = (p, value) => {
    const counts = p[key][value];
    if (!counts) return "–";
    const all = Object.values(counts).reduce((a, b) => a + b, 0),
      right = counts.correct || 0;
    return h(
      "button",
      {
        type: "button",
        className: "link",
        title: `the failures of ${partName(p)}, ${what} ${value}`,
        onclick: () => press(p, value),
      },
      share(right / all, "reasoning"),
      h("span", {className: "soft"}, ` of ${num(all)}`),
    );
  };
  return lazy(`Right answers by ${what}`, () =>
    table(
      `Right answers by ${what}${key === "functions" ? " that the chain uses" : ""}`,
      [what, ...shown.map(partName)],
      values.map(value => [key === "functions" ? functionBadge(value) : value, ...shown.map(p => cell(p, value))]),
    ),
  );
}
