"""What the faithfulness checks catch: captions of gait, appearance and actions, as they are and with one fact falsified.

    python -m experiments.caption_faithfulness --captions 1000

Two sets. "grammar": captions of simulated walks and of action labels, falsified by editing the text (a number, the side, the
class, an attribute ...). "free": sentences written by hand in other wordings than the grammar's, faithful and not, before the
checks were run on them. `caught` is the share of falsified captions that a check refuses, `false_alarms` that of faithful ones.
On their first run the checks refused 11 of 11, 13 of 16 and 19 of 19 false free sentences of gait, appearance and action, and
2 of 4, 0 of 5 and 0 of 8 true ones; after that the appearance check began to read what is worn or carried.
Writes model_cards/results/caption_faithfulness.json. No language model's answers are among them.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]

from modeling_gait.caption_words import CANONICAL_NAMES, NAMES, SEVERITY_WORDS, severity_level  # noqa: E402
from modeling_gait.captions import WalkDescription, check_faithfulness, describe_walk, paraphrase  # noqa: E402
from modeling_gait.gait_parameters import compute_gait_parameters  # noqa: E402
from modeling_gait.simulation import simulate_walks  # noqa: E402
from modeling_gait.training.caption_texts import (  # noqa: E402
    ALSO,
    APPEARANCE,
    IMPLIED,
    action_caption,
    actions_table,
    appearance_caption,
    appearance_words,
    check_action,
    check_appearance,
)
from modeling_gait.training.results import write_result  # noqa: E402

GAIT = WalkDescription("steppage", "right", 0.8, speed=0.62, cadence=88, stride_length=0.84)
LOOK = {
    "sex": ["female"],
    "age_group": ["young adult"],
    "footwear": ["boots"],
    "clothing": ["jacket", "long trousers"],
    "load": ["backpack"],
}
# (check, facts, what is falsified or "" for faithful, text), by hand; "look" stands for LOOK, "gait" for GAIT.
FREE = [
    ("gait", GAIT, "", "On the right she lifts the knee high because of foot drop; she covers 0.62 metres each second."),
    ("gait", GAIT, "", "A severe right-sided steppage gait with 88 steps in every minute? No: a cadence of 88 steps/min."),
    ("gait", GAIT, "", "The toes of the right foot hang down, a pronounced drop foot, so the pace stays slow."),
    ("gait", GAIT, "", "High-stepping walk, right leg affected, with strides of 84 cm."),
    ("gait", GAIT, "side", "Owing to the drop foot on the left, the knee is raised high."),
    ("gait", GAIT, "side", "Steppage gait in which both legs are affected."),
    ("gait", GAIT, "number", "A steppage gait covering nearly a metre per second, 0.95 m/s."),
    ("gait", GAIT, "number", "Drop foot on the right; one hundred and ten steps per minute."),
    ("gait", GAIT, "number", "Steppage gait with a stride length of 1.2 m."),
    ("gait", GAIT, "class", "The pelvis sinks on the swing side, a Trendelenburg pattern, right."),
    ("gait", GAIT, "class", "He shuffles with tiny steps and a stooped trunk."),
    ("gait", GAIT, "class", "The hemiplegic right leg is swung in an arc in this steppage gait."),
    ("gait", GAIT, "severity", "A barely noticeable, mild steppage gait of the right leg."),
    ("gait", GAIT, "speed word", "Steppage gait of the right leg at a brisk pace."),
    ("gait", GAIT, "denial", "There is no foot drop; the gait is unremarkable."),
    ("appearance", LOOK, "", "A young woman with a rucksack strides along in boots."),
    ("appearance", LOOK, "", "She is young, dressed in a jacket and long trousers, and has a backpack on."),
    ("appearance", LOOK, "", "Video of a young female in boots and a jacket."),
    ("appearance", LOOK, "", "Her boots and her jacket suggest cool weather as this young adult walks."),
    ("appearance", LOOK, "", "The walker, a young lady, is wearing trousers and shoes."),
    ("appearance", LOOK, "sex", "A young man with a rucksack walks in boots."),
    ("appearance", LOOK, "sex", "In a jacket and boots, he walks along."),
    ("appearance", LOOK, "age", "An elderly woman in boots with a backpack."),
    ("appearance", LOOK, "age", "A woman of 60 years in boots and a jacket."),
    ("appearance", LOOK, "footwear", "A young woman in sandals, with a backpack."),
    ("appearance", LOOK, "footwear", "A young woman with a backpack wears loafers."),
    ("appearance", LOOK, "clothing", "A young woman in a skirt and boots."),
    ("appearance", LOOK, "clothing", "A young woman in boots and a raincoat."),
    ("appearance", LOOK, "load", "A young woman in boots pulls a suitcase."),
    ("appearance", LOOK, "load", "A young woman in boots, without a backpack."),
    ("appearance", LOOK, "made up", "A young woman in red boots and a jacket."),
    ("appearance", LOOK, "made up", "A young woman in boots and a jacket, holding an umbrella."),
    ("appearance", LOOK, "made up", "A young woman in boots and a jacket carries a violin case."),
    ("appearance", LOOK, "made up", "A young woman in boots and a jacket hurries to her office."),
    ("appearance", LOOK, "gait", "A young woman in boots and a jacket limps on the left side."),
    ("appearance", LOOK, "viewpoint", "A young woman in boots and a jacket, filmed from behind."),
    ("action", ["walk"], "", "He strolls along calmly, his arms swinging against his legs."),
    ("action", ["walking"], "", "The person walks: one foot is put before the other, heel first."),
    ("action", ["sitting_down"], "", "From upright, the body sinks until the person takes a seat."),
    ("action", ["going_up"], "", "Climbing stairs, the person lifts one foot onto the next step and pushes the body up."),
    ("action", ["bicycling"], "", "Seated, the person pedals, the knees rising and falling in turn."),
    ("action", ["jump"], "", "The person jumps: the knees bend and the body flies up."),
    ("action", ["wave"], "", "A raised hand waves to and fro."),
    ("action", ["throw"], "", "The arm winds up and throws something away."),
    ("action", ["walk"], "action", "The person runs, both feet leaving the floor."),
    ("action", ["walk"], "action", "The person walks and then jumps."),
    ("action", ["walking"], "action", "The person walks up the stairs."),
    ("action", ["going_up"], "action", "The person descends the stairs step by step."),
    ("action", ["sitting_down"], "action", "The person gets up from the chair."),
    ("action", ["sitting"], "action", "The person rests in an armchair and then stands up."),
    ("action", ["up_by_elevator"], "action", "The person stands in an elevator going down."),
    ("action", ["bicycling"], "action", "The person is driving a car."),
    ("action", ["jump"], "action", "The person crouches and jumps, then dances."),
    ("action", ["wave"], "action", "The person claps."),
    ("action", ["throw"], "action", "The person throws and kicks."),
    ("action", ["walk"], "action", "The person lies on the floor."),
    ("action", ["wave"], "side", "The person waves with the left hand."),
    ("action", ["jump"], "number", "The person jumps three times."),
    ("action", ["walk"], "number", "The person walks for 5 metres."),
    ("action", ["walk"], "speed", "The person walks quickly."),
    ("action", ["walk"], "gait", "The person walks with a limp."),
    ("action", ["throw"], "made up", "The person throws a red ball to a dog."),
    ("action", ["walk"], "denial", "The person does not walk."),
]  # fmt: skip


def pick(rng: np.random.Generator, options) -> object:
    """One of a sequence."""
    return options[int(rng.integers(len(options)))]


def falsified_number(text: str, rng: np.random.Generator) -> str | None:
    """One number 15 to 60 % larger or smaller; None where there is none, or rounding would hide the change."""
    numbers = list(re.finditer(r"\d+(\.\d+)?", text))
    if not numbers:
        return None
    m = pick(rng, numbers)
    value = float(m[0]) * (1 + pick(rng, (-1, 1)) * rng.uniform(0.15, 0.6))
    if abs(value - float(m[0])) <= (0 if "." in m[0] else 2):
        return None
    return text[: m.start()] + (f"{value:.2f}" if "." in m[0] else f"{value:.0f}") + text[m.end() :]


def replaced(text: str, old: str, new: str) -> str | None:
    """`text` with the first `old` (any case) replaced; None where it is not there."""
    out, count = re.subn(rf"(?<![\w-]){re.escape(old)}(?![\w-])", new, text, count=1, flags=re.IGNORECASE)
    return out if count else None


def gait_cases(n: int, seed: int) -> Iterator[tuple[str, str, Callable[[str], list[str]]]]:
    """(what is falsified or "", text, check) of captions of simulated walks."""
    walks = simulate_walks(210, frames=96, seed=seed)
    facts = []
    for i in range(len(walks)):
        measured = compute_gait_parameters(walks.joints[i], walks.fps)
        facts.append(describe_walk(measured, walks.pathology[i], float(walks.severity[i]), walks.side[i], walks.attributes[i]))
    rng = np.random.default_rng(seed)
    for i in range(n):
        d = facts[i % len(facts)]
        text = paraphrase(d, rng)

        def check(caption: str, d: WalkDescription = d) -> list[str]:
            return check_faithfulness(caption, d)

        yield "", text, check
        yield "number", falsified_number(text, rng), check
        if d.side in ("left", "right"):
            swapped = re.sub(r"\b(left|right)\b", lambda m: "left" if m[0] == "right" else "right", text)
            yield "side", swapped if swapped != text else None, check
        other = pick(rng, [c for c in CANONICAL_NAMES if c != d.pathology])
        edits = (replaced(text, name, pick(rng, NAMES[other])) for name in sorted(NAMES[d.pathology], key=len, reverse=True))
        yield "class", next((e for e in edits if e), None), check
        if d.severity is not None and d.pathology != "normal":
            level = severity_level(d.severity)
            wrong = pick(rng, SEVERITY_WORDS[pick(rng, [s for s in SEVERITY_WORDS if s != level])])
            yield "severity", next((e for w in SEVERITY_WORDS[level] if (e := replaced(text, w, wrong))), None), check
        for key, words in (("footwear", ("boots", "heels")), ("load", ("backpack", "bag"))):
            a, b = words if d.attributes.get(key) == words[0] else words[::-1]
            yield f"attribute {key}", replaced(text, a, b) if d.attributes.get(key) == a else None, check


ADDED = (
    "in a red hat",
    "with an umbrella",
    "with a violin case",
    "wearing an apron",
    "with a walking stick",
    "eating an apple",
)


def appearance_cases(n: int, seed: int) -> Iterator[tuple[str, str, Callable[[str], list[str]]]]:
    """The same of captions of simulated people's attributes."""
    people = simulate_walks(200, frames=2, seed=seed).attributes
    rng = np.random.default_rng([seed, 1])
    for i in range(n):
        attributes = people[i % len(people)]
        words, age = appearance_words(attributes), attributes["age"]
        text = appearance_caption(words, rng, age)

        def check(caption: str, words: dict = words, age: int = age) -> list[str]:
            return check_appearance(caption, words, WalkDescription(attributes={"age": age}))

        yield "", text, check
        yield "number", falsified_number(text, rng), check
        for key, mine in (("footwear", words["footwear"][0]), ("clothing", words["clothing"][0]), ("load", words["load"][0])):
            same = {mine, "none", "shoes"} | ALSO.get(mine, set())  # true as well
            others = [v for v in APPEARANCE[key] if v not in same]
            yield key, replaced(text, mine, pick(rng, others)), check
        for a, b in (("woman", "man"), ("lady", "gentleman"), ("female", "male")):
            yield "sex", replaced(text, a, b) or replaced(text, b, a), check
        for a, b in (("young", "elderly"), ("middle-aged", "young"), ("old", "young"), ("elderly", "middle-aged")):
            yield "age", replaced(text, a, b) if "years old" not in text or a != "old" else None, check
        yield "made up", text.rstrip(".") + f", {pick(rng, ADDED)}.", check


