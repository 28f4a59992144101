// Draws the page from the JSON in #data. Everything that comes from a run enters the page as text, never as markup.
"use strict";
// Objects of the data inherit nothing: a name such as "constructor" in them is a name that a run gave, or is not there.
// The records of a large part stand in an element of their own, which is read when they are first asked for.
const read = id => JSON.parse(document.getElementById(id).textContent, (_, value) => bare(value));
function bare(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  const found = Object.create(null);
  for (const key of Object.keys(value)) found[key] = value[key];
  const place = found.records?.[APART];
  if (place !== undefined) later(found, "records", () => read(place));
  return found;
}
function later(object, key, make) {
  const set = value => Object.defineProperty(object, key, {value, enumerable: true, writable: true});
  Object.defineProperty(object, key, {get: () => set(make())[key], enumerable: true, configurable: true});
}
const APART = "records apart";
const DATA = read("data");
const RUNS = DATA.runs;

// What the page knows by name; whatever else a run holds is shown under its own name.
const MODEL_NAMES = {__proto__: null, base: "Base", sft: "SFT", rl: "RFTT"};
const METRICS = [
  [/^pass@1$/, "One sampled answer, no search: the share that is right."],
  [/^greedy$/, "One answer from the most likely token at every place."],
  [/^pass@(\d+)$/, "At least one of $1 sampled answers is right."],
  [/^search@(\d+)$/, "The answer that the tree search votes for; rollouts: $1."],
  [/^maj@(\w+)$/, "The answer that independent samples vote for; k of them cost as many tokens as the largest search."],
  [/^(\w+)@(\d+)tok$/, "The strategy $1 with at most $2 generated tokens."],
  [/^(\w+)@(\d+)$/, "The strategy $1 with $2 answers or rollouts."],
  [/^format_rate$/, "Well-formed chains: every step tagged, in an allowed order, with a final answer."],
];
const CURVES = {
  __proto__: null,
  reward: "Mean reward of the rollouts.",
  accuracy: "Share of rollouts with the right answer.",
  length: "Generated tokens of a rollout.",
  kl: "Divergence from the reference model.",
  entropy: "Of the next token, in nats.",
  format_rate: "Share of well-formed chains.",
  "function_share/": "Share of each function among the steps.",
  "origin/": "Share of the paths that the tree grew, that were sampled beside it, and that came from earlier visits.",
  depth: "Steps of a path.",
  truncated: "Share of paths that met a limit before they ended.",
  malformed: "Share of paths whose tags are in disorder.",
  agreeing_trees: "Trees whose rollouts all earn the same: nothing to learn from.",
  "search/replaced": "Questions whose place another one took, because all their paths agreed.",
  "search/exhausted": "Trees that had fewer distinct paths than wanted.",
  "search/generated_tokens": "By the search in one step.",
  "logprob_difference/": "Nats a token between the engine that samples and the trainer.",
  "seconds/": "Parts of a step. Sampling holds search, engine and sync; the update is the rest.",
  loss: "",
  eval_loss: "",
  mean_token_accuracy: "Next tokens that were predicted right.",
  learning_rate: "",
  grad_norm: "",
};
// Curves of one prefix in one chart (true) or apart; of other prefixes their sizes decide.
const SHARED = {
  __proto__: null,
  "function_share/": true,
  "origin/": true,
  "seconds/": true,
  "search/": false,
  "logprob_difference/": false,
};
const STATES = {
  __proto__: null,
  correct: ["✓", "correct"],
  wrong: ["✗", "wrong"],
  unparseable: ["?", "unparseable"],
  timeout: ["◷", "grader timeout"],
  no_answer: ["∅", "no answer"],
  answered: ["●", "answered, not graded"],
  truncated: ["…", "truncated"],
  malformed: ["!", "malformed"],
  open: ["○", "open"],
  fresh: ["·", "not visited"],
};

// Elements
function fill(node, set, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "hue") {
      node.classList.add("hued");
      node.style.setProperty("--hue", value);
    } else if (key === "vars") for (const [name, v] of Object.entries(value)) node.style.setProperty(name, v);
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else set(key, value);
  }
  node.append(...children.flat(Infinity).filter(c => c !== null && c !== undefined && c !== false));
  return node;
}
function h(tag, props, ...children) {
  const node = document.createElement(tag);
  return fill(
    node,
    (key, value) => (key in node && key !== "list" ? (node[key] = value) : node.setAttribute(key, value)),
    props,
    children,
  );
}
const add = (node, ...children) => fill(node, null, null, children);
function s(tag, props, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return fill(node, (key, value) => node.setAttribute(key, value), props, children);
}
// Calls draw(width) whenever an element has become wider or narrower.
function followWidth(element, draw) {
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (entry.contentRect.width && Math.abs(entry.contentRect.width - width) > 0.5) {
      width = entry.contentRect.width;
      draw(width);
    }
  }).observe(element);
}

