"""What to run: SweepSpec > TrialSpec > LoraSpec ... Defaults live here and in question_spec.py, nowhere else.

Precedence of a value: default here < the search space's YAML < the point Optuna samples < ``--set``.
`settings.py` reads the YAML; kernels never see a spec, they take plain arguments.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from likra_ray.question_spec import QuestionsSpec, Sources, Spec

Baseline = Literal["mixture", "unlikelihood", "npo", "dpo", "kto", "orpo"]
"""Other ways to use the same negatives: one head each, of its own objective (heads/objectives.py)."""


class LoraSpec(Spec):
    """The adapter; no dropout, so that a volume inside a long run equals that volume trained alone."""

    rank: Annotated[int, Field(ge=1, le=512)] = 8
    """LoRA rank (paper's code: 8)."""
    alpha: Annotated[float, Field(gt=0)] = 8
    """Scale numerator: the update is alpha / rank * B A (paper's code: 8)."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("gate_proj", "up_proj", "down_proj")
    """Names of the linear layers adapted (paper's code: the MLP's three), or all-linear alone."""


class NegativeSourceSpec(Spec):
    """Where wrong answers come from."""

    near_miss_from: Literal["own", "most_plausible", "least_plausible"] = "own"
    """Near-misses: a random one of the question's own, or by the base model's score of them."""
    far_from: Literal["own", "other_question", "other_dataset"] = "own"
    """Far answers: the question's own far options, an option of another question, or of another data set."""
    other: Sources | None = None
    """The other data set, for far_from: other_dataset."""
    per_question: Annotated[int, Field(ge=1, le=16)] = 1
    """Wrong answers per question; the second ones follow when every question has had its first."""

    @model_validator(mode="after")
    def _other_goes_with_its_source(self) -> Self:
        if (self.other is not None) != (self.far_from == "other_dataset"):
            raise ValueError("other: given exactly when far_from is other_dataset")
        return self


class ResourcesSpec(Spec):
    """What one trial asks of the cluster."""

    workers: Annotated[int, Field(ge=1)] = 1
    """Ray Train workers; they share each global batch and each evaluation."""
    cpus: Annotated[float, Field(gt=0)] = 1
    """CPUs per worker, which is also its number of threads; without GPUs and once no trial is left to start (a single
    trial, a refinement, the end of a search) up to four times as many, of those that are free."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs per worker; below 1 several trials share one GPU, each with one worker."""
    heads_at_once: bool = False
    """Train the trial's missing heads in one batch: the same heads, in more memory, for idle GPUs; zero_stage null."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Times a trial's workers are started again after one of them died or hung."""
    stall_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Minutes without a pass through the model after which a worker is hung and killed; the base must load within."""

    @model_validator(mode="after")
    def _fraction_has_one_worker(self) -> Self:
        if 0 < self.gpus < 1 and self.workers > 1:
            raise ValueError("gpus: below 1 only with 1 worker (NCCL refuses two ranks on one device)")
        return self


class TrialSpec(Spec):
    """One point: a positive and a negative head and what they score."""

    volumes: tuple[Annotated[int, Field(ge=0)], ...] = (0, 16, 32, 64, 128, 256, 512)
    """Examples at which heads are kept and scored: 0, then increasing multiples of batch_size."""
    negatives: int | None = None
    """Largest volume of the negative head, one of volumes; None: the last."""
    positives: int | None = None
    """Largest volume of the positive head, one of volumes; None: the last."""
    near_miss_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the negatives that are near-misses, exact at every volume."""
    contamination_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the negatives replaced by correct answers: a control."""
    negative_source: NegativeSourceSpec = NegativeSourceSpec()
    """Where the wrong answers come from."""
    labels: Literal["given", "shuffled"] = "given"
    """shuffled: which option of a training question is correct is drawn at random, a control; shots keep theirs."""
    prior: bool = False
    """Also score every option after a bare "Answer:", without shots, for the arms pmi_base and pmi_sft."""
    baselines: tuple[Baseline, ...] = ()
    """Other ways to learn from the same negatives, each a head and an arm of its own; analysis/arms.py says how each
    counts, heads/objectives.py what each minimises."""
    beta: Annotated[float, Field(gt=0)] = 0.1
    """How far npo, dpo and kto may leave the base, and orpo's weight of its odds (trl's default for all it has)."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-4
    """Adam's constant rate, every head (probe on SmolLM2-135M; the paper uses 1e-4 on 7B, 1e-3 on 3B)."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Examples per optimizer step over all workers (paper: 8); an example of a baseline is a pair of answers."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Micro-batches a worker's share of a batch is split into."""
    lora: LoraSpec = LoraSpec()
    """The adapter of every head."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Order of questions, draw of negatives and initialisation of the adapters."""
    weight: Annotated[float, Field(ge=0)] = 1.0
    """w in L+ - w L- (paper: 1)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the base's arithmetic; adapters and optimizer are fp32 always."""
    zero_stage: Literal[0, 1, 2, 3] | None = 0
    """DeepSpeed ZeRO stage; None: plain PyTorch. The head is the same."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    resources: ResourcesSpec = ResourcesSpec()
    """Workers and what each of them gets."""

    @model_validator(mode="after")
    def _volumes_fit_the_batch(self) -> Self:
        increasing = all(a < b for a, b in zip(self.volumes, self.volumes[1:], strict=False))
        if len(self.volumes) < 2 or self.volumes[0] != 0 or not increasing:
            raise ValueError(f"volumes: {list(self.volumes)}; allowed: 0, then increasing volumes")
        for volume in self.volumes:
            if volume % self.batch_size:
                raise ValueError(f"volumes: {volume}; allowed: multiples of batch_size {self.batch_size}")
        for name in ("negatives", "positives"):
            value = getattr(self, name)
            if value is not None and (value == 0 or value not in self.volumes):
                raise ValueError(f"{name}: {value}; allowed: one of {list(self.volumes[1:])}, as volumes says")
        share, rest = divmod(self.batch_size, self.resources.workers * self.accumulation)
        if rest or not share:
            raise ValueError(
                f"batch_size: {self.batch_size}; allowed: a multiple of resources.workers x accumulation = "
                f"{self.resources.workers * self.accumulation}"
            )
        return self

    @model_validator(mode="after")
    def _heads_at_once_are_plain(self) -> Self:
        if self.resources.heads_at_once and self.zero_stage is not None:
            raise ValueError(
                f"zero_stage: {self.zero_stage}; allowed: null (plain PyTorch) with resources.heads_at_once: a ZeRO "
                "engine has one optimizer, each head needs its own"
            )
        return self

    @model_validator(mode="after")
    def _baselines_can_be_made(self) -> Self:
        if len(set(self.baselines)) < len(self.baselines):
            raise ValueError(f"baselines: {list(self.baselines)}; allowed: each once")
        if "kto" in self.baselines and self.batch_size < 2:
            raise ValueError(
                f"baselines: kto; allowed: with batch_size of at least 2, not {self.batch_size}: its KL estimate pairs "
                "each prompt with another's answer"
            )
        even = sorted({"dpo", "kto"} & set(self.baselines))
        first = self.volumes[1]
        near = math.floor(self.near_miss_share * first + 0.5)
        most = 1 - 0.5 / max(near, first - near)  # near and far answers are contaminated apart
        if even and self.contamination_share >= most:
            raise ValueError(
                f"baselines: {even}; allowed: with contamination_share below {most:g}: from there both answers of each "
                f"of the first {first} pairs are one text, and the head would learn rounding errors"
            )
        return self

    def head_volumes(self, role: Literal["positive", "negative"] | Baseline) -> tuple[int, ...]:
        """The volumes this trial needs of a head, 0 included; a baseline's pairs need both kinds of answers."""
        positives, negatives = (self.positives or self.volumes[-1], self.negatives or self.volumes[-1])
        largest = {"positive": positives, "negative": negatives}.get(role, min(positives, negatives))
        return tuple(v for v in self.volumes if v <= largest)


