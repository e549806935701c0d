"""What would make it fit: the largest or smallest value of one option, each checked by an estimate."""

from workshop_utils.memory.logs.advice_generate import generate_advice
from workshop_utils.memory.logs.advice_vllm import vllm_advice
from workshop_utils.memory.logs.facts import LogFacts, RankMemory
from workshop_utils.memory.logs.question import Answer, Question
from workshop_utils.memory.logs.room import Advice, room_of


def advise(facts: LogFacts, question: Question, answer: Answer, reported: RankMemory) -> tuple[Advice, ...]:
    """Return the changes that fit, cheapest first; none where the run fits already or nothing helps."""
    room = room_of(facts, question, answer, reported)
    if question.engine == "vllm":
        return tuple(vllm_advice(facts, question, reported, room))
    return tuple(generate_advice(question, room))
