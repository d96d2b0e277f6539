"""Pages of HTML that need nothing else: the templates beside this file, filled; all text is escaped."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader


def fill_page(name: str, **values) -> str:
    """NAME.html with these values."""
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return pages.get_template(f"{name}.html").render(**values)


def embedded(picture: Path) -> str:
    """The content of a picture, as text within a page."""
    return base64.b64encode(picture.read_bytes()).decode("ascii")
