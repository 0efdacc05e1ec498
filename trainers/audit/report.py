"""Every rule on every row, and what came of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnwise.errors import ConfigError
from turnwise.trainers.audit.facts import gathered
from turnwise.trainers.audit.formats import guess, reader
from turnwise.trainers.audit.rows import RULES, Facts, Row, digest
from turnwise.trainers.audit.wording import Scorer, Wording, model_beside

__all__ = ["Finding", "Report", "audit"]

_BY_CHANCE = 0.02
"""Rows of a dump that may be expected to repeat another and be as improbable; where fewer are, a repeated one is a copy."""


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
    """Rows whose ids are those of an earlier row. Short replies coincide; those that chance does not explain are findings."""
    findings: tuple[Finding, ...]
    stops: frozenset[int] = frozenset()
    """What ends a reply, as it was given, read from a tokenizer or found in the dump."""
    model: str = ""
    """Where the tokenizer was; "" if there was none."""

    @property
    def sound(self) -> bool:
        return not self.findings

    def summary(self, most: int = 20) -> str:
        """For a person."""
        share = f"{self.trained / self.tokens:.0%}" if self.tokens else "none"
        head = [f"{self.form}: {self.rows} rows, {self.tokens} tokens, {share} of them trained; {self.twins} rows repeat another"]
        if not self.tokens:
            head += ["this dump holds no token ids (text only): masks, stops and log-probabilities cannot be checked"]
        else:
            stops = ", ".join(map(str, sorted(self.stops))) or "unknown, so not checked (--model or --stop-ids)"
            head += [f"stop tokens: {stops}; tokenizer: {self.model or 'none, so words and ids were not compared (--model)'}"]
        rows = [f"  {f.rule:<9} {f.where}: {f.says}" for f in self.findings[:most]]
        counts = ", ".join(f"{rule} {n}" for rule, n in Counter(f.rule for f in self.findings).most_common())
        tail = f"{len(self.findings)} findings: {counts}" if self.findings else "nothing is wrong"
        return "\n".join([*head, *rows, tail])


def audit(
    path: Path,
    *,
    form: str = "",
    stop_ids: Sequence[int] = (),
    vocabulary: int = 0,
    model: str | Path = "",
    score: bool = False,
    temperature: float = 1.0,
) -> Report:
    """Check a dump; `form` is one of `FORMATS` (found out if "").

    Args:
        path: the file, or the folder of a run of ours.
        stop_ids: what ends a reply; else the model's, else what is found at the ends of replies and nowhere else.
        vocabulary: ids are below it; 0 is the model's, else unknown.
        model: whose tokenizer wrote the dump; "" is the one that lies beside a dump of ours, if any.
        score: compare every log-probability with those of the model (the very weights that sampled, at `temperature`).

    Raises ConfigError for a file that is none, UnknownName for an unknown format.
    """
    if path.is_dir():
        path = path / "trajectories.jsonl"
    form = form or guess(path)
    files = model or (model_beside(path) if form == "turnwise" else None)
    if score and not files:
        raise ConfigError("audit --score: needs the model that sampled; name its folder by --model.")
    wording = Wording(files) if files else None
    scorer = Scorer(files, temperature=temperature) if files and score else None
    stops = stop_ids or (wording.stops if wording else ())
    facts = gathered(reader(form)(path), stops, vocabulary or (wording.vocabulary if wording else 0))
    copies = _Copies(facts)
    findings: list[Finding] = []
    rows = tokens = trained = 0
    for row in reader(form)(path):
        rows, tokens, trained = rows + 1, tokens + len(row.ids), trained + sum(map(bool, row.mask))
        said = [(name, says) for name, rule in RULES.items() for says in rule(row, facts)]
        said += [("copies", says) for says in copies.wrong(row)]
        if not said:  # else the model would be asked about nonsense
            said += [("words", says) for says in wording.wrong(row)] if wording else []
            said += [("scores", says) for says in scorer.wrong(row)] if scorer else []
        findings += [Finding(row.where, name, says) for name, says in said]
    return Report(form, rows, tokens, trained, copies.twins, tuple(findings), facts.stops, str(files or ""))


class _Copies:
    """Rows that are there twice, and should not be."""

    def __init__(self, facts: Facts) -> None:
        self._facts, self.twins = facts, 0
        self._rows = sum(facts.prompts.values())
        self._first: dict[tuple[bytes, str | float], Row] = {}
        """By ids alone, with the group, and with the time that the environment took."""
        self._repeats: Counter[tuple[str, str]] = Counter()
        """Rows that one group has of another."""

    def wrong(self, row: Row) -> Iterator[str]:
        """Of the next row: what it repeats, if that is no coincidence. Of our dumps, a single episode of another group is none: a
        sampler that begins again where one was puts it there; all of a group is."""
        if not row.ids:
            return
        ids, slim, seconds = digest(row.ids), _slim(row), _seconds(row)
        first, near, timed = (self._first.setdefault((ids, part), slim) for part in ("", row.group, seconds))
        if first is slim:
            return
        self.twins += 1
        same = len(row.turns) > 1 and timed is not slim and seconds > 0
        if same and timed.group != row.group:
            self._repeats[row.group, timed.group] += 1
            if 1 < self._repeats[row.group, timed.group] == self._facts.groups[row.group]:
                yield f"with it all of {row.group} repeats {timed.group}: the same episodes twice"
            return
        first = timed if same else near if row.turns else first
        if first is slim:
            return
        spoken = sum(p for m, p in zip(row.mask, row.logprobs, strict=False) if m and p < 0)
        chance = max(1, self._facts.prompts[row.prompt] - 1) * math.exp(spoken)
        if same or chance * self._rows < _BY_CHANCE:
            why = "and its environment took the very same time" if same else f"where chance gives {chance:.1g} such"
            yield f"the same episode as {first.where}, token by token, {why}: it is there twice"


def _slim(row: Row) -> Row:
    """What is needed to name it: not its tokens."""
    return Row(row.where, (), (), (), group=row.group)


def _seconds(row: Row) -> float:
    """What its environment took: no two episodes take the same, to the last bit."""
    return sum(turn.duration_s for turn in row.turns)
