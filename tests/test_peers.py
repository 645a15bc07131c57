"""lm-eval's `hf` model and the platform give the same answers; how fast each is stands in benchmarks/RESULTS.md."""

from __future__ import annotations

import numpy as np
import pytest

from likra_ray.analysis.arms import credit, normalised
from likra_ray.heads import base, scoring
from likra_ray.questions import sources
from likra_ray.records import Metric

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install -e '.[bench]'")

from benchmarks import peers  # noqa: E402 (needs lm-eval)


@pytest.mark.parametrize("shots", [0, 2])
def test_lm_eval_scores_every_option_alike(shots: int) -> None:
    loaded = base.load(base.resolve(base.RANDOM_TINY))
    questions = list(sources.load("atlas", split="test").questions[:6])
    before = sources.load("atlas", split="train").questions[:shots]
    table = scoring.score(loaded.model, loaded.tokenizer, questions, shots=before)
    theirs = peers.lm_eval_logprobs(
        peers.lm_eval_model(loaded.model, loaded.tokenizer, batch_size=4), questions, before
    )
    np.testing.assert_allclose(table.logprob, theirs, atol=5e-4)
    metrics: tuple[Metric, ...] = ("acc", "acc_norm")
    for metric in metrics:
        mine, peer = (credit(normalised(one, table, metric), table) for one in (table.logprob, theirs))
        np.testing.assert_array_equal(mine, peer)
