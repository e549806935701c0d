"""``workshop site ood``: the folder of an Open OnDemand app, made of the templates in ``ood/`` and a site.

Values of the site go in at the marks ``@NAME@``, each in the form that its place needs: JSON in YAML and in
Ruby, words that are quoted for bash, text in which ERB finds no tag of its own. What readers type comes
later, when the portal renders the ERB; the templates quote and check that themselves.
"""

import json
import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workshop_utils.cluster.offers import MEMORY_EACH_BYTES
from workshop_utils.cluster.shell_words import folder_word, slurm_word
from workshop_utils.cluster.site import GpuNodes, Partition, Site
from workshop_utils.errors import WorkshopError
from workshop_utils.storage import FOLDER_NAME
from workshop_utils.units import GB

TEMPLATES = Path(__file__).with_name("ood")
MARK = re.compile(r"@([A-Z_]+)@")
# A cluster's file in /etc/ood/config/clusters.d.
CLUSTER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
LABELS = {
    "partition": "Partition", "gpu_type": "GPU type", "gpus": "Number of GPUs", "hours": "Number of hours",
    "cores": "Number of cores", "memory": "Memory in GB", "account": "Account",
}  # fmt: skip


def write_app(site: Site, out: Path, install: Path, cluster: str) -> None:
    """Write the app's folder, which every user may read and only its owner may change.

    Raises WorkshopError where the folder is there already or cannot be written, where ``install`` is no
    absolute path, and where the site's file has nothing that a form could offer.
    """
    values = app_values(site, install, cluster)
    texts = {
        path.relative_to(TEMPLATES): fill(path.read_text(encoding="utf-8"), values)
        for path in sorted(TEMPLATES.rglob("*"))
        if path.is_file()
    }
    # Notebooks and planner of a session read the site that its form was made of.
    texts[Path("template", "site.toml")] = site.path.read_text(encoding="utf-8")
    try:
        out.mkdir(parents=True)
        for relative, text in texts.items():
            path = out / relative
            path.parent.mkdir(exist_ok=True)
            path.parent.chmod(0o755)
            path.write_text(text, encoding="utf-8")
            # The portal runs script.sh, and keeps its mode when it renders it.
            path.chmod(0o755 if path.name == "script.sh.erb" else 0o644)
    except FileExistsError:
        raise WorkshopError(f"{out} is there already; give another --out, or move it away.") from None
    except OSError as error:
        raise WorkshopError(f"cannot write {out} ({error.strerror}); give another --out.") from None


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with every mark replaced, once: a mark in a value stays text."""
    return MARK.sub(lambda mark: values[mark[1]], template)


def app_values(site: Site, install: Path, cluster: str) -> dict[str, str]:
    """Return the text for every mark."""
    if not install.is_absolute():
        raise WorkshopError(f"--install {install} is no absolute path; a job starts in another folder.")
    if not CLUSTER.fullmatch(cluster):
        raise WorkshopError(
            f"{cluster!r} is no name of a cluster; give the portal's, of /etc/ood/config/clusters.d, with "
            "--cluster."
        )
    gpus = offered(site)
    partitions = tuple(each for each in site.partitions if each.open_ondemand)
    # What is chosen before the reader chooses: no GPU that many others wait for.
    start = next((each for each in gpus if not each.scarce), gpus[0])
    labels = {f"{name.upper()}_LABEL": site.form.get(name, word) for name, word in LABELS.items()}
    fields = ["queue", "gpu_type", "gpus", "hours", "cores", "memory", "account", "reservation", "folder"]
    in_form = {
        **labels,
        "QUEUE_LABEL": labels["PARTITION_LABEL"],
        "QUEUE": start.partition.name,
        "GPU_TYPE": start.name,
        "CLUSTER": cluster,
        "FORM": [name for name in fields if name != "account" or site.account_required],
        "MOST_GPUS": max(most_gpus(each, site) for each in gpus),
        "MOST_HOURS": max(form_hours(each) for each in partitions),
        "CORES": site.cores_per_gpu,
        "MEMORY": round(MEMORY_EACH_BYTES / GB),
    }
    return {
        **{name: yaml_json(value) for name, value in in_form.items()},
        "QUEUE_OPTIONS": yaml_list(partition_options(partitions, gpus, site)),
        "GPU_TYPE_OPTIONS": yaml_list(gpu_options(gpus, partitions)),
        "SITE": ruby_json(limits(site, gpus, partitions)),
        "ENVIRONMENT": erb_text(environment(site)),
        "SCRATCH": erb_text(scratch(site)),
        "WORKSHOP": erb_text(shlex.quote(str(install / "bin" / "workshop"))),
    }


def offered(site: Site) -> tuple[GpuNodes, ...]:
    """Return the GPUs that the centre lets its forms have. Raises WorkshopError where there are none."""
    found = tuple(each for each in site.gpus if each.open_ondemand and each.partition.open_ondemand)
    if not found:
        raise WorkshopError(
            f"{site.path.name} offers no GPU through Open OnDemand; give a GPU and its partition the field "
            "open_ondemand, the portal's word for it."
        )
    return found


def most_gpus(group: GpuNodes, site: Site) -> int:
    """Return the GPUs of a session on one node."""
    limits = (group.per_node, group.partition.most_gpus, site.most_gpus, site.form.get("most_gpus"))
    return min(limit for limit in limits if limit is not None)


def form_hours(partition: Partition) -> int:
    """Return the most hours, whole ones, that the form takes; submit.yml.erb cuts the last to its minutes."""
    return math.ceil(partition.most_hours)


def limits(site: Site, gpus: tuple[GpuNodes, ...], partitions: tuple[Partition, ...]) -> dict[str, Any]:
    """Return what submit.yml.erb holds an answer against."""
    return {
        "account": site.account_required,
        "partitions": {
            slurm_word(each.name): {"minutes": max(1, math.floor(each.most_hours * 60))}
            for each in partitions
        },
        "gpus": {
            each.name: {
                "type": each.type, "partition": each.partition.name, "most": most_gpus(each, site),
                "constraint": each.constraint, "fast_constraint": each.fast_constraint,
            }
            for each in gpus
        },
    }  # fmt: skip


def partition_options(
    partitions: tuple[Partition, ...], gpus: tuple[GpuNodes, ...], site: Site
) -> list[list[Any]]:
    """Return the choices of partitions, each with the limits that the portal's dynamic form reads."""
    options = []
    for partition in partitions:
        most = [most_gpus(each, site) for each in gpus if each.partition == partition]
        narrowed = {"data-max-hours": form_hours(partition), "data-max-gpus": max(most, default=1)}
        options.append([partition.open_ondemand, partition.name, narrowed])
    return options


