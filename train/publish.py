"""Publish a model family, other models and data sets as repositories on the Hugging Face Hub, with cards and a collection.

    python train/publish.py --family gait-small --namespace me --dry_run OUT
    python train/publish.py --family outputs/own --trained_on data/own --name gait-own --namespace me --dry_run OUT
    python train/publish.py --family outputs/gist_10 --classifier outputs/gist_10/gru --trained_on data/gist \
        --results model_cards/results/*_gist.json
    python train/publish.py --dataset data/simulated --public

In: folders as the training scripts and datasets_scripts write them. Out: NAMESPACE/NAME (GPT-2, tokeniser of walks in `vq/`,
`decoder/`, processor, code, card, animation; a family of train/release.py: all its files as they are), NAME-lora (its adapter,
where there is one), NAME-ARCHITECTURE for each classifier, NAME-text, NAME-knowledge, NAME-tcn, NAME-FOLDER for each data set,
and a collection of them all. `--dry_run OUT` writes what would be pushed to a folder instead, byte for byte.

Everything is put together and checked before the first request. A repository changes in one commit, so it is never half new;
after an interruption the same command goes on, and what the Hub already has is not sent again. Repositories are private unless
`--public`, which is refused where the training data's card states no licence. The token is that of `hf auth login` or HF_TOKEN.

Numbers on a card come from `--results`: of these files a card shows those that belong to its kind of model and to the data set
named by `--trained_on` (its folder's name, as in chain_gist.json).
"""

import ast
import fnmatch
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError, safe_open
from tqdm import tqdm
from transformers import AutoConfig, HfArgumentParser, PreTrainedConfig
from transformers.dynamic_module_utils import custom_object_save, get_relative_imports

from modeling_gait.drawing.rendering import render_animation
from modeling_gait.files import atomic_folder, write_json
from modeling_gait.gait_classes import CLASSES_FILE
from modeling_gait.released import ABOUT, named
from modeling_gait.schema import errors_told
from modeling_gait.skeletons import SKELETONS
from modeling_gait.training.cards import (
    SIMULATED,
    TrainingData,
    check_card,
    read_data_card,
    read_results,
    release_card,
    render_card,
)
from modeling_gait.training.showing import ShowArguments, make_walks, markdown_table, title

