"""The pages of docs/ and the README: what they link to, name and quote is there. Their commands run
in tests/test_readme.py."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
import yaml

from caviar.cli import app
from conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def hook(name: str) -> ModuleType:
    """A file of docs/hooks/, as MkDocs imports it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/hooks/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


settings, links, signatures = map(hook, ("settings", "links", "signatures"))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What its headings are called in links, on GitHub and in the site alike."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


# -- pages and links


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 200


def test_every_page_is_in_the_navigation_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = re.findall(r": ([\w-]+\.md)$", text[text.index("\nnav:") :], re.MULTILINE)
    assert sorted(nav) == sorted(page.name for page in PAGES[1:])


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
        path, _, place = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        if place:
            assert place in anchors(there), target


@each_page
def test_lists_and_tables_stand_by_themselves(page: Path) -> None:
    """GitHub shows one behind a line of text as well, MkDocs does not."""
    lines = prose(page).splitlines()
    for before, line in pairwise(lines):
        for kind in (r"[-*] |\d+\. ", r"\|"):
            if re.match(kind, line) and before.strip():
                assert re.match(rf"{kind}|  ", before), line


def test_links_out_of_the_pages_lead_to_the_repository() -> None:
    text = "![a](docs/images/a.png) [b](docs/space.md#c) [d](CHANGELOG.md) [e](https://e.org)"
    as_page = links.as_page
    assert as_page(text, "", None) == "![a](images/a.png) [b](space.md#c) d [e](https://e.org)"
    there = as_page("[a](../conf/train.yaml) [b](b.md) [c](#c)", "docs", "https://h.org/caviar/")
    assert there == "[a](https://h.org/caviar/blob/main/conf/train.yaml) [b](b.md) [c](#c)"


# -- what pages say of the program


@each_page
def test_every_command_that_is_named_is_one(page: Path) -> None:
    """`caviar VERB --option` and `make TARGET`, in blocks and in sentences."""
    text = page.read_text(encoding="utf-8")
    command: Any = typer.main.get_command(app)
    for words in re.findall(r"(?:^|`)caviar ((?:[a-z]+|--)[^`\n|#]*)", text, re.MULTILINE):
        verb, *rest = words.split()
        if verb in ("--version", "--help", "--install-completion"):
            continue
        found = command.commands.get(verb)
        assert found is not None, words
        if hasattr(found, "commands") and rest:
            found = found.commands.get(rest[0])
            assert found is not None, words
        options = {option for parameter in found.params for option in parameter.opts}
        for option in re.findall(r"(?<!\S)--[a-z-]+", words):
            assert option in {*options, "--help"}, words
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    for script in re.findall(r"(?:^|`)python ((?:benchmarks|docs)/\S+\.py)", text, re.MULTILINE):
        assert (ROOT / script).is_file(), script


def test_every_command_has_its_line() -> None:
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    command: Any = typer.main.get_command(app)
    verbs = {name for name, found in command.commands.items() if not hasattr(found, "commands")}
    verbs |= {f"panda {name}" for name in command.commands["panda"].commands}
    assert set(re.findall(r"^\| `caviar ([a-z ]+)` \|", text, re.MULTILINE)) == verbs
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) == targets


def test_the_messages_of_the_faq_are_the_programs() -> None:
    """Whatever it quotes as what one sees is in the source, or is the shell's."""
    written = re.sub(r'"\s*\n\s*f?"', "", SOURCE + (ROOT / "Makefile").read_text("utf-8"))
    faq = (ROOT / "docs/faq.md").read_text(encoding="utf-8")
    entries = re.findall(r"^\*\*(.+?)\*\*", faq, re.MULTILINE)
    assert len(entries) >= 30
    for seen in re.findall(r"`([^`]+)`", " ".join(entries)):
        if seen in ("caviar: command not found", "a=1,2", "optimizer.momentum", "caviar refine"):
            continue
        for part in re.split(r"…|\b[NM]\b|NAME", seen):
            assert part.strip(" ,") in written, seen


def test_the_glossary_has_the_words_in_order() -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", text, re.MULTILINE)
    named = "axis caviar confirm ledger one_minus panda refine rung scale space stage study tier"
    assert {*named.split(), "σ", "trial", "verdict", "winner"} <= set(words)
    latin = [word.replace("σ", "sigma").replace(".", "").lower() for word in words]
    assert latin == sorted(latin)


# -- the reference of the configuration


def keys_of(tree: Any, prefix: str) -> set[str]:
    """Every key of a mapping and of those inside of it."""
    found: set[str] = set()
    for key, value in tree.items() if isinstance(tree, dict) else ():
        name = key if key == "defaults" else f"{prefix}{key}"
        found |= {name, *keys_of(value, f"{name}.")}
    return found


@pytest.mark.parametrize("folder", settings.FOLDERS)
def test_the_reference_has_every_key_and_every_comment(folder: str) -> None:
    for file in settings.read(folder):
        text = (ROOT / file.path).read_text(encoding="utf-8")
        shown = {setting.key for setting in file.settings}
        group = file.path.removeprefix(f"{folder}/").split("/")[:-1]
        everywhere = not group or "# @package _global_" in text
        assert keys_of(yaml.safe_load(text), "" if everywhere else f"{'.'.join(group)}.") == shown
        told = "\n".join([file.about, *(setting.comment for setting in file.settings)])
        for comment in re.findall(r"(?:^|\s)# (?!@package)(.+)$", text, re.MULTILINE):
            assert comment.strip() in told, f"{file.path}: {comment}"


def test_the_reference_shows_a_key_as_a_command_line_names_it() -> None:
    page = settings.on_page_markdown(f"# Title\n\n{settings.MARKER}\n")
    assert settings.MARKER not in page
    assert "| `model.width` | `64` | units in each hidden layer |" in page
    assert "| `search.stages.coarse.rungs` | `[0.33]` |  |" in page
    assert "| `metric` |  | what is best: checkpoint" in page
    assert settings.MARKER in (ROOT / "docs/conf.md").read_text(encoding="utf-8")


def test_the_public_names_are_looked_up() -> None:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    page = signatures.on_page_markdown(text)
    names = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert len(names) == sum(len(found.split()) for found in signatures.NAMES.findall(text)) > 12
    for name in names:
        module, _, attribute = name.rpartition(".")
        listed = ROOT / "src" / module.replace(".", "/") / "__init__.py"  # without importing torch
        assert f'"{attribute}"' in listed.read_text(encoding="utf-8"), name


@pytest.mark.slow
@pytest.mark.nightly
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="make docs installs it")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "conf.html").read_text(encoding="utf-8")
    assert "search.confirm.budget" in page
    assert "caviar.space.Space" in (tmp_path / "api.html").read_text(encoding="utf-8")
    for built in tmp_path.glob("*.html"):
        text = built.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', text), built.name
