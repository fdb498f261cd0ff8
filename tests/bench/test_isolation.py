from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clip_unlearn.bench.isolation import in_own_process

ROOT = Path(__file__).parents[2]
PARENT = """
import sys
from pathlib import Path
from clip_unlearn.bench.isolation import in_own_process
from tests.bench.test_isolation import wait_for_ever

if __name__ == "__main__":
    in_own_process(wait_for_ever, Path(sys.argv[1]))
"""


def wait_for_ever(path: Path) -> None:
    """Say who one is, and stay."""
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
    time.sleep(600)


def test_work_is_done_in_another_process() -> None:
    assert in_own_process(os.getpid) != os.getpid()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no process can be killed here")
def test_work_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    script, said = tmp_path / "parent.py", tmp_path / "worker"
    script.write_text(PARENT)
    places = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": places}
    with subprocess.Popen([sys.executable, str(script), str(said)], env=environment) as parent:
        assert _waited_for(said.exists)
        worker = int(said.read_text())
        parent.send_signal(signal.SIGKILL)
    assert _waited_for(lambda: not _runs(worker))


def _waited_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 120
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")
