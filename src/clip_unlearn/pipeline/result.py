"""What came of a job, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_unlearn.evaluation.compare import TableRow, render_table, robust_score, score
from clip_unlearn.evaluation.figures import Evaluation
from clip_unlearn.models.edit import Edit
from clip_unlearn.pipeline.audit_report import AuditReport
from clip_unlearn.pipeline.retain_limit import RetainDrop
from clip_unlearn.synthesis.sets import ForgetSet, SynthesisReport


@dataclass(frozen=True)
class ForgetResult:
    """The edit with its evidence.

    Attributes:
        forget_classes: what was forgotten.
        model: as the user named it.
        method: its key.
        preset: of the method.
        seed: of all randomness.
        task: name of the task.
        device: what it ran on.
        before: figures of the original.
        after: figures of the edited model.
        forget_sets: the pictures that were used.
        edit: the changed tensors.
        output: the folder that holds the model.
        seconds: wall time of the whole job.
        timings: wall time of its parts.
        peak_memory_bytes: largest resident size above that at the start; in a process that did
            larger work before, what goes beyond that.
        versions: of what computed it.
        warnings: what a reader must know.
        audit: what attacks found, where they were asked for.
        retain_drop: what it cost the classes to keep, where a limit was set.
    """

    forget_classes: tuple[str, ...]
    model: str
    method: str
    preset: str
    seed: int
    task: str
    device: str
    before: Evaluation
    after: Evaluation
    forget_sets: tuple[ForgetSet, ...]
    edit: Edit
    output: Path
    seconds: float
    timings: Mapping[str, float]
    peak_memory_bytes: int
    versions: Mapping[str, str]
    warnings: tuple[str, ...]
    audit: AuditReport | None = None
    retain_drop: RetainDrop | None = None

    @property
    def table(self) -> Sequence[TableRow]:
        """What was removed and what was kept, before and after."""
        return render_table(self.before, self.after)

    def as_json(self) -> dict[str, Any]:
        """The object that `forget --json` prints."""
        return {
            "forget_classes": list(self.forget_classes),
            "model": self.model,
            "method": self.method,
            "preset": self.preset,
            "seed": self.seed,
            "task": self.task,
            "device": self.device,
            "before": self.before.as_json(),
            "after": self.after.as_json(),
            "score": score(self.before, self.after),
            "robust_score": robust_score(self.before, self.after),
            "synthetic": synthetic_json(self.forget_sets),
            "changed_tensors": sorted(self.edit.tensors),
            "seconds": self.seconds,
            "timings": dict(self.timings),
            "peak_memory_bytes": self.peak_memory_bytes,
            "output": str(self.output),
            "versions": dict(self.versions),
            "clip_benchmark": clip_benchmark_rows(self.after, self.task, str(self.output)),
            "warnings": list(self.warnings),
            "audit": self.audit and self.audit.as_json(),
            "retain_drop": self.retain_drop and self.retain_drop.as_json(),
        }


@dataclass(frozen=True)
class EvaluateResult:
    """One model's figures.

    Attributes:
        model: as the user named it.
        task: name of the task.
        device: what it ran on.
        evaluation: the figures.
        seconds: wall time.
        versions: of what computed it.
        warnings: what a reader must know.
    """

    model: str
    task: str
    device: str
    evaluation: Evaluation
    seconds: float
    versions: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def table(self) -> Sequence[TableRow]:
        """The measured figures, each under `after`; without a class to forget, the others alone."""
        rows = render_table(self.evaluation, self.evaluation)
        return [row for row in rows if self.evaluation.forget_classes or row.after is not None]

    def as_json(self) -> dict[str, Any]:
        """The object that `evaluate --json` prints."""
        return {
            "forget_classes": list(self.evaluation.forget_classes),
            "model": self.model,
            "task": self.task,
            "device": self.device,
            **self.evaluation.as_json(),
            "seconds": self.seconds,
            "versions": dict(self.versions),
            "clip_benchmark": clip_benchmark_rows(self.evaluation, self.task, self.model),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class SynthesizeResult:
    """Pictures made out of a model.

    Attributes:
        forget_classes: what they are of.
        model: as the user named it.
        synthesizer: its key.
        preset: of the synthesiser.
        seed: of all randomness.
        task: name of the task.
        device: what it ran on.
        forget_sets: one a class.
        output: the folder that holds them.
        seconds: wall time.
        versions: of what computed it.
        warnings: what a reader must know.
    """

    forget_classes: tuple[str, ...]
    model: str
    synthesizer: str
    preset: str
    seed: int
    task: str
    device: str
    forget_sets: tuple[ForgetSet, ...]
    output: Path
    seconds: float
    versions: Mapping[str, str]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `synthesize --json` prints."""
        return {
            "forget_classes": list(self.forget_classes),
            "model": self.model,
            "synthesizer": self.synthesizer,
            "preset": self.preset,
            "seed": self.seed,
            "task": self.task,
            "device": self.device,
            "synthetic": synthetic_json(self.forget_sets),
            "seconds": self.seconds,
            "output": str(self.output),
            "versions": dict(self.versions),
            "warnings": list(self.warnings),
        }


def synthetic_json(forget_sets: Sequence[ForgetSet]) -> dict[str, Any]:
    """How synthetic pictures came about, added up over the classes."""
    reports: list[SynthesisReport] = [s.report for s in forget_sets if s.report is not None]
    return {
        "requested": sum(report.requested for report in reports),
        "accepted": sum(report.accepted for report in reports),
        "seconds": sum(report.seconds for report in reports),
        "iterations": sum(report.iterations for report in reports),
    }


def clip_benchmark_rows(evaluation: Evaluation, task: str, model: str) -> list[dict[str, Any]]:
    """Each group's figures as CLIP_benchmark writes them, for tools that read its files.

    Args:
        evaluation: of one model.
        task: name of the task.
        model: name of that model.
    """
    family = task.split("/")[0]
    return [
        {
            "dataset": group if group == family else f"{family}/{group}",
            "model": model,
            "pretrained": "",
            "task": "zeroshot_classification",
            "metrics": {
                "acc1": figures.accuracy,
                "acc5": figures.acc5,
                "mean_per_class_recall": figures.mean_per_class_recall,
            },
            "language": "en",
        }
        for group, figures in evaluation.groups.items()
        if figures.count
    ]
