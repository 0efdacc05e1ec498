"""PageEnv: environments whose agent looks for pages and reads them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator
from typing_extensions import override

from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import tool
from turnwise.tool_servers.search.corpus import Document
from turnwise.tool_servers.search.index import SearchIndex, open_index
from turnwise.tool_servers.search.memory import MemoryIndex
from turnwise.types import Task

__all__ = ["PageEnv", "index_of"]

PART = 4_000
"""Characters of a page that `open` shows at once."""
MOST = 20
"""Hits of one search."""
_NAMED = 100
"""Characters of an id that a message repeats."""
IN_MEMORY = 5_000
"""Documents that are indexed in memory; more go to the cache on disk."""


def index_of(documents: Sequence[Document], cache: str | None) -> SearchIndex:
    """An index of a user's documents."""
    return MemoryIndex(documents) if len(documents) <= IN_MEMORY else open_index(documents, cache)


def _as_text(id: Any) -> Any:
    """Models write an id of digits as a number."""
    return str(id) if isinstance(id, int) else id


class PageEnv(ToolEnv):
    """A ToolEnv with the tools `search` and `open` over an index of pages.

    An author gives `index` (asked for when the first page is, so that it may be built late), `needed` for the expert, and the
    rest of a ToolEnv.
    """

    found: frozenset[str] = frozenset()
    """Ids that the searches of this episode gave."""
    read: frozenset[str] = frozenset()
    """Ids of the pages read in this episode."""
    searched: frozenset[str] = frozenset()
    """Queries of this episode."""

    @abstractmethod
    def index(self) -> SearchIndex:
        """The pages of the task."""

    @abstractmethod
    def needed(self) -> Sequence[tuple[str, str]]:
        """(query, id) of the pages that the expert reads before it answers, in order."""

    @tool
    def search(self, query: str, k: int = 5) -> str:
        """Search the pages for words. Gives the ids, titles and a few words of the best k (1 to 20)."""
        if not 1 <= k <= MOST:
            return f"k must be from 1 to {MOST}."
        hits = self.index().search(query, k)
        self.found |= {hit.id for hit in hits}
        self.searched |= {query}
        return "\n".join(f"[{hit.id}] {hit.title}: {hit.snippet}" for hit in hits) or "No page holds any of these words."

    @tool
    def open(self, page: Annotated[str, BeforeValidator(_as_text)], part: int = 1) -> str:
        """Read a page by its id, which search gives. Long pages have several parts."""
        name = page.strip().strip("[]")
        document = self.index().document(name)
        if document is None:
            return f"There is no page {page[:_NAMED]!r}; search gives the ids."
        parts = max(1, -(-len(document.text) // PART))
        if not 1 <= part <= parts:
            return f"Page {name[:_NAMED]} has {parts} part{'s' * (parts > 1)}; there is no part {part}."
        if part == 1:
            self.read |= {document.id}
        where = f" (part {part} of {parts})" if parts > 1 else ""
        return f"{document.title}{where}\n{document.text[(part - 1) * PART : part * PART]}"

    toolset = (search, open)

    @override
    def begin(self, task: Task) -> str:
        self.found = self.read = self.searched = frozenset()
        return super().begin(task)

    @override
    def expert_action(self) -> str:
        """Open the first needed page that was not read; look for it first, by name; answer when all are read."""
        for query, page in self.needed():
            if page in self.read:
                continue
            if page in self.found or query in self.searched:  # the second: a page that its own name does not find
                return self.format.call("open", {"page": page})
            return self.format.call("search", {"query": query})
        return self.format.final(self.task.answer)
