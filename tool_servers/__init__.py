"""Tools and the places they run in: sandboxes and services. Knows nothing of environments."""

if not __name__.startswith("turnwise."):
    raise ImportError("import turnwise.tool_servers, not tool_servers")
