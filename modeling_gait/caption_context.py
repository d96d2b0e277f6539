"""What a word of a text speaks of: the gait, or a man, a backpack, a camera, a hand, a comparison.

In: text in lower case and where a word stands in it. Out: whether it speaks of the gait; patterns of bounds, comparisons, sound
legs. A word counts only where this file finds that it does; `caption_parsing.py` tells all others as not used.
"""

import re
from functools import lru_cache

from .caption_words import SEVERITY_SYNONYMS

_NUMBER = r"[-+]?(?:\d+(?:[.,]\d+)?|\.\d+)"
_CLAUSE = r"[,;:!?|()]|\.(?!\d)"

# --- numbers that are no one value -------------------------------------------------------------------------------------------

_MORE_OR_LESS = (
    r"less|lower|slower|smaller|shorter|fewer|narrower|younger|more|greater|higher|faster|quicker|longer|larger|bigger|"
    r"older"
)
_SHARE = r"half|halves|twice|thrice|double|triple|thirds?|quarters?|fifths?|fraction|times"
BOUND = (  # what stands before a number that is only a limit, a share of it, or denied
    rf"(?:(?:(?:no|not|never) )?(?:{_MORE_OR_LESS}) th[ae]n(?: or equal to)?|"
    r"at (?:the )?(?:least|most|minimum|maximum|best|worst)|up to|over|under|below|above|beyond|upwards? of|within|"
    r"exceed(?:s|ing)?|min(?:imum|imal)?|max(?:imum|imal)?|minimally|maximally|as (?:much|little|fast|slow|low|high) as|"
    r"(?:any|every)thing but|not|never|n't|no|without|instead of|rather than|except|"
    rf"{_SHARE}|<=?|>=?|≤|≥|±|\+/-)(?:[ :]+(?:a|an|the|of|at|by|to|is|be|about|around|roughly|"
    r"speed|velocity|pace|cadence|walking|gait|reach(?:es|ing)?))*[ :]*"
)
BOUNDED = rf"(?:{_MORE_OR_LESS}|below|above|under|over|plus|at (?:the )?(?:least|most)|max(?:imum)?|min(?:imum)?)\b"
OPEN_END = rf" ?(?:\+|\(?(?:(?:or|and) )?(?:{BOUNDED}|(?:or|and) (?:up|so on|beyond)\b))"  # after a number and its unit

_ARMS = r"arms?|hands?|wrists?|elbows?|shoulders?|heads?"
MOVERS = (  # what moves at a speed of its own
    rf"{_ARMS}|foot|feet|legs?|limbs?|thighs?|knees?|ankles?|hips?|heels?|toes?|trunk|torso|pelvi[sc]|swing|sway|vertical|"
    r"lateral|sideways|angular|impact|landing|peak|wind|car|ball|dog|heart|breathing|recovery|reaction|previous|former|earlier"
)
_MOTION = r"speeds?|velocit(?:y|ies)|pace|swings?|sways?|motions?|movements?|moves?"  # but "the left leg, moving at"
_CHANGES = (
    r"los(?:t|es?|ing|s)|gain(?:s|ed)?|drop(?:s|ped)?|decreased?|increased?|reduc(?:tion|ed)|improve(?:d|ments?)|declined?|"
    r"changed?|differences?|differs|deficit|variability|varies|variation|variance|deviation|sd|error|asymmetry|uncertainty|"
    r"slowed|fell|rose|slower|faster|lower|higher"
)
_NEAR = r"(?:(?: (?:is|are|was|of|about|around|roughly|approximately|some|only|just|down|up))*[ :=(]+)"
_OF_SPEED = r"(?: (?:in|of) (?:(?:the|his|her|walking|gait) )*(?:speed|velocity|pace|cadence))?"
_OF_ANOTHER = re.compile(
    rf"\b(?:{MOVERS}) (?:{_MOTION})(?: (?:at|with|forwards?|to|of the (?:left |right )?(?:{MOVERS})))*{_NEAR}$|"
    rf"\b(?:{_ARMS}|(?:{_MOTION}) (?:of|in|at) (?:the |his |her )?(?:left |right )?(?:{MOVERS})){_NEAR}$|"
    rf"\b(?:{_CHANGES}){_OF_SPEED}{_NEAR}$|\b[a-z]+ by{_NEAR}$"
)
_ANOTHERS = re.compile(
    rf" (?:(?:walking |gait )?(?:speed |velocity )?(?:{_CHANGES})|(?:{MOVERS}) (?:{_MOTION})|"
    rf"(?:of|at|in) (?:the |his |her )?(?:left |right )?(?:{MOVERS})|per (?:second|year|month|week|day|step))\b"
)


