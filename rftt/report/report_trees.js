// The tree walker: choose a tree, walk it by mouse or keys, look at a step.
const SMALL = 60; // nodes: such a tree is shown opened
const stateOf = node =>
  !node.visits && node.parent != null && !node.verdict
    ? "fresh"
    : node.status === "answered"
      ? node.verdict || "answered"
      : node.status || "open";
const meanOf = node => (node.visits ? (node.value || 0) / node.visits : 0);
const OUTCOMES = {
  __proto__: null,
  "some rollout correct": t => t.verdicts.has("correct"),
  "no rollout correct": t => t.graded && !t.verdicts.has("correct"),
  "some correct, some not": t => t.verdicts.has("correct") && t.verdicts.size > 1,
  "chosen chain correct": t => t.result === "correct",
  "chosen chain not correct": t => t.graded && t.chosen !== null && t.result !== "correct",
  "not graded": t => !t.graded,
};

function grown(record, part) {
  const nodes = record.nodes.map(n => ({...n, children: [], depth: 0, below: {__proto__: null}}));
  for (const n of nodes.slice(1)) {
    n.depth = nodes[n.parent].depth + 1;
    nodes[n.parent].children.push(n.id);
  }
  const leaves = nodes.filter(n => n.rollout),
    verdicts = new Set(leaves.map(stateOf));
  for (const n of [...nodes].reverse()) {
    if (n.rollout) n.below[stateOf(n)] = (n.below[stateOf(n)] || 0) + 1;
    if (n.id)
      for (const [k, v] of Object.entries(n.below)) nodes[n.parent].below[k] = (nodes[n.parent].below[k] || 0) + v;
  }
  return {
    ...record,
    part,
    nodes,
    leaves,
    verdicts,
    graded: leaves.some(n => n.verdict),
    result: record.chosen === null ? null : stateOf(nodes[record.chosen]),
  };
}
const pathTo = (tree, id) => {
  const path = [];
  for (let n = tree.nodes[id]; n; n = tree.nodes[n.parent]) path.unshift(n);
  return path;
};
const plain = ({depth, below, ...node}) => node;
const treeJson = ({part, leaves, verdicts, graded, result, nodes, ...tree}) => ({...tree, nodes: nodes.map(plain)});
const chainText = path =>
  path
    .slice(1)
    .map(n => `<${n.function}>\n${n.text || ""}\n</${n.function}>\n`)
    .join("");

// What the panel shows of the text: one step or the chain up to it, plain or shaded by log-prob.
function viewTools(view, path, change) {
  const pick = (label, key, options) => {
    const found = choice(label, options, value => {
      view[key] = value;
      change();
    });
    found.select.value = view[key];
    return found.node;
  };
  return h(
    "div",
    {className: "tools"},
    pick("Show", "span", [
      ["step", "this step"],
      ["chain", "the chain up to here"],
    ]),
    path.some(n => n.logprobs) &&
      pick("Shade by", "shade", [
        ["", "nothing"],
        ["log-prob", "log-prob"],
      ]),
  );
}
function shownText(path, view) {
  const steps = view.span === "chain" ? path.slice(1) : path.slice(-1);
  if (view.shade !== "log-prob" || !steps.some(n => n.logprobs))
    return view.span === "chain" ? chain(chainText(path)) : path.at(-1).text || "(no text)";
  const tokens = steps.flatMap(n => n.pieces || [`<${n.function}>${n.text || ""}</${n.function}>`]);
  const values = steps.flatMap(n => n.logprobs || [null]);
  return [
    logprobScale(),
    pathView({tokens, length: tokens.length, name: "the text", partial: true}, logprobShade(values)),
  ];
}

