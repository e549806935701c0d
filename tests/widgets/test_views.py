"""What the calculator shows of an estimate, as HTML."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from workshop_utils.figures.style import COLOURS
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.estimate import Estimate, estimate
from workshop_utils.memory.kv_cache import kv_cache_bytes
from workshop_utils.memory.term import Term
from workshop_utils.models.find import find_architecture
from workshop_utils.units import GB, format_gb
from workshop_utils.widgets.estimate_view import estimate_html, held_cache, kind_bytes, phase_words
from workshop_utils.widgets.gpus_view import verdict
from workshop_utils.widgets.largest_view import batch_words, context_words
from workshop_utils.widgets.ranks_view import gpu_words, ranks_html
from workshop_utils.widgets.side_by_side import columns
from workshop_utils.widgets.side_by_side_view import side_by_side_html
from workshop_utils.widgets.slide_view import slide_html
from workshop_utils.widgets.style import KINDS, PATTERNS, style_html
from workshop_utils.widgets.terms_view import term_html, terms_html
from workshop_utils.widgets.words import difference, for_controls, linked

H100 = find_gpu("H100-80GB")


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def of(model: str = "gemma-3-4b", **workload: Any) -> Estimate:
    return estimate(find_architecture(model), **{"tokens": 32_768, "gpu": H100, **workload})


def ideal(result: Estimate) -> int:
    workload = result.workload
    architecture = find_architecture(result.model)
    return kv_cache_bytes(architecture, workload.tokens, workload.batch, workload.kv_dtype)


class Balance(HTMLParser):
    """Fails for a tag that is closed in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def balanced(html: str) -> str:
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    return html


def test_every_kind_of_term_has_a_colour_and_a_pattern_of_its_own() -> None:
    assert set(KINDS) == set(PATTERNS) <= set(COLOURS)
    assert len(set(PATTERNS.values())) == len({COLOURS[kind] for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert f".workshop-calculator .kind-{kind} {{" in style_html()


@pytest.mark.parametrize(
    "workload",
    [
        {},
        {"pipeline_parallel": 2},
        {"engine": "vllm"},
        {"engine": "accelerate"},
        {"gpu": None},
        {"batch": 8, "data_parallel": 4},
    ],
)
def test_an_estimate_in_parts_of_sound_html(workload: dict[str, Any]) -> None:
    result = of(**workload)
    architecture = find_architecture(result.model)
    shown = plain(balanced(estimate_html(result, ideal(result))))
    assert format_gb(result.fullest.process_bytes) in shown
    for name, size in (
        ("Prefill", result.fullest.prefill_peak_bytes),
        ("Decode", result.fullest.decode_peak_bytes),
    ):
        assert (f"{name} peak" in shown) == (size is not None)
        assert size is None or f"{name} peak {format_gb(size)}" in shown
    assert f"Ideal cache {format_gb(ideal(result))}" in shown
    balanced(terms_html(result, False))
    balanced(slide_html(architecture, result, ideal(result)))


def test_the_parts_of_the_bar_are_the_whole_process() -> None:
    for result in (of(), of(engine="vllm"), of("qwen3-next-80b-a3b", tensor_parallel=4)):
        assert sum(kind_bytes(result.fullest).values()) == result.fullest.process_bytes


def test_the_line_stands_at_the_usable_memory() -> None:
    html = estimate_html(of(), 1)
    assert "left:calc(100.000% - 2px)" in html  # it fits, so the GPU is the scale
    large = of("gemma-3-27b", tokens=131_072)
    share = H100.usable_bytes / large.process_bytes
    assert f"left:calc({share:.3%} - 2px)" in estimate_html(large, 1)
    assert 'class="limit"' not in estimate_html(of(gpu=None), 1)


def test_the_ideal_cache_stands_beside_the_one_that_is_held() -> None:
    result = of("gemma-3-27b")
    held = sum(size for _, size in held_cache(result))
    assert held > 4 * ideal(result)  # a prefill's sliding layers hold the whole prompt
    assert f"Really held {format_gb(held)}" in plain(estimate_html(result, ideal(result)))
    paged = of(engine="vllm")
    assert sum(size for _, size in held_cache(paged)) == paged.kv_cache_bytes


def test_every_row_opens_to_formula_source_and_certainty() -> None:
    result = of("gemma-3-27b")
    rows = terms_html(result, False).split("<details")[1:]
    assert len(rows) == len(result.fullest.terms)
    for row, term in zip(rows, result.fullest.terms, strict=True):
        folded = plain("<details" + row.split("</summary>")[1])
        assert plain(row.split("</summary>")[0]).endswith(f"{format_gb(term.bytes)} {term.certainty}")
        for text in (term.formula, term.source, term.certainty):
            assert text.replace(" ", "") in folded.replace(" ", "")


def test_a_term_of_nothing_and_of_signs_is_no_broken_html() -> None:
    term = Term("a <b> & c", "reserve", 0, "x < y", "https://example.org/a?b=1&c, page 2", "assumed")
    html = balanced(term_html(term, 0, True))
    assert "a &lt;b&gt; &amp; c" in html
    assert 'href="https://example.org/a?b=1&amp;c"' in html


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (100, 100, "the same"),
        (112, 100, "12 % more"),
        (88, 100, "12 % less"),
        (1600, 100, "16.0 times as much"),
        (30, 100, "only 30 % of it"),
        (1, 1000, "less than 1 % of it"),
        (0, 0, "the same"),
    ],
)
def test_a_difference_in_words(first: float, second: float, words: str) -> None:
    assert difference(first, second) == words


