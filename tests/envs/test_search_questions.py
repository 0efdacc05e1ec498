"""Search's loaders: small files in the published formats, a user's own documents, and what is wrong with a file, line by line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from turnwise.envs.core import split_of
from turnwise.envs.search import page_env
from turnwise.envs.search.datasets import load_questions
from turnwise.envs.search.search import Search
from turnwise.envs.testing import check_turn_env
from turnwise.envs.testing.kit import PROBES, RULES
from turnwise.errors import ConfigError, UnknownName

HOTPOT = {
    "_id": "5a7a06935542990198eaf050",
    "question": "Which magazine was started first, Arthur's Magazine or First for Women?",
    "answer": "Arthur's Magazine",
    "type": "comparison",
    "level": "medium",
    "supporting_facts": [["Arthur's Magazine", 0], ["First for Women", 0]],
    "context": [
        ["Radio City (station)", ["Radio City is a private station.", " It opened in 2001."]],
        ["Arthur's Magazine", ["Arthur's Magazine was an American literary periodical.", " It was founded in 1844."]],
        ["First for Women", ["First for Women is a magazine of Bauer Media.", " It was started in 1989."]],
    ],
}
HUB = {
    **{key: HOTPOT[key] for key in ("question", "answer", "type", "level")},
    "id": HOTPOT["_id"],
    "supporting_facts": {"title": ["Arthur's Magazine", "First for Women"], "sent_id": [0, 0]},
    "context": {
        "title": [title for title, _ in HOTPOT["context"]],
        "sentences": [sentences for _, sentences in HOTPOT["context"]],
    },
}
MUSIQUE = {
    "id": "3hop1__9285_5188_23307",
    "paragraphs": [
        {"idx": 0, "title": "Lagoon", "paragraph_text": "The lagoon lies near Corfu.", "is_supporting": False},
        {"idx": 1, "title": "Ferry", "paragraph_text": "The ferry belongs to the Kern line.", "is_supporting": True},
        {"idx": 2, "title": "Kern line", "paragraph_text": "The Kern line was founded by Ada Kern.", "is_supporting": True},
        {"idx": 3, "title": "Ada Kern", "paragraph_text": "Ada Kern was born in Graz.", "is_supporting": True},
    ],
    "question": "Where was the founder of the line that the ferry belongs to born?",
    "question_decomposition": [],
    "answer": "Graz",
    "answer_aliases": ["Gratz", "city of Graz"],
    "answerable": True,
}
NQ = {"question": "who got the first nobel prize in physics", "answer": ["Wilhelm Conrad Röntgen", "Röntgen"]}


def lines(path: Path, *rows: Mapping[str, Any] | str) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def finished(env: Search) -> tuple[float, int, str]:
    """(reward, turns, last observation) of the expert."""
    while True:
        observation, reward, terminated, truncated, _ = env.step(env.expert_action())
        if terminated or truncated:
            return reward, env.turn, observation


@pytest.mark.parametrize("row", [HOTPOT, HUB])
def test_hotpotqa_in_both_shapes(tmp_path: Path, row: Mapping[str, Any]) -> None:
    file = tmp_path / "hotpot_train_v1.1.json"
    file.write_text(json.dumps([row]), encoding="utf-8")
    found = load_questions(file)
    (task,) = found.tasks
    assert (task.prompt, task.answer, task.difficulty) == (HOTPOT["question"], "Arthur's Magazine", 2)
    titles = {document.id: document.title for document in found.documents}
    assert [titles[name] for name in task.metadata["support"]] == ["Arthur's Magazine", "First for Women"]
    assert "It was founded in 1844." in next(d.text for d in found.documents if d.title == "Arthur's Magazine")
    assert split_of(task.id) == "train"


def test_musique(tmp_path: Path) -> None:
    broken = {**MUSIQUE, "question": "Unanswerable?", "answerable": False}
    found = load_questions(lines(tmp_path / "musique_full_v1.0_dev.jsonl", MUSIQUE, broken))
    (task,) = found.tasks
    assert task.metadata["answers"] == ["Graz", "Gratz", "city of Graz"]
    assert task.difficulty == 3
    assert len(task.metadata["support"]) == 3
    assert len(found.documents) == 4


@pytest.mark.parametrize("key", ["answer", "golden_answers"])
def test_natural_questions(tmp_path: Path, key: str) -> None:
    row = {"question": NQ["question"], key: NQ["answer"]}
    (task,) = load_questions(lines(tmp_path / "NQ-open.dev.jsonl", row), split="test").tasks
    assert task.answer == "Wilhelm Conrad Röntgen"
    assert task.metadata == {"answers": NQ["answer"], "support": []}
    assert split_of(task.id) == "test"


def test_an_episode_on_hotpotqa_searches_the_contexts(tmp_path: Path) -> None:
    env = Search(data=str(lines(tmp_path / "train.jsonl", HOTPOT)))
    observation, _ = env.reset(seed=0)
    assert observation.startswith("Which magazine")
    assert "Radio City" in env.step(env.format.call("search", {"query": "private station"}))[0]
    twin = env.fork()
    assert finished(env) == (1.0, 5, "Correct.")
    assert finished(twin) == (1.0, 5, "Correct.")


def test_any_alias_is_right_and_part_of_one_earns_little(tmp_path: Path) -> None:
    env = Search(data=str(lines(tmp_path / "m.jsonl", MUSIQUE)), data_split="train")
    for answer, reward in (("gratz", 1.0), ("The city of Graz.", 1.0), ("Graz, Austria", 0.1 * 2 / 3), ("Vienna", 0.0)):
        env.reset(seed=0)
        _, earned, terminated, _, info = env.step(env.format.final(answer))
        assert (earned, terminated) == (pytest.approx(reward), True)
        assert set(info["reward_terms"]) == {"exact", "f1"}


def test_own_documents_with_own_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more documents than are indexed in memory."""
    monkeypatch.setattr(page_env, "IN_MEMORY", 1)
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "graz.md").write_text("# Graz\n\nAda Kern was born in Graz in 1844.\n" + "Long. " * 1000, encoding="utf-8")
    (pages / "linz.txt").write_text("The Kern line runs to Linz.", encoding="utf-8")
    rows = [
        {"question": "Where was Ada Kern born?", "answer": "Graz", "support": ["graz.md"]},
        {"question": "Year?", "answer": 1844},
    ]
    data, cache = lines(tmp_path / "questions.jsonl", *rows), tmp_path / "cache"
    env = Search(data=str(data), corpus=str(pages), cache=str(cache), data_split="train", max_turns=9)
    assert env.metadata["inline"] is False
    found = set[str]()
    for seed in range(8):
        observation, _ = env.reset(seed=seed)
        found.add(observation.partition("\n")[0])
        if "born" in observation:
            assert "[graz.md] Graz" in env.step(env.format.call("search", {"query": "Kern born"}))[0]
            assert "(part 1 of 2)" in env.step(env.format.call("open", {"page": "graz.md"}))[0]
            assert "(part 2 of 2)" in env.step(env.format.call("open", {"page": "graz.md", "part": 2}))[0]
            assert "there is no part 3" in env.step(env.format.call("open", {"page": "graz.md", "part": 3}))[0]
        assert finished(env.fork())[0] == 1.0
    assert found == {"Where was Ada Kern born?", "Year?"}
    built = sorted(path.name for path in cache.iterdir())
    Search(data=str(data), corpus=str(pages), cache=str(cache), data_split="test").close()
    assert sorted(path.name for path in cache.iterdir()) == built


