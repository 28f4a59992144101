// The sections of the page, and their order.
const date = value => new Date(value).toLocaleString("en-GB", {dateStyle: "medium", timeStyle: "short"});
const flat = (value, place = "") =>
  Object.entries(value || {}).flatMap(([k, v]) =>
    v && typeof v === "object" && !Array.isArray(v)
      ? flat(v, `${place}${k}.`)
      : [[place + k, Array.isArray(v) ? v.join(", ") : String(v)]],
  );

function header(head) {
  const single = RUNS.length === 1;
  add(
    head,
    h("h1", {}, DATA.title),
    h(
      "div",
      {className: "soft"},
      single
        ? "Report of a run with functional tokens, written "
        : `${RUNS.length} runs with functional tokens, written `,
      date(DATA.written),
    ),
    RUNS.map(run => (single ? about(run) : h("div", {className: "of-run"}, h("b", {}, run.name), about(run)))),
    RUNS.some(run => run.notes.length) &&
      h(
        "div",
        {className: "notes"},
        RUNS.flatMap(run => run.notes.map(text => h("p", {className: "note"}, single ? text : `${run.name}: ${text}`))),
      ),
  );
}
function about(run) {
  const [first, last] = run.times.map(t => t * 1000),
    seeds = Object.entries(run.seeds),
    versions = flat(run.summary.versions);
  return facts(
    [
      first && ["Logged", `${date(first)} – ${date(last)}`],
      seeds.length && ["Seed", seeds.map(([k, v]) => (k === "seed" ? v : `${v} (${k})`)).join(", ")],
      run.summary.command && ["Command", h("code", {}, String(run.summary.command))],
      versions.length && RUNS.length === 1 && ["Versions", versions.map(([k, v]) => `${k} ${v}`).join(" · ")],
    ].filter(Boolean),
  );
}

function time(body) {
  const spentBy = run => Object.entries(run.summary.seconds || {}).filter(([, t]) => typeof t === "number");
  const longest = Math.max(...RUNS.flatMap(run => spentBy(run).map(([, t]) => t)));
  for (const run of RUNS) {
    const spent = spentBy(run);
    if (spent.length)
      add(
        body,
        RUNS.length > 1 && h("h3", {}, run.name),
        h(
          "div",
          {className: "card"},
          h(
            "div",
            {className: "spans"},
            spent.map(([phase, t]) => [
              h("span", {}, phase),
              h("i", {vars: {width: `${(100 * t) / longest}%`}}),
              h("span", {className: "num"}, seconds(t)),
            ]),
          ),
          h("p", {className: "soft small total"}, `${seconds(spent.reduce((sum, [, t]) => sum + t, 0))} in all.`),
        ),
      );
    missing(body, "time", run);
  }
}

function settings(body, run) {
  const counts = flat(run.summary.data),
    versions = flat(run.summary.versions);
  if (counts.length)
    add(body, h("h3", {}, "Data"), h("div", {className: "card"}, facts(counts.map(([k, v]) => [words(k), v]))));
  if (versions.length) add(body, h("h3", {}, "Versions"), h("div", {className: "card"}, facts(versions)));
  if (run.config)
    add(
      body,
      h("h3", {}, "Settings"),
      h("details", {className: "card"}, h("summary", {}, "config.yaml"), h("pre", {}, run.config)),
    );
}

const RECORDS = ["trees", "samples", "chains", "roles", "rollouts"];
const SECTIONS = {
  results,
  budget,
  training,
  functions,
  time,
  trees: perRun("trees", trees),
  samples: perRun("samples", samples),
  chains: perRun("chains", chains),
  roles: perRun("roles", roles),
  rollouts: perRun("rollouts", rollouts),
  run: perRun("run", settings),
};
const undrawn = new Map(Object.entries(SECTIONS));
function drawNow(id) {
  const draw = undrawn.get(id),
    body = document.querySelector(`#${id} .body`);
  if (!undrawn.delete(id)) return;
  body.replaceChildren();
  try {
    draw(body);
  } catch (error) {
    // A record of another shape must not take the other sections with it.
    console.error(error);
    add(body, h("p", {className: "note"}, `This section could not be drawn: ${error.message}`));
  }
}
// Sections of a large page that hold single records are drawn when they come near the view, or when a link leads there.
const NEAR = "1000px";
function drawLater(id) {
  const node = document.getElementById(id);
  add(node.querySelector(".body"), h("p", {className: "soft small"}, "Drawn when it comes into view."));
  const watch = new IntersectionObserver(
    entries => {
      if (!entries.some(entry => entry.isIntersecting)) return;
      watch.disconnect();
      drawNow(id);
    },
    {rootMargin: NEAR},
  );
  watch.observe(node);
}
header(document.getElementById("head"));
const large = document.querySelectorAll("script[id^=data-]").length > 0;
for (const id of Object.keys(SECTIONS)) {
  if (large && RECORDS.includes(id)) drawLater(id);
  else drawNow(id);
}
addEventListener("hashchange", () => {
  drawNow(location.hash.slice(1));
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
});
document.documentElement.dataset.drawn = "yes";
