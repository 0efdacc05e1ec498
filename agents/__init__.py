"""Everything that produces actions: text and tokens, inference engines, episodes, evaluation. No gradients."""

if not __name__.startswith("turnwise."):
    raise ImportError("import turnwise.agents, not agents")
