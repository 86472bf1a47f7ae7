"""The blocks of code of the pages in docs/."""

import dataclasses
import pathlib
import re

DOCS = pathlib.Path(__file__).parents[2] / "docs"
# Generated, or results that other tests compare.
_NO_GUIDES = {"methods.md"}
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n\n?)?"
    r"^```python(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```\n"
    r"(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of Python.

    Attributes:
        line: where its code begins in the page.
        code: its code.
        title: what stands above it: for what tool it is, or "".
        output: what it prints, as the page shows it, or None.
        reason: why it is not run, or None.
    """

    line: int
    code: str
    title: str = ""
    output: str | None = None
    reason: str | None = None


def pages():
    """Names of the pages that people wrote."""
    return sorted(p.name for p in DOCS.glob("*.md") if p.name not in _NO_GUIDES)


def blocks(name):
    """The blocks of a page in order."""
    text = (DOCS / name).read_text()
    return [
        Block(
            text.count("\n", 0, found.start("code")) + 1,
            found["code"],
            found["title"] or "",
            found["output"],
            found["reason"],
        )
        for found in _BLOCK.finditer(text)
    ]


def run(name, title=None):
    """Runs the blocks of a page one after the other in one namespace.

    Args:
        name: of the page.
        title: of the blocks, where a page has some for other tools; None runs all
            others.

    Yields:
        `(block, what it printed)`.
    """
    import contextlib
    import io

    names = {"__name__": "__main__"}
    others = {"tfmot", "larq"}
    for block in blocks(name):
        if block.reason or (block.title != title if title else block.title in others):
            continue
        # Errors name the line of the page.
        source = "\n" * (block.line - 1) + block.code
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, str(DOCS / name), "exec"), names)
        yield block, printed.getvalue()
