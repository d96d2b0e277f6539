"""The words of captions: gait classes, their synonyms and clinical knowledge, bands of speed, cadence and severity.

In: nothing. Out: constants, all lower case. `captions.py` writes and checks text with them, `caption_parsing.py` reads it.
A space in a phrase stands for a space or a hyphen when text is read.
"""

from dataclasses import dataclass

PATHOLOGIES = ("normal", "antalgic", "stiff_legged", "lurch", "steppage", "trendelenburg", "parkinsonian")
SIDES = ("left", "right", "both", "none", "unknown")

CANONICAL_NAMES = {
    "normal": "normal gait",
    "antalgic": "antalgic gait",
    "stiff_legged": "stiff-legged gait",
    "lurch": "lurch gait",
    "steppage": "steppage gait",
    "trendelenburg": "trendelenburg gait",
    "parkinsonian": "parkinsonian gait",
}

# Noun phrases that may follow "a" and adjectives; every one is recognised by SYNONYMS.
NAMES = {
    "normal": (
        "normal gait",
        "healthy gait",
        "unimpaired gait",
        "normal walk",
        "healthy walk",
        "typical gait",
        "able-bodied gait",
    ),
    "antalgic": ("antalgic gait", "antalgic walk", "painful gait", "painful limp", "antalgic limp", "pain-avoiding gait"),
    "stiff_legged": ("stiff-legged gait", "stiff-knee gait", "stiff-legged walk", "stiff-leg gait", "circumduction gait"),
    "lurch": (
        "lurch gait",
        "gluteus maximus gait",
        "extensor lurch",
        "gluteus maximus lurch",
        "lurching gait",
        "lurching walk",
    ),
    "steppage": (
        "steppage gait",
        "high-stepping gait",
        "foot-drop gait",
        "drop-foot gait",
        "steppage walk",
        "high-stepping walk",
    ),
    "trendelenburg": ("Trendelenburg gait", "gluteus medius gait", "Trendelenburg walk", "hip-drop gait", "abductor lurch"),
    "parkinsonian": ("parkinsonian gait", "shuffling gait", "Parkinson's gait", "parkinsonian walk", "parkinsonian shuffle"),
}

# What a layperson sees; follows "walks with".
SIGNS = {
    "normal": ("a normal gait pattern", "a healthy gait", "no impairment", "a normal walking pattern"),
    "antalgic": ("a limp because of pain", "a painful limp", "a limp due to pain", "pain in every step"),
    "stiff_legged": ("a stiff knee", "a stiff leg", "a knee that does not bend", "circumduction"),
    "lurch": ("a backward lurch of the trunk", "a lurch of the trunk", "an extensor lurch", "a gluteus maximus lurch"),
    "steppage": ("a dropped foot", "foot drop", "a drop foot and a high step", "a foot that hangs down"),
    "trendelenburg": ("a hip drop", "a dropping hip", "a pelvic drop", "a positive Trendelenburg sign"),
    "parkinsonian": ("shuffling steps", "a parkinsonian shuffle", "small shuffling steps", "Parkinson's disease"),
}

# Read as the class wherever they stand (longest match first).
SYNONYMS = {
    "normal": (
        "normal gait|normal walk|normal walking|normal walker|normal pattern|normal gait pattern|normal walking pattern|"
        "healthy gait|healthy walk|healthy walking|unimpaired|unremarkable gait|typical gait|typical walking|able bodied|"
        "no impairment|non pathological|physiological gait|no gait abnormality|no abnormality|no abnormalities"
    ),
    "antalgic": (
        "antalgic|antalgia|painful|pain avoiding|pain avoidance|pain in|due to pain|because of pain|from pain|with pain|"
        "knee pain|hip pain|ankle pain|foot pain|leg pain|hurts|hurting|sore leg|sore knee|sore foot|injured leg"
    ),
    "stiff_legged": (
        "stiff legged|stiff leg|stiff legs|stiff knee|stiff knees|stiff kneed|stiffened knee|stiffened leg|circumduction|"
        "circumducts|circumducting|circumducted|knee that does not bend|straight legged|locked knee|knee stiffness"
    ),
    "lurch": (
        "lurch|lurching|lurches|lurch gait|extensor lurch|gluteus maximus|gluteus maximus lurch|gluteus maximus gait|glute max|"
        "hip extensor gait|maximus lurch|extensor gait"
    ),
    "steppage": (
        "steppage|foot drop|drop foot|dropped foot|dropping foot|footdrop|high stepping|high steppage|foot that hangs down|"
        "foot slap|slapping foot|toe drag|peroneal gait|peroneal palsy|equine gait|neuropathic gait"
    ),
    "trendelenburg": (
        "trendelenburg|trendelenberg|trendelenburg limp|trendelenburg lurch|hip drop|dropping hip|dropped hip|pelvic drop|"
        "dropping pelvis|gluteus medius|gluteus medius lurch|gluteus medius limp|medius lurch|glute med|abductor lurch|"
        "abductor weakness|hip abductor weakness|hip abductor gait|abductor limp"
    ),
    "parkinsonian": (
        "parkinsonian|parkinson|parkinson's|parkinsons|parkinsonism|parkinson's disease|parkinson disease|shuffling|shuffle|"
        "shuffles|shuffled|festinating|festination|hypokinetic gait"
    ),
}

