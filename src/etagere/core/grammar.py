"""Text ↔ typed values: one published grammar per simple type, the same in URI, form and JSON.

Every `parse_…` raises ValueError with the reason, worded for the person who sent the text.
Every `format_…` gives the canonical text and raises TypeError or ValueError for what has none.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta

INT64 = (-(2**63), 2**63 - 1)
"""The range of an int whose type says nothing wider."""

MAX_DIGITS = 4300
"""The most digits of an int: beyond it Python itself refuses to convert."""

_INT = re.compile(r"(-?)0*([0-9]+)")
_FLOAT = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_DURATION = re.compile(
    r"(?P<sign>-?)P(?=[0-9T])(?:(?P<weeks>[0-9]+)W)?(?:(?P<days>[0-9]+)D)?(?:T(?=[0-9])(?:(?P<hours>[0-9]+)H)?"
    r"(?:(?P<minutes>[0-9]+)M)?(?:(?P<seconds>[0-9]+)(?:\.(?P<fraction>[0-9]{1,6}))?S)?)?"
)
_SPACE_FOR_PLUS = re.compile(r"[0-9.][eE] [0-9]|T[0-9:.]+ [0-9]{2}:")

EXPECTED = {
    bool: "true or false",
    int: "a whole number such as 42",
    float: "a finite number such as 0.5 or 1e-3",
    str: "text in valid UTF-8",
    date: "a date such as 2020-01-31",
    datetime: "a date and time with its offset, such as 2020-01-31T12:00:00Z",
    timedelta: "an ISO 8601 duration in weeks, days, hours, minutes and seconds, such as PT1H30M",
}


def expect(kind: type) -> ValueError:
    """The fault of a text that is not of this type."""
    return ValueError(f"expected {EXPECTED[kind]}")


def plus_hint(text: str) -> str:
    """A hint for a text in which a space stands where a number or an offset needs its plus."""
    found = _SPACE_FOR_PLUS.search(text)
    return "; a '+' in a query string means a space, send it as %2B" if found else ""


def parse_bool(text: str) -> bool:
    """`true` or `false`, in any case."""
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise expect(bool)
    return lowered == "true"


def format_bool(value: object) -> str:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is no bool")
    return "true" if value else "false"


def parse_int(text: str, low: int = INT64[0], high: int = INT64[1], told: tuple[int, int] | None = None) -> int:
    """Decimal digits with an optional minus, within `low` and `high`; `told` are narrower limits to tell instead."""
    match = _INT.fullmatch(text)
    if match is None:
        raise expect(int)
    if len(match[2]) <= MAX_DIGITS and low <= (value := int(match[1] + match[2])) <= high:
        return value
    least, most = told or (low, high)
    raise ValueError("out of range" + (f": expected {least} to {most}" if max(-least, most) < 10**40 else ""))


def format_int(value: object) -> str:
    """Plain digits, exact."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no int")
    return int.__repr__(value)


def parse_float(text: str) -> float:
    """A JSON number, leading zeros, `.5` and `5.` included; finite."""
    if _FLOAT.fullmatch(text) is None:
        raise expect(float)
    value = float(text)
    if math.isinf(value):
        raise ValueError("too large: a float ends at about 1.8e308")
    return value


def format_float(value: object) -> str:
    """The shortest text that reads back the same: ECMAScript's Number::toString, as RFC 8785 §3.2.2.3 has it."""
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise TypeError(f"{value!r} is no float")
    text = float.__repr__(float(value))
    if text.endswith(".0"):
        return "0" if value == 0 else text[:-2]
    if text in ("inf", "-inf", "nan"):
        raise ValueError(f"{text} is not finite")
    return _ecmascript(text) if "e" in text else text


def _ecmascript(text: str) -> str:
    """Python's exponent notation as ECMAScript's, which begins at 1e21 and at 1e-7."""
    mantissa, _, exponent = text.partition("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    digits = mantissa.replace(".", "")
    point = int(exponent) + 1
    if 0 < point <= 21:
        # Python writes an exponent from 1e16 on, where no more than 17 digits are significant.
        return f"{sign}{digits[:point].ljust(point, '0')}{'.' + digits[point:] if digits[point:] else ''}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{mantissa}e{point - 1:+d}"


def parse_str(text: str) -> str:
    """Text taken literally, as long as it has a UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise expect(str) from None
    return text


def format_str(value: object) -> str:
    """The text itself."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no str")
    return parse_str(str.__str__(value))


def parse_date(text: str) -> date:
    """`YYYY-MM-DD`."""
    if _DATE.fullmatch(text) is None:
        raise expect(date)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("there is no such date") from None


def format_date(value: object) -> str:
    """`YYYY-MM-DD`."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError(f"{value!r} is no date")
    return value.isoformat()


def parse_datetime(text: str) -> datetime:
    """`YYYY-MM-DDThh:mm[:ss[.ffffff]]` with `Z` or `±hh:mm`, as UTC."""
    if _DATETIME.fullmatch(text) is None:
        raise expect(datetime)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such date and time") from None


def format_datetime(value: object) -> str:
    """`YYYY-MM-DDThh:mm:ssZ`; a fraction without trailing zeros where there is one."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise TypeError(f"{value!r} is no datetime with an offset; give it a tzinfo")
    whole, point, fraction = value.astimezone(UTC).replace(tzinfo=None).isoformat().partition(".")
    return whole + point + fraction.rstrip("0") + "Z"


def parse_timedelta(text: str) -> timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds, with an optional minus in front."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise expect(timedelta)
    units = {unit: match[unit] or "0" for unit in ("weeks", "days", "hours", "minutes", "seconds")}
    if max(len(count) for count in units.values()) > 18:
        raise ValueError("too long for a duration")
    microseconds = int((match["fraction"] or "").ljust(6, "0"))
    sign = -1 if match["sign"] else 1
    try:
        return sign * timedelta(microseconds=microseconds, **{unit: int(count) for unit, count in units.items()})
    except OverflowError:
        raise ValueError("too long for a duration") from None


def format_timedelta(value: object) -> str:
    """Days, hours, minutes and seconds, those that are not zero, such as `P1DT2H3M4.5S`; zero is `PT0S`."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{value!r} is no timedelta")
    microseconds = value // timedelta(microseconds=1)
    seconds, microseconds_left = divmod(abs(microseconds), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    fraction = f".{microseconds_left:06}".rstrip("0").rstrip(".")
    time = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count)
    time += f"{seconds}{fraction}S" if seconds or fraction else ""
    text = (f"{days}D" if days else "") + (f"T{time}" if time else "")
    return ("-" if microseconds < 0 else "") + "P" + (text or "T0S")
