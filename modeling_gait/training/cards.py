"""Model cards: templates, results files and the training data's own card to the README.md of a repository.

In: card_templates/KIND.md (Jinja), results files of model_cards/results, the data card of what a model was trained on.
Out: the text of a card whose metadata (licence, tags, `model-index`) passes the Hub's rules; `check_card` tests them offline.
Every number of a card comes from a results file or from walks that were generated for it.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCardData, RepoCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import HFValidationError, validate_repo_id
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modeling_gait.released import ABOUT

TEMPLATES = Path(__file__).with_name("card_templates")

_WORDS = yaml.safe_load((TEMPLATES / "words.yaml").read_text(encoding="utf-8"))
RESULTS, RELEASE, TASKS, TAGS = (_WORDS[name] for name in ("RESULTS", "RELEASE", "TASKS", "TAGS"))
DERIVED = "terms-of-the-training-data"  # license_name of what is made of data that is not free
PERMISSIVE = {"apache-2.0", "mit", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "unlicense"}

LICENSES, PIPELINE_TAGS = (set(_WORDS[name].split()) for name in ("LICENSES", "PIPELINE_TAGS"))


@dataclass(frozen=True)
class TrainingData:
    """A data set as its own card describes it. `name`: as results files call it; `link`: where its terms are, or ""."""

    name: str
    title: str
    license: str
    license_name: str = ""
    link: str = ""

    @property
    def unlicensed(self) -> bool:
        """Whether its authors state no licence."""
        return self.license_name in ("none-stated", "not-stated") or self.license == "unknown"

    @property
    def derived(self) -> bool:
        """Whether it is made of other data, whose terms apply."""
        return self.license_name == DERIVED


SIMULATED = TrainingData("simulated", "walks of the package's own gait simulator", "apache-2.0")


@dataclass(frozen=True)
class Result:
    """What a card shows of one results file: metric -> (words, value)."""

    experiment: str
    dataset: str
    protocol: str
    command: str
    date: str
    seeds: list
    versions: dict[str, str]
    numbers: dict[str, tuple[str, float]]


def read_data_card(folder: Path) -> TrainingData:
    """The data set in a folder. Raises ValueError where its card has no licence or breaks the Hub's rules."""
    path = Path(folder) / "README.md"
    if not path.is_file():
        raise ValueError(f"{path}: not there; a data set has a card (datasets_scripts write one)")
    text = path.read_text(encoding="utf-8")
    check_card(text, str(path))
    data = RepoCard(text, ignore_metadata_errors=False).data
    link = data.get("license_link") or ""
    name = Path(folder).absolute().name
    return TrainingData(name, data.get("pretty_name") or name, data.license, data.get("license_name") or "", link)


