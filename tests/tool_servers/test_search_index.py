"""The search index: both engines on the same cases, the folder on disk, and queries meant to break it."""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.errors import ConfigError, UnknownName
from turnwise.tool_servers.search import index as index_module
from turnwise.tool_servers.search.corpus import Document, read_corpus
from turnwise.tool_servers.search.engines import ENGINES
from turnwise.tool_servers.search.index import DiskIndex, open_index
from turnwise.tool_servers.search.words import folded, query_words, snippet

DOCUMENTS = [
    Document("rivers/nile", "Nile", "The Nile is a river in Africa. It flows north into the Mediterranean Sea."),
    Document("rivers/rhine", "Rhine", "The Rhine flows from the Alps to the North Sea, past Basel and Cologne."),
    Document("food/creme", "Crème brûlée", "A dessert of custard with a layer of burnt sugar."),
    Document("tokyo", "東京", "東京タワー is a tower in Tokyo."),
    Document("odd", "Odd", 'snake_case, x-y, C++ and "quotes" AND NEAR(operators)'),
    *(Document(f"filler/{i:02}", f"Filler {i}", f"Nothing but filler text, item number {i}.") for i in range(20)),
    *(Document(f"twin/{i}", "Twin", "the very same quokka") for i in "cabd"),
]


@pytest.fixture(scope="module", params=ENGINES)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DiskIndex:
    return open_index(DOCUMENTS, tmp_path_factory.mktemp("cache"), engine=request.param)


def ids(index: DiskIndex, query: str, k: int = 5) -> list[str]:
    return [hit.id for hit in index.search(query, k)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("nile", "rivers/nile"),
        ("NILE, river of Africa?", "rivers/nile"),
        ("Basel Cologne", "rivers/rhine"),
        ("creme brulee", "food/creme"),
        ("CRÈME", "food/creme"),
        ("burnt sugar dessert filler", "food/creme"),
        ("東京", "tokyo"),
        ("タワー", "tokyo"),
        ("case snake", "odd"),
        ("item number 7", "filler/07"),
    ],
)
def test_clear_cases(index: DiskIndex, query: str, first: str) -> None:
    assert ids(index, query)[0] == first


def test_equal_scores_stand_by_id(index: DiskIndex) -> None:
    assert ids(index, "quokka") == ["twin/a", "twin/b", "twin/c", "twin/d"]
    assert ids(index, "quokka", 2) == ["twin/a", "twin/b"]
    assert len({hit.score for hit in index.search("quokka", 5)}) == 1
    filler = ids(index, "filler", 100)
    assert filler == sorted(filler) and len(filler) == 20 and ids(index, "filler", 7) == filler[:7]


def test_scores_fall_and_k_is_kept(index: DiskIndex) -> None:
    hits = index.search("river sea nile tower", 3)
    assert len(hits) == 3 and all(one.score >= two.score > 0 for one, two in pairwise(hits))
    assert index.search("river", 0) == () and len(index) == len(DOCUMENTS)


HOSTILE = [
    "",
    "   ",
    '"',
    "'; DROP TABLE documents; --",
    "nile AND",
    "NOT nile",
    "NEAR(nile river, 2)",
    "title:nile",
    "nile*",
    "^nile",
    "{nile} : -river",
    "nile OR",
    "(((",
    "nile\0river",
    "\x01\x02\x1f",
    "\ud800nile",
    "nile" * 250_000,
    "nile " * 200_000,
    " ".join(f"w{i}" for i in range(200_000)),
    "🦊" * 1000,
    "a\u0301" * 1000,
    "\u202enile",
]


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_queries_are_words(index: DiskIndex, query: str) -> None:
    found = ids(index, query)
    if ("nile" in query.lower() and len(query) < 1000) or query.startswith("nile nile"):
        assert found[0] == "rivers/nile"


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=200))
def test_any_text_is_a_query(index: DiskIndex, query: str) -> None:
    assert len(index.search(query, 5)) <= 5


def test_operators_are_words(index: DiskIndex) -> None:
    assert ids(index, "near operators")[0] == "odd"
    assert ids(index, "nile NOT river")[0] == "rivers/nile"


def test_documents_come_back_as_they_were(index: DiskIndex) -> None:
    assert all(index.document(d.id) == d for d in DOCUMENTS)
    assert index.document("nope") is None and index.document("\ud800") is None


def test_an_answer_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_index(DOCUMENTS, tmp_path, engine="fts5", remembered=2)
    first = index.search("nile", 3)
    asked: list[str] = []
    rank = index._engine.rank  # pyright: ignore[reportPrivateUsage]

    def counted(words: list[str], k: int) -> list[tuple[int, float]]:
        asked.extend(words)
        return rank(words, k)

    monkeypatch.setattr(index._engine, "rank", counted)  # pyright: ignore[reportPrivateUsage]
    assert index.search(" NILE! ", 3) is first and asked == []
    found = [index.search(query, 3) for query in ("rhine", "sea", "nile")]
    assert asked == ["rhine", "sea", "nile"] and found[2] == first


def test_threads_agree(index: DiskIndex) -> None:
    queries = ["nile river", "filler item", "quokka", "sea north", "sugar"] * 20
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ids, [index] * len(queries), queries))
    assert found[:5] * 20 == found


