// Making elements and bringing the page up to date. Text goes in as text nodes only: nothing that people typed is
// ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name === "key" ? "data-key" : name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** Make an element: el("button.primary", {"data-do": "pair"}, "Pair"). `key` names it among its siblings. */
export function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return fill(node, attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElementNS(SVG, tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  return fill(node, attributes, children);
}

/** Make the children of `parent` equal to `wanted`, keeping elements (and so focus, scrolling and what is typed). */
export function show(parent, ...wanted) {
  const fresh = document.createDocumentFragment();
  fresh.append(...wanted.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  morphChildren(parent, fresh);
}

function sameKind(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName
    && (one.nodeType !== Node.ELEMENT_NODE || one.dataset?.key === other.dataset?.key);
}

function morphChildren(parent, fresh) {
  const keyed = new Map();
  for (const child of parent.childNodes) {
    if (child.dataset?.key !== undefined) keyed.set(child.dataset.key, child);
  }
  let at = parent.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const found = wanted.dataset?.key !== undefined ? keyed.get(wanted.dataset.key) : null;
    if (found && found !== at && found.nodeName === wanted.nodeName) {
      parent.insertBefore(found, at);
      at = found;
    }
    if (at && sameKind(at, wanted)) {
      const next = at.nextSibling;
      morph(at, wanted);
      at = next;
    } else {
      parent.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function morph(node, wanted) {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== wanted.data) node.data = wanted.data;
    return;
  }
  for (const { name } of [...node.attributes]) {
    if (!wanted.hasAttribute(name) && name !== "open") node.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  if (node.type === "checkbox") node.checked = wanted.hasAttribute("checked");
  morphChildren(node, wanted);
}
