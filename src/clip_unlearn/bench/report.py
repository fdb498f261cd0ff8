"""What result files say, as files for readers: the tables of a run, and the page of all runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from clip_unlearn.bench import damage, plots
from clip_unlearn.bench.audit_tables import audit_tables
from clip_unlearn.bench.pooled_tables import NOTE, over_models, pooled_table
from clip_unlearn.bench.store import Rows, model_slug, read_rows
from clip_unlearn.bench.summary import Summary, answered, label_of_row, stale_entrants, summarise
from clip_unlearn.bench.tables import Table, as_csv, as_json, latex, markdown, tables
from clip_unlearn.errors import InputError
from clip_unlearn.evaluation.intervals import wilson
from clip_unlearn.methods.catalog import methods
from clip_unlearn.runs import write_bytes, write_json

QUALITY, AUDIT, ABLATION, MANY = "quality", "audit", "ablation", "many"
_NOT_REPORTED = "tuning"  # settings were chosen on these classes
_INTRODUCTION = """# Results

Made from the result files under `{results}` by `clip-unlearn bench report`; do not edit.

- *left*: share of the forgotten classes' pictures that is still recognised, in per cent. *robust*
  is the most that zero-shot, the swap (edited images, original text) or prototypes beyond the zero
  line find; the zero line is what prototypes find of classes that no model ever saw, among all
  pictures of them. *prototypes over zero line* is the difference, in points.
- *kept*: accuracy after / before on everything else, in per cent.
- *score*: the published summary score, lower is better; doing nothing is 1 over its terms, 0.2 with
  four groups. *robust score* has what attacks find in its first term, whose parts are means over
  classes before the largest is taken. *tug of war* is 1 for the equal of a model that never saw the
  class.
- In brackets: 95 % intervals, from resamples of classes and of pictures within them, of the scores
  of classes alone; where all pictures agree Wilson's, of the number of classes. Seeds are no extra
  pictures. n counts pictures that were asked about. **Bold**:
  better than every other one, with an interval of the difference that leaves out 0. `retrain` is
  the model that never saw the class: what others are compared with.
- *s* and *MB*: median seconds, of cells that ran alone, and largest memory of synthesis and
  forgetting, of cells that ran on the processor. Of an audit, *s* is what the attacks took, of
  cells that ran alone or not; the first defendant of a class pays for the original's share.
- *within*: whether the mean difference from the oracle is no more than 5 points, or than the mean
  size of another oracle's where that is larger; its interval, over classes, says how surely. Sizes
  are means over classes, signs dropped.
