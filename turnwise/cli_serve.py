"""`turnwise serve`: a tool server in the foreground, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from turnwise.errors import ConfigError, UnknownName, Unsupported
from turnwise.tool_servers.kinds import KINDS, Kind, opened
from turnwise.tool_servers.sandbox.protocol import Level

if TYPE_CHECKING:
    from turnwise.tool_servers.admission import Capacity
    from turnwise.tool_servers.serve import Listen
    from turnwise.tool_servers.service import Service

_MEANING = {
    Level.RLIMITS: "resource limits only; the code reads what you can read",
    Level.LANDLOCK: "no files but its own, no network",
    Level.NAMESPACES: "namespaces of its own, no files but its own, no network",
    Level.DOCKER: "a hardened container, no network",
    Level.GVISOR: "a kernel of its own, no network",
}
__all__ = ["EXAMPLES", "HELP", "add_arguments", "run_serve"]

HELP = "run a tool server: Python, SQL, search or browser sessions for agents, each one isolated"
_KINDS = "\n".join(f"  {kind.name:<9}{kind.help}" for kind in KINDS.values())
EXAMPLES = f"""\
  turnwise serve python                              on 127.0.0.1:8701, with a token in ~/.config/turnwise/token
  turnwise serve python --profile science            numpy, pandas, scipy and sympy are there at once
  turnwise serve python --backend docker             each session in a hardened container
  turnwise serve sql --setting database=shop.db      what sessions opened over MCP see
  turnwise serve search --corpus docs/
  turnwise serve browser --site shop=sites/shop
  turnwise serve python --host 0.0.0.0 --port 9000   for other machines; they need the token
  turnwise serve python --unix /run/user/1000/py.sock
  turnwise serve python --mcp stdio                  for an MCP client that starts its servers itself

  curl -H "Authorization: Bearer $(cat ~/.config/turnwise/token)" http://127.0.0.1:8701/v1/tools

kinds:
{_KINDS}

