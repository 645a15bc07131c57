"""Whatever is wrong in a search space is one line that names the place, the field, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from likra_ray import search, settings
from likra_ray.errors import InputError
from likra_ray.spec import Choices, Range, SweepSpec, TrialSpec

SPACES = sorted((Path(__file__).parents[1] / "search_spaces").rglob("*.yaml"))
BASE = "name: mine\ntrial:\n  volumes: [0, 8, 16, 32]\n  batch_size: 8\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "space.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


WRONG: list[tuple[str, str, str, str]] = [
    # (what is added to BASE, field, value as shown, part of what is allowed)
    ("nmae: x", "nmae", "'x'", "one of name, base, questions, trial"),
    ("base: 7", "base", "7", "string"),
    ("questions: {trian: atlas}", "questions.trian", "'atlas'", "one of train, evaluate, shots"),
    ("questions: {train: {source: atlas, spilt: x}}", "questions.train.0.spilt", "'x'", "source, split, folder, limit"),
    ("questions: {train: {split: train}}", "questions.train.0.source", "nothing", "required"),
    ("questions: {train: []}", "questions.train", "[]", "at least 1"),
    ("questions: {train: 3}", "questions.train.0", "3", ""),
    ("questions: {shots: -1}", "questions.shots", "-1", "greater than or equal to 0"),
    ("questions: {shots: 65}", "questions.shots", "65", "less than or equal to 64"),
    ("questions: {shots: 1.5}", "questions.shots", "1.5", "integer"),
    (
        "questions: {evaluate: {source: atlas, limit: 0}}",
        "questions.evaluate.0.limit",
        "0",
        "greater than or equal to 1",
    ),
    ("sampler: annealing", "sampler", "'annealing'", "'tpe', 'random', 'grid', 'qmc' or 'nsga2'"),
    ("sampler_seed: -3", "sampler_seed", "-3", "greater than or equal to 0"),
    ("budget: {trials: 0}", "budget.trials", "0", "greater than or equal to 1"),
    ("budget: {trials: many}", "budget.trials", "'many'", "integer"),
    ("budget: {minutes: 0}", "budget.minutes", "0", "greater than 0"),
    ("budget: {minutes: .inf}", "budget.minutes", "inf", "finite"),
    ("budget: {hours: 1}", "budget.hours", "1", "one of trials, minutes"),
    ("budget: 5", "budget", "5", ""),
    ("objective: {}", "objective", "{}", "at least 1"),
    ("objective: {speed: max}", "objective.speed", "'speed'", "'accuracy', 'accuracy_norm', 'gain_over_sft'"),
    ("objective: {accuracy: up}", "objective.accuracy", "'up'", "'max' or 'min'"),
    ("objective: accuracy", "objective", "'accuracy'", ""),
    ("search: {learning_rates: {choices: [1.0e-3]}}", "search.learning_rates", "'learning_rates'", "learning_rate"),
    ("search: {lora: {choices: [1]}}", "search.lora", "'lora'", "one of negatives"),
    (
        "search: {negative_source: {far_from: {choices: [own]}}}",
        "search.negative_source",
        "'negative_source'",
        "negative_source.far_from",
    ),
    (
        "search: {negative_source.per_question: {choices: [2]}}",
        "search.negative_source.per_question",
        "'negative_source.per_question'",
        "one of negatives",
    ),
    (
        "search: {negative_source.far_from: {choices: [own, moon]}}",
        "search.negative_source.far_from",
        "{'negative_source.far_from': 'moon'}",
        "'own', 'other_question' or 'other_dataset'",
    ),
    (
        "search: {negative_source.near_miss_from: {choices: [hard]}}",
        "search.negative_source.near_miss_from",
        "{'negative_source.near_miss_from': 'hard'}",
        "'own', 'most_plausible' or 'least_plausible'",
    ),
    (
        "search: {negative_source.far_from: {choices: [other_dataset]}}",
        "search.negative_source.far_from",
        "{'negative_source.far_from': 'other_dataset'}",
        "other: given exactly when far_from is other_dataset",
    ),
    ("search: {labels: {choices: [given, wrong]}}", "search.labels", "{'labels': 'wrong'}", "'given' or 'shuffled'"),
    ("search: {labels: {choices: [true]}}", "search.labels", "{'labels': True}", "'given' or 'shuffled'"),
    ("search: {labels: {low: 0, high: 1}}", "search.labels", "{'labels': 0.0}", "'given' or 'shuffled'"),
    (
        "search: {labels: {choices: [given]}}\nstart_from: [{labels: shuffled}]",
        "start_from.0.labels",
        "'shuffled'",
        "one of ['given']",
    ),
    ("questions: {options_visible: some}", "questions.options_visible", "'some'", "boolean"),
    ("search: {seed: {choices: []}}", "search.seed.choices", "[]", "at least 1"),
    ("search: {seed: {choice: [1]}}", "search.seed.choice", "[1]", "one of"),
    ("search: {seed: {choices: [1], low: 0}}", "search.seed.low", "0", "one of choices"),
    ("search: {seed: {low: 0}}", "search.seed.high", "nothing", "required"),
    ("search: {seed: 3}", "search.seed", "3", ""),
    ("search: {seed: {choices: [-1]}}", "search.seed", "{'seed': -1}", "greater than or equal to 0"),
    ("search: {seed: {choices: [one]}}", "search.seed", "{'seed': 'one'}", "integer"),
    ("search: {seed: {choices: ['1']}}", "search.seed", "'1'", "1, as a trial reads it"),
    ("sampler_seed: 4294967296", "sampler_seed", "4294967296", "less than 4294967296"),
    ("search: {weight: {low: 2, high: 1}}", "search.weight.low", "'2.0'", "less than high 1.0"),
    ("search: {weight: {low: 1, high: 1}}", "search.weight.low", "'1.0'", "less than high"),
    ("search: {weight: {low: 0, high: 1, log: true}}", "search.weight.log", "'true'", "low above 0"),
    ("search: {weight: {low: 1, high: 2, log: true, step: 0.5}}", "search.weight.log", "'true'", "without step"),
    ("search: {weight: {low: 0, high: 1, step: 0.3}}", "search.weight.step", "'0.3'", "divides high - low = 1.0"),
    ("search: {weight: {low: 0, high: 1, step: 0}}", "search.weight.step", "0", "greater than 0"),
    ("search: {weight: {low: -1, high: 1}}", "search.weight", "{'weight': -1.0}", "greater than or equal to 0"),
    (
        "search: {near_miss_share: {low: 0, high: 2}}",
        "search.near_miss_share",
        "{'near_miss_share': 2.0}",
        "equal to 1",
    ),
    ("search: {learning_rate: {low: 1e-4, high: 1}}", "search.learning_rate", "{'learning_rate': 1.0}", "less than 1"),
    ("search: {negatives: {choices: [8, 12]}}", "search.negatives", "{'negatives': 12}", "one of [8, 16, 32]"),
    ("search: {negatives: {choices: [0]}}", "search.negatives", "{'negatives': 0}", "one of [8, 16, 32]"),
    ("search: {negatives: {low: 17, high: 31}}", "search.negatives", "{'low': 17.0", "volumes [0, 8, 16, 32]"),
    ("search: {negatives: {low: 64, high: 512}}", "search.negatives", "{'low': 64.0", "volumes [0, 8, 16, 32]"),
    ("search: {batch_size: {choices: [8, 3]}}", "search.batch_size", "{'batch_size': 3}", "multiples of batch_size 3"),
    ("search: {batch_size: {low: 7, high: 8}}", "search.batch_size", "{'batch_size': 7}", "multiples of batch_size 7"),
    (
        "sampler: grid\nsearch: {weight: {low: 0, high: 1}}",
        "search.weight",
        "'a continuous range'",
        "choices or a step",
    ),
    (
        "search: {seed: {choices: [0]}}\nstart_from: [{seed: 1}]",
        "start_from.0.seed",
        "1",
        "one of [0]",
    ),
    (
        "search: {seed: {choices: [0]}}\nstart_from: [{seed: 0}, {weight: 1}]",
        "start_from.1",
        "['seed', 'weight']",
        "exactly the fields of search: ['seed']",
    ),
    ("search: {seed: {choices: [0]}}\nstart_from: [{}]", "start_from.0", "['seed']", "exactly the fields of search"),
    ("start_from: [{seed: 0}]", "start_from.0", "['seed']", "exactly the fields of search: []"),
    (
        "search: {weight: {low: 0, high: 1}}\nstart_from: [{weight: much}]",
        "start_from.0.weight",
        "'much'",
        "0.0 to 1.0",
    ),
    (
        "search: {weight: {low: 0, high: 1}}\nstart_from: [{weight: 2}]",
        "start_from.0.weight",
        "2",
        "0.0 to 1.0",
    ),
    ("start_from: {seed: 0}", "start_from", "{'seed': 0}", ""),
    ("start_from: [3]", "start_from.0", "3", ""),
]

WRONG_TRIAL: list[tuple[str, str, str, str]] = [
    # (the trial's fields, field, value as shown, part of what is allowed)
    ("learning_rat: 1", "trial.learning_rat", "1", "one of volumes, negatives"),
    ("learning_rate: 0", "trial.learning_rate", "0", "greater than 0"),
    ("learning_rate: 1", "trial.learning_rate", "1", "less than 1"),
    ("learning_rate: fast", "trial.learning_rate", "'fast'", "number"),
    ("learning_rate: .nan", "trial.learning_rate", "nan", ""),
    ("near_miss_share: 1.01", "trial.near_miss_share", "1.01", "less than or equal to 1"),
    ("near_miss_share: -0.1", "trial.near_miss_share", "-0.1", "greater than or equal to 0"),
    ("contamination_share: 2", "trial.contamination_share", "2", "less than or equal to 1"),
    ("seed: -1", "trial.seed", "-1", "greater than or equal to 0"),
    ("weight: -0.5", "trial.weight", "-0.5", "greater than or equal to 0"),
    ("precision: fp16", "trial.precision", "'fp16'", "'fp32' or 'bf16'"),
    ("zero_stage: 4", "trial.zero_stage", "4", "0, 1, 2 or 3"),
    ("batch_size: 0", "trial.batch_size", "0", "greater than or equal to 1"),
    ("volumes: [0]", "trial.volumes", "'[0]'", "0, then increasing volumes"),
    ("volumes: [8, 16]", "trial.volumes", "'[8, 16]'", "0, then increasing volumes"),
    ("volumes: [0, 16, 8]", "trial.volumes", "'[0, 16, 8]'", "0, then increasing volumes"),
    ("volumes: [0, 8, 8]", "trial.volumes", "'[0, 8, 8]'", "0, then increasing volumes"),
    ("volumes: [0, 8, 12]", "trial.volumes", "'12'", "multiples of batch_size 8"),
    ("volumes: [0, -8]", "trial.volumes.1", "-8", "greater than or equal to 0"),
    ("volumes: 8", "trial.volumes", "8", ""),
    ("volumes: [0, 8]\n  negatives: 16", "trial.negatives", "'16'", "one of [8], as volumes says"),
    ("volumes: [0, 8]\n  positives: 0", "trial.positives", "'0'", "one of [8], as volumes says"),
    ("volumes: [0, 8]\n  accumulation: 3", "trial.batch_size", "'8'", "resources.workers x accumulation = 3"),
    ("volumes: [0, 8]\n  resources: {workers: 16}", "trial.batch_size", "'8'", "resources.workers x accumulation = 16"),
    ("resources: {workers: 0}", "trial.resources.workers", "0", "greater than or equal to 1"),
    ("resources: {cpus: 0}", "trial.resources.cpus", "0", "greater than 0"),
    ("resources: {gpus: -1}", "trial.resources.gpus", "-1", "greater than or equal to 0"),
    ("resources: {gpus: 0.5, workers: 2}", "trial.resources", "", "below 1 only with 1 worker"),
    (
        "resources: {heads_at_once: true}",
        "trial.zero_stage",
        "'0'",
        "null (plain PyTorch) with resources.heads_at_once",
    ),
    ("resources: {heads_at_once: 3}", "trial.resources.heads_at_once", "3", ""),
    ("resources: {worker: 2}", "trial.resources.worker", "2", "one of workers, cpus, gpus"),
    ("lora: {rank: 0}", "trial.lora.rank", "0", "greater than or equal to 1"),
    ("lora: {rank: 1000}", "trial.lora.rank", "1000", "less than or equal to 512"),
    ("lora: {alpha: 0}", "trial.lora.alpha", "0", "greater than 0"),
    ("lora: {targets: []}", "trial.lora.targets", "[]", "at least 1"),
    ("lora: {targets: gate_proj}", "trial.lora.targets", "'gate_proj'", ""),
    ("lora: {dropout: 0.1}", "trial.lora.dropout", "0.1", "one of rank, alpha, targets"),
    ("negative_source: {near_miss_from: model}", "trial.negative_source.near_miss_from", "'model'", "'most_plausible'"),
    ("negative_source: {far_from: moon}", "trial.negative_source.far_from", "'moon'", "'other_dataset'"),
    ("negative_source: {per_question: 17}", "trial.negative_source.per_question", "17", "less than or equal to 16"),
    ("negative_source: {other: arc}", "trial.negative_source", "", "given exactly when far_from is other_dataset"),
    ("negative_source: {far_from: other_dataset}", "trial.negative_source", "", "given exactly when far_from"),
    ("negative_source: {from: own}", "trial.negative_source.from", "'own'", "one of near_miss_from, far_from, other"),
    ("labels: true", "trial.labels", "True", "'given' or 'shuffled'"),
    ("prior: often", "trial.prior", "'often'", "boolean"),
    ("activation_checkpointing: maybe", "trial.activation_checkpointing", "'maybe'", "boolean"),
]


def check_line(error: InputError, where: str, field: str, value: str, allowed: str) -> None:
    line = str(error)
    assert "\n" not in line
    assert line.startswith(f"{where}: {field}: got {value}"), line
    said = line.partition("; allowed: ")[2]
    assert said, line
    assert allowed in said, line
    assert "Value error" not in line
    assert "pydantic" not in line


@pytest.mark.parametrize(
    ("text", "field", "value", "allowed"), WRONG, ids=lambda part: None if part == "" else str(part)
)
def test_wrong_in_the_file(tmp_path: Path, text: str, field: str, value: str, allowed: str) -> None:
    path = write(tmp_path, BASE + text)
    with pytest.raises(InputError) as caught:
        settings.load(path)
    check_line(caught.value, str(path), field, value, allowed)


@pytest.mark.parametrize("name", ["heads", "questions"])
def test_the_outputs_own_folders_are_no_names(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, BASE.replace("name: ", f"name: {name} #"))
    with pytest.raises(InputError) as caught:
        settings.load(path)
    check_line(caught.value, str(path), "name", f"'{name}'", "another, the output keeps its")


@pytest.mark.parametrize(("text", "field", "value", "allowed"), WRONG_TRIAL, ids=lambda part: str(part) or None)
def test_wrong_in_the_trial(tmp_path: Path, text: str, field: str, value: str, allowed: str) -> None:
    path = write(tmp_path, f"name: mine\ntrial:\n  {text}\n")
    with pytest.raises(InputError) as caught:
        settings.load(path)
    check_line(caught.value, str(path), field, value, allowed)


@pytest.mark.parametrize(("text", "field", "value", "allowed"), WRONG_TRIAL, ids=lambda part: str(part) or None)
def test_wrong_in_a_set(tmp_path: Path, text: str, field: str, value: str, allowed: str) -> None:
    path = write(tmp_path, BASE)
    fields = yaml.safe_load("\n".join(part.strip() for part in text.split("\n")))
    overrides = [f"trial.{key}={yaml.safe_dump([one], default_flow_style=True)[1:-2]}" for key, one in fields.items()]
    with pytest.raises(InputError) as caught:
        settings.load(path, overrides)
    check_line(caught.value, "--set", field, value, allowed)


@pytest.mark.parametrize(
    ("content", "place", "field", "allowed"),
    [
        (b"", "", "file", "a mapping"),
        (b"# nothing but this\n", "", "file", "a mapping"),
        (b"- name: x\n", "", "file", "a mapping with name, base, trial, search"),
        (b"just text", "", "file", "a mapping"),
        (b"\xff\xfe\x00binary\x00", "", "file", "a readable YAML file"),
        (b"name: x\x00y\n", "", "YAML", "valid YAML"),
        (b"name: mine\nbase: [1\n", ":3", "YAML", "valid YAML"),
        (b"name: mine\ntrial:\n\tseed: 1\n", ":3", "YAML", "valid YAML"),
        (b"name: mine\ntrial: {seed: 1}\ntrial: {seed: 2}\n", ":3", "YAML", "valid YAML"),
        (b"name: mine\ntrial:\n  seed: 1\n  weight: 1\n  seed: 2\n", ":5", "YAML", "valid YAML"),
        (b"name: !!python/object/apply:os.getcwd []\n", ":1", "YAML", "valid YAML"),
        (b"name: a\n---\nname: b\n", ":2", "YAML", "valid YAML"),
        (b"name: mine\n? [a, b]\n: 1\n", ":2", "YAML", "valid YAML"),
        (b"name: mine\n? {a: b}\n: 1\n", ":2", "YAML", "valid YAML"),
        (b"base: random-tiny\n", "", "name", "required"),
        (b"name: ../escape\n", "", "name", "pattern"),
        (b"name: ''\n", "", "name", "pattern"),
        (b"name: 3\n", "", "name", "string"),
        (b"nmae: mine\n", "", "nmae", "one of name"),
        (b"name: mine\n1: 2\n", "", "1", ""),
    ],
    ids=lambda part: repr(part)[:40],
)
def test_wrong_file(tmp_path: Path, content: bytes, place: str, field: str, allowed: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        settings.load(path)
    check_line(caught.value, f"{path}{place}", field, "", allowed)


@pytest.mark.parametrize("name", ["missing.yaml", "", "folder/missing.yaml"])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        settings.load(tmp_path / name)
    check_line(caught.value, str(tmp_path / name), "file", "", "a readable YAML file")


@pytest.mark.parametrize("override", ["trial.seed", "=3", "trial.=3", ".seed=3", "trial..seed=3", ""])
def test_a_set_that_is_no_assignment(tmp_path: Path, override: str) -> None:
    with pytest.raises(InputError) as caught:
        settings.load(write(tmp_path, BASE), [override])
    check_line(caught.value, "command line", "--set", repr(override), "a.b=value")


@pytest.mark.parametrize("value", ["[1", "{a: 1, a: 2}", "a: b: c", "!!python/name:os.getcwd x"])
def test_a_set_whose_value_is_no_yaml(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError) as caught:
        settings.load(write(tmp_path, BASE), [f"trial.seed={value}"])
    check_line(caught.value, "command line", "--set", repr(f"trial.seed={value}"), "a value in YAML")


@pytest.mark.parametrize(
    ("override", "field", "value", "allowed"),
    [
        ("nmae=x", "nmae", "'x'", "one of name"),
        ("trial.lora.dropout=0.1", "trial.lora.dropout", "0.1", "one of rank"),
        ("budget.trials=0", "budget.trials", "0", "greater than or equal to 1"),
        ("name=a b", "name", "'a b'", "pattern"),
        ("search.seed.choices=[]", "search.seed.choices", "[]", "at least 1"),
        (
            "search.near_miss_share.high=7",
            "search.near_miss_share",
            "{'near_miss_share': 7.0}",
            "less than or equal to 1",
        ),
        ("search.lora.choices=[1]", "search.lora", "'lora'", "one of negatives"),
        ("sampler=grid", "search.near_miss_share", "'a continuous range'", "choices or a step"),
    ],
)
def test_the_command_line_is_named_where_it_is_wrong(
    tmp_path: Path, override: str, field: str, value: str, allowed: str
) -> None:
    path = write(tmp_path, BASE + "search: {near_miss_share: {low: 0, high: 1}, weight: {low: 0, high: 1}}")
    settings.load(path)
    with pytest.raises(InputError) as caught:
        settings.load(path, [override])
    where = str(path) if override == "sampler=grid" else "--set"
    check_line(caught.value, where, field, value, allowed)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_search_space_loads(path: Path) -> None:
    loaded = settings.load(path)
    assert isinstance(loaded.sweep, SweepSpec)
    assert loaded.sweep.name
    assert set(loaded.origins.values()) <= {"default", path.name, "sampled"}


def test_there_are_search_spaces() -> None:
    assert {path.name for path in SPACES} >= {"quickstart.yaml", "smoke.yaml", "controls.yaml"}


def test_origins_and_precedence(tmp_path: Path) -> None:
    text = (
        BASE + "  learning_rate: 0.5\n  lora: {rank: 3}\nsearch: {seed: {choices: [0, 1]}, weight: {low: 0, high: 1}}"
    )
    path = write(tmp_path, text)
    plain = settings.load(path)
    assert plain.sweep.trial.learning_rate == 0.5
    given = settings.load(path, ["trial.learning_rate=0.25", "trial.lora.alpha=4", "budget.trials=9"])
    assert given.sweep.trial.learning_rate == 0.25
    assert (given.sweep.trial.lora.rank, given.sweep.trial.lora.alpha) == (3, 4), "its neighbour in the file stays"
    expected = {
        "name": "space.yaml",
        "base": "default",
        "trial.learning_rate": "--set",
        "trial.lora.rank": "space.yaml",
        "trial.lora.alpha": "--set",
        "trial.lora.targets": "default",
        "trial.volumes": "space.yaml",
        "trial.seed": "sampled",
        "trial.weight": "sampled",
        "trial.near_miss_share": "default",
        "budget.trials": "--set",
        "budget.minutes": "default",
        "search.seed.choices": "space.yaml",
    }
    assert {field: given.origins[field] for field in expected} == expected
    assert list(given.origins)[0] == "name"
    assert set(given.origins) == set(settings.resolved(given.sweep)), "every value has an origin"


DOTTED = """
  negative_source: {far_from: other_dataset, other: arc}
