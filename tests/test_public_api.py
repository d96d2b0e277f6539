"""What the docstrings of the public names say of their arguments is what the functions take."""

import inspect
import re
from pathlib import Path

import pytest

import modeling_gait


def documented(docstring: str) -> list[str]:
    """Names of the section Args or Arguments; `a, b: ...` documents both, `name (B, T): ...` one."""
    section = re.search(r"^( *)Arg(?:ument)?s[^:\n]*:\n(.*?)(?=^\1\S|\Z)", inspect.cleandoc(docstring), re.M | re.S)
    if section is None:
        return []
    indent = re.match(r" *", section[2])[0]
    lines = re.findall(rf"^{indent}(\S.*?)(?::(?: |$))", section[2], re.M)
    heads = [re.sub(r"\([^)]*\)|\[[^\]]*\]", "", line) for line in lines]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def functions() -> dict[str, tuple]:
    """Qualified name -> (docstring, the callable whose signature it describes), of all public names and their methods."""
    found = {}
    for name in modeling_gait.__all__:
        thing = getattr(modeling_gait, name)
        if inspect.isclass(thing):
            call = thing.__call__ if name.endswith("Pipeline") else thing
            found[name] = (thing.__doc__, call)
            for method, function in vars(thing).items():
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function) and (not method.startswith("_") or method == "__call__"):
                    found[f"{name}.{method}"] = (inspect.getdoc(getattr(thing, method)), function)
        elif callable(thing):
            found[name] = (thing.__doc__, thing)
    return found


FUNCTIONS = functions()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_documented_arguments_are_the_real_ones(name):
    docstring, function = FUNCTIONS[name]
    assert docstring and docstring.strip(), "no docstring"
    arguments = documented(docstring)
    assert len(arguments) == len(set(arguments)), "documented twice"
    taken = list(inspect.signature(function).parameters)
    if inspect.isclass(function):  # what a base class takes as a keyword and keeps as a property, such as num_labels
        taken += [n for n in dir(function) if isinstance(getattr(function, n, None), property)]
    assert set(arguments) <= set(taken), sorted(set(arguments) - set(taken))


def test_the_reader_of_docstrings_reads_them():
    text = """Summary.

        Args:
            joints: (T, J, 3) [m]; a
                second line: of it.
            fps, skeleton: more
            *paths (list): files.

        Returns: nothing: at all.
    """
    assert documented(text) == ["joints", "fps", "skeleton", "paths"]
    assert sum(bool(documented(doc or "")) for doc, _ in FUNCTIONS.values()) > 25


def test_no_public_name_is_also_a_module():
    """Where it is, importing something else would put the module in its place; `released` is imported with the package."""
    modules = {f.stem for f in Path(modeling_gait.__file__).parent.glob("*.py")} - {"released"}
    assert not modules & set(modeling_gait.__all__)
