"""turnwise/MaskedSearch-v0: a passage with masked names, years and numbers, to be filled in by searching and reading pages.

The passage tells of people, towns, companies, ships, bridges, museums, novels and rivers of a world made for the task; no page
is that passage. Each mask stands for one thing or number, wherever it stands, so a mask that was found is often what to look for
next. From level 3 on the thing that the passage begins with may itself be masked; then two of its properties tell which it is.

Difficulty is the number of masks (turns measured: 200 train and 200 test tasks a level):

    level  masks  pages to read (mean)  pages of the world  expert turns  turn limit
      1      1            1                    33                3             8
      2      2            1.7                  43              3 to 5       8 to 11
      3      3            2.5                  65              3 to 7       8 to 14
      4      4            3.2                  85              3 to 9       8 to 17
      5      5            3.9                 131              4 to 11     11 to 20
      6      6            4.6                 171              4 to 13     11 to 23
      7      8            5.8                 258              6 to 17     14 to 29

The answer gives a line or a bracket for each mask, `[1] Greenmere [2] 1873`. Reward 1 needs all of them; `progress` of it (0.3 if
not said) is paid for the share of the masks that is right, as the term "progress", and the rest, the term "answer", for all.

With `corpus=PATH` (a folder of texts, or JSON lines of {"id", "title", "text"}) the passages are sentences of your own documents,
which are what is searched; the page of a passage is among them, as in the source. Numbers and names with capitals are masked, the
longer the more often, and each document is in one split with all its passages.

Source: retrieval-augmented mask prediction (RAMP) of MaskSearch (Wu et al. 2025, arXiv 2505.20285), where a model that writes and
pages of Wikipedia take the place of the world, and masks may repeat.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, seed_in
from turnwise.envs.options import ToolOptions
from turnwise.envs.question_files import id_in_split, stamp_of
from turnwise.envs.search.answers import exact_match, paid_in_parts
from turnwise.envs.search.cloze import Cloze, OwnPassages
from turnwise.envs.search.page_env import PageEnv, index_of
from turnwise.envs.search.passages import LEVELS, make_passage, passage_world
from turnwise.envs.search.world import page_id
from turnwise.errors import ConfigError
from turnwise.tool_servers.search.corpus import read_corpus
from turnwise.tool_servers.search.index import SearchIndex
from turnwise.tool_servers.search.memory import MemoryIndex
from turnwise.types import Task

__all__ = ["MaskedSearch", "read_fills"]

MAX_ANSWER = 5_000
"""Characters; a longer answer is wrong without being looked at."""
_FILL = re.compile(r"\[(\d{1,3})\]([^\[\]]*)")
_LINE = re.compile(r"^\s*(\d{1,3})\s*[:.)]\s*(.*)$")


class MaskedSearch(PageEnv):
    """Masked passages with a search tool; reward 1 for all masks. See the module for the levels.

    progress: the share of the reward that is paid mask by mask (0 to 1).
    corpus: a folder or .jsonl file of your own documents instead of a world.
    cache: where the indices of large corpora are kept (default: ~/.cache/turnwise/search).
    """

    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(
        self,
        *,
        progress: float = 0.3,
        corpus: str | None = None,
        cache: str | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        if corpus is None and cache is not None:
            raise ConfigError("MaskedSearch: cache is for documents of your own; give corpus=PATH too, or neither.")
        self.progress = self._share("progress", progress)
        self._own: tuple[OwnPassages, SearchIndex] | None = None
        if corpus is not None:
            self._own = _read_corpus(corpus, cache, stamp_of(corpus))
            self.metadata = {**self.metadata, "inline": isinstance(self._own[1], MemoryIndex)}

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        if self._own is not None:
            return self.sample_task(rng, ("train", "test")[int(rng.integers(2))], difficulty)
        return _task_of(int(rng.integers(2**63)), difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: only the passage that is played is made."""
        if self._own is not None:
            return _task_of_own(self._own[0].draw(rng, split, LEVELS[difficulty].masks), split, difficulty)
        return _task_of(seed_in(split, rng, lambda seed: _id_of(seed, difficulty)), difficulty)

    @override
    def turn_limit(self, task: Task) -> int:
        return 3 * task.metadata["reads"] + 5

    @override
    def index(self) -> SearchIndex:
        return self._own[1] if self._own is not None else _index(self.task.metadata["seed"], self.task.difficulty)

    @override
    def needed(self) -> Sequence[tuple[str, str]]:
        if "document" in self.task.metadata:
            words = re.sub(r"\[\d+\]", " ", self.task.metadata["passage"])
            return [(words, self.task.metadata["document"])]
        return _pages(self.task.metadata["seed"], self.task.difficulty)

    @override
    def grade(self, answer: str) -> float:
        """The share of the masks that is right."""
        spans: Sequence[str] = self.task.metadata["spans"]
        fills = read_fills(answer, len(spans))
        return sum(exact_match(fills.get(number, ""), [span]) for number, span in enumerate(spans, 1)) / len(spans)

    @override
    def _answer(self, answer: str) -> Transition:
        return paid_in_parts(self.grade(answer), len(self.task.metadata["spans"]), self.progress, "masks")


