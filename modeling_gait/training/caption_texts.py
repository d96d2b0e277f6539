"""Captions of appearance and of actions: words, a grammar that writes them, checks that find what a text makes up.

In: attributes (the simulator's or DenseGait's, see `appearance_words`), or action labels (HuGaDB's, BABEL's, any other).
Out: English captions; a list of a text's untruths, empty if it is faithful. Captions of the gait
itself are modeling_gait/captions.py's.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from modeling_gait.caption_parsing import normalise, read_facts
from modeling_gait.captions import WalkDescription, check_faithfulness

RULES = (
    "Use only the facts given. Add no number, side, colour, object, person, place or mood, and keep every fact you use as it "
    "is. You may leave facts out. Answer with the text only, one or two English sentences."
)
GAIT_STYLES = (
    "Write a clinical description of this walk. Name the gait class.",
    "Describe this walk to a layperson. Name the gait class.",
    "Paraphrase this description of a walk. Name the gait class.",
)
APPEARANCE_STYLES = (
    "Describe the walking person as a witness would.",
    "Write what someone would type to find this walk in a video archive.",
    "Imagine a short video of this person walking and describe it.",
)
ACTION_STYLES = (
    "Describe in detail how the body of a person moves who does this.",
    "Imagine a short video of a person doing this and narrate it in the given order, without any other action.",
    "Paraphrase what this person does.",
)

# --- appearance --------------------------------------------------------------------------------------------------------------

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
        "female": r"female|wom[ae]n|lady|ladies|girls?|she|hers?|herself",
        "male": r"male|m[ae]n|boys?|gentlem[ae]n|guys?|he|him|his|himself",
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
MADE_UP = (  # nothing that the attributes could tell
    r"black|white|red|blue|green|yellow|grey|gray|brown|pink|purple|orange|beige|dark|bright|colou?rful|striped|plaid|hats?|caps?|"
    r"hood(?:ed|ie)?|helmet|glasses|sunglasses|scarf|gloves?|necktie|beard(?:ed)?|moustache|hair\w*|ponytail|bald|tattoos?|jeans|"
    r"t-?shirt|shirt|blouse|sweater|jumper|vest|uniform|umbrella|stroller|pram|dogs?|leash|cane|crutch(?:es)?|walker frame|"
    r"wheelchair|bicycle|smok\w+|cigarette|headphones|newspaper|coffee|tired|happy|sad|angry|nervous|confident\w*|tall|short"
)
_OBJECT = (
    r"\b(?:wear(?:s|ing)?|(?:dressed|clad) in|carr(?:y|ies|ying)|hold(?:s|ing)?|eat(?:s|ing)?|push(?:es|ing)?)"
    r"(?: (?:an?|the|some))? (?!(?:an?|the|some)\b)([a-z][\w-]*)"
)
_NEGATED = r"(?:\b(?:no|not|without|never|neither|nor|isn't|lacks?|lacking)\b|n't\b)(?: \w+){0,2}[ -]*$"
_CHECKED_AGAIN = (r"\btwo (?:legs|feet|arms|hands)\b", r"\bone (?:foot|leg|hand|after|step)\b")


def appearance_words(attributes: Mapping) -> dict[str, list[str]]:
    """Attributes of a row -> attribute of `APPEARANCE` -> values; what it has no words for is left out.

    A numeric age gives the group (child < 18 <= young < 35 <= middle-aged < 55 <= old < 70 <= senior; DenseGait publishes no
    limits), height and mass the body (WHO: body-mass index below 18.5 slim, from 25 overweight).
    """
    given = dict(attributes)
    age, height, mass = (given.get(k) for k in ("age", "height", "mass"))
    if "age_group" not in given and isinstance(age, int | float):
        limits = ((18, "child"), (35, "young adult"), (55, "middle-aged adult"), (70, "old adult"), (999, "senior"))
        given["age_group"] = next(word for limit, word in limits if age < limit)
    if "body" not in given and all(isinstance(v, int | float) and v > 0 for v in (height, mass)):
        index = mass / height**2
        given["body"] = "slim" if index < 18.5 else "normal weight" if index < 25 else "overweight"
    out = {}
    for key, values in APPEARANCE.items():
        words = [w.strip() for w in str(given.get(key, "")).split(",")]
        if known := [w for w in words if w in values]:
            out[key] = known
    return out


def appearance_text(words: Mapping[str, Sequence[str]], age: float | None = None) -> str:
    """The facts, one a line, as a language model gets them."""
    lines = [f"{key.replace('_', ' ')}: {', '.join(values)}" for key, values in words.items()]
    return "\n".join([*lines, *([f"age: {age:.0f} years"] if age is not None else [])])


_NOUNS = {"female": ("woman", "female pedestrian", "lady"), "male": ("man", "male pedestrian", "gentleman")}
_AGES = {
    "young adult": ("young",),
    "middle-aged adult": ("middle-aged",),
    "old adult": ("old", "older"),
    "senior": ("elderly", "senior"),
}
_VIEWS = {
    "front": ("seen from the front", "walking towards the camera"),
    "side": ("seen from the side", "in profile"),
    "back": ("seen from behind", "walking away from the camera"),
}
_LOADS = {
    "none": "carrying nothing",
    "backpack": "carrying a backpack",
    "bag": "carrying a bag",
    "hand trunk": "pulling a suitcase",
}
_SINGLE = ("coat", "long coat", "jacket", "skirt", "dress")


def appearance_caption(words: Mapping[str, Sequence[str]], rng: np.random.Generator, age: float | None = None) -> str:
    """One caption; it may leave attributes out, but says at least two where there are two."""

    def pick(options):
        return options[int(rng.integers(len(options)))]

    keep = {key: values for key, values in words.items() if rng.random() < 0.8}
    for key in list(words)[:2] if len(keep) < 2 else ():
        keep[key] = words[key]
    group, sex = keep.get("age_group", [""])[0], keep.get("sex", [""])[0]
    noun = pick(_NOUNS[sex]) if sex else pick(("person", "pedestrian", "walker"))
    if group == "child":
        noun = {"female": "girl", "male": "boy"}.get(sex, "child")
    adjectives = [pick(_AGES[group])] if group in _AGES else []
    body = keep.get("body", [""])[0]
    adjectives = [body, *adjectives] if body and body != "normal weight" else adjectives
    noun = " ".join([*adjectives, noun]) + (" of normal weight" if body == "normal weight" else "")
    clothes = [f"a {w}" if w in _SINGLE else w for w in keep.get("clothing", [])]
    shoes = [w for w in keep.get("footwear", []) if w != "barefoot"]
    parts = [pick(("wearing ", "dressed in ")) + " and ".join(clothes)] if clothes else []
    parts += [pick(("in ", "wearing ")) + " and ".join(shoes)] if shoes else []
    parts += ["barefoot"] if "barefoot" in keep.get("footwear", []) else []
    parts += [_LOADS[w] for w in keep.get("load", [])]
    parts += [w if w != "gathering" else "in a group" for w in keep.get("activity", [])]
    parts += [pick(_VIEWS[w]) for w in keep.get("viewpoint", [])]
    parts = [parts[i] for i in rng.permutation(len(parts))]
    opening = pick(("{A} walks{p}.", "This is {a} walking{p}.", "The walk of {a}{p}.", "{A}{p}.", "We see {a}{p}."))
    article = "an" if noun[0] in "aeio" else "a"
    tail = "".join(f", {p}" for p in parts)
    text = opening.format(A=f"{article.capitalize()} {noun}", a=f"{article} {noun}", p=tail)
    aged = pick((" The walker is {age:.0f} years old.", " Age: {age:.0f}.", "", "")) if age is not None else ""
    return text + aged.format(age=age)


def _take(text: str, pattern: str) -> tuple[str, list[re.Match]]:
    """Matches of whole words, and the text with them blanked out."""
    found = list(re.finditer(rf"(?<![\w'-])(?:{pattern})(?![\w'])", text))
    for m in found:
        text = text[: m.start()] + "~" * len(m[0]) + text[m.end() :]
    return text, found


def check_appearance(text: str, words: Mapping[str, Sequence[str]], description: WalkDescription | None = None) -> list[str]:
    """What `text` says of a person that the attributes do not: problems in words, empty if it is faithful.

    A word of another value, of an attribute that is not known, a negated true one, anything of `MADE_UP`, anything else that is
    worn or carried, and what `check_faithfulness` finds in the rest (numbers, sides, gait classes, speed; `description` holds
    age, speed, cadence) are problems; so is a text that says fewer than two of the attributes (one, where there is one).
    """
    whole = rest = normalise(text)
    problems, said = [], set()
    shared = {"girl", "girls", "boy", "boys"}  # name sex and age at once
    for key, values in APPEARANCE.items():
        allowed = set(words.get(key, ())) | {other for w in words.get(key, ()) for other in ALSO.get(w, ())}
        seen = whole if key == "age_group" else rest
        for value, pattern in values.items():
            seen, found = _take(seen, pattern)
            for m in found:
                if re.search(_NEGATED, whole[max(0, m.start() - 40) : m.start()]) and value not in ("none", "barefoot"):
                    problems += [f"the text denies {key} {value}"] if value in words.get(key, ()) else []
                elif value in allowed:
                    said.add(key)
                elif not (key == "age_group" and m[0] in shared and not words.get(key)):
                    problems.append(
                        f"the text says {key} {value} ({m[0]!r}), known is {', '.join(words.get(key, ())) or 'nothing'}"
                    )
        rest = rest if key == "age_group" else seen
    rest, _ = _take(rest, "|".join(APPEARANCE["age_group"].values()))
    rest, made_up = _take(rest, MADE_UP)
    problems += [f"the text says {m[0]!r}, which no attribute tells" for m in made_up]
    problems += [f"the text speaks of {m[0]!r}, which no attribute tells" for m in re.finditer(_OBJECT, rest)]
    problems += _counted(rest)
    known = description or WalkDescription()
    problems += check_faithfulness(re.sub(r"\b(?:age|aged)[: ]+(\d+)\b", r"\1 years old", rest), known)
    if len(said) < min(2, len(words)):
        problems.append(f"the text says {len(said)} of the attributes, expected at least {min(2, len(words))}")
    return problems


def _counted(text: str) -> list[str]:
    """Counts in words, which `normalise` leaves alone."""
    for pattern in _CHECKED_AGAIN:
        text = re.sub(pattern, "~", text)
    return [
        f"the text counts {m[0]!r}"
        for m in re.finditer(r"\b(?:two|three|four|five|six|seven|eight|nine|ten|twice|thrice|several|pair)\b", text)
    ]


# --- actions -----------------------------------------------------------------------------------------------------------------

# action | what "a person is" | its names in a text | how the body moves; how the body moves. A text about another action may
# not name one with a star. HuGaDB's activities and BABEL's 60 commonest categories. An indented line continues the one above.
_ACTIONS = r"""
*walk | walking | walk\w*|stroll\w*
     | the legs swing ahead one after the other and one foot is always on the ground; the arms swing against the legs
