"""Names to classes: the file's name is the method's name.

`advantage: trloo` is the one public class of `turnwise/trainers/advantages/trloo.py`; `my_pkg.credit:Mine` names one
outside this repository. Nothing is imported before it is asked for and nothing registers itself.
"""

import pkgutil
from importlib import import_module

from turnwise.errors import ConfigError, UnknownName

__all__ = ["names", "resolve"]


def names(package: str) -> list[str]:
    """The methods in a package such as "turnwise.trainers.losses", sorted."""
    path = import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_") and m.name != "protocol")


def resolve(package: str, name: str) -> type:
    """The class that `name` means among the methods of `package`; raises UnknownName or ConfigError."""
    if ":" in name:
        return _dotted(name)
    known = names(package)
    if name not in known:
        raise UnknownName(package.rsplit(".", 1)[-1].removesuffix("s"), name, known)
    module = import_module(f"{package}.{name}")
    exported: list[str] = getattr(module, "__all__", [])
    if len(exported) != 1:
        raise ConfigError(f"{module.__name__}: a method file exports exactly one name in __all__, this one {exported}.")
    return getattr(module, exported[0])


def _dotted(name: str) -> type:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name!r}: cannot be imported ({error}). Write package.module:ClassName.") from error
