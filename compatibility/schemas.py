"""Compare two JSON schemas of the same thing. Pure.

There are two directions. Of what others *read* (events, responses), everything that is sent now
must be something that a reader of the old schema knows. Of what others *write* (requests, values of
settings), everything that was accepted must be accepted still. So a new optional field is
compatible in both, and a new value of an enum only in what others write.

What this module does not know (``pattern``, ``format``, ``not`` …) counts as changed for the worse
when it differs, unless it was added to what others read, or removed from what they write.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from compatibility.change import Change

Json = Mapping[str, Any]

_ABOUT: Final = frozenset(
    {
        *("$comment", "$defs", "$id", "$schema", "default", "deprecated", "description", "example"),
        *("examples", "readOnly", "title", "writeOnly"),
    }
)
"""Keywords that allow and refuse nothing."""

_LOWEST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_HIGHEST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_HANDLED: Final = frozenset(
    {
        *_ABOUT,
        *_LOWEST,
        *_HIGHEST,
        *("$ref", "additionalProperties", "allOf", "anyOf", "const", "enum", "items", "oneOf"),
        *("properties", "required", "type"),
    }
)
_WIDER: Final = {("integer", "number")}
"""Types of which the first is a part of the second."""


class NotCompared(Exception):
    """A schema has a shape that this module would compare wrongly; the message says where."""


class Use(Enum):
    """What others do with data of a schema."""

    READ = "read"
    WRITE = "write"


_REMEDIES: Final = {
    Use.READ: "readers of the last release rely on it: keep it, and add a new field beside it",
    Use.WRITE: "callers of the last release send it: accept it still, beside a new field",
}


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema, and the document in which its references are looked up."""

    json: Json
    document: Json

    def at(self, json: Any) -> "Schema":
        """A part of this schema; ``true`` is a schema that allows everything."""
        return Schema(json if isinstance(json, Mapping) else {}, self.document)


def changes(
    old: Schema, new: Schema, use: Use, where: str, whole: str = "the data"
) -> Iterator[Change]:
    """Yield what broke between two schemas.

    Parameters:
        use: what others do with the data.
        where: names the message, response or request in sentences.
        whole: names the data itself; parts are named by their paths.

    Raises:
        NotCompared: a part combines schemas in a way that has no rules here.
    """
    yield from _Comparison(use, where, whole).differences(old, new, "", frozenset())


_Above = frozenset[tuple[int, int]]
"""The pairs of schemas that are being compared, by identity: a schema may be within itself."""


