"""Inference back ends, one a file."""
