"""The web page of every app: it shows a tree of widgets, and tells what a person did with them. It decides nothing by itself."""

__all__ = ["PAGE"]

_STYLE = """
*{box-sizing:border-box}
body{margin:0;font:14px/1.35 "DejaVu Sans","Liberation Sans",Arial,sans-serif;color:#1d2733;background:#eef1f5}
body::before{content:attr(data-title);display:block;padding:9px 20px;background:#22406b;color:#fff;
  font-size:16px;font-weight:bold}
#page{display:grid;grid-template-columns:1fr;gap:8px 18px;padding:12px 20px;align-content:start}
#page.sided{grid-template-columns:160px minmax(0,1fr)}
#page.sided>*{grid-column:2}
#page.sided>nav{grid-column:1;grid-row:1/span 40;display:flex;flex-direction:column;gap:4px;align-items:stretch}
nav a{display:block;padding:6px 10px;border-radius:5px;text-decoration:none;color:#22406b}
nav a:hover{background:#dde5f0}
nav button{margin-top:8px}
h1,h2,h3{margin:2px 0;font-size:19px;color:#22406b}
h3{font-size:15px}
p{margin:2px 0;overflow-wrap:anywhere}
p.note{background:#fff6d6;border:1px solid #e6cf7a;border-radius:5px;padding:5px 10px}
a{color:#1b5bb5;overflow-wrap:anywhere}
.card{background:#fff;border:1px solid #d5dce6;border-radius:7px;padding:10px 14px;display:flex;flex-direction:column;gap:6px}
.bar{display:flex;gap:8px 12px;align-items:center;flex-wrap:wrap}
.card>.bar:not(:last-child){border-bottom:1px solid #edf0f4;padding-bottom:6px}
.grid{display:grid;gap:6px 10px;align-items:end}
button{font:inherit;padding:4px 11px;border:1px solid #b5c0cf;border-radius:5px;background:#f7f9fb;color:#1d2733;cursor:pointer}
button:hover{background:#e7edf5}
button:disabled{color:#98a2ae;background:#f0f2f5;cursor:default}
button[role=tab]{border-radius:5px 5px 0 0;border-bottom-width:2px}
button[role=tab][aria-selected=true]{background:#fff;border-bottom-color:#22406b;font-weight:bold}
.cells{gap:0;align-items:stretch}
.cells button{border-radius:0;height:32px;padding:2px 6px;text-align:left;background:#fff;
  border-color:#d5dce6;margin:0 -1px -1px 0}
.cells p{font-weight:bold;text-align:center;background:#e7edf5;padding:6px 3px;margin:0}
.cells button:hover{background:#f2f6fb}
.cells button:focus{position:relative;z-index:1}
.cells [data-key^="slot/"]{color:#a3afbd;text-align:center}
.cells [data-key^="event/"]{background:#dbe8f8;border-left:3px solid #4d8be0}
.cells button,nav a,nav button{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.bar:has(.field){align-items:flex-end}
.field{display:flex;flex-direction:column;gap:1px;font-size:12px;color:#56616e;min-width:0}
.field input,.field select{font:14px "DejaVu Sans",Arial,sans-serif;padding:3px 6px;border:1px solid #b5c0cf;border-radius:4px;
  background:#fff;color:#1d2733;width:100%;min-width:110px;height:27px}
.check{display:flex;gap:6px;align-items:center}
:focus{outline:2px solid #4d8be0;outline-offset:0}
#over{position:fixed;inset:0;background:#1d273388;display:grid;place-content:center}
#over:empty{display:none}
[role=dialog]{background:#fff;border-radius:8px;padding:16px 22px;min-width:320px;display:flex;flex-direction:column;gap:12px}
[role=dialog]::before{content:attr(aria-label);font-size:17px;font-weight:bold;color:#22406b}
"""

