"""What the platform does, ready to be timed: scoring, training, and the operations each must do at least."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from likra_ray.heads import adapters, base, training
from likra_ray.heads.base import LoadedBase
from likra_ray.heads.engines import PlainEngine
from likra_ray.heads.packing import Tree, alike, grow, merged, pack, token_logprobs
from likra_ray.heads.scoring import Forest
from likra_ray.heads.tokens import encode
from likra_ray.questions import curriculum, sources
from likra_ray.records import Question

MLP = ("gate_proj", "up_proj", "down_proj")


def smollm2() -> LoadedBase:
    """The base of every benchmark here, loaded anew."""
    return base.load(base.resolve("smollm2-135m"))


def smollm2_in_bf16() -> LoadedBase:
    """The same as the platform holds it where it computes in bf16 under autocast."""
    loaded = smollm2()
    adapters.cast_base(loaded.model)
    return loaded


def as_peers_load_it() -> LoadedBase:
    """The same base as transformers loads it, with its own attention and torch's own products."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = base.resolve("smollm2-135m").path
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    return LoadedBase(model.requires_grad_(False).eval(), tokenizer)


class Questions(NamedTuple):
    """What is scored and learnt."""

    name: str
    evaluate: tuple[Question, ...]
    train: tuple[Question, ...]


def questions(folder: Path | None) -> Questions:
    """ARC-Easy where its files are at hand, else the atlas."""
    if folder is not None:
        evaluate, train = (
            sources.load("arc-easy", split=split, folder=str(folder), defects="leave_out").questions
            for split in ("test", "train")
        )
        return Questions("ARC-Easy", evaluate, train)
    return Questions("the atlas", sources.load("atlas", split="test").questions,
                     sources.load("atlas", split="train").questions)  # fmt: skip


class Cost(NamedTuple):
    """Floating-point operations in matrix products, those of attention included, as model FLOP utilisation counts them
    (Chowdhery et al. 2022, appendix B), but of what a token sees alone."""

    token: float
    """Of one token and the weights of all layers."""
    place: float
    """Of one place projected on the vocabulary."""
    pair: float
    """Of one token that sees one, itself included, in the attention of all layers: its key, then its value."""


class Operations(NamedTuple):
    """Of a piece of work."""

    weights: float
    """In products with the base's weights."""
    attention: float
    """In attention's own."""

    def shares(self, seconds: float, rate: float) -> tuple[float, float]:
        """Of a rate, FLOP per second: reached in both, and in products with weights alone."""
        return sum(self) / seconds / rate, self.weights / seconds / rate


def cost(model: Any) -> Cost:
    """Two operations per weight and token; the embedding is a lookup, its transpose the projection."""
    table = model.get_input_embeddings().weight.numel()
    layers = sum(p.numel() for p in model.parameters()) - table
    head = model.get_output_embeddings().weight
    if head.data_ptr() != model.get_input_embeddings().weight.data_ptr():
        layers -= head.numel()
    config = model.config
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return Cost(2.0 * layers, 2.0 * head.numel(), 4.0 * width * config.num_hidden_layers)


def scoring_operations(of: Cost, forest: Forest) -> Operations:
    """What `score_forest` has to do: each shared token once, the vocabulary at answer places."""
    prefix = len(forest.prefix)
    weights, attention = _forward(of, forest.trees, prefix=prefix)
    return Operations(weights + of.token * prefix, attention + of.pair * prefix * (prefix + 1) / 2)


def _forward(of: Cost, trees: Sequence[Tree], *, prefix: int = 0) -> Operations:
    places = seen = 0
    for tree in trees:
        paths = zip(tree.paths, tree.scored_from, strict=True)
        places += len({path[:index] for path, first in paths for index in range(first, len(path))})
        seen += sum(prefix + depth + 1 for depth in tree.nodes.depths)
    return Operations(of.token * sum(tree.size for tree in trees) + of.place * places, of.pair * seen)


def merged_batches(lessons: training.Lessons, batch_size: int) -> list[Tree]:
    """The trees a head learns from, those of each batch merged as training merges them."""
    batches = [lessons.trees[start : start + batch_size] for start in range(0, len(lessons.trees), batch_size)]
    return [merged([batch[i] for i in group]) for batch in batches for group in alike(batch)]


def training_operations(of: Cost, lessons: training.Lessons, batch_size: int) -> Operations:
    """Forward, and the gradient of the activations: as much again with frozen weights, which have no gradient of their
    own, twice as much in attention, where both sides of a product have one."""
    forward = _forward(of, merged_batches(lessons, batch_size))
    return Operations(2.0 * forward.weights, 3.0 * forward.attention)


def answers(train: Sequence[Question], count: int) -> list[tuple[str, str]]:
    """(prompt, correct answer) of a positive head's first examples."""
    return [(example.prompt, example.answer) for example in curriculum.positives(train, seed=0)[:count]]


def preferences(train: Sequence[Question], count: int) -> list[tuple[str, str, str]]:
    """(prompt, correct, wrong) of the first questions."""
    return [
        (question.prompt, question.correct.text, next(one.text for one in question.options if one.kind != "correct"))
        for question in train[:count]
    ]


def taught(loaded: LoadedBase, pairs: Sequence[tuple[str, str]]) -> training.Lessons:
    """(prompt, answer) pairs as a positive head learns them."""
    return training.one_answer(encode(loaded.tokenizer, pairs))


@torch.no_grad()
def preferred(loaded: LoadedBase, triples: Sequence[tuple[str, str, str]]) -> training.Lessons:
    """(prompt, correct, wrong) as dpo learns them, the base's log-probabilities computed once, before."""
    texts = [(prompt, answer) for prompt, *both in triples for answer in both]
    encoded = encode(loaded.tokenizer, texts)
    trees = tuple(grow(encoded[i : i + 2]) for i in range(0, len(encoded), 2))
    reference = []
    for tree in trees:
        row = pack([tree])
        logprobs = token_logprobs(loaded.model, row, device=torch.device("cpu"))
        reference.append(torch.zeros(2).index_add_(0, row.path, logprobs))
    return training.Lessons("dpo", trees, beta=0.1, reference=torch.stack(reference))


class Trainer:
    """A head trained anew at each call."""

    def __init__(self, loaded: LoadedBase, lessons: training.Lessons, *, batch_size: int, bf16: bool = False) -> None:
        """loaded: a base of its own, an adapter is attached to it."""
        self.model = adapters.attach(loaded.model, rank=8, alpha=8, targets=MLP, seed=0)
        self.bf16 = bf16
        if bf16:
            adapters.cast_base(self.model)
        self.lessons, self.batch_size, self.volume = lessons, batch_size, len(lessons.trees)
        self._fresh = adapters.read(self.model, "positive")

    def train(self) -> None:
        """Once through all pairs."""
        adapters.write(self.model, "positive", self._fresh)
        names = adapters.parameters(self.model, "positive")
        named = dict(zip(names, adapters.choose(self.model, "positive"), strict=True))
        run = training.HeadRun(
            "positive",
            PlainEngine(self.model, named, 5e-4),
            self.lessons,
            start=0,
            volumes=(0, self.volume),
            on_volume=lambda seen: None,
            on_step=lambda step: None,
        )
        training.train(
            [run],
            batches=training.Batches(self.batch_size, 1),
            autocast=lambda: torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16),
        )
