"""All environment ids: ours, and those of installed plug-ins.

A plug-in is an entry point of the group `turnwise.envs`, `"cafe/Cafe-v0" = "cafe_env:Cafe"`. Entry points are strings,
so nothing is imported before `gymnasium.make` asks for it.
"""

from importlib.metadata import EntryPoint, entry_points

import gymnasium

from turnwise.errors import ConfigError

__all__ = ["ADAPTERS", "BUILT_IN", "ids", "register_all"]

BUILT_IN = {
    "turnwise/Arithmetic-v0": "turnwise.envs.math.arithmetic:Arithmetic",
    "turnwise/MathTools-v0": "turnwise.envs.math.math_tools:MathTools",
    "turnwise/RandomCalculation-v0": "turnwise.envs.math.random_calculation:RandomCalculation",
    "turnwise/TryAgain-v0": "turnwise.envs.math.try_again:TryAgain",
    "turnwise/CodeWrite-v0": "turnwise.envs.code.code_write:CodeWrite",
    "turnwise/CodeRepair-v0": "turnwise.envs.code.code_repair:CodeRepair",
    "turnwise/MLEngineering-v0": "turnwise.envs.code.ml_engineering:MLEngineering",
    "turnwise/Gui-v0": "turnwise.envs.gui.gui:Gui",
    "turnwise/GuiLite-v0": "turnwise.envs.gui.gui_lite:GuiLite",
    "turnwise/MiniWoB-v0": "turnwise.envs.miniwob.miniwob:MiniWoB",
    "turnwise/Lookup-v0": "turnwise.envs.search.lookup:Lookup",
    "turnwise/FanOut-v0": "turnwise.envs.search.fan_out:FanOut",
    "turnwise/MaskedSearch-v0": "turnwise.envs.search.masked_search:MaskedSearch",
    "turnwise/Router-v0": "turnwise.envs.search.router:Router",
    "turnwise/Search-v0": "turnwise.envs.search.search:Search",
    "turnwise/SQL-v0": "turnwise.envs.sql.sql:SQL",
    "turnwise/Platformer-v0": "turnwise.envs.platformer.platformer:Platformer",
    "turnwise/NP-BinPacking-v0": "turnwise.envs.np.bin_packing:BinPacking",
    "turnwise/NP-GraphColouring-v0": "turnwise.envs.np.graph_colouring:GraphColouring",
    "turnwise/NP-HamiltonianCycle-v0": "turnwise.envs.np.hamiltonian_cycle:HamiltonianCycle",
    "turnwise/NP-IndependentSet-v0": "turnwise.envs.np.independent_set:IndependentSet",
    "turnwise/NP-JobShop-v0": "turnwise.envs.np.job_shop:JobShop",
    "turnwise/NP-Knapsack-v0": "turnwise.envs.np.knapsack:Knapsack",
    "turnwise/NP-MaxSAT-v0": "turnwise.envs.np.max_sat:MaxSAT",
    "turnwise/NP-SetCover-v0": "turnwise.envs.np.set_cover:SetCover",
    "turnwise/NP-SubsetSum-v0": "turnwise.envs.np.subset_sum:SubsetSum",
    "turnwise/NP-TSP-v0": "turnwise.envs.np.tsp:TSP",
    "turnwise/CausalGraph-v0": "turnwise.envs.puzzles.causal_graph:CausalGraph",
    "turnwise/TextHouse-v0": "turnwise.envs.house.text_house:TextHouse",
    "turnwise/Countdown-v0": "turnwise.envs.puzzles.countdown:Countdown",
    "turnwise/FrozenLake-v0": "turnwise.envs.puzzles.frozen_lake:FrozenLake",
    "turnwise/Game2048-v0": "turnwise.envs.puzzles.game_2048:Game2048",
    "turnwise/KnightsAndKnaves-v0": "turnwise.envs.puzzles.knights_and_knaves:KnightsAndKnaves",
    "turnwise/LightsOut-v0": "turnwise.envs.puzzles.lights_out:LightsOut",
    "turnwise/Mastermind-v0": "turnwise.envs.puzzles.mastermind:Mastermind",
    "turnwise/Maze-v0": "turnwise.envs.puzzles.maze:Maze",
    "turnwise/Minesweeper-v0": "turnwise.envs.puzzles.minesweeper:Minesweeper",
    "turnwise/SlidingTiles-v0": "turnwise.envs.puzzles.sliding_tiles:SlidingTiles",
    "turnwise/Sokoban-v0": "turnwise.envs.puzzles.sokoban:Sokoban",
    "turnwise/StringCompose-v0": "turnwise.envs.puzzles.string_compose:StringCompose",
    "turnwise/Sudoku-v0": "turnwise.envs.puzzles.sudoku:Sudoku",
    "turnwise/TowerOfHanoi-v0": "turnwise.envs.puzzles.tower_of_hanoi:TowerOfHanoi",
    "turnwise/WordGuess-v0": "turnwise.envs.puzzles.word_guess:WordGuess",
}
ADAPTERS = {
    "turnwise/Chaos-v0": "turnwise.envs.testing.chaos:ChaosEnv",
    "turnwise/Gymnasium-v0": "turnwise.envs.adapters.gymnasium_env:GymnasiumEnv",
    "turnwise/OpenEnv-v0": "turnwise.envs.adapters.openenv_env:OpenEnvEnv",
    "turnwise/ReasoningGym-v0": "turnwise.envs.adapters.reasoning_gym_env:ReasoningGymEnv",
    "turnwise/SlowTools-v0": "turnwise.envs.adapters.slow_tools:SlowTools",
    "turnwise/TextArena-v0": "turnwise.envs.adapters.textarena_env:TextArenaEnv",
    "turnwise/TextWorld-v0": "turnwise.envs.adapters.textworld_env:TextWorldEnv",
}
"""Ids that need to be told what to wrap, and its package. `gymnasium.make` knows them; `ids` does not list them."""
_registered: dict[str, str] = {}


def register_all() -> None:
    """Register every id with Gymnasium; calling it again changes nothing. Raises ConfigError if two owners claim one id."""
    for env_id, entry in [*BUILT_IN.items(), *((p.name, p.value) for p in _plugins())]:
        if env_id not in _registered:
            gymnasium.register(id=env_id, entry_point=entry)
            _registered[env_id] = entry
    for env_id, entry in ADAPTERS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(id=env_id, entry_point=entry)


def _plugins() -> list[EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group="turnwise.envs"):
        rival = found.get(point.name)
        other = BUILT_IN.get(point.name) or (rival.value if rival and rival.value != point.value else None)
        if other:
            raise ConfigError(
                f"environment id {point.name!r} is claimed twice: by {other} and by {point.value}. "
                "Rename one of them, or uninstall one."
            )
        found[point.name] = point
    return list(found.values())


def ids() -> list[str]:
    """Every id that `import turnwise` registered and that needs nothing else, sorted."""
    return sorted(_registered)
