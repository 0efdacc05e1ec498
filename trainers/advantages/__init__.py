"""Advantage estimators: pure functions of a Batch, one method a file."""
