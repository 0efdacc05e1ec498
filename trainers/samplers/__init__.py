"""Task samplers: which tasks come next, one method a file."""