class Range(Spec):
    """A number between two bounds, both included."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""
    log: bool = False
    """Sampled evenly in the logarithm."""
    step: Annotated[float, Field(gt=0)] | None = None
    """Only low, low + step, low + 2 step, ..."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low: {self.low}; allowed: less than high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: true; allowed: only with low above 0 and without step")
        if self.step is not None and not math.isclose(math.remainder(self.high - self.low, self.step), 0, abs_tol=1e-9):
            raise ValueError(f"step: {self.step}; allowed: one that divides high - low = {self.high - self.low}")
        return self


class Choices(Spec):
    """One of a list."""

    choices: Annotated[tuple[bool | int | float | str, ...], Field(min_length=1)]
    """The values."""


def _kind_of_axis(value: Any) -> str:
    """Which of the two a mapping means, so that what is wrong in it is said of that one."""
    if isinstance(value, Range) or (
        isinstance(value, dict) and "choices" not in value and {"low", "high"} & set(value)
    ):
        return "Range"
    return "Choices"


Axis = Annotated[Annotated[Range, Tag("Range")] | Annotated[Choices, Tag("Choices")], Discriminator(_kind_of_axis)]


class BudgetSpec(Spec):
    """When a sweep ends: whichever comes first."""

    trials: Annotated[int, Field(ge=1, le=100_000)] = 6
    """Points sampled by Optuna."""
    minutes: Annotated[float, Field(gt=0)] = 30.0
    """Wall clock; a trial that runs at its end is stopped, what it finished is kept."""
    refinements: Annotated[int, Field(ge=0)] = 2
    """Rounds of finer volumes inside the critical phase that was located, within the same minutes."""


