"""Any rows through a mapping: the same questions as the readers of published sets find, and every way to be wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from test_sources import (
    REAL_ARC,
    arc_row,
    as_jsonl,
    as_parquet,
    hellaswag_row,
    mmlu_row,
    openbookqa_row,
    winogrande_row,
)

from likra_ray import material as materials
from likra_ray import plan, settings
from likra_ray.errors import InputError
from likra_ray.question_spec import MappingSpec, SourceSpec, template_parts
from likra_ray.questions.files import Loaded
from likra_ray.questions.sources import default_defects, default_split, load

ASK = "Question: {question}\nAnswer:"
ARC: dict[str, Any] = {
    "prompt": ASK,
    "options": "choices.text",
    "answer": "answerKey",
    "labels": "choices.label",
    "id": "id",
}
AS_PUBLISHED: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "arc-easy": (arc_row, "ARC-Easy", ARC),
    "openbookqa": (openbookqa_row, "main", {**ARC, "prompt": "Question: {question_stem}\nAnswer:"}),
    "mmlu": (
        mmlu_row,
        "all",
        {"prompt": ASK, "options": "choices", "answer": "answer", "labels": ["0", "1", "2", "3"]},
    ),
    "winogrande": (
        winogrande_row,
        "winogrande_xl",
        {
            "prompt": "{sentence}",
            "options": ["option1", "option2"],
            "answer": "answer",
            "labels": [1, 2],
            "blank": "_",
        },
    ),
    "hellaswag": (
        hellaswag_row,
        "",
        {"prompt": "{activity_label}: {ctx_a} {Ctx_b}", "options": "endings", "answer": "label"},
    ),
}
"""Row, configuration and mapping of every published set."""


def mapping(**changes: Any) -> MappingSpec:
    """ARC's, changed; None takes a field away."""
    fields = {name: value for name, value in (ARC | changes).items() if value is not None}
    return MappingSpec.model_validate(fields)


def asked(loaded: Loaded) -> list[tuple[str, list[tuple[str, str]]]]:
    """All but the ids."""
    return [(one.prompt, [(option.text, option.kind) for option in one.options]) for one in loaded.questions]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("source", AS_PUBLISHED)
def test_every_published_set_can_be_said_as_a_mapping(tmp_path: Path, source: str, ending: str) -> None:
    row, config, fields = AS_PUBLISHED[source]
    rows = [row(number) for number in range(3)]
    if source == "hellaswag":  # its marks are cleaned and its second half raised by the reader alone
        rows = [{**one, "Ctx_b": one["ctx_b"].capitalize()} for one in rows]
    split = default_split(source, "train")
    (as_jsonl if ending == "jsonl" else as_parquet)(tmp_path / config / f"{split}.{ending}", rows)
    theirs = load(source, split=split, folder=str(tmp_path))
    ours = load(str(tmp_path), split=split, config=config or None, mapping=MappingSpec.model_validate(fields))
    assert asked(ours) == asked(theirs)
    if source in ("arc-easy", "mmlu") and config == "ARC-Easy":
        assert ours == theirs, "ids too"


def test_ids_are_the_rows_own_or_numbers(tmp_path: Path) -> None:
    as_jsonl(tmp_path / "mine.jsonl", [arc_row(0), arc_row(1, id="mine/one"), arc_row(2, id=7)])
    path = str(tmp_path / "mine.jsonl")
    assert [one.id for one in load(path, split="all", mapping=mapping()).questions] == [
        "mine/Made_0",
        "mine/one",
        "mine/7",
    ]
    numbered = load(path, split="all", mapping=mapping(id=None)).questions
    assert [one.id for one in numbered] == ["mine/all/0", "mine/all/1", "mine/all/2"]


SCIQ = {
    "question": "What melts?",
    "correct_answer": "ice",
    "distractor1": "steam",
    "distractor2": "fog",
    "support": "",
}


