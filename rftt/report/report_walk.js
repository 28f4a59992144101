// The list of a tree's steps. Only the rows in view stand in the page, so that trees of many thousands stay fluid.
const ROW = 27; // px: rows are equally high, as in the style
const SPARE = 12; // rows drawn above and below the view
let walkers = 0; // gives rows ids that are theirs alone

const stepText = (tree, n) => (n.id ? n.text || "" : tree.question).slice(0, 200);

// One line of the tree; an inner step counts the rollouts below it by how they ended.
function row(tree, n, chosen, isOpen) {
  const inner = n.children.length > 0;
  const ends = Object.entries(n.below).map(([name, count]) => {
    const [sign, word] = STATES[name] || ["•", name];
    return [h("span", {className: `state s-${name}`, title: word}, `${sign}${count}`), " "];
  });
  return [
    h("span", {className: "twist", ariaHidden: "true"}, inner ? (isOpen ? "▾" : "▸") : ""),
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
  ].filter(Boolean);
}

// onselect(id) is called when another step is chosen; best holds the ids of the chosen chain.
function stepList(tree, best, onselect) {
  const opened = new Set([0]),
    drawn = new Map(), // id → row in the page
    prefix = `t${(walkers += 1)}-`;
  const list = h("div", {className: "rows", role: "none"}),
    space = h(
      "div",
      {className: "tree", role: "tree", tabIndex: 0, ariaLabel: `Search tree of ${tree.question_id}`},
      list,
    ),
    box = h("div", {className: "scroll walk-list"}, space);
  let rows = [], // ids of the steps whose parents are all open, from top to bottom
    places = new Map(), // id → index in rows
    selected = null,
    path = new Set(),
    visited = false, // only steps with rollouts
    waiting = false;

  const childrenOf = n => (visited ? n.children.filter(id => tree.nodes[id].visits) : n.children);
  function arrange() {
    rows = [];
    let deepest = 0;
    const stack = [0];
    while (stack.length) {
      const id = stack.pop(),
        n = tree.nodes[id];
      rows.push(id);
      deepest = Math.max(deepest, n.depth);
      if (opened.has(id)) for (const child of [...childrenOf(n)].reverse()) stack.push(child);
    }
    places = new Map(rows.map((id, i) => [id, i]));
    space.style.height = `${rows.length * ROW}px`;
    space.style.setProperty("--deepest", deepest);
    for (const item of drawn.values()) item.remove();
    drawn.clear();
    draw();
  }
  function item(id) {
    const n = tree.nodes[id],
      isOpen = opened.has(id),
      inner = childrenOf(n).length > 0;
    const [, word] = STATES[stateOf(n)] || ["", stateOf(n)];
    const among = n.parent === null ? [0] : childrenOf(tree.nodes[n.parent]);
    return h(
      "div",
      {
        id: prefix + id,
        role: "treeitem",
        ariaLevel: String(n.depth + 1),
        ariaSetSize: String(among.length),
        ariaPosInSet: String(among.indexOf(id) + 1),
        ariaSelected: String(id === selected),
        ariaExpanded: inner ? String(isOpen) : null,
        "data-id": id,
        ariaLabel: [n.function, word, best.has(id) && "on the chosen chain", stepText(tree, n)]
          .filter(Boolean)
          .join(", "),
        className: `row${n.visits || !id ? "" : " fresh"}${path.has(id) ? " on-path" : ""}`,
        vars: {"--depth": n.depth, top: `${places.get(id) * ROW}px`},
      },
      row(tree, n, best.has(id), isOpen),
    );
  }
  // The rows in view; those that stay are left alone.
  function draw() {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE),
      last = Math.min(rows.length, Math.ceil((box.scrollTop + (box.clientHeight || 700)) / ROW) + SPARE);
    const wanted = new Set(rows.slice(first, last));
    for (const [id, node] of drawn)
      if (!wanted.has(id)) {
        node.remove();
        drawn.delete(id);
      }
    const fresh = [...wanted].filter(id => !drawn.has(id)).map(id => [id, item(id)]);
    for (const [id, node] of fresh) drawn.set(id, node);
    list.append(...fresh.map(([, node]) => node));
  }
  function reveal(id) {
    const y = places.get(id) * ROW,
      high = box.clientHeight || 700;
    if (y < box.scrollTop) box.scrollTop = Math.max(0, y - ROW);
    else if (y + 2 * ROW > box.scrollTop + high) box.scrollTop = y + 2 * ROW - high;
  }
  function select(id) {
    const steps = pathTo(tree, id),
      closed = steps.slice(0, -1).filter(n => !opened.has(n.id));
    for (const n of closed) opened.add(n.id);
    if (visited && steps.some(n => n.id && !n.visits)) visited = false;
    const before = selected;
    selected = id;
    path = new Set(steps.map(n => n.id));
    if (closed.length || !places.has(id)) arrange();
    else
      for (const [each, node] of drawn) {
        node.classList.toggle("on-path", path.has(each));
        if (each === id || each === before) node.ariaSelected = String(each === id);
      }
    reveal(id);
    draw();
    space.setAttribute("aria-activedescendant", prefix + id);
    onselect(id, steps);
  }
  function toggle(id) {
    if (!childrenOf(tree.nodes[id]).length) return;
    if (!opened.delete(id)) opened.add(id);
    arrange();
  }
  function setOpened(ids) {
    opened.clear();
    for (const id of ids) opened.add(id);
    arrange();
  }
  box.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  });
  new ResizeObserver(draw).observe(box);
  space.addEventListener("click", e => {
    const id = e.target.closest(".row")?.dataset.id;
    if (id === undefined) return;
    space.focus({preventScroll: true});
    if (e.target.classList.contains("twist")) toggle(Number(id));
    else select(Number(id));
  });
  space.addEventListener("dblclick", e => {
    const id = e.target.closest(".row")?.dataset.id;
    if (id !== undefined && !e.target.classList.contains("twist")) toggle(Number(id));
  });
  space.addEventListener("keydown", e => {
    const at = places.get(selected),
      n = tree.nodes[selected],
      inner = childrenOf(n).length > 0,
      isOpen = opened.has(n.id),
      page = Math.max(1, Math.floor(box.clientHeight / ROW) - 1);
    const go = {
      ArrowDown: () => rows[at + 1],
      ArrowUp: () => rows[at - 1],
      PageDown: () => rows[Math.min(rows.length - 1, at + page)],
      PageUp: () => rows[Math.max(0, at - page)],
      Home: () => rows[0],
      End: () => rows.at(-1),
      ArrowRight: () => (inner && !isOpen ? toggle(n.id) : childrenOf(n)[0]),
      ArrowLeft: () => (isOpen && inner ? toggle(n.id) : (n.parent ?? undefined)),
      Enter: () => toggle(n.id),
      " ": () => toggle(n.id),
    }[e.key];
    if (!go || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    const next = go();
    if (next !== undefined) select(next);
  });
  arrange();
  return {
    box,
    select,
    selected: () => selected,
    count: () => rows.length,
    focus: () => space.focus({preventScroll: true}),
    expandAll: () => setOpened(tree.nodes.filter(n => n.children.length).map(n => n.id)),
    collapse: () => setOpened([0]),
    onlyVisited: flag => {
      visited = flag;
      if (flag && selected && !tree.nodes[selected].visits) select(0);
      arrange();
    },
    // The chosen step comes into the box's view; the page itself stays where it is.
    settle: () => {
      box.scrollTop = Math.max(0, places.get(selected) * ROW - box.clientHeight / 3);
      draw();
    },
  };
}
