"""A suggested schema as YAML with comments."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from foundation.errors import RunError
from foundation.expression import Expression
from foundation.inspect.collections import identifier
from foundation.inspect.propose import Proposal
from foundation.inspect.suggest import Draft, Suggestion, columns_of
from foundation.inspect.targets import Target, observers, split_key, targets
from foundation.io.files import is_url

WIDTH = 116


def schema_text(suggestion: Suggestion) -> str:
    """The YAML. Comments say what is a guess, and what was left out."""
    summary = suggestion.summary
    stem = identifier(summary.path.rsplit("/", 1)[-1].partition(".")[0].lower())
    lines = _comment(
        f"A starting point, guessed by `detfm inspect` from the first {summary.read:,} of {summary.rows:,} rows of "
        f"{summary.path}. Column names and layouts come from the file; all else is a guess, to be checked by someone "
        "who knows the data: coordinates, units, transforms, hardware types, padding, labels, the key of the split. "
        "`by its values`: the file gives no name. `a length`: in cm in CMS files; then write `10 * ...`, `unit: mm`."
    )
    lines += [f"#   detfm ingest {summary.path} --schema THIS_FILE --out stores/{stem}"]
    lines += [f"name: {stem}", *([f"tree: {json.dumps(summary.tree)}"] if summary.tree else [])]
    lines += [f"comment: {json.dumps('suggested by detfm inspect; describe the data here')}"]
    labels = targets(summary.told)
    lines += _layout(suggestion, labels)
    lines += ["modalities:"]
    for draft in suggestion.modalities:
        lines += _modality(draft)
    lines += _unused(suggestion.unused)
    if suggestion.globals:
        lines += ["globals:", *_features(suggestion.globals, "  ")]
    lines += _labels(labels)
    found = observers(summary.told)
    lines += ["observers:", *(f"  {n}: {json.dumps(e)}" for n, e in found.items())] if found else []
    return "\n".join([*lines, *_split(split_key(summary.told))]) + "\n"


def save_schema(text: str, out: Path) -> None:
    """Writes a new file.

    Raises:
        RunError: `out` is there.
    """
    if is_url(str(out)) or out.exists():
        raise RunError(f"{out} is there already; `--suggest-schema` writes new files only: choose another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("x") as file:
        file.write(text)


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _layout(suggestion: Suggestion, labels: dict[str, Target]) -> list[str]:
    texts = [*columns_of(suggestion), *(str(t.expression) for t in labels.values())]
    used = {name for text in texts if text for name in Expression(text).names}
    chosen = {c: entry for c, entry in suggestion.summary.layout.items() if c in used or c == "*"}
    if not chosen:
        return []
    by = {c: f", by: {json.dumps(entry.by)}" if entry.by else "" for c, entry in chosen.items()}
    return ["layout:", *(f"  {json.dumps(c)}: {{kind: {entry.kind}{by[c]}}}" for c, entry in chosen.items())]


def _modality(draft: Draft) -> list[str]:
    lines = [f"  {draft.name}:", *(line for why in draft.why for line in _comment(why, "    "))]
    lines += [f"    max_tokens: {draft.max_tokens}"]
    lines += [f"    select: {json.dumps(draft.select)}"] if draft.select else []
    lines += [f"    order: {json.dumps(draft.order)}"] if draft.order else []
    if draft.coordinates:
        lines += [f"    coordinates: {{{', '.join(f'{c}: {f}' for c, f in draft.coordinates.items())}}}"]
    lines += ["    features:", *_features(draft.features, "      ")]
    return lines + (_comment(f"not taken: {', '.join(draft.left)}", "      ") if draft.left else [])


def _features(features: dict[str, Proposal], indent: str) -> list[str]:
    return [line for name, proposal in features.items() for line in _feature(name, proposal, indent)]


def _feature(name: str, proposal: Proposal, indent: str) -> list[str]:
    parts = [f"expression: {json.dumps(proposal.expression)}"]
    parts += [f"unit: {proposal.unit}"] if proposal.unit else []
    parts += [f"transform: {proposal.transform}"] if proposal.transform != "identity" else []
    parts += [] if proposal.standardize else ["standardize: false"]
    parts += [f"range: [{proposal.range[0]:g}, {proposal.range[1]:g}]"] if proposal.range else []
    if proposal.hardware is not None:
        h = proposal.hardware
        parts += [f"hardware: {{lsb: {h.lsb!r}, bits: {h.bits}, signed: {str(h.signed).lower()}}}"]
    comment = f"  # {'; '.join(proposal.why)}" if proposal.why else ""
    return [f"{indent}{name}: {{{', '.join(parts)}}}{comment}"]


def _unused(unused: dict[str, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, why in unused.items():
        by_reason.setdefault(why, []).append(name)
    return [
        line for why, names in by_reason.items() for line in _comment(f"no modality ({why}): {', '.join(names)}", "  ")
    ]


def _labels(labels: dict[str, Target]) -> list[str]:
    lines = ["labels:"] if labels else []
    for name, target in labels.items():
        lines += _comment(target.why, "  ") if target.why else []
        lines += [f"  {name}:", f"    kind: {target.kind}"]
        lines += [f"    expression: {json.dumps(target.expression)}"] if target.expression else []
        if target.classes:
            lines += ["    classes:", *(f"      {json.dumps(c)}: {json.dumps(v)}" for c, v in target.classes.items())]
    return lines


def _split(key: list[str]) -> list[str]:
    if not key:
        return ["# No event number was found: rows are split by their content."]
    shown = json.dumps(key[0]) if len(key) == 1 else json.dumps(key)
    return ["split:", f"  key: {shown}  # rows of one event stay together"]
