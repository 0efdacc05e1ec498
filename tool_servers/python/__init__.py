"""The Python tool: a persistent REPL that runs in a sandbox."""
