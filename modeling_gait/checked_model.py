"""Weights that are whole, finite and no pickle. transformers only logs which weights a file lacks, and fills them at random.

In: a folder or Hub id, as `from_pretrained` takes it. Out: the model; else ValueError or OSError that names file and reason.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

PICKLED = f"no {SAFE_WEIGHTS_NAME} in it; pickled weights (.bin, .pt) are not read, as that can run code"


@contextmanager
def readable(file: str | Path) -> Iterator[None]:
    """Inside, a safetensors file that cannot be read, or does not fit its model, raises ValueError that names it."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{file}: cannot be read, is it whole? ({error})") from error
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ValueError(f"{file}: holds weights of other sizes than config.json says") from error


@contextmanager
def told(model: str | PreTrainedModel) -> Iterator[None]:
    """Inside, `pipeline(..., model=model)` says in a sentence why it cannot load it, not by tracebacks within a ValueError."""
    if isinstance(model, str):
        refuse_pickles(model)
    try:
        with readable(Path(str(model), SAFE_WEIGHTS_NAME)):
            yield
    except ValueError as error:
        said = re.findall(r"^\w*Error: (.+)", str(error), re.MULTILINE)
        if not said or not str(error).startswith("Could not load model"):
            raise
        raise ValueError(said[-1] if str(model) in said[-1] else f"{model}: {said[-1]}") from error


def refuse_pickles(folder: str | Path) -> None:
    """Raises OSError for a folder without weights in safetensors; what is no folder passes."""
    if Path(folder).is_dir() and not any(Path(folder).glob("*.safetensors")):
        raise OSError(f"{folder}: {PICKLED}")


def check_weights(model: PreTrainedModel, file: str | Path, missing: Iterable[str] = ()) -> None:
    """Raises ValueError where the file lacks weights of the model (`missing`), or the model's are not finite."""
    tensors = ((name, t) for name, t in model.state_dict().items() if t.is_floating_point() and not t.is_meta)
    broken = [name for name, tensor in tensors if not tensor.isfinite().all()]
    for what, names in (("lacks weights", sorted(missing)), ("weights that are not finite", broken)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(f"{file}: {what}: {', '.join(names[:3])}{more}; get or train the model anew")


def load_whole(load: Callable, where: str | Path, *args, output_loading_info: bool = False, **kwargs):
    """What `load`, the `from_pretrained` of a model, returns for these arguments. Raises as `check_weights`, `readable` and
    `refuse_pickles`."""
    place = Path(str(where), kwargs.get("subfolder") or "")
    refuse_pickles(place)
    with readable(place / SAFE_WEIGHTS_NAME):
        model, found = load(where, *args, **kwargs | {"use_safetensors": True, "output_loading_info": True})
    check_weights(model, place / SAFE_WEIGHTS_NAME, found["missing_keys"])
    return (model, found) if output_loading_info else model


def check_loaded(model: PreTrainedModel, where: str, revision: str | None = None) -> None:
    """As `load_whole`, for a model that transformers loaded from there: what its file lacks is read off the file's names."""
    find = partial(cached_file, where, revision=revision, _raise_exceptions_for_missing_entries=False)
    files, held = [find(SAFE_WEIGHTS_NAME)], set()
    if files == [None] and (index := find(SAFE_WEIGHTS_INDEX_NAME)):
        files = [find(name) for name in set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values())]
    if None in files:
        raise OSError(f"{where}: {PICKLED}")
    for file in files:
        with readable(file), safe_open(file, "pt") as content:
            held |= set(content.keys())
    check_weights(model, Path(where, SAFE_WEIGHTS_NAME), {name for name, _ in model.named_parameters()} - held)


class CheckedModel(PreTrainedModel):
    """A model of this package: loaded from whole and finite weights in safetensors, or not at all."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """As in transformers; raises as `load_whole`."""
        return load_whole(super().from_pretrained, pretrained_model_name_or_path, *args, **kwargs)


__all__ = ["CheckedModel", "check_loaded", "check_weights", "load_whole", "readable", "refuse_pickles", "told"]