*run | running | run|runs|running|ran|sprint\w*
     | both feet leave the ground between the steps; the knees rise high and the arms pump
*jog | jogging | jog\w* | the feet push off in an easy springy rhythm; the body bounces lightly with bent arms
*stand | standing | (?:stand|stands|standing|stood|stationary)(?! (?:leg|knee|foot))
     | the body stays upright over both feet; the legs are straight and still
*sit | sitting | sit|sits|sitting|seated|sat
     | the hips and knees are bent and the seat bears the weight; the trunk rests upright over the hips
*stand up | standing up | (?:stand\w*|stood|get\w*|ris\w+) up|ris(?:e|es|ing) (?:from|to)\b
     | the hips and knees straighten and raise the body; the trunk leans ahead and then comes upright
*sit down | sitting down | (?:sit\w*|sat) down|tak(?:e|es|ing) a seat|lower\w* \w+ (?:on ?to|into) a (?:chair|seat)
     | the hips and knees bend until the seat bears the weight; the trunk leans ahead while the hips sink
*go up stairs | going up stairs
     | upstairs|(?:go\w*|walk\w*|climb\w*|mov\w+|step\w*|ascend\w*) (?:up )?(?:the |a )?(?:flight of )?(?:stairs|
    steps|staircase)|up (?:the |a )?(?:stairs|staircase)|climb\w*|ascend\w*
     |
     one leg after the other brings the body to a higher step; the knee bends, the foot is set on the next step and pushes