def of_another(text: str, start: int, end: int, names: str) -> str:
    """The words of a number at (start, end) that is not the walk's: of a foot or an arm, or a change; "" of any other.

    `names`: as for `is_severity`; a "drop foot" is no foot.
    """
    plain = re.sub(names or "(?!)", lambda m: "~" * len(m[0]), text)
    before, behind = _OF_ANOTHER.search(plain[:start]), _ANOTHERS.match(plain, end)
    if not (before or behind):
        return ""
    return text[before.start() if before else start : behind.end() if behind else end].strip()


# --- comparisons of speed ----------------------------------------------------------------------------------------------------

_PACES = (
    r"slow(?:ly|er|est)?|fast(?:er|est)?|quick(?:ly|er|est)?|brisk(?:ly)?|rapid(?:ly)?|swift(?:ly)?|hurried(?:ly)?|low|"
    r"high|reduced|leisurely|unhurried|comfortabl[ey]|normal|usual|average"
)
_SPEED = r"(?:(?:walking |gait )?(?:speed|pace|tempo|velocity|cadence|rhythm|rate))"
_OTHERS = "the|a|an|his|her|their|its|my|is|was|in|other|most|healthy|people|persons?|adults?|others|before"
_REST = rf"(?:(?:{_OTHERS}|{_PACES})\b ?)*{_SPEED}?"
COMPARED = (  # "half as fast as normal", "twice as slow", "a third of normal speed", "slower than usual", "less fast"
    rf"\b(?:(?:one|two|three|a|an) )?(?:{_SHARE})(?: (?:as|of|the|his|her|their|its|a|"
    rf"an))* (?:{_PACES})\b(?: {_SPEED})?(?: as {_REST})?|"
    rf"\b(?:{_SHARE}) (?:of )?(?:the |his |her )?{_SPEED}|"
    rf"\b(?:not )?(?:as|so) (?:{_PACES})\b as {_REST}|\bnot (?:as|so) (?:{_PACES})\b|"
    rf"\b(?:(?:more|less) )?(?:{_PACES}|more|less) th[ae]n (?=(?:the |a |an |his |her |in |most |other )*(?:{_PACES}|"
    rf"people|others|adults?|before|{_SPEED})\b){_REST}|"
    r"\b(?:below|under|above|over|beyond|far from) (?:the |his |her )?(?:normal|usual|average|comfortable)\b"
    rf"(?: {_SPEED})?|"
    rf"\b(?:less|least|no longer) (?:{_PACES})\b(?: {_SPEED})?|"
    rf"\banything but (?:{_PACES})\b(?: {_SPEED})?"
)

# --- severities and paces: of what? ------------------------------------------------------------------------------------------

_LEVELS = "|".join(sorted("|".join(SEVERITY_SYNONYMS.values()).split("|"), key=len, reverse=True))
_GAIT = (
    r"gaits?|walk|limp\w*|severity|impair\w*|disab\w*|disorders?|disturbances?|deficits?|dysfunction|symptoms?|weakness|"
    r"degree|grade|level|form|stage|case|variant|version|pattern|affect(?:ed|ion)|involvement|abnormal\w*|problems?"
)
_BETWEEN = (
    r"left|right|bilateral|unilateral|both|one|two|sided|sides?|and|to|or|but|yet|very|rather|quite|fairly|somewhat|"
    r"chronic|acute|"
    r"typical|classic|clear|obvious|visible|walking|walk|functional|motor|slow|fast|brisk|paced|comfortably|normally|slowly"
)
_LINK = r"is|are|was|looks|seems|appears|be|being|that|which|of|a|an|the|in|on|at|with|leg|legs|foot|knee|hip|only|affecting"
_PREPOSITIONS = r"on|at|with|moving|taking|because|due|while|in (?:the|both|his|her)|of (?:the|both|his|her)|than before|enough"
_BODILY = r"heavy|light|strong|strongly|heavily|advanced|a little|serious|minor|extreme|profound"  # of bodies and things, too