def read_results(files: list[Path], kind: str, dataset: str, architecture: str = "gru") -> list[Result]:
    """The results that belong to this kind of model and this data set: experiments named `..._DATASET`.

    `architecture`: of the classifier. Raises ValueError for a file that is no results file.
    """
    found = []
    for path in files:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            about = {k: content[k] for k in ("experiment", "dataset", "protocol", "command", "date", "seeds", "versions")}
            metrics, rows = content["metrics"], content["rows"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a results file (experiment, dataset, protocol, metrics, ...): {error!r}") from error
        experiment = about["experiment"].removesuffix(f"_{dataset}")
        words = {} if experiment == about["experiment"] else RESULTS.get(kind, {}).get(experiment, {})
        names = {k.format(architecture=architecture): v for k, v in words.items()}
        numbers = {k: (v, metrics[k]) for k, v in names.items() if k in metrics}
        for name, (_, value) in numbers.items():
            if not is_number(value):
                raise ValueError(f"{path}: metric {name} is {value!r}, expected a finite number")
        if experiment == "loso":  # not all classifiers have all seeds
            about["seeds"] = sorted({row["seed"] for row in rows if row["classifier"] == architecture})
        if numbers:
            found.append(Result(**about, numbers=numbers))
    return found


def is_number(value: object) -> bool:
    """Whether this is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def eval_results(results: list[Result], kind: str, data: TrainingData) -> list[EvalResult]:
    """The same numbers as the metadata's `model-index` wants them."""
    return [
        EvalResult(
            task_type="other",
            task_name=TASKS[kind],
            dataset_type=data.name,
            dataset_name=data.title,
            metric_type="accuracy" if name.endswith("_real") else name,
            metric_name=words,
            metric_value=value,
        )
        for result in results
        for name, (words, value) in result.numbers.items()
    ]


def render_card(kind: str, repo: str, data: TrainingData | None, results: list[Result], about: dict) -> str:
    """The README.md of a model repository; `about`: what the template of the kind names. Raises ValueError as `check_card`."""
    free = data is not None and data.license in PERMISSIVE
    terms = {"license": "apache-2.0"} if free else {"license": "other", "license_name": DERIVED}
    if data is None:
        terms["license_name"] = "not-stated"
    elif not free and data.link:
        terms["license_link"] = data.link
    card = ModelCardData(
        **terms,
        language="en" if kind in ("family", "adapter", "text", "knowledge", "release") else None,
        library_name="peft" if kind == "adapter" else "transformers",
        tags=["gait", "motion", "biomechanics", *TAGS[kind]],
        base_model=about.get("base_model"),
        datasets=about.get("datasets"),
        model_name=repo.split("/")[-1],
        eval_results=eval_results(results, kind, data) or None,
        base_model_relation=("adapter" if kind == "adapter" else "finetune") if about.get("base_model") else None,
    )
    # Markdown, not HTML: nothing is to be escaped
    templates = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    given = {"shown": "", "base_model": None, "labels": [], "classes": [], "own_results": False} | about
    text = templates.get_template(f"{kind}.md").render(
        metadata=card.to_yaml(), name=card.model_name, repo=repo, data=data, results=results, license=card.license, **given
    )
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    check_card(text, f"card of {repo}")
    return text


def release_card(folder: Path, repo: str, about: dict) -> str:
    """The README.md of the shipped family, from its release.json; `about`: further names of the template."""
    said = json.loads((Path(folder) / ABOUT).read_text(encoding="utf-8"))
    numbers = {k: (words, said["metrics"][k]) for k, words in RELEASE.items() if k in said["metrics"]}
    protocol = f"{said['people_held_out']} simulated people, {said['metrics']['walks']:.0f} walks, none of theirs trained on"
    made = said["date"], [said["seed"]], said["versions"]
    result = Result("release", "simulated walks", protocol, "make release", *made, numbers)
    data = TrainingData("simulated", "walks of the package's own gait simulator", "apache-2.0")
    return render_card(
        "release",
        repo,
        data,
        [result],
        {**{k: said[k] for k in ("people", "walks", "labels", "version")}, "requires": [], "own_results": True, **about},
    )


def check_card(text: str, where: str) -> dict:
    """The metadata of a card, tested by the Hub's rules as far as that goes offline. Raises ValueError naming the field."""

    def refuse(field: str, value: object, expected: str) -> None:
        raise ValueError(f"{where}: {field} is {value!r}, expected {expected}")

    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        data = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: its metadata is not YAML: {error}") from error
    if not isinstance(data, dict):
        refuse("the metadata", None, "YAML between two lines of ---")
    if data.get("license") not in LICENSES:
        refuse("license", data.get("license"), "an identifier of https://huggingface.co/docs/hub/repositories-licenses")
    if data["license"] == "other" and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", str(data.get("license_name", ""))):
        refuse("license_name", data.get("license_name"), "lower-case letters, digits, - and . (the license is other)")
    link = data.get("license_link")
    if link is not None and link not in ("LICENSE", "LICENSE.md") and not re.match(r"https?://\S+$", str(link)):
        refuse("license_link", link, "a URL, LICENSE or LICENSE.md")
    for field in ("language", "tags", "datasets", "task_categories", "base_model"):
        values = data.get(field) or []
        values = values if isinstance(values, list) else [values]
        for value in values:
            if not isinstance(value, str) or not value:
                refuse(field, value, "text")
            if field == "language" and not re.fullmatch(r"[a-z]{2,3}|code|multilingual", value):
                refuse(field, value, "an ISO 639 code")
            if field == "task_categories" and value not in PIPELINE_TAGS:
                refuse(field, value, f"one of {', '.join(sorted(PIPELINE_TAGS))}")
            if field in ("datasets", "base_model"):
                try:
                    validate_repo_id(value)
                except HFValidationError:
                    refuse(field, value, "the id of a repository on the Hub")
    if data.get("pipeline_tag") is not None and data["pipeline_tag"] not in PIPELINE_TAGS:
        refuse("pipeline_tag", data["pipeline_tag"], f"none, or one of {', '.join(sorted(PIPELINE_TAGS))}")
    if "model-index" in data:
        check_model_index(data["model-index"], where)
    return data


def check_model_index(index: object, where: str) -> None:
    """Raise ValueError where `model-index` is not what the Hub's libraries read and write, or a value is no finite number."""
    try:
        name, results = model_index_to_eval_results(index)
        again = eval_results_to_model_index(name, results)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: model-index is not a list of name and results with task, dataset, metrics: {error!r}"
        ) from error
    if again != index:
        raise ValueError(f"{where}: model-index is read as something else: {again}")
    for result in results:
        if not is_number(result.metric_value):
            raise ValueError(f"{where}: metric {result.metric_type} is {result.metric_value!r}, expected a finite number")
        if not (result.task_type and result.dataset_type and result.dataset_name and result.metric_type):
            raise ValueError(f"{where}: model-index has an empty task, dataset or metric")