# --- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_built_once_found_again(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build = index_module._build  # pyright: ignore[reportPrivateUsage]

    def counted(home: Path, corpus: index_module.Corpus, maker: index_module.Engine) -> None:
        built.append(corpus.digest)
        build(home, corpus, maker)

    monkeypatch.setattr(index_module, "_build", counted)
    one = open_index(DOCUMENTS, tmp_path, engine=engine)
    two = open_index(list(reversed(DOCUMENTS)), tmp_path, engine=engine)
    assert one.digest == two.digest and len(built) == 1, "the order of the documents is no content"
    other = open_index([*DOCUMENTS, Document("z", "", "new")], tmp_path, engine=engine)
    assert other.digest != one.digest and len(built) == 2
    assert one.search("nile", 3) == two.search("nile", 3)
    one.close()
    two.close()
    other.close()


def test_a_builder_that_died_leaves_nothing(tmp_path: Path) -> None:
    index = open_index(DOCUMENTS, tmp_path, engine="fts5")
    (home,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    index.close()
    home.rename(home.with_suffix(".part"))
    (home.with_suffix(".part") / "documents.sqlite").write_bytes(b"half")
    assert ids(open_index(DOCUMENTS, tmp_path, engine="fts5"), "nile")[0] == "rivers/nile"
    assert [path.suffix for path in tmp_path.iterdir() if path.is_dir()] == [""]


def _answers(folder: str, engine: str) -> list[list[tuple[str, float]]]:
    index = open_index(DOCUMENTS, folder, engine=engine)
    return [[(h.id, h.score) for h in index.search(q, 10)] for q in ("nile sea", "filler number", "quokka", "the in")]


@pytest.mark.parametrize("engine", ENGINES)
def test_processes_build_at_once_and_agree(tmp_path: Path, engine: str) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        answers = pool.starmap(_answers, [(str(tmp_path), engine)] * 3)
    assert answers[0] == answers[1] == answers[2] == _answers(str(tmp_path), engine)
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1
    code = "import sys; from tests.tool_servers.test_search_index import _answers; print(_answers(*sys.argv[1:]))"
    run = [sys.executable, "-c", code, str(tmp_path / "again"), engine]
    done = subprocess.run(run, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert done.stdout.strip() == str(answers[0])


# --- corpora ----------------------------------------------------------------------------------------------------------


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("plain text")
    (tmp_path / "sub" / "b.md").write_text("# The title\n\nBody *text*.")
    (tmp_path / "c.html").write_text(
        "<html><head><title> A &amp; B </title><style>p {}</style></head><body><p>One</p>"
        "<script>no()</script>two&nbsp;&lt;3</body></html>"
    )
    (tmp_path / "bad.txt").write_bytes(b"latin \xff text")
    (tmp_path / "picture.png").write_bytes(b"x")
    (tmp_path / "link.txt").symlink_to("/etc/hostname")
    found = {d.id: (d.title, d.text) for d in read_corpus(tmp_path).documents}
    assert found == {
        "a.txt": ("a", "plain text"),
        "bad.txt": ("bad", "latin � text"),
        "c.html": ("A & B", "One\ntwo <3"),
        "sub/b.md": ("The title", "# The title\n\nBody *text*."),
    }
    digest = read_corpus(tmp_path).digest
    os.utime(tmp_path / "a.txt", (1, 1))
    assert read_corpus(tmp_path).digest == digest
    (tmp_path / "a.txt").write_text("plain texts")
    assert read_corpus(tmp_path).digest != digest


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "\n".join(json.dumps(row) for row in [{"id": 2, "text": "b"}, {"id": "1", "title": "A", "text": "a"}]) + "\n\n"
    )
    assert read_corpus(path).documents == (Document("1", "A", "a"), Document("2", "", "b"))
    for line, reason in {
        "{": "line 1: expected a JSON object",
        "[]": "line 1: expected {",
        '{"id": "1"}': "expected {",
        '{"id": "", "text": ""}': "an id has 1 to 500",
    }.items():
        path.write_text(line)
        with pytest.raises(ConfigError, match=reason):
            read_corpus(path)


def test_wrong_corpora(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_corpus(tmp_path / "nope")
    with pytest.raises(ConfigError, match="at least one document"):
        read_corpus(tmp_path)
    with pytest.raises(ConfigError, match="stands there twice"):
        read_corpus([Document("a", "", "x"), Document("a", "", "y")])
    with pytest.raises(UnknownName, match="search engine"):
        open_index(DOCUMENTS, tmp_path, engine="lucene")


def test_parts_of_a_document_do_not_run_together() -> None:
    assert read_corpus([Document("a", "bc", "d")]).digest != read_corpus([Document("a", "b", "cd")]).digest


# --- words ------------------------------------------------------------------------------------------------------------


def test_words() -> None:
    assert query_words("The CAT, the cat_flap; Ünï! 3.5 東京") == ["the", "cat", "flap", "uni", "3", "5", "東", "京"]
    assert len(query_words(" ".join(map(str, range(1000))))) == 64 and query_words("x" * 101) == []
    assert folded("Straße Ⅷ") == "strasse viii" and folded("ASCII, stays.") == "ascii, stays."


def test_snippets_show_the_words() -> None:
    text = "filler " * 100 + "the quick brown fox jumps" + " filler" * 100
    shown = snippet(text, ["quick", "fox"])
    assert "quick brown fox" in shown and shown.startswith("...") and shown.endswith("...") and len(shown) < 260
    assert snippet("short text", ["nope"]) == "short text" and snippet("", ["a"]) == ""
