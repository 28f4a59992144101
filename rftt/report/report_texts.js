// Chains: text of models, one block for each step.
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

function chains(body, run) {
  if (!run.chains) return;
  const steps = run.chains.steps || [];
  const own = r => r.asked - r.answered;
  if (steps.length)
    add(
      body,
      table(
        "Steps of phase 1, by function",
        ["", "asked", "stated the answer", "valid at once", "valid", "left out", "rules broken"],
        steps.map(r => [
          r.function,
          num(r.asked),
          num(r.answered),
          own(r) ? `${Math.round((100 * r.first) / own(r))} %` : "–",
          own(r) ? `${Math.round((100 * r.valid) / own(r))} %` : "–",
          num(r.dropped),
          Object.entries(r.broken)
            .map(([rule, n]) => `${rule} ${n}`)
            .join(", "),
        ]),
      ),
    );
  for (const [kind, total] of Object.entries(run.chains.kinds)) {
    const records = run.chains.records.filter(r => r.kind === kind);
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
