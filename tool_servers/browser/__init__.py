"""The browser tool: pages of a bundle in a local Chromium without any network."""
