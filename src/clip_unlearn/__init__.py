"""Unlearn a class from a CLIP model, given its name alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clip_unlearn.errors import ClipUnlearnError
    from clip_unlearn.models.clip import ClipModel
    from clip_unlearn.models.edit import Edit
    from clip_unlearn.models.load import load_model
    from clip_unlearn.pipeline.audit import AuditJob
    from clip_unlearn.pipeline.audit_report import AuditReport
    from clip_unlearn.pipeline.evaluate import evaluate
    from clip_unlearn.pipeline.forget import forget
    from clip_unlearn.pipeline.request import EvaluateJob, ForgetJob, SynthesizeJob
    from clip_unlearn.pipeline.result import EvaluateResult, ForgetResult, SynthesizeResult
    from clip_unlearn.pipeline.synthesize import synthesize

    __version__: str

__all__ = [
    "AuditJob",
    "AuditReport",
    "ClipModel",
    "ClipUnlearnError",
    "Edit",
    "EvaluateJob",
    "EvaluateResult",
    "ForgetJob",
    "ForgetResult",
    "SynthesizeJob",
    "SynthesizeResult",
    "__version__",
    "evaluate",
    "forget",
    "load_model",
    "synthesize",
]

_HOMES = {
    "AuditJob": "pipeline.audit",
    "AuditReport": "pipeline.audit_report",
    "ClipModel": "models.clip",
    "ClipUnlearnError": "errors",
    "Edit": "models.edit",
    "EvaluateJob": "pipeline.request",
    "EvaluateResult": "pipeline.result",
    "ForgetJob": "pipeline.request",
    "ForgetResult": "pipeline.result",
    "SynthesizeJob": "pipeline.request",
    "SynthesizeResult": "pipeline.result",
    "evaluate": "pipeline.evaluate",
    "forget": "pipeline.forget",
    "load_model": "models.load",
    "synthesize": "pipeline.synthesize",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for: torch takes seconds."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("clip-unlearn")
        except PackageNotFoundError:  # run from a source tree
            return "unknown"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
