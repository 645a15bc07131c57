"""Takes questions, returns the same ones as a control asks them: labels shuffled, options in view, or no question.

    shuffle_labels   which option is correct, near or far is drawn anew: a head learns the task's form, not its content
    list_options     the prompt lists its options: separate scoring without them understates a model (arXiv 2412.17758)
    unasked          the bare "Answer:" as the prompt: what an option is worth by itself (PMI, arXiv 2104.08315)

Ids, options' texts and their order stay. Draws come from SHA-256 of the question's id, as in `negatives`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from likra_ray.errors import InputError
from likra_ray.questions.negatives import random_bits
from likra_ray.records import Kind, Option, Question

ANSWER = "Answer:"
"""What a prompt must end in to have its options listed before, or its question taken away."""

SHOWN = 40
"""Characters of a prompt's end that an error shows."""


def shuffle_labels(questions: Iterable[Question], *, seed: int) -> tuple[Question, ...]:
    """Every question with its kinds dealt anew to its options, each deal as likely as another.

    Exactly one option is correct afterwards, whatever it was before; where several were, those that lose it are
    near-misses. So the option a positive head learns and the one of the question's own that a negative head learns
    are a random ordered pair: swapping the two heads is as likely, and their ratio can tell nothing about the truth.
    That holds for near_miss_from and far_from: own; negatives chosen by plausibility, or taken from elsewhere, differ
    from the positives in that.
    """
    return tuple(replace(question, options=_dealt(question, seed)) for question in questions)


def _dealt(question: Question, seed: int) -> tuple[Option, ...]:
    options = question.options
    order = sorted(
        range(len(options)), key=lambda place: (random_bits(seed, "label", question.id, options[place].text), place)
    )
    wrong = [option.kind for option in options if option.kind != "correct"]
    surplus: list[Kind] = ["near_miss"] * (len(options) - 1 - len(wrong))
    kinds: dict[int, Kind] = dict(zip(order, ["correct", *wrong, *surplus], strict=True))
    return tuple(Option(text=option.text, kind=kinds[place]) for place, option in enumerate(options))


def list_options(questions: Iterable[Question]) -> tuple[Question, ...]:
    """Every question with its options named before "Answer:", one a line; what is learnt and scored stays their text.

    Their order is random by question and fixed by its id: no head and no seed sees another. Raises InputError for a
    prompt that does not end in "Answer:".
    """
    found = list(questions)
    check_asked(found, where="questions", field="questions.options_visible")
    return tuple(replace(question, prompt=_listing(question)) for question in found)


def _listing(question: Question) -> str:
    texts = [option.text for option in question.options]
    texts.sort(key=lambda text: (random_bits(0, "listed", question.id, text), text))
    asked = question.prompt.removesuffix(ANSWER).rstrip()
    return "\n".join([*([asked] if asked else []), "Options:", *(f"- {text}" for text in texts), ANSWER])


def unasked(questions: Iterable[Question]) -> tuple[Question, ...]:
    """Every question with the bare "Answer:" as its prompt.

    Raises InputError for a prompt that does not end so: what is taken away must be the question and nothing else.
    """
    found = list(questions)
    check_asked(found, where="questions", field="trial.prior")
    return tuple(replace(question, prompt=ANSWER) for question in found)


def check_asked(questions: Sequence[Question], *, where: str, field: str) -> None:
    """Raise InputError unless every prompt ends in "Answer:". where: the source; field: what asks for it."""
    for question in questions:
        if not question.prompt.endswith(ANSWER):
            value = f"{question.id}, whose prompt ends in {question.prompt[-SHOWN:]!r}"
            raise InputError(
                where=where, field=field, value=value, allowed=f"only with sources whose prompts end in {ANSWER!r}"
            )