def action_cases(n: int, seed: int) -> Iterator[tuple[str, str, Callable[[str], list[str]]]]:
    """The same of captions of action labels."""
    table = actions_table()
    names = list(table)
    rng = np.random.default_rng([seed, 2])
    for i in range(n):
        name = names[i % len(names)]
        text = action_caption([name], rng)

        def check(caption: str, name: str = name) -> list[str]:
            return check_action(caption, [name])

        yield "", text, check
        other = pick(rng, [a for a in names if a != name])
        yield "action replaced", replaced(text, table[name][1], table[other][1]), check
        starred = pick(rng, [a for a in names if a != name and table[a][0] and a not in IMPLIED.get(name, ())])
        yield "action added", text.rstrip(".") + f" and then is {table[starred][1]}.", check
        yield "side", text.rstrip(".") + pick(rng, (" with the left arm.", " on the right.", " to the left side.")), check
        yield "number", text.rstrip(".") + pick(rng, (" three times.", " for 12 seconds.", " twice.", " over 4 metres.")), check
        yield "speed", text.rstrip(".") + pick(rng, (" quickly.", " at a slow pace.", " very fast.")), check


def measure(cases: Iterator, total: int, name: str) -> tuple[dict[str, list[bool]], list[str]]:
    """Refused or not, of each kind; and the texts that were judged wrongly."""
    refused: dict[str, list[bool]] = {}
    wrong = []
    for kind, text, check in tqdm(cases, desc=name, unit=" texts", mininterval=2):
        if text is None:
            continue
        hit = bool(check(text))
        refused.setdefault(kind, []).append(hit)
        if hit != bool(kind):
            wrong.append(f"{kind or 'faithful'}: {text}")
    return refused, wrong


