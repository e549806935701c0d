"""Notebook 02: its tables and figures, its exercises, and the figures in its text."""

from pathlib import Path

import nbformat
import pytest

from workshop_utils.cluster.site import find_site, site_names
from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.lessons import choose_gpus
from workshop_utils.lessons.exercises_choose import (
    HOW_MANY,
    HOW_MANY_FREE,
    QUEUE_CORES,
    QUEUE_MEMORY_BYTES,
    SPLIT_GPU,
    SPLIT_MODEL,
)
from workshop_utils.lessons.number_checks import NumberExercise, judge_number
from workshop_utils.models.architecture import Attention
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters
from workshop_utils.units import GB, GIB

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(autouse=True)
def in_the_notebooks_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(NOTEBOOKS)
    monkeypatch.delenv("WORKSHOP_SITE", raising=False)


@pytest.mark.parametrize("exercise", [HOW_MANY, HOW_MANY_FREE], ids=lambda each: each.key)
def test_each_slip_is_recognised_and_no_two_look_alike(exercise: NumberExercise) -> None:
    assert judge_number(exercise, exercise.solution()).correct
    values = [exercise.engine(), *(slip.value() for slip in exercise.slips)]
    assert len(set(values)) == len(values)
    for slip in exercise.slips:
        assert judge_number(exercise, slip.value()).mistake == slip.name


@pytest.mark.parametrize("name", site_names())
def test_every_cell_works_with_every_site(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_SITE", name)
    monkeypatch.setenv("PATH", "")
    site = choose_gpus.lesson_site()
    assert site.name == name
    assert len(choose_gpus.site_table(site).rows) == len(site.gpus)
    picture = choose_gpus.needs_figure(site, "gemma-3-27b", 32_768, ["bfloat16", "nf4"])
    assert all(each.name in picture.description for each in site.gpus)
    picture._repr_png_()
    queue = choose_gpus.queue_now()
    assert queue.source.startswith("Recorded, 20")
    choose_gpus.queue_table(queue, site)
    choose_gpus.links_figure(site, "llama-3.1-8b", 8192)._repr_png_()
    planning = choose_gpus.plans_for(site, queue, "gemma-3-27b", 32_768, prompts=200, deadline_hours=24)
    assert planning.plans
    assert choose_gpus.plans_table(planning).rows
    assert choose_gpus.refused_table(planning).rows
    for chosen in planning.plans:
        assert "#SBATCH --gres=gpu:" in repr(choose_gpus.script_of(chosen, site))
        assert choose_gpus.form_table(chosen, site).caption


def test_recorded_speeds_stay_below_their_limit() -> None:
    speeds = choose_gpus.recorded_speeds()
    assert len(speeds) >= 8
    assert {each.gpu for each in speeds} == {"H100-80GB", "H200"}
    # "64 to 84 % of the limit", and a fifth for plain transformers, as the text says.
    shares = [each.tokens_per_s / each.limit for each in speeds if each.engine != choose_gpus.PLAIN]
    assert (round(100 * min(shares)), round(100 * max(shares))) == (64, 84)
    plain = [each.tokens_per_s / each.limit for each in speeds if each.engine == choose_gpus.PLAIN]
    assert plain and min(plain) > 0.17 and max(plain) < 0.23
    with pytest.raises(WorkshopError, match=r"no recorded run of llama-3.1-8b, A40, vLLM; there are"):
        choose_gpus.recorded_speed("llama-3.1-8b", "A40", "vLLM")
    assert choose_gpus.recorded_speed("llama-3.1-8b", "H200", "this workshop") > 200


def test_the_figure_shows_what_the_planner_plans() -> None:
    site = find_site("uva")
    picture = choose_gpus.needs_figure(site, "gemma-3-27b", 32_768, ["bfloat16", "int8", "nf4"])
    planning = choose_gpus.plans_for(site, choose_gpus.recorded_queue(), "gemma-3-27b", 32_768)
    alone = {each.offer.name for each in planning.plans if each.gpus == 1}
    for name in ("H200", "A100-80GB", "A40", "A100-40GB", "V100"):
        words = picture.description.split(f" {name} ", 1)[1].split(")", 1)[0]
        assert (name in alone) == ("not alone" not in words), (name, words)
    small = choose_gpus.needs_figure(site, "llama-3.1-8b", 8192, ["bfloat16"])
    assert "V100 32 GiB (float16)" in small.description
    with pytest.raises(WorkshopError, match="more than the 131,072 positions"):
        choose_gpus.needs_figure(site, "llama-3.1-8b", 500_000, ["bfloat16"])


def test_figures_in_the_text_are_those_of_the_engine() -> None:
    notebook = nbformat.read("02_choose_gpus.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    shape = find_architecture(SPLIT_MODEL)
    attention = shape.layers[0].attention
    assert isinstance(attention, Attention)
    assert f"{count_parameters(shape).total / 1e9:.2f} billion parameters" in text
    assert f"{attention.heads} attention heads" in text
    assert f"{find_gpu(SPLIT_GPU).usable_bytes / GIB:.1f} GiB each" in text
    assert f"takes {QUEUE_CORES} cores and {QUEUE_MEMORY_BYTES / GB:.0f} GB" in text
    assert f"{find_gpu('H200').bandwidth_gb_per_s:,.0f} GB/s" in text
    small = count_parameters(find_architecture("llama-3.1-8b")).total
    assert f"has {2 * small / 1e9:.0f} GB of weights" in text
    assert not any(title.split()[0] in text for title in (find_site(name).title for name in site_names()))