"""
_MANY_NOTE = """In brackets: Wilson's 95 % intervals, n counts test pictures; none for
*left, robust* where it is a difference, that of prototypes and the zero line. *right of all
classes* is the accuracy behind *kept, all classes*, which divides it by that of before.
"""


def write_summary(folder: Path, summaries: Sequence[Summary]) -> None:
    """Write tables and plots of a run beside its cells.

    Args:
        folder: of the run.
        summaries: of all models.
    """
    together = over_models(summaries)
    every = [(together[0].model, pooled_table(together))] if together else []
    for model, own in by_model(summaries):
        every += [(model, table) for table in tables(own)]
        write_plots(folder, model_slug(model), own)
    text = [f"### {model}: {table.title}\n\n{markdown(table)}" for model, table in every]
    tex = [latex(table) for _, table in every]
    write_bytes(folder / "summary.md", "\n".join(text).encode())
    write_bytes(folder / "summary.tex", "\n".join(tex).encode())
    write_bytes(folder / "summary.csv", as_csv(summaries).encode())
    write_json(folder / "summary.json", as_json(summaries))


def write_audit_summary(folder: Path, rows: Rows) -> None:
    """Write the tables of an audit beside its cells."""
    text = []
    for model, own in groupby(sorted(rows, key=_model), _model):
        for table in audit_tables(list(own)):
            text.append(f"### {model}: {table.title}\n\n{markdown(table)}")
    write_bytes(folder / "summary.md", "\n".join(text).encode())


def _model(row: Mapping[str, Any]) -> str:
    return str(row["model"])


def write_plots(folder: Path, prefix: str, summaries: Sequence[Summary]) -> tuple[str, str]:
    """Write both plots of one model; returns their file names."""
    names = f"{prefix}-forget-retain.png", f"{prefix}-scores.png"
    write_bytes(folder / names[0], plots.forget_against_retain(summaries))
    write_bytes(folder / names[1], plots.scores(summaries))
    return names


def by_model(summaries: Sequence[Summary]) -> Iterator[tuple[str, list[Summary]]]:
    """The summaries of each model."""
    for model, own in groupby(summaries, lambda s: s.model):
        yield model, list(own)


def write_report(results: Path, output: Path, images: Path) -> tuple[str, ...]:
    """Write the page of all result files, and its plots; the same files give the same bytes.

    Args:
        results: with a folder for each kind of bench.
        output: the Markdown file.
        images: a folder for its plots.

    Returns:
        What a reader must know, a line each.

    Raises:
        InputError: if there are no results.
    """
    page = _Page(output, images)
    for folder in _folders(results / QUALITY):
        if folder.name != _NOT_REPORTED:
            page.quality(folder)
    for folder in _folders(results / AUDIT):
        if folder.name != _NOT_REPORTED:
            page.audit(folder)
    for folder in _folders(results / ABLATION):
        page.ablation(folder)
    if (results / MANY).is_dir():
        page.many(results / MANY)
    if not page.parts:
        raise InputError(f"There are no results in {results}. Run: clip-unlearn bench quality")
    text = "\n".join([_INTRODUCTION.format(results=results.as_posix()), *page.parts])
    write_bytes(output, text.encode())
    return tuple(page.warnings)


def has_results(results: Path) -> bool:
    """Whether a folder holds anything for the page to tell of."""
    return any((results / kind).is_dir() for kind in (QUALITY, AUDIT, ABLATION, MANY))


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


class _Page:
    """The page as it grows."""

    def __init__(self, output: Path, images: Path) -> None:
        self._output, self._images = output, images
        self.parts: list[str] = []
        self.warnings: list[str] = []

    def quality(self, folder: Path) -> None:
        rows = [row for row in read_rows(folder) if row.get("split", "test") == "test"]
        summaries = self._summaries(folder, rows)
        if together := over_models(summaries):
            self.parts.append(f"## {together[0].model}, {_what(folder)}, test pictures\n")
            self._tables([pooled_table(together)], NOTE)
        for model, own in by_model(summaries):
            self.parts.append(f"## {model}, {_what(folder)}, test pictures\n")
            prefix = f"{folder.name}-{model_slug(model)}"
            first, *others = tables(own)
            self._tables([first])
            for name in write_plots(self._images, prefix, own):
                self._picture(name, f"{model}: {name.removeprefix(prefix)[1:-4]}")
            self._tables(others)
            self._damage(folder, [row for row in rows if row["model"] == model])

    def _damage(self, folder: Path, rows: Rows) -> None:
        """What the default method costs other classes."""
        mine = [row for row in rows if row["method"] == methods.default]
        cells, _ = answered(mine, folder)
        for label, own in groupby(cells, lambda cell: label_of_row(cell.row)):
            self._tables(damage.damage_tables(label, list(own)), damage.NOTE)

    def audit(self, folder: Path) -> None:
        rows = read_rows(folder)
        self.warnings += [f"{folder.name}: {line}" for line in stale_entrants(rows, "audit")]
        for model, own in groupby(rows, _model):
            self.parts.append(f"## Audit of {model}: {_words(folder)}\n")
            self._tables(audit_tables(list(own)))

    def ablation(self, folder: Path) -> None:
        rows = read_rows(folder)
        pictures = _pictures(rows)
        for model, own in by_model(self._summaries(folder, rows)):
            title = f"Ablation of {_words(folder)}, {model}, tuning classes, {pictures}"
            self.parts.append(f"## {title}\n")
            self.parts.append(markdown(tables(own)[0]))
            name = f"ablation-{folder.name}-{model_slug(model)}.png"
            plot = plots.by_variation({one.label: one.figures for one in own})
            write_bytes(self._images / name, plot)
            self._picture(name, f"ablation of {_words(folder)}")

    def many(self, folder: Path) -> None:
        rows = read_rows(folder)
        for model, own in groupby(rows, _model):
            found = list(own)
            self.parts.append(f"## Many classes, {model}\n")
            self.parts += [_MANY_NOTE, many_table(found)]
            name = f"many-{model_slug(model)}.png"
            write_bytes(self._images / name, plots.by_number(many_lines(found)))
            self._picture(name, "figures by number of forgotten classes")

    def _summaries(self, folder: Path, rows: Rows) -> list[Summary]:
        summaries, warnings = summarise(rows, folder)
        self.warnings += [
            f"{folder.name}: {line}" for line in (*warnings, *stale_entrants(rows, "quality"))
        ]
        return summaries

    def _tables(self, every: Sequence[Table], note: str = "") -> None:
        """Tables, with what must be known of them under the last."""
        self.parts += [f"### {table.title}\n\n{markdown(table)}" for table in every]
        self.parts += [f"{note}\n"] if note else []

    def _picture(self, name: str, words: str) -> None:
        place = Path(os.path.relpath(self._images / name, self._output.parent))
        self.parts.append(f"![{words}]({place.as_posix()})\n")


def _words(folder: Path) -> str:
    """A folder's name for a reader."""
    return folder.name.replace("-", " ")


