"""The scripts that every MiniWoB page gets before its own: a clock that only moves when told, and a reader of the page.

The clock: `Date`, `performance.now`, timers and animation frames of a page run on a time of its own, which `turnwise.advance(ms)`
moves, and on which requests are answered at once. What a page does then depends on the actions alone, never on how quick the
machine is.
"""

from turnwise.tool_servers.browser.pointing_script import POINTING

__all__ = ["PAGE_SCRIPT"]

_CLOCK = r"""
(() => {
  const START = 1767258000000, FRAME = 16;  // 2026-01-01 09:00 UTC
  const RealDate = Date, timers = new Map(), errors = [];
  const realFrame = window.requestAnimationFrame.bind(window), realTimeout = window.setTimeout.bind(window);
  let now = 0, next = 1;
  const wrong = error => errors.push(String(error?.stack ?? error));
  window.addEventListener("error", event => wrong(event.error ?? event.message));
  window.addEventListener("unhandledrejection", event => wrong(event.reason));

  const set = (work, delay, every, given) => {
    const id = next++;
    timers.set(id, {at: now + Math.max(1, Number(delay) || 0), every, work, given});
    return id;
  };
  const drop = id => { timers.delete(id); };
  window.setTimeout = (work, delay, ...given) => set(work, delay, 0, given);
  window.setInterval = (work, delay, ...given) => set(work, delay, Math.max(1, Number(delay) || 0), given);
  window.requestAnimationFrame = work => set(() => work(now), FRAME - now % FRAME, 0, []);
  window.clearTimeout = window.clearInterval = window.cancelAnimationFrame = drop;
  performance.now = () => now;
  window.Date = new Proxy(RealDate, {
    construct: (target, given, made) => Reflect.construct(target, given.length ? given : [START + now], made),
    apply: target => new target(START + now).toString(),
    get: (target, key) => key === "now" ? () => START + now : Reflect.get(target, key),
  });

  const run = ({work, given}) => {
    try { typeof work === "function" ? work.apply(window, given) : (0, eval)(String(work)); } catch (error) { wrong(error); }
  };
  const advance = ms => {
    const end = now + ms;
    for (let first; ;) {
      first = null;
      for (const [id, timer] of timers) if (timer.at <= end && (!first || timer.at < first[1].at)) first = [id, timer];
      if (!first) break;
      const [id, timer] = first;
      now = Math.max(now, timer.at);
      if (timer.every) timer.at = now + timer.every; else timers.delete(id);
      run(timer);
    }
    now = end;
  };
  window.addEventListener("mousemove", event => { if (event.buttons) advance(FRAME); }, true);  // dragging takes its time
  let asked = 0;  // requests that nobody has answered yet: what a page does then must not depend on how quick that was
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (...given) {
    asked++;
    this.addEventListener("loadend", () => { asked--; }, {once: true});
    try { send.apply(this, given); } catch (error) { asked--; throw error; }
  };
  const later = ms => new Promise(done => realTimeout(done, ms));
  window.turnwise = {advance, errors, later, asks: () => asked > 0, frame: () => new Promise(done => realFrame(done))};
})();
"""

