"""The peers, each on its own normal path: lm-eval's `hf` model, trl's SFTTrainer and DPOTrainer.

Both are in the extra `bench`. They get the same model, texts, dtype and threads as the platform, and a process of
their own: what one side sets for its process (how it allocates memory) is not the other's.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch

from benchmarks import workloads
from likra_ray.heads.scoring import solved
from likra_ray.heads.tokens import ANSWER_SEPARATOR
from likra_ray.records import Question

MLP = ["gate_proj", "up_proj", "down_proj"]


def process(threads: int) -> ProcessPoolExecutor:
    """One process for the peers; it keeps the models it loads."""
    return ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    )


def lm_eval_model(model: Any, tokenizer: Any, *, batch_size: int) -> Any:
    """lm-eval's HFLM around a model that is loaded."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, device="cpu")


@functools.cache
def _lm_eval_base(batch_size: int) -> Any:
    loaded = workloads.as_peers_load_it()
    return lm_eval_model(loaded.model, loaded.tokenizer, batch_size=batch_size)


def lm_eval_scores(
    batch_size: int, questions: Sequence[Question], shots: Sequence[Question] = ()
) -> tuple[float, np.ndarray]:
    """Seconds, and what `lm_eval_logprobs` gives; the model is loaded before."""
    peer = _lm_eval_base(batch_size)
    began = time.perf_counter()
    logprobs = lm_eval_logprobs(peer, questions, shots)
    return time.perf_counter() - began, logprobs


def lm_eval_logprobs(peer: Any, questions: Sequence[Question], shots: Sequence[Question] = ()) -> np.ndarray:
    """(O,) nats: log p of every option as its multiple-choice tasks ask for it, one request an option."""
    from lm_eval.api.instance import Instance

    before = solved(shots)
    requests = [
        Instance("loglikelihood", {}, (before + question.prompt, ANSWER_SEPARATOR + option.text), index)
        for question in questions
        for index, option in enumerate(question.options)
    ]
    return np.array([found[0] for found in peer.loglikelihood(requests, disable_tqdm=True)])


def sft_seconds(pairs: Sequence[tuple[str, str]], *, batch_size: int) -> float:
    """Seconds trl's SFTTrainer trains on (prompt, answer) pairs, once each, the loss on the answers; set-up left out.

    Padding-free batches, trl's own way not to pad, need flash attention, which has no CPU kernels: these are padded.
    """
    from trl import SFTConfig, SFTTrainer

    rows = [{"prompt": prompt, "completion": ANSWER_SEPARATOR + answer} for prompt, answer in pairs]
    return _trl_seconds(SFTTrainer, SFTConfig, rows, batch_size, completion_only_loss=True)


def dpo_seconds(pairs: Sequence[tuple[str, str, str]], *, batch_size: int) -> float:
    """Seconds trl's DPOTrainer trains on (prompt, correct, wrong); its reference is the model without the adapter."""
    from trl import DPOConfig, DPOTrainer

    rows = [
        {"prompt": prompt, "chosen": ANSWER_SEPARATOR + correct, "rejected": ANSWER_SEPARATOR + wrong}
        for prompt, correct, wrong in pairs
    ]
    return _trl_seconds(DPOTrainer, DPOConfig, rows, batch_size)


def _trl_seconds(trainer: Any, config: Any, rows: list[dict[str, str]], batch_size: int, **options: Any) -> float:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        began = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.perf_counter()

    clock, loaded = Clock(), workloads.as_peers_load_it()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = trainer(
            model=loaded.model,
            args=config(
                output_dir=folder, per_device_train_batch_size=batch_size, num_train_epochs=1, learning_rate=5e-4,
                lr_scheduler_type="constant", max_grad_norm=0.0, use_cpu=True, bf16=False, report_to=[],
                save_strategy="no", logging_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
                dataloader_pin_memory=False, **options,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=loaded.tokenizer,
            peft_config=LoraConfig(r=8, lora_alpha=8, target_modules=MLP, task_type="CAUSAL_LM"),
            callbacks=[clock],
        )  # fmt: skip
        threads = torch.get_num_threads()
        made.train()
        assert torch.get_num_threads() == threads, "the peer changed the number of threads"
    return clock.ended - clock.began
