"""The JSON schema of a function's arguments: types from its signature, words from its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

from turnwise.errors import ConfigError

__all__ = ["Arguments", "arguments_of", "read_docstring"]


@dataclass(frozen=True, slots=True)
class Arguments:
    """Checks arguments as a model gave them."""

    model: type[BaseModel]
    """A field `a_<name>` with the alias `<name>` for every parameter: any name will do, `schema` and `_x` too."""
    schema: Mapping[str, Any]
    """JSON schema of the whole object."""

    def read(self, given: Mapping[str, Any]) -> Mapping[str, Any] | str:
        """Keyword arguments for the function, or what is wrong with them as a sentence."""
        try:
            checked = self.model.__pydantic_validator__.validate_python(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part)[:50] for part in first["loc"]) or "arguments"
            return f"{where}: {first['msg']}."
        return {name[2:]: value for name, value in checked.__dict__.items()}


class _Schema(GenerateJsonSchema):
    """A default that JSON cannot say is left out of the schema; the function still has it."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  (pydantic's)


def arguments_of(function: Callable[..., Any], name: str, words: Mapping[str, str]) -> Arguments:
    """The arguments of a function, `self` apart; `words` describes parameters. Raises ConfigError for what no JSON can give."""
    parameters = _parameters(function, name)
    if strange := words.keys() - parameters.keys():
        raise ConfigError(f"tool {name}: the docstring describes {min(strange)!r}, which is not a parameter; mend one of them.")
    hints = _hints(function, name)
    fields: dict[str, Any] = {}
    for key, parameter in parameters.items():
        if key not in hints:
            raise ConfigError(f"tool {name}: parameter {key!r} needs a type hint, from which its schema is made.")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        described = words.get(key) or _annotated(hints[key])
        field = Field(default, alias=key, description=described) if described else Field(default, alias=key)
        fields[f"a_{key}"] = (hints[key], field)
        _check_type(name, key, hints[key])
    model = create_model(name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)
    return Arguments(model, _parameters_schema(model))


def _parameters(function: Callable[..., Any], name: str) -> dict[str, inspect.Parameter]:
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise ConfigError(f"tool {name}: {error}; wrap it in a function with type hints.") from error
    for key, parameter in found.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY) and key != "self":
            stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
            raise ConfigError(f"tool {name}: parameter '{stars}{key}' has no name for a model to use; give it one.")
    return {key: parameter for key, parameter in found.items() if key != "self"}


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"tool {name}: {error}, a type hint; import it where the module can see it when it runs (not under TYPE_CHECKING)."
        ) from error


def _annotated(hint: Any) -> str:
    """The text in Annotated[int, "how many"]; "" where there is none."""
    extra = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((part for part in extra if isinstance(part, str)), "")


def _check_type(name: str, key: str, hint: Any) -> None:
    try:
        TypeAdapter(hint).json_schema(schema_generator=_Schema)
    except PydanticUserError as error:
        said = str(error).partition("\n")[0].rstrip(". ")
        mend = (
            "use str, int, float, bool, list, dict, Literal, Enum, a dataclass, a pydantic model or typing_extensions.TypedDict"
        )
        raise ConfigError(f"tool {name}: parameter {key!r} of type {hint} cannot come from JSON ({said}); {mend}.") from error


def _parameters_schema(model: type[BaseModel]) -> dict[str, Any]:
    whole = cast(dict[str, Any], _untitled(model.model_json_schema(schema_generator=_Schema)))
    schema = {"type": "object", "properties": whole.get("properties", {}), "required": whole.get("required", [])}
    return schema | ({"$defs": whole["$defs"]} if "$defs" in whole else {})


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes of names: they tell a model nothing and cost tokens."""
    if isinstance(schema, list):
        return [_untitled(item) for item in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in cast(dict[str, Any], schema).items():
        if key in ("properties", "$defs"):
            out[key] = {name: _untitled(inner) for name, inner in value.items()}
        elif key in ("default", "enum", "const", "examples"):
            out[key] = value
        elif key != "title":
            out[key] = _untitled(value)
    return out


# --- docstrings ---------------------------------------------------------------------------------------------------------

_SPHINX = re.compile(r"^:param\s+(?:[^:]*\s)?\*{0,2}(\w+):\s*", re.MULTILINE)
_HEADING = re.compile(r"^(?:Args|Arguments|Parameters|Params):?[ \t]*$\n(?:-{3,}[ \t]*\n)?", re.MULTILINE)
_GOOGLE_ENTRY = re.compile(r"\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s+(.*)")
_NUMPY_ENTRY = re.compile(r"(\w+)(?:\s*:.*)?$")


def read_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """(what it says about the whole, parameter -> its description), for the styles of Google, NumPy and Sphinx."""
    text = inspect.cleandoc(docstring)
    if _SPHINX.search(text):
        return _sphinx(text)
    heading = _HEADING.search(text)
    if heading is None:
        return text, {}
    underlined = "---" in heading[0]
    section, rest = _section(text[heading.end() :], indented=not underlined)
    words = _entries(section, _NUMPY_ENTRY if underlined else _GOOGLE_ENTRY)
    return "\n\n".join(part for part in (text[: heading.start()].strip(), rest.strip()) if part), words


def _section(text: str, *, indented: bool) -> tuple[str, str]:
    """The lines that belong to a heading, and what comes after them."""
    lines = text.split("\n")
    end = len(lines)
    for at, line in enumerate(lines):
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if (indented and line and not line[0].isspace()) or (not indented and re.match(r"-{3,}", following)):
            end = at
            break
    return inspect.cleandoc("\n" + "\n".join(lines[:end])), "\n".join(lines[end:])


def _entries(section: str, entry: re.Pattern[str]) -> dict[str, str]:
    words: dict[str, list[str]] = {}
    name = ""
    for line in section.split("\n"):
        match = entry.match(line)
        if match and not line[0].isspace():
            name = match[1]
            words[name] = [match[2]] if entry is _GOOGLE_ENTRY else []
        elif name and line.strip():
            words[name].append(line.strip())
    return {key: " ".join(parts) for key, parts in words.items()}


def _sphinx(text: str) -> tuple[str, dict[str, str]]:
    fields = re.split(r"^(?=:\w)", text, flags=re.MULTILINE)
    words = {m[1]: " ".join(field[m.end() :].split()) for field in fields if (m := _SPHINX.match(field))}
    rest = "".join(field for field in fields if not re.match(r":(?:param|type)\b", field))
    return rest.strip(), words
