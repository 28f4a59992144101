// The rollouts of the RL: choose a step, see each path with its tokens shaded by their advantage.
const ORIGINS = {
  __proto__: null,
  tree: "grown by the search",
  plain: "sampled beside the tree",
  replay: "a path of an earlier visit",
};
const advantageScale = largest =>
  largest
    ? signScale({word: "advantage", largest}, "The stronger, the nearer to the largest of the group.")
    : h("p", {className: "small soft"}, "All advantages are 0: there is nothing to learn from here.");

function rollouts(body, run) {
  if (!run.rollouts) return;
  const groups = run.rollouts.records,
    stage = h("div", {});
  let shading = "advantage";
  const good = g => g.paths.filter(p => p.verdict === "correct").length;
  const head = (g, p) => {
    const values = p.advantages.filter(a => typeof a === "number");
    // A loop: a call with thousands of arguments may fail.
    const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const range = low === high ? signed(low) : `${signed(low)} to ${signed(high)}`;
    return [
      h("span", {className: "soft small"}, `path ${p.number}`),
      state(p.status === "answered" || !p.status ? p.verdict || "answered" : p.status),
      h("span", {className: "small", title: ORIGINS[p.origin]}, `from ${p.origin ?? "–"}`),
      h("span", {className: "small"}, `reward ${num(p.reward)}`),
      values.length > 0 && h("span", {className: "small"}, `advantage ${range}`),
      h("span", {className: "soft small"}, plural(p.length, "token")),
    ];
  };
  const draw = () => {
    const g = groups[pick.select.selectedIndex];
    back.disabled = pick.select.selectedIndex <= 0;
    on.disabled = pick.select.selectedIndex >= groups.length - 1;
    if (!g)
      return stage.replaceChildren(h("p", {className: "note"}, "The file holds no group of paths that can be read."));
    const byLogprob = shading === "log-prob" && g.paths.some(p => p.logprobs);
    const view = p => {
      const shade = byLogprob ? logprobShade(p.logprobs || []) : signShade("advantage", p.advantages, g.largest);
      return pathView({...p, name: `path ${p.number}`}, shade);
    };
    const paths = g.paths.map((p, i) => lazy(head(g, p), () => view(p), {className: "entry", open: i === 0}));
    stage.replaceChildren(
      ...g.prompt.map(m => h("p", {className: "text"}, m.role !== "user" && h("b", {}, `${m.role}: `), m.content)),
      h(
        "p",
        {className: "small soft"},
        `step ${g.step} · ${g.question_id ?? "–"} · gold ${g.gold ?? "–"} · ${counted(g.paths.length, g.total, "path")}`,
      ),
      byLogprob ? logprobScale() : advantageScale(g.largest),
      ...paths,
    );
  };
  const pick = choice(
    "Step",
    groups.map((g, i) => [
      i,
      `step ${g.step} · ${good(g)} of ${g.paths.length} correct · ${g.question_id ?? "–"} · ${g.prompt
        .map(m => m.content)
        .join(" ")
        .slice(0, 70)}`,
    ]),
    draw,
  );
  const step = by => () => {
    pick.select.selectedIndex += by;
    draw();
  };
  const back = h("button", {type: "button", onclick: step(-1), ariaLabel: "Previous step"}, "←"),
    on = h("button", {type: "button", onclick: step(1), ariaLabel: "Next step"}, "→");
  const open = flag => () =>
    stage.querySelectorAll(".entry").forEach(e => {
      e.open = flag;
    });
  add(
    body,
    h(
      "div",
      {className: "tools"},
      h("div", {className: "grow"}, pick.node),
      back,
      on,
      groups.some(g => g.paths.some(p => p.logprobs)) &&
        choice(
          "Shade by",
          ["advantage", "log-prob"].map(v => [v, v]),
          value => {
            shading = value;
            draw();
          },
        ).node,
      h("button", {type: "button", onclick: open(true)}, "Open all"),
      h("button", {type: "button", onclick: open(false)}, "Close all"),
      copyButton("Copy as JSON", "Group", () => groups[pick.select.selectedIndex]),
    ),
    h(
      "p",
      {className: "small soft"},
      `In this page: ${counted(groups.length, run.rollouts.total, "group")} (${run.rollouts.path}). Arrow keys go from token to token. · is a space, ⏎ a line break, � a part of a character.`,
    ),
    stage,
  );
  draw();
}