*go down stairs | going down stairs
     | downstairs|(?:go\w*|walk\w*|mov\w+|step\w*|com\w+) down (?:the |a )?(?:flight of )?(?:stairs|steps|staircase)|
    down (?:the |a )?(?:stairs|staircase)|descend\w*
     |
     one leg after the other lets the body sink to a lower step; the loaded knee yields while the other foot reaches below
*ride a bicycle | riding a bicycle | (?:bi)?cycl(?:e|es|ing)|bikes?|biking|pedal\w*|bicycles?
     |
     the feet go round with the pedals while the seat bears the weight; the knees bend and straighten one after the other
*go up by elevator | going up in an elevator
     | (?:go\w*|rid\w+|tak\w+|mov\w+|carried) up (?:in|by|with) (?:an? |the )?(?:elevator|lift)|(?:elevator|
    lift) (?:going |that goes |moving )?up(?:wards?)? | the body stays still while the cabin rises
*go down by elevator | going down in an elevator
     | (?:go\w*|rid\w+|tak\w+|mov\w+|carried) down (?:in|by|with) (?:an? |the )?(?:elevator|lift)|(?:elevator|
    lift) (?:going |that goes |moving )?down(?:wards?)? | the body stays still while the cabin sinks
*sit in a car | sitting in a car
     | (?:sit\w*|sat|seated|rid\w+|driv\w+) in (?:a|the) (?:car|vehicle)|driv(?:e|es|ing)|(?:car|vehicle) (?:seat|ride)
     | the hips and knees are bent on the seat of the car; the legs rest while the vehicle shakes them
