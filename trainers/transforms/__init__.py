"""Transforms: pure functions of a batch and its advantages, applied after the estimator, one method a file."""
