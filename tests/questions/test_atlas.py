"""The bundled atlas: its shape, the split by facts seen from four sides, and that its builder makes the same bytes."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from importlib import metadata, util
from pathlib import Path

import pytest

import likra_ray.questions
from likra_ray.errors import InputError
from likra_ray.questions.atlas import FACTS, FILE_NAME, fact, load_atlas, side
from likra_ray.records import Question

FILE = Path(likra_ray.questions.__file__).with_name(FILE_NAME)
ONE_TO_ONE = [
    relation
    for relation in FACTS
    if relation not in ("continent", "region", "currency", "province_of", "period", "group")
]
"""Relations in which no two subjects share an answer."""


def fold(text: str) -> str:
    """Words in lower case without accents and articles: written for this test, not the builder's."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    return " ".join(word for word in re.findall(r"[a-z0-9+.']+", plain) if word != "the")


@pytest.fixture(scope="module")
def atlas() -> dict[str, list[Question]]:
    return {"train": load_atlas("train"), "test": load_atlas("test")}


def relation_of(question: Question) -> str:
    return question.id.split("/")[1]


def about(question: Question) -> str:
    """What the question is about, told from the texts alone: the words not shared by all prompts of its relation."""
    prompt = question.prompt.removeprefix("Question: ").removesuffix("?\nAnswer:")
    for pattern in PATTERNS:
        if match := re.fullmatch(pattern, prompt):
            return fold(match[1])
    raise AssertionError(f"no pattern fits {prompt!r}")


PATTERNS = [
    r"What is the (?:capital|atomic number|chemical symbol|international calling code|internet country domain) of (.+)",
    r"What is the three-letter code of the currency of (.+)",
    r"What is the demonym for people from (.+)",
    r"Which country has (?:the internet domain|the international calling code|a region called) (.+)",
    r"Which country has the currency with the code (.+)",
    r"Which country has (.+) as its capital",
    r"Which country do people with the demonym (.+) come from",
    r"On which continent is (.+)",
    r"In which United Nations subregion is (.+)",
    r"Which chemical element has the (?:symbol|atomic number) (.+)",
    r"What is the (?:symbol|atomic number) of the chemical element with the (?:symbol|atomic number) (.+)",
    r"In which (?:period|group) of the periodic table is (.+)",
]
PATTERNS.sort(key=lambda pattern: "chemical element with the" not in pattern)


def test_there_are_enough_of_every_relation_on_both_sides(atlas: dict[str, list[Question]]) -> None:
    counts = {name: Counter(map(relation_of, questions)) for name, questions in atlas.items()}
    assert sum(counts["train"].values()) >= 2300
    assert sum(counts["test"].values()) >= 600
    assert set(counts["train"]) == set(counts["test"]) == set(FACTS)
    assert min(counts["test"].values()) >= 15
    total = sum(len(questions) for questions in atlas.values())
    assert total == len(FILE.read_bytes().splitlines()) >= 3400
    assert counts["train"]["province_of"] + counts["test"]["province_of"] < total / 3
    assert FILE.stat().st_size < 3_000_000


def test_every_question_has_one_correct_three_near_and_one_far_option(atlas: dict[str, list[Question]]) -> None:
    for question in [*atlas["train"], *atlas["test"]]:
        assert Counter(o.kind for o in question.options) == {"correct": 1, "near_miss": 3, "far": 1}, question
        assert len({fold(option.text) for option in question.options}) == 5, question
        assert fold(question.correct.text) != about(question), question


def test_the_correct_option_stands_everywhere_alike(atlas: dict[str, list[Question]]) -> None:
    questions = [*atlas["train"], *atlas["test"]]
    places = Counter([option.kind for option in question.options].index("correct") for question in questions)
    expected = len(questions) / 5
    assert sum((places[place] - expected) ** 2 / expected for place in range(5)) < 18.5  # chi-square, 4 df, p = 0.001


def test_a_prompt_stands_once_and_has_one_true_answer(atlas: dict[str, list[Question]]) -> None:
    prompts = [question.prompt for question in [*atlas["train"], *atlas["test"]]]
    assert len(set(prompts)) == len(prompts)


def test_first_side_no_fact_by_id_is_on_both_sides(atlas: dict[str, list[Question]]) -> None:
    facts = {name: {fact(question.id) for question in questions} for name, questions in atlas.items()}
    assert not facts["train"] & facts["test"]
    assert all(side(name) == "train" for name in facts["train"])


def test_second_side_no_pair_read_from_the_texts_is_on_both_sides(atlas: dict[str, list[Question]]) -> None:
    pairs = {
        name: {frozenset((about(question), fold(question.correct.text))) for question in questions}
        for name, questions in atlas.items()
    }
    assert all(len(pair) == 2 for pair in pairs["train"] | pairs["test"])
    assert not pairs["train"] & pairs["test"]