# Taken as the class only where nothing clearer is said.
WEAK_SYNONYMS = {
    "normal": "healthy|normal|normally|no pathology|without pathology",
    "antalgic": "limp|limping|limps|limped|hobbling|hobbles|hobble|pain",
    "stiff_legged": "stiffness|stiff|stiffly",
}

# Known, but not modelled: an error, never the nearest class.
UNSUPPORTED = (
    "scissor|scissors|scissoring|scissored|hemiplegic|hemiplegia|hemiparetic|hemiparesis|spastic|spasticity|ataxic|ataxia|cerebellar|crouch|crouched|"
    "diplegic|diplegia|choreic|choreiform|chorea|dystonic|dystonia|myopathic|waddling|waddle|equinus|toe walking|toe walker|"
    "tiptoe|vaulting|psychogenic|functional gait disorder|magnetic|apraxic|apraxia|propulsive|in toeing|out toeing|stroke|"
    "cerebral palsy|multiple sclerosis|drunken|drunk|sensory gait|quadriceps avoidance|short leg|amputee|amputation|prosthetic|"
    "prosthesis|duchenne|huntington|huntington's|paraplegic|tabetic|stomping|staggering|cautious gait|abnormal gait|"
    "pathological gait|run|running|runs|jog|jogging|jogs|sprint|sprinting|jump|jumping|hopping|stairs|sitting|dancing|crawling"
)


@dataclass(frozen=True)
class ClassWords:
    """What the literature says of a class: whole sentences without numbers or sides, and where they come from."""

    sentences: tuple[str, ...]
    source: str


_JUN = "Jun et al. 2020, IEEE Access 8:139881 (the data set's own description of the class)"
_PERRY = "Perry and Burnfield 2010, Gait Analysis: Normal and Pathological Function, 2nd ed."
_WHITTLE = "Levine, Richards and Whittle 2012, Whittle's Gait Analysis, 5th ed."

KNOWLEDGE = {
    "normal": ClassWords(
        (
            "Stance and swing are shared evenly between the legs and the trunk stays upright.",
            "The steps are even, the knees flex freely in swing and the pelvis stays level.",
        ),
        _PERRY,
    ),
    "antalgic": ClassWords(
        (
            "Stance on the painful limb is cut short to unload it.",
            "Weight is taken off the painful leg as soon as possible, so the steps are uneven.",
        ),
        f"{_WHITTLE}; {_JUN}",
    ),
    "stiff_legged": ClassWords(
        (
            "The stiff knee hardly flexes in swing, so the leg clears the floor by circumduction and a raised pelvis.",
            "Knee flexion in swing is reduced and the stiff leg swings outward.",
        ),
        f"{_PERRY}; {_JUN}",
    ),
    "lurch": ClassWords(
        (
            "The trunk is thrown backward at heel strike because the gluteus maximus is weak.",
            "Weak hip extensors are spared by an extensor lurch: the trunk leans back through stance.",
        ),
        f"{_WHITTLE}; {_JUN}",
    ),
    "steppage": ClassWords(
        (
            "Foot drop is cleared by lifting the thigh and flexing the hip and knee more than usual in swing.",
            "Weak ankle dorsiflexors leave a dropped foot, so the knee is raised high in swing.",
        ),
        f"{_PERRY}; {_JUN}",
    ),
    "trendelenburg": ClassWords(
        (
            "The pelvis sinks toward the swinging leg because of hip abductor weakness of the standing one.",
            "A weak gluteus medius lets the pelvis fall away from the standing leg.",
        ),
        f"{_PERRY}; {_JUN}",
    ),
    "parkinsonian": ClassWords(
        (
            "Shuffling feet, a stooped trunk and little arm swing are typical.",
            "The trunk is stooped, the arms hardly swing and the feet shuffle along the floor.",
        ),
        "Morris et al. 1994, Brain 117:1169; Goetz et al. 2008, Movement Disorders 23:2129 (MDS-UPDRS, item 3.10)",
    ),
}

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
