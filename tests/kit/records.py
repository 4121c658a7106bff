"""Every wire record, found and filled by its declared fields.

Decides: which record types there are (all Record subclasses in p2pchat.wire.messages, so
that a new one is tested by being written) and what arbitrary and example values of
their fields look like. Does not know: what any field means or which values are allowed.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

import p2pchat.wire.messages
from p2pchat.wire.codec import Record

R = TypeVar("R", bound=Record)

_INTS = st.integers(-(2**63), 2**64 - 1) | st.integers(0, 300)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@functools.cache
def record_types() -> tuple[type[Record], ...]:
    """All record types, by module and name."""
    package = p2pchat.wire.messages
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
    return tuple(
        sorted(
            (kind for kind in _below(Record) if kind.__module__.startswith(package.__name__ + ".")),
            key=lambda kind: (kind.__module__, kind.__name__),
        )
    )


def _below(kind: type[Record]) -> set[type[Record]]:
    return {kind for child in kind.__subclasses__() for kind in (child, *_below(child))}


def values_of(kind: type[R]) -> st.SearchStrategy[R]:
    """Any value `kind` can hold."""
    fields = {field.name: _any(msgspec.inspect.type_info(field.type)) for field in _fields(kind)}
    return st.builds(kind, **fields)


def example_of(kind: type[R], length: int = 1) -> R:
    """One value of `kind`, with lists, bytes and texts of that length."""
    fields = {field.name: _example(msgspec.inspect.type_info(field.type), length) for field in _fields(kind)}
    return kind(**fields)


def _fields(kind: type[Record]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _any(declared: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    match declared:
        case msgspec.inspect.IntType():
            return _INTS
        case msgspec.inspect.BytesType():
            return st.binary(max_size=40)
        case msgspec.inspect.StrType():
            return _TEXTS
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.UnionType():
            return st.one_of([_any(one) for one in declared.types])
        case msgspec.inspect.VarTupleType():
            return st.lists(_any(declared.item_type), max_size=3).map(tuple)
        case msgspec.inspect.TupleType():
            return st.tuples(*(_any(one) for one in declared.item_types))
        case msgspec.inspect.StructType() if issubclass(declared.cls, Record):
            return values_of(declared.cls)
    raise AssertionError(f"a wire record may not hold {declared}")


def _example(declared: msgspec.inspect.Type, length: int) -> Any:
    match declared:
        case msgspec.inspect.IntType():
            return length
        case msgspec.inspect.BytesType():
            return b"b" * length
        case msgspec.inspect.StrType():
            return "s" * length
        case msgspec.inspect.BoolType():
            return length > 0
        case msgspec.inspect.NoneType():
            return None
        case msgspec.inspect.UnionType():
            return _example(declared.types[0], length)
        case msgspec.inspect.VarTupleType():
            return (_example(declared.item_type, length),) * min(length, 3)
        case msgspec.inspect.TupleType():
            return tuple(_example(one, length) for one in declared.item_types)
        case msgspec.inspect.StructType() if issubclass(declared.cls, Record):
            return example_of(declared.cls, length)
    raise AssertionError(f"a wire record may not hold {declared}")