hand movements | moving the hands | hands? | the hands change their place and shape
*turn | turning | (?<!in )turn\w* | the body rotates about its upright axis; the feet and trunk change their heading
interact with/use object | using an object | objects?|interact\w*|us(?:e|es|ing) | the hands work on something
arm movements | moving the arms | arms? | the arms change their position at shoulder and elbow
*t pose | standing in a T pose | t[- ]pose | the arms are held out level with the shoulders
step | stepping | step\w* | a foot leaves the ground and comes down elsewhere
*backwards movement | moving backwards | backwards?|back up | the body travels in the direction of the back
raising body part | raising a part of the body | rais\w+|lift\w* | a limb goes upwards
look | looking | look\w*|gaz\w+ | the head follows the eyes
touch object | touching an object | touch\w* | a hand reaches something and rests on it
leg movements | moving the legs | legs? | the legs change their position at hip and knee
forward movement | moving forward | forwards?|ahead | the body travels in the direction of the chest
*circular movement | moving in a circle | circ(?:le|les|ular|ling)\b | the path bends round
stretch | stretching | stretch\w* | the limbs are extended as far as they go
*jump | jumping | jump\w*|leap\w* | the knees bend and both feet push the body off the ground
touching body part | touching a part of the body | touch\w* | a hand reaches a part of the body
place something | placing something | plac\w+|put\w*|set\w* down | the hands put something down and let go
take/pick something up | picking something up | pick\w*|tak(?:e|es|ing)\b | the hands reach for something and bring it up
bend | bending | bend\w*|bent | the joints or the trunk fold
*throw | throwing | throw\w*|threw|toss\w* | the arm swings and lets something fly
foot movements | moving the feet | foot|feet | the feet change their place
*a pose | standing in an A pose | a[- ]pose | the arms are held out slanting downwards
lowering body part | lowering a part of the body | lower\w* | a limb goes downwards
*sideways movement | moving sideways | sideways|sidestep\w*|side[- ]to[- ]side | the body travels to its side
*move up/down incline | moving on a slope | slope|incline|ramp|uphill|downhill | the feet follow slanting ground
*action with ball | playing with a ball | balls? | the limbs follow a ball
*kick | kicking | kick\w* | a leg swings out sharply while the other bears the weight
gesture | gesturing | gestur\w+ | the hands and arms make signs
head movements | moving the head | head|nod\w* | the head rotates or tilts
grasp object | grasping an object | grasp\w*|grip\w*|grab\w* | the fingers close round something
waist movements | moving the waist | waist|hips? | the trunk rotates or bends at the waist
*lift something | lifting something | lift(?:s|ing|ed)? (?:something|an? |up an? |the (?:weight|box|object|load))
     | the arms and legs raise a weight