ROOT = Path(__file__).resolve().parents[1]
MODEL_FILES = (
    *("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "*.py"),
    *(
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "merges.txt",
    ),
    *("special_tokens_map.json", "added_tokens.json", "adapter_config.json", "adapter_model.safetensors"),
)
COLLECTION_FILE = "collection.json"  # of a dry run


@dataclass
class PublishArguments:
    """Arguments of publishing."""

    family: str = field(default="", metadata={"help": "gait-small, or folder of a model family (train_gpt2.py)"})
    classifier: list[str] = field(default_factory=list, metadata={"help": "folders of classifiers (train_classifier.py)"})
    text: str = field(default="", metadata={"help": "folder of a dual encoder (train_text.py)"})
    knowledge: str = field(default="", metadata={"help": "folder of a GaitKnowledgeModel"})
    tcn: str = field(default="", metadata={"help": "folder of a personalised network (train_maml.py)"})
    dataset: list[str] = field(default_factory=list, metadata={"help": "folders of data sets (datasets_scripts)"})
    trained_on: str = field(default="", metadata={"help": "folder of the models' training data: its card says the licence"})
    results: list[str] = field(default_factory=list, metadata={"help": "results files (JSON) for the cards"})
    name: str = field(default="", metadata={"help": "of the repositories; default: gait- and the family's folder"})
    namespace: str = field(default="", metadata={"help": "user or organisation; default: the token's user"})
    collection: str = field(default="Gait models", metadata={"help": "title of the collection"})
    public: bool = field(default=False, metadata={"help": "visible to everybody; default: private"})
    dry_run: str = field(default="", metadata={"help": "folder to write to instead of the Hub"})


@dataclass(frozen=True)
class Repository:
    """What becomes one repository: `id`, `type` ("model" or "dataset"), the folder that holds its files."""

    id: str
    type: str
    folder: Path


# --- putting folders together ------------------------------------------------------------------------------------------------


def stage(args: PublishArguments, namespace: str, work: Path) -> list[Repository]:
    """Write every repository to `work`/its name, with card, and check it. Raises ValueError naming the folder or file."""
    family = Path(named(args.family))
    name = args.name or (f"gait-{family.absolute().name}".replace("gait-gait-", "gait-") if args.family else "gait")
    released = bool(args.family) and (family / ABOUT).is_file()
    models = args.classifier or args.text or args.knowledge or args.tcn
    data = read_data_card(Path(args.trained_on)) if args.trained_on else SIMULATED if released and not models else None
    made: list[Repository] = []

    def new(suffix: str, type: str = "model") -> Repository:
        repository = Repository(f"{namespace}/{name}{suffix}", type, work / f"{name}{suffix}")
        validate_repo_id(repository.id)
        if repository.folder.exists():
            raise ValueError(f"two of these folders would be published as {repository.id}; publish them under another --name")
        made.append(repository)
        return repository

    licences = [data] if data and (args.family or models) else []
    published = {}
    for folder in map(Path, args.dataset):
        repository = new(f"-{folder.absolute().name}", "dataset")
        licences.append(stage_dataset(folder, repository))
        published[folder.resolve()] = repository.id
    trained_on = published.get(Path(args.trained_on).resolve()) if args.trained_on else None
    card = CardWriter(data, [trained_on] if trained_on else None, args.results)
    if released:
        stage_release(family, new(""))
    elif args.family:
        repository = new("")
        stage_family(family, repository, card)
        if (family / "adapter").is_dir():
            stage_adapter(family, new("-lora"), repository.id, card)
    for folder in args.classifier:
        stage_model(
            "classifier", Path(folder), new(f"-{getattr(read_config(Path(folder)), 'architecture', 'classifier')}"), card
        )
    for kind in ("text", "knowledge", "tcn"):
        if getattr(args, kind):
            stage_model(kind, Path(getattr(args, kind)), new(f"-{kind}"), card)
    if not made:
        raise ValueError("nothing to publish: give --family, --classifier, --text, --knowledge, --tcn or --dataset")
    if args.public:
        check_public(made, data, licences)
    for repository in made:
        check_no_local_path(repository.folder)
    return made


def check_public(made: list[Repository], data: TrainingData | None, licences: list[TrainingData]) -> None:
    """Raise ValueError where nobody has said that this may be shared."""
    if data is None and any(r.type == "model" for r in made):
        raise ValueError("--public needs --trained_on: the card of the training data says whether its licence lets you share")
    for one in licences:
        if one.derived and data is None:
            raise ValueError(f"the terms of its training data apply to {one.name}: --public needs --trained_on")
        for source in [one, data] if one.derived else [one]:
            if source.unlicensed:
                raise ValueError(
                    f"the card of {source.name} states no licence, so neither it nor what is made of it may be public; ask "
                    "its authors and write the licence that they give into the card, or publish without --public"
                )


@dataclass
class CardWriter:
    """Writes cards and licences. `datasets`: ids of the training data on the Hub, where they are published with the models."""

    data: TrainingData | None
    datasets: list[str] | None
    results: list[str]

    def write(self, kind: str, repository: Repository, about: dict) -> None:
        files, dataset = [Path(r) for r in self.results], self.data.name if self.data else ""
        results = read_results(files, kind, dataset, about.get("architecture") or "gru") if self.data else []
        common = {"datasets": self.datasets, "version": version("modeling_gait"), "requires": requirements(repository.folder)}
        text = render_card(kind, repository.id, self.data, results, common | about)
        (repository.folder / "README.md").write_text(text, encoding="utf-8")
        shutil.copyfile(ROOT / "LICENSE", repository.folder / "LICENSE")


def stage_family(family: Path, repository: Repository, card: CardWriter) -> None:
    """GPT-2, processor, `vq/`, `decoder/`, a `classifier/`, and walks that the staged folder itself generates."""
    folder = repository.folder
    for part in ("", "vq", "decoder", *(["classifier"] if (family / "classifier").is_dir() else [])):
        copy_model(family / part, folder / part, folder)
    base = read_json(family / "adapter" / "adapter_config.json") if (family / "adapter").is_dir() else {}
    shown = ShowArguments(model=str(folder))
    walks, rows = make_walks(shown)
    skeleton = SKELETONS[walks[0]["skeleton"]]
    titles = [title(r.name, w["description"]) for r, w in zip(rows, walks)]
    render_animation([w["joints"] for w in walks], folder / "walks.gif", walks[0]["fps"], skeleton, titles, size=(220, 300))
    about = {
        "labels": getattr(read_config(folder), "gait_labels", []),
        "classes": walks[0]["description"].classes.classes,
        "num_joints": len(skeleton),
        "prompt": walks[-1]["prompt"],
    }
    about |= {"shown": markdown_table(rows, card.data.title if card.data else "data that was not stated", shown.candidates)}
    card.write("family", repository, about | {"base_model": base.get("base_model_name_or_path")})


def stage_release(family: Path, repository: Repository) -> None:
    """All files of a family of train/release.py as they are, and the code and the card that a repository needs."""
    folder = repository.folder
    shutil.copytree(family, folder)
    for file in sorted(folder.rglob("*config.json")):
        for reference in sorted(code_references(read_json(file))):
            module, name = reference.rsplit("--", 1)[-1].split(".")
            for place in {file.parent, folder}:
                custom_object_save(getattr(import_module(f"modeling_gait.{module}"), name), place)
    for place in {file.parent for file in folder.rglob("config.json")}:
        check_code(place, folder)
    text = release_card(folder, repository.id, {"requires": requirements(folder)})
    (folder / "README.md").write_text(text, encoding="utf-8")
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")


def stage_adapter(family: Path, repository: Repository, merged: str, card: CardWriter) -> None:
    """The LoRA adapter with the tokeniser that its base must be resized to. Raises ValueError where the base is a folder."""
    source = family / "adapter"
    copy_model(source, repository.folder)
    for file in family.glob("tokeniz*"):  # tokenizer.json, tokenizer_config.json, tokenization_gait.py
        shutil.copyfile(file, repository.folder / file.name)
    base = read_json(source / "adapter_config.json").get("base_model_name_or_path") or ""
    if not base or Path(base).is_absolute() or Path(base).exists():
        raise ValueError(
            f"{source / 'adapter_config.json'}: base_model_name_or_path is {base!r}, expected the base's id on the Hub"
        )
    check_code(repository.folder, repository.folder)
    card.write("adapter", repository, {"base_model": base, "family": merged})


def stage_model(kind: str, source: Path, repository: Repository, card: CardWriter) -> None:
    """A classifier, dual encoder with the sentence encoder in its folder, knowledge model or personalised network."""
    folder = repository.folder
    copy_model(source, folder, folder)
    config = read_config(folder)
    expected = "gait_dual_encoder" if kind == "text" else f"gait_{kind}"
    if config.model_type != expected:
        raise ValueError(f"{source}: its model_type is {config.model_type!r}, expected {expected!r}")
    about: dict = {}
    about["has_pipeline"] = bool(list(folder.glob("pipeline_*.py")))
    if kind in ("classifier", "knowledge"):
        about |= {"labels": [config.id2label[i] for i in sorted(config.id2label)]}
    if kind == "classifier":
        about |= {"architecture": config.architecture, "num_joints": config.num_joints}
    if kind in ("text", "knowledge"):
        name, has_encoder = config.text_config.name, (source / "encoder").is_dir()
        if Path(name).is_dir() or Path(name).is_absolute():  # a folder of this machine, there or gone
            if kind == "text" and not has_encoder:  # a trained knowledge model needs none
                raise ValueError(f"{source}: its sentence encoder is the folder {name}; save the model again, with its encoder")
            name, content = Path(name).name, read_json(folder / "config.json")
            write_json(folder / "config.json", content | {"text_config": content["text_config"] | {"name": name}})
    if kind == "text":
        has_extractor = (folder / "preprocessor_config.json").exists()
        if has_encoder:
            shutil.copytree(source / "encoder", folder / "encoder")
        about |= {"encoder": name, "has_encoder": has_encoder, "dimension": config.projection_size}
        about |= {"has_extractor": has_extractor, "num_joints": config.gait_config.num_channels // 3}
    if kind == "tcn":
        about |= {"num_channels": config.num_channels, "num_phases": config.num_phases}
    card.write(kind, repository, about)


def stage_dataset(source: Path, repository: Repository) -> TrainingData:
    """Parquet files, card and, where it has any, classes of a data set. Raises ValueError where there is none, or the card
    breaks the Hub's rules."""
    data = read_data_card(source)
    files = sorted(source.rglob("*.parquet"))
    if not files:
        raise ValueError(f"{source}: no Parquet files in this folder")
    for file in (*files, source / "README.md", *source.glob(CLASSES_FILE)):
        target = repository.folder / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return data


def copy_model(source: Path, target: Path, root: Path | None = None) -> None:
    """Copy what `from_pretrained` reads, no checkpoint and no leftover; `root`: check the code, for loads from there too."""
    files = (
        [p for p in sorted(source.iterdir()) if any(fnmatch.fnmatch(p.name, m) for m in MODEL_FILES)] if source.is_dir() else []
    )
    weights = [p for p in files if p.suffix == ".safetensors"]
    if not weights or not any(p.name in ("config.json", "adapter_config.json") for p in files):
        raise ValueError(f"{source}: no model here, expected config.json and model.safetensors")
    for file in weights:
        try:
            with safe_open(file, "pt") as content:
                empty = not list(content.keys())
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: not a complete safetensors file: {error}") from error
        if empty:
            raise ValueError(f"{file}: holds no weights")
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, target / file.name)
    if root is not None:
        check_code(target, root)


# --- checks ------------------------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict:
    """A JSON file. Raises ValueError naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error


def read_config(folder: Path) -> PreTrainedConfig:
    """Configuration of a model. Raises ValueError where there is none."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no model here, expected config.json and model.safetensors")
    return AutoConfig.from_pretrained(folder)


