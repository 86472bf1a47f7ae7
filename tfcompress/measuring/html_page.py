"""Shared parts of pages about measurements: style, footer, and pieces of HTML.

Contents are escaped by the caller. Roles are explicit because browsers drop them from
tables that the style for phones restacks.
"""

import datetime
import html
import importlib.metadata
import os
import pathlib
import string

import keras
import tensorflow as tf

from tfcompress.runtime.host import cpu_name

_TEMPLATE = pathlib.Path(__file__).with_name("page.html")


def whole_page(title, lead, figures, sections, footer):
    """A self-contained page; only the title is escaped here."""
    return string.Template(_TEMPLATE.read_text("utf-8")).substitute(
        title=html.escape(title),
        lead=lead,
        figures=figures,
        sections="\n".join(filter(None, sections)),
        footer=footer,
    )


def host():
    """This host in words."""
    return f"{html.escape(cpu_name())}, {os.cpu_count()} logical processors"


def footer(measured):
    """A sentence about the measurement, versions and the time."""
    now = datetime.datetime.now().astimezone()
    versions = (
        f"tfcompress {_version('tfcompress')}, keras {keras.__version__}, "
        f"tensorflow {tf.__version__}, ai-edge-litert {_version('ai-edge-litert')}"
    )
    return (
        f"<p>{measured}</p>"
        f"<p>{html.escape(versions)}.</p>"
        f'<p><time datetime="{now.isoformat(timespec="seconds")}">'
        f"{now:%Y-%m-%d %H:%M %Z}</time></p>"
    )


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(run from its sources)"


def section(heading, explanation, content):
    """A heading with its content; the explanation may be empty."""
    lead = f'<p class="soft">{explanation}</p>' if explanation else ""
    return f"<section><h2>{heading}</h2>{lead}{content}</section>"


def details(summary, content):
    """Content that a click on the summary opens."""
    return f"<details><summary>{summary}</summary>{content}</details>"


def table(kind, label, names, rows):
    """A scrolling table; `kind` is its class, `label` its text for screen readers."""
    heads = (f'<th role="columnheader" scope="col">{name}</th>' for name in names)
    return (
        f'<div class="scroll {kind}" role="region" aria-label="{label}" tabindex="0">'
        f'<table role="table"><thead role="rowgroup"><tr role="row">{"".join(heads)}'
        f'</tr></thead><tbody role="rowgroup">{"".join(rows)}</tbody></table></div>'
    )


def row(name, cells, kind=""):
    """A row of a table: its head and cells."""
    head = f'<th role="rowheader" scope="row">{name}</th>'
    return f'<tr role="row" class="{kind}">{head}{"".join(cells)}</tr>'


def td(content, label="", small="", title=""):
    """A cell; phones show the label, and `small` is printed below the content."""
    small = f"<small>{small}</small>" if small else ""
    label = f' data-label="{label}"' if label else ""
    title = f' title="{title}"' if title else ""
    return f'<td role="cell"{label}{title}>{content}{small}</td>'


def breakable(name):
    """A name that may wrap after slashes and underscores."""
    return html.escape(name).replace("/", "/<wbr>").replace("_", "_<wbr>")
