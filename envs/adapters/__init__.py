"""Other people's tools, games and environments under the contract of TurnEnv. Each needs its package only when used."""
