"""What a site has, said after a refusal of Slurm's; without a site file, where Slurm shows it."""

from workshop_utils.cluster.site import Site

# sbatch --test-only says the same then, though sbatch itself takes the job.
DRAINED = ". If it is all right, the nodes that have it are drained or down: `workshop gpus --nodes`."


def no_node(site: Site | None) -> str:
    """Return what to compare where no node has all that is asked for at once."""
    causes = (
        "No node has all of this together: GPU type (in its exact spelling), GPUs on one node, constraint, "
        "cores and CPU memory."
    )
    if site is None:
        return f"{causes} `sinfo -o '%P %G %f %c %m'` lists what nodes have; change what is over it{DRAINED}"
    types = ", ".join(f"{name} {most}" for name, most in most_of(site).items())
    return (
        f"{causes} {site.name} has on a node at most: {types}; change what is over it, or what "
        f"`sinfo -o '%P %G %f %c %m'` shows on no node{DRAINED}"
    )


def most_of(site: Site) -> dict[str, int]:
    """Return how many GPUs of each type a node has at most."""
    found: dict[str, int] = {}
    for group in site.gpus:
        found[group.type] = max(group.per_node, found.get(group.type, 0))
    return found


def partitions(site: Site | None) -> str:
    if site is None:
        return "`sinfo -o %P` lists the partitions; give one with --partition."
    return f"Give --partition one of {', '.join(each.name for each in site.partitions)}."


def features(site: Site | None) -> str:
    known = f" {site.name}'s file knows {', '.join(site.features)}." if site and site.features else ""
    return (
        f"No node has this constraint.{known} `sinfo -o '%f %N'` lists the features; change or leave it out."
    )


def nodes(site: Site | None) -> str:
    most = f": {site.name} gives a job {site.most_nodes}" if site and site.most_nodes else ""
    return f"More nodes than the partition gives one job{most}; ask for fewer nodes with more GPUs on each."


def gpu_limit(site: Site | None) -> str:
    most = f": {site.name} gives a job {site.most_gpus}" if site and site.most_gpus else ""
    return f"More GPUs or nodes than your account or QOS may have{most}; ask for fewer."


def time(site: Site | None) -> str:
    limits = ", ".join(f"{each.name} {each.most_hours:g} h" for each in site.partitions) if site else ""
    known = f" ({limits})" if limits else " (`sinfo -o '%P %l'` lists the limits)"
    return (
        f"The time is over the partition's limit{known}; lower --time, or choose a partition that gives more."
    )


def gres(site: Site | None) -> str:
    types = f"; types are {', '.join(site.types)}" if site else ""
    return f"GPUs are asked for as --gres=gpu:TYPE:NUMBER with a whole number{types}."
