"""The options that describe what is wanted and where: of ``workshop plan`` and ``workshop request``."""

import argparse
import shutil
import sys

from workshop_utils.cluster.nodes import ask_nodes
from workshop_utils.cluster.offers import offers
from workshop_utils.cluster.site import VARIABLE, Site, find_site, site_names
from workshop_utils.errors import WorkshopError
from workshop_utils.models.find import find_architecture
from workshop_utils.planner.plan import Planning
from workshop_utils.planner.planning import plan
from workshop_utils.planner.precision import BUILDS
from workshop_utils.planner.wanted import ANSWER_TOKENS, ENGINES, Wanted

# What people write for the precisions' own names.
SHORT = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "4bit": "nf4",
    "8bit": "int8",
}


def add_plan_options(parser: argparse.ArgumentParser, model_required: bool = True) -> None:
    """Add the model, the work and the site. ``model_required``: whether nothing can be done without one."""
    parser.add_argument(
        "model", metavar="MODEL", nargs=None if model_required else "?",
        help="catalogue name, Hugging Face id, model folder or config.json",
    )  # fmt: skip
    group = parser.add_argument_group("what is wanted")
    number(group, "--tokens", "prompt and answer of one sequence (default 4096)", 4096)
    number(group, "--new-tokens", f"of these, tokens of the answer (default {ANSWER_TOKENS}, or a half)")
    number(group, "--prompts", "how many prompts (default 1)", 1)
    number(group, "--batch", "sequences at a time (default: as many as fit)")
    group.add_argument("--deadline", type=float, metavar="HOURS", help="all of it within so many hours")
    group.add_argument(
        "--dtype", action="append", metavar="NAME",
        help="a precision to consider; may be repeated (default: 16 bits, and fewer where that helps)",
    )  # fmt: skip
    group.add_argument(
        "--engine", default="transformers", help=f"{', '.join(ENGINES)} (default transformers)"
    )
    group = parser.add_argument_group("where")
    group.add_argument(
        "--site", metavar="NAME", help=f"{', '.join(site_names())} or a site.toml (default: ${VARIABLE})"
    )
    group.add_argument("--gpu", action="append", metavar="NAME", help="only this type; may be repeated")
    group.add_argument(
        "--torch-build", metavar="NAME", help=f"PyTorch's build: {', '.join(BUILDS)} (default: the site's)"
    )
    group.add_argument(
        "--no-queue", action="store_true", help="do not ask Slurm which GPUs are free, where there is one"
    )


def number(group: argparse._ArgumentGroup, name: str, text: str, default: int | None = None) -> None:
    """Add an option that takes a whole number."""
    group.add_argument(name, type=whole_number, default=default, metavar="N", help=text)


def whole_number(text: str) -> int:
    """Return the number; 131_072 and 131,072 are the same."""
    try:
        return int(text.replace(",", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def planning_of(arguments: argparse.Namespace) -> tuple[Site, Planning]:
    """Return the site and the planner's answers. Raises WorkshopError for bad input."""
    build = arguments.torch_build
    if build is not None and build not in BUILDS:
        raise WorkshopError(f"torch build {build!r} is not known; choices: {', '.join(BUILDS)}.")
    site = find_site(arguments.site)
    answer = arguments.new_tokens
    if answer is None:
        answer = max(1, min(ANSWER_TOKENS, arguments.tokens // 2))
    wanted = Wanted(
        find_architecture(arguments.model),
        arguments.tokens,
        answer,
        prompts=arguments.prompts,
        batch=arguments.batch,
        engine=arguments.engine,
        dtypes=tuple(SHORT.get(dtype, dtype) for dtype in arguments.dtype or ()),
        deadline_hours=arguments.deadline,
    )
    chosen = {name for word in arguments.gpu or () for name in names_of(site, word)}
    nodes = None if arguments.no_queue or shutil.which("sinfo") is None else queue()
    offered = [offer for offer in offers(site, nodes) if not chosen or offer.name in chosen]
    return site, plan(wanted, offered, build or site.torch_build)


def names_of(site: Site, word: str) -> list[str]:
    """Return the plan's names that a reader means: one of them, or all of one of Slurm's types."""
    typed = [each.name for each in site.gpus if each.type.casefold() == word.casefold()]
    return typed or [site.nodes_of(word).name]


def queue() -> list | None:  # type: ignore[type-arg]
    """Return what is free now, None with a word where Slurm does not say: a plan is made without, too."""
    try:
        return list(ask_nodes().nodes)
    except WorkshopError as error:
        print(f"workshop: planned without the queue: {error}", file=sys.stderr)
        return None