def code_references(content: object) -> set[str]:
    """`module.Class` of every auto_map in a JSON file's content."""
    found: set[str] = set()
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "auto_map":
                entries = [e for v in value.values() for e in (v if isinstance(v, list) else [v])]
                found |= {e for e in entries if e}
            else:
                found |= code_references(value)
    return found


def check_code(folder: Path, root: Path) -> None:
    """Raise ValueError where `trust_remote_code=True` would miss a file: in `folder`, or in `root` that it is loaded from."""
    for file in sorted(folder.glob("*config.json")):
        content = read_json(file)
        references = code_references(content)
        if str(content.get("model_type", "")).startswith("gait_") and not references:
            raise ValueError(f"{file}: has no auto_map; save the model again with save_pretrained of this package")
        for reference in references:
            module, name = reference.rsplit("--", 1)[-1].split(".")
            for place in {folder, root}:
                path = place / f"{module}.py"
                if not path.is_file() or not re.search(rf"^class {name}\b", path.read_text(encoding="utf-8"), re.MULTILINE):
                    raise ValueError(f"{file}: auto_map names {reference}, which {path} does not define; save the model again")
    for path in sorted(folder.glob("*.py")):
        missing = [m for m in get_relative_imports(path) if not (folder / f"{m}.py").is_file()]
        if missing:
            raise ValueError(f"{path}: imports .{', .'.join(missing)}, which is not in the folder; save the model again")
        data = re.search(r"__file__.*?[\"']([\w-]+\.(?:json|ya?ml|csv|txt|npz))[\"']", path.read_text(encoding="utf-8"))
        if data:
            raise ValueError(f"{path}: reads {data[1]} beside itself, which remote code cannot; put it into a Python module")


