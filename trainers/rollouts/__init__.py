"""Rollout strategies: which node to extend or fork next, one method a file."""