FAR_FROM = "negative_source.far_from"
"""The searched field that decides whether `other` is drawn from."""

Objective = Literal["accuracy", "accuracy_norm", "gain_over_sft", "negatives"]


class SweepSpec(Spec):
    """Many trials over one search space."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Folder of the sweep below the output, and its experiment in MLflow."""
    base: str = "smollm2-135m"
    """smollm2-135m | random-tiny | a hub id | a local folder | a .gguf file"""
    questions: QuestionsSpec = QuestionsSpec()
    """Training and evaluation."""
    trial: TrialSpec = TrialSpec()
    """Values every trial shares unless the search varies them."""
    search: dict[str, Axis] = {}
    """What Optuna varies, by field of trial."""
    start_from: tuple[dict[str, bool | int | float | str], ...] = ()
    """Points tried before Optuna samples any."""
    sampler: Literal["tpe", "random", "grid", "qmc", "nsga2"] = "tpe"
    """How Optuna chooses points; grid needs step or choices on every axis."""
    sampler_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of Optuna's sampler."""
    budget: BudgetSpec = BudgetSpec()
    """Trials and minutes."""
    objective: Annotated[dict[Objective, Literal["max", "min"]], Field(min_length=1)] = {
        "accuracy": "max",
        "negatives": "min",
    }
    """What is better: one metric, or several for a Pareto front. Accuracy is Likra's at the trial's last volume."""

    @model_validator(mode="after")
    def _has_a_folder_of_its_own(self) -> Self:
        if self.name in ("heads", "questions"):
            raise ValueError(f"name: {self.name}; allowed: another, the output keeps its {self.name} in such a folder")
        return self

    def trial_spec(self, sampled: dict[str, Any]) -> TrialSpec:
        """The trial at one sampled point, fields dotted. Raises pydantic.ValidationError where it is not allowed."""
        fields = self.trial.model_dump()
        for name, value in sampled.items():
            *outer, last = name.split(".")
            place = fields
            for part in outer:
                if not isinstance(place.get(part), dict):
                    place[part] = {}
                place = place[part]
            place[last] = value
        if FAR_FROM in sampled and sampled[FAR_FROM] != "other_dataset":
            fields["negative_source"]["other"] = None  # the points that do draw from it need it in the trial
        return TrialSpec.model_validate(fields)