// The panel beside the tree.
function details(tree, path, chosen, view, change) {
  const n = path.at(-1),
    pairs = [
      ["N", n.visits || 0],
      ["Q", num(n.value || 0)],
      ["Q/N", n.visits ? num(meanOf(n)) : "–"],
      ["prior", num(n.prior ?? 1)],
      ["PRM", n.prm == null ? null : num(n.prm)],
      ["tokens", n.tokens],
      ["mean log-prob", n.mean_logprob],
      ["depth", n.depth],
      ["sibling", n.id ? n.sibling || 0 : null],
      ["rollout", n.rollout],
      ["answer", n.answer],
      ["gold", n.id && n.answer == null ? null : tree.gold],
      ["prompt tokens", n.id ? null : tree.prompt_tokens],
      ["tokens spent", n.id ? null : tree.spent.at(-1)],
      ["voted answer", n.id ? null : tree.voted],
      [
        "voted after",
        n.id || !Object.keys(tree.votes).length
          ? null
          : Object.entries(tree.votes)
              .map(([k, v]) => `${k}: ${v.answer ?? "–"}`)
              .join(", "),
      ],
    ].filter(([, v]) => v !== null && v !== undefined);
  return [
    h(
      "div",
      {},
      functionBadge(n.function),
      " ",
      n.children.length
        ? h("span", {className: "soft small"}, `inner step, ${plural(n.children.length, "child", "children")}`)
        : state(stateOf(n)),
      chosen && h("span", {className: "star"}, " ★ on the chosen chain"),
    ),
    h(
      "div",
      {className: "crumbs"},
      path.map((p, i) => [i ? " › " : "", functionBadge(p.function)]),
    ),
    n.id ? viewTools(view, path, change) : "",
    h("div", {className: "text", tabIndex: 0}, n.id ? shownText(path, view) : tree.question),
    h(
      "dl",
      {className: "pairs"},
      pairs.map(([k, v]) => h("div", {}, h("dt", {}, k), h("dd", {}, String(v)))),
    ),
    n.options
      ? h(
          "p",
          {className: "small"},
          "May follow: ",
          Object.entries(n.options).map(([name, p], i) => [i ? ", " : "", functionBadge(name), ` ${num(p)}`]),
        )
      : "",
    h(
      "div",
      {className: "buttons"},
      copyButton("Copy step", "Step", () => plain(n)),
      copyButton("Copy chain", "Chain", () => chainText(path)),
      copyButton("Copy tree", "Tree", () => treeJson(tree)),
    ),
  ];
}

function walker(tree) {
  const best = new Set(tree.chosen === null ? [] : pathTo(tree, tree.chosen).map(n => n.id)),
    view = {span: "step", shade: tree.nodes.some(n => n.logprobs) ? "log-prob" : ""};
  const panel = h("div", {className: "card panel", role: "region", ariaLabel: "Details of the step"});
  const show = path => panel.replaceChildren(...details(tree, path, best.has(path.at(-1).id), view, () => show(path)));
  const map = treeMap(tree, best, id => {
    list.select(id);
    list.focus();
  });
  const list = stepList(tree, best, (id, path) => {
    map.mark(id);
    show(path);
  });
  const press = (label, act) => h("button", {type: "button", onclick: act}, label);

  // Steps whose text or function holds the words, one after the other.
  let words = "",
    matches = [],
    at = -1;
  const told = h("span", {className: "small soft", role: "status"});
  const find = turn => {
    if (!matches.length) return;
    at = (at + turn + matches.length) % matches.length;
    list.select(matches[at]);
    told.textContent = `${at + 1} of ${plural(matches.length, "step")}`;
  };
  const finder = search("Find a step", "words, a function, an answer", value => {
    words = value;
    const holds = n => `${n.function}\n${n.text || ""}\n${n.answer ?? ""}\n${stateOf(n)}`.toLowerCase().includes(words);
    matches = words ? tree.nodes.filter(n => n.id && holds(n)).map(n => n.id) : [];
    at = -1;
    told.textContent = words ? plural(matches.length, "step fits", "steps fit") : "";
  });
  finder.querySelector("input").addEventListener("keydown", e => {
    if (e.key !== "Enter") return;
    e.preventDefault();
    find(e.shiftKey ? -1 : 1);
  });
  const fresh = tree.nodes.some(n => n.id && !n.visits);
  const zoom = press("Zoom to step", () => {
    map.zoom(map.zoomed() ? 0 : list.selected());
    zoom.textContent = map.zoomed() ? "Zoom out" : "Zoom to step";
  });
  if (tree.nodes.length <= SMALL) list.expandAll();
  list.select(tree.chosen ?? 0);
  requestAnimationFrame(list.settle);
  return h(
    "div",
    {},
    map.canvas,
    h(
      "div",
      {className: "tools"},
      press("Expand all", () => {
        list.expandAll();
        said(`${list.count()} steps are open`);
      }),
      press("Collapse", () => {
        list.collapse();
        list.select(0);
      }),
      tree.chosen !== null && press("★ Chosen chain", () => list.select(tree.chosen)),
      zoom,
      fresh &&
        choice(
          "Steps",
          [
            ["", "all"],
            ["visited", "with rollouts"],
          ],
          value => list.onlyVisited(value === "visited"),
        ).node,
      finder,
      press("↓ Next", () => find(1)),
      told,
    ),
    h("div", {className: "walk"}, list.box, panel),
  );
}