def read_fills(answer: str, masks: int) -> dict[int, str]:
    """Number of a mask -> what an answer says for it: "[1] x [2] y", lines "1: x", or as many lines or parts with ";" as masks.

    A mask that is answered twice, differently, is not answered.
    """
    text = answer[:MAX_ANSWER] if len(answer) <= MAX_ANSWER else ""
    lines = [line.strip() for line in re.split(r"[\n;]", text) if line.strip()]
    said = [(int(number), fill) for number, fill in _FILL.findall(text)]
    if not said:
        said = [(int(found[1]), found[2]) for line in lines if (found := _LINE.match(line))]
    if not said and len(lines) == masks:
        said = list(enumerate(lines, 1))
    fills = dict[int, str]()
    for number, fill in said:
        fill = fill.strip(" \t\n:=;,")
        fills[number] = fill if fills.get(number, fill) == fill else ""
    return fills


@lru_cache(maxsize=4)
def _read_corpus(corpus: str, cache: str | None, stamp: tuple[int, ...]) -> tuple[OwnPassages, SearchIndex]:
    """Read once for all environments of a process, as long as the files are the same."""
    path = Path(corpus).expanduser()
    found = read_corpus(path)
    return OwnPassages(found, path.stem), index_of(found.documents, cache)


def _id_of(seed: int, level: int) -> str:
    return f"masked/{level}/{seed:016x}"


def _task_of(seed: int, level: int) -> Task:
    passage = make_passage(seed, LEVELS[level])
    metadata = {"seed": seed, "spans": list(passage.spans), "reads": len(passage.searches)}
    return Task(_id_of(seed, level), _prompt(passage.text, len(passage.spans)), _joined(passage.spans), level, metadata)


def _task_of_own(cloze: Cloze, split: Split, level: int) -> Task:
    shown = f"{cloze.title}: {cloze.text}" if cloze.title and cloze.title not in cloze.text else cloze.text
    task_id = id_in_split("masked", f"{cloze.document}\n{cloze.text}", split)
    metadata = {"document": cloze.document, "passage": shown, "spans": list(cloze.spans), "reads": 1}
    return Task(task_id, _prompt(shown, len(cloze.spans)), _joined(cloze.spans), level, metadata)


def _prompt(text: str, masks: int) -> str:
    which = "mask [1]" if masks == 1 else f"masks [1] {'and' if masks == 2 else 'to'} [{masks}]"
    form = " ".join(f"[{number}] ..." for number in range(1, masks + 1))
    return f"Find what the {which} in this text stand{'s' * (masks == 1)} for:\n\n{text}\n\nAnswer in the form {form}"


def _joined(spans: Sequence[str]) -> str:
    return " ".join(f"[{number}] {span}" for number, span in enumerate(spans, 1))


@lru_cache(maxsize=64)
def _index(seed: int, level: int) -> MemoryIndex:
    """The pages of a passage's world; shared by all episodes of the task."""
    return MemoryIndex(passage_world(seed, LEVELS[level]).pages)


@lru_cache(maxsize=64)
def _pages(seed: int, level: int) -> Sequence[tuple[str, str]]:
    passage, world = make_passage(seed, LEVELS[level]), passage_world(seed, LEVELS[level])
    return [(query, page_id(world, name)) for query, name in passage.searches]
