// The rollouts of the RL: choose a step, see each path with its tokens shaded by their advantage.
const ORIGINS = {
  tree: "grown by the search",
  plain: "sampled beside the tree",
  replay: "a path of an earlier visit",
};
const BLANKS = {" ": "·", "\n": "⏎", "\t": "→", "\r": "␍"};
const BLANK_NAMES = {" ": "a space", "\n": "a line break", "\t": "a tab", "\r": "a carriage return"};
// Blanks, and characters that would be invisible or turn the text around.
const UNSEEN = /([ \t\n\r]|[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs})/u;
const signed = v => (typeof v !== "number" ? "not a number" : v ? `${v < 0 ? "−" : "+"}${num(Math.abs(v))}` : "0");
const quoted = text =>
  text.trim() ? `“${text}”` : [...text].map(c => BLANK_NAMES[c] || "a blank").join(", ") || "no text";

// Text with its blanks in view; what is copied is the text itself.
function visible(text) {
  if (!text) return h("i", {className: "blank", vars: {"--sign": '"∅"'}});
  return text.split(UNSEEN).map((part, i) => {
    if (i % 2 === 0) return part;
    const sign = BLANKS[part] || `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    const kind = part === " " ? "blank space" : "blank";
    return h("i", {className: kind, vars: {"--sign": `"${sign}"`}}, part === " " || part === "\n" ? part : null);
  });
}

// Tokens of a path in parts: {name} is the step they are in, {tag} what they spell: "open", "close", "stray" or null.
// A vocabulary may spell one tag with several tokens.
function parted(tokens) {
  const places = [];
  let at = 0;
  for (const part of tokens.join("").split(TAGS)) {
    if (TAGS.test(part)) places.push({from: at, to: at + part.length, text: part});
    at += part.length;
  }
  const parts = [];
  let step = null,
    next = 0,
    begun = 0;
  for (const [i, token] of tokens.entries()) {
    const end = begun + token.length;
    while (next < places.length && places[next].to <= begun) next += 1;
    const place = places[next] && places[next].from < end && token ? places[next] : null;
    if (place && !place.part) {
      const opens = !place.text.startsWith("</"),
        name = place.text.slice(opens ? 1 : 2, -1);
      const tag = opens && !step ? "open" : !opens && name === step ? "close" : "stray";
      if (tag === "open") step = name;
      place.part = {tag, name: step, tokens: []};
      parts.push(place.part);
      if (tag === "close") step = null;
    } else if (!place && (!parts.length || parts.at(-1).tag)) {
      // Blanks between two steps stay with the first.
      if (!parts.length || parts.at(-1).tag !== "close" || token.trim())
        parts.push({tag: null, name: step, tokens: []});
    }
    parts.at(-1).tokens.push(i);
    begun = end;
  }
  return {parts, unclosed: step};
}

function pathView(path, group) {
  const {parts, unclosed} = parted(path.tokens);
  const spans = path.tokens.map((text, i) => {
    const value = path.advantages[i],
      sign = value > 0 ? "plus" : value < 0 ? "minus" : "zero";
    return h(
      "span",
      {
        className: `token ${sign}`,
        role: "option",
        tabIndex: i ? -1 : 0,
        ariaSelected: "false",
        title: `advantage ${signed(value)}`,
        ariaLabel: `${quoted(text)}, advantage ${signed(value)}`,
        "data-at": i,
        vars: {"--weight": group.largest ? Math.min(1, Math.abs(value || 0) / group.largest) : 0},
      },
      visible(text),
    );
  });
  const box = h("div", {
    className: "tokens",
    role: "listbox",
    ariaOrientation: "horizontal",
    ariaLabel: `Tokens of path ${path.number} with their advantages`,
  });
  let block = null;
  for (const part of parts) {
    const found = part.tokens.map(i => spans[i]);
    if (part.tag === "open" || !block || block.dataset.name !== (part.name || "")) {
      const named = part.name ? {hue: functionHue(part.name), ariaLabel: part.name} : {ariaLabel: "outside of a step"};
      block = h("div", {className: "step", role: "group", ...named});
      block.dataset.name = part.name || "";
      box.append(block);
    }
    const looks = {open: "fn", close: "close", stray: "stray"}[part.tag];
    const hint = part.tag === "stray" ? "a tag in the wrong place" : null;
    block.append(
      looks
        ? h("span", {className: `tag ${looks}`, title: hint, role: "presentation"}, found)
        : h("span", {role: "presentation"}, found),
    );
    if (part.tag === "close") block = null;
  }
  let current = 0;
  const mark = (at, event) => {
    Object.assign(spans[current], {tabIndex: -1, ariaSelected: "false"});
    current = at;
    Object.assign(spans[at], {tabIndex: 0, ariaSelected: "true"});
    const {left, bottom} = spans[at].getBoundingClientRect();
    tip({clientX: left - 14, clientY: bottom - 8}, [
      h("div", {}, `advantage ${signed(path.advantages[at])}`),
      h("div", {className: "soft"}, `token ${at + 1} of ${path.length}: ${quoted(path.tokens[at])}`),
    ]);
  };
  box.addEventListener("focusin", e => e.target.dataset.at && mark(Number(e.target.dataset.at)));
  box.addEventListener("focusout", () => tip(null, null));
  box.addEventListener("keydown", e => {
    const to = {ArrowRight: current + 1, ArrowLeft: current - 1, ArrowDown: current + 10, ArrowUp: current - 10};
    const at = {...to, Home: 0, End: spans.length - 1}[e.key];
    if (e.key === "Escape") return tip(null, null);
    if (at === undefined) return;
    e.preventDefault();
    spans[Math.max(0, Math.min(spans.length - 1, at))].focus();
  });
  return h(
    "div",
    {},
    box,
    unclosed && path.tokens.length === path.length && h("span", {className: "stray mono"}, `</${unclosed}> is missing`),
    path.tokens.length < path.length &&
      h("p", {className: "small soft"}, `The first ${path.tokens.length} of ${plural(path.length, "token")}.`),
  );
}

function advantageScale(largest) {
  if (!largest) return h("p", {className: "small soft"}, "All advantages are 0: there is nothing to learn from here.");
  const end = (sign, word, value) =>
    h("span", {className: `token ${sign}`, vars: {"--weight": 1}}, `${signed(value)} ${word}`);
  return h(
    "div",
    {className: "scale small"},
    h("span", {}, "Advantage of a token:"),
    end("minus", "negative, dashed line", -largest),
    h("span", {className: "ramp", role: "img", ariaLabel: `from ${signed(-largest)} over 0 to ${signed(largest)}`}),
    end("plus", "positive, solid line", largest),
    h("span", {className: "soft"}, "The stronger, the nearer to the largest of the group."),
  );
}

function rollouts(body) {
  if (!DATA.rollouts) return;
  const groups = DATA.rollouts.records,
    stage = h("div", {});
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
    const paths = g.paths.map((p, i) => lazy(head(g, p), () => pathView(p, g), {className: "entry", open: i === 0}));
    stage.replaceChildren(
      ...g.prompt.map(m => h("p", {className: "text"}, m.role !== "user" && h("b", {}, `${m.role}: `), m.content)),
      h(
        "p",
        {className: "small soft"},
        `step ${g.step} · ${g.question_id ?? "–"} · gold ${g.gold ?? "–"} · ${counted(g.paths.length, g.total, "path")}`,
      ),
      advantageScale(g.largest),
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
      h("button", {type: "button", onclick: open(true)}, "Open all"),
      h("button", {type: "button", onclick: open(false)}, "Close all"),
    ),
    h(
      "p",
      {className: "small soft"},
      `In this page: ${counted(groups.length, DATA.rollouts.total, "group")} (${DATA.rollouts.path}). Arrow keys go from token to token. · is a space, ⏎ a line break, � a part of a character.`,
    ),
    stage,
  );
  draw();
}
