"""The picture of the architecture from the imports: `python docs/_architecture.py` writes `pictures/architecture.svg`."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "hydromae"
PICTURE = Path(__file__).parent / "pictures" / "architecture.svg"
SHARED = {"errors", "progress", "variables", "grid", "footprints"}
"""Modules that import nothing but each other, drawn as one box."""
ALIASES = {"data", "presets"}
"""Names of earlier versions, left out."""
BOX, GAP, FLOOR = (112, 34), 24, 74


def imports() -> dict[str, set[str]]:
    """What each package or single module of `hydromae` imports of the others."""
    found: dict[str, set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        package = "shared" if parts[0] in SHARED else parts[0]
        if package in ALIASES or package.startswith("__"):
            continue
        targets = found.setdefault(package, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hydromae":
                names = [*(node.module or "").split(".")[1:], *(alias.name for alias in node.names)]
                target = "shared" if names[0] in SHARED else names[0]
                if target == "shared" or (target not in ALIASES and _exists(target)):
                    targets.add(target)
    return {package: targets - {package} for package, targets in found.items()}


def _exists(name: str) -> bool:
    return (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").is_file()


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each package: one below the lowest package that imports it; 0 is the ground.

    Raises:
        ValueError: Packages import in a circle.
    """
    importers = {name: {other for other, targets in graph.items() if name in targets} for name in graph}
    depth: dict[str, int] = {}
    while len(depth) < len(graph):
        ready = [name for name in graph if name not in depth and importers[name] <= depth.keys()]
        if not ready:
            raise ValueError(f"a circle of imports among {sorted(graph.keys() - depth.keys())}")
        depth |= {name: max((depth[other] + 1 for other in importers[name]), default=0) for name in ready}
    return {name: max(depth.values()) - value for name, value in depth.items()}


def direct(graph: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The imports without those that follow from others (transitive reduction)."""

    def reach(name: str) -> set[str]:
        return graph[name].union(*(reach(target) for target in graph[name])) if graph[name] else set()

    return [
        (name, target)
        for name in sorted(graph)
        for target in sorted(graph[name])
        if not any(target in reach(other) for other in graph[name] - {target})
    ]


def draw(graph: Mapping[str, set[str]]) -> str:
    """An SVG: a row for each floor, the highest at the top, and an arrow from each package to those that it imports."""
    level = floors(graph)
    rows = [sorted(name for name in graph if level[name] == floor) for floor in range(max(level.values()) + 1)]
    width = max(len(row) for row in rows) * (BOX[0] + GAP) + GAP
    height = len(rows) * FLOOR + GAP
    place = {
        name: (
            width / 2 + (index - (len(row) - 1) / 2) * (BOX[0] + GAP),
            height - GAP - BOX[1] / 2 - floor * FLOOR,
        )
        for floor, row in enumerate(rows)
        for index, name in enumerate(row)
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13" role="img" aria-label="Packages of hydromae and their imports">',
        "<title>Packages of hydromae and their imports</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#5b6b78"/></marker></defs>',
    ]
    for name, target in direct(graph):
        (x, y), (u, v) = place[name], place[target]
        style = "" if level[name] - level[target] == 1 else 'stroke-dasharray="3 4" opacity="0.6" '
        lines.append(
            f'<path d="M{x:.0f} {y + BOX[1] / 2:.0f}C{x:.0f} {y + BOX[1]:.0f} {u:.0f} {v - BOX[1]:.0f} '
            f'{u:.0f} {v - BOX[1] / 2:.0f}" fill="none" stroke="#5b6b78" {style}marker-end="url(#head)"/>'
        )
    for name, (x, y) in place.items():
        lines.append(
            f'<rect x="{x - BOX[0] / 2:.0f}" y="{y - BOX[1] / 2:.0f}" width="{BOX[0]}" height="{BOX[1]}" rx="6" '
            f'fill="#e8f1f7" stroke="#1f6f9f"/><text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{name}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(imports()), encoding="utf-8")
