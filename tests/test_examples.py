"""Every example of search_spaces/examples trains, scores and records its trials on the random base."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished import finished_trial

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "search_spaces/examples").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    book = finished_trial(tmp_path / "out", "base=random-tiny", space=example)
    [result] = book.done
    assert result.status == "done" and list(result.trained.values()) == [16, 16]
    assert (len(book.material.train), len(book.material.shots), len(book.material.evaluate)) == (26, 2, 12)
    assert book.material.chat == (example.stem == "chat") and book.material.left_out == ()
    assert all(one.prompt.endswith("?\nAnswer:") for one in book.material.evaluate)


def test_the_table_asks_what_the_file_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same facts twice: what the mapping reads is what the question file says, its far options left out."""
    from likra_ray import plan, settings

    monkeypatch.chdir(ROOT)
    asked = []
    for name in ("own_file", "own_dataset"):
        path = ROOT / f"search_spaces/examples/{name}.yaml"
        material = plan.gather(settings.load(path, ["base=random-tiny", "questions.shots=0"]).sweep)
        asked.append(
            {
                (one.prompt, option.text, option.kind)
                for one in (*material.train, *material.evaluate)
                for option in one.options
                if option.kind != "far"
            }
        )
    assert asked[0] == asked[1] and len(asked[0]) == 40 * 3
