"""Questions answered by looking things up."""
