"""What the faithfulness checks catch: captions of gait, appearance and actions, as they are and with one fact falsified.

    python -m experiments.caption_faithfulness --captions 1000

Two sets. "grammar": captions of simulated walks and of action labels, falsified by editing the text (a number, the side, the
class, an attribute ...). "free": sentences written by hand in other wordings than the grammar's (caption_sentences.yaml),
before the checks were run on them. `caught` is the share of falsified captions that a check refuses, `false_alarms` that of
faithful ones.
On their first run the checks refused 11 of 11, 13 of 16 and 19 of 19 false free sentences of gait, appearance and action, and
2 of 4, 0 of 5 and 0 of 8 true ones; after that the appearance check began to read what is worn or carried.
Writes model_cards/results/caption_faithfulness.json. No language model's answers are among them.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import yaml
from tqdm import tqdm

from experiments.runner import ROOT, write_result
from modeling_gait.caption_grammar import paraphrase
from modeling_gait.caption_words import ALSO, APPEARANCE, SEVERITY_WORDS
from modeling_gait.captions import WalkDescription, check_faithfulness, describe_walk
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.simulation import PATHOLOGIES, simulate_walks
from modeling_gait.training.caption_texts import (
    ACTIONS,
    action_caption,
    appearance_caption,
    appearance_words,
    check_action,
    check_appearance,
)

SENTENCES = ROOT / "experiments" / "caption_sentences.yaml"
Cases = Iterator[tuple[str, str | None, Callable[[str], list[str]]]]  # what is falsified or "", text, check
GAIT = WalkDescription("steppage", "right", 0.8, speed=0.62, cadence=88, stride_length=0.84)
LOOK = {
    "sex": ["female"],
    "age_group": ["young adult"],
    "footwear": ["boots"],
    "clothing": ["jacket", "long trousers"],
    "load": ["backpack"],
}


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


def gait_cases(n: int, seed: int) -> Cases:
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
        check = partial(check_faithfulness, description=d)
        yield "", text, check
        yield "number", falsified_number(text, rng), check
        if d.side in ("left", "right"):
            swapped = re.sub(r"\b(left|right)\b", lambda m: "left" if m[0] == "right" else "right", text)
            yield "side", swapped if swapped != text else None, check
        other = d.classes[pick(rng, [c for c in PATHOLOGIES if c != d.pathology])]
        edits = (replaced(text, name, pick(rng, other.names)) for name in sorted(d.entry.names, key=len, reverse=True))
        yield "class", next((e for e in edits if e), None), check
        if d.level:
            level = d.level
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


def appearance_cases(n: int, seed: int) -> Cases:
    """The same of captions of simulated people's attributes."""
    people = simulate_walks(200, frames=2, seed=seed).attributes
    rng = np.random.default_rng([seed, 1])
    for i in range(n):
        attributes = people[i % len(people)]
        words, age = appearance_words(attributes), attributes["age"]
        text = appearance_caption(words, rng, age)
        check = partial(check_appearance, words=words, description=WalkDescription(attributes={"age": age}))
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


def action_cases(n: int, seed: int) -> Cases:
    """The same of captions of action labels."""
    names = list(ACTIONS)
    rng = np.random.default_rng([seed, 2])
    for i in range(n):
        name = names[i % len(names)]
        text = action_caption([name], rng)
        check = partial(check_action, actions=[name])
        yield "", text, check
        other = pick(rng, [a for a in names if a != name])
        yield "action replaced", replaced(text, ACTIONS[name]["doing"], ACTIONS[other]["doing"]), check
        implied = {name, *ACTIONS[name].get("implies", ())}
        false = pick(rng, [a for a in names if ACTIONS[a].get("exclusive") and a not in implied])
        yield "action added", text.rstrip(".") + f" and then is {ACTIONS[false]['doing']}.", check
        yield "side", text.rstrip(".") + pick(rng, (" with the left arm.", " on the right.", " to the left side.")), check
        yield "number", text.rstrip(".") + pick(rng, (" three times.", " for 12 seconds.", " twice.", " over 4 metres.")), check
        yield "speed", text.rstrip(".") + pick(rng, (" quickly.", " at a slow pace.", " very fast.")), check


def measure(cases: Iterator, name: str) -> tuple[dict[str, list[bool]], list[str]]:
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


def free_cases(domain: str) -> Cases:
    """The sentences by hand of one kind of caption."""
    for *facts, falsified, text in yaml.safe_load(SENTENCES.read_text(encoding="utf-8"))[domain]:
        checks = {"gait": lambda t: check_faithfulness(t, GAIT), "appearance": lambda t: check_appearance(t, LOOK)}
        yield falsified, text, checks.get(domain, lambda t, facts=facts: check_action(t, facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=1000, help="faithful captions of each kind (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sources = {"gait": gait_cases, "appearance": appearance_cases, "action": action_cases}
    metrics, rows = {}, []
    for domain, cases in sources.items():
        for kind, found in (("grammar", cases(args.captions, args.seed)), ("free", free_cases(domain))):
            refused, wrong = measure(found, f"{domain}, {kind}")
            falsified = [hit for name, hits in refused.items() if name for hit in hits]
            metrics[f"{domain}_{kind}_caught"] = round(float(np.mean(falsified)), 4)
            metrics[f"{domain}_{kind}_false_alarms"] = round(float(np.mean(refused[""])), 4)
            for name, hits in refused.items():
                share = {"texts": len(hits), "refused": round(float(np.mean(hits)), 4)}
                rows.append({"captions": domain, "set": kind, "falsified": name or "nothing", **share})
            print(f"{domain}, {kind}: caught {np.mean(falsified):.3f}, false alarms {np.mean(refused['']):.3f}")
            print("".join(f"    judged wrongly: {text}\n" for text in wrong[:12]), end="")
    free = sum(r["texts"] for r in rows if r["set"] == "free")
    dataset = "simulated walks' descriptions and attributes, action labels of HuGaDB and BABEL; sentences by hand"
    protocol = (
        f"{args.captions} captions of each kind by the grammar, each also with one fact falsified in the text; "
        f"{free} sentences by hand; share refused by the checks; no language model"
    )
    write_result("caption_faithfulness", dataset, protocol, metrics, rows, ("numpy",), seeds=[args.seed])


if __name__ == "__main__":
    main()