def _what(folder: Path) -> str:
    """What cells are about, by their folder's name: a list of classes, or words of their own."""
    words = _words(folder)
    return words if " " in words else f"{words} classes"


def _pictures(rows: Rows) -> str:
    """Which pictures some cells are measured on."""
    return f"{' and '.join(sorted({row['split'] for row in rows}))} pictures"


def many_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of many classes as Markdown: what is left and kept by number."""
    kept = ("retain_accuracy", "transfer_accuracy", "all_classes_accuracy")
    titles = (
        *("method", "data seen", "requests", "classes", "left, zero-shot", "left, robust"),
        *("came back", "kept, group", "kept, other groups", "kept, all classes"),
        "right of all classes",
    )
    lines: list[tuple[str, ...]] = [titles, ("---",) * len(titles)]
    for row in rows:
        left, robust, own = row["forget_accuracy"], row["robust_forget"], row.get("forget_pictures")
        is_share = robust in (left, row["image_side_accuracy"])  # else a difference of two
        figures = (row["came_back"], *(_ratio(row[name], row["before"][name]) for name in kept))
        cells = [
            ", ".join(row["data_seen"]),
            "one" if row["mode"] == "at_once" else "one a class",
            str(row["num_classes"]),
            _counted(left, own),
            _counted(robust, own if is_share else None),
            *("-" if value is None else f"{100 * value:.1f}" for value in figures),
            _counted(row["all_classes_accuracy"], row.get("kept_pictures")),
        ]
        lines.append((label_of_row(row), *cells))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _counted(share: float | None, pictures: int | None) -> str:
    """A share of pictures in per cent, with Wilson's interval where it is known of how many."""
    if share is None:
        return "-"
    if not pictures:
        return f"{100 * share:.1f}"
    low, high = wilson(round(share * pictures), pictures)
    return f"{100 * share:.1f} [{100 * low:.1f}, {100 * high:.1f}], n = {pictures}"


def many_lines(
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """What is left of the forgotten classes and kept of all others, each by number of classes."""
    lines: dict[str, dict[str, list[tuple[int, float]]]] = {}
    whole = "all_classes_accuracy"
    for row in sorted(rows, key=lambda row: row["num_classes"]):
        name = f"{label_of_row(row)}, {row['mode'].replace('_', ' ')}"
        figures = {
            "left, robust (%)": row["robust_forget"],
            "kept of all classes (%)": _ratio(row[whole], row["before"][whole]),
        }
        for figure, value in figures.items():
            if value is not None:
                points = lines.setdefault(figure, {}).setdefault(name, [])
                points.append((row["num_classes"], value))
    return lines


def _ratio(after: float | None, before: float | None) -> float | None:
    return None if after is None or not before else after / before
