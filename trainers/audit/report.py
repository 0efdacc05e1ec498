"""Every rule on every row, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turnwise.trainers.audit.formats import guess, reader
from turnwise.trainers.audit.rows import RULES

__all__ = ["Finding", "Report", "audit"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    where: str
    rule: str
    says: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found."""

    form: str
    rows: int
    tokens: int
    trained: int
    twins: int
    """Rows whose ids are those of an earlier row: counted, not wrong by itself (short replies coincide; copies do too)."""
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        return not self.findings

    def summary(self, most: int = 20) -> str:
        """For a person."""
        share = f"{self.trained / self.tokens:.0%}" if self.tokens else "none"
        head = f"{self.form}: {self.rows} rows, {self.tokens} tokens, {share} of them trained; {self.twins} rows repeat another"
        text = (
            []
            if self.tokens
            else ["this dump holds no token ids (text only): masks, stops and log-probabilities cannot be checked"]
        )
        rows = [f"  {f.rule:<9} {f.where}: {f.says}" for f in self.findings[:most]]
        counts = ", ".join(f"{rule} {n}" for rule, n in Counter(f.rule for f in self.findings).most_common())
        tail = f"{len(self.findings)} findings: {counts}" if self.findings else "nothing is wrong"
        return "\n".join([head, *text, *rows, tail])


def audit(path: Path, *, form: str = "", stop_ids: Sequence[int] = ()) -> Report:
    """Check a dump; `form` is one of `FORMATS` (found out if ""). `stop_ids` are what ends a reply (not checked if empty).

    Raises ConfigError for a file that is none, UnknownName for an unknown format.
    """
    form = form or guess(path)
    stops = frozenset(stop_ids)
    findings: list[Finding] = []
    seen: Counter[tuple[int, ...]] = Counter()
    rows = tokens = trained = 0
    for row in reader(form)(path):
        rows, tokens, trained = rows + 1, tokens + len(row.ids), trained + sum(map(bool, row.mask))
        if row.ids:
            seen[tuple(row.ids)] += 1
        findings += [Finding(row.where, name, says) for name, rule in RULES.items() for says in rule(row, stops)]
    return Report(form, rows, tokens, trained, sum(n - 1 for n in seen.values()), tuple(findings))