def test_a_file_is_read_once_for_all_environments_until_it_changes(tmp_path: Path) -> None:
    data = lines(tmp_path / "train.jsonl", HOTPOT)
    first, second = Search(data=str(data)), Search(data=str(data))
    assert first.index() is second.index() and first.questions is second.questions
    lines(data, HOTPOT, {**MUSIQUE, "split": "train"})
    third = Search(data=str(data))
    assert third.index() is not first.index()
    assert {third.reset(seed=seed)[0].split()[0] for seed in range(20)} == {"Which", "Where"}


def test_the_contract_on_a_file_of_questions(tmp_path: Path) -> None:
    """All rules but those that need an id or a thousand different tasks."""
    rows = [
        {
            **HOTPOT,
            "question": f"Who built mill {number}?",
            "answer": f"Mason{number * 7919}",
            "supporting_facts": [[f"Mill {number}", 0]],
            "context": [
                [f"Mill {number}", [f"Mill {number} was built by Mason{number * 7919}."]],
                ["Mills", ["Mills grind."]],
            ],
        }
        for number in range(120)
    ]
    data = str(lines(tmp_path / "questions.jsonl", *rows))
    rules = [rule for rule in (*RULES, PROBES) if rule not in ("tasks_are_distinct", "replays_in_other_processes")]
    report = check_turn_env(lambda: Search(data=data), tasks=8, levels=[2], rules=rules)
    assert max(report.probes.values()) <= 0.05


