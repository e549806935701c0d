"""The device-map explorer's button on this machine's GPUs: ``python tests/gpu/check_explorer.py [MODEL]``.

Presses "Load it here" for the map that the explorer shows of this machine's devices, prints what it reports
(predicted and held bytes of each device) and presses again; the exit code is 1 where a device holds other
bytes than its map says, or anything is left on a GPU afterwards.
"""

import argparse
import re
import sys

import torch

from workshop_utils.widgets.device_map_explorer import device_map_explorer
from workshop_utils.widgets.device_map_explorer_controls import HERE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="llama-3.1-8b")
    parser.add_argument("--tokens", type=int, default=4096)
    arguments = parser.parse_args()
    explorer = device_map_explorer(arguments.model, HERE, tokens=arguments.tokens)
    found = explorer.result()
    if found is None or explorer.load.button.disabled:
        print("there is nothing to load:", re.sub(r"<[^>]+>", " ", explorer.load.words.value))
        return 1
    print("the map:", dict(found.fit.placement.bytes_by_device))
    explorer.load.button.click()
    report = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", explorer.load.report.value))
    print(report)
    loaded, same = explorer.load.loaded, report.count("the same")
    explorer.load.button.click()
    left = [torch.cuda.memory_allocated(index) for index in range(torch.cuda.device_count())]
    print("left on each GPU:", left)
    return int(not loaded or same != len(found.fit.devices.all) or any(left))


if __name__ == "__main__":
    sys.exit(main())
