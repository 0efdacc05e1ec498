"""Scripted experts: for each page that has one, JavaScript that says the next step from wherever the page stands.

They look at what the page holds, not only at what is shown: an expert shows that a page can be solved, and how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from turnwise.envs.miniwob.experts_drawing import DRAWING
from turnwise.envs.miniwob.experts_flights import FLIGHTS
from turnwise.envs.miniwob.experts_moving import MOVING
from turnwise.envs.miniwob.experts_pointing import POINTING
from turnwise.envs.miniwob.experts_typing import TYPING

__all__ = ["EXPERTS", "LEVELS", "expert_script"]

EXPERTS: Mapping[str, str] = dict(sorted({**POINTING, **TYPING, **MOVING, **DRAWING, **FLIGHTS}.items()))
_BY_LEVEL = {
    1: """
        buy-ticket click-button click-color click-dialog-2 click-link click-shape click-tab click-tab-2-easy
        click-tab-2-medium click-widget count-shape count-sides drag-items drag-items-grid email-inbox-delete
        email-inbox-important focus-text-2 grid-coordinate identify-shape unicode-test
    """,
    2: """
        choose-list click-collapsible-2 click-collapsible-2-nodelay click-menu click-option click-pie click-tab-2
        click-tab-2-hard copy-paste copy-paste-2 drag-box drag-circle drag-single-shape draw-circle draw-line enter-date
        enter-text enter-text-2 enter-text-dynamic enter-time find-greatest find-word highlight-text highlight-text-2
        navigate-tree read-table resize-textarea scroll-text scroll-text-2 simple-algebra simple-arithmetic text-transform
        use-colorwheel use-colorwheel-2 visual-addition
    """,
    3: """
        button-delay choose-date-easy click-checkboxes click-menu-2 click-scroll-list drag-shapes drag-sort-numbers
        email-inbox-nl-turk email-inbox-noscroll email-inbox-star-reply enter-password form-sequence-2 form-sequence-3
        login-user read-table-2 sign-agreement social-media social-media-some use-autocomplete use-autocomplete-nodelay
        use-slider
    """,
    4: """
        choose-date-medium click-checkboxes-soft click-checkboxes-transfer daily-calendar email-inbox email-inbox-forward
        email-inbox-forward-nl email-inbox-forward-nl-turk email-inbox-reply form-sequence generate-number login-user-popup
        multi-layouts multi-orderings odd-or-even order-food phone-book search-engine terminal text-editor use-slider-2
    """,
    5: """
        ascending-numbers book-flight book-flight-nodelay chase-circle choose-date choose-date-nodelay
        click-checkboxes-large click-shades drag-cube drag-shapes-2 guess-number hot-cold moving-items number-checkboxes
        simon-says social-media-all stock-market use-spinner
    """,
}
LEVELS: Mapping[int, Sequence[str]] = {level: tuple(names.split()) for level, names in _BY_LEVEL.items()}
"""The pages by how many steps their experts take: 1, 2, about 3, about 4, more; all that they always earn 1 on, but flights, and
those where it is the same few clicks in every task."""

_KIT = r"""
  const squeeze = words => (words ?? "").replace(/\s+/g, " ").trim(), squash = words => words.replace(/\s+/g, "");
  const uttered = core.getUtterance(), q = squeeze(uttered.utterance ?? uttered);
  const said = [...q.matchAll(/"([^"]*)"/g)].map(match => match[1]);
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const one = (what, within = document) => within.querySelector(what);
  const shown = e => Boolean(e?.getClientRects().length) && getComputedStyle(e).visibility === "visible";
  const text = e => squeeze(e.textContent);
  const named = (what, words) => all(what).find(e => text(e) === words && shown(e));
  const box = e => e.getBoundingClientRect();
  const middle = e => { const b = box(e); return [b.x + b.width / 2, b.y + b.height / 2]; };
  const first = steps => steps.find(Boolean) ?? null;
  const call = (tool, given) => ({tool, arguments: given});
  const mark = e => turnwise.markOf(e) || [...e.querySelectorAll("*")].map(turnwise.markOf).find(Boolean) || 0;
  const click = e => {
    if (mark(e)) return call("click", {mark: mark(e)});
    const [x, y] = middle(e);
    return call("click_at", {x, y});
  };
  const press = keys => call("press", {keys});
  const type = (e, words) => e.value === words ? null : call("type", {text: words, mark: mark(e)});
  const chosen = e => squeeze(e.selectedOptions[0]?.text);
  const choose = (e, words) => chosen(e) === words ? null : call("select", {mark: mark(e), option: words});
  const tick = (e, on = true) => e.checked === on ? null : click(e);
  const submit = () => click(one("#subbtn, #submit") ?? all("button").find(e => /submit|login/i.test(text(e))));
"""


def expert_script(name: str) -> str:
    """An expression whose value is {"tool": str, "arguments": object}."""
    return f"(() => {{{_KIT}{EXPERTS[name]}\n}})()"
