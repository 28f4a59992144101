"""The closed list of units that may follow a number, with what they measure.

Only these are ever taken off an answer, and only where they are written as text: `5\\text{ m}` is five metres, `5m` is
a product.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Unit:
    """What a unit measures and how much of the dimension's base unit it is; counts of things have the dimension
    "count".
    """

    dimension: str
    factor: float

    @property
    def exact(self) -> Fraction:
        """The factor as it is written in the table."""
        written = repr(self.factor)
        return Fraction(written) if len(written) < 15 else Fraction(written).limit_denominator(10**6)


PERCENT = Unit("percent", 0.01)
DEGREE = Unit("angle", math.pi / 180)

_TABLE: dict[str, dict[str, float]] = {
    "percent": {"percent percentage pct percentage_point": 0.01},
    "angle": {"degree deg": math.pi / 180, "radian rad": 1.0},
    "length": {
        "m meter metre": 1.0,
        "cm centimeter centimetre": 0.01,
        "mm millimeter millimetre": 0.001,
        "km kilometer kilometre": 1000.0,
        "in inch inche": 0.0254,
        "ft foot feet": 0.3048,
        "yd yard": 0.9144,
        "mi mile": 1609.344,
        "nm nanometer": 1e-9,
        "angstrom": 1e-10,
        "um micrometer micron": 1e-6,
        "kpc kiloparsec": 3.0857e19,
        "mpc megaparsec": 3.0857e22,
        "light_year lightyear": 9.4607e15,
        "au": 1.495978707e11,
        "pc parsec": 3.0857e16,
    },
    "time": {
        "s sec second": 1.0,
        "ms millisecond": 1e-3,
        "min minute": 60.0,
        "h hr hour": 3600.0,
        "day": 86400.0,
        "week": 604800.0,
        "month": 2629800.0,
        "yr year": 31557600.0,
    },
    "mass": {
        "kg kilogram": 1.0,
        "g gram": 1e-3,
        "mg milligram": 1e-6,
        "lb pound": 0.45359237,
        "oz ounce": 0.028349523125,
        "ton tonne": 1000.0,
        "solar_mass solar_masse": 1.98892e30,
    },
    "volume": {
        "l liter litre": 1e-3,
        "ml milliliter millilitre": 1e-6,
        "gallon": 3.785411784e-3,
        "cup": 2.365882365e-4,
    },
    "money": {"dollar buck usd": 1.0, "cent penny pennies": 0.01},
    "length/time": {"mph": 0.44704, "kph kmh": 1 / 3.6},
    "frequency": {"hz hertz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    "force": {"n newton": 1.0},
    "energy": {
        "j joule": 1.0,
        "kj": 1e3,
        "ev": 1.602176634e-19,
        "kev": 1.602176634e-16,
        "mev": 1.602176634e-13,
        "gev": 1.602176634e-10,
        "erg": 1e-7,
        "cal calorie": 4.184,
    },
    "power": {"w watt": 1.0, "kw": 1e3},
    "voltage": {"v volt": 1.0},
    "current": {"a amp ampere": 1.0, "ma milliampere": 1e-3},
    "resistance": {"ohm": 1.0, "kohm": 1e3},
    "charge": {"c coulomb": 1.0, "uc": 1e-6, "nc": 1e-9},
    "field": {"t tesla": 1.0, "gauss": 1e-4},
    "capacitance": {"farad": 1.0, "uf": 1e-6, "nf": 1e-9, "pf": 1e-12},
    "temperature": {"k kelvin": 1.0},
    "amount": {"mol mole": 1.0},
    "pressure": {"pa pascal": 1.0, "kpa": 1e3, "bar": 1e5, "atm": 101325.0},
    "euro": {"euro": 1.0},
    "rupee": {"rupee": 1.0},
    "yuan": {"yuan": 1.0},
    "sterling": {"sterling": 1.0},
    "count": {
        "unit person people student child children boy girl man men woman women player team friend member way "
        "arrangement combination permutation possibility possibilitie outcome solution value integer number digits "
        "point time step move page book item object piece apple orange ball card coin marble block box boxe car ticket "
        "game question problem pair group row column side edge vertex vertice face triangle square_unit cubic_unit "
        "acre sq_unit hand word letter": 1.0
    },
}
# The same in other languages, as far as they are written in another way.
_FOREIGN = {
    "m": "米 公尺 メートル м метр метра метров metro mètre",
    "cm": "厘米 公分 センチメートル см сантиметр сантиметров centímetro centimetro centimètre zentimeter",
    "mm": "毫米 мм milímetro millimètre",
    "km": "千米 公里 キロメートル км километр километров kilómetro kilometro kilomètre",
    "s": "秒 с сек секунд секунда секунды segundo seconde sekunde sekunden",
    "min": "分钟 分鐘 мин минут минуты минута minuto minuten",
    "h": "小时 小時 时 時間 ч час часа часов hora heure stunde stunden",
    "day": "天 日 день дня дней día dia jour tag tage",
    "week": "周 星期 週間 неделя недели недель semana semaine woche wochen",
    "month": "个月 個月 месяц месяца месяцев meses mois monat monate",
    "year": "年 год года лет año jahr jahre",
    "kg": "千克 公斤 キログラム кг килограмм килограммов kilogramo kilogramme",
    "g": "克 グラム г грамм граммов gramo gramme gramm",
    "ton": "吨 тонна тонны тонн tonelada",
    "l": "升 リットル л литр литра литров litro",
    "ml": "毫升 мл mililitro",
    "yuan": "元 块 圆",
    "euro": "€ евро",
    "degree": "度 градус градуса градусов grado degré",
    "person": "人 个人 名 человек человека personas",
    "piece": "个 個 只 本 张 件 块钱 штук штуки stück",
    "way": "种 種 способ способа способов manera façon",
    "time": "次 раз veces fois mal",
}
_PREFIXES = {"平方": 2, "立方": 3}
_UNITS = {
    name.replace("_", " "): Unit(dimension, factor)
    for dimension, units in _TABLE.items()
    for names, factor in units.items()
    for name in names.split()
}
_UNITS |= {name: _UNITS[unit] for unit, names in _FOREIGN.items() for name in names.split()}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_FACTOR = re.compile(r"([^\W\d_]+)(?:\s*\^\s*\{?\s*(-?\s*\d)\s*\}?|(-?\d))?[\s*·]*")
# Unit words that can stand without \text: too long to be a product of variables.
_BARE = re.compile(r"(?:mm|cm|km|kg|ml|hz|mph|pct|usd)$")


def find_unit(text: str, power: int = 1) -> Unit | None:
    """The unit written as `text`, e.g. " cm", "square feet", "miles per hour", "m/s"; None when it is not one.

    Args:
        text: what stands in `\\text{}`.
        power: exponent that follows the text, e.g. 2 for `\\text{cm}^2`.
    """
    words = text.lower().strip(" .,~").replace("\\", "").replace(".", "")
    if not words or len(words) > 40:
        return None
    numerator, per, denominator = words.partition("/") if "/" in words else words.partition(" per ")
    top = _simple(numerator.strip())
    bottom = _simple(denominator.strip()) if per else None
    if top is None or (per and bottom is None):
        return _product(words) if power == 1 else None
    top = _raise(top, power)
    if bottom is None:
        return top
    return Unit(f"{top.dimension}/{bottom.dimension}", top.factor / bottom.factor)


def is_bare_unit(word: str) -> bool:
    """Whether a run of letters without `\\text` right after a number is a unit: spelled out, or one of a few
    abbreviations.
    """
    word = word.lower()
    if _BARE.match(word):
        return True
    return len(word) >= 4 and find_unit(word) is not None


def _simple(words: str) -> Unit | None:
    known = _lookup(words)
    if known:
        return known
    for prefix, power in _PREFIXES.items():
        if words.startswith(prefix) and (unit := _lookup(words[len(prefix) :])):
            return _raise(unit, power)
    exponent = re.fullmatch(r"(.+?)\s*\^?\{?([23])\}?", words)
    if exponent and (unit := _lookup(exponent[1])):
        return _raise(unit, int(exponent[2]))
    parts = words.split()
    if len(parts) == 2:
        first, second = parts
        if first in _POWERS and (unit := _lookup(second)):
            return _raise(unit, _POWERS[first])
        if second in _POWERS and (unit := _lookup(first)):
            return _raise(unit, _POWERS[second])
    return None


def _product(words: str) -> Unit | None:
    """Several units: "kg m/s", "m s^{-1}", "J/(mol K)"."""
    powers: dict[str, int] = {}
    scale, count = 1.0, 0
    for index, part in enumerate(re.split(r"/| per ", words)):
        part = part.strip(" ()")
        position = 0
        while factor := _FACTOR.match(part, position):
            position = factor.end()
            unit = _lookup(factor[1])
            if unit is None or unit.dimension in ("count", "percent", "money") or not unit.dimension.isalpha():
                return None
            power = int((factor[2] or factor[3] or "1").replace(" ", "")) * (-1 if index else 1)
            powers[unit.dimension] = powers.get(unit.dimension, 0) + power
            scale *= unit.factor**power
            count += 1 + (power < 0)
        if position < len(part) or not part:
            return None
    if count < 2:
        return None
    above, below = (
        "*".join(name if power == 1 else f"{name}^{power}" for name, power in sorted(side.items()) if power > 0)
        for side in (powers, {name: -power for name, power in powers.items()})
    )
    return Unit(f"{above}/{below}" if below else above, scale)


def _lookup(word: str) -> Unit | None:
    return _UNITS.get(word) or (_UNITS.get(word[:-1]) if word.endswith("s") and len(word) > 2 else None)


def _raise(unit: Unit, power: int) -> Unit:
    if power == 1 or unit.dimension == "count":
        return unit
    return Unit(f"{unit.dimension}^{power}", unit.factor**power)
