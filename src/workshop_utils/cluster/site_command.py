"""``workshop site``: the site files: what they say, whether they hold, and the draft of a new one."""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from workshop_utils.cluster.gpus_command import print_table
from workshop_utils.cluster.new_file import write_new
from workshop_utils.cluster.nodes import ask_nodes
from workshop_utils.cluster.ood_app import write_app
from workshop_utils.cluster.partitions import ask_partitions
from workshop_utils.cluster.shell_words import comment
from workshop_utils.cluster.site import Site, find_site, site_names
from workshop_utils.cluster.site_compare import compare, marks
from workshop_utils.cluster.site_draft import draft
from workshop_utils.cluster.site_schema import FOLDER
from workshop_utils.errors import WorkshopError
from workshop_utils.units import format_gib

EPILOG = """examples:
  workshop site show uva
  workshop site new --name mycentre --title "My Centre" --out mycentre.toml
  workshop site check mycentre.toml
  workshop site fields
  workshop site ood uva --out multigpu-workshop --install /project/class/workshop --cluster rivanna

A site file says what a computing centre has: GPUs, partitions, limits, the words of its Open OnDemand form.
`new` asks Slurm and writes a draft; `check` reads a file and, on the cluster, compares it with Slurm. `ood`
writes an Open OnDemand app with the site's values, for the centre's staff."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``workshop site``."""
    parser.epilog = EPILOG
    subparsers = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = subparsers.add_parser("show", help="what a site file says")
    show.add_argument("site", nargs="?", help=f"{', '.join(site_names())} or a site.toml")
    check = subparsers.add_parser("check", help="whether a file holds, and fits the cluster here")
    check.add_argument("site", nargs="?", help=f"{', '.join(site_names())} or a site.toml")
    new = subparsers.add_parser("new", help="ask Slurm and write the draft of a site file")
    new.add_argument("--name", default="mysite", help="short name (default mysite)")
    new.add_argument("--title", default="My Computing Centre", help="the centre's name")
    new.add_argument("--out", metavar="FILE", help="where to write it; default: print it")
    subparsers.add_parser("fields", help="every field of a site file, explained")
    ood = subparsers.add_parser("ood", help="write an Open OnDemand app that starts the workshop")
    ood.add_argument("site", nargs="?", help=f"{', '.join(site_names())} or a site.toml")
    ood.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="a new folder for the app")
    ood.add_argument(
        "--install", required=True, type=Path, metavar="PREFIX",
        help="what `make install PREFIX=…` made, as the compute nodes see it",
    )  # fmt: skip
    ood.add_argument(
        "--cluster", metavar="NAME", help="the portal's name of the cluster (default: the site's)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action; WorkshopError for a wrong file or no Slurm."""
    if arguments.action == "fields":
        print_fields()
    elif arguments.action == "new":
        write_draft(arguments.name, arguments.title, arguments.out)
    elif arguments.action == "ood":
        write_ood_app(find_site(arguments.site), arguments.out, arguments.install, arguments.cluster)
    elif arguments.action == "show":
        show_site(find_site(arguments.site))
    else:
        return check_site(find_site(arguments.site))
    return 0


def show_site(site: Site) -> None:
    """Print the GPUs, limits and links of a site."""
    print(f"{site.title}\n")
    rows = [
        (
            each.name, f"{each.nodes} × {each.per_node}", format_gib(each.gpu.usable_bytes), each.link,
            each.partition.name, f"gpu:{each.type}", each.constraint or "",
            each.open_ondemand or "batch only",
        )
        for each in site.gpus
    ]  # fmt: skip
    headers = ("GPU", "nodes × GPUs", "usable", "link", "partition", "gres", "constraint", "Open OnDemand")
    print_table(headers, rows)
    print()
    for partition in site.partitions:
        limits = [f"{partition.most_hours:g} h"]
        for most, what in ((partition.most_nodes, "node"), (partition.most_gpus, "GPU")):
            limits += [f"{most} {what}{'' if most == 1 else 's'}"] if most else []
        print(f"{partition.name}: at most {', '.join(limits)}. {partition.note or ''}".rstrip())
    for note in site.notes:
        print(f"- {note}")
    for title, url in site.links:
        print(f"{title}: {url}")


def check_site(site: Site) -> int:
    """Print what was found; exit code 1 for CHECK marks, or where file and Slurm differ."""
    print(
        f"{site.path.name}: {len(site.gpus)} types of GPU in {len(site.partitions)} partitions: well formed."
    )
    left = marks(site.path.read_text(encoding="utf-8"))
    if left:
        print(left)
    if shutil.which("sinfo") is None:
        print("There is no Slurm here, so it was not compared with the cluster.")
        return int(bool(left))
    try:
        nodes, partitions = ask_nodes().nodes, ask_partitions()
    except WorkshopError as error:
        print(f"Not compared with the cluster: {error}")
        return int(bool(left))
    differences = compare(site, nodes, partitions)
    for line in differences:
        print(f"- {line}")
    print("It differs from what Slurm says." if differences else "Slurm has the same.")
    return int(bool(differences or left))


def write_draft(name: str, title: str, out: str | None) -> None:
    """Write the draft, never over a file that is there."""
    found = ask_nodes()
    if not any(node.gpus for node in found.nodes):
        raise WorkshopError("no node of this cluster has a GPU that Slurm knows; there is nothing to draft.")
    text = draft(name, title, found.nodes, ask_partitions(), out)
    if found.unread:
        print(
            f"{len(found.unread)} lines of sinfo could not be read: {comment(found.unread[0])}",
            file=sys.stderr,
        )
    if out is None:
        print(text, end="")
        return
    write_new(Path(out), text)
    print(f"Wrote {out}. Complete what is marked CHECK, then run `workshop site check {out}`.")


def write_ood_app(site: Site, out: Path, install: Path, cluster: str | None) -> None:
    """Write the app, and say where it goes."""
    write_app(site, out, install, cluster or site.name)
    print(
        f"Wrote {out}. To try it, move it to ~/ondemand/dev/; for everybody, to /var/www/ood/apps/sys/. "
        f"{out / 'manifest.yml'} says what the portal must have."
    )
    if not (install / "bin" / "workshop").exists():
        print(
            f"There is no {install / 'bin' / 'workshop'} on this machine; make sure that the compute nodes "
            "have one (`make install`).",
            file=sys.stderr,
        )


def print_fields() -> None:
    """Print every field of the schema with its kind and meaning."""
    schema = json.loads((FOLDER / "site.schema.json").read_text(encoding="utf-8"))
    for line in field_lines(schema, ""):
        print(line)


def field_lines(schema: dict[str, Any], prefix: str) -> list[str]:
    """Return a line for each field below ``prefix``."""
    lines = []
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        kind = field.get("type") or " or ".join(map(repr, field.get("enum", [field.get("const")])))
        must = ", needed" if name in required else ""
        meaning = f": {field['description']}" if "description" in field else ""
        lines.append(f"{prefix}{name} ({kind}{must}){meaning}")
        lines += field_lines(field, f"{prefix}{name}.")
        lines += field_lines(field.get("items", {}), f"{prefix}{name}[].")
    return lines
