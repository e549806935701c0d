"""A request as the form's entries, word for word, and what the form cannot ask for."""

from dataclasses import replace

import pytest

from tests.cluster.plans import first
from workshop_utils.cluster.ood_form import form_entries
from workshop_utils.errors import WorkshopError


def test_the_pod_as_the_slides_fill_it_in() -> None:
    request, site = first("uva", "llama-3.1-70b", gpu="A100-80GB", tensor=4, data=1)
    entries = form_entries(replace(request, hours=2.25), site)
    assert entries == [
        ("Rivanna/Afton Partition", "GPU"),
        ("Number of hours", "3"),
        ("Number of cores", "16"),
        ("Memory Request in GB", str(request.memory_gib)),
        ("Work Directory", "SCRATCH"),
        ("Allocation", "mygroup"),
        ("Optional: GPU type for GPU partition", "NVIDIA A100"),
        ("Optional: Number of GPUs", "4"),
        ("Show Additional Options", "Yes"),
        ("Optional: Slurm Option", "--constraint=gpupod"),
    ]


def test_another_sites_words_and_no_field_that_it_lacks() -> None:
    request, site = first("example", "llama-3.1-8b", gpu="L40S", data=1, tensor=1)
    assert [label for label, _ in form_entries(request, site)] == [
        "Queue", "Wall time (hours)", "CPU cores", "Memory (GB)", "GPU type", "GPUs",
    ]  # fmt: skip


def test_an_allocation_that_is_not_known_is_asked_for() -> None:
    request, site = first("uva", "llama-3.1-8b", gpu="A40")
    assert ("Allocation", "(your allocation)") in form_entries(replace(request, account=None), site)


def test_one_session_holds_all_replicas_of_a_node() -> None:
    request, site = first("uva", "llama-3.1-8b", gpu="A40", data=4, tensor=1)
    entries = dict(form_entries(request, site))
    assert entries["Optional: Number of GPUs"] == "4"
    assert entries["Number of cores"] == str(4 * request.cores_per_node)


@pytest.mark.parametrize(
    ("wanted", "changed", "sentence"),
    [
        ({"gpu": "H200"}, {}, "the form does not offer the H200, which takes a batch job; submit the script"),
        ({"gpu": "A40", "data": 1}, {"gpus_per_node": 8}, "the form gives up to 4 GPUs, and this takes 8"),
        ({"gpu": "A40", "data": 1}, {"nodes": 2}, "sessions on one node, and this takes 2"),
        ({"gpu": "A40", "data": 32}, {}, "this is an array of 32 jobs"),
    ],
)
def test_what_the_form_cannot(wanted: dict, changed: dict, sentence: str) -> None:  # type: ignore[type-arg]
    request, site = first("uva", "llama-3.1-8b", **wanted)
    with pytest.raises(WorkshopError, match=sentence):
        form_entries(replace(request, **changed), site)


def test_a_site_without_a_form() -> None:
    request, site = first("uva", "llama-3.1-8b", gpu="A40")
    with pytest.raises(WorkshopError, match="has no Open OnDemand form"):
        form_entries(request, replace(site, form={}))
