// SHAD: which tokens are reasoning and which boilerplate, in lists and in a sample of chains.
const ROLE_WORDS = {__proto__: null, 1: "reasoning", 0: "boilerplate", "-1": "context, not judged"};
function roleShade(record) {
  const of = i => {
    const role = record.roles[i];
    return {
      sign: {1: "plus", 0: "minus"}[role] || "context",
      weight: {1: 0.9, 0: 0.55}[role] || 0,
      title: `${ROLE_WORDS[role] || "no role"}${role >= 0 ? `, LD ${signed(record.ld[i])}` : ""}`,
    };
  };
  return {word: "role", of};
}
// LD whose size only one token in twenty exceeds: a few extreme ones must not pale all others.
function usualLargest(records) {
  const sizes = records.flatMap(r => r.ld.filter(v => typeof v === "number").map(Math.abs)).sort((a, b) => a - b);
  return Number((sizes[Math.floor(0.95 * sizes.length)] || 0).toPrecision(2));
}
function roleScale() {
  return h(
    "div",
    {className: "scale small"},
    h("span", {}, "Role of a token:"),
    h("span", {className: "token plus", vars: {"--weight": 0.9}}, "reasoning, solid line"),
    h("span", {className: "token minus", vars: {"--weight": 0.55}}, "boilerplate, dashed line"),
    h("span", {className: "token context"}, "context, not judged"),
  );
}

const share = (value, kind = "") => [
  h("span", {className: `meter ${kind}`, "aria-hidden": "true"}, h("i", {vars: {width: `${100 * clipped(value)}%`}})),
  percent(value, 0),
];
const table = (label, head, rows) =>
  h(
    "div",
    {className: "scroll", tabIndex: 0, role: "region", ariaLabel: label},
    h(
      "table",
      {className: "plain"},
      h("caption", {}, label),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          head.map(text => h("th", {scope: "col"}, text)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map(cells =>
          h(
            "tr",
            {},
            cells.map(c => h("td", {}, c)),
          ),
        ),
      ),
    ),
  );

function roleLists(summary) {
  const listed = (kind, role) =>
    table(
      `${kind === "tokens" ? "Tokens" : "N-grams"} most often called ${role}`,
      [kind === "tokens" ? "token" : "n-gram", "times", "of all its places"],
      (summary[`${kind}_by_role`][role] || []).map(row => [
        h("span", {className: "tokens"}, visible(row.text)),
        num(row.count),
        share(row.share, role),
      ]),
    );
  return ["tokens", "ngrams"]
    .filter(kind => summary[`${kind}_by_role`])
    .map(kind =>
      h(
        "div",
        {className: "charts wide"},
        ["reasoning", "boilerplate"].map(role => listed(kind, role)),
      ),
    );
}

function roleTags(summary) {
  const found = Object.entries(summary.functional_tokens || {});
  if (!found.length) return null;
  // A tag stands beside its partner: opening tags say what the model decided, closing ones when it was done.
  const place = tag => DATA.functions.indexOf(tag.replace(/[</>]/g, ""));
  found.sort(([a], [b]) => place(a) - place(b) || (a < b ? 1 : -1));
  const largest = Math.max(...found.map(([, v]) => Math.abs(v.mean_ld)), 1e-9);
  const bar = v =>
    h(
      "span",
      {className: "meter both", "aria-hidden": "true"},
      h("i", {
        className: v > 0 ? "reasoning" : "boilerplate",
        vars: {width: `${(50 * Math.abs(v)) / largest}%`, left: `${v > 0 ? 50 : 50 - (50 * Math.abs(v)) / largest}%`},
      }),
    );
  return table(
    "The functional tokens themselves",
    ["token", "times", "called reasoning", "mean LD, nats"],
    found.map(([tag, v]) => [
      h("span", {className: "fn", hue: functionHue(tag.replace(/[</>]/g, ""))}, tag),
      num(v.count),
      share(v.reasoning_share, "reasoning"),
      [bar(v.mean_ld), signed(v.mean_ld)],
    ]),
  );
}

function roles(body, run) {
  if (!run.roles) return;
  const {summary, records, total, path} = run.roles,
    made = summary.made_by || {},
    stage = h("div", {}),
    largest = usualLargest(records);
  let shading = "role",
    words = "";
  const judged = r => r.roles.filter(role => role >= 0).length;
  const draw = () => {
    const fit = records.filter(r => `${r.question_id ?? ""}\n${r.tokens.join("")}`.toLowerCase().includes(words));
    const shade = r => (shading === "role" ? roleShade(r) : signShade("LD", r.ld, largest));
    stage.replaceChildren(
      shading === "role"
        ? roleScale()
        : signScale({word: "LD", largest}, "Loss after the shuffled tuning minus loss before, in nats.", [
            "or less, boilerplate",
            "or more, reasoning",
          ]),
      ...fit.map((r, i) =>
        lazy(
          [
            h("span", {className: "soft small"}, String(r.question_id ?? `sample ${r.sample}`)),
            h("span", {className: "cut"}, r.tokens.filter((_, k) => r.roles[k] >= 0).join("")),
            h(
              "span",
              {className: "small"},
              percent(r.roles.filter(v => v === 1).length / (judged(r) || 1), 0),
              " reasoning",
            ),
          ],
          () =>
            h(
              "div",
              {},
              pathView({...r, name: `chain ${r.question_id ?? r.sample}`}, shade(r)),
              h(
                "div",
                {className: "buttons"},
                copyButton("Copy as JSON", "Chain", () => r),
              ),
            ),
          {className: "entry", open: i === 0},
        ),
      ),
      fit.length ? "" : h("p", {className: "note"}, "No chain fits; search for something else."),
    );
  };
  add(
    body,
    h(
      "div",
      {className: "card"},
      facts(
        [
          ["chains", num(summary.samples ?? total)],
          ["tokens judged", num(summary.tokens)],
          ["reasoning", percent(summary.reasoning_share)],
          made.unit && ["shuffled by", made.unit],
          made.threshold !== undefined && ["reasoning where LD is above", `${num(made.threshold)} nats`],
        ].filter(Boolean),
      ),
    ),
    h("h3", {}, "Functional tokens"),
    roleTags(summary) || h("p", {className: "soft small"}, "No functional token was judged."),
    h("h3", {}, "Most frequent"),
    roleLists(summary),
    h("h3", {}, "Chains"),
    h(
      "div",
      {className: "tools"},
      choice(
        "Shade by",
        [
          ["role", "role"],
          ["LD", "LD, continuous"],
        ],
        value => {
          shading = value;
          draw();
        },
      ).node,
      search("Text", "question id or text", value => {
        words = value;
        draw();
      }),
    ),
    h("p", {className: "small soft"}, `In this page: ${counted(records.length, total, "chain")} (${path}).`),
    stage,
  );
  draw();
}