def test_third_side_no_question_turns_one_of_the_other_side_round(atlas: dict[str, list[Question]]) -> None:
    """Without templates: a test answer in a train prompt whose own answer is in the test prompt."""

    def words(text: str) -> str:
        return f" {fold(text.removeprefix('Question: ').removesuffix('Answer:').replace('?', ' '))} "

    by_answer = defaultdict(list)
    for question in atlas["train"]:
        by_answer[fold(question.correct.text)].append((words(question.prompt), question.id))
    for question in atlas["test"]:
        prompt, answer = words(question.prompt).split(), f" {fold(question.correct.text)} "
        spans = {" ".join(prompt[i:j]) for i in range(len(prompt)) for j in range(i + 1, len(prompt) + 1)}
        turned = [i for span in spans for other, i in by_answer.get(span, ()) if answer in other]
        assert not turned, (question, turned)


def test_fourth_side_no_test_option_was_an_option_of_its_relation_in_training(
    atlas: dict[str, list[Question]],
) -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    for question in atlas["train"]:
        seen[relation_of(question)] |= {option.text for option in question.options if option.kind != "far"}
    for question in atlas["test"]:
        if relation_of(question) in ONE_TO_ONE:
            texts = {option.text for option in question.options if option.kind != "far"}
            assert not texts & seen[relation_of(question)], question


def test_wrong_options_are_wrong(atlas: dict[str, list[Question]]) -> None:
    """No near-miss is the right answer, under the same relation, to the same thing asked about."""
    truth = defaultdict(set)
    for question in [*atlas["train"], *atlas["test"]]:
        truth[relation_of(question), about(question)].add(question.correct.text)
    for question in [*atlas["train"], *atlas["test"]]:
        wrong = {option.text for option in question.options if option.kind != "correct"}
        assert not wrong & truth[relation_of(question), about(question)], question


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("atlas/capital/france", "capital/france"),
        ("atlas/capital_of/france", "capital/france"),
        ("atlas/continent/france", "place/france"),
        ("atlas/region/france", "place/france"),
        ("atlas/province_of/france:corse", "province/france:corse"),
        ("atlas/number_by_symbol/iron", "element/iron"),
        ("atlas/symbol/iron", "element/iron"),
    ],
)
def test_the_fact_of_an_id(identity: str, expected: str) -> None:
    assert fact(identity) == expected


@pytest.mark.parametrize("identity", ["arc/capital/france", "atlas/colour/france", "atlas/capital/", "atlas"])
def test_an_id_of_another_source_has_no_fact(identity: str) -> None:
    with pytest.raises(ValueError, match="not the id of an atlas question"):
        fact(identity)


def test_another_split_is_refused() -> None:
    with pytest.raises(InputError, match="split: got 'dev'; allowed: train, test"):
        load_atlas("dev")


@pytest.mark.parametrize(
    ("identity", "answer"),
    [
        ("atlas/capital/france", "Paris"),
        ("atlas/capital_of/japan", "Japan"),
        ("atlas/demonym/netherlands", "Dutch"),
        ("atlas/region/serbia", "Southern Europe"),
        ("atlas/continent/brazil", "South America"),
        ("atlas/currency/india", "INR"),
        ("atlas/domain_of/germany", "Germany"),
        ("atlas/calling_code/italy", "+39"),
        ("atlas/symbol/gold", "Au"),
        ("atlas/number_by_symbol/oxygen", "8"),
        ("atlas/period/iron", "Period 4"),
        ("atlas/group/neon", "Group 18"),
    ],
)
def test_what_everybody_knows(atlas: dict[str, list[Question]], identity: str, answer: str) -> None:
    by_id = {question.id: question for questions in atlas.values() for question in questions}
    assert by_id[identity].correct.text == answer


def missing_packages() -> str:
    """Why the builder cannot be compared here, or nothing."""
    from likra_ray.questions.build_atlas import BUILT_WITH

    absent = [name for name in BUILT_WITH if util.find_spec(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (pip install 'likra_ray[atlas]')"
    other = [f"{name} is not {version}" for name, version in BUILT_WITH.items() if metadata.version(name) != version]
    return ", ".join(other)


def test_the_builder_makes_the_bundled_bytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Another release of the source packages holds other facts, so other bytes are right there. make test installs them.
    if reason := missing_packages():
        pytest.skip(f"the atlas is not rebuilt: {reason}")
    from likra_ray.questions import build_atlas

    assert build_atlas.main(["--check"]) == 0
    made = [json.loads(line) for line in FILE.read_text(encoding="utf-8").split("\n")[:-1]]
    questions = [Question.from_json(row) for row in made]
    monkeypatch.setattr(build_atlas, "build", lambda: questions[1:])
    assert build_atlas.main(["--check"]) == 1
    assert "differs" in capsys.readouterr().err