_READER = r"""
(() => {
  const SKIPPED = new Set(["SCRIPT", "STYLE", "HEAD", "TITLE", "META", "LINK", "NOSCRIPT", "TEMPLATE", "BR", "DEFS", "OPTION"]);
  const OURS = new Set(["query-wrap", "query", "reward-display", "sync-task-cover", "click-canvas"]);
  const CONTROL = "input,button,select,textarea,a,[tabindex],[contenteditable=true]";
  const SHAPE = /^(rect|circle|ellipse|line|polygon|polyline|path|text|image)$/;
  const INPUTS = {button: "button", submit: "button", reset: "button", checkbox: "checkbox", radio: "radio", range: "slider"};
  const DULL = /^(ui-(state-(default|hover|focus)|corner|widget|helper|front|draggable|droppable|resizable|sortable|btn)|alt$)/;
  const STATE = /(^|-)(selected|active|checked|open|opened|expanded|disabled|highlight\w*|bold|italic|underline)$/;
  const FIELD = /^(INPUT|SELECT|TEXTAREA)$/;
  const PARAGRAPH = 2000, OPTIONS = 60, LOADING = 3000;
  let elements = [], first = 1, under = null;
  document.addEventListener("mouseover", event => { under = event.target; }, true);

  const squeeze = text => (text ?? "").replace(/\s+/g, " ").trim();
  const quote = text => {
    const short = squeeze(text);
    return JSON.stringify(short.length > PARAGRAPH ? short.slice(0, PARAGRAPH - 1) + "…" : short);
  };
  const own = element => squeeze([...element.childNodes].map(node => node.nodeType === 3 ? node.data : " ").join(""));
  const listens = element => !element.dispatchEvent(new Event("turnwise:clickable", {cancelable: true, composed: true}));
  const colour = text => {
    const parts = /^rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?\)$/.exec(text);
    if (!parts) return text === "none" ? "" : text;
    if (parts[4] !== undefined && Number(parts[4]) === 0) return "";
    return "#" + parts.slice(1, 4).map(part => Number(part).toString(16).padStart(2, "0")).join("");
  };
  const file = address => address.startsWith("data:") ? "image" : `image=${address.split("/").pop().slice(0, 60)}`;
  const roleOf = element => {
    const tag = element.tagName.toLowerCase();
    if (tag === "input") return INPUTS[element.type] ?? (element.type === "text" ? "textbox" : `${element.type} field`);
    if (tag === "select") return element.multiple || element.size > 1 ? "listbox" : "combobox";
    return {a: "link", textarea: "textbox", tr: "row", td: "cell", th: "cell"}[tag] ?? tag;
  };
  const classes = element => [...element.classList].filter(name => !DULL.test(name));

  class Reading {
    constructor(boxes) { Object.assign(this, {boxes, lines: [], found: []}); }
    children(parent, depth, at, style) {
      for (const child of parent.children) this.element(child, depth, at, style);
    }
    element(element, depth, at, outer) {
      const tag = element.tagName.toUpperCase();
      if (SKIPPED.has(tag) || OURS.has(element.id)) return;
      const style = element.ownerDocument.defaultView.getComputedStyle(element);
      if (style.display === "none" || style.opacity === "0" && tag !== "INPUT") return;
      if (tag === "INPUT" && element.type === "hidden") return;
      const named = tag === "LABEL" ? element.control : null;
      if (named?.getClientRects().length && !listens(element)) {  // it names its control
        this.children(element, depth, at, style);
        return;
      }
      const box = element.getBoundingClientRect(), start = this.lines.length;
      const seen = style.visibility === "visible" && (box.width > 0 && box.height > 0 || tag === "LINE");
      const words = seen ? this.words(element, tag, style, box, at, outer) : null;
      if (words) {
        this.lines.push([depth, `[${first + this.found.length}] ${words}`]);
        this.found.push(element);
      }
      if (tag === "IFRAME") { this.frame(element, depth, at, box); return; }
      if (tag === "SELECT" || tag === "TEXTAREA") return;
      this.children(element, words ? depth + 1 : depth, at, style);
      const group = tag === "TR" ? "row" : classes(element)[0] ? `${roleOf(element)}.${classes(element)[0]}` : "";
      if (!words && group && this.lines.length - start > 1) {
        for (const line of this.lines.slice(start)) line[0]++;
        this.lines.splice(start, 0, [depth, group]);
      }
    }
    frame(element, depth, at, box) {
      const body = element.contentDocument?.body;
      if (body) this.children(body, depth, {x: at.x + box.x + element.clientLeft, y: at.y + box.y + element.clientTop}, null);
    }
    words(element, tag, style, box, at, outer) {  // what is said about it, null if nothing
      const shape = element instanceof element.ownerDocument.defaultView.SVGElement && SHAPE.test(element.tagName);
      const control = element.matches(CONTROL), direct = own(element), leaf = !element.firstElementChild;
      const back = colour(style.backgroundColor), image = /url\("?([^")]*)/.exec(style.backgroundImage)?.[1];
      const bordered = parseFloat(style.borderTopWidth) > 0 && style.borderTopStyle !== "none";
      const drawn = leaf && (back || image || bordered || tag === "IMG" || tag === "CANVAS");
      const scrolls = /auto|scroll/.test(style.overflowY) && element.scrollHeight > element.clientHeight + 1;
      if (!(shape || control || direct || drawn || scrolls || listens(element))) return null;
      const text = this.label(element, tag, direct, control, leaf), said = [roleOf(element)];
      const kinds = classes(element).filter(name => !text && !shape || STATE.test(name)).slice(0, 3);
      if (kinds.length) said[0] += "." + kinds.join(".");
      if (!text && element.id && !/^ui-id|\d{3}/.test(element.id)) said[0] += "#" + element.id;
      if (text) said.push(quote(text));
      said.push(...this.state(element, tag));
      if (shape) said.push(...this.drawing(element, style));
      else if (leaf && !text && back && !FIELD.test(tag)) said.push(`background=${back}`);
      else if (direct && outer && style.color !== outer.color && !/^(A|BUTTON)$/.test(tag)) {
        said.push(`color=${colour(style.color)}`);
      }
      if (image && !text) said.push(file(image));
      if (tag === "IMG" && !text) said.push(file(element.src));
      const {scrollTop, scrollHeight, clientHeight} = element;
      if (scrolls && tag !== "SELECT") said.push(`scrolled ${Math.round(scrollTop)} of ${scrollHeight - clientHeight}`);
      const placed = drawn && style.position === "absolute";  // put there by its place, which may be all that matters
      const moved = /ui-(draggable|sortable-handle)/.test(element.className);
      if (this.boxes || shape || placed || moved || !text && !FIELD.test(tag)) {
        const [x, y, w, h] = [box.x + at.x, box.y + at.y, box.width, box.height].map(Math.round);
        said.push(`at ${x},${y} ${w}x${h}`);
      }
      return said.join(" ");
    }
    label(element, tag, direct, control, leaf) {
      if (FIELD.test(tag)) {
        if (INPUTS[element.type] === "button") return element.value;
        const named = [...element.labels ?? []].map(label => own(label) || label.innerText).join(" ");
        return squeeze(named) || element.getAttribute("aria-label") || element.placeholder || "";
      }
      if (tag === "IMG") return element.alt || element.title;
      if (leaf || direct && !element.querySelector(CONTROL) && ![...element.children].some(child => this.block(child))) {
        return element.innerText ?? element.textContent;
      }
      return control && !element.querySelector(CONTROL) && !element.isContentEditable ? element.innerText : direct;
    }
    block(element) {
      return !/^(inline|contents)/.test(element.ownerDocument.defaultView.getComputedStyle(element).display);
    }
    state(element, tag) {
      const said = [];
      if (tag === "SELECT") {
        const all = [...element.options], shown = all.slice(0, OPTIONS).map(option => quote(option.text)).join(" | ");
        said.push(`value=${all.filter(option => option.selected).map(option => quote(option.text)).join(", ") || '""'}`);
        said.push(`options: ${shown}${all.length > OPTIONS ? ` | … ${all.length - OPTIONS} more` : ""}`);
      } else if (tag === "TEXTAREA" || tag === "INPUT" && !/^(button|submit|reset|checkbox|radio)$/.test(element.type)) {
        said.push(`value=${quote(element.value)}`);
      }
      if ((element.checked ?? (tag === "LABEL" && element.control?.checked)) === true) said.push("checked");
      if (element.matches(":disabled")) said.push("disabled");
      if (element.readOnly) said.push("readonly");
      if (element.ownerDocument.activeElement === element) said.push("focused");
      return said;
    }
    drawing(element, style) {
      const said = [], tag = element.tagName, fill = colour(style.fill), stroke = colour(style.stroke);
      if (tag === "polygon" || tag === "polyline") said.push(`corners=${element.points.numberOfItems}`);
      if (tag === "line") {
        const matrix = element.getScreenCTM(), end = n => {
          const to = new DOMPoint(element[`x${n}`].baseVal.value, element[`y${n}`].baseVal.value).matrixTransform(matrix);
          return `${Math.round(to.x)},${Math.round(to.y)}`;
        };
        said.push(`from ${end(1)} to ${end(2)}`);
      }
      if (fill && tag !== "line") said.push(`fill=${fill}`);
      if (stroke) said.push(`stroke=${stroke}`);
      return said;
    }
  }
"""
_FUNCTIONS = r"""
  const windows = () => [window, ...Array.from(window).filter(view => { try { return view.turnwise; } catch { return false; } })];
  const loaded = page => {  // images and fonts, which move what is around them
    const images = [...page.images].filter(image => !image.complete);
    const ended = image => new Promise(done => { image.addEventListener("load", done); image.addEventListener("error", done); });
    return Promise.race([Promise.all([page.fonts.ready, ...images.map(ended)]), turnwise.later(LOADING)]);
  };
  const answered = async () => {
    for (let left = LOADING; left > 0 && windows().some(view => view.turnwise.asks()); left--) await turnwise.later(1);
  };
  const of = mark => {
    const element = elements[mark - first];
    return element?.isConnected ? element : null;
  };
  const offset = element => {  // of the frame it is in
    const frame = element.ownerDocument.defaultView.frameElement;
    if (!frame) return {x: 0, y: 0};
    const box = frame.getBoundingClientRect();
    return {x: box.x + frame.clientLeft, y: box.y + frame.clientTop};
  };
  const changed = element => {
    for (const kind of ["input", "change"]) element.dispatchEvent(new Event(kind, {bubbles: true}));
  };
  const missing = mark => {
    const all = elements.length ? `there are ${first} to ${first + elements.length - 1}` : "there are none";
    return {problem: elements[mark - first] ? "is no longer on the page" : `is not there: ${all}`};
  };

  const markOf = element => elements.includes(element) ? first + elements.indexOf(element) : 0;
  const known = element => {  // the mark of what lies there
    for (let outer = element; outer; outer = outer.parentElement) if (markOf(outer)) return `mark ${markOf(outer)}`;
    return roleOf(element);
  };
  Object.assign(window.turnwise, {
    start(seed, mode, mark) {
      this.seed = seed;
      first = mark;
      Math.seedrandom(seed);
      core.setDataMode(mode);
      core.startEpisodeReal();
      return true;
    },
    async pass(ms, pointer) {  // `moved`: something else lies under the pointer now than what it was told of
      await answered();
      for (const view of windows()) view.turnwise.advance(ms);
      await answered();
      const now = pointer && document.elementFromPoint(...pointer);
      return {...this.verdict(), moved: Boolean(pointer) && (now !== under || now?.tagName === "IFRAME")};
    },
    verdict: () => ({done: WOB_DONE_GLOBAL, reward: WOB_REWARD_GLOBAL, raw: WOB_RAW_REWARD_GLOBAL, ready: WOB_TASK_READY,
      reason: squeeze(WOB_REWARD_REASON), errors: windows().flatMap(view => view.turnwise.errors)}),
    async read(boxes) {
      for (const view of windows()) {
        await loaded(view.document);
        for (const one of view.document.getAnimations()) try { one.finish(); } catch {}
      }
      const reading = new Reading(boxes);
      reading.children(document.body, 0, {x: 0, y: 0}, null);
      elements = reading.found;
      const text = reading.lines.map(([depth, line]) => "  ".repeat(depth) + line).join("\n");
      return {...this.verdict(), text, count: elements.length};
    },
    task() {  // the utterance, and what is drawn in it
      const drawn = [...document.querySelectorAll("#query *")].filter(element => !element.firstChild);
      const colours = drawn.map(element => colour(getComputedStyle(element).backgroundColor)).filter(Boolean);
      const said = core.getUtterance();
      return squeeze(said.utterance ?? said) + (colours.length ? ` (${colours.join(", ")})` : "");
    },
    markOf,
    point(mark, free) {  // where to hit it, scrolled into view if it has to be; `free`: its middle will do, whatever lies there
      const marked = of(mark);
      if (!marked) return missing(mark);
      const view = marked.ownerDocument.defaultView, away = marked.getBoundingClientRect().right <= 0;
      const element = away && marked.labels?.length ? marked.labels[0] : marked;  // many hide the box and show its label
      let {at, cover} = hittable(element);
      if (!at) {
        element.scrollIntoView({block: "nearest", inline: "nearest"});
        ({at, cover} = hittable(element));
      }
      if (!at) {
        const box = element.getBoundingClientRect();
        if (box.width + box.height === 0) return {problem: "has no visible area"};
        if (!free && cover instanceof view.Element && !cover.contains(element)) return {problem: `is covered by ${known(cover)}`};
        at = {x: box.x + box.width / 2, y: box.y + box.height / 2};
      }
      const frame = offset(element);
      return {x: at.x + frame.x, y: at.y + frame.y};
    },
    points(places) {  // prefix -> mark, of one way: all of them in view, and what one is dropped on may lie under something
      const found = {}, kept = {}, far = ([prefix, mark]) => kept[prefix] !== box(mark);
      const box = mark => JSON.stringify(of(mark)?.getBoundingClientRect());
      for (const [prefix, mark] of [...Object.entries(places), ...Object.entries(places)]) {  // one may scroll the other on
        found[prefix] = this.point(mark, prefix === "to_");
        if (found[prefix].problem) return {problem: `mark ${mark} ${found[prefix].problem}`};
        kept[prefix] = box(mark);
      }
      return Object.entries(places).some(far) ? {problem: "the two marks cannot be in view at once"} : found;
    },
    field(mark, text) {  // true: it holds the text now; false: it is to be typed, over what is selected
      const element = of(mark);
      if (!element) return missing(mark);
      if (element.matches(":disabled") || element.readOnly) return {problem: "cannot be written into"};
      if (/^(date|time|month|week|datetime-local|range|color)$/.test(element.type)) {
        element.value = text;
        changed(element);
        return {filled: true};
      }
      if (!element.isContentEditable && !(element.select && element.type !== "checkbox" && element.type !== "radio")) {
        return {problem: "takes no text"};
      }
      element.focus();
      if (element.isContentEditable) element.ownerDocument.getSelection().selectAllChildren(element); else element.select();
      return {filled: false};
    },
    choose(mark, text) {
      const element = of(mark);
      if (!element) return missing(mark);
      if (element.tagName !== "SELECT") return {problem: "is no list to select from"};
      if (element.disabled) return {problem: "is disabled"};
      const option = [...element.options].find(one => squeeze(one.text) === squeeze(text));
      if (!option) return {problem: `has no option ${quote(text)}`};
      element.focus();
      if (element.multiple) option.selected = !option.selected; else element.selectedIndex = option.index;
      changed(element);
      return {};
    },
    async scroll(mark, pixels) {  // what scrolls there, else around it
      let element = mark ? of(mark) : document.scrollingElement;
      if (!element) return missing(mark);
      while (element.parentElement && element.scrollHeight <= element.clientHeight + 1) element = element.parentElement;
      element.scrollTop += pixels;
      await this.frame();
      await this.frame();
      return {};
    },
  });

  // The clipboard of this page alone: the browser's is everybody's.
  let held = "";
  for (const kind of ["copy", "cut", "paste"]) {
    document.addEventListener(kind, event => {
      event.preventDefault();
      event.stopImmediatePropagation();
      const field = document.activeElement, part = field?.selectionStart !== undefined && field.selectionStart !== null;
      if (kind === "paste") { document.execCommand("insertText", false, held); return; }
      held = part ? field.value.slice(field.selectionStart, field.selectionEnd) : String(getSelection());
      if (kind === "cut") document.execCommand("delete");
    }, true);
  }
})();
"""

_STYLE = "#reward-display,#sync-task-cover,#click-canvas{display:none!important}"

PAGE_SCRIPT = f"<style>{_STYLE}</style><script>{_CLOCK}{_READER}{POINTING}{_FUNCTIONS}</script>"
"""Goes right behind <head>."""
