"""The token file: made once, for its owner only."""

from pathlib import Path

import pytest

from turnwise.errors import ConfigError
from turnwise.tool_servers.auth import TOKEN_VARIABLE, allows, default_token_file, find_token, make_token, read_token


def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "token"
    token = make_token(file)
    assert len(token) == 64 and file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert make_token(file) == read_token(file) == token != make_token(tmp_path / "other")


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    make_token(file)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        make_token(file)
    file.chmod(0o600)
    file.write_text("short\n")
    with pytest.raises(ConfigError, match="at least 16"):
        read_token(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "nothing")


def test_a_link_is_not_followed_when_the_token_is_made(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        make_token(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_clients_take_the_variable_else_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert default_token_file() == tmp_path / "turnwise" / "token" and find_token() == ""
    made = make_token(default_token_file())
    assert find_token() == made
    monkeypatch.setenv(TOKEN_VARIABLE, " another ")
    assert find_token() == "another"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "bearer secret", "Bearer secre", "Bearer secret ", "Bearer \udcff", "Basic secret"]
)
def test_only_the_whole_token_opens(header: str) -> None:
    assert not allows(header, "secret") and allows("Bearer secret", "secret")
