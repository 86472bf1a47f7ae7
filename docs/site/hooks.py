"""What MkDocs does not do by itself: the reference, pictures, and checks."""

import pathlib
import re
import sys

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import public_names
import reference

HERE = pathlib.Path(__file__).parent
DOCS = HERE.parent
ROOT = DOCS.parent
_LINK = re.compile(r"(!?)\[((?:[^\]`]|`[^`]*`)*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)


def on_config(config):
    """Adds the pages of results that are there, and the reference, to the menu."""
    results = sorted(p.name for p in (DOCS / "results").glob("*.md"))
    results.sort(key=lambda name: name != "README.md")
    config.nav += [
        {"Results": [f"results/{name}" for name in results]},
        {"Reference": [{title: uri} for uri, (title, _) in reference.pages().items()]},
    ]


def on_files(files, config):
    """Adds the pages of the reference and the pictures that lie outside of docs/."""
    for uri, (_, text) in reference.pages().items():
        files.append(File.generated(config, uri, content=text))
    files.append(
        File.generated(config, "site.css", abs_src_path=str(HERE / "site.css"))
    )
    for path in sorted(_pictures(files)):
        uri = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))


def on_page_markdown(markdown, page, **_):
    """Links names of the package, and turns links out of docs/ into plain text."""
    if page.file.generated_by:
        return markdown
    folder = pathlib.Path(page.file.abs_src_path).parent
    parts = _FENCED.split(markdown)
    for part in parts[::2]:
        if unknown := public_names.unknown(part):
            raise PluginError(f"No public names: {', '.join(unknown)}.")
    parts[::2] = [
        _LINK.sub(lambda link: _inside(link, folder), public_names.linked(part))
        for part in parts[::2]
    ]
    return "".join(parts)


def on_post_build(config):
    """Fails for a name without a description, and for what the network would give."""
    missing = public_names.undocumented()
    if missing:
        raise PluginError(f"Public names without a docstring: {', '.join(missing)}.")
    site = pathlib.Path(config.site_dir)
    shown = "".join(p.read_text() for p in (site / "reference").glob("*.html"))
    found = {*re.findall(r'id="([^"]+)"', shown)}
    lost = [name for name, a in public_names.anchors().items() if a not in found]
    if lost:
        raise PluginError(f"Public names that the reference lacks: {', '.join(lost)}.")
    for path in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//[^"]*"'
            r'|<link[^>]+rel="(?:stylesheet|preconnect|preload)"[^>]+href="https?:[^"]*"',
            path.read_text(),
        )
        if loaded:
            raise PluginError(f"{path.name} fetches {loaded[0]} from elsewhere.")


def _pictures(files):
    """Pictures outside of docs/ that pages show."""
    for file in files.documentation_pages():
        if file.generated_by:
            continue
        source = pathlib.Path(file.abs_src_path)
        for is_picture, _, target, _ in _LINK.findall(source.read_text()):
            path = (source.parent / target).resolve()
            if is_picture and DOCS not in path.parents and path.is_file():
                yield path


def _inside(link, folder):
    """A link whose target the site has, or only its text."""
    is_picture, text, target, _ = link.groups()
    if re.match(r"[a-z]+:", target):
        return link[0]
    path = (folder / target).resolve()
    if DOCS in path.parents:
        return link[0]
    if not path.exists():
        raise PluginError(f"{link[0]}: there is no {path}.")
    if not is_picture:
        return text
    up = "../" * len(folder.relative_to(DOCS).parts)
    return f"![{text}]({up}{path.relative_to(ROOT).as_posix()})"
