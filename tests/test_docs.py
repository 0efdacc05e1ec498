"""Pages tell the truth: links lead somewhere, code compiles, names exist."""

import re
import tomllib
from pathlib import Path

import gymnasium
import pytest

import turnwise  # noqa: F401  (registers the ids)

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md", "recipes/**/*.md")
    for page in ROOT.glob(pattern)
)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def test_there_is_a_readme_with_both_commands_at_the_top() -> None:
    top = (ROOT / "README.md").read_text()[:3000]
    assert "make train" in top and "make test" in top


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert ((ROOT / page).parent / target.split("#")[0]).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_code_compiles(page: str) -> None:
    for block in blocks(page, "python"):
        compile(block, page, "exec")
    for block in blocks(page, "toml"):
        tomllib.loads(block)


@pytest.mark.parametrize("page", PAGES)
def test_names_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    for env_id in set(re.findall(r"turnwise/[A-Z]\w*-v\d+", text)):
        gymnasium.spec(env_id)
    for file in set(re.findall(r"\b(?:recipes|examples|benchmarks)/[\w/]+\.(?:toml|py|md|sh|json|png)\b", text)):
        assert (ROOT / file).exists(), f"{page} names {file}"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in set(re.findall(r"`make ([a-z]+)", text)):
        assert target in targets, f"{page} says `make {target}`"


@pytest.mark.parametrize("page", PAGES)
def test_no_path_of_somebodys_machine(page: str) -> None:
    assert not re.findall(r"/(?:root|work|home)/\S*", (ROOT / page).read_text())