_ENDS = re.compile(rf"(?:[ ,/-]+(?:{_BETWEEN}|{_LEVELS})\b)* *(?:$|{_CLAUSE}|~|{_NUMBER}|(?:{_PREPOSITIONS})\b)")
_ALONE = re.compile(rf"(?:^|{_CLAUSE}|~) *(?:(?:{_BETWEEN}|a|an|is)\b[ -]*)*$")


@lru_cache(maxsize=64)
def _around(names: str) -> tuple[re.Pattern, re.Pattern]:
    """What stands after and before a word that qualifies a gait."""
    gait = rf"(?:{names}|\b(?:{_GAIT})\b)"
    between = rf"(?:[ -]+(?:{_BETWEEN}|{_LINK}|{_LEVELS})\b)*"
    return (
        re.compile(rf"(?:[ ,/-]+(?:{_BETWEEN}|{_LEVELS})\b)*[ ,-]+{gait}"),
        re.compile(rf"{gait}{between}(?P<mark>[ ,:;(|-]*)(?:(?:{_BETWEEN}|{_LEVELS}|is|a|an)\b[ ,-]*)*$"),
    )


def is_severity(text: str, start: int, end: int, names: str) -> bool:
    """Is a word of severity at (start, end) the gait's? `names`: a pattern of the classes' names and hints."""
    ahead, behind = _around(names)
    before, word = text[:start], text[start:end]
    of_pace = bool(re.match(rf"[ -]+(?:{_PACES})\b", text[end:]))
    if ahead.match(text, end):
        return not (of_pace and re.search("ly$|little", word))  # "slightly slow steppage gait"
    if of_pace or not _ENDS.match(text, end):
        return False
    if found := behind.search(before):  # "limps heavily", but not "steppage gait, heavy"
        return not ("," in found["mark"] and word in ("heavy", "light", "a little"))
    return not re.fullmatch(_BODILY, word) and bool(_ALONE.search(before))


_WALKERS = r"persons?|people|m[ae]n|wom[ae]n|adults?|patients?|subjects?|walkers?|child|children|boys?|girls?|lady|gentleman"
_PACED = rf"{_GAIT}|walking|walks?|mov(?:e|es|ing)|go(?:es|ing)?|strid(?:es|ing)|stepping|{_WALKERS}|old|young|elderly"


def of_the_walk(text: str, start: int, end: int, names: str) -> bool:
    """Is a bare "slow" or "fast" at (start, end) one of the walk? A clause ends after it, or a gait or a walker is named."""
    if re.search(r"\b(?:recover|heal|improv|worsen|progress|talk|speak|breath|swing|react)\w* (?:very )?$", text[:start]):
        return False
    step = rf"(?:[ ,/-]+(?:{_BETWEEN}|{_LEVELS}|an?|the)\b)*"
    into = f"{_PREPOSITIONS}|in|of|by|as|and|but|then|for|from|through|across|along|around|that|who|is"
    ends = rf" *(?:$|{_CLAUSE}|~|{_NUMBER}|(?:{into})\b)"
    return bool(re.compile(rf"{step}(?:[ ,-]+(?:{names}|(?:{_PACED})\b)|{ends})").match(text, end))


# --- sides: of what? ---------------------------------------------------------------------------------------------------------

_LEG = r"sides?|legs?|limbs?|foot|feet|knees?|hips?|ankles?|lower (?:limbs?|legs?|extremit(?:y|ies))"
_SOUND = "unaffected|sound|uninvolved|healthy|normal|intact|unimpaired|spared"
_WELL = (
    r"(?:completely |entirely |quite |perfectly )?(?:unaffected|sound|uninvolved|good|healthy|normal|normally|intact|"
    r"unimpaired|fine|"
    r"uninjured|spared|pain[- ]free|painless|asymptomatic|well|strong|stronger|ok(?:ay)?|not affected|not involved|not injured|"
    r"free|freely|easily)"
)
_WELL_DONE = r"moves?|works?|looks?|bends?|swings?|flex(?:es)?|extends?|lifts?|functions?|clears? (?:the )?(?:floor|ground)"
_STOP = rf"(?= *(?:$|{_CLAUSE}|(?:and|but|while|with|at)\b))"
SOUND = (  # a leg that is well, a group saying which
    rf"\b(?:{_SOUND}) (?P<a>left|right){_STOP}|\b(?!strong (?:left|right) side){_WELL} (?P<e>left|right) (?:{_LEG})\b|"
    rf"\b(?P<b>left|right|both)(?: (?:one|{_LEG}))?(?: (?:is|are|was|were|remains?|stays?|being|"
    rf"{_WELL_DONE}))? (?:{_WELL}|not|the (?:{_WELL}|better)(?: one| {_LEG})?){_STOP}|"
    rf"\bstronger (?:on|in) (?:the |his |her )?(?P<f>left|right)\b|\bbetter (?P<g>left|right) (?:{_LEG})\b|"
    rf"\b(?:{_WELL}|better) (?:{_LEG})\b(?: is| being| are)?[ :(]*(?:on |at )?(?:the |his |her )?(?P<c>left|right)\b(?: (?:one|"
    rf"{_LEG}))?|\bspar(?:es|ed|ing) (?:the |his |her )?(?P<d>left|right)(?: (?:{_LEG}))?"
)

