"""Prompts: each data set's row becomes the prompt and the texts the model reads."""

from __future__ import annotations

from typing import Any

import pytest

from likra_ray.errors import InputError
from likra_ray.questions import prompts

ARC = {"question": " Why? ", "choices": {"text": ["a", "b ", "c"], "label": ["A", "B", "C"]}, "answerKey": "B"}
HELLASWAG = {
    "activity_label": "Baking bread",
    "ctx_a": "[header] How to bake [title] Mix the flour [step] Take a bowl.",
    "ctx_b": "then Ann and I",
    "endings": ["knead [substeps] it.", "sing", "run", "sleep"],
    "label": "0",
}
WINOGRANDE = {"sentence": "The cup fell off _ , so it broke.", "option1": "the shelf", "option2": "Ann", "answer": "1"}


@pytest.mark.parametrize(
    ("read", "row", "expected"),
    [
        (prompts.arc, ARC, ("Question: Why?\nAnswer:", ("a", "b", "c"), 1)),
        (
            prompts.arc,
            ARC | {"choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"},
            ("Question: Why?\nAnswer:", ("a", "b"), 1),
        ),
        (
            prompts.arc,
            ARC | {"choices": {"text": ["a", "b"], "label": [1, 2]}, "answerKey": 1},
            ("Question: Why?\nAnswer:", ("a", "b"), 0),
        ),
        (
            prompts.openbookqa,
            {"question_stem": "Ice is", "choices": {"text": ["cold", "hot"], "label": ["A", "B"]}, "answerKey": "A"},
            ("Question: Ice is\nAnswer:", ("cold", "hot"), 0),
        ),
        (
            prompts.mmlu,
            {"question": "2+2?", "choices": ["3", "4", "5", "6"], "answer": 1, "subject": "sums"},
            ("Question: 2+2?\nAnswer:", ("3", "4", "5", "6"), 1),
        ),
        (
            prompts.mmlu,
            {"question": "2+2?", "choices": ["3", "4", "5", "6"], "answer": "B"},
            ("Question: 2+2?\nAnswer:", ("3", "4", "5", "6"), 1),
        ),
        (
            prompts.hellaswag,
            HELLASWAG,
            (
                "Baking bread: How to bake. Mix the flour Take a bowl. Then Ann and I",
                ("knead it.", "sing", "run", "sleep"),
                0,
            ),
        ),
        (
            prompts.hellaswag,
            HELLASWAG | {"ctx_a": "A man sits.", "ctx_b": "", "label": 3},
            ("Baking bread: A man sits.", ("knead it.", "sing", "run", "sleep"), 3),
        ),
        (
            prompts.winogrande,
            WINOGRANDE,
            ("The cup fell off", ("the shelf , so it broke.", "Ann , so it broke."), 0),
        ),
        (
            prompts.winogrande,
            WINOGRANDE | {"sentence": "It was _'s cup.", "answer": 2},
            ("It was", ("the shelf's cup.", "Ann's cup."), 1),
        ),
    ],
)
def test_pieces(read: prompts.Reader, row: dict[str, Any], expected: tuple[str, tuple[str, ...], int]) -> None:
    assert read(row, "here:1") == expected


@pytest.mark.parametrize(
    ("read", "row", "field", "allowed"),
    [
        (prompts.arc, ARC | {"question": None}, "question", "a string"),
        (prompts.arc, ARC | {"choices": ["a", "b"]}, "choices", "text and label"),
        (prompts.arc, ARC | {"choices": {"text": "ab", "label": ["A", "B"]}}, "choices.text", "a list of strings"),
        (prompts.arc, ARC | {"choices": {"text": ["a", "b"], "label": ["A"]}}, "choices.label", "2 labels"),
        (prompts.arc, ARC | {"answerKey": "D"}, "answerKey", "A, B, C"),
        (prompts.arc, ARC | {"answerKey": ""}, "answerKey", "A, B, C"),
        (prompts.arc, ARC | {"choices": {"text": ["a", "b"], "label": ["A", "A"]}, "answerKey": "A"}, "answerKey", "A"),
        (prompts.mmlu, {"question": "?", "choices": ["a", "b"], "answer": 2}, "answer", "0, A, 1, B"),
        (prompts.mmlu, {"question": "?", "choices": ["a", "b"], "answer": True}, "answer", "0, A, 1, B"),
        (prompts.hellaswag, HELLASWAG | {"label": ""}, "label", "0, 1, 2, 3"),
        (prompts.hellaswag, {k: v for k, v in HELLASWAG.items() if k != "ctx_b"}, "ctx_b", "a string"),
        (prompts.winogrande, WINOGRANDE | {"answer": ""}, "answer", "1, 2"),
        (prompts.winogrande, WINOGRANDE | {"answer": "0"}, "answer", "1, 2"),
        (prompts.winogrande, WINOGRANDE | {"sentence": "No blank."}, "sentence", "exactly one _"),
        (prompts.winogrande, WINOGRANDE | {"sentence": "_ and _."}, "sentence", "exactly one _"),
    ],
)
def test_a_row_that_cannot_be_read_names_its_place_and_field(
    read: prompts.Reader, row: dict[str, Any], field: str, allowed: str
) -> None:
    with pytest.raises(InputError) as raised:
        read(row, "set.jsonl:9")
    assert str(raised.value).startswith(f"set.jsonl:9: {field}: got ")
    assert allowed in str(raised.value)


def test_every_wrong_option_of_a_row_is_a_near_miss() -> None:
    question = prompts.assemble("x", prompts.arc(ARC, "here"))
    assert [(option.text, option.kind) for option in question.options] == [
        ("a", "near_miss"),
        ("b", "correct"),
        ("c", "near_miss"),
    ]


def test_what_winogrande_reads_is_the_sentence_with_the_option_in_its_blank() -> None:
    pieces = prompts.winogrande(WINOGRANDE, "here")
    read = [f"{pieces.prompt} {text}" for text in pieces.texts]
    assert read == [WINOGRANDE["sentence"].replace("_", WINOGRANDE[option]) for option in ("option1", "option2")]


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("[header] How to [title] Wash. [step] Dry", "How to. Wash. Dry"),
        ("Stop! [title] Go", "Stop! Go"),
        ("[title] Go", "Go"),
        ("a  b\tc", "a b c"),
        ("plain [substeps] text", "plain text"),
    ],
)
def test_hellaswag_marks_are_removed(marked: str, plain: str) -> None:
    assert prompts.without_marks(marked) == plain
