"""The pages of the `miniwob` package as environments."""