_OBJECTS = (
    r"canes?|sticks?|crutch(?:es)?|rails?|handrails?|banisters?|frame|support|bags?|backpack|suitcase|umbrella|phone|"
    r"brace|orthosis|"
    r"splint|cast|prosthesis|shoes?|boots?|cameras?|camcorder|sensors?|markers?|wall|door|window|dog|helper|therapist|"
    r"assistant|"
    r"nurse|friend|arms?|hands?|shoulders?|elbows?|wrists?|eyes?|ears?|head|face|finger|sleeve|pocket|tattoo|scar|sun|"
    r"light|crowd|traffic|cars?|trees?|curb|mirror|treadmill|object|ball|cup|bottle|child|person walking"
)
_DIRECTED = (
    r"turn\w*|look\w*|glanc\w*|veer\w*|swerv\w*|drift\w*|sway\w*|lean\w*|tilt\w*|bend(?:s|ing)?|mov(?:es?|ing)|head(?:s|"
    r"ing)?|go(?:es|ing)?|keep\w*|fac(?:es?|ing)|rotat\w*|circl\w*|curv\w*|step(?:s|ping)?|point\w*|walk(?:s|ing)?|swing\w*|"
    r"stage|camera|was|were|been|having|just|have|has|had"
)
_MINE = r"(?:(?:the|his|her|their|its|my|your|our|a|an) )?"
_SEEN = r"camera|view\w*|film\w*|record\w*|photograph\w*|video\w*|shot|captured|watched|observer|standing|walks|walking"
_NOT_AFFECTED = re.compile(
    rf"\b(?:{_DIRECTED}) (?:slightly |sharply |more |a little )?$|\b(?:from|towards?|facing|past) {_MINE}$|"
    rf"\b(?:start|begin|lead)\w*(?: off)? (?:with|on|by) {_MINE}$|"
    rf"(?<!confined )(?<!limited )(?<!restricted )(?<!due )\bto {_MINE}$|"
    rf"\b(?<!toe[ -])(?:{_SEEN}) (?:on|at|in) {_MINE}$|"
    rf"\b(?:{_OBJECTS})(?: (?:is|held|worn|carried|placed|mounted|being|stands?|set|strapped))*[ :(]+(?:"
    rf"(?:on|in|at|to|by|with|against|under|over|round|around) )?{_MINE}$|"
    rf"\b(?:no|nothing|without(?: any)?|free of|free from|lack of|absence of) (?:[a-z-]+ ){{1,3}}(?:in|on|of|at|with) {_MINE}$"
)
_LOADED = re.compile(  # the leg that is used more, well or not: "spends more time on the left"
    r"\b(?:spend\w* (?:more|most)|more (?:time|weight|load)|long(?:er)? (?:stance|support|single support)|"
    r"rel(?:y|ies|ying|iance)|depend(?:s|ing)|favou?r\w*|prefer\w*|dominan\w*|lean\w*|loads?|loading|"
    r"stands? (?:longer|mostly|mainly|more)|(?:puts?|putting|bears?|bearing|shift\w*|takes?|carries|keeps?) "
    r"(?:(?:more|most|all|full|much|of|his|her|the|their|body|extra|a lot) )*(?:body)?(?:weight|load))"
    r"(?: (?:stance|support|time|phase|weight|load|side|leg|foot|on|onto|upon|to|in|for|with|is|of|the|his|her|their|its|"
    r"longer|more|most|heavily|mostly|mainly))*[ :(]+$"
)
_UNLOADED = re.compile(
    r"(?:\b(?:not|cannot|never|no|without|unable|avoid\w*|refus\w*|hardly|difficult\w*|trouble|pain\w*|hurts?|less|little|"
    r"reluctan\w*|afraid|fear\w*|hesita\w*|problems?|limited|reduced|intoleran\w*)|n't)\b[^,.;]*$"
)
_USED = re.compile(
    rf"[- ](?:(?:{_LEG}) )?(?:is )?(?:dominan\w*|handed|footed|(?:getting )?better|compensat\w*|"
    r"(?:takes?|bears?|carries) (?:more|most|all|the weight))\b"
)
_DUE_TO_LEG = re.compile(rf"\b(?:to|from) {_MINE}$")
_BODY_PART = (
    rf"(?:{_LEG.replace('sides?|', '')}|toes?|heels?|thighs?|calf|calves|shin|half|extremity|buttocks?|glut\w+|quad\w+|"
    r"(?:hip )?abductors?|hamstrings?|tibialis|peroneals?|dorsiflexors?|plantarflexors?|soleus|gastroc\w+|achilles)"
)
_HURT = r"(?:(?:lower|affected|weak(?:er)?|bad|painful|injured|paretic|stiff|sore|hurt|swinging|standing|stance|swing|only) )*"
_AFFECTED = re.compile(
    rf"[- ]*(?:sided|hand side)\b|[- ]{_HURT}(?:{_BODY_PART}|sides?)\b|[- ]+(?:gait|walk|limp\w*|hemi\w+|drop\w*|"
    rf"weakness)\b|"
    rf" *(?:$|{_CLAUSE}|[~/]|{_NUMBER})| of ~| (?:and|or|but|with|at|is|are|was|only|in|by|while|because|due|that|who|"
    rf"has|have|affected|more|"
    r"less|than|so|when|during|since|for|as|one|slow\w*|fast|moving|walking|walks|taking|severity|sees?|leg's|not|"
    r"rather|instead)\b"
)
_ELSEWHERE = re.compile(  # "left of the road", but "right side of the body"
    r"(?:[- ]hand)?(?: sides?)? (?:of|from) (?!~|(?:the |his |her |a |their )?(?:body|pelvis|trunk|person|patient|man|"
    r"woman|walker|hips?|~)\b)"
    rf"|[- ](?:{_LEG}) (?:first|forward|in front|ahead|leads|view|perspective|camera|profile|pocket|lane|window|"
    r"facing|mirror)\b"
)


