"""Reward shapers: each adds named reward terms to turns, one method a file."""
