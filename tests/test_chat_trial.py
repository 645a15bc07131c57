"""A trial in turns of a chat: keys of its own, and the same scores from its tables, its export and lm_eval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished import SMOKE, finished_trial
from lm_eval_task import task

from likra_ray import export, plan, results, settings
from likra_ray.analysis.arms import arm_scores, credit, normalised
from likra_ray.errors import InputError
from likra_ray.heads import base as bases
from likra_ray.heads.pairs import reference_orders
from likra_ray.ledger import Ledger
from likra_ray.likra_model import LikraModel
from likra_ray.records import ScoreTable

CHAT = "questions.chat=true"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return finished_trial(tmp_path_factory.mktemp("chat"), CHAT, "questions.shots=0", "trial.baselines=[dpo]")


@pytest.fixture(scope="module")
def exported(book: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "heads"
    export.export(book, "best", folder)
    return folder


def tables(book: Ledger) -> dict[str, ScoreTable]:
    found = results.tables(book.storage, book.done[0])
    return {"base": found.base, "positive": found.positive[16], "negative": found.negative[16]}


def planned(*overrides: str) -> tuple[Any, plan.TrialPlan, Any]:
    sweep = settings.load(SMOKE, ["search={}", "trial.baselines=[dpo]", *overrides]).sweep
    material = plan.gather(sweep)
    return material, plan.trial_plan(material, sweep.trial), sweep.trial


def test_every_key_is_another_and_off_is_as_if_it_were_not_there() -> None:
    (plain, before, trial), (material, found, _) = planned(), planned(CHAT)
    assert planned("questions.chat=false")[:2] == (plain, before)
    assert "chat" not in plain.to_json() and material.name != plain.name
    assert type(material).from_json(material.to_json()) == material
    for name in ("key", "base_key", "evaluation_key"):
        assert getattr(found, name) != getattr(before, name), name
    for role, head in found.heads.items():
        assert head.key != before.heads[role].key, role
    orders = {at: plan.head_orders(made, trial, of, None)[-1] for at, made, of in
              (("plain", before, plain), ("chat", found, material))}  # fmt: skip
    assert orders["plain"].pairs == orders["chat"].pairs and orders["plain"].base_key != orders["chat"].base_key
    blocks = {at: [one.key for one in reference_orders(order, 16, 8)] for at, order in orders.items()}
    assert blocks["plain"] == blocks["chat"], "told apart by the base's key alone"


def test_prior_is_a_turn_too() -> None:
    assert planned(CHAT, "trial.prior=true")[1].prior_key != planned("trial.prior=true")[1].prior_key


def test_exported_heads_rank_as_their_tables_do(book: Ledger, exported: Path) -> None:
    model = LikraModel.from_folder(exported)
    for arm in ("base", "sft", "likra"):
        ranked = [
            model.rank(one.prompt, [option.text for option in one.options], arm=arm) for one in book.material.evaluate
        ]
        np.testing.assert_allclose(np.concatenate(ranked), arm_scores(arm, tables(book)), atol=1e-3)
    assert model.write("Q?", tokens=4, arm="sft") == model.write_after(
        model.read("<s>[user]\nQ?<s>\n[assistant]\n", rendered=True), tokens=4, arm="sft"
    )
    assert "as turns of a chat" in (exported / "README.md").read_text()


def test_heads_exported_before_there_were_turns_are_plain(exported: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(exported, tmp_path / "old")
    about = json.loads((tmp_path / "old/likra.json").read_text())
    del about["chat"]
    (tmp_path / "old/likra.json").write_text(json.dumps(about))
    model = LikraModel.from_folder(tmp_path / "old")
    assert model.rank("Q:", ["so"])[0] == model.score([("Q:", " so")])[0].score


def test_lm_eval_applies_the_template_and_finds_the_platforms_accuracies(
    book: Ledger, exported: Path, tmp_path: Path
) -> None:
    lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install -e '.[bench]'")
    from lm_eval.tasks import TaskManager

    from likra_ray.lm_eval import LikraLM

    rows = [
        {"prompt": one.prompt, "texts": [option.text for option in one.options],
         "correct": [option.kind for option in one.options].index("correct")}
        for one in book.material.evaluate
    ]  # fmt: skip
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "turns.yaml").write_text(task("turns", tmp_path / "data.jsonl"))
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    for arm in ("sft", "likra"):
        found = lm_eval.simple_evaluate(
            model="likra", model_args={"folder": str(exported), "arm": arm}, tasks=["turns"], task_manager=manager,
            bootstrap_iters=0, apply_chat_template=True, log_samples=True,
        )  # fmt: skip
        base = tables(book)["base"]
        scores = arm_scores(arm, tables(book))
        theirs = [float(one[0][0]) for sample in found["samples"]["turns"] for one in sample["resps"]]
        np.testing.assert_allclose(theirs, scores, atol=1e-3)
        for metric in ("acc", "acc_norm"):
            platform = float(np.mean(credit(normalised(scores, base, metric), base)))  # type: ignore[arg-type]
            assert found["results"]["turns"][f"{metric},none"] == pytest.approx(platform)
    lm = LikraLM(folder=str(exported))
    begun = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "It"}]
    assert lm.apply_chat_template(begun, add_generation_prompt=False) == "<s>[user]\nQ?<s>\n[assistant]\nIt"
    with pytest.raises(InputError, match="own template"):
        lm.chat_template("other")


def test_a_base_without_a_template_is_refused_before_anything_runs(tmp_path: Path) -> None:
    loaded = bases.load(bases.resolve("random-tiny"))
    loaded.tokenizer.chat_template = None
    loaded.model.save_pretrained(tmp_path / "mine")
    loaded.tokenizer.save_pretrained(tmp_path / "mine")
    sweep = settings.load(SMOKE, [CHAT, f"base={tmp_path / 'mine'}"]).sweep
    with pytest.raises(
        InputError, match="questions.chat: got True; allowed: false with .*mine, whose tokenizer has no"
    ):
        plan.gather(sweep)
    assert bases.has_chat_template(bases.Base("owner/name", "x")) is None, "a hub's: the workers say"