function trees(body, run) {
  if (!run.trees.length) return;
  const title = part =>
    part.source === "search"
      ? "Phase 1 (search)"
      : `Evaluation of ${modelName(part.source)}${part.benchmark ? `, ${part.benchmark}` : ""}`;
  const all = run.trees.flatMap(part => part.records.map(r => grown(r, part)));
  const wanted = {source: "", outcome: "", level: "", text: ""},
    stage = h("div", {}),
    info = h("p", {className: "small soft", role: "status"});
  const levels = [
    ...new Set(
      all
        .map(t => t.level)
        .filter(l => l != null)
        .map(String),
    ),
  ].sort();
  const shares = run.trees.map(p => `${title(p)} ${counted(p.records.length, p.total, "tree")} (${p.path})`);
  const embedded = `In this page: ${shares.join("; ")}. Steps stand here without their token ids.`;
  let fit = [];
  const pick = choice("Tree", [], () => draw());
  const draw = () => {
    const tree = fit[pick.select.selectedIndex];
    back.disabled = pick.select.selectedIndex <= 0;
    on.disabled = pick.select.selectedIndex >= fit.length - 1;
    if (!tree) return stage.replaceChildren(h("p", {className: "note"}, "No tree fits; loosen the filters."));
    const why = tree.by_vote
      ? "★ the best path to the answer that most rollouts give"
      : "★ the correct path with the best mean value";
    stage.replaceChildren(
      h("p", {className: "text"}, tree.question),
      h(
        "p",
        {className: "small soft"},
        [
          `${title(tree.part)}`,
          tree.level != null && `level ${tree.level}`,
          tree.gold != null && `gold ${tree.gold}`,
          plural(tree.leaves.length, "rollout"),
          plural(tree.nodes.length, "node"),
          tree.spent.length && `${num(tree.spent.at(-1))} tokens`,
          tree.chosen === null ? "no chain was chosen: no rollout qualifies" : why,
        ]
          .filter(Boolean)
          .join(" · "),
      ),
      h("div", {className: "keys"}, [...new Set(tree.nodes.map(stateOf))].sort().map(state)),
      walker(tree),
    );
  };
  const step = by => () => {
    pick.select.selectedIndex += by;
    draw();
  };
  const back = h("button", {type: "button", onclick: step(-1), ariaLabel: "Previous tree"}, "←"),
    on = h("button", {type: "button", onclick: step(1), ariaLabel: "Next tree"}, "→");
  const filter = () => {
    fit = all.filter(
      t =>
        (!wanted.source || t.part.path === wanted.source) &&
        (!wanted.outcome || OUTCOMES[wanted.outcome](t)) &&
        (!wanted.level || String(t.level) === wanted.level) &&
        `${t.question_id}\n${t.question}`.toLowerCase().includes(wanted.text),
    );
    pick.select.replaceChildren(
      ...fit.map(t =>
        h(
          "option",
          {},
          [
            `${t.result ? (STATES[t.result] || ["•"])[0] : "–"} ${t.question_id}`,
            title(t.part),
            t.question.slice(0, 70),
          ].join(" · "),
        ),
      ),
    );
    info.textContent = `${plural(fit.length, "tree")} fit. ${embedded}`;
    pick.select.selectedIndex = Math.max(
      0,
      fit.findIndex(t => t.chosen !== null),
    );
    draw();
  };
  const set = key => value => {
    wanted[key] = value.toLowerCase();
    filter();
  };
  const filters = h(
    "div",
    {className: "tools"},
    choice("From", [["", "all"], ...run.trees.map(p => [p.path, title(p)])], value => {
      wanted.source = value;
      filter();
    }).node,
    choice("Outcome", [["", "all"], ...Object.keys(OUTCOMES).map(k => [k, k])], set("outcome")).node,
    levels.length > 0 &&
      choice("Level", [["", "all"], ...levels.map(l => [l, l])], value => {
        wanted.level = value;
        filter();
      }).node,
    search("Question", "id or words", set("text")),
  );
  // From an answer to the tree of its question.
  const isTree = (t, answer) =>
    t.part.source === answer.part.model &&
    t.part.benchmark === answer.part.benchmark &&
    t.question_id === answer.question_id;
  run.hasTree = answer => all.some(t => isTree(t, answer));
  run.showTree = answer => {
    Object.assign(wanted, {source: "", outcome: "", level: "", text: ""});
    for (const field of filters.querySelectorAll("select, input")) field.value = "";
    filter();
    pick.select.selectedIndex = fit.findIndex(t => isTree(t, answer));
    draw();
    document.getElementById("trees").scrollIntoView();
  };
  add(body, filters, h("div", {className: "tools"}, h("div", {className: "grow"}, pick.node), back, on), info, stage);
  filter();
}
