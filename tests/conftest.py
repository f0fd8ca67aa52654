"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest

from edgeprune.console import set_quiet

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it in its workers; tables are as wide as where output is piped

pytest_plugins = ("browsers", "exported_networks", "image_cards")


def _shared() -> Path:
    return Path(os.environ.get("EDGEPRUNE_SHARED") or Path(__file__).resolve().parents[2] / "shared")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it skip where it is absent."""
    folder = _shared() / "data"
    if not folder.is_dir():
        pytest.skip("needs the shared real data beside the checkout (or EDGEPRUNE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Golden numbers of the published algorithm."""
    folder = _shared() / "golden"
    if not folder.is_dir():
        pytest.skip("needs the shared golden numbers beside the checkout (or EDGEPRUNE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Small inputs from the field that failed once."""
    folder = _shared() / "cases"
    if not folder.is_dir():
        pytest.skip("needs the shared cases beside the checkout (or EDGEPRUNE_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def _not_quiet_afterwards():
    yield
    set_quiet(False)