def as_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_file_of_columns(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"sciq.{ending}"
    rows = [SCIQ, SCIQ | {"question": 'Which "one",\nthe hot one?', "distractor2": "3"}]
    {"jsonl": as_jsonl, "csv": as_csv, "parquet": as_parquet}[ending](path, rows)
    fields = {"prompt": ASK, "options": ["correct_answer", "distractor1", "distractor2"], "answer": "first"}
    found = load(str(path), split="all", mapping=MappingSpec.model_validate(fields))
    assert asked(found) == [
        (
            "Question: What melts?\nAnswer:",
            [("ice", "correct"), ("steam", "near_miss"), ("fog", "near_miss")],
        ),
        (
            'Question: Which "one",\nthe hot one?\nAnswer:',
            [("ice", "correct"), ("steam", "near_miss"), ("3", "near_miss")],
        ),
    ]


def test_the_package_datasets_reads_what_the_mapping_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real `datasets`, on a folder: the hub's layout, a Sequence of objects as it gives it back."""
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    as_jsonl(tmp_path / "clone/train.jsonl", [arc_row(0), arc_row(1)])
    as_jsonl(tmp_path / "clone/test.jsonl", [arc_row(2)])
    asked_for: list[tuple[str, str | None, str]] = []
    real = datasets.load_dataset

    def local(hub: str, config: str | None, *, split: str) -> Any:
        asked_for.append((hub, config, split))
        return real(str(tmp_path / "clone"), split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", local)
    found = load("owner/set", split="train", config="hard", mapping=mapping())
    assert asked_for == [("owner/set", "hard", "train")]
    assert [one.id for one in found.questions] == ["hard/Made_0", "hard/Made_1"]
    assert asked(found) == asked(load(str(tmp_path / "clone"), split="train", mapping=mapping()))


ANSWERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"answerKey": "B"}, {}, "wrong"),
    ({"answerKey": "1"}, {"labels": None}, "wrong"),
    ({"answerKey": 1}, {"labels": None}, "wrong"),
    ({"answerKey": 1.0}, {"labels": None}, "wrong"),
    ({"answerKey": "C"}, {"labels": None}, "worse"),
    ({"answerKey": "worse"}, {"labels": None}, "worse"),
    ({"answerKey": 2}, {"labels": [1, 2, 3]}, "wrong"),
    ({"answerKey": "no"}, {"labels": ["yes", "no", "both"]}, "wrong"),
    ({"answerKey": " B "}, {}, "wrong"),
    ({}, {"answer": "first", "labels": None}, "right 0"),
    ({"answerKey": ["A", "C"]}, {}, "right 0|worse"),
    ({"flags": [0, 1, 0]}, {"answer": None, "labels": None, "kinds": "flags"}, "wrong"),
    ({"flags": [False, False, True]}, {"answer": None, "labels": None, "kinds": "flags"}, "worse"),
    ({"flags": ["far", "near_miss", "correct"]}, {"answer": None, "labels": None, "kinds": "flags"}, "worse"),
    ({}, {"answer": None, "labels": None, "kinds": ["far", "correct", "near_miss"]}, "wrong"),
    ({"choices": {"text": [2, 3, 5]}, "answerKey": "3"}, {"labels": None}, "3"),
    ({"choices": [{"text": "x"}, {"text": "y"}], "answerKey": "y"}, {"labels": None}, "y"),
]


@pytest.mark.parametrize(("row", "changes", "right"), ANSWERS)
def test_what_says_which_option_is_right(
    tmp_path: Path, row: dict[str, Any], changes: dict[str, Any], right: str
) -> None:
    as_jsonl(tmp_path / "mine.jsonl", [arc_row(0) | row])
    [found] = load(str(tmp_path / "mine.jsonl"), split="all", mapping=mapping(**changes)).questions
    assert [option.text for option in found.options if option.kind == "correct"] == right.split("|")