def requirements(folder: Path) -> list[str]:
    """Packages that the code in a repository imports; it stands alone where this package is not installed."""
    found = {"transformers"}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.split(".")[0])
    return sorted(
        {"yaml": "pyyaml", "PIL": "pillow", "sklearn": "scikit-learn"}.get(m, m)
        for m in found - sys.stdlib_module_names - {"modeling_gait"}
    )


def check_no_local_path(folder: Path) -> None:
    """Raise ValueError where a text file of a repository names a folder of this machine."""
    here = [str(p) for p in (ROOT, Path.home(), Path(tempfile.gettempdir()).resolve()) if len(p.parts) > 1]
    for file in sorted(p for s in ("*.json", "*.md", "*.py") for p in folder.rglob(s)):
        if file.name != "tokenizer.json":
            for text in here:
                if re.search(rf"{re.escape(text)}(?![\w-])", file.read_text(encoding="utf-8")):
                    raise ValueError(
                        f"{file.name} of {folder.name} names {text}, a folder of this machine; change that in the file first"
                    )


# --- pushing -----------------------------------------------------------------------------------------------------------------


def patient(request: Callable, tries: int = 5, **kwargs):
    """Call the Hub; where it says 429 (too many requests), wait as long as it says and try again."""
    for attempt in range(tries):
        try:
            return request(**kwargs)
        except HfHubHTTPError as error:
            if error.response.status_code != 429 or attempt == tries - 1:
                raise
            wait = error.response.headers.get("Retry-After", "")
            time.sleep(int(wait) if wait.isdigit() else 2.0**attempt)


