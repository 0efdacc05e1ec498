"""Functions as tools: the JSON schema comes from the signature, the descriptions from the docstring."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from turnwise.errors import ConfigError

__all__ = ["Tool", "tool"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call by name with JSON arguments."""

    name: str
    description: str
    function: Callable[..., str]
    arguments: type[BaseModel]
    method: bool = False
    """Whether the function takes the environment as its first argument, `self`."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """JSON-schema spec: name, description, parameters. Made once and shared; not to be changed."""
        return _spec(self.name, self.description, self.arguments)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tool":
        return self  # frozen: forks share it

    def __call__(self, arguments: Mapping[str, Any], *bound: Any) -> tuple[str, bool]:
        """Run with arguments as a model gave them: (text for the model, whether they were right). `bound` goes first (self)."""
        try:
            checked = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part)[:50] for part in first["loc"]) or "arguments"
            return f"Error: {self.name}: {where}: {first['msg']}.", False
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        return str(self.function(*bound, **values)), True


@lru_cache(maxsize=1024)
def _spec(name: str, description: str, arguments: type[BaseModel]) -> dict[str, Any]:
    schema = arguments.model_json_schema()
    properties = {key: {k: v for k, v in value.items() if k != "title"} for key, value in schema.get("properties", {}).items()}
    parameters = {"type": "object", "properties": properties, "required": schema.get("required", [])}
    if "$defs" in schema:
        parameters["$defs"] = schema["$defs"]
    return {"name": name, "description": description, "parameters": parameters}


def tool(function: Callable[..., str]) -> Tool:
    """Make a tool of a documented, annotated function, `@tool def price(drink: str) -> str`; `self` is not in the schema."""
    if not function.__doc__:
        raise ConfigError(f"tool {function.__name__}: needs a docstring, which the model reads as the tool's description.")
    fields: dict[str, Any] = {}
    parameters = inspect.signature(function, eval_str=True).parameters
    for name, parameter in parameters.items():
        if name == "self":
            continue
        if parameter.annotation is inspect.Parameter.empty:
            raise ConfigError(f"tool {function.__name__}: parameter {name!r} needs a type hint.")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[name] = (parameter.annotation, default)
    model = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    return Tool(function.__name__, inspect.cleandoc(function.__doc__), function, model, method="self" in parameters)
