"""A tool environment outside turnwise: look prices up, add them, answer."""

import numpy as np

from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import tool
from turnwise.types import Task

DRINKS = ("espresso", "cortado", "latte", "mocha", "chai", "matcha")


class Cafe(ToolEnv):
    """Orders of one to five kinds of drinks; the price list is new in every task."""

    levels = range(1, 6)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        prices = {drink: int(rng.integers(100, 1000)) for drink in DRINKS}
        order = {str(drink): int(rng.integers(2, 10)) for drink in rng.choice(DRINKS, difficulty, replace=False)}
        words = " and ".join(f"{count} {drink}" for drink, count in order.items())
        total = sum(count * prices[drink] for drink, count in order.items())
        metadata = {"prices": prices, "order": order}
        return Task(f"cafe {words} {list(prices.values())}", f"What do {words} cost, in cents?", str(total), difficulty, metadata)

    @tool
    def price(self, drink: str) -> str:
        """The price of one drink, in cents."""
        return str(self.task.metadata["prices"].get(drink, "We do not have that."))

    toolset = (price,)

    def grade(self, answer: str) -> float:
        return float(answer == self.task.answer)

    def expert_action(self) -> str:
        left = list(self.task.metadata["order"])[self.turn :]
        return self.format.call("price", {"drink": left[0]}) if left else self.format.final(self.task.answer)
