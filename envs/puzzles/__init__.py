"""Puzzles and games with exact rules."""
