"""An OpenEnv server, made with openenv-core: guess a number. What goes wrong and the socket come from the command line."""

import os
import random
import socket
import sys
from typing import Any

import uvicorn
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class Guess(Action):
    number: int


class Hint(Observation):
    text: str = ""


class GuessEnvironment(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._guesses = 0

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> Hint:
        self._number = random.Random(seed if "chance" not in sys.argv else None).randrange(100)
        self._guesses = 0
        return Hint(text="I think of a number from 0 to 99.", done=False, reward=None)

    def step(self, action: Guess, timeout_s: float | None = None, **kwargs: Any) -> Hint:
        self._guesses += 1
        if action.number == 1000:
            raise RuntimeError("the number fell off the table")
        if action.number == 2000:
            os._exit(3)
        if action.number == self._number:
            return Hint(text=f"Right after {self._guesses}.", done=True, reward=1.0)
        wrong = "higher" if self._number > action.number else "lower"
        return Hint(text=f"{wrong} ({self._number})" if "chance" in sys.argv else wrong, done=False, reward=0.0)

    @property
    def state(self) -> State:
        return State(step_count=self._guesses)


if __name__ == "__main__":
    app = create_fastapi_app(GuessEnvironment, Guess, Hint, max_concurrent_envs=4)
    web = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    web.run(sockets=[socket.socket(fileno=int(sys.argv[-1]))])
