"""Policy losses: pure functions of per-token tensors, one method a file."""
