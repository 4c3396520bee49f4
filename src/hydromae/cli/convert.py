"""The command convert-config: convert a configuration in the style of the reference specification."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.cli.fields import Fields, containers, imports, parse
from hydromae.cli.literals import FACTORIES
from hydromae.cli.reference import KNOWN, convert_field, counterpart_note, flatten_fields
from hydromae.config import Config
from hydromae.config.presets import SEED
from hydromae.errors import InputError
from hydromae.io.atomic import write_text_atomic
from hydromae.io.outputs import Output, new_output

CONFIG_CLASS = "MAEConfig"
MIN_FIELDS = 3
"""Minimum number of known names in a class or dictionary of any name that is such a configuration."""


@dataclass(frozen=True)
class ConvertConfig:
    """Convert a configuration in the style of the reference specification: a class, instance or dictionary with its field
    names (mask_ratio, learning_rate, task_weights with precip_loss ...). The file is read, not run."""

    original: Annotated[Positional[Path], arg(metavar="ORIGINAL.py")]
    """The configuration to convert, such as the original mae_config.py. Missing fields keep the specified value."""
    out: Annotated[Path, arg(metavar="CONFIG.py")]
    """The new configuration, for train_mae.py and pretrain --config; it must not exist yet."""
    store: str = "data/national.zarr"
    """Store of the new configuration, as written by hydromae prepare."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        if self.out.suffix != ".py":
            raise InputError(f"{self.out}: name a .py file")
        return {"out": new_output(self.out)}

    def run(self, echo: Echo) -> Result:
        """Read, convert, check, write."""
        names, changed, elsewhere = conversion(self.original)
        config, output = build_config(self.original, names, changed)
        write_text_atomic(self.out, text_of(self.original, config, self.store, output, elsewhere), "name another file")
        table = Table(f"in {self.original.name}", "here", box=None, pad_edge=False)
        for name, targets in names.items():
            table.add_row(name, ", ".join(target.partition("/")[0] for target in targets) or "the same here")
        for name, place in elsewhere.items():
            table.add_row(name, f"not a field: {place}")
        echo(table)
        echo(f"{self.out}: written; train_mae.py --config {self.out}")
        return {"path": str(self.out), "fields": names, "no_field": elsewhere}


def is_original(file: Path) -> bool:
    """Return whether a Python file has a configuration in the style of the reference specification and none of hydromae."""
    try:
        tree = parse(file)
    except InputError:
        return False
    if any(module.split(".")[0] == "hydromae" for module in imports(tree).values()):
        return False
    return any(known >= (1 if "config" in named.lower() else MIN_FIELDS) for named, known in _named_fields(tree))


