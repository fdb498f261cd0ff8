"""Which method and which synthesiser a job means."""

from __future__ import annotations

from clip_unlearn.methods.catalog import Method, methods
from clip_unlearn.pipeline.request import ForgetJob, SynthesizeJob
from clip_unlearn.synthesis.catalog import Synthesizer, synthesizers

CUSTOM = "custom"


def choose_method(job: ForgetJob) -> Method:
    """The method with its settings.

    Raises:
        UnknownNameError: for a method or a preset that is not there.
    """
    if job.method is None or isinstance(job.method, str):
        return methods[job.method or methods.default].preset(job.preset)
    return job.method


def preset_of(job: ForgetJob) -> str:
    """The preset as it is recorded: there is none for a method with settings of one's own."""
    return job.preset if job.method is None or isinstance(job.method, str) else CUSTOM


def choose_synthesizer(job: ForgetJob | SynthesizeJob) -> Synthesizer:
    """The synthesiser with its settings.

    A preset is a whole recipe: a synthesiser with a preset of the same name goes with it, as the
    published ascent goes with the published method. Where none has one, it is the default.

    Raises:
        UnknownNameError: for a synthesiser that is not there, or a preset that it does not have.
    """
    if not (job.synthesizer is None or isinstance(job.synthesizer, str)):
        return job.synthesizer
    if isinstance(job, SynthesizeJob):
        return synthesizers[job.synthesizer or synthesizers.default].preset(job.preset)
    if job.synthesizer is not None:
        kind = synthesizers[job.synthesizer]
        return kind.preset(job.preset if job.preset in kind.presets else "default")
    kinds = [synthesizers[synthesizers.default], *(entry.value for entry in synthesizers)]
    own = next((kind for kind in kinds if job.preset in kind.presets), None)
    return kinds[0].preset("default") if own is None else own.preset(job.preset)
