"""Train a small agent from nothing in a few minutes on a laptop: warm-start, multi-turn RL, held-out success after each."""

import asyncio
from pathlib import Path

from turnwise.trainers.recipe import load
from turnwise.trainers.run import run

recipe = load(Path(__file__).parent.parent / "recipes" / "quickstart.toml")
asyncio.run(run(recipe, Path("runs/quickstart")))
