// The map of a tree on a canvas: each step as wide as its rollouts, each level below its parents; it zooms into a step.
const MAP_ROW = 16; // px, less where the tree is very deep
const MAP_HEIGHT = 260; // px at most
const NARROW = 0.5; // px: a step that is narrower is not drawn by itself

// select(id) is called with the step that is clicked; best holds the ids of the chosen chain.
function treeMap(tree, best, select) {
  const canvas = h("canvas", {className: "map", "aria-hidden": "true"}),
    pen = canvas.getContext("2d");
  let width = 0,
    top = 0, // the step that fills the width
    boxes = [], // [id, x, y, w] of what is drawn
    here = 0,
    row = MAP_ROW,
    waiting = false;
  const colour = name => getComputedStyle(canvas).getPropertyValue(`--${name}`).trim();

  function arrange() {
    const above = pathTo(tree, top);
    let deepest = above.length;
    boxes = above.slice(0, -1).map((n, y) => [n.id, 0, y, width]);
    const stack = [[tree.nodes[top], 0, width]];
    while (stack.length) {
      const [node, x, w] = stack.pop();
      boxes.push([node.id, x, node.depth, w]);
      deepest = Math.max(deepest, node.depth + 1);
      let at = x;
      for (const id of node.children) {
        const child = tree.nodes[id];
        if (!child.visits) continue;
        const part = (w * child.visits) / Math.max(node.visits, 1);
        if (part >= NARROW) stack.push([child, at, part]);
        at += part;
      }
    }
    row = Math.max(5, Math.min(MAP_ROW, MAP_HEIGHT / deepest));
    const height = Math.ceil(row * deepest);
    const ratio = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  function draw() {
    const colours = {__proto__: null};
    for (const name of ["correct", "wrong", "answered", "open", "warn", "track", "card", "ink"])
      colours[name] = colour(name);
    pen.clearRect(0, 0, width, canvas.height);
    const spaced = boxes.length < 3000 ? 1 : 0.5;
    for (const [id, x, y, w] of boxes) {
      const n = tree.nodes[id],
        kind = stateOf(n),
        place = [x, y * row, Math.max(w - spaced, NARROW), row - 1];
      if (kind === "open" && n.children.length) {
        pen.fillStyle = colours.track;
        pen.fillRect(...place);
        pen.globalAlpha = 0.6 * clipped(meanOf(n));
        pen.fillStyle = colours.correct;
        pen.fillRect(...place);
        pen.globalAlpha = 1;
      } else {
        pen.fillStyle = colours[kind] || colours.warn;
        pen.fillRect(...place);
      }
    }
    pen.strokeStyle = colours.ink;
    const frame = (line, dash, id) => {
      const box = boxes.find(b => b[0] === id);
      if (!box) return;
      pen.lineWidth = line;
      pen.setLineDash(dash);
      pen.strokeRect(box[1] + 1, box[2] * row + 0.5, Math.max(box[3] - 3, 1), row - 2);
    };
    for (const id of best) frame(1.5, [4, 2], id);
    frame(2.5, [], here);
  }
  const redraw = () => {
    if (waiting || !width) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
  function zoom(id) {
    top = id;
    if (!width) return;
    arrange();
    redraw();
  }
  const boxAt = e => {
    const frame = canvas.getBoundingClientRect(),
      [x, y] = [e.clientX - frame.left, Math.floor((e.clientY - frame.top) / row)];
    return boxes.find(b => b[2] === y && b[1] <= x && x < b[1] + b[3]);
  };
  followWidth(canvas, wide => {
    width = wide;
    arrange();
    draw();
  });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", function changed() {
    if (canvas.isConnected) draw();
    else scheme.removeEventListener("change", changed);
  });
  canvas.addEventListener("click", e => {
    const box = boxAt(e);
    if (box) select(box[0]);
  });
  canvas.addEventListener("dblclick", e => {
    const box = boxAt(e);
    if (box) zoom(box[0] === top ? (tree.nodes[top].parent ?? 0) : box[0]);
  });
  canvas.addEventListener("pointerleave", e => tip(e, null));
  canvas.addEventListener("pointermove", e => {
    const box = boxAt(e),
      n = box && tree.nodes[box[0]];
    tip(
      e,
      n && [
        h("div", {}, functionBadge(n.function), " ", state(stateOf(n))),
        h("div", {className: "soft"}, `N ${n.visits || 0} · Q/N ${num(meanOf(n))}`),
        h("div", {}, stepText(tree, n)),
      ],
    );
  });
  return {
    canvas,
    zoom,
    zoomed: () => top,
    mark: id => {
      here = id;
      redraw();
    },
  };
}
