// Text token by token, blanks in view, shaded by what is known of each token.
const BLANKS = {__proto__: null, " ": "·", "\n": "⏎", "\t": "→", "\r": "␍"};
const BLANK_NAMES = {__proto__: null, " ": "a space", "\n": "a line break", "\t": "a tab", "\r": "a carriage return"};
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

// The tokens of a chain, shaded. path: {tokens, length, name, partial}: length counts those that are
// not in the page as well, a partial path may end within a step;
// shade: {word, of: i => ({sign, weight, title})}, sign is one of plus, minus, rare and zero, weight is in [0, 1].
function pathView(path, shade) {
  const {parts, unclosed} = parted(path.tokens);
  const spans = path.tokens.map((text, i) => {
    const {sign, weight, title} = shade.of(i);
    return h(
      "span",
      {
        className: `token ${sign}`,
        role: "option",
        tabIndex: i ? -1 : 0,
        ariaSelected: "false",
        title,
        ariaLabel: `${quoted(text)}, ${title}`,
        "data-at": i,
        vars: {"--weight": weight},
      },
      visible(text),
    );
  });
  const box = h("div", {
    className: "tokens",
    role: "listbox",
    ariaOrientation: "horizontal",
    ariaLabel: `Tokens of ${path.name}, each with its ${shade.word}`,
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
      h("div", {}, shade.of(at).title),
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
    unclosed &&
      !path.partial &&
      path.tokens.length === path.length &&
      h("span", {className: "stray mono"}, `</${unclosed}> is missing`),
    path.tokens.length < path.length &&
      h("p", {className: "small soft"}, `The first ${path.tokens.length} of ${plural(path.length, "token")}.`),
  );
}

// Shades
const SURPRISE = 4; // nats at which a token is shaded in full
const clipped = v => Math.min(1, Math.max(0, v || 0));
function signShade(word, values, largest) {
  const of = i => ({
    sign: values[i] > 0 ? "plus" : values[i] < 0 ? "minus" : "zero",
    weight: largest ? clipped(Math.abs(values[i]) / largest) : 0,
    title: `${word} ${signed(values[i])}`,
  });
  return {word, of, largest};
}
function logprobShade(values) {
  const of = i => ({
    sign: typeof values[i] === "number" && values[i] < -0.005 ? "rare" : "zero",
    weight: clipped(-values[i] / SURPRISE),
    title:
      typeof values[i] === "number"
        ? `log-prob ${signed(values[i])}, probability ${percent(Math.exp(values[i]))}`
        : "log-prob not known",
  });
  return {word: "log-prob", of};
}
const end = (sign, text) => h("span", {className: `token ${sign}`, vars: {"--weight": 1}}, text);
const ramp = (kind, label) => h("span", {className: `ramp ${kind}`, role: "img", ariaLabel: label});
function signScale({word, largest}, note, names = ["negative", "positive"]) {
  return h(
    "div",
    {className: "scale small"},
    h("span", {}, `${word[0].toUpperCase()}${word.slice(1)} of a token:`),
    end("minus", `${signed(-largest)} ${names[0]}, dashed line`),
    ramp("", `from ${signed(-largest)} over 0 to ${signed(largest)}`),
    end("plus", `${signed(largest)} ${names[1]}, solid line`),
    h("span", {className: "soft"}, note),
  );
}
function logprobScale() {
  return h(
    "div",
    {className: "scale small"},
    h("span", {}, "Log-prob of a token:"),
    h("span", {}, "0, certain"),
    ramp("to-rare", `from 0 to ${signed(-SURPRISE)}`),
    end("rare", `${signed(-SURPRISE)} or less, a surprise`),
  );
}
