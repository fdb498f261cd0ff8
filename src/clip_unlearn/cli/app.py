"""All verbs in one application, and the one place where errors become lines and exit codes."""

from __future__ import annotations

import errno
import io
import sys
from functools import cached_property
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import clip_unlearn
from clip_unlearn.cli.audit import audit
from clip_unlearn.cli.classes import classes
from clip_unlearn.cli.evaluate import evaluate
from clip_unlearn.cli.forget import forget
from clip_unlearn.cli.methods import methods
from clip_unlearn.cli.models import models
from clip_unlearn.cli.synthesize import synthesize
from clip_unlearn.errors import ClipUnlearnError, is_out_of_memory

INTERRUPTED = 130
BAD_INPUT = 2


class Verbs(TyperGroup):
    """The verbs; what a user can put right ends in one line, a bug keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb and translate its errors."""
        try:
            return super().invoke(ctx)
        except ClipUnlearnError as error:
            raise _ended(f"Error: {error}", error.exit_code) from error
        except KeyboardInterrupt as error:
            line = "Interrupted; nothing was saved."
            if ctx.invoked_subcommand == "bench":  # it writes each result file as it comes
                line = "Interrupted; results so far are kept, the same command goes on."
            raise _ended(line, INTERRUPTED) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            limit = "Give a --max-memory, or " if ctx.invoked_subcommand == "forget" else ""
            line = f"The memory is too small. {limit or 'Try '}--device cpu, or fewer pictures."
            raise _ended(f"Error: {line}", BAD_INPUT) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                line = "The disk is full. Free some space, or give another --output."
            elif (
                error.filename is not None
            ):  # a name too long, a folder that may not be looked into
                line = f"Can't use {error.filename}: {error.strerror}. Check it, or give another."
            else:
                raise
            raise _ended(f"Error: {line}", BAD_INPUT) from error


class BenchVerbs(TyperGroup):
    """The verbs under `bench`, not read before one of them is asked for: they are many."""

    @cached_property
    def _found(self) -> TyperGroup:
        from clip_unlearn.cli.bench import bench

        found = typer.main.get_command(bench)
        assert isinstance(found, TyperGroup)
        return found

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return self._found.list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of them, or nothing."""
        return self._found.get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """One of them with what follows it; a name that is none is told which is like it."""
        return self._found.resolve_command(ctx, args)


def _ended(line: str, code: int) -> typer.Exit:
    typer.echo(line, err=True)
    return typer.Exit(code)


app = typer.Typer(
    name="clip-unlearn",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog='Example: clip-unlearn forget "soccer ball" --output no-soccer')(forget)
app.command(epilog='Example: clip-unlearn synthesize --forget-class "soccer ball"')(synthesize)
app.command(epilog="Example: clip-unlearn evaluate --model no-soccer --original emoji-resnet")(
    evaluate
)
app.command(
    epilog='Example: clip-unlearn audit emoji-resnet no-soccer --forget-class "soccer ball"'
)(audit)
app.command(epilog="Example: clip-unlearn classes activities")(classes)
app.command(epilog="Example: clip-unlearn models --json")(models)
app.command(epilog="Example: clip-unlearn methods")(methods)
app.add_typer(
    typer.Typer(help="Run protocols over many classes, and report them.", no_args_is_help=True),
    name="bench",
    cls=BenchVerbs,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clip-unlearn {clip_unlearn.__version__}")
        raise typer.Exit


@app.callback(epilog='Example: clip-unlearn forget "soccer ball"')
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Unlearn a class from a CLIP model, given its name alone."""


def main() -> None:
    """Run the command line in UTF-8, whatever the locale says."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    for given in sys.argv[1:]:
        if not given.isprintable() and given != given.encode(errors="replace").decode():
            typer.echo(f"Error: {given!r} is not UTF-8. Rename it, or give another.", err=True)
            raise SystemExit(BAD_INPUT)
    app()
