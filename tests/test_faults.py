"""Which failures of a trial's workers are worth another try, and what is said of them."""

from __future__ import annotations

import errno

import pytest
from ray.train import WorkerGroupError  # type: ignore[attr-defined]
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError

from likra_ray import faults
from likra_ray.errors import InputError
from likra_ray.heads.adapters import Untrained
from likra_ray.heads.store import DamagedHead
from likra_ray.heads.training import Diverged

DIED = WorkerHealthCheckFailedError("A worker health check failed.", OSError("connection closed"))
HUNG = WorkerHealthCheckTimeoutError("A worker health check has been hanging for 601.00 seconds.")
FULL = OSError(errno.ENOSPC, "No space left on device", "/out/heads/x/adapter_model.safetensors")
WRONG = InputError(where="search space", field="trial.volumes", value=9, allowed="at most 8")
GLOO = RuntimeError("Connection closed by peer")

CASES = [
    ([DIED], True, "a worker's process died"),
    ([HUNG], True, "a worker's process hung"),
    ([GLOO, DIED], True, "a worker's process died"),
    ([GLOO], True, "RuntimeError: Connection closed"),
    ([DamagedHead("heads/x: torn")], True, "DamagedHead: heads/x: torn"),
    ([ConnectionResetError(errno.ECONNRESET, "reset")], True, "ConnectionResetError"),
    ([Diverged("loss is nan after 24 examples")], False, "Diverged: loss is nan after 24 examples"),
    ([GLOO, Diverged("loss is nan")], False, "Diverged: loss is nan"),
    ([Untrained("the adapter is not finite")], False, "Untrained"),
    ([WRONG], False, "InputError: search space: trial.volumes: got 9"),
    ([FULL], False, "OSError: [Errno 28] No space left on device: '/out/heads/x/adapter_model.safetensors'"),
    ([GLOO, FULL], False, "OSError: [Errno 28]"),
    ([TypeError("no such argument")], False, "TypeError"),
]


@pytest.mark.parametrize(("causes", "again", "said"), CASES, ids=[said for *_, said in CASES])
def test_what_is_tried_again(causes: list[Exception], again: bool, said: str) -> None:
    error = WorkerGroupError("as Ray says it", dict(enumerate(causes)))
    assert faults.worth_retrying(error) is again
    assert faults.reason(error).startswith(said) and "\n" not in faults.reason(error)
    if len(causes) == 1:
        assert faults.worth_retrying(causes[0]) is again, "the same where one process does the work"
    full = faults.no_room_in(faults.reason(error))
    assert (full is not None) is faults.no_room(error) is (FULL in causes)
    if full is not None:
        assert (full.errno, full.filename) == (FULL.errno, FULL.filename)


def test_no_reason_is_no_full_disk() -> None:
    assert faults.no_room_in(None) is None and faults.no_room_in("OSError: [Errno 5] Input/output error: '/x'") is None