def test_which_phase_decides() -> None:
    assert phase_words({"Prefill": 2000, "Decode": 1000}) == "Prefill decides: 2.0 times as much as decode."
    assert phase_words({"Prefill": 1000, "Decode": 1100}) == "Decode decides: 10 % more than prefill."
    assert phase_words({"Prefill": 1000}) == "There is nothing to decode."


def test_the_slides_figures_are_the_rules_own_and_the_difference_is_in_words() -> None:
    result = of("gemma-3-4b", tokens=131_072, gpu=None)
    shown = plain(slide_html(find_architecture("gemma-3-4b"), result, ideal(result)))
    assert f"KV cache 44.8 GB {format_gb(result.kv_cache_bytes)} 16.0 times as much" in shown
    weights = re.search(r"Weights ([\d.]+) GB ([\d.]+) GB 20 % more", shown)
    assert weights
    assert float(weights[1]) == pytest.approx(float(weights[2]) * 1.2, abs=0.1)
    over = (float(weights[1]) + 44.8) * GB
    assert (
        f"Total {format_gb(over)} {format_gb(result.process_bytes)} {difference(over, result.process_bytes)}"
        in shown
    )
    assert "leaves out activations" in shown


def test_the_slide_shrinks_the_cache_with_the_weights_and_the_estimate_does_not() -> None:
    result = of("gemma-3-4b", dtype="int4", gpu=None)
    shown = plain(slide_html(find_architecture("gemma-3-4b"), result, ideal(result)))
    assert "shrinks the cache together with the weights" in shown
    full = of("gemma-3-4b", gpu=None)
    assert "shrinks" not in slide_html(find_architecture("gemma-3-4b"), full, ideal(full))


def test_the_slide_is_held_against_one_replica_and_knows_no_vllm() -> None:
    architecture = find_architecture("gemma-3-4b")
    alone, copies = of(batch=2), of(batch=8, data_parallel=4)
    first = plain(slide_html(architecture, alone, ideal(alone)))
    second = plain(slide_html(architecture, copies, ideal(copies)))
    assert second.split("Slide Here")[1] == first.split("Slide Here")[1]
    assert "one replica, one GPU" in second
    paged = of(engine="vllm")
    shown = plain(slide_html(architecture, paged, ideal(paged)))
    assert "Total" not in shown
    assert "KV cache (ideal)" in shown


def test_side_by_side_draws_each_rank_of_its_own_estimate() -> None:
    architecture = find_architecture("gemma-3-27b")
    found = list(columns(architecture, H100, 4, {"tokens": 8192, "batch": 2}))
    html = balanced(side_by_side_html(found, H100))
    for column, argument in zip(found, ("data", "pipeline", "tensor"), strict=True):
        expected = of("gemma-3-27b", tokens=8192, batch=2, **{f"{argument}_parallel": 4})
        assert column.result == expected
        spoken = "; ".join(f"GPU {rank.rank} {format_gb(rank.process_bytes)}" for rank in expected.per_gpu)
        assert f'aria-label="{column.name}: {spoken}"' in html
    assert html.count('class="limit"') == 3
    assert "batch 2 leaves 2 of 4 GPUs without work" in plain(html)
    assert side_by_side_html(found, None).count('class="limit"') == 0


def test_side_by_side_says_how_many_requests_vllm_serves() -> None:
    architecture, workload = find_architecture("gemma-3-27b"), {"tokens": 32_768, "engine": "vllm"}
    shown = plain(side_by_side_html(list(columns(architecture, H100, 2, workload)), H100))
    alone = of("gemma-3-27b", engine="vllm").figures["max_concurrency"]
    shared = of("gemma-3-27b", engine="vllm", tensor_parallel=2).figures["max_concurrency"]
    assert f"✓ {2 * alone:.1f} requests at a time" in shown
    assert f"✓ {shared:.1f} requests at a time" in shown
    small = find_gpu("L4")
    assert "✗ would not start" in plain(
        side_by_side_html(list(columns(architecture, small, 2, workload)), small)
    )


