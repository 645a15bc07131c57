"""Exported heads: plain PEFT adapters that give the very scores the platform found, ranked, written and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from finished import finished_trial
from typer.testing import CliRunner

from likra_ray import export, results
from likra_ray.analysis.arms import ARMS, arm_scores
from likra_ray.errors import InputError
from likra_ray.heads import base as bases
from likra_ray.heads.scoring import score, score_naive
from likra_ray.ledger import Ledger, load_sweep
from likra_ray.likra_model import LikraModel, guided
from likra_ray.records import ScoreTable


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    made = finished_trial(tmp_path_factory.mktemp("finished"), "trial.baselines=[dpo]")
    return load_sweep(made.sweep.name, made.storage.root)


@pytest.fixture(scope="module")
def exported(book: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "heads"
    export.export(book, "best", folder)
    return folder


def tables(book: Ledger, volume: int) -> dict[str, ScoreTable]:
    found = results.tables(book.storage, book.done[0])
    by_head = {"base": found.base, "positive": found.positive[volume], "negative": found.negative[volume]}
    return {**by_head, **{head: by_volume[volume] for head, by_volume in found.others.items()}}


def test_plain_peft_loads_what_was_trained(book: Ledger, exported: Path) -> None:
    """No code of ours between the folder and the log-probabilities but the definition of a score."""
    from peft import PeftModel

    for role in ("positive", "negative", "dpo"):
        loaded = bases.load(bases.resolve("random-tiny"))
        model = PeftModel.from_pretrained(loaded.model, str(exported / role))
        found = score_naive(model, loaded.tokenizer, book.material.evaluate[:4], shots=book.material.shots)
        theirs = tables(book, 16)[role].logprob[: len(found.logprob)]
        np.testing.assert_allclose(found.logprob, theirs, atol=5e-4)
        assert not np.allclose(found.logprob, tables(book, 16)["base"].logprob[: len(found.logprob)], atol=0.01)


@pytest.mark.parametrize("arm", ["base", "sft", "likra", "base_likra", "positive_over_base", "dpo"])
def test_every_arm_scores_as_its_tables_do(book: Ledger, exported: Path, arm: str) -> None:
    model = LikraModel.from_folder(exported)
    shots = "".join(f"{one.prompt} {one.correct.text}\n\n" for one in book.material.shots)
    questions = book.material.evaluate
    texts = [(shots + one.prompt, f" {option.text}") for one in questions for option in one.options]
    for weight in (1.0, 0.5):
        scored = model.score(texts, arm=arm, weight=weight)
        expected = arm_scores(arm, tables(book, 16), weight=weight)
        np.testing.assert_allclose([one.score for one in scored], expected, atol=1e-3)


def test_a_smaller_volume_is_that_volume(book: Ledger, tmp_path: Path) -> None:
    export.export(book, book.done[0].key[:6], tmp_path / "eight", volume=8)
    model = LikraModel.from_folder(tmp_path / "eight")
    question = book.material.evaluate[0]
    table = score(model.model, model.tokenizer, [question], shots=book.material.shots)  # the first adapter is active
    np.testing.assert_allclose(table.logprob, tables(book, 8)["positive"].logprob[: len(table.logprob)], atol=5e-4)


@pytest.mark.parametrize("arm", ["base", "sft"])
def test_greedy_is_what_an_arm_would_write(exported: Path, arm: str) -> None:
    model = LikraModel.from_folder(exported)
    written = {prompt: model.write(prompt, tokens=2, arm=arm) for prompt in (f"Q{number}:" for number in range(40))}
    # The random base writes bytes; only what is text again after decoding can be asked for.
    prompt, text = next((p, t) for p, t in written.items() if len(t) == 2 and t.isascii())
    asked = [(prompt, text), (prompt, text[0] + chr(ord(text[1]) ^ 1)), (prompt, chr(ord(text[0]) ^ 1) + text[1])]
    assert [one.greedy for one in model.score(asked, arm=arm)] == [True, False, False]


def test_writing_samples_by_its_generator_and_stays_plausible(exported: Path) -> None:
    model = LikraModel.from_folder(exported)
    seeded = [model.write("Q:", tokens=8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert seeded[0] == seeded[1] != seeded[2]
    # With the base's likeliest token alone plausible, every arm writes what the base writes.
    assert model.write("Q:", tokens=8, arm="likra", plausibility=1.0) == model.write("Q:", tokens=8, arm="base")


def test_guided_masks_and_adds() -> None:
    base = torch.log(torch.tensor([0.5, 0.4, 0.09, 0.01]))
    opinion = torch.tensor([0.0, 1.0, 0.0, 9.0])
    found = guided(base, opinion, plausibility=0.1)
    assert found.argmax() == 1 and found[3] == -torch.inf and found[2] == base[2]
    with pytest.raises(ValueError, match="plausibility"):
        guided(base, opinion, plausibility=0.0)


def test_the_card_tells_what_the_heads_are(book: Ledger, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    result = book.done[0]
    assert card.startswith("---\nlibrary_name: peft\n")
    last = result.curves["likra"][-1].accuracy
    for said in (result.key, "`negative/` (16 examples)", "atlas", f"{last:.3f}", "near_miss_share", "| likra |"):
        assert said in card, said
    config = json.loads((exported / "positive/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None  # the random base is on no hub
    whole = "".join(path.read_text() for path in exported.rglob("*") if path.suffix in (".md", ".json"))
    assert book.storage.root not in whole and str(Path.home()) not in whole


def test_arms_without_their_heads_are_refused(exported: Path) -> None:
    model = LikraModel.from_folder(exported)
    assert model.arms == ["base", "sft", "likra", "base_likra", "positive_over_base", "dpo"]
    for arm in set(ARMS) - set(model.arms) | {"nonsense"}:
        with pytest.raises(InputError, match="arm"):
            model.rank("Q:", ["a", "b"], arm=arm)


def test_wrong_requests_are_one_line_and_write_nothing(book: Ledger, exported: Path, tmp_path: Path) -> None:
    root = book.storage.root
    target = tmp_path / "target"
    for arguments, said in (
        (["smoke", "nonsense", str(target)], "trial: got 'nonsense'; allowed: best, or one of"),
        (["smoke", "best", str(target), "--volume", "12"], "--volume (positive head): got 12; allowed: one of [8, 16]"),
        (["absent", "best", str(target)], "sweep: got 'absent'"),
        (["smoke", "best", str(exported)], "an empty folder, or none yet"),
    ):
        ended = CliRunner().invoke(export.app, [*arguments, "--output", root])
        assert ended.exit_code == 2 and said in ended.stderr and ended.stderr.count("\n") == 1, ended.output
    assert not target.exists()
    with pytest.raises(InputError, match=r"likra\.json"):
        LikraModel.from_folder(tmp_path)


def test_another_base_is_refused(exported: Path, tmp_path: Path) -> None:
    loaded = bases.load(bases.resolve("random-tiny"))
    with torch.no_grad():
        loaded.model.lm_head.weight.mul_(2)
    loaded.model.save_pretrained(tmp_path / "other")
    loaded.tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="the base these heads were trained on, random-tiny-1"):
        LikraModel.from_folder(exported, base=str(tmp_path / "other"))


def test_the_command_writes_what_the_function_does(book: Ledger, exported: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(export.app, ["smoke", "best", str(tmp_path / "heads"), "--output", book.storage.root])
    assert ended.exit_code == 0, ended.output
    names = sorted(path.relative_to(exported) for path in exported.rglob("*") if path.is_file())
    assert names == sorted(
        path.relative_to(tmp_path / "heads") for path in (tmp_path / "heads").rglob("*") if path.is_file()
    )
    assert all((exported / name).read_bytes() == (tmp_path / "heads" / name).read_bytes() for name in names)
