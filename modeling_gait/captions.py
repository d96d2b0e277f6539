"""Captions: measured gait parameters and a class become words, and words become a description again.

In: gait parameters (dict name -> number: m/s, steps/min, m, degrees), class, severity 0..1, side, attributes; or free text.
Out: `WalkDescription`, its canonical text and prompt, paraphrases that keep every fact, a list of a text's untruths
(`check_faithfulness`), or a ValueError that says what is wrong with a prompt.

    description = describe_walk(compute_gait_parameters(joints, fps), "steppage", severity=0.5, side="right")
    description.to_prompt()   # steppage gait, right side, moderate, speed 0.65 m/s, cadence 94 steps/min, stride 0.82 m.
    parse_prompt("a slow, severe Trendelenburg walk, left side").severity   # 0.833...

This file checks captions and has them written; the description is made in `walk_description.py`, the words and the knowledge
of each class are in `caption_words.py`, the grammar in `caption_grammar.py`, reading in `caption_parsing.py` and
`caption_prompts.py`. All public names can be imported from here.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from .caption_grammar import paraphrase
from .caption_parsing import read_facts
from .caption_prompts import parse_prompt
from .caption_words import CADENCE_BANDS, KNOWLEDGE, PATHOLOGIES, SPEED_BANDS, cadence_band, severity_level, speed_band
from .walk_description import (
    QUANTITIES,
    WalkDescription,
    affected_side,
    describe_walk,
    fit_reference,
    gait_deviation_index,
    severity_from_parameters,
)

__all__ = [
    "KNOWLEDGE",
    "PATHOLOGIES",
    "QUANTITIES",
    "WalkDescription",
    "affected_side",
    "captions_for",
    "check_faithfulness",
    "describe_walk",
    "fit_reference",
    "gait_deviation_index",
    "paraphrase",
    "paraphrase_with_llm",
    "partial_description",
    "parse_prompt",
    "severity_from_parameters",
    "severity_level",
]

logger = logging.getLogger(__name__)


def captions_for(
    parameters: Mapping[str, float],
    pathology: str | None = None,
    severity: float | None = None,
    side: str | None = None,
    attributes: Mapping | None = None,
    n: int = 3,
    seed: int = 0,
) -> list[str]:
    """n captions of a measured walk: the canonical prompt, then in turn a paraphrase and a prompt with parts left out."""
    description = describe_walk(parameters, pathology, severity, side, attributes)
    rng = np.random.default_rng(seed)
    captions = [description.to_prompt()][:n]
    for i in range(1, n):
        for _ in range(20):  # distinct where the description allows it
            caption = paraphrase(description, rng) if i % 2 else partial_description(description, rng).to_prompt()
            if caption not in captions:
                break
        captions.append(caption)
    return captions


def partial_description(d: WalkDescription, rng: np.random.Generator) -> WalkDescription:
    """The description with each part but the class left out half of the time."""
    dropped = {name: None for name in (*QUANTITIES, "severity") if rng.random() < 0.5}
    return replace(d, **dropped, side="unknown" if rng.random() < 0.5 and d.side != "none" else d.side)


# --- faithfulness ------------------------------------------------------------------------------------------------------------


def check_faithfulness(text: str, description: WalkDescription) -> list[str]:
    """What `text` says that `description` does not: problems in words, empty if the text is faithful.

    A number may differ by its own rounding and half a step of QUANTITIES; a number that gives nothing of the description, a
    side, class, severity or speed word that differs, and a class that is not named at all are problems. Leaving anything
    else out is not one.
    """
    d, facts = description, read_facts(text)
    problems = [f"the number {n!r} has no counterpart" for n in facts.unread_numbers]
    problems += [f"the range {r!r} has no counterpart" for r in facts.ranges]
    problems += [p for number in facts.numbers for p in _number_problems(number, d)]
    wrong = [p for p in facts.pathologies if p != d.pathology] + facts.unsupported
    allowed_weak = {"person", d.pathology} | ({"antalgic"} if d.pathology not in (None, "normal") else set())
    allowed_weak |= {"stiff_legged"} if d.pathology == "parkinsonian" else set()
    wrong += [p for p in facts.weak_pathologies if p not in allowed_weak]
    problems += [f"the text says {p} gait, the walk is {d.pathology or 'of no known class'}" for p in dict.fromkeys(wrong)]
    if d.pathology in facts.negated_pathologies:
        problems.append(f"the text says that the gait is not {d.pathology}")
    weak_normal = d.pathology == "normal" and "normal" in facts.weak_pathologies
    if d.pathology is not None and d.pathology not in facts.pathologies and not weak_normal:
        problems.append(f"the text does not name the class {d.pathology}")
    sides = (d.side, "both") if d.pathology == "normal" else (d.side,)
    problems += [f"the text says side {s}, the walk's is {d.side}" for s in dict.fromkeys(facts.sides) if s not in sides]
    level = None if d.severity is None or d.pathology == "normal" else severity_level(d.severity)
    problems += [f"the text says {s}, the walk's severity is {level}" for s in dict.fromkeys(facts.severities) if s != level]
    for name, words, band_of, bands in (
        ("speed", facts.speed_words, speed_band, SPEED_BANDS),
        ("cadence", facts.cadence_words, cadence_band, CADENCE_BANDS),
    ):
        value = getattr(d, name)
        for word in dict.fromkeys(words):
            if value is None or (word != band_of(value) and not bands[word].low <= value < bands[word].high):
                problems.append(f"the text says {word} {name}, the walk's is {value}")
    for key, value in facts.attributes:
        if d.attributes.get(key) != value:
            problems.append(f"the text says {key} {value}, the description {d.attributes.get(key)}")
    return problems


def _number_problems(number, d: WalkDescription) -> list[str]:
    name = number.quantity
    truth = d.attributes.get("age") if name == "age" else getattr(d, name, None)
    if name in ("knee_range", "hip_range"):  # no side given: the affected one, or both
        sides = [getattr(d, f"{name}_{s}") for s in (("left", "right") if d.side not in ("left", "right") else (d.side,))]
        fits = all(s is not None and abs(s - number.value) <= 1 + 1e-6 for s in sides)
        return [] if fits else [f"{number.text!r} names no side and does not fit the affected one"]
    if truth is None:
        return [f"the description has no {name.replace('_', ' ')}, the text says {number.text!r}"]
    step = {"severity": 0.02, "age": 1.0}.get(name) or QUANTITIES[name].step
    if abs(truth - number.value) > max(number.tolerance, step / 2) + 1e-6:
        return [f"the text says {name.replace('_', ' ')} {number.text!r}, measured is {truth:.3g}"]
    return []


# --- paraphrases by a language model -----------------------------------------------------------------------------------------

_INSTRUCTION = (
    "You describe how people walk. Reword the description below in one or two plain English sentences. Keep the gait class, "
    "the side, the severity and every number you use exactly as given, with units; add nothing. Answer with the sentences only."
)


def paraphrase_with_llm(
    description: WalkDescription,
    generator: Callable | str,
    n: int = 3,
    rng: np.random.Generator | None = None,
    attempts: int = 2,
    **generate,
) -> list[str]:
    """n faithful paraphrases by a local instruct model; the grammar writes those that the model gets wrong.

    Args:
        generator: a transformers "text-generation" pipeline, the name or folder of a model to build one from, or any callable
            that takes a list of chat messages and returns a string.
        attempts: the model is asked at most attempts * n times.
        generate: passed to the pipeline; default max_new_tokens=120, do_sample=True.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    if isinstance(generator, str):
        from transformers import pipeline

        generator = pipeline("text-generation", model=generator)
    kept: list[str] = []
    for _ in range(attempts * n):
        if len(kept) == n:
            break
        text = _answer(generator, description, generate)
        problems = check_faithfulness(text, description)
        if problems or not text or text in kept:
            logger.info("dropped %r: %s", text, "; ".join(problems) or "empty or repeated")
        else:
            kept.append(text)
    return kept + [paraphrase(description, rng) for _ in range(n - len(kept))]


def _answer(generator: Callable, description: WalkDescription, generate: Mapping) -> str:
    messages = [{"role": "system", "content": _INSTRUCTION}, {"role": "user", "content": description.to_text()}]
    tokenizer = getattr(generator, "tokenizer", None)
    if tokenizer is None:
        answer = generator(messages)
    else:
        prompt = (
            messages if getattr(tokenizer, "chat_template", None) else f"{_INSTRUCTION}\n\n{messages[1]['content']}\n\nAnswer:"
        )
        options = {"max_new_tokens": 120, "do_sample": True, "return_full_text": False} | dict(generate)
        answer = generator(prompt, **options)[0]["generated_text"]
        answer = answer[-1]["content"] if isinstance(answer, list) else answer
    first = next((line for line in str(answer).strip().splitlines() if line.strip()), "")
    return first.strip().strip("\"'").lstrip("-*• ").strip()
