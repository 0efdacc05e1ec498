"""The script that reads, marks and locates elements, in a world apart: the page can neither see nor change it."""

from turnwise.tool_servers.browser.pointing_script import POINTING

__all__ = ["OBSERVER"]

_READER = r"""
(() => {
  const STILL = "*,*::before,*::after{animation-duration:1ms!important;animation-delay:0s!important;" +
    "animation-iteration-count:1!important;scroll-behavior:auto!important;caret-color:transparent!important}";
  const still = new CSSStyleSheet();
  still.replaceSync(STILL);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, still];

  const TAGS = {
    A: "link", BUTTON: "button", SELECT: "combobox", TEXTAREA: "textbox", SUMMARY: "button", IMG: "image", UL: "list", OL: "list",
    LI: "listitem", TABLE: "table", TR: "row", TD: "cell", TH: "columnheader", FORM: "form", NAV: "navigation", MAIN: "main",
    DIALOG: "dialog", FIELDSET: "group", ASIDE: "complementary", HEADER: "banner", FOOTER: "contentinfo", ARTICLE: "article",
    IFRAME: "frame", FRAME: "frame", PROGRESS: "progressbar", METER: "meter", OPTION: "option", H1: "heading", H2: "heading",
    H3: "heading", H4: "heading", H5: "heading", H6: "heading", VIDEO: "video", CANVAS: "canvas",
  };
  const INPUTS = {
    button: "button", submit: "button", reset: "button", image: "button", checkbox: "checkbox", radio: "radio", range: "slider",
    number: "spinbutton", search: "searchbox", file: "file", color: "color", hidden: "",
  };
  const MARKED = new Set(("link button textbox checkbox radio combobox listbox slider spinbutton searchbox file color tab " +
    "menuitem menuitemcheckbox menuitemradio option switch treeitem").split(" "));
  const NAMED_BY_CONTENT = new Set(("link button heading tab menuitem menuitemcheckbox menuitemradio option switch treeitem " +
    "checkbox radio").split(" "));
  const SKIPPED = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "HEAD", "TITLE", "META", "LINK"]);
  const CONTROLS = "a,button,input,select,textarea,iframe,canvas,[onclick],[tabindex],[role],[contenteditable]";
  const LONGEST = 200, PARAGRAPH = 2000, OPTIONS = 30;

  let marked = [], foreign = [];
  const squeeze = text => (text || "").replace(/\s+/g, " ").trim();
  const short = (text, most = LONGEST) => { const t = squeeze(text); return t.length > most ? t.slice(0, most - 1) + "…" : t; };
  const quote = (text, most) => JSON.stringify(short(text, most));
  const yes = target => !target.dispatchEvent(new Event("turnwise:clickable", {cancelable: true, composed: true}));

  const roleOf = element => {
    const given = squeeze(element.getAttribute("role")).split(" ")[0];
    if (given && given !== "presentation" && given !== "none") return given;
    const tag = element.tagName.toUpperCase();
    if (tag === "INPUT") return INPUTS[element.type] ?? "textbox";
    if (tag === "A") return element.hasAttribute("href") ? "link" : "";
    if (tag === "SELECT") return element.multiple || element.size > 1 ? "listbox" : "combobox";
    if (element.isContentEditable && !element.parentElement?.isContentEditable) return "textbox";
    return TAGS[tag] ?? "";
  };

  const visibleText = element => {  // as it is seen: parts that are hidden do not count
    let text = "";
    for (const node of element.shadowRoot ? element.shadowRoot.childNodes : element.childNodes) {
      if (node.nodeType === 3) text += node.data;
      else if (node.nodeType === 1 && !SKIPPED.has(node.tagName) && node.checkVisibility({visibilityProperty: true})) {
        text += node.tagName === "IMG" ? " " + node.alt + " " : " " + visibleText(node) + " ";
      }
    }
    return text;
  };

  const nameOf = (element, role) => {
    const ids = element.getAttribute("aria-labelledby");
    if (ids) {
      const root = element.getRootNode();
      const text = ids.split(/\s+/).map(id => squeeze(root.getElementById?.(id)?.textContent)).join(" ");
      if (squeeze(text)) return text;
    }
    const label = element.getAttribute("aria-label");
    if (squeeze(label)) return label;
    if (element.labels?.length) {
      const text = [...element.labels].map(visibleText).join(" ");
      if (squeeze(text)) return text;
    }
    const tag = element.tagName.toUpperCase();
    if (tag === "INPUT" && role === "button") return element.value || element.alt || element.type;
    if (tag === "IMG") return element.alt || element.title;
    if (NAMED_BY_CONTENT.has(role)) {
      const text = visibleText(element);
      if (squeeze(text)) return text;
    }
    if (tag === "FIELDSET") return element.querySelector("legend")?.textContent;
    const given = element.getAttribute("placeholder") || element.getAttribute("title");
    return given || (MARKED.has(role) && (element.name || element.id)) || "";
  };

  const states = (element, role) => {
    const said = [], aria = name => element.getAttribute("aria-" + name);
    if (element.checked === true && /checkbox|radio|switch/.test(role) || aria("checked") === "true") said.push("checked");
    if (element.indeterminate || aria("checked") === "mixed") said.push("mixed");
    if (element.matches(":disabled") || aria("disabled") === "true") said.push("disabled");
    if (element.readOnly) said.push("readonly");
    if (element.required || aria("required") === "true") said.push("required");
    if (aria("selected") === "true") said.push("selected");
    if (aria("pressed") === "true") said.push("pressed");
    if (aria("expanded")) said.push(aria("expanded") === "true" ? "expanded" : "collapsed");
    if (element.tagName === "SUMMARY") said.push(element.parentElement?.open ? "expanded" : "collapsed");
    if (aria("invalid") === "true") said.push("invalid");
    if (element.getRootNode().activeElement === element && !/^(BODY|I?FRAME)$/.test(element.tagName)) said.push("focused");
    return said;
  };

  const valueOf = (element, role) => {
    const tag = element.tagName.toUpperCase();
    if (tag === "SELECT") {
      const all = [...element.options];
      const chosen = all.filter(option => option.selected).map(option => quote(option.text)).join(", ");
      const shown = all.slice(0, OPTIONS).map(option => quote(option.text) + (option.disabled ? " (disabled)" : "")).join(" | ");
      return `value=${chosen || '""'} options: ${shown}${all.length > OPTIONS ? ` | … ${all.length - OPTIONS} more` : ""}`;
    }
    if (element.type === "password") return `value="${"•".repeat(element.value.length)}"`;
    if (element.type === "file") return "";
    if (role === "slider" && tag === "INPUT") return `value=${element.value} of ${element.min || 0}..${element.max || 100}`;
    const field = tag === "TEXTAREA" || tag === "INPUT" && /textbox|searchbox|spinbutton|color/.test(role);
    if (field) return `value=${quote(element.value)}`;
    if (element.isContentEditable) return `value=${quote(element.innerText)}`;
    const now = element.getAttribute("aria-valuenow");
    if (tag === "PROGRESS" || tag === "METER") return `value=${element.value} of ${element.max}`;
    return now === null ? "" : `value=${now}`;
  };

  const boxOf = (element, inline, frame) => {  // in the coordinates of the top window, or null without an area
    const all = element.getBoundingClientRect(), large = rect => rect.width >= 1 && rect.height >= 1;
    if (!large(all) || inline && ![...element.getClientRects()].some(large)) return null;
    return {x: all.x + frame.x, y: all.y + frame.y, w: all.width, h: all.height};
  };
  const inner = element => {  // where a frame's content begins
    const rect = element.getBoundingClientRect(), style = getComputedStyle(element);
    const left = element.clientLeft + parseFloat(style.paddingLeft), top = element.clientTop + parseFloat(style.paddingTop);
    return {x: rect.x + left, y: rect.y + top};
  };
  const opened = element => { try { return element.contentDocument; } catch { return null; } };

  class Walk {
    constructor(first, origin, viewport, boxes) {
      Object.assign(this, {first, origin, viewport, boxes, lines: [], marks: [], gaps: []});
      Object.assign(this, {text: "", hidden: 0, mute: 0, modals: new Map(), listening: new Map()});
    }
    line(depth, text) { this.flush(depth); this.lines.push("  ".repeat(depth) + text); }
    flush(depth) {
      const text = squeeze(this.text);
      this.text = "";
      if (text) this.lines.push("  ".repeat(depth) + "text " + quote(text, PARAGRAPH));
    }
    outside(box) {
      const {w, h} = this.viewport;
      return box.x + box.w <= 0 || box.y + box.h <= 0 || box.x >= w || box.y >= h;
    }
    children(node, depth, frame, pointer) {
      const slotted = node.tagName === "SLOT" ? node.assignedNodes() : [];
      for (const child of node.shadowRoot ? node.shadowRoot.childNodes : slotted.length ? slotted : node.childNodes) {
        if (child.nodeType === 3) this.text += this.mute ? "" : child.data;
        else if (child.nodeType === 1) this.element(child, depth, frame, pointer);
      }
    }
    element(element, depth, frame, pointer) {
      if (SKIPPED.has(element.tagName)) return;
      const style = getComputedStyle(element), {display, visibility, opacity} = style;  // each look at a style costs
      if (display === "none" || style.contentVisibility === "hidden") return;
      const role = roleOf(element), control = element.tagName === "INPUT";
      if (control && element.type === "hidden") return;
      const points = style.cursor === "pointer", unseen = visibility !== "visible" || opacity === "0";
      const wanted = MARKED.has(role) || element.tabIndex >= 0 && element.tagName !== "BODY" && role !== "frame" ||
        points && !pointer || element.hasAttribute("onclick") || this.clickable(element);
      const placed = wanted || this.viewport.only;
      let target = element, box = placed && display !== "contents" ? boxOf(element, display === "inline", frame) : null;
      if (control && (unseen || !box)) {  // drawn by its label
        const seen = {visibilityProperty: true, opacityProperty: true};
        target = [...element.labels ?? []].find(label => label.checkVisibility(seen));
        box = target ? boxOf(target, true, frame) : null;
        if (!box) return;
      } else if (opacity === "0") return;
      const hidden = visibility !== "visible" && !control;
      if (this.viewport.only && box && !hidden && (MARKED.has(role) || !element.firstElementChild) && this.outside(box)) {
        this.hidden++;
        return;
      }
      const active = wanted && !hidden && box && this.reach(target);
      const block = !/^(inline|contents)/.test(display) || element.tagName === "BR";
      if (active || role && role !== "list" && !hidden) {
        this.shown(element, target, role, active, box, depth, frame);
        return;
      }
      const names = element.tagName === "LABEL" && element.control && MARKED.has(roleOf(element.control));
      const told = names || element.tagName === "LEGEND";  // on the field's own line
      if (block || told) this.flush(depth);
      if (told) this.mute++;
      if (!hidden) this.children(element, depth, frame, points);
      else for (const child of element.children) this.element(child, depth, frame, points);
      if (told) this.mute--;
      if (block) this.flush(depth);
      if (element.tagName === "TD") this.text += " ";
    }
    clickable(element) {  // whether the page listens for clicks on the very element
      const view = element.ownerDocument.defaultView;
      if (!this.listening.has(view)) this.listening.set(view, yes(view));
      return this.listening.get(view) && yes(element);
    }
    reach(element) {
      const page = element.ownerDocument;
      if (!this.modals.has(page)) this.modals.set(page, [page.querySelector("dialog:modal"), page.querySelector("[inert]")]);
      const [modal, inert] = this.modals.get(page);
      return !(inert && element.closest("[inert]")) && (!modal || modal.contains(element.getRootNode().host ?? element));
    }
    shown(element, target, role, active, box, depth, frame) {
      const name = nameOf(element, role);
      const words = [role || "item"];
      const leaf = NAMED_BY_CONTENT.has(role) || role === "image" || element.isContentEditable ||
        /^(INPUT|SELECT|TEXTAREA|CANVAS|VIDEO|PROGRESS|METER)$/.test(element.tagName);
      const within = !role && !element.querySelector(CONTROLS);
      const own = () => [...element.childNodes].map(node => node.nodeType === 3 ? node.data : "").join(" ");
      const label = squeeze(name) || (within ? squeeze(visibleText(element)) : role ? "" : squeeze(own()));
      if (label) words.push(quote(label));
      if (role === "heading") words.push("level=" + (element.getAttribute("aria-level") || element.tagName.slice(1)));
      const value = valueOf(element, role);
      if (value) words.push(value);
      words.push(...states(element, role));
      if (active) {
        const mark = this.first + this.marks.length;
        marked.push({mark, element, target});
        const away = this.outside(box);
        if (away) words.push("offscreen");
        const at = {x: Math.round(box.x), y: Math.round(box.y), w: Math.round(box.w), h: Math.round(box.h)};
        this.marks.push({mark, role: role || "item", name: short(label), ...at});
        if (this.boxes) words.push(`at ${at.x},${at.y} ${at.w}x${at.h}`);
        words.unshift(`[${mark}]`);
      }
      if (!active && role === "row" && !element.querySelector(CONTROLS)) {
        this.line(depth, "row " + [...element.children].map(cell => quote(visibleText(cell))).join(" | "));
        return;
      }
      if (!active && (role === "cell" || role === "listitem" || role === "columnheader") && !element.firstElementChild) {
        this.line(depth, `${role} ${quote(element.textContent)}`);
        return;
      }
      this.line(depth, words.join(" "));
      if (role === "frame") this.frame(element, depth + 1, frame);
      else if (!leaf && !(label && within && !role)) {
        this.children(element, depth + 1, frame, getComputedStyle(element).cursor === "pointer");
        this.flush(depth + 1);
      }
    }
    frame(element, depth, frame) {
      const page = opened(element), at = inner(element);
      const here = {x: frame.x + at.x, y: frame.y + at.y};
      if (page?.body) { this.children(page.body, depth, here, false); this.flush(depth); }
      else { this.gaps.push({line: this.lines.length, depth, index: foreign.length, ...here}); foreign.push(element); }
    }
  }

  const tick = () => new Promise(done => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => { channel.port1.close(); done(); };
    channel.port2.postMessage(0);
  });
  const windows = () => {  // this one and the frames below it that may be read
    const all = [window];
    for (const view of all) {
      for (let i = 0; i < view.frames.length; i++) try { if (view.frames[i].document) all.push(view.frames[i]); } catch {}
    }
    return all;
  };
  const busy = () => windows().some(view => !view.dispatchEvent(new Event("turnwise:busy", {cancelable: true})));
  const finish = () => {  // nothing is looked at half-way; how many have ended by it, which may begin something else
    const all = windows().flatMap(view => view.document.getAnimations());
    return all.filter(one => { try { one.finish(); return true; } catch { return false; } }).length;
  };
  const pause = () => new Promise(done => { requestAnimationFrame(done); setTimeout(done, 20); });
  const settled = async most => {
    for (const view of windows()) view.dispatchEvent(new Event("turnwise:begin"));
    await tick();
    const end = performance.now() + most;
    while ((busy() || finish()) && performance.now() < end) await pause();
  };

"""
_FUNCTIONS = r"""
  globalThis.turnwise = {
    finish,
    async observe({first, x, y, settle, only, boxes, viewport}) {
      if (settle) await settled(settle);
      marked = []; foreign = [];
      const w = viewport?.w ?? innerWidth, h = viewport?.h ?? innerHeight;
      const walk = new Walk(first, {x, y}, {w, h, only}, boxes);
      const body = document.body;
      if (body) { walk.children(body, 0, {x, y}, false); walk.flush(0); }
      const page = document.scrollingElement ?? document.documentElement;
      return JSON.stringify({
        url: location.href, title: document.title, lines: walk.lines, marks: walk.marks, gaps: walk.gaps, hidden: walk.hidden,
        above: Math.round(page.scrollTop), below: Math.max(0, Math.round(page.scrollHeight - page.clientHeight - page.scrollTop)),
      });
    },
    locate(mark) {
      const found = marked.find(entry => entry.mark === mark);
      if (!found || !found.target.isConnected) return {problem: "is no longer on the page"};
      const {element, target} = found, view = target.ownerDocument.defaultView;
      let {at, cover} = hittable(target);
      if (!at || view !== window) {
        target.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
        ({at, cover} = hittable(target));
      }
      if (!at) {
        if (!cover) return {problem: "has no visible area"};
        if (cover === "nothing") return {problem: "cannot be reached"};
        const role = roleOf(cover) || cover.tagName.toLowerCase();
        return {problem: `is covered by ${role} ${quote(nameOf(cover, role) || visibleText(cover))}`};
      }
      for (let inside = view; inside !== window && inside.frameElement; inside = inside.parent) {
        const offset = inner(inside.frameElement);
        at = {x: at.x + offset.x, y: at.y + offset.y};
      }
      return {...at, disabled: element.matches(":disabled")};
    },
    offset(index) {
      foreign[index].scrollIntoView({block: "nearest", inline: "nearest", behavior: "instant"});
      return inner(foreign[index]);
    },
    foreign: index => foreign[index],
    choose({mark, options}) {
      const element = marked.find(entry => entry.mark === mark)?.element;
      if (!element?.isConnected) return {problem: "is no longer on the page"};
      if (element.tagName !== "SELECT") return {problem: "is no select box: click it instead"};
      if (element.disabled) return {problem: "is disabled"};
      const wanted = options.map(text => [...element.options].find(o => squeeze(o.text) === squeeze(text)) ??
        [...element.options].find(o => o.value === text));
      const missing = options[wanted.findIndex(option => !option || option.disabled)];
      if (missing !== undefined) return {problem: `has no option ${quote(missing)}`};
      if (wanted.length !== 1 && !element.multiple) return {problem: "takes exactly one option"};
      element.focus();
      for (const option of element.options) option.selected = wanted.includes(option);
      for (const kind of ["input", "change"]) element.dispatchEvent(new Event(kind, {bubbles: true, composed: true}));
      return {};
    },
    select_all(mark) {  // the text of a field, so that typing replaces it
      const element = marked.find(entry => entry.mark === mark)?.element;
      if (element?.select) element.select();
      else if (element?.isContentEditable) element.ownerDocument.getSelection().selectAllChildren(element);
    },
    fill({mark, text}) {  // for fields that take no keys: date, time, range, color
      const element = marked.find(entry => entry.mark === mark)?.element;
      if (!/^(date|time|month|week|datetime-local|range|color)$/.test(element?.type ?? "")) return false;
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(element, text);
      for (const kind of ["input", "change"]) element.dispatchEvent(new Event(kind, {bubbles: true, composed: true}));
      return {kept: element.value};
    },
    draw(marks) {
      const host = document.createElement("div");
      const root = host.attachShadow({mode: "closed"});
      host.style.cssText = "all:initial;position:fixed;inset:0;pointer-events:none;z-index:2147483647";
      const COLOURS = ["#d00", "#06c", "#080", "#a0a", "#b50", "#066"];
      for (const {mark, x, y, w, h} of marks) {
        const colour = COLOURS[mark % COLOURS.length], box = document.createElement("div"), tag = document.createElement("div");
        box.style.cssText = `position:fixed;left:${x}px;top:${y}px;width:${w}px;height:${h}px;outline:1.5px solid ${colour}`;
        tag.textContent = mark;
        const left = Math.min(Math.max(0, x - 2), innerWidth - 18), top = Math.max(0, y - 11);
        tag.style.cssText = `position:fixed;left:${left}px;top:${top}px;background:${colour};color:#fff;padding:0 2px;` +
          "font:bold 10px/12px sans-serif";
        root.append(box, tag);
      }
      document.documentElement.append(host);
      host.popover = "manual";
      host.showPopover?.();
      globalThis.turnwise.erase = () => host.remove();
    },
    async stored() {  // names of everything this origin keeps; empty after a reset
      const names = [];
      const look = async (what, list) => { try { for (const name of await list()) names.push(`${what} ${name}`); } catch {} };
      await look("localStorage", () => Object.keys(localStorage));
      await look("sessionStorage", () => Object.keys(sessionStorage));
      await look("cookie", () => document.cookie.split("; ").filter(Boolean).map(cookie => cookie.split("=")[0]));
      await look("indexedDB", async () => (await indexedDB.databases()).map(base => base.name));
      await look("cache", () => caches.keys());
      await look("serviceWorker", async () => (await navigator.serviceWorker.getRegistrations()).map(worker => worker.scope));
      return names;
    },
    async scrolled() { for (let i = 0; i < 3; i++) await pause(); },
    forget() { try { localStorage.clear(); sessionStorage.clear(); } catch {} },
  };
})();
"""

OBSERVER = _READER + POINTING + _FUNCTIONS
