from __future__ import annotations

import subprocess
import sys

import pytest

import clip_unlearn


def test_every_public_name_is_there_and_the_list_is_sorted() -> None:
    names = clip_unlearn.__all__
    assert list(names) == sorted(names)
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(clip_unlearn, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'clip_unlearn' has no attribute 'unlearn'"):
        _ = clip_unlearn.unlearn


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, clip_unlearn\n"
        "from clip_unlearn import ForgetJob, forget\n"
        "print(sorted({'torch', 'open_clip', 'matplotlib', 'scipy', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
