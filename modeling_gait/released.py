"""The models that the package ships: the family `gait-small`, trained on simulated people only (train/release.py makes it).

In: the name of a family, or its folder. Out: folders for `from_pretrained` and `pipeline`. A family's GPT-2 is at the top of
its folder, every other model in a folder of its own. Nothing heavy is imported.
"""

import json
from pathlib import Path

NAME = "gait-small"
FOLDER = Path(__file__).parent / NAME
ABOUT = "release.json"  # of a family made by train/release.py: how, and what was measured
# model_type in config.json -> where a family keeps it
PARTS = {
    "gpt2": "",
    "gait_vq": "vq",
    "gait_decoder": "decoder",
    "gait_classifier": "classifier",
    "gait_dual_encoder": "text",
    "gait_knowledge": "knowledge",
    "gait_tcn": "tcn",
}


def released(part: str = "") -> str:
    """Folder of the shipped family, or of a part: vq, decoder, classifier, text, knowledge or tcn.

    Raises ValueError for another part.
    """
    if part not in PARTS.values():
        raise ValueError(f"{NAME} has no part {part!r}; it has {', '.join(p for p in PARTS.values() if p)}")
    return str(FOLDER / part)


def named(name: str, part: str = "") -> str:
    """`released(part)` for the name of the shipped family; any other name, a folder or Hub id, as it is."""
    return released(part) if name == NAME else name


def find_part(folder: Path, kinds: tuple[str, ...]) -> tuple[Path, str] | None:
    """Where a folder holds a model of one of these kinds (model types), the first one first: itself, or the part of a family.

    Raises ValueError for a config.json that cannot be read.
    """
    for kind in kinds:
        for place in dict.fromkeys((folder, folder / PARTS[kind])):
            if (place / "config.json").is_file() and model_type(place) == kind:
                return place, kind
    return None


def model_type(folder: Path) -> str | None:
    """What config.json says. Raises ValueError where it cannot be read."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{folder}: config.json cannot be read: {error}") from error


__all__ = ["ABOUT", "FOLDER", "NAME", "PARTS", "find_part", "model_type", "named", "released"]
