"""One replica: it holds the whole model, and takes prompts until all have their answers."""

import os
import signal
import sys
from pathlib import Path

from workshop_utils.lessons.replica_model import BusyCores, answer, load_model, warm_up
from workshop_utils.parallel.launch import notes
from workshop_utils.parallel.prompt_service import PromptClient

folder, number, killed_at = sys.argv[1:]
model = load_model()
warm_up(model)

client = PromptClient(Path(folder), int(number))
with BusyCores() as busy:
    for turn, prompts in enumerate(client.batches(4), start=1):  # the next four of the queue
        if turn == int(killed_at):
            os.kill(os.getpid(), signal.SIGKILL)  # no chance to say goodbye
        answers = answer(model, list(prompts.values()))
        client.answer(dict(zip(prompts, answers, strict=True)))

notes.hand_back({"cores_busy": busy.cores})