def test_levels_and_splits_of_a_file(tmp_path: Path) -> None:
    data = str(lines(tmp_path / "m.jsonl", {**MUSIQUE, "split": "test"}, {**HOTPOT, "split": "train"}))
    env = Search(data=data)
    assert env.reset(seed=0)[0].startswith("Which magazine")
    assert env.reset(seed=0, options={"split": "test"})[0].startswith("Where was")
    with pytest.raises(ConfigError, match="no test question of level 2 among its 2"):
        env.reset(seed=0, options={"split": "test", "difficulty": 2})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", r"q.jsonl:2: expected JSON"),
        ("[1]", r"q.jsonl:2: expected a JSON object, got list"),
        ({"answer": "x"}, r"q.jsonl:2: expected a 'question' with text, got the keys answer"),
        ({"question": " ", "answer": "x"}, r"q.jsonl:2: expected a 'question'"),
        ({"question": "Q?"}, r"q.jsonl:2: expected an 'answer'.*got 'None' of type NoneType"),
        ({"question": "Q?", "answer": []}, r"q.jsonl:2: expected an 'answer'.*got an empty list"),
        ({"question": "Q?", "answer": {"text": "x"}}, r"q.jsonl:2: expected an 'answer'.*dict"),
        ({"question": "Q?", "answer": True}, r"q.jsonl:2: expected an 'answer'.*bool"),
        ({"question": "Q?", "answer": "x", "answer_aliases": "y"}, r"q.jsonl:2: answer_aliases: expected a list"),
        ({"question": "Q?", "answer": "x", "paragraphs": 3}, r"q.jsonl:2: paragraphs: expected a list, got int"),
        ({"question": "Q?", "answer": "x", "paragraphs": [{"title": "t"}]}, r"q.jsonl:2: paragraphs\[0\]: .*paragraph_text"),
        ({"question": "Q?", "answer": "x", "context": [["t", "s"]]}, r"q.jsonl:2: context\[0\]: expected \[title"),
        ({"question": "Q?", "answer": "x", "context": [["t"]]}, r"q.jsonl:2: context: expected a list of pairs"),
        (
            {"question": "Q?", "answer": "x", "context": {"title": ["t"], "sentences": []}},
            r"q.jsonl:2: context: expected as many",
        ),
        ({"question": "Q?", "answer": "x", "support": "a"}, r"q.jsonl:2: support: expected a list of document ids"),
        ({"question": "Q?", "answer": "x", "split": "dev"}, r"q.jsonl:2: split: expected 'train' or 'test', got 'dev'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, row: Mapping[str, Any] | str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_questions(lines(tmp_path / "q.jsonl", NQ, row))


def test_wrong_options(tmp_path: Path) -> None:
    nq = str(lines(tmp_path / "nq.jsonl", NQ))
    with pytest.raises(ConfigError, match="say what to search with corpus=PATH"):
        Search(data=nq)
    with pytest.raises(ConfigError, match="there is nothing"):
        Search(data=str(tmp_path / "missing.jsonl"))
    with pytest.raises(ConfigError, match="give data=PATH too"):
        Search(corpus=str(tmp_path))
    with pytest.raises(ConfigError, match="does not exist"):
        Search(data=nq, corpus=str(tmp_path / "missing"), cache=str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match="f1 must be from 0 to 1"):
        Search(f1=2.0)
    with pytest.raises(UnknownName, match="split of a data set"):
        load_questions(nq, split="dev")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="expected questions that have an answer; there are none"):
        load_questions(lines(tmp_path / "none.jsonl", {**MUSIQUE, "answerable": False}))