_SCRIPT = r"""
const page = document.getElementById("page"), over = document.getElementById("over");
let events = [], made = new Map(), used = new Set(), depth = 0;
const keyOf = element => element?.closest?.("[data-key]")?.dataset.key;
const told = (kind, key, value) => {
  const last = events.at(-1);
  if (kind === "input" && last?.kind === kind && last.key === key) events.pop();
  events.push({kind, key: key ?? "", value: value ?? ""});
};

const create = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const put = (element, name, value) => { if (element[name] !== value) element[name] = value; };
const field = control => {
  const words = create("span");
  return {element: create("label", {class: "field"}, words, control), control, words};
};
const makers = {
  heading: (key, [, , , level]) => ({element: create("h" + level)}),
  text: () => ({element: create("p")}),
  button: key => ({element: create("button", {type: "button", "data-key": key})}),
  link: key => ({element: create("a", {href: "#", "data-key": key})}),
  tab: key => ({element: create("button", {type: "button", role: "tab", "data-key": key})}),
  textbox: key => field(create("input", {"data-key": key, autocomplete: "off", spellcheck: "false"})),
  combobox: key => field(create("select", {"data-key": key})),
  checkbox: key => {
    const control = create("input", {type: "checkbox", "data-key": key}), words = create("span");
    return {element: create("label", {class: "check"}, control, words), control, words};
  },
  navigation: () => ({element: create("nav")}),
  dialog: () => ({element: create("div", {role: "dialog", "aria-modal": "true"})}),
  bar: () => ({element: create("div", {class: "bar"})}),
  card: () => ({element: create("div", {class: "card"})}),
  grid: () => ({element: create("div", {class: "grid"})}),
};

function shown(node, path) {
  const [kind, key = "", label = "", value = "", options = [], on = false, off = false, children = []] = node;
  const name = key ? `${kind} ${key}` : `${path} ${kind} ${kind === "heading" ? value : ""}`;
  if (!made.has(name)) made.set(name, makers[kind](key, node));
  used.add(name);
  const {element, control, words} = made.get(name);
  if (control) {
    put(words, "textContent", label);
    if (control.getAttribute("aria-label") !== label) control.setAttribute("aria-label", label);
    put(control, "disabled", off);
    if (kind === "checkbox") put(control, "checked", on);
    else {
      if (kind === "combobox" && [...control.options].map(option => option.text).join("\n") !== options.join("\n")) {
        control.replaceChildren(...options.map(option => new Option(option)));
      }
      put(control, "value", value);
    }
  } else if (kind === "dialog") element.setAttribute("aria-label", label);
  else if (children.length || !label) sync(element, children.map((child, index) => shown(child, `${path}.${index}`)));
  else {
    put(element, "textContent", kind === "button" && value || label);
    if (kind === "button") put(element, "disabled", off);
    if (kind === "button" && value) element.setAttribute("aria-label", label);
    if (kind === "tab") element.setAttribute("aria-selected", on);
    if (kind === "text") put(element, "className", on ? "note" : "");
  }
  if (kind === "dialog") sync(element, children.map((child, index) => shown(child, `${path}.${index}`)));
  if (kind === "grid") {
    element.style.gridTemplateColumns = `repeat(${value}, minmax(0, 1fr))`;
    put(element, "className", on ? "grid cells" : "grid");
  }
  return element;
}

function sync(parent, wanted) {  // nothing that stays is moved, so that it keeps the focus
  const stays = new Set(wanted);
  for (const child of [...parent.childNodes]) if (!stays.has(child)) child.remove();
  wanted.forEach((child, index) => {
    if (parent.childNodes[index] !== child) parent.insertBefore(child, parent.childNodes[index]);
  });
}

window.app = {
  take() { const all = events; events = []; return all; },
  show({tree, title, past}) {
    const focus = this.focus();
    for (; depth < past; depth++) history.pushState(depth + 1, "");
    depth = past;
    document.title = document.body.dataset.title = title;
    used = new Set();
    const dialogs = tree.filter(node => node[0] === "dialog");
    sync(page, tree.filter(node => node[0] !== "dialog").map((node, index) => shown(node, String(index))));
    sync(over, dialogs.map(node => shown(node, "over")));
    for (const name of made.keys()) if (!used.has(name)) made.delete(name);
    page.className = tree.some(node => node[0] === "navigation") ? "sided" : "";
    page.inert = dialogs.length > 0;
    this.hold(focus);
    events = [];
  },
  focus: () => keyOf(document.activeElement) ?? "",
  hold(key) {  // the widget with this key has the focus if it can have it, else nothing has
    const element = key && [...document.querySelectorAll("[data-key]")].find(one => one.dataset.key === key);
    if (!element || element.disabled || element.closest("[inert]")) document.activeElement?.blur();
    else if (document.activeElement !== element) element.focus();
  },
  restart(given) {
    made.clear();
    sync(page, []);
    sync(over, []);
    depth = 0;
    this.show(given);
    this.hold(given.focus);
    return true;
  },
};

document.addEventListener("click", event => {
  const element = event.target.closest?.("button,a");
  if (!element) return;
  event.preventDefault();
  if (element.dataset.key) told("click", element.dataset.key);
});
document.addEventListener("mousedown", event => {  // the options stand in the observation; a list that pops up covers the page
  if (event.target.tagName !== "SELECT") return;
  event.preventDefault();
  if (!event.target.disabled) event.target.focus();
});
document.addEventListener("input", event => {
  const element = event.target, value = element.type === "checkbox" ? (element.checked ? "on" : "") : element.value;
  told("input", element.dataset.key, value);
});
document.addEventListener("keydown", event => {
  if (event.key === "Escape") told("escape");
  else if (event.key === "Enter" && /^(INPUT|SELECT)$/.test(event.target.tagName)) {
    event.preventDefault();
    if (event.target.type === "text") told("enter", event.target.dataset.key);
  }
});
document.addEventListener("wheel", event => {
  const value = event.deltaY > 0 ? "down" : "up";
  if (!events.some(one => one.kind === "scroll")) told("scroll", "", value);
}, {passive: true});
window.addEventListener("popstate", () => told("back"));
"""

PAGE = (
    f'<!doctype html><html lang="en"><meta charset="utf-8"><title>App</title><style>{_STYLE}</style>'
    f'<body><div id="page"></div><div id="over"></div><script>{_SCRIPT}</script></body></html>'
)
