"""A finished run, what its authors say, and the verb."""

from pathlib import Path

import made_runs
import pytest
from calls import call


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A finished run whose data are the challenge's by name."""
    return made_runs.make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def info(tmp_path) -> Path:
    path = tmp_path / "info.toml"
    path.write_text(made_runs.INFO.replace("system_adaptations", "pipeline"), encoding="utf-8")
    return path


@pytest.fixture
def submit(capsys):
    """Call `edgeprune submit`: exit code, standard output, standard error."""
    return lambda *argv: call(capsys, "submit", *argv)