knee movement | moving the knees | knees? | the knees bend and straighten
*wave | waving | wav(?:e|es|ing|ed)\b | a raised hand swings to and fro
move something | moving something | mov\w+ | the hands bring something elsewhere
swing body part | swinging a part of the body | swing\w*|swung | a limb swings freely
*catch | catching | catch\w*|caught | the hands reach out and stop something that flies
*dance | dancing | danc\w+ | the steps and arms follow a rhythm
lean | leaning | lean\w* | the trunk tilts out of the upright
*greet | greeting | greet\w* | the arm or the body makes a greeting
poses | posing | pos(?:e|es|ing)\b | the body is held still in a posture
touching face | touching the face | touch\w*|face | a hand reaches the face
*sports move | doing a sports move | sports? | the body moves as in a sport
exercise/training | exercising | exercis\w+|train\w*|workout | the movements repeat as in training
*clean something | cleaning something | clean\w*|wip\w+|scrub\w* | a hand rubs over something to clean it
*punch | punching | punch\w*|box(?:es|ing)\b | a fist shoots out from the shoulder
*squat | squatting | squat\w* | the knees bend deeply and the hips sink
*scratch | scratching | scratch\w* | the fingers rub over the skin
*hop | hopping | hop|hops|hopping|hopped | the body springs off the ground on one leg
*play sport | playing a sport | sports?|play\w* | the body moves as in a game
*stumble | stumbling | stumbl\w+|trip(?:s|ped|ping)? | a foot hits something and the body regains its balance
crossing limbs | crossing the limbs | cross\w* | one limb is laid over the other
perform | performing | perform\w* | the body acts as for an audience
*martial art | doing a martial art | martial|karate|kung[- ]?fu|taekwondo | the limbs strike and block as in a fight
"""
ALIASES = {
    "walking": "walk", "running": "run", "standing": "stand", "sitting": "sit", "standing up": "stand up",
    "sitting down": "sit down", "going up": "go up stairs", "going down": "go down stairs", "bicycling": "ride a bicycle",
    "up by elevator": "go up by elevator", "down by elevator": "go down by elevator", "sitting in car": "sit in a car",
}  # fmt: skip
# action -> other starred actions whose words a true text may use
IMPLIED = {
    "run": {"jog"}, "jog": {"run"}, "go up stairs": {"walk"}, "go down stairs": {"walk"}, "sit down": {"sit"},
    "stand up": {"stand", "sit"}, "ride a bicycle": {"sit"}, "go up by elevator": {"stand"}, "go down by elevator": {"stand"},
    "sit in a car": {"sit"}, "t pose": {"stand"}, "a pose": {"stand"}, "circular movement": {"turn", "walk"},
    "backwards movement": {"walk"}, "sideways movement": {"walk"}, "move up/down incline": {"walk"}, "greet": {"wave"},
    "lift something": {"stand"}, "clean something": {"stand"}, "take/pick something up": {"lift something"},
    "action with ball": {"play sport", "sports move"}, "play sport": {"sports move", "action with ball"},
    "sports move": {"play sport"},
}  # fmt: skip


@lru_cache(maxsize=1)
def actions_table() -> dict[str, tuple[bool, str, str, tuple[str, ...]]]:
    """action -> (may others not name it, "a person is ...", pattern of its names, how the body moves)."""
    out = {}
    for line in _ACTIONS.strip().replace("\n    ", "").splitlines():
        name, doing, *pattern, moves = line.split(" | ")
        out[name.strip("* ")] = (name.startswith("*"), doing, pattern[0], tuple(m.strip() for m in moves.split("; ")))
    return out


def canonical_action(label: str) -> str:
    """The table's name of a label; a label that it does not know is returned in lower case."""
    name = label.replace("_", " ").strip().lower()
    return ALIASES.get(name, name)


def action_text(actions: Sequence[str], label: str = "") -> str:
    """The facts as a language model gets them: the annotator's words where there are any, and the action's names."""
    doing = [actions_table()[a][1] if a in actions_table() else a for a in map(canonical_action, actions)]
    return "\n".join([*([f"label: {label}"] if label else []), f"action: {', '.join(doing)}"])


