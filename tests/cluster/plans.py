"""Plans of the sites that ship, made once for all tests of requests."""

import functools

from workshop_utils.cluster.offers import offers
from workshop_utils.cluster.request import Request, request_of
from workshop_utils.cluster.site import Site, find_site
from workshop_utils.models.find import find_architecture
from workshop_utils.planner.plan import Plan
from workshop_utils.planner.planning import plan
from workshop_utils.planner.wanted import ENGINES, Wanted

MODELS = ("smollm2-135m", "llama-3.1-8b", "gemma-3-27b", "llama-3.1-70b")
ACCOUNT = "mygroup"


# Reading a site file compiles its schema, which takes as long as many requests.
site_of = functools.cache(find_site)


@functools.cache
def plans(site: str, model: str, engine: str = "transformers", prompts: int = 200) -> tuple[Plan, ...]:
    """Return all plans of prompts of 8,192 tokens."""
    found = site_of(site)
    wanted = Wanted(find_architecture(model), 8192, 512, prompts=prompts, engine=engine)
    return plan(wanted, offers(found), found.torch_build).plans


def all_plans(site: str) -> list[Plan]:
    """Return the plans of a small, a middling and two large models, on every engine."""
    return [each for model in MODELS for engine in ENGINES for each in plans(site, model, engine)]


def first(site: str, model: str, engine: str = "transformers", **wanted: object) -> tuple[Request, Site]:
    """Return the request of the first plan whose offer and layout have what is wanted: gpu, tensor, data …"""
    for each in plans(site, model, engine):
        having = {"gpu": each.offer.name, "dtype": each.dtype, "nodes": each.nodes.nodes, **vars(each.layout)}
        if all(having[name] == value for name, value in wanted.items()):
            return request_of(each, site_of(site), ACCOUNT), site_of(site)
    raise LookupError(f"{model} on {engine} at {site} has no plan with {wanted}")
