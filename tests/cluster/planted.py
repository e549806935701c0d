"""Scripts with one error each: what the site check must say, and how Slurm puts it.

``slurm``: a piece of Slurm's own message, None where Slurm of itself has nothing against it.
"""

from dataclasses import dataclass

GOOD = {"account": "mygroup", "partition": "gpu", "gres": "gpu:a40:1", "mem": "8G", "time": "1:00:00"}
CONFIGURATION = "Requested node configuration is not available"
LIMITS = "QOSMaxGRESPerJob"
GRES = "Invalid generic resource (gres) specification"


@dataclass(frozen=True)
class Planted:
    """``changed`` options of a good script of ``site``; ``kind`` and words of the problem that is found."""

    kind: str
    changed: dict[str, str | None]
    words: tuple[str, ...]
    slurm: str | None
    site: str = "uva"

    def script(self) -> str:
        usual = GOOD if self.site == "uva" else {"partition": "batch", "gres": "gpu:l40s:1", "mem": "8G"}
        options = {name: value for name, value in {**usual, **self.changed}.items() if value is not None}
        return "#!/bin/bash\n" + "".join(f"#SBATCH --{k}={v}\n" for k, v in options.items()) + "hostname\n"


PLANTED = (
    Planted("gpu_type", {"gres": "gpu:b200:1"}, ("b200", "a100"), CONFIGURATION),
    Planted("gpu_type_case", {"gres": "gpu:A40:2"}, ("written a40", "--gres=gpu:a40:2"), CONFIGURATION),
    Planted("gpus_per_node", {"gres": "gpu:a40:9"}, ("9 GPUs", "the 8", "--nodes=2"), CONFIGURATION),
    Planted(
        "type_and_constraint", {"constraint": "gpupod"}, ("a40", "gpupod", "leave the constraint out"),
        CONFIGURATION,
    ),
    Planted(
        "type_and_constraint", {"gres": "gpu:a100:1", "constraint": "a100_40gb&gpupod"},
        ("a100_40gb", "a100_80gb or gpupod"), CONFIGURATION,
    ),
    Planted("constraint", {"constraint": "a100-80gb"}, ("a100-80gb", "a100_80gb, gpupod"), "Invalid feature"),
    Planted("cores", {"cpus-per-task": "65"}, ("65 cores", "the 64"), CONFIGURATION, "example"),
    Planted(
        "memory", {"gres": "gpu:a100:1", "constraint": "gpupod", "mem": "2500G"},
        ("2500 GiB", "--mem=1862G"), CONFIGURATION,
    ),
    Planted("memory", {"mem": "9T"}, ("9216 GiB", "--mem=465G"), CONFIGURATION, "example"),
    Planted("nodes", {"nodes": "5"}, ("5 nodes", "--nodes=4"), "Node count specification invalid"),
    Planted(
        "gpu_limit", {"partition": "interactive", "gres": "gpu:rtx2080:4"}, ("4 GPUs in all", "the 2"),
        LIMITS,
    ),
    Planted("partition", {"partition": "gpus"}, ("gpu, interactive, gpu-mig",), "nvalid partition"),
    Planted("no_partition", {"partition": None}, ("no partition", "--partition=gpu"), "No partition"),
    Planted("time", {"time": "4-00:00:00"}, ("96 hours", "--time=3-00:00:00"), "Requested time limit"),
    Planted(
        "time", {"partition": "interactive", "gres": "gpu:rtx3090:1", "time": "13:00:00"},
        ("13 hours", "--time=0-12:00:00", "take partition gpu"), "Requested time limit",
    ),
    Planted("malformed", {"gres": "gpu:a40:x"}, ("gpu:a40:x", "--gres=gpu:TYPE:NUMBER"), GRES),
    Planted("malformed", {"gres": "gpu:2:a40"}, ("the type before the number",), GRES),
    Planted("malformed", {"mem": "8gigs"}, ("--mem=64G",), "Invalid --mem specification"),
    Planted("malformed", {"time": "an-hour"}, ("--time=02:30:00",), "Invalid --time specification"),
    Planted("malformed", {"nodes": "two"}, ("--nodes=2",), "is not a valid node count"),
    Planted("type_in_partition", {"partition": "interactive"}, ("--partition=gpu",), CONFIGURATION),
    Planted(
        "whole_nodes", {"gres": "gpu:a100:4", "constraint": "gpupod", "nodes": "2"},
        ("2 nodes with 4 GPUs", "--gres=gpu:a100:8"), None,
    ),
    Planted("account", {"account": None}, ("--account=YOUR_ALLOCATION",), None),
    Planted("no_gpus", {"gres": None}, ("asks for no GPU", "--gres=gpu:"), None),
)  # fmt: skip
