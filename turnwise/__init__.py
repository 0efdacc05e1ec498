"""Gymnasium environments and reinforcement learning for multi-turn LLM agents.

`import turnwise` registers every environment id (`gymnasium.make("turnwise/Sokoban-v0")` then works), those of installed
plug-ins included. It loads no torch.
"""

from pathlib import Path

if __name__ != "turnwise":  # the path below would show this folder a second time, inside itself
    raise ImportError(f"import turnwise, not {__name__}")

__version__ = "0.1.0"

# In a source checkout the parts of the house lie beside this folder; in a wheel they lie inside it.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file() and (_checkout / "envs" / "registration.py").is_file():
    __path__.append(str(_checkout))

from turnwise.envs.registration import register_all as _register_all  # noqa: E402  (the path above comes first)

_register_all()
