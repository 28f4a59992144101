// Chains and samples: text of models, one block for each step.
const escaped = text => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const TAGS = new RegExp(`(</?(?:${DATA.functions.map(escaped).join("|")})>)`);

// A chain as blocks, one for each step; what stands outside of a step and tags without a partner stay in view.
function chain(text) {
  const out = h("div", {});
  let step = null;
  const write = part => {
    if (!part.trim()) return;
    (step || out).append(step ? h("pre", {}, part.trim()) : h("div", {className: "step"}, h("pre", {}, part.trim())));
  };
  for (const part of (text || "").split(TAGS)) {
    const name = TAGS.test(part) && !part.startsWith("</") ? part.slice(1, -1) : null;
    if (name && !step) {
      step = h("div", {className: "step", hue: functionHue(name)}, functionBadge(name));
      step.dataset.name = name;
      out.append(step);
    } else if (step && part === `</${step.dataset.name}>`) {
      step = null;
    } else if (TAGS.test(part))
      (step || out).append(h("span", {className: "stray mono", title: "a tag in the wrong place"}, part));
    else write(part);
  }
  if (step) step.append(h("span", {className: "stray mono"}, `</${step.dataset.name}> is missing`));
  return out;
}
const counted = (shown, total, what) =>
  shown === total
    ? `all ${plural(total, what)}`
    : `${shown.toLocaleString("en")} of ${plural(total, what)}, evenly taken`;

function chains(body) {
  if (!DATA.chains) return;
  for (const [kind, total] of Object.entries(DATA.chains.kinds)) {
    const records = DATA.chains.records.filter(r => r.kind === kind);
    add(
      body,
      h("h3", {}, kind, h("span", {className: "soft small"}, ` · ${counted(records.length, total, "chain")}`)),
      records.map((r, i) => {
        const asked = r.messages
          .filter(m => m.role !== "assistant")
          .map(m => m.content)
          .join("\n\n");
        return lazy(
          [
            h("span", {className: "soft small"}, String(r.question_id ?? "")),
            h("span", {className: "cut"}, asked),
            h("span", {}, `answer ${r.answer ?? "–"}`),
          ],
          () =>
            h(
              "div",
              {},
              h("p", {className: "text"}, asked),
              r.messages.filter(m => m.role === "assistant").map(m => chain(m.content)),
            ),
          {className: "entry", open: i === 0},
        );
      }),
    );
  }
}

function samples(body) {
  if (!DATA.samples.length) return;
  const all = DATA.samples.flatMap(part =>
    part.records.map(r => ({...r, model: part.model, verdict: r.verdict || "answered"})),
  );
  for (const r of all) r.haystack = `${r.question_id}\n${r.question}\n${r.text}\n${r.answer}\n${r.gold}`.toLowerCase();
  const wanted = {model: "", verdict: "", format: "", text: ""};
  const list = h("div", {}),
    head = h("p", {className: "soft small", role: "status"});
  let limit = 20;
  const show = () => {
    const fit = all.filter(
      r =>
        (!wanted.model || r.model === wanted.model) &&
        (!wanted.verdict || r.verdict === wanted.verdict) &&
        (!wanted.format || String(r.well_formed) === wanted.format) &&
        r.haystack.includes(wanted.text),
    );
    head.textContent = `${plural(fit.length, "sample")} fit.`;
    list.replaceChildren(
      ...fit
        .slice(0, limit)
        .map(r =>
          lazy(
            [
              state(r.verdict),
              h("span", {className: "small"}, modelName(r.model)),
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
                  ["chain", r.well_formed ? "well formed" : "not well formed"],
                  ...["level", "subject"].filter(k => r[k] != null).map(k => [k, String(r[k])]),
                ]),
              ),
            {className: "entry"},
          ),
        ),
    );
    if (fit.length > limit)
      list.append(
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              limit += 40;
              show();
            },
          },
          `Show more (${fit.length - limit} left)`,
        ),
      );
  };
  const set = key => value => {
    wanted[key] = value.toLowerCase();
    limit = 20;
    show();
  };
  const verdicts = [...new Set(all.map(r => r.verdict))].sort();
  add(
    body,
    h(
      "div",
      {className: "scroll", tabIndex: 0, ariaLabel: "Counts of verdicts"},
      h(
        "table",
        {className: "plain"},
        h(
          "tbody",
          {},
          DATA.samples.map(p =>
            h(
              "tr",
              {},
              h("th", {scope: "row"}, modelName(p.model)),
              h("td", {}, counted(p.records.length, p.total, "sample")),
              h(
                "td",
                {},
                Object.entries(p.verdicts).map(([v, n], i) => [
                  i ? " · " : "",
                  state(v === "None" ? "answered" : v),
                  ` ${n}`,
                ]),
              ),
              h("td", {}, `${p.well_formed} well formed`),
            ),
          ),
        ),
      ),
    ),
    h(
      "div",
      {className: "tools"},
      choice("Model", [["", "all"], ...DATA.samples.map(p => [p.model, modelName(p.model)])], value => {
        wanted.model = value;
        limit = 20;
        show();
      }).node,
      choice("Verdict", [["", "all"], ...verdicts.map(v => [v, (STATES[v] || ["", v]).join(" ")])], set("verdict"))
        .node,
      choice(
        "Chain",
        [
          ["", "all"],
          ["true", "well formed"],
          ["false", "not well formed"],
        ],
        set("format"),
      ).node,
      h(
        "label",
        {className: "grow"},
        "Text",
        h("input", {
          type: "search",
          placeholder: "question, answer or text",
          oninput: e => set("text")(e.target.value),
        }),
      ),
    ),
    head,
    list,
  );
  show();
}
