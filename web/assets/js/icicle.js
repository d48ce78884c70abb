// A call tree as an icicle: roots above, callees below, width by value. Only the arithmetic; drawing is profile.js.

/** The crate a symbol belongs to: the first path segment, looked for inside `<T as Trait>` and behind `&`, `dyn`. */
export function crateOf(symbol) {
  let name = symbol.trim();
  const impl = /^<(.+?) as /.exec(name) ?? /^<(.+?)>::/.exec(name);
  if (impl) name = impl[1];
  name = name.replace(/^(?:[&*]|mut |const |dyn |\[|\()+/, '');
  const path = /^([A-Za-z_]\w*)::/.exec(name);
  if (path) return path[1];
  return name.startsWith('0x') || name === '' ? 'unknown' : 'native';
}

/** A symbol short enough for a box: without generic arguments, the last two path segments. */
export function shortName(symbol) {
  let name = symbol.replace(/::h[0-9a-f]{16}$/, '');
  for (let before = ''; before !== name;) {
    before = name;
    name = name.replace(/<[^<>]*>/g, '');
  }
  const parts = name.split('::').filter(Boolean);
  return parts.length === 0 ? symbol : parts.slice(-2).join('::');
}

/** The tree of the wire with a crate at every node: `{ name, crate, own, value, children }`. */
export function fromWire({ name, package: crate, own, total, children }) {
  return { name, crate: crate || crateOf(name), own, value: total, children: children.map(fromWire) };
}

/**
 * Boxes of everything at least `least` wide when `focus` fills the width: its callers above it at full width, its
 * callees below. `x` and `width` are parts of 1.
 */
export function layout(root, focus = [], least = 0.0005) {
  const boxes = [];
  let node = root;
  boxes.push({ node, depth: 0, x: 0, width: 1, path: [], outer: focus.length > 0 });
  focus.forEach((index, i) => {
    node = node.children[index];
    boxes.push({ node, depth: i + 1, x: 0, width: 1, path: focus.slice(0, i + 1), outer: i + 1 < focus.length });
  });
  const descend = (parent, depth, from, path) => {
    let x = from;
    const order = parent.children.map((_, i) => i).sort((a, b) => parent.children[b].value - parent.children[a].value);
    for (const i of order) {
      const child = parent.children[i];
      const width = node.value > 0 ? child.value / node.value : 0;
      if (width < least) break;
      const here = [...path, i];
      boxes.push({ node: child, depth, x, width, path: here, outer: false });
      descend(child, depth + 1, x, here);
      x += width;
    }
  };
  descend(node, focus.length + 1, 0, focus);
  return boxes;
}

/** Self and total by function, recursion counted once in the total; largest self first. */
export function byFunction(root) {
  const table = new Map();
  const walk = (node, above) => {
    const entry = table.get(node.name) ?? { name: node.name, crate: node.crate, self: 0, total: 0 };
    table.set(node.name, entry);
    entry.self += node.own;
    const fresh = !above.has(node.name);
    if (fresh) {
      entry.total += node.value;
      above.add(node.name);
    }
    for (const child of node.children) walk(child, above);
    if (fresh) above.delete(node.name);
  };
  for (const child of root.children) walk(child, new Set());
  return [...table.values()].sort((a, b) => b.self - a.self);
}

/** How much of the whole has a function matching `test` on its stack; nothing is counted twice. */
export function matching(root, test) {
  const walk = (node) => (test(node.name) ? node.value : node.children.reduce((sum, child) => sum + walk(child), 0));
  return root.children.reduce((sum, child) => sum + walk(child), 0);
}
