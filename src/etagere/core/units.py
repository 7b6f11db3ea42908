"""Whether the words about a parameter say what it is, and in which unit: a guess, good for a hint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

# What stands in brackets is taken for a unit, whatever it is.
_BRACKETS = re.compile(r"\([^()]+\)|\[[^\[\]]+\]")
_WORD = re.compile(r"[^\W\d_]+|[%°$€£]")
_SYMBOLS = frozenset(
    _WORD.findall(
        "% ° $ € £ m mm cm km µm μm nm s ms µs μs ns min h d g kg mg t K Pa hPa kPa MPa GPa bar N kN J kJ MJ"
        " Wh kWh W kW MW V mV kV mA Ω kΩ ohm F µF μF nF pF H mH T Hz kHz MHz GHz rad deg mol L l ml dB eV keV"
        " MeV px ppm"
    )
)
_NAMED = frozenset(
    _WORD.findall(
        "second minute hour day week month year metre meter kilometre kilometer millimetre millimeter mile"
        " foot feet inch inches litre liter gram kilogram tonne ton kelvin celsius fahrenheit degree radian"
        " hertz volt ampere ohm watt joule newton pascal mole candela tesla farad henry coulomb siemens"
        " decibel bit byte pixel euro dollar pound cent percent per mille dimensionless unitless ratio"
        " fraction share probability factor multiple number count person people individual"
    )
)


def undescribed(doc: str, properties: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The parameters that neither a description nor the model's text `doc` tells of; `properties` are their schemas."""
    return [name for name, schema in properties.items() if not _about(name, doc, schema)]


def without_unit(doc: str, properties: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The parameters that hold numbers, are told of, and for which no unit is named."""
    return [
        name
        for name, schema in properties.items()
        if _holds_number(schema)
        and (about := _about(name, doc, schema))
        and not (_named_for_unit(name) or _names_unit(re.sub(rf"\b{re.escape(name)}\b", "", about)))
    ]


def _about(name: str, doc: str, schema: Mapping[str, Any]) -> str:
    return " ".join([schema.get("description", ""), *_lines_about(name, doc)]).strip()


def _lines_about(name: str, doc: str) -> Iterator[str]:
    """The lines that name it, each with the next one, where many styles put the explanation."""
    for line, following in pairwise([*doc.splitlines(), ""]):
        if re.search(rf"\b{re.escape(name)}\b", line):
            yield f"{line} {following}"


def _named_for_unit(name: str) -> bool:
    """Whether the name is a unit's, as `days`, or ends like one, as `height_m`; `m` alone may be anything."""
    *before, last = name.split("_")
    return _is_word(last) or (bool(before) and last.lower() in {symbol.lower() for symbol in _SYMBOLS})


def _names_unit(text: str) -> bool:
    return bool(_BRACKETS.search(text)) or any(word in _SYMBOLS or _is_word(word) for word in _WORD.findall(text))


def _is_word(text: str) -> bool:
    word = text.lower()
    return word in _NAMED or word.removesuffix("s") in _NAMED


def _holds_number(schema: Mapping[str, Any]) -> bool:
    """Whether it is a number that is not whole, maybe left out, or an array of such."""
    if schema.get("type") == "number":
        return True
    parts = [*schema.get("anyOf", ()), *([items] if isinstance(items := schema.get("items"), dict) else [])]
    return any(map(_holds_number, parts))