In Python: `RemoteSandbox("http://127.0.0.1:8701")`. MCP clients connect to http://127.0.0.1:8701/mcp. /healthz, /readyz
and /metrics (Prometheus) watch the server. Ctrl-C or SIGTERM lets running calls end and closes every session."""


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    sub.add_argument("kind", metavar="KIND", choices=tuple(KINDS), help=", ".join(KINDS))
    what = sub.add_argument_group("what runs")
    what.add_argument("--profile", action="append", metavar="NAME", help="may be repeated; the first is the default of sessions")
    what.add_argument("--backend", default="", metavar="NAME", help="embedded (default; needs no daemon and no root) or docker")
    levels = ", ".join(level.name.lower() for level in Level)
    what.add_argument(
        "--needs", default="landlock", metavar="LEVEL", help=f"refuse weaker isolation: {levels} (default: landlock)"
    )
    what.add_argument(
        "--site", action="append", default=[], metavar="NAME=FOLDER", help="for browser: pages that sessions may see"
    )
    what.add_argument(
        "--share",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="for python and sql: a folder that sessions may ask for; read-only, at /shared/NAME",
    )
    what.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the backend, such as warm=8 for docker"
    )
    what.add_argument("--corpus", metavar="PATH", help="for search: a folder of texts or a JSONL file")
    what.add_argument("--setting", action="append", default=[], metavar="KEY=VALUE", help="of sessions opened over MCP")
    where = sub.add_argument_group("where it listens")
    where.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="(default: 127.0.0.1, this machine only)")
    where.add_argument("--port", type=int, metavar="N", help="0 takes a free one (default: 8701 python, 8702 sql, ...)")
    where.add_argument("--unix", type=Path, metavar="PATH", help="a unix socket instead, for this user only")
    where.add_argument("--mcp", choices=("http", "stdio", "off"), default="http", help="(default: http, at /mcp)")
    who = sub.add_argument_group("who may ask")
    who.add_argument(
        "--token-file", type=Path, metavar="PATH", help="made if it is not there (default: ~/.config/turnwise/token)"
    )
    who.add_argument("--no-token", action="store_true", help="everybody on this machine may ask; refused with a public --host")
    how = sub.add_argument_group("how much")
    how.add_argument("--max-sessions", type=int, metavar="N", help="open at one time (default: 1024)")
    how.add_argument("--max-calls", type=int, metavar="N", help="running at one time (default: 4 per core)")
    how.add_argument("--memory-mb", type=float, metavar="MB", help="sum of the sessions' limits (default: 3.2 times the machine)")
    how.add_argument("--queue", type=float, metavar="S", help="longest wait for a place, then 429 (default: 10)")


def run_serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    if find_spec("aiohttp") is None:
        raise Unsupported("serve: needs aiohttp; pip install 'turnwise[serve]'.")
    asyncio.run(_serve(arguments))
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    from turnwise.tool_servers.app import Door  # noqa: PLC0415  (aiohttp is an extra)
    from turnwise.tool_servers.serve import is_local, serve_stdio, served, stopped  # noqa: PLC0415

    kind = KINDS[arguments.kind]
    capacity = _capacity(arguments)
    listen = _listen(arguments, kind)
    if arguments.no_token and not is_local(listen):
        raise ConfigError(f"--no-token: {listen.host} can be reached from other machines; leave one of the two out.")
    token, lies = ("", "none: everybody on this machine may ask") if arguments.no_token else _token(arguments)
    options, settings = _of_kind(arguments)
    asked = asyncio.ensure_future(stopped())
    async with opened(
        kind,
        profiles=arguments.profile or (),
        backend=arguments.backend,
        needs=_level(arguments.needs),
        options=options,
        settings=settings,
    ) as service:
        if arguments.mcp == "stdio":
            serving = asyncio.ensure_future(serve_stdio(service, capacity))
            await asyncio.wait([asked, serving], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                return await serving
            await service.sandbox.close()
            os._exit(128 + signal.SIGTERM)  # a thread still reads standard input, and cannot be stopped
        async with served(service, listen, Door(token=token), capacity, mcp=arguments.mcp == "http") as address:
            _banner(service, address, arguments.mcp, lies)
            await asked
            Console(stderr=True).print("stopping: running calls end, sessions are closed")


def _of_kind(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """What makes the sandbox, and the settings of sessions that say none."""
    options, settings = _pairs("--option", arguments.option), _pairs("--setting", arguments.setting)
    sites = _pairs("--site", arguments.site)
    for option, given, kind in (("--corpus", arguments.corpus, "search"), ("--site", sites, "browser")):
        if bool(given) != (arguments.kind == kind):
            raise ConfigError(f"{option}: {f'is for {kind} servers' if given else f'a {kind} server needs it'}.")
    if shared := _pairs("--share", arguments.share):
        if not KINDS[arguments.kind].runs_code or sites:
            raise ConfigError("--share: is for python and sql servers.")
        options = {"shared": shared} | options
    if sites:
        return {"bundles": sites} | options, {"bundle": next(iter(sites)), "start": "http://app.test/"} | settings
    return ({"corpus": arguments.corpus} if arguments.corpus else {}) | options, settings


def _capacity(arguments: argparse.Namespace) -> Capacity:
    from turnwise.tool_servers.admission import Capacity  # noqa: PLC0415

    given = {
        "sessions": arguments.max_sessions,
        "calls": arguments.max_calls,
        "memory_mb": arguments.memory_mb,
        "queue_s": arguments.queue,
    }
    for name, value in given.items():
        if value is not None and not value > 0:
            raise ConfigError(f"serve: {name} must be above 0, got {value}.")
    return Capacity(**{name: value for name, value in given.items() if value is not None})


def _listen(arguments: argparse.Namespace, kind: Kind) -> Listen:
    from turnwise.tool_servers.serve import Listen  # noqa: PLC0415

    port = kind.port if arguments.port is None else arguments.port
    if not 0 <= port < 65536:
        raise ConfigError(f"--port: expected 0 to 65535, got {port}.")
    return Listen(host=arguments.host, port=port, unix=arguments.unix)


def _token(arguments: argparse.Namespace) -> tuple[str, str]:
    """The token, and where it lies."""
    from turnwise.tool_servers.auth import TOKEN_VARIABLE, default_token_file, make_token  # noqa: PLC0415

    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if given and arguments.token_file is None:
        return given, f"in the environment variable {TOKEN_VARIABLE}"
    file: Path = arguments.token_file or default_token_file()
    return make_token(file), f"in {file}"


def _level(word: str) -> Level:
    names = {level.name.lower(): level for level in Level}
    if word.lower() not in names:
        raise UnknownName("level of isolation", word, names)
    return names[word.lower()]


def _pairs(option: str, words: list[str]) -> dict[str, Any]:
    """Values are JSON where they can be read as such, else text."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals:
            raise ConfigError(f"{option}: expected KEY=VALUE, got {word!r}.")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def _banner(service: Service, address: str, mcp: str, lies: str) -> None:
    """What a person needs to know, on standard output."""
    level = service.sandbox.level
    say = Console(highlight=False, soft_wrap=True).print
    say(f"turnwise {service.kind} server at [bold]{address}[/]{' (MCP at /mcp)' if mcp == 'http' else ''}")
    if service.counts_memory:
        say(f"  isolation  {level.name.lower()} (level {int(level)} of {int(max(Level))}): {_MEANING[level]}")
    say(f"  profiles   {', '.join(service.tools)}; tools {', '.join(sorted(service.names()))}")
    say(f"  token      {lies}", markup=False)
    say("  stop       Ctrl-C, or SIGTERM")
