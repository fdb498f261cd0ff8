"""The page of all speed results: docs/performance.md, out of the result files and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from clip_unlearn.bench.plots import seconds_by_number
from clip_unlearn.bench.speed.curves import CURVES
from clip_unlearn.bench.speed.machine import in_words
from clip_unlearn.bench.speed.phases import PHASES
from clip_unlearn.bench.speed.shapes import SHAPES
from clip_unlearn.bench.speed.targets import TRUSTED, bounds_of, missed, over_bare, short
from clip_unlearn.bench.store import Rows, read_document
from clip_unlearn.errors import InputError
from clip_unlearn.pipeline.request import slug
from clip_unlearn.runs import write_bytes

SPEED, PERFORMANCE = "speed", "performance.md"
_NONE = "-"
_INTRODUCTION = """# Performance

Made from the result files under `{results}` by `clip-unlearn bench report`; do not edit. They are
measured with `clip-unlearn bench speed`.

- The *reference* is the published algorithm (arXiv 2407.07485) written plainly: one image at a time
  with a second pass for the check, perturbations one after another, a copy of the state at each
  step, all class prompts encoded again after it, one call each.
- All sides run in one process, in turns, after a warm-up. *Ratio*: median seconds of the reference
  over those of ours; in brackets the smallest and the largest of the repeats.
- *Over bare passes*: seconds over those of the forward and backward passes alone which the work
  needs: the same shapes and counts, gradients of the tensors that move and of no others, through
  the quickest encoder there is where weights stand still; in float32 where the published check
  and the published loss are computed. No picture and no prompt is encoded twice, but in the
  published check after each step, which is a pass of its own. 1 is the limit. A figure below
  {trusted} is marked `?`: its bare passes were not the least there are, and it is not to be
  trusted. *Limit*: the ratio of the bare passes alone; no ratio can be above it but by needing
  fewer of them, or by chance. The quicker a processor's passes are, as with bfloat16, the more
  weighs what is beside them.
- *result*: 10 % or less of the class's real test pictures, of which the embedded benchmark has a
  few a class, are still recognised, with 97 % or more of the accuracy on the rest of its group
  kept. The reference is given more than its own rules give it: steps that gain nothing, which the
  published algorithm undoes, are kept, and it goes on where that gives up, until the number of
  steps below. *job*: from the loaded model and the name of the class to the edit; loading,
  measuring and saving, which all sides share, are left out, and so is, at 224 px, the making of
  pictures of classes to keep, once for a model, for which noise stands.
- *Memory*: largest resident size above that after imports, each side run briefly in a process of
  its own, over that of the bare passes; the median of three, but where *once* stands: how an
  allocator cuts up what it has makes single ones differ by up to half.
- By classes in the task: `gate` looks at all names that it has pictures to keep of, 1,026 for the
  embedded models, at any smaller number.
- `lipschitz` is the published method, `lipschitz:paper` with the published check of each image,
  `gate` the default method. *To reach*: figures that were set before; **bold** where missed.
"""
_TITLES = (
    *("phase, for", "method", "ratio", "to reach", "limit", "over bare", "to reach"),
    *("memory", "to reach", "s", "s, reference", "note"),
)
_CURVE_TITLES = ("number", "phase", "method", "s", "over the first", "to reach", "over bare")


def write_performance(results: Path, output: Path, images: Path) -> None:
    """Write the page and its plots; the same files give the same bytes.

    Args:
        results: folder of the result files.
        output: the Markdown file.
        images: a folder for the plots.

    Raises:
        InputError: if there are no results, or a file is damaged.
    """
    documents = [read_document(path) for path in sorted(results.glob("*.json"))]
    if not documents:
        raise InputError(f"There are no results in {results}. Run: clip-unlearn bench speed")
    introduction = _INTRODUCTION.format(results=results.as_posix(), trusted=TRUSTED)
    machines = list(dict.fromkeys(in_words(one["machine"]) for one in documents))
    parts = [introduction, _listed(machines)]
    phases = [one for one in documents if "phase" in one]
    for shape, own in _by_shape(phases):
        ordered = sorted(own, key=lambda one: _place(one["phase"], PHASES))
        parts.append(f"## {shape}\n")
        parts += _done(ordered)
        if len(machines) > 1:
            parts.append(_where(ordered, machines))
        parts.append(_table(_TITLES, [_cells(row) for one in ordered for row in one["rows"]]))
    curves = [one for one in documents if "curve" in one]
    for document in sorted(curves, key=lambda one: _place(one["curve"], CURVES)):
        name = f"{slug(document['curve'])}-{slug(document['shape'])}.png"
        curve = CURVES[document["curve"]]
        write_bytes(images / name, seconds_by_number(lines_of(document["rows"]), curve.label))
        place = Path(os.path.relpath(images / name, output.parent)).as_posix()
        parts.append(f"## {document['shape']}, by {curve.label}\n")
        parts.append(f"At the last value: {_amounts(document)}\n")
        if len(machines) > 1:
            parts.append(f"On machine {_machine(document, machines)}.\n")
        parts.append(_table(_CURVE_TITLES, [_curve_cells(row) for row in document["rows"]]))
        parts.append(f"![seconds by {curve.label}, {document['shape']}]({place})\n")
    parts.append(_summary([row for one in documents for row in one["rows"]]))
    write_bytes(output, "\n".join(parts).encode())


def lines_of(rows: Rows) -> dict[str, list[tuple[int, float]]]:
    """Seconds of a whole run by the number that grows: ours, bare passes, and the reference.

    Args:
        rows: of one curve. What the reference takes is reckoned for as much work as ours does.
    """
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        name, value = f"{row['phase']}, {row['method']}", row["value"]
        lines.setdefault(name, []).append((value, row["whole_seconds"]))
        bare = row["bare_seconds"] * row["amount"]
        lines.setdefault(f"{name}: bare passes", []).append((value, bare))
        if row["method"] == "lipschitz":
            reference = row["reference_seconds"] * row["amount"]
            lines.setdefault(f"{row['phase']}, reference", []).append((value, reference))
    return lines


def _listed(machines: Sequence[str]) -> str:
    """What was measured on, numbered where it is several machines."""
    if len(machines) == 1:
        return f"Measured on: {machines[0]}.\n"
    return "".join(f"{number}. {words}.\n" for number, words in enumerate(machines, 1))


def _where(documents: Sequence[Mapping[str, Any]], machines: Sequence[str]) -> str:
    """Which of the machines each phase was measured on: rows of two can't be compared."""
    found: dict[int, list[str]] = {}
    for one in documents:
        found.setdefault(_machine(one, machines), []).append(one["phase"])
    return "".join(f"On machine {n}: {', '.join(phases)}.\n" for n, phases in found.items())