_BRAIN = (
    r"(?:stroke|infarct\w*|cva|tia|hemispher\w*|cerebr\w*|brain\w*|cort(?:ex|ical\w*)|thalam\w*|ganglia\w*|capsul\w*|[mapi]ca|"
    r"ha?emorrhage|bleed\w*|aneurysm|craniotomy)"
)
_OF_BRAIN = (
    r"(?:sided?|hand|half|middle|anterior|posterior|internal|carotid|artery|territory|ischa?emic|ha?emorrhagic|sub\w+|basal|"
    rf"frontal|parietal|temporal|lacunar|large|small|old|acute|chronic|recent|of|in|the|his|her|a|{_BRAIN})"
)
BRAIN_SIDE = re.compile(  # the side of a lesion in the brain, which is not that of the leg
    rf"\b(?:left|right)(?:[- ]+{_OF_BRAIN})*[- ]+{_BRAIN}\b|"
    rf"\b{_BRAIN}(?:[- ]+(?:{_OF_BRAIN}|on|to|at|affecting|affected))*[ :(-]+(?:left|right)\b\)?"
    rf"(?![- ]+(?:leg|limb|foot|knee|hip|ankle|lower|arm|gait|walk|hemip\w+|weak\w*))"
)


def is_affected(text: str, rest: str, start: int, end: int) -> bool:
    """Is a "left" or "right" at (start, end) the gait's side? Not that of a hand, a cane, a camera or a turn.

    `rest` is the text with ~ for what has been read, such as the class.
    """
    clause = re.split(_CLAUSE, text[max(0, start - 80) : start].replace("(", " "))[-1]
    label = re.search(rf"\b(?:{_OBJECTS}|view|perspective|direction|angle|turn) ?[:=(] ?$", text[:start])
    if label or not _AFFECTED.match(rest, end) or _ELSEWHERE.match(rest, end):
        return False
    loaded = _LOADED.search(clause)
    if (loaded and not _UNLOADED.search(clause[: loaded.start()])) or _USED.match(text, end):
        return False
    if _DUE_TO_LEG.search(clause) and re.match(rf"[- ]{_HURT}{_BODY_PART}\b", text[end:]):
        return True  # "an injury to the left knee"
    return not _NOT_AFFECTED.search(clause)


