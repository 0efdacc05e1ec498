"""The tools that the official MCP conformance scenarios call, as a worker: they run in a real sandbox, like any tool."""

from typing import Any, ClassVar

__all__ = ["Worker"]

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_TEXT = {"type": "string"}
_PHONE = {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]}
_CONTACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": _TEXT, "city": _TEXT}}},
    "properties": {
        "name": _TEXT,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": _TEXT,
        "email": _TEXT,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": _PHONE,
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _tool(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "description": description, "parameters": {"type": "object", "properties": {}} | schema}


class Worker:
    """See `turnwise.tool_servers.sandbox.profiles`."""

    tools: ClassVar[tuple[dict[str, Any], ...]] = (
        _tool("test_simple_text", "A line of text."),
        _tool("test_error_handling", "Always fails."),
        _tool("test_image_content", "A picture."),
        _tool("json_schema_2020_12_tool", "Its schema uses what JSON Schema 2020-12 brought.", **_CONTACT),
        _tool(
            "test_custom_header", "One argument comes in a header too.", properties={"region": _TEXT | {"x-mcp-header": "Region"}}
        ),
    )

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        pass

    def handle(self, tool: str, arguments: dict[str, Any]) -> Any:
        if tool == "test_error_handling":
            raise ValueError("This tool intentionally returns an error for testing")
        if tool == "test_image_content":
            return {"image": {"type": "image/png", "base64": _PIXEL}}
        return "This is a simple text response for testing."