def test_kinds_of_the_wrong_options(tmp_path: Path) -> None:
    as_jsonl(tmp_path / "mine.jsonl", [arc_row(0)])
    path = str(tmp_path / "mine.jsonl")
    for changes, kinds in (
        ({}, ["correct", "near_miss", "near_miss"]),
        ({"kinds": "far"}, ["correct", "far", "far"]),
        (
            {"answer": None, "labels": None, "kinds": ["correct", "near_miss", "far"]},
            ["correct", "near_miss", "far"],
        ),
    ):
        [found] = load(path, split="all", mapping=mapping(**changes)).questions
        assert [option.kind for option in found.options] == kinds


WRONG_ROWS: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, {"prompt": "{stem}"}, "stem: got nothing", "id, question, choices.text, choices.label, answerKey"),
    ({}, {"prompt": "{question.__class__}"}, "question.__class__: got nothing", "one of this row's, id"),
    ({}, {"prompt": "{choices}"}, "choices: got {'text'", "a column that holds a text or a number"),
    ({}, {"options": "question"}, "question: got 'Which is 0?'", "a column that holds a list"),
    ({}, {"options": "choices.texts"}, "choices.texts: got nothing", "choices.text"),
    ({}, {"options": ["question", "nothing"]}, "nothing: got", "one of this row's, id"),
    ({"answerKey": "D"}, {}, "answerKey: got 'D'", "one of A, B, C"),
    ({"answerKey": 3}, {"labels": None}, "answerKey: got 3", "mapping.labels"),
    ({"answerKey": True}, {"labels": None}, "answerKey: got True", "number (from 0)"),
    ({"answerKey": -1}, {"labels": None}, "answerKey: got -1", "number (from 0)"),
    ({"answerKey": ["A", "D"]}, {}, "answerKey: got 'D'", "one of A, B, C"),
    (
        {"choices": {"text": ["B", "A", "x"]}, "answerKey": "A"},
        {"labels": None},
        "answerKey: got 'A'",
        "this means ['B', 'A']",
    ),
    ({"flags": [2, 0, 0]}, {"answer": None, "labels": None, "kinds": "flags"}, "flags: got 2", "1 (correct)"),
]


@pytest.mark.parametrize(("row", "changes", "said", "allowed"), WRONG_ROWS)
def test_a_mapping_that_does_not_fit_is_refused_even_when_leaving_out(
    tmp_path: Path, row: dict[str, Any], changes: dict[str, Any], said: str, allowed: str
) -> None:
    as_jsonl(tmp_path / "train.jsonl", [arc_row(0) | row])
    for defects in ("refuse", "leave_out"):
        with pytest.raises(InputError) as raised:
            load(str(tmp_path), split="train", mapping=mapping(**changes), defects=defects)  # type: ignore[arg-type]
        line = str(raised.value)
        assert line.startswith(f"{tmp_path / 'train.jsonl'}:1: {said}") and allowed in line and "\n" not in line


UNFIT: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"answerKey": ""}, {}, "some splits keep theirs hidden"),
    ({"answerKey": None}, {}, "some splits keep theirs hidden"),
    ({"choices": {"text": ["a", None, "c"], "label": ["A", "B", "C"]}}, {}, "choices.text[1]: got None"),
    ({"choices": {"text": ["a", "a", "c"], "label": ["A", "B", "C"]}}, {}, "each text once"),
    ({"choices": None}, {}, "choices.text: got None"),
    ({"choices": {"text": [], "label": []}}, {}, "choices.text"),
    ({"choices": []}, {}, "choices.text"),
    ({"choices": {"text": ["a", "b", "c"], "label": ["A", "B"]}}, {}, "one for each of the 3 options"),
    ({"question": float("inf")}, {}, "question: got inf"),
    ({"question": "a _ or _"}, {"blank": "_"}, "exactly one '_'"),
    ({"question": "none"}, {"blank": "_"}, "exactly one '_'"),
]