def _done(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the phases of a shape were asked to do, those of the same amounts together."""
    found: dict[str, list[str]] = {}
    for one in documents:
        found.setdefault(_amounts(one), []).append(one["phase"])
    if len(found) == 1:
        return [f"What is done: {amounts}\n" for amounts in found]
    return [f"What is done, {', '.join(phases)}: {amounts}\n" for amounts, phases in found.items()]


def _machine(document: Mapping[str, Any], machines: Sequence[str]) -> int:
    """The number of the machine that a result was measured on."""
    return machines.index(in_words(document["machine"])) + 1


def _by_shape(
    documents: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    ordered = sorted(documents, key=lambda one: (_place(one["shape"], SHAPES), one["shape"]))
    for shape, own in groupby(ordered, lambda one: str(one["shape"])):
        yield shape, list(own)


def _place(name: str, known: Mapping[str, Any]) -> int:
    """Where a name stands in a table of ours; one that is not in it comes last."""
    return list(known).index(name) if name in known else len(known)


def _amounts(document: Mapping[str, Any]) -> str:
    own = document["amounts"]
    weights = "random weights" if own["random_weights"] else f"forgetting {own['forget_class']}"
    unusual = ", ".join(f"{name} {value}" for name, value in own.get("gate", {}).items())
    gate = f"; `gate` with {unusual}" if unusual else ""
    return (
        f"{weights}; {own['classes']} classes in the task, {own['num_images']} images, "
        f"{own['num_perturbations']} perturbations of each; timed over {own['num_iterations']} "
        f"iterations and {own['num_steps']} steps; given up after {own['max_steps']} steps{gate}."
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    ratio = limit = _NONE
    if row["ratio_median"] is not None:
        limit = short(row["ratio_median"] * row["over_bare_passes"])
        least = "" if row["reference_reached"] else "at least "
        spread = f"[{short(row['ratio_low'])}, {short(row['ratio_high'])}]"
        ratio = f"{least}{short(row['ratio_median'])} {spread}"
    unit = row.get("unit")
    return [
        row["phase"] if unit is None else f"{row['phase']}, {unit}",
        row["method"],
        *_against(row, "ratio_median", ratio),
        limit,
        *_against(row, "over_bare_passes", over_bare(row)),
        *_against(row, "peak_memory_ratio", _memory(row)),
        *(short(row.get(key)) for key in ("seconds", "reference_seconds")),
        row["note"],
    ]


def _memory(row: Mapping[str, Any]) -> str:
    ratio = row["peak_memory_ratio"]
    once = ratio is not None and row.get("memory_runs", 1) == 1
    return f"{short(ratio)} (once)" if once else short(ratio)


def _curve_cells(row: Mapping[str, Any]) -> list[str]:
    cells = [str(row["value"]), row["phase"], row["method"], short(row["whole_seconds"])]
    cells += _against(row, "over_first", short(row["over_first"]))
    return [*cells, over_bare(row)]


def _against(row: Mapping[str, Any], figure: str, text: str) -> list[str]:
    """A figure, bold where it misses its bound, and the bound."""
    target = bounds_of(row).get(figure)
    if target is None:
        return [text, ""]
    return [f"**{text}**" if target.met(row) is False else text, target.words]


def _summary(rows: Rows) -> str:
    lines = [
        f"- {row['shape']}, {row.get('curve') or row['phase']}, {row['method']}: "
        f"{target.figure} {short(row[target.figure])}, to reach {target.words}"
        for row, target in missed(rows)
    ]
    return "\n".join(["## Figures that are missed\n", *(lines or ["None."]), ""])


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
