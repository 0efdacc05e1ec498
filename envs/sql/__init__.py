"""Questions about databases, answered with SQL: generated worlds, and loaders for Spider and BIRD."""
