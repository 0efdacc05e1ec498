"""Everything that learns: rollout strategies, rewards, advantages, losses, samplers, the training loop."""

if not __name__.startswith("turnwise."):
    raise ImportError("import turnwise.trainers, not trainers")