@pytest.mark.parametrize(("row", "changes", "said"), UNFIT)
def test_an_unfit_row_is_left_out_of_a_data_set_and_refused_in_a_file(
    tmp_path: Path, row: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    good = arc_row(0, question="Which _?") if changes else arc_row(0)
    as_jsonl(tmp_path / "train.jsonl", [good, arc_row(1) | row])
    found = materials.load([SourceSpec(source=str(tmp_path), mapping=mapping(**changes))], "train")
    assert len(found[0]) == 1 and [said in reason for _, reason in found[1]] == [True]
    with pytest.raises(InputError) as raised:
        materials.load([SourceSpec(source=str(tmp_path / "train.jsonl"), mapping=mapping(**changes))], "train")
    assert said in str(raised.value) and "train.jsonl:2" in str(raised.value)


CSVS = [
    ("question,correct_answer,distractor1\nWhat?,a\n", "mine.csv:2: line: got ['What?', 'a', None]"),
    ("question,correct_answer,distractor1\nWhat?,a,b,c\n", "mine.csv:2: line: got"),
    ("question,question,distractor1\nWhat?,a,b\n", "mine.csv:1: columns: got"),
    ("question,,distractor1\nWhat?,a,b\n", "mine.csv:1: columns: got"),
    ('question,correct_answer,distractor1\n"What?,a,b\n', "mine.csv:2: line: got"),
    ("question,correct_answer,distractor1\n", "at least one question that can be used: it is empty"),
    ("", "at least one question that can be used: it is empty"),
    ("question,correct_answer,distractor1\n" + "x" * 200_000 + ",a,b\n", "mine.csv:2: line: got 'field larger"),
]


@pytest.mark.parametrize(("text", "said"), CSVS, ids=range(len(CSVS)))
def test_a_csv_file_that_is_none_is_named_by_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    fields = {"prompt": ASK, "options": ["correct_answer", "distractor1"], "answer": "first"}
    with pytest.raises(InputError) as raised:
        load(str(path), split="all", mapping=MappingSpec.model_validate(fields))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"source": "arc", "split": "train"}, "mapping: got"),
        ({"source": "mine.csv", "split": "train"}, "split: got 'train'; allowed: no split with a file"),
        ({"source": "mine.csv", "split": "all", "config": "x"}, "config: got 'x'"),
        ({"source": "mine.csv", "split": "all", "folder": "x"}, "folder: got 'x'"),
        ({"source": "mine.csv", "split": "all"}, "a file that can be read"),
        ({"source": "mine.parquet", "split": "all"}, "a parquet file"),
        ({"source": "a/b", "split": "train", "folder": "nowhere"}, "train.jsonl, or .parquet, or .csv"),
        ({"source": "a/b", "split": "../x", "folder": "nowhere"}, "../x.jsonl"),
        ({"source": "a\0b", "split": "train", "folder": "a\0b"}, "train.jsonl"),
    ],
)
def test_a_source_that_is_not_there(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        load(**arguments, mapping=mapping())
    assert said in str(raised.value)


def test_defaults_of_mapped_sources() -> None:
    for source, train, evaluate, defects in (
        ("a/b", "train", "test", "leave_out"),
        ("m.csv", "all", "all", "refuse"),
    ):
        assert default_split(source, "train", mapped=True) == train
        assert default_split(source, "evaluate", mapped=True) == evaluate
        assert default_defects(source, mapped=True) == defects


WRONG_MAPPINGS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "{a[0]}"}, "a column's name alone"),
    ({"prompt": "{a!r}"}, "a column's name alone"),
    ({"prompt": "{a:>9}"}, "a column's name alone"),
    ({"prompt": "{}"}, "a column's name alone"),
    ({"prompt": "{a"}, "expected '}'"),
    ({"prompt": "a}"}, "Single '}'"),
    ({"prompt": "no column"}, "at least one column"),
    ({"prompt": "{a} "}, "no space at its end"),
    ({"prompt": 3}, "a text with the names of columns"),
    ({"options": []}, "a list of two columns or more"),
    ({"options": ["one"]}, "a list of two columns or more"),
    ({"options": ["one", 2]}, "a list of two columns or more"),
    ({"options": None}, "Field required"),
    ({"answer": None, "labels": None}, "exactly one of answer and kinds"),
    ({"kinds": "flags"}, "exactly one of answer and kinds"),
    ({"kinds": ["correct", "wrong"]}, "near_miss, far, a list"),
    ({"answer": "first"}, "only with a column as answer"),
    ({"labels": ["a"]}, "one label for each option"),
    ({"labels": ["a", "a"]}, "each once"),
    ({"labels": [1, True]}, "one label for each option"),
    ({"labels": ["a", "b", "c"], "options": ["x", "y"]}, "one for each of the 2 options"),
    ({"otions": "x"}, "Extra inputs"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG_MAPPINGS)
