"""A task of lm-evaluation-harness over a local file of rows {prompt, texts, correct}."""

from __future__ import annotations

from pathlib import Path

_TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{texts}}}}"
doc_to_target: "{{{{correct}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


def task(name: str, data: Path) -> str:
    """Its YAML."""
    return _TASK.format(name=name, data=data)
