"""The platform beside its peers, on one machine in one process tree: benchmarks/RESULTS.md.

    make bench                                            everything, half an hour on two cores
    python -m benchmarks.speed --quick                    a look in two minutes; prints, writes nothing
    python -m benchmarks.speed --arc FOLDER               where ARC's files lie; without it the atlas is asked
    python -m benchmarks.speed --only scoring training    some sections; prints, writes nothing

Peers come with the extra `bench`. A timing here is never a test; that both give the same answers is one (tests/).
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import against_lm_eval, against_trl, growth, peers, profile, timing, whole_curve, workloads
from benchmarks.setting import FULL, QUICK, Setting
from likra_ray.heads import allocation

PAGE = Path(__file__).with_name("RESULTS.md")
VERSIONS = ("torch", "transformers", "peft", "lm-eval", "trl", "likra_ray")
SECTIONS: dict[str, Callable[[Setting], list[str]]] = {
    "scoring": against_lm_eval.section,
    "training": against_trl.section,
    "curve": whole_curve.section,
    "growth": growth.section,
    "profile": profile.section,
}


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arc", type=Path, help="folder of ai2_arc; without it the atlas is asked")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="little of everything; nothing is written")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some sections; nothing is written")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    # As the platform's workers do; the peers have a process of their own.
    keeps = allocation.keep_freed()
    loaded = workloads.smollm2()
    began = time.time()
    rates = {dtype: timing.matrix_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    body: list[str] = []
    with peers.process(given.threads) as peer:
        setting = Setting(
            loaded=loaded,
            coarse=workloads.smollm2_in_bf16(),
            asked=workloads.questions(given.arc),
            arc=given.arc,
            cost=workloads.cost(loaded.model),
            rates=rates,
            sizes=QUICK if given.quick else FULL,
            peer=peer,
        )
        for name in given.only or SECTIONS:
            lines = SECTIONS[name](setting)
            print("\n".join(lines), flush=True)
            body += [*lines, ""]
    page = "\n".join([*_head(setting, keeps), *body, f"All of it: {(time.time() - began) / 60:.0f} minutes.", ""])
    if not given.quick and not given.only:
        PAGE.write_text(page)


def _head(setting: Setting, keeps: bool) -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    kept = "keeps" if keeps else "does not keep"
    rates = ", ".join(f"{str(dtype)[6:]} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in setting.rates.items())
    return [
        "# Measured speed, beside the peers",
        "",
        f"{datetime.date.today()}; {timing.machine()}; Python {platform.python_version()}; {versions}.",
        f"SmolLM2-135M on {setting.asked.name}; medians of {setting.sizes.repeats}, ours and the peer in turn. Matrix "
        f"products of the model's shapes run at {rates} here, by the faster of torch's libraries, measured in this "
        "run; what is reached of it counts products with weights and those of attention, of pairs that see each other, "
        f"and products with weights alone. Ours and the peers have a process each; ours {kept} the memory it frees, as "
        "the platform's workers do. `make bench` repeats this page.",
        "",
        "Targets are the project's own; they were set on a processor with AMX units, where bf16 products are",
        "eight times as fast as fp32 ones.",
        "",
    ]


if __name__ == "__main__":
    main()
