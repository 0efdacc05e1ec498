"""An MCP server like any other: python shop_server.py speaks MCP on standard input and output."""

from mcp.server.mcpserver import MCPServer

PRICES = {"lamp": 1999, "chair": 4950, "table": 12900, "shelf": 7425, "rug": 3380}
server = MCPServer("shop")
basket: dict[str, int] = {}


@server.tool()
def add(item: str, count: int) -> str:
    """Put some of an item into the basket."""
    if item not in PRICES or not 0 < count < 100:
        return f"We sell 1 to 99 of each of {', '.join(PRICES)}."
    basket[item] = basket.get(item, 0) + count
    return f"{basket[item]} x {item} in the basket"


@server.tool()
def total() -> int:
    """What the basket costs, in cents."""
    return sum(count * PRICES[item] for item, count in basket.items())


if __name__ == "__main__":
    server.run()
