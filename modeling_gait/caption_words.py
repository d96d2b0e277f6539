"""The words of captions: bands of speed, cadence and severity, looks, words that ask for nothing. Of classes: `gait_classes`.

In: nothing. Out: constants, all lower case. `captions.py` writes and checks text with them, `caption_parsing.py` reads it. The
columns of a row that are JSON are read here too (`stated_attributes`).
A space in a phrase stands for a space or a hyphen when text is read.
"""

import json
from dataclasses import dataclass

SIDES = ("left", "right", "both", "none", "unknown")

# (level, adjectives, adverb, value a word alone stands for); mild < 1/3 <= moderate < 2/3 <= severe.
SEVERITY_WORDS = {
    "mild": ("mild", "slight", "minor"),
    "moderate": ("moderate", "medium", "intermediate"),
    "severe": ("severe", "strong", "pronounced"),
}
SEVERITY_SYNONYMS = {
    "mild": "mild|mildly|slight|slightly|minor|subtle|light|a little|early stage|barely visible|barely noticeable|minimal",
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

# attribute -> value -> how it is read; where one value's words hold another's ("long coat", "coat"), the longer comes first.
APPEARANCE = {
    "activity": {
        "phoning": r"phon(?:e|es|ing)|on the phone|(?:phone )?call(?:s|ing)?|telephon\w+|cell ?phone|mobile",
        "talking": r"talk(?:s|ing)?|chat(?:s|ting)?|speak(?:s|ing)|conversation",
        "gathering": r"gather(?:s|ed|ing)?|in a group|group of people|with others|crowd",
        "carrying something in the arms": r"(?:carr(?:y|ies|ying)|hold(?:s|ing)) something in (?:the|his|her|their|both) arms?",
        "carrying something in the hand": r"(?:carr(?:y|ies|ying)|hold(?:s|ing)) something in (?:the|one|his|her|their|a) hand",
        "holding something in front": r"(?:hold(?:s|ing)|carr(?:y|ies|ying)) something in front",
        "holding something": r"hold(?:s|ing) something",
        "pulling something": r"pull(?:s|ing)? something",
    },
    "sex": {
        "female": r"female|wom[ae]n|lady|ladies|girls?",
        "male": r"male|m[ae]n|boys?|gentlem[ae]n|guys?",
    },
    "age_group": {
        "child": r"child|children|girls?|boys?|kids?|toddler",
        "young adult": r"young|youthful|(?:early|late) twenties",
        "middle-aged adult": r"middle[- ]aged?",
        "old adult": r"(?<!years )(?<!year )(?<!years-)(?<!year-)old|older|aging|ageing",
        "senior": r"seniors?|elderly|aged (?:man|woman|person)",
    },
    "body": {
        "overweight": r"overweight|heavy[- ]?set|heavy build|obese|stout|plump|fat|chubby",
        "slim": r"slim|thin|slender|skinny|lean",
        "normal weight": r"(?:normal|average|medium|healthy)[- ](?:body[- ])?(?:weight|build|physique)",
    },
    "viewpoint": {
        "front": r"(?:from|at|in) (?:the )?front|front(?:al)? view|frontal(?:ly)?|towards? the (?:camera|viewer)|"
        r"fac(?:es|ing) the camera",
        "side": r"(?:from|at|on) (?:the|one) side|side[- ]?(?:view|on)|in profile|sideways|past the camera",
        "back": r"from (?:the )?(?:behind|back|rear)|(?:back|rear) view|away from the (?:camera|viewer)",
    },
    "load": {
        "backpack": r"backpacks?|rucksacks?|knapsacks?",
        "hand trunk": r"hand trunk|(?:wheeled |rolling )?suitcases?|trolley|luggage",
        "none": r"empty[- ]handed|carr(?:y|ies|ying) nothing|nothing (?:is )?(?:in|being) (?:hand|carried)",
        "bag": r"(?:hand|shoulder |shopping |tote )?bags?|purse",
    },
    "footwear": {
        "leather shoes": r"leather shoes?|dress shoes?",
        "cloth shoes": r"(?:cloth|canvas|fabric) shoes?",
        "sports shoes": r"sports? shoes?|athletic shoes?|running shoes?",
        "heels": r"(?:high )?heels|high[- ]heeled(?: shoes)?|stilettos",
        "sneakers": r"sneakers?",
        "trainers": r"trainers?",
        "sandals": r"sandals?|flip[- ]flops",
        "boots": r"boots?",
        "barefoot": r"bare ?foot(?:ed)?|bare feet|without shoes|no shoes|shoeless",
        "shoes": r"shoes?",
    },
    "clothing": {
        "long coat": r"long (?:over)?coats?",
        "coat": r"(?:over)?coats?",
        "jacket": r"jackets?",
        "long trousers": r"long (?:trousers|pants)",
        "trousers": r"trousers|pants",
        "shorts": r"shorts",
        "skirt": r"skirts?",
        "dress": r"(?:a|the|her|summer|long) dress(?!ed)|dresses",
        "sportswear": r"sportswear|(?:sports?|athletic|gym) (?:clothes|clothing|wear|outfit)|tracksuit",
        "casual clothes": r"casual(?:ly)?(?: (?:clothes|clothing|wear|outfit|dressed|attire))?",
        "formal clothes": r"formal(?:ly)?(?: (?:clothes|clothing|wear|outfit|dressed|attire))?|suit",
        "long sleeves": r"long[- ]sleeve[sd]?(?: (?:top|shirt))?",
    },
}  # fmt: skip
# value -> other values that are true of it, too
ALSO = {
    **dict.fromkeys(("leather shoes", "cloth shoes", "boots", "sandals", "heels"), {"shoes"}),
    **dict.fromkeys(("sports shoes", "sneakers", "trainers"), {"shoes", "sports shoes", "sneakers", "trainers"}),
    **{"long trousers": {"trousers"}, "long coat": {"coat"}, "old adult": {"senior"}, "senior": {"old adult"}},
    **dict.fromkeys(
        ("carrying something in the arms", "carrying something in the hand", "holding something in front"),
        {"holding something"},
    ),
}
LOADS = {
    "none": "carrying nothing",
    "backpack": "carrying a backpack",
    "bag": "carrying a bag",
    "hand trunk": "pulling a suitcase",
}

_BENIGN = """
gait walk a an the this that his her their my your our its of and or in on one person's patient's human simulated
synthetic single 3d straight forward level ground overground over to can will would should must may please steady
is was be walking observed recorded general whole same another new any some real simple short long indoor outdoor
treadmill free with who they we i he she you people for by at as plain full good natural ordinary usual overall
complete only such body man woman person adult child boy girl sided right left bilateral patient subject
participant volunteer men women affected presenting slow fast
"""  # words that may stand before "gait" or "walk" without naming a kind of it
BENIGN_WORDS = frozenset(_BENIGN.split())
_PLAIN = """
walks walked walker side sides leg legs limb foot feet knee knees hip hips pelvis trunk body speed cadence pace rhythm
stride strides step steps length range motion severity affected affects has have had having shows showing show makes make
give me create generate about around approximately roughly almost only just very quite rather so than from while when then
but not no without at with per min sec are were been does do did there here it them him her us be as up velocity rate
joint mean average each somewhat clearly pelvic obliquity carrying wearing dressed aged
"""  # words of any description, which ask for nothing by themselves
_ASKING = "treadmill indoor outdoor short long child steady free slow fast same another new good"  # which nothing uses
PLAIN_WORDS = BENIGN_WORDS.union(_PLAIN.split()).difference(_ASKING.split())


def json_object(text: str | None, name: str, expected: str) -> dict:
    """A column of JSON. Raises ValueError, with `name` and what was `expected`, for what is no JSON object."""
    try:
        if isinstance(found := json.loads(text), dict):
            return found
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name}: {expected}, got {str(text)[:80]!r}")


