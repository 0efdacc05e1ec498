"""Style and controls of the trajectory page; choices are plain inputs that the style sheet looks at, so no script runs."""

__all__ = ["BY_ADVANTAGE", "CONTROLS", "SHADES", "STYLE"]

CONTROLS = (
    "<fieldset><legend>show</legend>"
    '<label><input type="checkbox" id="solved" checked> solved</label>'
    '<label><input type="checkbox" id="unsolved" checked> unsolved</label>'
    '<label><input type="checkbox" id="failed" checked> failed</label></fieldset>'
)

SHADES = (
    "<fieldset><legend>shade tokens by</legend>"
    '<label><input type="radio" name="shade" id="by-surprise" checked> surprise</label>'
    '<label><input type="radio" name="shade" id="by-entropy"> entropy</label>'
    "{advantage}"
    '<label><input type="radio" name="shade" id="by-nothing"> nothing</label></fieldset>'
)

BY_ADVANTAGE = '<label><input type="radio" name="shade" id="by-advantage"> advantage</label>'

STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1d2126, #d9dde2); --dim: light-dark(#5f6873, #98a1ac);
  --paper: light-dark(#fff, #15181c); --card: light-dark(#f5f6f8, #1e2227); --line: light-dark(#dde1e6, #343a42);
  --good: light-dark(#1c7f4b, #5cc98d); --bad: light-dark(#b3372b, #ef8377); --odd: light-dark(#9a6500, #e0ad4b);
  --shade: light-dark(#f08a24, #c96a10); --plus: light-dark(#38b26f, #2c8a57); --minus: light-dark(#e5675b, #b6453a); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .6rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0 0 1rem; }
dt, small, .task, legend { color: var(--dim); }
dd { margin: 0; }
form { display: flex; flex-wrap: wrap; gap: 1rem; margin-bottom: 1rem; }
fieldset { border: 1px solid var(--line); border-radius: 6px; padding: .1rem .7rem .35rem; display: flex; gap: .9rem; }
details { border-top: 1px solid var(--line); padding: .35rem 0; }
summary { cursor: pointer; display: grid; grid-template-columns: 2.4rem 5.2rem 1fr; column-gap: .5rem; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary:hover { background: var(--card); }
summary > b { color: var(--dim); font-weight: 400; text-align: right; }
summary > small { grid-column: 3; }
.mark { font-weight: 600; }
.solved .mark { color: var(--good); } .unsolved .mark { color: var(--bad); } .failed .mark { color: var(--odd); }
.task { margin: .5rem 0 .7rem; font-size: .87rem; }
.said { margin: .45rem 0; padding: .5rem .7rem; border-radius: 8px; border: 1px solid var(--line); }
.env { background: var(--card); margin-right: 8%; }
.agent { margin-left: 8%; }
.invalid { border-color: var(--odd); }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; }
small { font-size: .82rem; }
.broken { color: var(--odd); }
i { font-style: normal; border-radius: 2px; }
body:has(#by-surprise:checked) i { background: color-mix(in srgb, var(--shade) var(--p, 0%), transparent); }
body:has(#by-entropy:checked) i { background: color-mix(in srgb, var(--shade) var(--e, 0%), transparent); }
body:has(#by-advantage:checked) i { background: linear-gradient(color-mix(in srgb, var(--plus) var(--g, 0%), transparent) 0 0),
  linear-gradient(color-mix(in srgb, var(--minus) var(--r, 0%), transparent) 0 0); }
body:has(#solved:not(:checked)) .solved, body:has(#unsolved:not(:checked)) .unsolved,
body:has(#failed:not(:checked)) .failed { display: none; }
"""
