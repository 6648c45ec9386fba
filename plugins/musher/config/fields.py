"""How a configuration's fields become the trigger form's Params, and its errors one clear sentence.

Every configuration is a frozen pydantic model whose fields carry a title, a sentence, limits and a default; nothing is
written twice: the form, the check and the message all come from the field.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import pydantic

from musher.errors import ConfigError

if TYPE_CHECKING:
    from airflow.sdk import Param

Share = Annotated[float, pydantic.Field(ge=0, le=1)]

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "object": "an object",
}


def option(
    default: Any, section: str, title: str, sentence: str, *, schema: Mapping[str, Any] | None = None, **limits: Any
) -> Any:
    """A field that a person may change: where the trigger form shows it, what it says there, and its limits.

    `schema` what the form is to check besides, as JSON schema.
    """
    extra = {"section": section, **(schema or {})}
    return pydantic.Field(default, title=title, description=sentence, json_schema_extra=extra, **limits)


def describe(schema: Mapping[str, Any]) -> str:
    """What a value of this JSON schema has to be, in words: `a whole number from 1 to 100`."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        least = schema.get("minItems", 0)
        return f"a list of at least {least}, each {describe(schema['items'])}"
    kind = _KINDS.get(str(schema.get("type")), "a value")
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f"{kind} above {schema['exclusiveMinimum']:g}" + (f" and at most {high:g}" if high is not None else "")
    if low is not None and high is not None:
        return f"{kind} from {low:g} to {high:g}"
    if low is not None:
        return f"{kind} of at least {low:g}"
    if high is not None:
        return f"{kind} of at most {high:g}"
    if "pattern" in schema:
        return f"like {schema['examples'][0]}" if schema.get("examples") else f"a text matching {schema['pattern']}"
    return kind


class Configuration(pydantic.BaseModel):
    """Base of everything a run is told: checked once, then read-only."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    _origin: ClassVar[str] = ""  # how a message begins, where the field's name alone would leave a person searching

    @pydantic.model_validator(mode="before")
    @classmethod
    def _tidy(cls, values: Any) -> Any:
        """Null means the default (the form sends it for a cleared field); true is not the number one."""
        if not isinstance(values, Mapping):
            return values
        tidy = {name: value for name, value in values.items() if value is not None}
        for name, value in tidy.items():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and field.annotation in (int, float):
                raise ValueError(f"{name} is {str(value).lower()}; it has to be {describe(cls._schema(name))}.")
            if isinstance(value, str):
                tidy[name] = value.strip()
        return tidy

    @classmethod
    def _schema(cls, name: str) -> dict[str, Any]:
        return cls.model_json_schema()["properties"][name]

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """The configuration that the values of a run's params make.

        Raises ConfigError with one sentence on the first field that is wrong.
        """
        try:
            return cls(**dict(params))
        except pydantic.ValidationError as error:
            raise ConfigError(cls._origin + cls._sentence(error.errors(include_url=False)[0])) from None

    @classmethod
    def _sentence(cls, error: Mapping[str, Any]) -> str:
        if error["type"] == "value_error":  # one of our own checks: already a sentence
            return str(error["ctx"]["error"])
        name = str(error["loc"][0])
        if error["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            return f"there is no field {name!r}" + (
                f"; did you mean {near[0]}?" if near else f"; the fields are {', '.join(cls.model_fields)}."
            )
        if error["type"] == "missing":
            return f"{name} is missing; it has to be {describe(cls._schema(name))}."
        where = name + "".join(f"[{index}]" for index in error["loc"][1:])
        schema = cls._schema(name)
        if len(error["loc"]) > 1:
            schema = schema.get("items") or schema.get("properties", {}).get(error["loc"][1], schema)
        return f"{where} is {error['input']!r}; it has to be {describe(schema)}."

    @classmethod
    def params(cls, **defaults: Any) -> dict[str, Param]:
        """The trigger form's fields, in order: type, limits, title, sentence and choices come from the model.

        `defaults` replace the model's own, and are checked like anything a person types.
        """
        from airflow.sdk import Param

        values = cls.from_params(defaults) if defaults else None
        params = {}
        for name, schema in cls.model_json_schema()["properties"].items():
            schema = dict(schema)
            default = schema.pop("default")
            if values is not None:
                default = getattr(values, name)
            sentence = schema.pop("description")
            if "pattern" in schema:
                schema.pop("examples", None)  # there to explain the pattern in a message, not to be chosen from
            if schema["type"] == "array":
                default = list(default)
            elif schema["type"] == "object":
                default = dict(default)
            elif schema["type"] == "string" and default == "":
                schema["type"] = ["string", "null"]  # the form refuses an empty field that is a string and nothing else
            params[name] = Param(default, description_md=sentence, **schema)
        return params
