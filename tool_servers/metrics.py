"""Counters, gauges and histograms in the text format that Prometheus reads (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Metrics"]

_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds."""
_Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    total: float = 0.0


class Metrics:
    """What one server counts. A name is described once, in `help`; labels must come from a small, known set."""

    def __init__(self, help: Mapping[str, str]) -> None:
        """`help` has one line per name."""
        self._help = dict(help)
        self._counters: dict[tuple[str, _Labels], float] = {}
        self._histograms: dict[tuple[str, _Labels], _Histogram] = {}
        self._gauges: dict[tuple[str, _Labels], Callable[[], float]] = {}

    def count(self, name: str, **labels: str) -> None:
        """One more."""
        key = (name, tuple(labels.items()))
        self._counters[key] = self._counters.get(key, 0.0) + 1

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """One more duration."""
        key = (name, tuple(labels.items()))
        histogram = self._histograms.get(key)
        if histogram is None:
            histogram = self._histograms[key] = _Histogram()
        histogram.counts[bisect_left(_BOUNDS, seconds)] += 1
        histogram.total += seconds

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        """A number that is read when somebody asks."""
        self._gauges[(name, tuple(labels.items()))] = read

    def text(self) -> str:
        """Everything, sorted."""
        lines: list[str] = []
        for name, help in sorted(self._help.items()):
            gauges = [_line(n, labels, read()) for (n, labels), read in sorted(self._gauges.items(), key=_key) if n == name]
            counters = [_line(n, labels, value) for (n, labels), value in sorted(self._counters.items()) if n == name]
            histograms = [
                line
                for (n, labels), h in sorted(self._histograms.items(), key=_key)
                if n == name
                for line in _series(n, labels, h)
            ]
            kind = "gauge" if gauges else "histogram" if histograms else "counter"
            samples = gauges + counters + histograms
            if samples:
                lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}", *samples]
        return "\n".join(lines) + "\n"


def _key(item: tuple[tuple[str, _Labels], object]) -> tuple[str, _Labels]:
    return item[0]


def _line(name: str, labels: _Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inside}}} {value:.12g}" if inside else f"{name} {value:.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _series(name: str, labels: _Labels, histogram: _Histogram) -> list[str]:
    lines: list[str] = []
    below = 0
    for bound, count in zip((*map(str, _BOUNDS), "+Inf"), histogram.counts, strict=True):
        below += count
        lines.append(_line(f"{name}_bucket", (*labels, ("le", bound)), below))
    return [*lines, _line(f"{name}_sum", labels, histogram.total), _line(f"{name}_count", labels, below)]
