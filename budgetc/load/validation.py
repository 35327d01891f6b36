"""Plain data -> a model of `core`, or sentences that say what to write instead."""

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from budgetc.core.frozen import Frozen
from budgetc.errors import ConfigError

Model = TypeVar("Model", bound=Frozen)
Location = tuple[str | int, ...]
_PLAIN = {
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
}


def validate(model_type: type[Model], data: object, path: Path) -> Model:
    """Plain data as a model; nothing is coerced: `"1"` is no number, `true` is no 1.

    Raises:
        ConfigError: one line for every problem: dotted field, what was found, what was expected.
    """
    try:
        # JSON is the strict mode of pydantic in which a list may still become a tuple.
        return model_type.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise invalid(path, model_type.__name__.lower(), sentences(error, model_type, data)) from error


def invalid(path: Path, noun: str, problems: Sequence[str]) -> ConfigError:
    """The error that lists all problems of one file."""
    if len(problems) == 1:
        return ConfigError(f"{path}: {problems[0]}")
    return ConfigError("\n  ".join([f"{path}: not a valid {noun}, {len(problems)} problems:", *problems]))


def sentences(error: ValidationError, annotation: object, data: object, prefix: Location = ()) -> list[str]:
    """One sentence a field, `limits.latency_p95: expected ..., found ...`, in the order of the model."""
    found: dict[Location, list[str]] = {}
    for details in error.errors(include_url=False):
        location = prefix + _written_part(details["loc"], details["type"], data)
        found.setdefault(location, []).append(_problem(details, annotation))
    return [f"{'.'.join(map(str, location)) or 'the file'}: {_either(texts)}" for location, texts in found.items()]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the list of what is known."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"


def _either(problems: list[str]) -> str:
    """One sentence for the branches of a union: `expected an integer or a text, found a list of 2`."""
    parts = [problem.partition(", found ") for problem in dict.fromkeys(problems)]
    expected = [before.removeprefix("expected ") for before, _, _ in parts]
    return f"expected {' or '.join(expected)}, found {parts[0][2]}" if len(parts) > 1 else problems[0]


def written_nulls(data: object, prefix: Location = ()) -> list[str]:
    """One sentence for every key that is written without a value."""
    if not isinstance(data, Mapping):
        return []
    found: list[str] = []
    for key, value in data.items():
        if value is None:
            found.append(f"{'.'.join(map(str, (*prefix, key)))}: has no value; write one or remove the key")
        found += written_nulls(value, (*prefix, key))
    return found


def _problem(details: Any, annotation: object) -> str:
    kind, location, value = details["type"], details["loc"], details["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {did_you_mean(str(location[-1]), _fields_at(annotation, location[:-1]))}"
    if kind == "missing":
        return "is required but missing" + _meaning(annotation, location)
    if kind == "value_error":
        text = str(details["ctx"]["error"])
        return text if "found" in text or isinstance(value, Mapping) else f"{text}, found {_shown(value)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected a map of keys and values, found {_shown(value)}"
    if kind in ("union_tag_invalid", "literal_error"):
        written = details["ctx"].get("tag", value)
        return f"expected {_expected(details)}, found {_shown(written)}{_close(written, details)}"
    expected = _PLAIN.get(kind) or details["msg"].removeprefix("Input should be ")
    return f"expected {expected}, found {_shown(value)}{_fraction_hint(kind, value, details)}"


def _expected(details: Any) -> str:
    context = details["ctx"]
    return str(context["expected"] if "expected" in context else context["expected_tags"])


def _close(value: object, details: Any) -> str:
    known = [part.strip(" '") for part in _expected(details).replace(" or ", ",").split(",")]
    close = difflib.get_close_matches(str(value), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _fraction_hint(kind: str, value: object, details: Any) -> str:
    """People write 95 or `95 %` where a share is due."""
    if kind == "float_type" and isinstance(value, str) and value.rstrip().endswith("%"):
        return "; write a share such as 0.95"
    ceiling = details.get("ctx", {}).get("le", details.get("ctx", {}).get("lt"))
    if ceiling == 1 and isinstance(value, int | float) and 1 < value <= 100:
        return f"; write {value / 100:g} for {value:g} %"
    return ""


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return f"a map with the keys {', '.join(map(str, value))}"[:80] if value else "an empty map"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _meaning(annotation: object, location: Location) -> str:
    for model in _models_at(annotation, location[:-1]):
        field = model.model_fields.get(str(location[-1]))
        if field is not None and field.description:
            return f": {' '.join(field.description.split())}"
    return ""


def _fields_at(annotation: object, location: Location) -> list[str]:
    return list(dict.fromkeys(name for model in _models_at(annotation, location) for name in model.model_fields))


def _models_at(annotation: object, location: Location) -> list[type[BaseModel]]:
    """The models that may stand at a location of the data."""
    models = _models(annotation)
    for part in location:
        inner = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        if inner:
            models = [model for one in inner for model in _models(one)]
        elif tagged := [model for model in models if part in _tags(model)]:
            models = tagged  # pydantic puts the tag of a tagged union into the location
    return models


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (typing.Annotated, typing.Union, types.UnionType, tuple, list, dict):
        return [model for argument in get_args(annotation) for model in _models(argument)]
    return []


def _tags(model: type[BaseModel]) -> set[str]:
    return {field.default for field in model.model_fields.values() if isinstance(field.default, str)}


def _written_part(location: Location, kind: str, data: object) -> Location:
    """The location without what pydantic adds for itself: branches of unions, tags."""
    written: list[str | int] = []
    value: Any = data
    for part in location:
        in_map = isinstance(value, Mapping) and part in value
        if in_map or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        elif kind == "missing" and part == location[-1]:
            return (*written, part)
        else:
            continue
        written.append(part)
    return tuple(written)