@dataclass(frozen=True, slots=True)
class _Comparison:
    use: Use
    where: str
    whole: str

    def differences(self, old: Schema, new: Schema, path: str, above: _Above) -> Iterator[Change]:
        try:
            olds, news = _forms(old), _forms(new)
        except NotCompared as error:
            raise NotCompared(f"{self.where}: {self._named(path)} {error}") from error
        yield from self._null(olds, news, path)
        olds = [form for form in olds if form.json.get("type") != "null"]
        news = [form for form in news if form.json.get("type") != "null"]
        if len(olds) == len(news) == 1:
            yield from self._form(olds[0], news[0], path, above)
            return
        known, must_fit = (olds, news) if self.use is Use.READ else (news, olds)
        for form in must_fit:
            pairs = [(k, form) if self.use is Use.READ else (form, k) for k in known]
            if not any(not [*self._form(*pair, path, above)] for pair in pairs):
                verb = "has a new form" if self.use is Use.READ else "lost a form"
                yield self._broken(f"{self._named(path)} {verb}, {_type(form)}")

    def _null(self, olds: list[Schema], news: list[Schema], path: str) -> Iterator[Change]:
        was, now = (any(f.json.get("type") == "null" for f in forms) for forms in (olds, news))
        if self.use is Use.READ and now and not was:
            yield self._broken(f"{self._named(path)} may be null now")
        if self.use is Use.WRITE and was and not now:
            yield self._broken(f"{self._named(path)} must not be null any more")

    def _form(self, old: Schema, new: Schema, path: str, above: _Above) -> Iterator[Change]:
        pair = (id(old.json), id(new.json))
        if pair in above:
            return
        above |= {pair}
        if not self._is_type_kept(old, new):
            yield self._broken(f"{self._named(path)} was {_type(old)} and is {_type(new)}")
            return
        yield from self._values(old, new, path)
        yield from self._limits(old, new, path)
        yield from self._others(old, new, path)
        yield from self._fields(old, new, path, above)
        if "items" in old.json or "items" in new.json:
            was, now = (side.at(side.json.get("items")) for side in (old, new))
            yield from self.differences(was, now, f"{path}[]", above)

    def _is_type_kept(self, old: Schema, new: Schema) -> bool:
        was, now = old.json.get("type"), new.json.get("type")
        narrow, wide = (now, was) if self.use is Use.READ else (was, now)
        return narrow == wide or wide is None or (narrow, wide) in _WIDER

    def _values(self, old: Schema, new: Schema, path: str) -> Iterator[Change]:
        was, now, name = _enum(old), _enum(new), self._named(path)
        if was is not None and now is not None:
            # A value that is gone breaks readers too: those who wait for it.
            for value in (value for value in was if value not in now):
                yield self._broken(f"{name} lost the value {value!r}")
            if self.use is Use.READ:
                for value in (value for value in now if value not in was):
                    yield self._broken(f"{name} has the new value {value!r}")
        elif was is not None and self.use is Use.READ:
            yield self._broken(f"{name} may have other values than {_listed(was)} now")
        elif now is not None and self.use is Use.WRITE:
            yield self._broken(f"{name} must be one of {_listed(now)} now")

    def _limits(self, old: Schema, new: Schema, path: str) -> Iterator[Change]:
        for keyword in (*_LOWEST, *_HIGHEST):
            was, now = old.json.get(keyword), new.json.get(keyword)
            if was == now:
                continue
            narrow, wide = (now, was) if self.use is Use.READ else (was, now)
            if wide is None or (
                narrow is not None and (narrow >= wide if keyword in _LOWEST else narrow <= wide)
            ):
                continue
            yield self._broken(
                f"{keyword} of {self._named(path)} was {_said(was)} and is {_said(now)}"
            )

    def _others(self, old: Schema, new: Schema, path: str) -> Iterator[Change]:
        """Keywords that can only be equal or not."""
        for keyword in sorted((old.json.keys() | new.json.keys()) - _HANDLED):
            was, now = old.json.get(keyword), new.json.get(keyword)
            wide = was if self.use is Use.READ else now
            if was != now and wide is not None:
                yield self._broken(
                    f"{keyword} of {self._named(path)} was {_said(was)} and is {_said(now)}"
                )

    def _fields(self, old: Schema, new: Schema, path: str, above: _Above) -> Iterator[Change]:
        was, now = old.json.get("properties", {}), new.json.get("properties", {})
        required, required_now = (set(side.json.get("required", ())) for side in (old, new))
        for name in was:
            field = _below(path, name)
            if name not in now:
                yield self._broken(f"`{field}` is gone")
                continue
            if self.use is Use.READ and name in required - required_now:
                yield self._broken(f"`{field}` may be missing now")
            yield from self.differences(old.at(was[name]), new.at(now[name]), field, above)
        if self.use is Use.WRITE:
            for name in sorted(required_now - required):
                yield self._broken(f"`{_below(path, name)}` is required now")
        yield from self._further_fields(old, new, path, above)

    def _further_fields(
        self, old: Schema, new: Schema, path: str, above: _Above
    ) -> Iterator[Change]:
        was, now = (side.json.get("additionalProperties", True) for side in (old, new))
        if self.use is Use.WRITE and was is not False and now is False:
            yield self._broken(f"{self._named(path)} must not have other fields any more")
        elif isinstance(was, Mapping) or isinstance(now, Mapping):
            yield from self.differences(old.at(was), new.at(now), _below(path, "*"), above)

    def _named(self, path: str) -> str:
        return f"`{path}`" if path else self.whole

    def _broken(self, what: str) -> Change:
        return Change(self.where, what, _REMEDIES[self.use])


def _forms(schema: Schema) -> list[Schema]:
    """The alternatives of a schema, each without references and with one type."""
    json = schema.json
    if "$ref" in json:
        found = _found(schema, json["$ref"])
        beside = {name: json[name] for name in json.keys() - _ABOUT - {"$ref"}}
        return _forms(schema.at(_merged(found, beside, "$ref") if beside else found))
    for keyword in ("anyOf", "oneOf"):
        if keyword in json:
            dropped = json.keys() - _ABOUT - {keyword, "discriminator"}
            if dropped:
                raise NotCompared(
                    f"has {', '.join(sorted(dropped))} beside {keyword}, which the comparison would"
                    " drop: write them into each of its schemas"
                )
            return [form for each in json[keyword] for form in _forms(schema.at(each))]
    if "allOf" in json:
        merged: Json = {name: json[name] for name in json.keys() - {"allOf"}}
        for each in json["allOf"]:
            forms = _forms(schema.at(each))
            if len(forms) != 1:
                raise NotCompared("has alternatives within allOf: write allOf into each of them")
            merged = _merged(forms[0].json, merged, "allOf")
        # Within one of the schemas, or beside them, there may be alternatives.
        return _forms(schema.at(merged))
    if isinstance(json.get("type"), list):
        return [schema.at({**json, "type": kind}) for kind in json["type"]]
    return [schema]


def _merged(first: Json, second: Json, keyword: str) -> Json:
    """Both schemas at once, if no keyword has two values."""
    twice = {
        name for name in (first.keys() & second.keys()) - _ABOUT if first[name] != second[name]
    }
    if twice:
        raise NotCompared(
            f"has {', '.join(sorted(twice))} more than once by {keyword}, of which the comparison"
            " would drop one: write one schema"
        )
    return {**first, **second}


def _found(schema: Schema, reference: str) -> Json:
    """What a reference such as ``#/components/schemas/User`` leads to."""
    found: Any = schema.document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    assert isinstance(found, Mapping), reference
    return found


def _enum(schema: Schema) -> list[Any] | None:
    if "const" in schema.json:
        return [schema.json["const"]]
    values = schema.json.get("enum")
    return None if values is None else list(values)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _type(schema: Schema) -> str:
    kind = schema.json.get("type")
    return "of any type" if kind is None else f"of type {kind}"


def _listed(values: list[Any]) -> str:
    return ", ".join(map(repr, values))


def _said(value: Any) -> str:
    return "not limited" if value is None else repr(value)
