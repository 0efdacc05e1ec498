"""turnwise/Search-v0: multi-hop questions about an encyclopaedia that nobody has read, answered by searching and reading it.

Every task has a world of its own: people, towns, companies, ships, bridges, museums, novels and rivers with invented names, a
page for each, and a BM25 search over them. Pages say the same things in different words, and half of all names resemble one of
the question's. From level 3 on pages contradict each other, by age or source, and the question says which is right. Four kinds of
question: a chain of hops, a comparison of two things, the one thing with two properties, and the sum, most, least or number of a
collection. What is in the middle is not named, so it has to be found; no answer stands in the question.

Levels (turns of the expert measured: 200 train and 200 test tasks each; it reads every page about what is contradicted):

    level  question                   pages to read  contradicted  pages of the world  expert turns  turn limit
      1    chain                           1              0                33                3             8
      2    chain                           2              0                43              4 to 5         11
      3    chain                           2              1                66              5 to 6         14
      4    chain, comparison             3 to 4           1                86              7 to 10      17 to 20
      5    comparison, intersection      5 to 6           1               131             10 to 14      23 to 26
      6    collection of 4                 7              1               174             12 to 16         29
      7    collection of 6                10              2               263             18 to 25      41 to 47
      8    collection of 8                13              3               434             24 to 33      50 to 62

With `data=PATH` the questions come from your copy of HotpotQA, MuSiQue or NQ, or from a file of your own with lines like
{"question": "...", "answer": "...", "support": ["id", ...]}, where "answer" may be a list and "support" (for the expert) may be
left out. What is searched is what came with them, or `corpus=PATH`: a folder of texts, or JSON lines of {"id", "title", "text"};
a large one is indexed once, on disk. `turnwise.envs.search.datasets` has the formats.

Sources: HotpotQA (Yang et al. 2018, arXiv 1809.09600) and MuSiQue (Trivedi et al. 2022, arXiv 2108.00573) for the kinds of
question, Search-R1 (Jin et al. 2025, arXiv 2503.09516) for search as a tool in reinforcement learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, seed_in
from turnwise.envs.options import ToolOptions
from turnwise.envs.question_files import DataSplit, FileQuestions, Questions, stamp_of
from turnwise.envs.search.answers import exact_match, token_f1
from turnwise.envs.search.datasets import load_questions
from turnwise.envs.search.page_env import PageEnv, index_of
from turnwise.envs.search.plots import LEVELS, make_story, story_world
from turnwise.envs.search.world import page_id
from turnwise.errors import ConfigError
from turnwise.tool_servers.search.corpus import read_corpus
from turnwise.tool_servers.search.index import SearchIndex
from turnwise.tool_servers.search.memory import MemoryIndex
from turnwise.types import Task

__all__ = ["Search"]


class Search(FileQuestions, PageEnv):
    """Questions with a search tool; reward 1 for the right answer. See the module for the levels.

    f1: the share of the reward that is the F1 of the answer's words, the term "f1"; the rest is exact match, the term "exact".
    data: a file or folder of questions instead of generated ones.
    data_split: the split of its questions: "auto" (as the file or folder is called, else by a hash), "hash", "train" or "test".
    corpus: a folder or .jsonl file of documents to search instead of those that came with the questions.
    cache: where indices of large corpora are kept (default: ~/.cache/turnwise/search).
    """

    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(
        self,
        *,
        f1: float = 0.1,
        data: str | None = None,
        data_split: DataSplit = "auto",
        corpus: str | None = None,
        cache: str | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        self.f1 = self._share("f1", f1)
        if data is None and (corpus or cache):
            raise ConfigError("Search: corpus and cache are for questions of your own; give data=PATH too, or neither.")
        self._own_index: SearchIndex | None = None
        if data is not None:
            stamp = (*stamp_of(data), *stamp_of(corpus or data))
            self.questions, self._own_index = _read_data(data, data_split, corpus, cache, stamp)
            self.level_of_data = options.get("difficulty")
            self.metadata = {**self.metadata, "inline": isinstance(self._own_index, MemoryIndex)}

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return _task_of(int(rng.integers(2**63)), difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: only the story that is played is made."""
        if self.questions is not None:
            return super().sample_task(rng, split, difficulty)
        return _task_of(seed_in(split, rng, lambda seed: _id_of(seed, difficulty)), difficulty)

    @override
    def turn_limit(self, task: Task) -> int:
        return 3 * len(task.metadata["support"]) + 4 if "answers" in task.metadata else 3 * task.metadata["reads"] + 5

    @override
    def index(self) -> SearchIndex:
        return self._own_index or _story_index(self.task.metadata["seed"], self.task.difficulty)

    @override
    def needed(self) -> Sequence[tuple[str, str]]:
        if "answers" not in self.task.metadata:
            return _story_pages(self.task.metadata["seed"], self.task.difficulty)
        support: Sequence[str] = self.task.metadata["support"]
        documents = [document for name in support if (document := self.index().document(name)) is not None]
        return [(document.title or document.text[:200], document.id) for document in documents]

    def _right(self) -> Sequence[str]:
        return self.task.metadata.get("answers", (self.task.answer,))

    @override
    def grade(self, answer: str) -> float:
        return exact_match(answer, self._right())

    @override
    def _answer(self, answer: str) -> Transition:
        exact = self.grade(answer)
        terms = {"exact": (1.0 - self.f1) * exact, "f1": self.f1 * max(exact, token_f1(answer, self._right()))}
        text = "Correct." if exact else "That is not the right answer."
        return Transition(text, sum(terms.values()), terminated=True, outcome=exact, terms=terms)


@lru_cache(maxsize=4)
def _read_data(
    data: str, split: DataSplit, corpus: str | None, cache: str | None, stamp: tuple[int, ...]
) -> tuple[Questions, SearchIndex]:
    """Read once for all environments of a process, as long as the files are the same."""
    found = load_questions(data, split=split)
    if corpus is None and not found.documents:
        raise ConfigError(f"Search: the questions of {data} bring no documents along; say what to search with corpus=PATH.")
    documents = found.documents if corpus is None else read_corpus(Path(corpus).expanduser()).documents
    return Questions(data, found.tasks), index_of(documents, cache)


def _id_of(seed: int, level: int) -> str:
    return f"search/{level}/{seed:016x}"


def _task_of(seed: int, level: int) -> Task:
    story = make_story(seed, LEVELS[level])
    read = {visit.thing for visit in story.visits}
    reads = sum(max(1, len(story.plot.things[name].editions)) for name in read)
    return Task(_id_of(seed, level), story.question, story.answer, level, {"seed": seed, "reads": reads})


@lru_cache(maxsize=64)
def _story_index(seed: int, level: int) -> MemoryIndex:
    """The pages of a story; shared by all episodes of the task."""
    return MemoryIndex(story_world(seed, LEVELS[level]).pages)


@lru_cache(maxsize=64)
def _story_pages(seed: int, level: int) -> Sequence[tuple[str, str]]:
    """(name, page) of all that a careful reader opens: where pages contradict each other, each of them."""
    story, world = make_story(seed, LEVELS[level]), story_world(seed, LEVELS[level])
    editions = {name: number for name, number in sorted(world.ids)}
    pages = [
        (visit.thing, page_id(world, visit.thing, edition))
        for visit in story.visits
        for edition in range(editions[visit.thing], -1, -1)
    ]
    return list(dict.fromkeys(pages))
