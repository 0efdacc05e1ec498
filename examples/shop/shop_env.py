"""An environment on top of an MCP server: its tools are the agent's tools, each episode has a basket of its own."""

import sys
from typing import Unpack

import numpy as np
import shop_server

from turnwise.envs.adapters.mcp_tools import mcp_tools
from turnwise.envs.options import ToolOptions
from turnwise.envs.tool_env import ToolEnv
from turnwise.types import Task


class Shop(ToolEnv):
    """Buy one to five kinds of things and say what they cost together."""

    levels = range(1, 6)

    def __init__(self, **options: Unpack[ToolOptions]) -> None:
        super().__init__(toolset=[mcp_tools([sys.executable, shop_server.__file__])], **options)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        items = rng.choice(list(shop_server.PRICES), difficulty, replace=False)
        order = [[str(item), int(rng.integers(1, 100))] for item in items]
        wish = " and ".join(f"{count} x {item}" for item, count in order)
        cost = sum(count * shop_server.PRICES[item] for item, count in order)
        return Task(f"shop {wish}", f"What do {wish} cost together, in cents?", str(cost), difficulty, {"order": order})

    def grade(self, answer: str) -> float:
        return float(answer == self.task.answer)

    def expert_action(self) -> str:
        calls = [("add", {"item": item, "count": count}) for item, count in self.task.metadata["order"]] + [("total", {})]
        left = calls[self.turn :]
        return self.format.call(*left[0]) if left else self.format.final(self.task.answer)
