"""The documentation builds as a site without a warning, offline, and fetches nothing from elsewhere when it is read."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import edgeprune

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = [
    *(f"edgeprune.{name}" for name in edgeprune.__all__),
    "edgeprune.results.result.Result",
    "edgeprune.graph.cost.Cost",
]


class Page(HTMLParser):
    """What a page loads, what it links to, and the anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag in ("script", "img", "iframe", "source", "video", "audio") and "src" in values:
            self.loads.append(values["src"])
        elif tag == "link" and values.get("rel") not in ("canonical",):
            self.loads.append(values.get("href", ""))
        elif tag == "a" and "href" in values:
            self.links.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for package in ("mkdocs", "mkdocstrings", "mkdocstrings_handlers"):
        if find_spec(package) is None:
            pytest.skip("needs mkdocs and mkdocstrings-python (pip install 'edgeprune[docs]')")
    out = tmp_path_factory.mktemp("site") / "site"
    nowhere = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


@pytest.mark.slow  # starts a browser
def test_the_first_page_fits_the_screen(photograph, served, site):
    with served(site) as address:
        photograph(f"{address}/index.html", "site", ["light"])  # the theme has no dark colours


def test_every_document_is_a_page_that_the_navigation_has(site, pages):
    documents = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    start = {link.split("#")[0] for link in pages[site / "index.html"].links}
    for document in documents:
        assert (site / document).is_file()
        assert document.as_posix() in start or document == Path("index.html")


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        for target in page.loads:
            parts = urlsplit(target)
            if parts.scheme == "data":
                continue
            assert not parts.scheme, f"{path.name} loads {target}"
            assert not parts.netloc, f"{path.name} loads {target}"
            where = site / parts.path.lstrip("/") if parts.path.startswith("/") else path.parent / parts.path
            assert where.is_file(), f"{path.name} loads {target}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_links_inside_the_site_lead_somewhere(site, pages):
    for path, page in pages.items():
        if path.name == "404.html":  # its links start at the root of a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            target = (path.parent / parts.path).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target in pages or (target.suffix == ".ipynb" and target.is_file()), f"{path.name} links to {link}"
            if parts.fragment:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path.name} links to {link}"


def test_links_of_the_readme_lead_somewhere(site, pages):
    """To files of the repository; an anchor is one of the page that the file becomes."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r'\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"', text)
    local = [link for pair in links for link in pair if link and "//" not in link]
    assert len(local) > 10
    for link in local:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).is_file(), f"README.md links to {link}"
        if anchor:
            page = site / Path(path).relative_to("docs").with_suffix(".html")
            assert anchor in pages[page].anchors, f"README.md links to {link}"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_are_described(name, pages):
    assert any(name in page.anchors for page in pages.values())


def test_links_of_the_documents_work_where_there_is_no_site():
    """On a code host a link goes to a file: inside docs, since the site has nothing else."""
    for path in (ROOT / "docs").rglob("*.md"):
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            target = link.split("#")[0]
            if target and "//" not in target:
                found = (path.parent / target).resolve()
                assert found.is_file(), f"{path.name} links to {link}"
                assert found.is_relative_to(ROOT / "docs"), f"{path.name} links to {link}"


def test_the_tasks_without_make_are_those_of_the_makefile() -> None:
    """What `docs/install.md` tells to type is what make does."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)/", "")
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| [^|]+ \| `make ([a-z-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert set(rows) == {"demo", "lint", "types", "test", "test-fast", "docs"}
    for task, commands in rows.items():
        (done,) = re.findall(rf"^{task}:[^\n]*\n((?:\t[^\n]*\n)+)", makefile, re.MULTILINE)
        for command in re.findall("`([^`]+)`", commands):
            assert command.replace('"', "'") in done
    typed = re.findall(r"^    (python -m pip install .+)$", page, re.MULTILINE)
    assert len(typed) == 2
    assert all(line.replace("install", "install --quiet", 1) in makefile for line in typed)
