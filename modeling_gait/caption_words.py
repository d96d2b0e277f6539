"""The words of captions: bands of speed, cadence and severity, what a person looks like. Those of classes: `gait_classes`.

In: nothing. Out: constants, all lower case. `captions.py` writes and checks text with them, `caption_parsing.py` reads it.
A space in a phrase stands for a space or a hyphen when text is read.
"""

from dataclasses import dataclass

SIDES = ("left", "right", "both", "none", "unknown")

# (level, adjectives, adverb, value a word alone stands for); mild < 1/3 <= moderate < 2/3 <= severe.
SEVERITY_WORDS = {
    "mild": ("mild", "slight", "minor"),
    "moderate": ("moderate", "medium", "intermediate"),
    "severe": ("severe", "strong", "pronounced"),
}
SEVERITY_SYNONYMS = {
    "mild": "mild|mildly|slight|slightly|minor|subtle|light|a little|early stage|barely visible|minimal",
    "moderate": "moderate|moderately|medium|intermediate|mid stage|middling",
    "severe": (
        "severe|severely|strong|strongly|pronounced|marked|markedly|heavy|heavily|extreme|extremely|"
        "profound|serious|late stage|advanced"
    ),
}
SEVERITY_VALUES = {"mild": 1 / 6, "moderate": 1 / 2, "severe": 5 / 6}


@dataclass(frozen=True)
class Band:
    """A word's range of a quantity: low <= value < high; `value` is what the word alone stands for."""

    low: float
    high: float
    value: float


# Speed [m/s]: unimpaired adults choose about 1.1 to 1.4 m/s; below 0.8 walking in the community is limited and below 0.4
# confined to the house (Perry et al. 1995, Stroke 26:982).
SPEED_BANDS = {
    "very slow": Band(0.1, 0.4, 0.3),
    "slow": Band(0.4, 0.8, 0.6),
    "comfortable": Band(0.8, 1.35, 1.1),
    "fast": Band(1.35, 3.0, 1.5),
}
# Cadence [steps/min]: adults walk at about 90 to 125 (Whittle, normal ranges).
CADENCE_BANDS = {"low": Band(20, 90, 80), "usual": Band(90, 125, 110), "high": Band(125, 200, 135)}

SPEED_ADVERBS = {
    "very slow": ("very slowly", "at a very slow pace", "at a very low speed", "extremely slowly"),
    "slow": ("slowly", "at a slow pace", "at a low speed", "at a reduced speed"),
    "comfortable": ("at a comfortable pace", "at a normal pace", "at an easy pace", "at a usual speed"),
    "fast": ("quickly", "at a brisk pace", "briskly", "at a high speed"),
}
SPEED_ADJECTIVES = {
    "very slow": ("very slow", "extremely slow"),
    "slow": ("slow", "slow-paced"),
    "comfortable": ("comfortably paced", "normally paced"),
    "fast": ("fast", "brisk"),
}
CADENCE_PHRASES = {
    "low": ("a low cadence", "a slow rhythm"),
    "usual": ("a normal cadence", "a usual rhythm"),
    "high": ("a high cadence", "a quick rhythm"),
}

# Attributes that have words, as the simulator writes them: key -> value -> phrase that follows "The walker is".
ATTRIBUTE_PHRASES = {
    "sex": {"female": "female", "male": "male"},
    "load": {"backpack": "carrying a backpack", "bag": "carrying a bag"},
    "footwear": {"trainers": "wearing trainers", "boots": "wearing boots", "heels": "wearing heels", "barefoot": "barefoot"},
    "clothing": {
        c: f"dressed in {'a ' * (c in ('skirt', 'coat'))}{c}" for c in ["trousers", "shorts", "skirt", "coat", "sportswear"]
    },
}
ATTRIBUTE_WORDS = {  # read as (key, value)
    "sex": {"female": "female|woman|girl|lady", "male": "male|man|boy|gentleman"},
    "load": {"backpack": "backpack|rucksack", "bag": "bag|handbag|shoulder bag"},
    "footwear": {
        "trainers": "trainers|sneakers|running shoes",
        "boots": "boots|boot",
        "heels": "heels|high heels|high heeled",
        "barefoot": "barefoot|without shoes",
    },
    "clothing": {"trousers": "trousers", "shorts": "shorts", "skirt": "skirt", "coat": "coat", "sportswear": "sportswear"},
}


def attribute_phrases(attributes: dict) -> list[str]:
    """What follows "The walker is": age, sex, load, footwear, clothing; other attributes have no words."""
    age = attributes.get("age")
    out = [f"{age:.0f} years old"] if isinstance(age, int | float) and 2 <= age <= 120 else []
    return out + [words[attributes[k]] for k, words in ATTRIBUTE_PHRASES.items() if attributes.get(k) in words]


def severity_level(severity: float) -> str:
    """mild < 1/3 <= moderate < 2/3 <= severe."""
    return "mild" if severity < 1 / 3 else "moderate" if severity < 2 / 3 else "severe"


def speed_band(speed: float) -> str:
    """The word of SPEED_BANDS for a speed [m/s]."""
    return next((word for word, band in SPEED_BANDS.items() if speed < band.high), "fast")


def cadence_band(cadence: float) -> str:
    """The word of CADENCE_BANDS for a cadence [steps/min]."""
    return next((word for word, band in CADENCE_BANDS.items() if cadence < band.high), "high")
