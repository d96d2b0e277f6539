"""The wheel: every file of the package is in it, and what is in it needs nothing of the repository around it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import Distribution
from setuptools.config.pyprojecttoml import apply_configuration

ROOT = Path(__file__).resolve().parents[1]
UNPACKED = {"modeling_gait/README.md"}  # told of in the repository, read by no code


def files_of(folder: Path) -> set[str]:
    found = (p.relative_to(folder) for p in (folder / "modeling_gait").rglob("*") if p.is_file())
    return {p.as_posix() for p in found if "__pycache__" not in p.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What setuptools puts into a wheel, by pyproject.toml."""
    folder, before = tmp_path_factory.mktemp("wheel"), Path.cwd()
    os.chdir(ROOT)
    try:
        wheel = apply_configuration(Distribution({"script_name": "pyproject.toml"}), "pyproject.toml")
        wheel.include_package_data = False  # the patterns alone
        build = wheel.get_command_obj("build_py")
        build.build_lib = str(folder)
        build.ensure_finalized()
        build.run()
    finally:
        os.chdir(before)
    return folder


def test_every_file_of_the_package_is_in_the_wheel(built):
    assert files_of(ROOT) - files_of(built) == UNPACKED


def test_modules_that_read_files_find_them_in_the_wheel(built, tmp_path):
    """Imported where nothing else of the repository is; all but one read them at import, pages are read when one is filled."""
    sources = [p for p in (built / "modeling_gait").rglob("*.py") if any(w in p.read_text() for w in ("__file__", "resources"))]
    names = [p.relative_to(built).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for p in sources]
    assert {"modeling_gait", "modeling_gait.training.cards", "modeling_gait.drawing.pages"} <= set(names)
    code = """
import importlib, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.path[1]), module.__file__
from modeling_gait import released
from modeling_gait.gait_classes import load_classes
from modeling_gait.training.cards import TEMPLATES
print(len(list(TEMPLATES.glob("*.md"))), len(load_classes().classes), released("vq"))
"""
    environment = os.environ | {"PYTHONPATH": str(built)}
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    templates, classes, family = done.stdout.split()
    assert int(templates) >= 8 and int(classes) >= 6 and Path(family, "model.safetensors").is_file()