const hue = index => (250 + 137.5 * index) % 360; // the golden angle keeps any number of hues apart
const functionHue = name => {
  const i = DATA.functions.indexOf(name);
  return i < 0 ? null : hue(i);
};
const models = found => [...DATA.order.filter(m => found.includes(m)), ...found.filter(m => !DATA.order.includes(m))];
const modelHue = name => hue(models([...new Set([...DATA.order, ...MODELS_SEEN])]).indexOf(name));
const modelName = name => MODEL_NAMES[name] || name;
const percent = (v, digits = 1) => (typeof v === "number" ? `${(100 * v).toFixed(digits)}\u00a0%` : "–");
const words = name => name.replaceAll("_", " ");
const plural = (n, one, many = one + "s") => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
function num(v) {
  if (typeof v !== "number") return "–";
  const size = Math.abs(v);
  if (size && (size < 1e-3 || size >= 1e7)) return v.toExponential(2);
  return size >= 1000 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(4)));
}
function seconds(t) {
  if (t < 60) return `${num(Number(t.toFixed(1)))} s`;
  const [hours, minutes, rest] = [Math.floor(t / 3600), Math.floor(t / 60) % 60, Math.floor(t % 60)];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`;
}
function state(name) {
  const [sign, word] = STATES[name] || ["•", name];
  return h("span", {className: `state s-${name}`, title: word}, sign, h("span", {className: "word"}, ` ${word}`));
}
const functionBadge = name =>
  h("span", {className: name === DATA.root ? "fn root" : "fn", hue: functionHue(name)}, name);
const facts = pairs =>
  h(
    "dl",
    {className: "facts"},
    pairs.map(([k, v]) => h("div", {}, h("dt", {}, k), h("dd", {}, v))),
  );
const said = text => {
  document.getElementById("said").textContent = text;
};
const MODELS_SEEN = [
  ...new Set(
    RUNS.flatMap(run => [
      ...run.measures.flatMap(part => ["models", "curves", "majority"].flatMap(key => Object.keys(part[key] || {}))),
      ...run.samples.map(p => p.model),
    ]),
  ),
];
// A section that shows one run at a time; with several runs on the page, the reader chooses.
function perRun(id, draw) {
  return body => {
    const stage = h("div", {}),
      show = place => {
        stage.replaceChildren();
        draw(stage, RUNS[place]);
        missing(stage, id, RUNS[place]);
      };
    const pick = RUNS.length > 1 && choice("Run", [...RUNS.map((run, i) => [i, run.name])], show);
    add(body, pick && h("div", {className: "tools"}, pick.node), stage);
    show(0);
  };
}
function missing(body, id, run) {
  for (const m of run.missing.filter(m => m.section === id))
    add(
      body,
      h(
        "p",
        {className: "note"},
        RUNS.length > 1 && `${run.name}. `,
        `Missing: ${m.what}. `,
        h("code", {}, m.command),
        " makes it.",
      ),
    );
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", {value: text, className: "hush"}); // pages from the disk may have no clipboard
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  said(`${what} copied`);
}
function copyButton(label, what, make) {
  const button = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        await copy(typeof make() === "string" ? make() : JSON.stringify(make(), null, 1), what);
        button.textContent = "Copied";
        setTimeout(() => {
          button.textContent = label;
        }, 1200);
      },
    },
    label,
  );
  return button;
}
function choice(label, options, onchange) {
  const select = h(
    "select",
    {onchange: () => onchange(select.value)},
    options.map(([value, text]) => h("option", {value}, text)),
  );
  return {node: h("label", {}, label, select), select};
}
function search(label, hint, onchange) {
  const oninput = e => onchange(e.target.value.toLowerCase());
  return h("label", {className: "grow"}, label, h("input", {type: "search", placeholder: hint, oninput}));
}
function tip(event, lines) {
  const box = document.getElementById("tip");
  box.hidden = !lines;
  if (!lines) return;
  box.replaceChildren(...lines);
  const {width, height} = box.getBoundingClientRect(),
    x = event.clientX + 14,
    y = event.clientY + 14;
  box.style.left = `${Math.max(4, Math.min(x, innerWidth - width - 6))}px`;
  box.style.top = `${y + height > innerHeight ? event.clientY - height - 10 : y}px`;
}
// A closed box whose content is made when it is first opened.
function lazy(title, make, props) {
  const node = h(
    "details",
    {
      ...props,
      ontoggle: () => {
        if (node.open && !node.dataset.made) {
          node.dataset.made = "1";
          node.append(make());
        }
      },
    },
    h("summary", {className: props ? null : "small soft"}, title),
  );
  return node;
}