def free_cases(domain: str) -> Iterator[tuple[str, str, Callable[[str], list[str]]]]:
    """The sentences by hand of one kind of caption."""
    checks = {"gait": check_faithfulness, "appearance": check_appearance, "action": check_action}
    for kind, facts, falsified, text in FREE:
        if kind == domain:
            yield falsified, text, lambda caption, facts=facts: checks[domain](caption, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=1000, help="faithful captions of each kind (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sources = {"gait": gait_cases, "appearance": appearance_cases, "action": action_cases}
    metrics, rows = {}, []
    for domain, cases in sources.items():
        for kind, found in (("grammar", cases(args.captions, args.seed)), ("free", free_cases(domain))):
            refused, wrong = measure(found, args.captions, f"{domain}, {kind}")
            falsified = [hit for name, hits in refused.items() if name for hit in hits]
            metrics[f"{domain}_{kind}_caught"] = round(float(np.mean(falsified)), 4)
            metrics[f"{domain}_{kind}_false_alarms"] = round(float(np.mean(refused[""])), 4)
            for name, hits in refused.items():
                share = {"texts": len(hits), "refused": round(float(np.mean(hits)), 4)}
                rows.append({"captions": domain, "set": kind, "falsified": name or "nothing", **share})
            print(f"{domain}, {kind}: caught {np.mean(falsified):.3f}, false alarms {np.mean(refused['']):.3f}")
            print("".join(f"    judged wrongly: {text}\n" for text in wrong[:12]), end="")
    dataset = "simulated walks' descriptions and attributes, action labels of HuGaDB and BABEL; sentences by hand"
    protocol = (
        f"{args.captions} captions of each kind by the grammar, each also with one fact falsified in the text; "
        f"{len(FREE)} sentences by hand; share refused by the checks; no language model"
    )
    write_result("caption_faithfulness", dataset, protocol, metrics, rows, ("numpy",), seeds=[args.seed])


if __name__ == "__main__":
    main()