def action_caption(actions: Sequence[str], rng: np.random.Generator, label: str = "") -> str:
    """One caption: what the person is doing, in most cases with how the body moves."""

    def pick(options):
        return options[int(rng.integers(len(options)))]

    names = list(dict.fromkeys(map(canonical_action, actions)))
    doing = [actions_table()[a][1] if a in actions_table() else f'doing the action "{a}"' for a in names]
    moves = [pick(actions_table()[a][3]) for a in names if a in actions_table()]
    text = ", ".join(doing[:-1]) + " and " * (len(doing) > 1) + doing[-1]
    who = pick(("A person", "Someone", "The person", "A human"))
    move = pick(moves) if moves else ""
    forms = [f"{who} is {text}.", f"This is {who.lower()} {text}.", f"In the recording {who.lower()} is {text}."]
    if move:
        said = f"{move[0].upper()}{move[1:]}"
        forms += [f"{who} is {text}: {move}.", f"{who} is {text}. {said}.", f"{said}: {who.lower()} is {text}."] * 2
    if label and label.lower() != text:
        forms += [f"{who} performs a movement described as: {label}.", f"{who} is {text} ({label})."]
    return pick(forms)


def check_action(text: str, actions: Sequence[str], label: str = "") -> list[str]:
    """What `text` says that the action labels do not: problems in words, empty if it is faithful.

    Problems are: none of the actions is named; another starred action of `actions_table` is named that neither the labels nor
    the annotator's words name or imply; one side alone, a number or count, a speed, a gait class or a made-up thing that the
    `label` does not have; a denied action.
    """
    names = list(dict.fromkeys(map(canonical_action, actions)))
    given = normalise(f"{label} . {' . '.join(names)}")
    whole = normalise(text)
    found, given_found = _named(whole), _named(given)
    problems = []
    own = [a for a in names if a in actions_table()]
    named = {a for a, _ in found}
    unknown = [a for a in names if a not in actions_table()]
    if not named & set(own) and not any(_says(whole, a) for a in unknown) and not (label and _says(whole, label.lower())):
        problems.append(f"the text does not name {' or '.join(names)}")
    allowed = set(own) | {b for a in own for b in IMPLIED.get(a, ())} | {a for a, _ in given_found}
    for name, start in found:
        denied = bool(re.search(_NEGATED, whole[max(0, start - 40) : start]))
        if denied and name in own:
            problems.append(f"the text denies {name}")
        elif not denied and name not in allowed and actions_table()[name][0]:
            problems.append(f"the text says {name}, the label is {', '.join(names)}")
    sides = {s for s in ("left", "right") if re.search(rf"\b{s}\b", whole)}
    if len(sides) == 1 and not re.search(rf"\b{next(iter(sides))}\b", given):
        problems.append(f"the text says {next(iter(sides))}, the label does not")
    facts, told = read_facts(text), read_facts(label)
    numbers = [m[0] for m in re.finditer(r"\d+(?:[.,]\d+)?", whole) if m[0] not in re.findall(r"\d+(?:[.,]\d+)?", given)]
    problems += [f"the number {n!r} has no counterpart" for n in numbers]
    problems += [p for p in _counted(whole) if p not in _counted(given)]
    problems += [f"the text says {w}, the label does not" for w in set(facts.speed_words) - set(told.speed_words)]
    classes = {*facts.pathologies, *facts.weak_pathologies} - {"normal", "person", *told.pathologies, *told.weak_pathologies}
    problems += [f"the text says {p} gait, the label does not" for p in sorted(classes)]
    _, made_up = _take(whole, MADE_UP)
    return problems + [f"the text says {m[0]!r}, which no label tells" for m in made_up if m[0] not in given]


def _named(text: str) -> list[tuple[str, int]]:
    """(action, where) of every action that a text names; longer names are read first, so "stand up" is not "stand"."""
    order = sorted(actions_table(), key=lambda a: -len(a.split()) if actions_table()[a][0] else 1)
    found, rest = [], text
    for name in order:
        starred, _, pattern, _ = actions_table()[name]
        seen, matches = _take(rest, pattern)
        found += [(name, m.start()) for m in matches]
        rest = seen if starred else rest
    return found


def _says(text: str, label: str) -> bool:
    """Does a text have every longer word of a label, up to its ending?"""
    words = [w for w in re.findall(r"[a-z]+", label) if len(w) > 3] or re.findall(r"[a-z]+", label)
    return bool(words) and all(re.search(rf"\b{w[: max(4, len(w) - 3)]}", text) for w in words)
