"""DynamoDB's spelling of values (``{"S": "text"}``), read and written without boto3.

Called by the store's adapters, by `batches` (streams deliver items in this spelling), and by the agent.
To import boto3 for it would load its S3 transfers and multiprocessing, and cost the agent and a cold start
more than these lines. Whole numbers become int, others Decimal.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any


class BadAttribute(ValueError):
    """Not a DynamoDB attribute value. The message says what was found instead."""


def plain_item(image: object) -> dict[str, Any]:
    """The item that *image* spells. Raises BadAttribute."""
    return {str(name): plain_value(value) for name, value in _a(Mapping, image).items()}


def plain_value(attribute: object) -> Any:
    """The value that *attribute*, a mapping of one type to its value, spells. Raises BadAttribute."""
    match attribute:
        case Mapping() if len(attribute) == 1:
            ((kind, value),) = attribute.items()
        case _:
            raise BadAttribute(f"expected one type and its value, not {type(attribute).__name__}")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise BadAttribute("unknown attribute type")
    return reader(value)


def spelt_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """*item* as DynamoDB takes it. Raises TypeError for a value that it has no type for."""
    return {name: spelt_value(value) for name, value in item.items()}


def spelt_value(value: object) -> dict[str, Any]:
    """*value* with its type. Raises TypeError, also for a float: it would lose digits."""
    if value is None:
        return {"NULL": True}
    for kind, letter, write in _SPELT:
        if isinstance(value, kind):
            return {letter: write(value)}
    raise TypeError(f"DynamoDB has no type for {type(value).__name__}")


def _a(kind: type[Any], value: object) -> Any:
    if not isinstance(value, kind) or (kind is Sequence and isinstance(value, str | bytes)):
        raise BadAttribute(f"expected {kind.__name__}, not {type(value).__name__}")
    return value


def _number(value: object) -> int | Decimal:
    try:
        number = Decimal(_a(str, value))
        if not number.is_finite():
            raise BadAttribute(f"{number} is not a number of DynamoDB's")
        whole = number.to_integral_value()
        return int(whole) if whole == number and number.adjusted() < _LARGEST else number
    except InvalidOperation as error:
        raise BadAttribute("not a number") from error


_LARGEST = 38
"""Exponent from which on a number stays Decimal: DynamoDB's have 38 digits, an int would only fill memory."""


def _binary(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(_a(str, value), validate=True)
    except binascii.Error as error:
        raise BadAttribute("not base64") from error


def _several(reader: Callable[[object], Any]) -> Callable[[object], list[Any]]:
    return lambda value: [reader(one) for one in _a(Sequence, value)]


def _text(value: object) -> str:
    return str(_a(str, value))


_READERS: Mapping[str, Callable[[object], Any]] = {
    "S": _text,
    "N": _number,
    "B": _binary,
    "BOOL": lambda value: bool(_a(bool, value)),
    "NULL": lambda _: None,
    "L": lambda value: [plain_value(one) for one in _a(Sequence, value)],
    "M": plain_item,
    "SS": _several(_text),
    "NS": _several(_number),
    "BS": _several(_binary),
}

_SPELT: tuple[tuple[type[Any] | tuple[type[Any], ...], str, Callable[[Any], Any]], ...] = (
    (bool, "BOOL", bool),  # before int, of which it is a kind
    (str, "S", str),
    ((int, Decimal), "N", str),
    (bytes, "B", bytes),
    (Mapping, "M", spelt_item),
    ((list, tuple), "L", lambda value: [spelt_value(one) for one in value]),
    ((set, frozenset), "SS", sorted),
)
"""The first kind that fits is taken. All our sets are of text."""
