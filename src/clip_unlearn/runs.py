"""Files that are either whole or not there, and where a run came from."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clip_unlearn.errors import InputError

log = logging.getLogger(__name__)


def _sync_folder(folder: Path) -> None:
    """Make names in a folder last; where a system can't, what is in place stays in place."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        log.debug("Could not sync %s: %s", folder, error)


def refuse_no_file(path: Path, *, flag: str = "--output") -> Path:
    """Where a file of that path is to go, links followed.

    Args:
        path: the file to make.
        flag: what the user gave it with.

    Raises:
        InputError: if something is there that is no plain file, such as a folder or a device.
    """
    try:
        found = path.resolve()
        if not found.name or (found.exists() and not found.is_file()):
            raise InputError(f"Can't write {path}: it is no plain file. Choose another {flag}.")
    except (OSError, RuntimeError) as error:
        raise InputError(f"Can't write {path}: {_said(error)}. Choose another {flag}.") from error
    return found


def _lies_in(given: str, folder: Path) -> bool:
    """Whether what a user gave is a folder or lies in it, links followed."""
    path = Path(given.removeprefix("local-dir:").removeprefix("published:"))
    try:
        return path.exists() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a name too long to be one, or a link to itself
        return False


def _said(error: OSError | RuntimeError) -> str:
    """What went wrong; a link to itself is a RuntimeError."""
    return getattr(error, "strerror", None) or "it is a link that leads nowhere"


@contextlib.contextmanager
def atomic_file(path: Path, *, flag: str = "--output") -> Iterator[Path]:
    """A temporary path beside `path` that becomes it on leaving, and is removed after an error.

    Args:
        path: the file to make.
        flag: what the user gave it with.

    Raises:
        InputError: if the folder can't be written, the disk is full, or there is something that is
            no plain file.
    """
    path = refuse_no_file(path, flag=flag)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise InputError(f"Can't write {path}: {error.strerror}. Choose another {flag}.") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"Can't write {path}: {error.strerror}. Choose another {flag}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, flag: str = "--output") -> None:
    """Write a file whole; `flag` is what the user gave it with."""
    with atomic_file(path, flag=flag) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, document: Any, *, flag: str = "--output") -> None:
    """Write a JSON file whole; NaN and infinity are refused, since JSON has none."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8"), flag=flag)


@contextlib.contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes it on leaving, and is removed after an error.

    Args:
        path: the folder to make.
        overwrite: replace what is there; the old folder stays until the new one is whole.

    Raises:
        InputError: if `path` exists and `overwrite` is off, or can't be written.
    """
    check_output(path, overwrite=overwrite)
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:80]}.", dir=path.parent))
    except OSError as error:
        raise InputError(
            f"Can't write {path}: {error.strerror}. Choose another --output."
        ) from error
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb+") as handle:
                    os.fsync(handle.fileno())
            else:
                _sync_folder(file)
        _sync_folder(temporary)
        if overwrite and path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name[:80]}.old.", dir=path.parent))
            try:
                path.replace(old / path.name)
                temporary.replace(path)
            except BaseException:  # an interrupt as well must not lose the old one
                if not path.exists():
                    (old / path.name).replace(path)
                old.rmdir()
                raise
            shutil.rmtree(old, ignore_errors=True)
            if old.exists():
                log.warning("Could not remove what was in %s before: %s is left.", path, old)
        else:
            temporary.replace(path)  # fails if another job has filled it meanwhile
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"Can't write {path}: {error.strerror}. Choose another --output."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_output(path: Path, *, overwrite: bool, inputs: Iterable[Path | str | None] = ()) -> None:
    """Refuse an output folder before any work is done.

    Args:
        path: of the folder.
        overwrite: whether it may take the place of what is there.
        inputs: what is read for it: files, folders and, to no effect, names of models.

    Raises:
        InputError: if it exists and `overwrite` is off, is a file, can't be made there, can't
            give way to the folder that is to take its place, or holds an input, which would be
            lost with it.
    """
    try:
        for given in filter(None, inputs):
            if path.exists() and _lies_in(str(given), path):
                raise InputError(
                    f"Output {path} holds {given}, which is read for it and would be lost. Give "
                    "another folder with --output."
                )
        if path.is_file():
            raise InputError(f"Output {path} is a file. Give a folder with --output.")
        if path.exists() and any(path.iterdir()) and not overwrite:
            raise InputError(
                f"Output folder {path} exists. "
                "Give another with --output, or replace it with --overwrite."
            )
        if path.is_mount() or (path.exists() and Path.cwd().is_relative_to(path.resolve())):
            raise InputError(
                f"Output {path} can't be replaced: it is a mount point, or the folder that you are "
                "in. Give a folder in it with --output."
            )
        parent = next(p for p in path.resolve().parents if p.exists())
    except (OSError, RuntimeError) as error:
        raise InputError(f"Can't use {path}: {_said(error)}. Choose another --output.") from error
    if not parent.is_dir():
        raise InputError(f"Can't write {path}: {parent} is a file. Choose another --output.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"No permission to write in {parent}. Choose another --output.")
