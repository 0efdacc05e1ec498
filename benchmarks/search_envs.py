"""Search, MaskedSearch and Router: resets, first searches and steps per CPU second; and the index in memory beside two others.

    python benchmarks/search_envs.py [--rounds 3] [--out benchmarks/results/search_envs.json]

Each round takes three levels of every id in turn. A reset makes the question only; the first search of a task builds its world
and index, so "first episodes" are whole episodes of the expert with that in them, "steps" those of the same tasks played again.
The indexes are built from the pages of Search worlds and asked 200 questions of 4 words: ours (`MemoryIndex`), tantivy with its
index in memory, SQLite's FTS5 in memory, and bm25s where it is installed; "ask" is the ranking and, for ours, the snippets.
Printed: median (lowest to highest).
"""

import argparse
import json
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import tantivy

import turnwise  # noqa: F401  (registers the ids)
from turnwise.envs.search.plots import LEVELS, story_world
from turnwise.envs.tool_env import ToolEnv
from turnwise.tool_servers.search.corpus import Document
from turnwise.tool_servers.search.memory import MemoryIndex

IDS = ("Search", "MaskedSearch", "Router")
SIZES = (1, 4, 8)
QUESTIONS = 200
Asker = Callable[[str], Sequence[Any]]


def per_second(count: int, work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return count / max(time.process_time() - begun, 1e-9)


def resets(env: ToolEnv, level: int, first: int) -> float:
    seeds = range(first, first + 400)
    return per_second(len(seeds), lambda: [env.reset(seed=seed, options={"difficulty": level}) for seed in seeds])


def expert_plays(env: ToolEnv, seed: int, level: int) -> tuple[int, float]:
    """(steps, CPU seconds) of one episode, its reset included."""
    begun = time.process_time()
    env.reset(seed=seed, options={"difficulty": level})
    over = False
    while not over:
        _, _, terminated, truncated, _ = env.step(env.expert_action())
        over = terminated or truncated
    return env.turn, time.process_time() - begun


def episodes(env: ToolEnv, level: int, first: int, times: int = 20) -> dict[str, float]:
    """Per CPU second: episodes of tasks never played before, building included, and steps of the same tasks played again."""
    cold, warm, steps = 0.0, 0.0, 0
    for seed in range(first, first + times):
        cold += expert_plays(env, seed, level)[1]
        turns, took = expert_plays(env, seed, level)
        warm, steps = warm + took, steps + turns
    return {"first episodes": times / cold, "steps": steps / max(warm, 1e-9)}


def indexes() -> dict[str, Callable[[Sequence[Document]], Asker]]:
    def ours(pages: Sequence[Document]) -> Asker:
        index = MemoryIndex(pages)
        return lambda query: index.search(query, 5)

    def of_tantivy(pages: Sequence[Document]) -> Asker:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text")
        builder.add_integer_field("number", stored=True)
        index = tantivy.Index(builder.build())
        writer = index.writer(15_000_000, 1)
        for number, page in enumerate(pages):
            writer.add_document(tantivy.Document(text=f"{page.title}\n{page.text}", number=number))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        searcher = index.searcher()
        return lambda query: searcher.search(index.parse_query(query, ["text"]), 5).hits

    def of_fts5(pages: Sequence[Document]) -> Asker:
        db = sqlite3.connect(":memory:")
        db.execute("CREATE VIRTUAL TABLE pages USING fts5(text, content='')")
        db.executemany("INSERT INTO pages(rowid, text) VALUES (?, ?)", [(n, f"{p.title}\n{p.text}") for n, p in enumerate(pages)])
        found = "SELECT rowid, bm25(pages) FROM pages WHERE pages MATCH ? ORDER BY bm25(pages), rowid LIMIT 5"
        return lambda query: db.execute(found, (" OR ".join(query.split()),)).fetchall()

    def of_bm25s(pages: Sequence[Document]) -> Asker:
        import bm25s  # noqa: PLC0415  (a peer that need not be there)

        model = bm25s.BM25(k1=1.2, b=0.75)
        model.index(
            bm25s.tokenize([f"{p.title}\n{p.text}" for p in pages], stopwords=None, show_progress=False), show_progress=False
        )
        return lambda query: model.retrieve([query.lower().split()], k=5, show_progress=False, n_threads=1)

    engines = {"ours": ours, "tantivy": of_tantivy, "fts5": of_fts5, "bm25s": of_bm25s}
    return {name: make for name, make in engines.items() if name != "bm25s" or find_spec("bm25s")}


def index_times(level: int, seed: int) -> dict[str, dict[str, float]]:
    """Engine -> milliseconds to build, microseconds to ask."""
    pages = story_world(seed, LEVELS[level]).pages
    words = [word for page in pages for word in page.title.replace("(", "").replace(")", "").split()]
    questions = [" ".join(words[(7 * n + k) % len(words)] for k in range(4)) for n in range(QUESTIONS)]
    found: dict[str, dict[str, float]] = {}
    for name, make in indexes().items():
        begun = time.process_time()
        ask = make(pages)
        built = time.process_time()
        for question in questions:
            ask(question)
        done = time.process_time()
        found[name] = {"build_ms": 1e3 * (built - begun), "ask_us": 1e6 * (done - built) / QUESTIONS, "pages": len(pages)}
    return found


def measure(seed: int) -> dict[str, float]:
    """One round: name -> number."""
    found: dict[str, float] = {}
    for name in IDS:
        env = gymnasium.make(f"turnwise/{name}-v0", disable_env_checker=True).unwrapped
        assert isinstance(env, ToolEnv)
        for level in (env.levels[0], env.levels[len(env.levels) // 2], env.levels[-1]):
            found[f"{name} {level} resets"] = resets(env, level, seed)
            for what, value in episodes(env, level, seed + 1000).items():
                found[f"{name} {level} {what}"] = value
    for level in SIZES:
        for engine, row in index_times(level, seed).items():
            for what, value in row.items():
                found[f"index of level {level}, {engine}: {what}"] = value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "search_envs.json")
    options = parser.parse_args()
    rounds = [measure(10_000 * number) for number in range(options.rounds)]
    results: dict[str, list[float]] = {}
    for name in rounds[0]:
        values = [found[name] for found in rounds]
        results[name] = [round(f(values), 3) for f in (statistics.median, min, max)]
        print(f"{name:45} {results[name][0]:>12,.1f} ({results[name][1]:,.1f} to {results[name][2]:,.1f})")
    options.out.write_text(json.dumps({"median, lowest, highest": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
