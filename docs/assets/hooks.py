"""Make the site whole by itself: files of the repository that a page links to become pages of the site.

A link out of ``docs/`` works where the repository is browsed; on the site it leads below ``repository/``, to
the same document, or to a page that shows the file.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from command_line import pages as command_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
"""The target of a link of Markdown that names a file, without its section."""

LONG_NAME = re.compile(r"(?<=<code>)[A-Za-z]{40,100}(?=</code>)")
"""A name in code that is wider than a column of a table should be."""

HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Where a long name may be broken."""

SECTION = re.compile(r"^## |^::: ", re.MULTILINE)
"""What begins an entry of a page's table of contents."""

COPIES = "repository/"
"""Where files from outside ``docs/`` are, by their path in the repository."""

BACKGROUND = (COPIES, "decisions/", "explanation/")
"""Pages that a search lists after those which say what to do."""

LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside ``docs/`` that pages link to, and those that these link to."""
    root = Path(config.docs_dir).parent
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    known = set(pages)
    pages.append("README.md")  # on a package index its links lead here (pyproject.toml)
    while pages:
        path = pages.pop()
        for target in linked(path, (root / path).read_text(encoding="utf-8")):
            if target in known or target.startswith("docs/") or not (root / target).is_file():
                continue
            known.add(target)
            files.append(File.generated(config, site_path(target), content=as_page(root, target)))
            if target.endswith(".md"):
                pages.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write what is generated into a page, and let links lead to the pages of the site."""
    del config, files
    if not SECTION.search(markdown):  # the room of an empty table of contents is for wide tables
        page.meta.setdefault("hide", []).append("toc")
    uri = page.file.src_uri
    if uri.startswith(BACKGROUND):
        page.meta.setdefault("search", {"boost": 0.4})
    copied = uri.startswith(COPIES)
    path = uri.removeprefix(COPIES) if copied else f"docs/{uri}"

    def rewritten(match: re.Match[str]) -> str:
        target = normal(path, match[1])
        if not copied and target.startswith("docs/"):
            return match[0]
        return f"]({posixpath.relpath(site_path(target), posixpath.dirname(uri) or '.')}"

    return LINK.sub(rewritten, markdown).replace("<!-- commands -->", command_pages())


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let long names break between their words, so that they widen no table."""
    del page, config, files
    return LONG_NAME.sub(lambda match: HUMP.sub("<wbr>", match[0]), html)


def linked(path: str, text: str) -> Iterator[str]:
    """Yield the paths in the repository that a document links to."""
    return (normal(path, match[1]) for match in LINK.finditer(text))


def normal(path: str, target: str) -> str:
    """Return the path in the repository of what the document at ``path`` calls ``target``."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def site_path(path: str) -> str:
    """Return the source of the page that shows a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return COPIES + (path if path.endswith(".md") else f"{path}.md")


def as_page(root: Path, path: str) -> str:
    """Return a file of the repository as Markdown."""
    text = (root / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    return f"# {path}\n\n````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text.rstrip()}\n````\n"