def _named_fields(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield for each class, dictionary and call: its name with its bases, and the number of known names that it sets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            assignments = [one for one in ast.walk(node) if isinstance(one, ast.Assign | ast.AnnAssign)]
            targets = [t for one in assignments for t in (one.targets if isinstance(one, ast.Assign) else [one.target])]
            names = {t.attr if isinstance(t, ast.Attribute) else ast.unparse(t) for t in targets}
            yield " ".join([node.name, *map(ast.unparse, node.bases)]), _known(names)
        elif isinstance(node, ast.Dict):
            yield "", _known({str(key.value) for key in node.keys if isinstance(key, ast.Constant)})
        elif isinstance(node, ast.Call) and (called := ast.unparse(node.func)).endswith((*FACTORIES, "Config")):
            yield called, _known({str(word.arg) for word in node.keywords})


def _known(names: set[str]) -> int:
    return len({name.lower() for name in names} & KNOWN)


def conversion(file: Path) -> tuple[dict[str, list[str]], dict[str, Any], dict[str, str]]:
    """Return fields of hydromae by original name, values by field of hydromae, and notes on names without a counterpart.

    Raises:
        InputError: A field is unknown, has a value without a counterpart, or contradicts another one.
    """
    names, changed, elsewhere, setter = dict[str, list[str]](), Fields(), dict[str, str](), dict[str, str]()
    for name, value in _read_fields(file).items():
        place = counterpart_note(name, value)
        if place is not None:
            elsewhere[name] = place
            continue
        if name not in KNOWN:
            raise InputError(f"{file}: {name} is not a field of the reference specification; remove it")
        try:
            targets = convert_field(name, value)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
        names[name] = list(targets)
        for target, field_value in targets.items():
            if changed.get(target) is not None and field_value is not None and changed[target] != field_value:
                raise InputError(f"{file}: {setter[target]} and {name} differ in what they set ({target}); keep one")
            if changed.get(target) is None:
                changed[target], setter[target] = field_value, name
    for target in changed:
        if "/" in target and target[:-2] in changed:
            raise InputError(f"{file}: {setter[target[:-2]]} and {setter[target]} set the same; keep one")
    return names, changed, elsewhere


def _read_fields(file: Path) -> Fields:
    """Return the fields of the one configuration in a file."""
    try:
        containers_found = {name: flatten_fields(fields) for name, fields in containers(file).items()}
    except RecursionError:
        raise InputError(f"{file}: is nested too deeply; put all fields into one class") from None
    known = {name: fields for name, fields in containers_found.items() if set(fields) & KNOWN}
    if CONFIG_CLASS in containers_found:
        known = {CONFIG_CLASS: containers_found[CONFIG_CLASS]}
    if len(known) != 1:
        problem = (
            f"several ({', '.join(known)}); keep one"
            if known
            else f"none; give a class {CONFIG_CLASS} with its field names"
        )
        raise InputError(f"{file}: of configurations in the reference specification's style there are {problem}")
    return next(iter(known.values()))


def build_config(file: Path, names: dict[str, list[str]], changed: Fields) -> tuple[Config, str]:
    """Return the validated configuration and the folder of the run."""
    values: dict[str, Any] = {
        target: field_value
        for target, field_value in changed.items()
        if field_value is not None or target.endswith("use_fm_layers")
    }
    if "train.precision" in changed and "train.precision" not in values:
        disabled = {name for name, targets in names.items() if "train.precision" in targets}
        values |= {"train.precision": "fp32"} if any("fp16" in name for name in disabled) else {}
    output = values.pop("output", "output/multimodal_mae")
    if not isinstance(output, str):
        raise InputError(f"{file}: the folder of the output is not text; give a path")
    if "train.task_weights" in values:
        values["train.task_weights"] = list({**dict(SEED.train.task_weights), **values["train.task_weights"]}.items())
    try:
        return _config(values), output
    except InputError as error:
        for name, targets in names.items():  # name the original field if one field alone is wrong
            one = {target: values[target] for target in targets if target in values}
            try:
                _config(one)
            except InputError as fault:
                raise InputError(f"{file}: {name}: {fault}") from None
        raise InputError(f"{file}: {error}") from None


def _config(values: Fields) -> Config:
    """Return the configuration of the reference specification with some fields replaced."""
    sections: dict[str, dict[str, Any]] = {}
    for target, value in values.items():
        section, _, name = target.partition("/")[0].partition(".")
        fields = sections.setdefault(section, {})
        if "/" in target:  # one of a pair
            values_pair = list(fields.get(name, getattr(getattr(SEED, section), name)))
            values_pair[int(target[-1])] = value
            value = tuple(values_pair)
        fields[name] = value
    whole = dataclasses.asdict(SEED)
    for section, fields in sections.items():
        whole[section] |= fields
    return Config.from_json(_json(whole), "config")


def _json(whole: Fields) -> str:
    import json

    try:
        return json.dumps(whole)
    except TypeError as error:
        raise InputError(f"config: a value is neither number nor text ({error}); write it out") from None


def text_of(file: Path, config: Config, store: str, output: str, elsewhere: dict[str, str]) -> str:
    """Return the text of the new file: only the differences from the configuration of the reference specification."""
    lines = [
        '"""Converted by hydromae convert-config; what is not named has the reference specification\'s value."""',
        "",
        f"# from {str(file)!r}",
        *(f"# {name!r} is not a field of hydromae: {place}" for name, place in elsewhere.items()),
        "",
        "from hydromae.config.presets import SEED",
        "",
    ]
    parts = []
    for section in dataclasses.fields(SEED):
        default_values, new_values = (
            dataclasses.asdict(getattr(SEED, section.name)),
            dataclasses.asdict(getattr(config, section.name)),
        )
        fields = {name: value for name, value in new_values.items() if value != default_values[name]}
        parts += [f"    {section.name}={fields!r},"] if fields else []
    lines += ["config = SEED.having(", *parts, ")"] if parts else ["config = SEED"]
    return "\n".join([*lines, f"store = {store!r}", f"output = {output!r}", ""])