def stated_attributes(text: str | None, name: str = "walk") -> dict:
    """What the column `attributes` says of a walk, a JSON object or nothing. Raises ValueError, with `name`, for something else
    and for a side that is none: a side in another spelling would be taken for the other one."""
    attributes = json_object(text or "{}", name, "attributes, expected a JSON object")
    if (side := attributes.get("side")) is not None and side not in SIDES:
        raise ValueError(f"{name}: side {side!r} is not one of {', '.join(SIDES)}")
    return attributes


def with_article(clothing: str) -> str:
    """ "a coat", "trousers"."""
    return f"a {clothing}" if clothing in ("coat", "long coat", "jacket", "skirt", "dress") else clothing


def attribute_phrases(attributes: dict) -> list[str]:
    """What follows "The walker is": age, sex, load, footwear, clothing; other attributes have no words."""
    age = attributes.get("age")
    out = [f"{age:.0f} years old"] if isinstance(age, int | float) and 2 <= age <= 120 else []
    sex, load, shoes, clothing = (
        v if (v := attributes.get(k)) in APPEARANCE[k] and v != "none" else None
        for k in ("sex", "load", "footwear", "clothing")
    )
    out += [sex] if sex else []
    out += [LOADS[load]] if load else []
    out += [shoes if shoes == "barefoot" else f"wearing {shoes}"] if shoes else []
    return out + ([f"dressed in {with_article(clothing)}"] if clothing else [])


def severity_level(severity: float) -> str:
    """mild < 1/3 <= moderate < 2/3 <= severe."""
    return "mild" if severity < 1 / 3 else "moderate" if severity < 2 / 3 else "severe"


def speed_band(speed: float) -> str:
    """The word of SPEED_BANDS for a speed [m/s]."""
    return next((word for word, band in SPEED_BANDS.items() if speed < band.high), "fast")


def cadence_band(cadence: float) -> str:
    """The word of CADENCE_BANDS for a cadence [steps/min]."""
    return next((word for word, band in CADENCE_BANDS.items() if cadence < band.high), "high")
