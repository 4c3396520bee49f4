"""What the pages hold: blocks of code, commands, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
STARTS = ("hydromae ", "make ", "python ", "torchrun ", "deepspeed ", "OMP_NUM_THREADS=")
"""How a line begins that is a command."""
MADE = ("_build", "gallery")
"""Folders of docs that the build writes."""


def pages() -> list[Path]:
    """README and every page of docs, as paths from the root."""
    found = [file.relative_to(ROOT) for file in DOCS.rglob("*.md") if file.relative_to(DOCS).parts[0] not in MADE]
    return [Path("README.md"), *sorted(found)]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, "" where it says none, and its text."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its commands, without what is said behind `#`."""
        if self.language not in ("", "bash"):
            return []
        lines = [re.sub(r"\s+#\s.*", "", line).strip() for line in self.text.splitlines()]
        return [part.strip() for line in lines if line.startswith(STARTS) for part in line.split("&&")]


def blocks(page: Path) -> list[Block]:
    """Fenced blocks in their order; directives of MyST are none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(language, inside) for language, inside in found]


def prose(page: Path) -> str:
    """The page without fenced blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def spelled_out(page: Path) -> list[str]:
    """Whole commands that stand in a sentence: with options, or of another program than hydromae and make."""
    spans = re.findall(r"`([^`\n]+)`", prose(page))
    whole = [span for span in spans if span.startswith(STARTS) and not re.search(r"[…|<]", span)]
    whole = [span for span in whole if " --" in span or not span.startswith(("hydromae ", "make "))]
    return [span for span in whole if not span.endswith((" --help", " --fill"))]


def commands(page: Path) -> list[str]:
    """All commands of a page, those in blocks first."""
    return [command for block in blocks(page) for command in block.commands] + spelled_out(page)


def links(page: Path) -> list[tuple[str, str]]:
    """Targets inside the project, each with its anchor."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    inside = [link for link in found if not re.match(r"https?:|mailto:", link)]
    return [(link.partition("#")[0], link.partition("#")[2]) for link in inside]


def listed() -> set[str]:
    """Pages that the trees of contents of the index name, from docs and without suffix."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", index, re.DOTALL | re.MULTILINE)
    return {line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")}