def with_neighbours(rest: str, start: int, end: int) -> tuple[int, int]:
    """(start, end) of a side that is not the gait's, with the words next to it: "from the left", "right hand"."""
    before = re.search(r"(?:(?<![\w~'-])[a-z'-]+ )?(?:(?:the|his|her|their|a) )?$", rest[:start])
    after = re.match(r"[- ][a-z]+(?![\w~])", rest[end:])
    return before.start(), end + (after.end() if after else 0)


# The side of a pelvis that drops, which is not the one that a Trendelenburg gait "on the left" names; and the standing leg's.
_PELVIS = r"(?:hemi-?)?(?:hips?|pelvis|pelvic)"
_DROPS = r"(?:drops?|dropping|drooping|sinks?|sinking|sags?|sagging|falls|tilts? down)"
DROPPED = re.compile(
    rf"\b(?P<a>left|right)(?: side)?(?: of)?(?: the| his| her)? {_PELVIS} (?:\w+ )?{_DROPS}\b|"
    rf"\b(?:{_PELVIS} (?:\w+ )?{_DROPS}|(?:drop|sagging|sinking) of (?:the|his|her)(?: {_PELVIS})?|dropp(?:ing|ed) {_PELVIS})"
    r"(?: (?:is|down|on|at|in|of|to|towards?|the|his|her))* (?P<b>left|right)\b|"
    rf"\bdropp(?:ing|ed) (?P<c>left|right) {_PELVIS}\b"
)
STANDING = re.compile(
    r"\b(?:stand\w*|stance|supported)(?: (?:on|of|over|by|phase|the|his|her|leg))* (?P<a>left|right)\b|"
    r"\b(?P<b>left|right)(?:[- ](?:leg|foot))?(?: single)?[- ](?:stance|stands|standing|support)\b"
)


# --- what is denied behind a word --------------------------------------------------------------------------------------------

DENIED_BEHIND = re.compile(
    r"(?:[ -]free\b|(?: [a-z]+){0,2} (?:no|not any|n't any) ?(?:more|longer)\b|(?: (?:is|was|has|are|been|now|fully|"
    r"completely))* (?:absent|gone|ruled out|excluded|resolved|cured|healed|vanished|disappeared)\b|: (?:no|none|absent)\b)"
)

# --- what was, what is only feared, and what another one has ------------------------------------------------------------------

_FAMILY = (
    r"(?<!my )(?<!our )(?<!the )(?<!this )(?:brother|sister|mother|father|parent|uncle|aunt|cousin|sibling|son|daughter|twin|"
    r"relative|husband|wife)(?:s|'s)?"
)
_HAS = r"(?:who|also|has|have|had|with|walks?|shows?|suffers? from|is|was|a|an|the|his|her)"
_TREATED = r"(?:surgery|surgeries|operation|operated|repair|treated|treatment) (?:for|of|on)"
NOT_NOW = re.compile(  # before a kind of gait
    r"\b(?:(?:previously|earlier|once had|was once|rul(?:e|es|ed|ing) out|to exclude|risk of|fear of|"
    rf"{_TREATED})[ -]+(?:[\w']+[ -]+){{0,3}}|{_FAMILY}(?: {_HAS})* (?:[\w']+[ -]+){{0,1}})$"
)
_AGO = (
    r"(?:in the past|in (?:his|her|their) (?:youth|childhood)|last (?:year|month|week)|"
    r"(?:[\w]+ )?(?:years?|months?|weeks?|days?) ago)"
)
NOT_ANY_MORE = re.compile(  # behind it
    r" (?:surgery|surgeries|operation|repair|correction)\b|"
    rf"(?: was| were)? (?:{_AGO}|(?:previously|formerly)(?= *(?:$|{_CLAUSE})))"
)
NOW_NORMAL = re.compile(
    r"\b(?:now|today|currently|again|meanwhile|walks?|walking)(?: (?:is|are|walks?|quite))? (?:normal|healthy|normally)\b"
)
