"""Search: building, memory and questions per second of both engines, beside bm25s and rank_bm25.

    python benchmarks/search.py [--peers PYTHON] [--sizes 10000,100000] [--rounds 3] [--out benchmarks/results/search.json]

Documents of 60 to 180 words drawn from a Zipf law, questions of 5 words, best 5. Each measurement is a fresh process: build (from
the words in memory; ours with the store of the texts), open, 200 questions that were never asked before, CPU seconds; memory is
the resident set after the questions less that before the engine was imported, ours of a process that only opens the index, the
peers' of the one that built it. Rounds alternate; printed: median (lowest to
highest). Ours is `DiskIndex.search`: words, ranks, texts and snippets; "rank" the ranking alone, which is what the peers do.
PYTHON is an interpreter with bm25s, numba and rank_bm25 from pip; without it only turnwise is measured.
"""
# ruff: noqa: PLC0415  (memory is measured before and after each engine is imported)

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

OURS, PEERS = ("tantivy", "fts5"), ("bm25s", "bm25s-numba", "rank_bm25")
QUESTIONS = {"rank_bm25": 20, "bm25s": 50}
Asker = Callable[[list[str]], Sequence[Any]]


def texts(count: int) -> tuple[list[str], list[list[str]]]:
    """Documents and questions, the same each time."""
    rng = np.random.default_rng(0)
    words = np.minimum(rng.zipf(1.3, 200 * count), 50_000)
    lengths, at, made = rng.integers(60, 181, count), 0, []
    for length in lengths.tolist():
        made.append(" ".join(f"w{word}" for word in words[at : at + length]))
        at += length
    asked = [[f"w{word}" for word in rng.integers(5, 20_000, 5)] for _ in range(1_000)]
    return made, asked


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def ours(engine: str, documents: list[str], folder: str) -> tuple[Asker, Asker]:
    from turnwise.tool_servers.search.corpus import Document
    from turnwise.tool_servers.search.index import open_index

    rows = [Document(f"{i:07}", "", text) for i, text in enumerate(documents)]
    index = open_index(rows, folder, engine=engine)
    return (lambda words: index.search(" ".join(words), 5)), (lambda words: index._engine.rank(words, 5))


def bm25s(documents: list[str], backend: str) -> Asker:
    import bm25s as library

    model = library.BM25(k1=1.2, b=0.75, backend=backend)
    model.index([d.split() for d in documents], show_progress=False)
    return lambda words: model.retrieve([words], k=5, show_progress=False, n_threads=1)


def rank_bm25(documents: list[str]) -> Asker:
    from rank_bm25 import BM25Okapi

    model = BM25Okapi([d.split() for d in documents], k1=1.2, b=0.75)

    def ask(words: list[str]) -> Sequence[Any]:
        scores = model.get_scores(words)
        best = np.argpartition(scores, -5)[-5:]
        return best[np.argsort(-scores[best])]

    return ask


def measure(engine: str, count: int) -> dict[str, float]:
    """In this process: build and ask."""
    documents, asked = texts(count)
    before = resident_mb()
    with tempfile.TemporaryDirectory() as folder:
        begun, wall = time.process_time(), time.perf_counter()
        rank: Asker | None = None
        if engine in OURS:
            ask, rank = ours(engine, documents, folder)
        else:
            ask = rank_bm25(documents) if engine == "rank_bm25" else bm25s(documents, "numba" if "numba" in engine else "numpy")
        found = {"build_cpu_s": time.process_time() - begun, "build_wall_s": time.perf_counter() - wall}
        if engine in OURS:  # memory of who only opens: what is built is on disk
            found["disk_mb"] = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file()) / 1e6
            found |= opened(engine, count, folder)
        ask(asked[-1])
        times = QUESTIONS.get(engine, 200)
        for name, way in (("qps", ask), ("rank_qps", rank or ask)):
            begun = time.process_time()
            for words in asked[:times]:
                way(words)
            found[name] = times / (time.process_time() - begun)
        if engine not in OURS:
            found["memory_mb"] = resident_mb() - before
    return found


def opened(engine: str, count: int, folder: str) -> dict[str, float]:
    """In another process, which knows only the digest: open the folder that is there, and ask."""
    done = subprocess.run(
        [sys.executable, __file__, "--open", engine, folder, str(count)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def open_there(engine: str, folder: str, count: int) -> dict[str, float]:
    asked = texts(10)[1]
    before = resident_mb()
    from turnwise.tool_servers.search.engines import engine_of
    from turnwise.tool_servers.search.index import DiskIndex

    (home,) = [path for path in Path(folder).iterdir() if path.is_dir()]
    begun = time.perf_counter()
    index = DiskIndex(home, engine_of(engine).open(home), home.name, 0)
    took = time.perf_counter() - begun
    for words in asked[:200]:
        index.search(" ".join(words), 5)
    assert len(index) == count
    return {"open_ms": 1e3 * took, "memory_mb": resident_mb() - before}


def in_process(python: str, engine: str, count: int) -> dict[str, float] | None:
    calm = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [python, __file__, "--measure", engine, str(count)], capture_output=True, text=True, env=calm, check=False
    )
    if done.returncode:
        print(f"{engine}: not measured: {done.stderr.strip().splitlines()[-1]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="")
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "search.json")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--open", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], int(options.measure[1]))))
        return
    if options.open:
        print(json.dumps(open_there(options.open[0], options.open[1], int(options.open[2]))))
        return
    runs = [(sys.executable, engine) for engine in OURS] + [(options.peers, engine) for engine in PEERS if options.peers]
    results: dict[str, Any] = {}
    for size in map(int, options.sizes.split(",")):
        rounds: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            for python, engine in runs:
                if found := in_process(python, engine, size):
                    rounds.setdefault(engine, []).append(found)
        results[str(size)] = {engine: summary(found) for engine, found in rounds.items()}
        for engine, row in results[str(size)].items():
            print(f"{size:>7,} {engine:12} " + "  ".join(f"{k} {v[0]:.4g} ({v[1]:.4g} to {v[2]:.4g})" for k, v in row.items()))
    options.out.write_text(json.dumps({"median, lowest, highest": results}, indent=1) + "\n")


def summary(found: list[dict[str, float]]) -> dict[str, list[float]]:
    columns = {key: [row[key] for row in found] for key in found[0]}
    return {key: [round(f(values), 4) for f in (statistics.median, min, max)] for key, values in columns.items()}


if __name__ == "__main__":
    main()