def gpu_options(gpus: tuple[GpuNodes, ...], partitions: tuple[Partition, ...]) -> list[list[Any]]:
    """Return the choices of GPUs, each hidden where another partition is chosen."""
    words = [each.open_ondemand for each in gpus]
    options: list[list[Any]] = []
    for each in gpus:
        # Two sizes of one type may have one word in the centre's form.
        label = each.open_ondemand
        if words.count(label) > 1:
            label = f"{label} ({each.name})"
        hidden = {
            f"data-option-for-queue-{other.name.lower()}": False
            for other in partitions
            if other != each.partition and re.fullmatch(r"[A-Za-z0-9_-]+", other.name)
        }
        options.append([label, each.name, *([hidden] if hidden else [])])
    return [*options, ["None: CPU only", "none"]]


def environment(site: Site) -> str:
    """Return the centre's own lines, such as modules."""
    lines = [line.replace("\r", "") for line in site.environment]
    return "\n".join(["", "# The centre's software.", *lines, ""] if lines else [])


def scratch(site: Site) -> str:
    """Return the lines that move caches off the home quota."""
    if site.scratch is None:
        return ""
    lines = [
        "",
        "# Model files and compiled kernels are large: off the home folder's quota, where there is scratch.",
        *([': "${USER:=$(id -un)}"'] if "USER" in site.scratch else []),
        f"cache={folder_word(site.scratch)}/{FOLDER_NAME}",
        'if mkdir -p "${cache}"; then',
        '  export WORKSHOP_CACHE="${WORKSHOP_CACHE:-${cache}}"',
        "fi",
        "",
    ]
    return "\n".join(lines)


def yaml_json(value: Any) -> str:
    """Return a value for YAML, which JSON is, but for characters that YAML wants escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def yaml_list(rows: list[list[Any]]) -> str:
    """Return a list for YAML, a row a line."""
    return "".join(f"\n      - {yaml_json(row)}" for row in rows)


def ruby_json(value: Any) -> str:
    """Return JSON in which neither Ruby's heredoc nor ERB finds anything of its own."""
    text = json.dumps(value, indent=1)
    return re.sub(r"[<%]", lambda found: f"\\u{ord(found[0]):04x}", text)


def erb_text(text: str) -> str:
    """Return text that ERB copies as it is."""
    return text.replace("<%", "<%%")
