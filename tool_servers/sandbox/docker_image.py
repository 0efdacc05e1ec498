"""Our image: made from `images/Dockerfile` on any base with Python, once for each state of guest, workers and packages.

    python -m turnwise.tool_servers.sandbox.docker_image science --base python:3.11-slim

makes it beforehand; otherwise the first session of a profile does.
"""

import argparse
import asyncio
import contextlib
import hashlib
import io
import re
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

from aiodocker import Docker, DockerError

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.sandbox.profiles import PROFILES, profile_of

__all__ = ["BASE", "Recipe", "ensure_image", "packages_of"]

BASE = "python:3.11-slim"
_REPOSITORY = "turnwise-sandbox"
_SERVERS = Path(__file__).resolve().parents[1]
_DOCKERFILE = "images/Dockerfile"
_RECIPE = "turnwise.recipe"
_SPARED_S = 2 * 86_400.0


def packages_of(extra: str) -> tuple[str, ...]:
    """The requirements of one of turnwise's extras, as pip spells them."""
    mark = re.compile(rf"""; *extra == ['"]{re.escape(extra)}['"]$""")
    return tuple(sorted(mark.sub("", line) for line in requires("turnwise") or () if mark.search(line)))


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is made of; equal recipes give the same tag."""

    base: str = BASE
    packages: tuple[str, ...] = ()
    """Requirements for pip."""
    wheels: Path | None = None
    """A folder of wheels to install from, instead of PyPI."""

    def context(self) -> bytes:
        """The build context as a tar: always the same bytes for the same files."""
        workers = [_SERVERS / name for name in ("python/worker.py", "sql/worker.py", "sql/duck.py")]
        files = [_SERVERS / _DOCKERFILE, *workers, *sorted((_SERVERS / "guest").glob("*.py"))]
        named = [(str(f.relative_to(_SERVERS)), f) for f in files if f.exists()]
        named += [(f"wheels/{f.name}", f) for f in sorted(self.wheels.glob("*.whl"))] if self.wheels else []
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, file in named:
                entry = tarfile.TarInfo(name)
                entry.size = file.stat().st_size
                with file.open("rb") as data:
                    tar.addfile(entry, data)
        return buffer.getvalue()

    @property
    def name(self) -> str:
        """The same for all images that differ only in the files of turnwise."""
        return hashlib.sha256(repr(sorted(self.arguments().items())).encode()).hexdigest()[:12]

    def arguments(self) -> dict[str, str]:
        """The build arguments."""
        offline = {"PIP_NO_INDEX": "1"} if self.wheels else {}
        return {"BASE": self.base, "PACKAGES": " ".join(self.packages)} | offline


async def ensure_image(docker: Docker, recipe: Recipe) -> str:
    """The name of the recipe's image, built now if the engine lacks it (pulling the base is the engine's part).

    Raises SandboxFailure with the end of the build's output if it cannot be made.
    """
    context = await asyncio.to_thread(recipe.context)
    digest = hashlib.sha256(context + repr(sorted(recipe.arguments().items())).encode()).hexdigest()[:12]
    tag = f"{_REPOSITORY}:{digest}"
    try:
        await docker.images.inspect(tag)
        return tag
    except DockerError as missing:
        if missing.status != 404:
            raise SandboxFailure("docker", f"the engine does not tell of its images: {missing.message}") from missing
    said: list[str] = []
    try:
        stream = docker.images.build(
            fileobj=io.BytesIO(context),
            encoding="identity",
            path_dockerfile=_DOCKERFILE,
            buildargs=recipe.arguments(),
            tag=tag,
            labels={"turnwise.image": _REPOSITORY, _RECIPE: recipe.name},
            forcerm=True,
            stream=True,
        )
        async for line in stream:
            said.append(str(line.get("stream") or line.get("error") or ""))
        await docker.images.inspect(tag)
        await _remove_superseded(docker, tag, recipe)
    except DockerError as broken:
        tail = "".join(said)[-2000:].strip()
        raise SandboxFailure("docker", f"image {tag} on base {recipe.base} was not made: {broken.message}\n{tail}") from broken
    return tag


async def _remove_superseded(docker: Docker, tag: str, recipe: Recipe) -> None:
    """Older images of the same recipe, whose guest was another one. Not those of the last days, which somebody may be about to
    start a container from, and not those that have one: the engine refuses that itself."""
    for image in await docker.images.list():
        ours = (image["Labels"] or {}).get(_RECIPE) == recipe.name and tag not in (image["RepoTags"] or ())
        if ours and time.time() - image["Created"] > _SPARED_S:
            with contextlib.suppress(DockerError):
                await docker.images.delete(image["Id"])


async def _main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make the image of a sandbox profile.")
    parser.add_argument("profile", choices=sorted(PROFILES))
    parser.add_argument("--base", default=BASE, help="an image with Python 3.11 or newer as python3, and pip")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to install from instead of PyPI")
    parser.add_argument("--url", help="the engine's socket, such as unix:///run/podman/podman.sock (default: DOCKER_HOST)")
    chosen = parser.parse_args(arguments)
    async with Docker(chosen.url) as docker:
        extra = profile_of(chosen.profile).extra
        print(await ensure_image(docker, Recipe(chosen.base, packages_of(extra) if extra else (), chosen.wheels)))


if __name__ == "__main__":
    asyncio.run(_main())
