// The tree walker: choose a tree, walk it by mouse or keys, look at a step.
const CHUNK = 60; // children drawn at once
const OPENED = 1500; // steps that "expand all" draws
const stateOf = node =>
  !node.visits && node.parent != null && !node.verdict
    ? "fresh"
    : node.status === "answered"
      ? node.verdict || "answered"
      : node.status || "open";
const meanOf = node => (node.visits ? (node.value || 0) / node.visits : 0);
const OUTCOMES = {
  "some rollout correct": t => t.verdicts.has("correct"),
  "no rollout correct": t => t.graded && !t.verdicts.has("correct"),
  "some correct, some not": t => t.verdicts.has("correct") && t.verdicts.size > 1,
  "chosen chain correct": t => t.result === "correct",
  "chosen chain not correct": t => t.graded && t.chosen !== null && t.result !== "correct",
  "not graded": t => !t.graded,
};

function grown(record, part) {
  const nodes = record.nodes.map(n => ({...n, children: [], depth: 0, below: {}}));
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

function treeMap(tree, best, select) {
  const deepest = Math.max(...tree.nodes.filter(n => n.visits).map(n => n.depth), 0),
    H = 15;
  const svg = s("svg", {
    class: "map",
    viewBox: `0 0 1000 ${(deepest + 1) * H}`,
    height: (deepest + 1) * H,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  const places = new Map(),
    box = (id, props) => {
      const [x, w, d] = places.get(id);
      return s("rect", {x, y: d * H, width: w, height: H, ...props});
    };
  const stack = [[tree.nodes[0], 0, 1000]];
  while (stack.length) {
    const [node, x, w] = stack.pop();
    if (w < 0.4) continue;
    places.set(node.id, [x, w, node.depth]);
    svg.append(
      box(node.id, {
        "data-id": node.id,
        class: stateOf(node) === "open" && node.children.length ? "inner" : `s-${stateOf(node)}`,
        vars: {"--mean": Math.max(0, Math.min(1, meanOf(node)))},
      }),
    );
    let at = x;
    for (const child of node.children.map(id => tree.nodes[id]).filter(n => n.visits)) {
      const share = (w * child.visits) / node.visits;
      stack.push([child, at, share]);
      at += share;
    }
  }
  const over = s("g", {}),
    idAt = e => e.target.dataset && e.target.dataset.id;
  svg.append(...[...best].filter(id => places.has(id)).map(id => box(id, {class: "best"})), over);
  svg.addEventListener("click", e => idAt(e) && select(Number(idAt(e))));
  svg.addEventListener("pointerleave", e => tip(e, null));
  svg.addEventListener("pointermove", e => {
    const n = tree.nodes[idAt(e)];
    tip(
      e,
      n && [
        h("div", {}, functionBadge(n.function), " ", state(stateOf(n))),
        h("div", {className: "soft"}, `N ${n.visits || 0} · Q/N ${num(meanOf(n))}`),
        h("div", {}, (n.text || tree.question).slice(0, 160)),
      ],
    );
  });
  return {
    svg,
    mark: id =>
      over.replaceChildren(
        ...(places.has(id) ? [box(id, {class: "here", fill: "none", "pointer-events": "none"})] : []),
      ),
  };
}

const stepText = (tree, n) => (n.id ? n.text || "" : tree.question).slice(0, 200);

// One line of the tree; an inner step counts the rollouts below it by how they ended.
function row(tree, n, chosen) {
  const inner = n.children.length > 0;
  const ends = Object.entries(n.below).map(([name, count]) => {
    const [sign, word] = STATES[name] || ["•", name];
    return [h("span", {className: `state s-${name}`, title: word}, `${sign}${count}`), " "];
  });
  return h(
    "div",
    {className: "row"},
    h("span", {className: "twist", ariaHidden: "true"}, inner ? "▸" : ""),
    chosen && h("span", {className: "star", title: "on the chosen chain"}, "★"),
    inner ? h("span", {className: "small"}, ends) : state(stateOf(n)),
    functionBadge(n.function),
    h("span", {className: "text"}, stepText(tree, n)),
    h(
      "span",
      {className: "nums"},
      h("b", {}, `N ${n.visits || 0}`),
      h("b", {className: "keep"}, `Q/N ${n.visits ? meanOf(n).toFixed(2) : "–"}`),
      h("b", {}, `p ${(n.prior ?? 1).toFixed(2)}`),
    ),
  );
}

// The panel beside the tree.
function details(tree, path, chosen) {
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
    h("div", {className: "text", tabIndex: 0}, n.id ? n.text || "(no text)" : tree.question),
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
  const items = new Map(),
    best = new Set(tree.chosen === null ? [] : pathTo(tree, tree.chosen).map(n => n.id));
  const panel = h("div", {className: "card panel", role: "region", ariaLabel: "Details of the step"});
  const root = h("ul", {className: "tree", role: "tree", ariaLabel: `Search tree of ${tree.question_id}`});
  const map = treeMap(tree, best, id => select(id, true));
  let selected = null;

  function item(id) {
    const n = tree.nodes[id];
    const [, word] = STATES[stateOf(n)] || ["", stateOf(n)];
    const li = h(
      "li",
      {
        role: "treeitem",
        tabIndex: -1,
        ariaSelected: "false",
        ariaExpanded: n.children.length ? "false" : null,
        "data-id": id,
        ariaLabel: [n.function, word, best.has(id) && "on the chosen chain", stepText(tree, n)]
          .filter(Boolean)
          .join(", "),
        className: n.visits || !id ? null : "fresh",
      },
      row(tree, n, best.has(id)),
    );
    li.firstChild.addEventListener("click", e =>
      e.target.classList.contains("twist") && n.children.length ? toggle(id) : select(id, true),
    );
    li.firstChild.addEventListener("dblclick", () => n.children.length && toggle(id));
    items.set(id, li);
    return li;
  }
  function open(id, all) {
    const li = items.get(id),
      n = tree.nodes[id];
    if (!n.children.length) return;
    let list = li.querySelector(":scope > ul");
    if (!list) li.append((list = h("ul", {role: "group"})));
    const left = n.children.filter(c => !items.has(c)),
      button = list.querySelector(":scope > .more");
    if (button && all) button.remove();
    if (left.length && (!button || all)) {
      list.append(...(all ? left : left.slice(0, CHUNK)).map(item));
      if (!all && left.length > CHUNK)
        list.append(
          h(
            "li",
            {className: "more", role: "none"},
            h("button", {type: "button", onclick: () => open(id, true)}, `${left.length - CHUNK} more steps`),
          ),
        );
    }
    list.hidden = false;
    li.ariaExpanded = "true";
    li.querySelector(".twist").textContent = "▾";
  }
  function close(id) {
    const li = items.get(id),
      list = li.querySelector(":scope > ul");
    if (!list) return;
    list.hidden = true;
    li.ariaExpanded = "false";
    li.querySelector(".twist").textContent = "▸";
  }
  const isOpen = id => items.get(id).ariaExpanded === "true";
  const toggle = id => (isOpen(id) ? close(id) : open(id));

  function select(id, focus) {
    const path = pathTo(tree, id);
    for (const [i, n] of path.slice(0, -1).entries()) {
      const next = path[i + 1].id;
      if (!items.has(next)) open(n.id);
      open(n.id, !items.has(next));
    }
    for (const li of root.querySelectorAll(".on-path")) li.classList.remove("on-path");
    if (selected !== null) Object.assign(items.get(selected), {ariaSelected: "false", tabIndex: -1});
    selected = id;
    for (const n of path) items.get(n.id).classList.add("on-path");
    const li = Object.assign(items.get(id), {ariaSelected: "true", tabIndex: 0});
    map.mark(id);
    panel.replaceChildren(...details(tree, path, best.has(id)));
    if (focus) {
      li.focus({preventScroll: true});
      li.firstChild.scrollIntoView({block: "nearest"});
    }
  }
  root.addEventListener("keydown", e => {
    const shown = [...root.querySelectorAll("li[role=treeitem]")]
      .filter(li => !li.closest("ul[hidden]"))
      .map(li => Number(li.dataset.id));
    const at = shown.indexOf(selected),
      n = tree.nodes[selected];
    const go = {
      ArrowDown: () => shown[at + 1],
      ArrowUp: () => shown[at - 1],
      Home: () => shown[0],
      End: () => shown.at(-1),
      ArrowRight: () => (n.children.length && !isOpen(n.id) ? open(n.id) : n.children[0]),
      ArrowLeft: () => (isOpen(n.id) && n.children.length ? close(n.id) : (n.parent ?? undefined)),
      Enter: () => (n.children.length ? toggle(n.id) : undefined),
      " ": () => (n.children.length ? toggle(n.id) : undefined),
    }[e.key];
    if (!go || e.target.tagName === "BUTTON") return;
    e.preventDefault();
    const next = go();
    if (next !== undefined) select(next, true);
  });
  function expand(limit) {
    const queue = [0];
    for (let i = 0; i < queue.length && items.size < limit; i++) {
      open(queue[i]);
      queue.push(...tree.nodes[queue[i]].children.filter(c => items.has(c)));
    }
    if (items.size < tree.nodes.length && limit === OPENED)
      said(`${items.size} of ${tree.nodes.length} steps are drawn; open the rest one by one`);
  }
  root.append(item(0));
  if (tree.nodes.length <= 40) expand(40);
  else open(0);
  select(tree.chosen ?? 0, false);
  const press = (label, act) => h("button", {type: "button", onclick: act}, label);
  const box = h("div", {className: "scroll"}, root);
  // Once it stands in the page, the chosen step comes into the box's view; the page itself stays where it is.
  requestAnimationFrame(() => {
    const row = items.get(selected).firstChild.getBoundingClientRect(),
      frame = box.getBoundingClientRect();
    box.scrollTop += Math.max(0, row.bottom - frame.bottom + frame.height / 3);
  });
  return h(
    "div",
    {},
    map.svg,
    h(
      "div",
      {className: "tools"},
      press("Expand all", () => expand(OPENED)),
      press("Collapse", () => {
        for (const id of items.keys()) close(id);
        open(0);
        select(0, true);
      }),
      tree.chosen !== null && press("★ Chosen chain", () => select(tree.chosen, true)),
    ),
    h("div", {className: "walk"}, box, panel),
  );
}

function trees(body) {
  if (!DATA.trees.length) return;
  const title = source => (source === "search" ? "Phase 1 (search)" : `Evaluation of ${modelName(source)}`);
  const all = DATA.trees.flatMap(part => part.records.map(r => grown(r, part)));
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
  const shares = DATA.trees.map(p => `${title(p.source)} ${counted(p.records.length, p.total, "tree")} (${p.path})`);
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
          `${title(tree.part.source)}`,
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
        (!wanted.source || t.part.source === wanted.source) &&
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
            title(t.part.source),
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
  add(
    body,
    h(
      "div",
      {className: "tools"},
      choice("From", [["", "all"], ...DATA.trees.map(p => [p.source, title(p.source)])], value => {
        wanted.source = value;
        filter();
      }).node,
      choice("Outcome", [["", "all"], ...Object.keys(OUTCOMES).map(k => [k, k])], set("outcome")).node,
      levels.length > 0 &&
        choice("Level", [["", "all"], ...levels.map(l => [l, l])], value => {
          wanted.level = value;
          filter();
        }).node,
      h(
        "label",
        {className: "grow"},
        "Question",
        h("input", {type: "search", placeholder: "id or words", oninput: e => set("text")(e.target.value)}),
      ),
    ),
    h("div", {className: "tools"}, h("div", {className: "grow"}, pick.node), back, on),
    info,
    stage,
  );
  filter();
}
