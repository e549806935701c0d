"""Notebook 04's runs: replicas that share a queue of prompts, and Accelerate's equal shares."""

import json
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from workshop_utils.lessons.replica_model import NEW_TOKENS
from workshop_utils.lessons.script_view import script
from workshop_utils.lessons.small_model_run import QUESTIONS
from workshop_utils.lessons.tier import device_of_ranks
from workshop_utils.measure.provenance import cpu_name, hardware_name
from workshop_utils.parallel.bench_result import replica_environment
from workshop_utils.parallel.data import Answered, answer_all
from workshop_utils.parallel.launch.launcher import launch
from workshop_utils.parallel.launch.result import RunResult
from workshop_utils.parallel.prompt_service import PromptService

SIXTEEN_QUESTIONS = (
    *QUESTIONS,
    "What is bread made of?",
    "Name two oceans.",
    "What is a bicycle?",
    "Why do leaves fall in autumn?",
    "What does a thermometer measure?",
    "What is the largest planet?",
    "Write one sentence about snow.",
    "What is a triangle?",
    "Who works in a hospital?",
)
NEVER = 0  # the turns of a replica count from 1


@dataclass(frozen=True)
class ReplicasRun:
    """What some replicas did. ``cores_busy``: by each replica that came to its end, while it answered."""

    replicas: int
    device: str
    answered: Answered
    cores_busy: tuple[float, ...]

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second of all replicas together, prefill included, loading left out."""
        return len(self.answered.answers) * NEW_TOKENS / self.answered.seconds


def chat_prompts(tokenizer: Any, questions: Sequence[str]) -> list[list[int]]:
    """Return each question as token ids, in the model's chat template."""
    chats = [[{"role": "user", "content": question}] for question in questions]
    texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    ids: list[list[int]] = tokenizer(texts)["input_ids"]
    return ids


def answer_with_replicas(
    prompts: Sequence[Sequence[int]], replicas: int, *, kill: int | None = None, at_turn: int = 2
) -> ReplicasRun:
    """Start ``replicas`` times ``replica.py`` and one queue of prompts for all; returns when all is answered.

    ``kill``: the replica that ends itself when it takes its prompts for the ``at_turn``-th time.
    """
    device = device_of_ranks()
    busy: dict[int, float] = {}
    stopped = threading.Event()

    def start(number: int, service: PromptService) -> str | None:
        arguments = [str(service.folder), str(number), str(at_turn if number == kill else NEVER)]
        result = launch(
            script("replica.py").path, arguments, device=device, stop=stopped.is_set,
            environment=environment_of(number, replicas, device),
        )  # fmt: skip
        for row in result.measurements:
            busy[number] = row["cores_busy"]
        return failure(result)

    with tqdm(total=len(prompts), desc=f"{replicas} × replica.py", unit="prompt") as bar:

        def show(done: int) -> None:
            if done > bar.n:
                bar.update(done - bar.n)

        try:
            answered = answer_all(prompts, replicas, start, progress=show)
        finally:
            stopped.set()
    return ReplicasRun(replicas, device, answered, tuple(busy[number] for number in sorted(busy)))


def environment_of(number: int, replicas: int, device: str) -> dict[str, str]:
    """Return a replica's GPU, or its share of the cores and no GPU.

    Threads that wait then sleep: spinning, they would count as busy, and take the core from who has work.
    """
    chosen = replica_environment(number, 1, replicas)
    if device == "cuda":
        return chosen
    return {**chosen, "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE"}


def failure(result: RunResult) -> str | None:
    """Return how a run failed, None where it did not; its logs go, as it was asked to fail."""
    if result.logs is not None:
        shutil.rmtree(result.logs, ignore_errors=True)
    return None if result.finished else result.message.partition(". ")[0]


def hardware_here(device: str) -> str:
    """Return the GPUs, or the CPU with its cores."""
    return hardware_name() if device == "cuda" else cpu_name()


def split_prompts(prompts: Sequence[Sequence[int]], ranks: int, failing_rank: int | None = None) -> RunResult:
    """Run ``split_prompts.py`` on so many ranks; ``failing_rank`` raises an error."""
    chosen = -1 if failing_rank is None else failing_rank
    arguments = [json.dumps([list(prompt) for prompt in prompts]), str(chosen)]
    result = launch(script("split_prompts.py").path, arguments, ranks, device=device_of_ranks())
    failure(result)
    return result