def test_side_by_side_bars_have_the_height_of_their_size() -> None:
    found = list(columns(find_architecture("gemma-3-4b"), None, 2, {"tokens": 8192}))
    html = side_by_side_html(found, None)
    ranks = html.split('<div class="rank">')[1:]
    heights = [sum(map(float, re.findall(r"height:([\d.]+)px", rank.split("</div>")[0]))) for rank in ranks]
    sizes = [rank.process_bytes for column in found if column.result for rank in column.result.per_gpu]
    assert max(heights) == pytest.approx(170, abs=0.5)
    assert heights == [pytest.approx(170 * size / max(sizes), abs=0.5) for size in sizes]


def test_a_layout_that_cannot_run_shows_why_in_the_words_of_controls() -> None:
    workload = {"tokens": 8192, "engine": "accelerate"}
    html = balanced(
        side_by_side_html(list(columns(find_architecture("gemma-3-4b"), H100, 2, workload)), H100)
    )
    assert html.count('class="refused"') == 2
    assert "leave out TP size and DP size" in plain(html)
    assert "--" not in plain(html)
    nothing = list(columns(find_architecture("gemma-3-4b"), None, 2, {"tokens": 8192, "engine": "vllm"}))
    assert balanced(side_by_side_html(nothing, None)).count('class="refused"') == 3


def test_a_type_that_is_close_waits_for_the_allocator() -> None:
    result = of("gemma-3-27b", gpu=None)
    near = next(
        g for g in map(find_gpu, ("A100-80GB", "H100-80GB")) if g.usable_bytes >= result.process_bytes
    )
    assert verdict(result, near, True) == verdict(result, near, False) == "✓ holds it"
    tight = of("gemma-3-27b", gpu=None, tokens=36_000)
    assert tight.fullest.needed_bytes < H100.usable_bytes < tight.process_bytes
    assert verdict(tight, H100, True) == "close, to be worked out"
    assert verdict(tight, H100, False).startswith("✓ only just" if tight.fits(H100) else "✗ too small")
    assert verdict(tight, find_gpu("T4"), True).startswith("✗ too small, needs")


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([3], "GPU 3"),
        ([0, 1], "GPUs 0, 1"),
        (range(4), "GPUs 0 to 3"),
        ([0, 1, 2, 5, 7, 8], "GPUs 0 to 2, 5, 7, 8"),
    ],
)
def test_gpus_in_a_row_are_drawn_together(numbers: Any, words: str) -> None:
    assert gpu_words(numbers) == words


def test_no_more_rows_of_gpus_than_can_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    result = of(
        "mixtral-8x7b", engine="vllm", expert_parallel=True, data_parallel=3, pipeline_parallel=2, batch=3
    )
    assert balanced(ranks_html(result)).count('<th scope="row">') == 4
    assert "more GPU" not in ranks_html(result)
    monkeypatch.setattr("workshop_utils.widgets.ranks_view.MOST_ROWS", 3)
    html = balanced(ranks_html(result))
    assert html.count('<th scope="row">') == 3
    assert "Not shown: 1 more GPU." in html
    assert ranks_html(of()) == ""


def test_the_largest_in_words() -> None:
    assert context_words(None, 10, True, "L4", 1).startswith("✗")
    assert "4,096 tokens</b>." in context_words(4096, 8192, True, "L4", 1)
    assert "all positions" in context_words(8192, 8192, True, "L4", 1)
    assert "or more" in context_words(2**20, 2**20, False, "L4", 1)
    assert "1 sequence</b>." in batch_words(1, 4096, "L4", "transformers")
    assert "further ones wait" in batch_words(7, 4096, "L4", "vllm")
    assert "or more" in batch_words(4096, 128, "L4", "transformers")
    assert batch_words(None, 4096, "L4", "vllm").startswith("✗")


def test_options_of_the_command_line_become_controls() -> None:
    assert for_controls("name one with --gpu, for example") == "name one with the list GPU type, for example"
    assert for_controls("--gpu-memory-utilization") == "--gpu-memory-utilization"


def test_addresses_can_be_followed_and_the_rest_is_escaped() -> None:
    assert linked("see https://arxiv.org/abs/2305.13245, section <2>") == (
        'see <a href="https://arxiv.org/abs/2305.13245" target="_blank" rel="noopener">'
        "https://arxiv.org/abs/2305.13245</a>, section &lt;2&gt;"
    )
