"""Of every test of the heads: one thread, since the models are too small to share out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_random_state() -> Iterator[None]:
    """What a test seeds is not what the next one finds."""
    with torch.random.fork_rng(devices=[]):
        yield