def test_a_mapping_that_cannot_be_meant(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=".") as raised:
        mapping(**changes)
    assert said in str(raised.value)


def test_braces_are_doubled_and_names_are_as_they_stand() -> None:
    assert [tuple(part) for part in template_parts("{{x}} {Best Answer}: {a.b}?")] == [
        ("{", None),
        ("x}", None),
        (" ", "Best Answer"),
        (": ", "a.b"),
        ("?", None),
    ]


SPACE = "name: x\nbase: random-tiny\nquestions: {train: {source: FILE, mapping: MAPPING}}\ntrial: {volumes: [0, 8]}\n"


def space(tmp_path: Path, fields: dict[str, Any], count: int = 20) -> Path:
    """A search space that trains on 20 rows through a mapping and evaluates on the atlas."""
    as_jsonl(tmp_path / "mine.jsonl", [arc_row(number) for number in range(count)])
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("FILE", str(tmp_path / "mine.jsonl")).replace("MAPPING", json.dumps(fields)))
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"optoins": 1},
            "questions.train.0.mapping.optoins: got 1; allowed: one of prompt, options, answer, labels, kinds, bl",
        ),
        ({"options": 3}, "questions.train.0.mapping.options: got 3; allowed: the column that holds"),
        ({"prompt": "{a.b[0]}"}, "questions.train.0.mapping.prompt: got '{a.b[0]}'; allowed: {a.b[0]}: a column's"),
        (
            {"kinds": "far", "answer": None, "labels": None},
            "questions.train.0.mapping.answer: got 'None'; allowed: exa",
        ),
    ],
)
def test_a_wrong_mapping_in_a_search_space_is_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = space(tmp_path, ARC | changes)
    with pytest.raises(InputError) as raised:
        settings.load(path)
    assert str(raised.value).startswith(f"{path}: {said}") and "\n" not in str(raised.value)


def test_keys_follow_what_the_mapping_makes_of_the_rows(tmp_path: Path) -> None:
    """Not its wording: the same questions by another way have the same keys, other questions others."""
    keys = []
    for fields in (
        ARC,
        {**ARC, "labels": ["A", "B", "C"]},
        {**ARC, "prompt": "Q: {question}\nA:"},
        ARC | {"kinds": "far"},
    ):
        sweep = settings.load(space(tmp_path, fields), ["trial.near_miss_share=0.0"] if "kinds" in fields else []).sweep
        material = plan.gather(sweep)
        planned = plan.trial_plan(material, sweep.trial)
        keys.append((material.name, planned.key, planned.heads["positive"].key, planned.evaluation_key))
    assert keys[0] == keys[1]
    for other in (2, 3):
        assert all(one != another for one, another in zip(keys[0][:3], keys[other][:3], strict=True))
        assert keys[0][3] == keys[other][3], "the evaluated questions are the atlas's all along"


@pytest.mark.skipif(not REAL_ARC.is_dir(), reason=f"no ARC at {REAL_ARC}: set LIKRA_ARC to a folder of allenai/ai2_arc")
@pytest.mark.parametrize("config", ["ARC-Easy", "ARC-Challenge"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_real_arc_through_a_mapping(config: str, split: str) -> None:
    theirs = load(config.lower(), split=split, folder=str(REAL_ARC), defects="leave_out")
    ours = load(str(REAL_ARC), split=split, config=config, mapping=mapping(), defects="leave_out")
    assert ours == theirs and len(ours.questions) > 1000