def push(api: HfApi, repository: Repository, private: bool) -> str:
    """Make the repository hold exactly the folder's files, in one commit of what differs; returns the commit's id.

    One commit, not `upload_folder`, which may make several and so leave a half-new repository when it is interrupted.
    """
    where = {"repo_id": repository.id, "repo_type": repository.type}
    patient(api.create_repo, **where, private=private, exist_ok=True)
    if private and not patient(api.repo_info, **where).private:
        raise ValueError(f"{repository.id} is there and public; make it private on the Hub first, or give --public")
    files = {p.relative_to(repository.folder).as_posix(): p for p in sorted(repository.folder.rglob("*")) if p.is_file()}
    there = patient(api.list_repo_files, **where)
    operations = [CommitOperationDelete(p) for p in there if p not in files and p != ".gitattributes"]
    operations += [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    about = f"Published with modeling_gait {version('modeling_gait')}"
    return patient(commit_once, api=api, where=where, operations=operations, message=about)


def commit_once(api: HfApi, where: dict, operations: list, message: str) -> str:
    """Commit; operations are made anew for each try, since a used one cannot be given again."""
    fresh = [
        CommitOperationAdd(o.path_in_repo, o.path_or_fileobj) if isinstance(o, CommitOperationAdd) else o for o in operations
    ]
    return api.create_commit(**where, operations=fresh, commit_message=message).oid


def push_all(api: HfApi, repositories: list[Repository], namespace: str, args: PublishArguments) -> str:
    """Push all of them and put them into the collection; returns its URL."""
    for repository in tqdm(repositories, desc="repositories"):
        oid = push(api, repository, private=not args.public)
        tqdm.write(f"{repository.type} {repository.id}: {oid[:8]}")
    about = {"title": args.collection, "namespace": namespace, "private": not args.public, "exists_ok": True}
    collection = patient(api.create_collection, **about)
    for r in repositories:
        item = {"item_id": r.id, "item_type": r.type, "exists_ok": True}
        patient(api.add_collection_item, collection_slug=collection.slug, **item)
    return collection.url


def check_dry_run(target: Path) -> None:
    """Raise ValueError unless the folder is absent, empty or an earlier dry run, which is replaced."""
    if target.exists() and not (target / COLLECTION_FILE).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target}: holds something else than a dry run; choose another --dry_run")


def publish(args: PublishArguments, api: HfApi) -> list[Repository]:
    """Stage, then push or keep the folder. Raises ValueError for what cannot be published, HTTPError where the Hub refuses."""
    if args.dry_run and not args.namespace:
        raise ValueError("--dry_run needs --namespace: cards name their own repository")
    namespace = args.namespace or api.whoami()["name"]
    if args.dry_run:
        check_dry_run(Path(args.dry_run))
    place = atomic_folder(args.dry_run) if args.dry_run else tempfile.TemporaryDirectory(prefix="gait-publish-")
    with place as work:
        repositories = stage(args, namespace, Path(work))
        for repository in repositories:
            check_card((repository.folder / "README.md").read_text(encoding="utf-8"), repository.id)
        if args.dry_run:
            items = [{"item_id": r.id, "item_type": r.type} for r in repositories]
            write_json(Path(work) / COLLECTION_FILE, {"title": args.collection, "private": not args.public, "items": items})
        else:
            print(push_all(api, repositories, namespace, args))
    return repositories


def main() -> None:
    args = HfArgumentParser(PublishArguments).parse_args_into_dataclasses()[0]
    try:
        repositories = publish(args, HfApi())
    except HTTPError as error:
        sys.exit(f"error: {error}\nWhat was pushed before is complete; the same command goes on from there.")
    for repository in repositories:
        place = Path(args.dry_run) / repository.folder.name if args.dry_run else "pushed"
        print(f"{repository.type} {repository.id}: {place}")


if __name__ == "__main__":
    with errors_told():
        main()
