"""The script that every page gets in its own world, before its own scripts: repeatable, and asked what is under way.

It fixes the clock and random numbers, and knows what runs (frames, short timers, requests) and what listens for clicks. The
observer's world asks it by events that can be cancelled, whose answer is whether they were; objects do not pass between worlds.
"""

import json

__all__ = ["main_script"]


def main_script(*, seed: int, now_ms: int | None) -> str:
    """`now_ms`: where the page's clock starts (ms since 1970), one more at each look; None leaves clock and random alone."""
    return _MAIN.replace("SETTINGS", json.dumps({"seed": seed % 2**32, "now": now_ms}))


_MAIN = r"""
(() => {
  const {seed, now} = SETTINGS;
  if (now !== null) {
    const RealDate = Date;
    let clock = now, state = seed >>> 0;
    const tick = () => clock++;
    window.Date = new Proxy(RealDate, {
      construct: (target, given, made) => Reflect.construct(target, given.length ? given : [tick()], made),
      apply: target => new target(tick()).toString(),
      get: (target, key) => key === "now" ? tick : Reflect.get(target, key),
    });
    RealDate.prototype.constructor = window.Date;
    Math.random = () => {  // mulberry32
      state = state + 0x6D2B79F5 | 0;
      let t = Math.imul(state ^ state >>> 15, 1 | state);
      t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
      return ((t ^ t >>> 14) >>> 0) / 4294967296;
    };
  }

  // What is under way: only what an action began and what that began in turn, so that endless loops do not hold anybody up.
  const SHORT_MS = 50, GENERATIONS = 2;
  const pending = new Map();
  let generation = 0, next = 0;
  const begin = () => { const key = ++next; pending.set(key, generation); return key; };
  const within = (key, work) => {
    const outer = generation;
    generation = (pending.get(key) ?? 0) + 1;
    try { return work(); } finally { generation = outer; pending.delete(key); }
  };
  const frames = new Map(), timers = new Map();
  const {requestAnimationFrame: raf, cancelAnimationFrame: caf, setTimeout: later, clearTimeout: never, fetch: get} = window;
  // The browser's frames know no rate: at once for what an action began, at 60 Hz for loops.
  window.requestAnimationFrame = work => {
    const key = begin();
    const run = time => { frames.delete(key); within(key, () => work(time)); };
    const entry = {};
    const ask = () => { entry.frame = raf.call(window, run); };
    if (generation > GENERATIONS) entry.timer = later.call(window, ask, 16); else ask();
    frames.set(key, entry);
    return key;
  };
  window.cancelAnimationFrame = key => {
    const entry = frames.get(key) ?? {};
    pending.delete(key);
    frames.delete(key);
    never.call(window, entry.timer);
    caf.call(window, entry.frame);
  };
  window.setTimeout = (work, delay = 0, ...given) => {
    if (delay > SHORT_MS || typeof work !== "function") return later.call(window, work, delay, ...given);
    const key = begin();
    const id = later.call(window, () => { timers.delete(id); within(key, () => work.apply(window, given)); }, delay);
    timers.set(id, key);
    return id;
  };
  window.clearTimeout = id => { pending.delete(timers.get(id)); timers.delete(id); never.call(window, id); };
  window.fetch = (...given) => {
    const key = begin(), done = () => later.call(window, () => pending.delete(key), 0);
    const answer = get.apply(window, given);
    answer.then(done, done);
    return answer;
  };
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (...given) {
    const key = begin();
    this.addEventListener("loadend", () => later.call(window, () => pending.delete(key), 0));
    return send.apply(this, given);
  };
  window.addEventListener("turnwise:busy", event => {
    if ([...pending.values()].some(born => born <= GENERATIONS)) event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  window.addEventListener("turnwise:begin", event => {
    for (const key of pending.keys()) pending.set(key, 0);
    event.stopImmediatePropagation();
  }, true);

  // What listens for clicks, and shadow roots that say they are closed.
  const KINDS = ["click", "mousedown", "mouseup", "pointerdown", "pointerup", "dblclick"];
  const clickable = new WeakSet(), listen = EventTarget.prototype.addEventListener;
  let any = false;
  const add = element => { if (element instanceof Element) { clickable.add(element); any = true; } };
  EventTarget.prototype.addEventListener = function (kind, ...given) {
    if (KINDS.includes(kind)) add(this);
    return listen.call(this, kind, ...given);
  };
  for (const prototype of [HTMLElement.prototype, SVGElement.prototype]) {
    for (const kind of KINDS) {
      const {get: read, set: write} = Object.getOwnPropertyDescriptor(prototype, "on" + kind);
      Object.defineProperty(prototype, "on" + kind, {
        get: read, set(work) { if (work) add(this); write.call(this, work); }, configurable: true, enumerable: true,
      });
    }
  }
  listen.call(window, "turnwise:clickable", event => {
    const target = event.composedPath()[0];
    if (target === window ? any : clickable.has(target)) event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (options) { return attach.call(this, {...options, mode: "open"}); };
})();
"""