search:
  negative_source.far_from: {choices: [own, other_question, other_dataset]}
  negative_source.near_miss_from: {choices: [own, most_plausible]}
  labels: {choices: [given, shuffled]}
start_from: [{negative_source.far_from: own, negative_source.near_miss_from: own, labels: given}]
"""


def test_a_search_may_vary_fields_within_fields(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path, BASE + DOTTED))
    sampled = {field for field, origin in loaded.origins.items() if origin == "sampled"}
    assert sampled == {f"trial.{field}" for field in loaded.sweep.search}
    assert len(sampled) == 3
    own = loaded.sweep.trial_spec({"negative_source.far_from": "own", "labels": "shuffled"})
    assert (own.negative_source.far_from, own.negative_source.other, own.labels) == ("own", None, "shuffled")
    other = loaded.sweep.trial_spec({"negative_source.near_miss_from": "most_plausible"}).negative_source
    assert (other.near_miss_from, other.far_from) == ("most_plausible", "other_dataset")
    assert other.other is not None and other.other[0].source == "arc"


@pytest.mark.parametrize("point", [{"negative_source.from": 1}, {"volumes.first": 8}, {"seed.a.b": 1}, {"no.such": 1}])
def test_a_point_of_no_such_field_is_refused(point: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SweepSpec(name="mine").trial_spec(point)


def test_a_dotted_field_of_the_search_is_set_and_fixed(tmp_path: Path) -> None:
    path = write(tmp_path, BASE + DOTTED)
    given = ["search.labels.choices=[given]", "search.negative_source.near_miss_from.choices=[own]"]
    narrowed = settings.load(path, given).sweep.search
    assert narrowed["labels"] == Choices(choices=("given",))
    assert narrowed["negative_source.near_miss_from"] == Choices(choices=("own",))
    one = settings.load(path, ["trial.negative_source.near_miss_from=least_plausible"])
    assert set(one.sweep.search) == {"negative_source.far_from", "labels"}
    assert one.origins["trial.negative_source.near_miss_from"] == "--set"
    both = settings.load(path, ["trial.negative_source={far_from: other_question}"]).sweep
    assert set(both.search) == {"labels"} and both.start_from == ({"labels": "given"},)
    assert both.trial.negative_source.far_from == "other_question"


def test_the_later_set_wins(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path, BASE), ["trial.seed=1", "trial.seed=2"])
    assert loaded.sweep.trial.seed == 2


def test_a_fixed_value_is_fixed(tmp_path: Path) -> None:
    """Setting a field of the trial takes it out of the search, and out of the points to start from."""
    text = BASE + "search: {seed: {choices: [0, 1]}, weight: {choices: [1.0]}}\nstart_from: [{seed: 1, weight: 1.0}]"
    loaded = settings.load(write(tmp_path, text), ["trial.seed=7"])
    assert loaded.sweep.trial.seed == 7
    assert set(loaded.sweep.search) == {"weight"}
    assert loaded.sweep.start_from == ({"weight": 1.0},)
    assert loaded.origins["trial.seed"] == "--set"


@pytest.mark.parametrize(
    ("written", "read"),
    [("1e-3", 1e-3), ("5E-4", 5e-4), ("1.e-2", 1e-2), ("1.0e-3", 1e-3), ("2e-1", 0.2), ("+1e-3", 1e-3)],
)
def test_exponents_are_numbers(tmp_path: Path, written: str, read: float) -> None:
    path = write(
        tmp_path, f"name: mine\ntrial: {{learning_rate: {written}}}\nsearch: {{weight: {{choices: [{written}]}}}}"
    )
    loaded = settings.load(path)
    assert loaded.sweep.trial.learning_rate == read
    weights = loaded.sweep.search["weight"]
    assert isinstance(weights, Choices) and weights.choices == (read,)
    assert settings.load(path, [f"trial.learning_rate={written}"]).sweep.trial.learning_rate == read


@pytest.mark.parametrize("written", ["1e-3x", "'1e-3'", "e3"])
def test_what_only_looks_like_an_exponent_is_text(tmp_path: Path, written: str) -> None:
    name = settings.load(write(tmp_path, f"name: mine\nbase: {written}")).sweep.base
    assert name == written.strip("'")


def test_shorthands_of_sources(tmp_path: Path) -> None:
    text = "name: mine\nquestions: {train: atlas, evaluate: [atlas, {source: mine.jsonl, limit: 3}]}"
    questions = settings.load(write(tmp_path, text)).sweep.questions
    assert [source.source for source in questions.train] == ["atlas"]
    assert [(source.source, source.limit) for source in questions.evaluate] == [("atlas", None), ("mine.jsonl", 3)]


@pytest.mark.parametrize(
    ("field", "dimension", "found"),
    [
        ("seed", Choices(choices=(2, 0)), [2, 0]),
        ("seed", Range(low=0, high=3), [0, 1, 2, 3]),
        ("near_miss_share", Range(low=0, high=1, step=0.1), [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("near_miss_share", Range(low=0, high=1), None),
        ("learning_rate", Range(low=1e-4, high=1e-2, log=True), None),
        ("negatives", Range(low=8, high=20), [8, 16]),
        ("negatives", Range(low=8.5, high=32, log=True), [16, 32]),
        ("positives", Range(low=0, high=8), [8]),
        ("negatives", Range(low=100, high=200), []),
    ],
)
def test_values_of_an_axis(field: str, dimension: Any, found: list[Any] | None) -> None:
    assert search.values(field, dimension, (0, 8, 16, 32)) == found


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        settings.load(write(tmp_path, f"name: {'x' * 500}"))
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{before}'] * 8)}]\n" for before, this in zip("abcdefgh", "bcdefghi", strict=True)
)

UNREADABLE = [
    ("a billion values in 300 characters", BOMB, "more than 20000 values"),
    ("a list within itself", "name: &a [*a]", "within itself"),
    ("brackets 3,000 deep", "name: " + "[" * 3000 + "]" * 3000, "nested too deep"),
    ("a day that is none", "name: 2001-99-99", "month must be in 1..12"),
    ("a whole number that no message could show", "search: {seed: {choices: [0x" + "F" * 6000 + "]}}", "300 digits"),
    ("a number of 6,000 digits", "trial: {seed: " + "9" * 6000 + "}", "cannot be read"),
    ("a number of 20,000 bits", "name: x\ntrial: {seed: -0x" + "F" * 5000 + "}", "300 digits"),
    ("a bad tag", "name: !!int abc", "cannot be read"),
    ("an object of Python's", "name: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    ("a mebibyte", "# " + "x" * 2**20, "a search space"),
    ("a control character", "name: a\x07b", "special characters are not allowed"),
    ("escapes of a terminal", 'name: "\\e[2J"', "name"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [case[1:] for case in UNREADABLE], ids=[case[0] for case in UNREADABLE])
def test_what_no_search_space_is_ends_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Found by generated cases (tests/test_fuzz.py): each ended in a traceback, or not at all."""
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        settings.load(path)
    line = str(caught.value)
    assert said in line and line.isprintable() and len(line) < 1500


BOUNDLESS = [
    ("search={seed: {low: 0, high: 1000000000000}}", "at most 4096 values"),
    ("search={near_miss_share: {low: 0.0, high: 1.0, step: 1.0e-9}}", "at most 4096 values"),
    ("search={batch_size: {low: 1, high: 1000000000000}}", "at most 4096 values"),
    ("budget.trials=1000000000", "less than or equal to 100000"),
]


@pytest.mark.parametrize(("override", "said"), BOUNDLESS)
def test_a_space_too_large_to_be_looked_through_is_refused(tmp_path: Path, override: str, said: str) -> None:
    """Each made a list of all its values before it was checked."""
    with pytest.raises(InputError, match=said):
        settings.load(write(tmp_path, BASE), [override])


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_bytes(b"\xef\xbb\xbfname: marked\n")
    assert settings.load(tmp_path / "space.yaml").sweep.name == "marked"


def test_no_search_varies_what_kept_workers_depend_on() -> None:
    """Workers, and the base in them, serve every trial of their actor (group.py)."""
    fixed = {"resources", "precision", "zero_stage", "activation_checkpointing"}
    assert fixed <= set(TrialSpec.model_fields)
    assert not fixed & {field.split(".")[0] for field in search.SEARCHABLE}
