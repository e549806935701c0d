"""What libraries tell their own developers, kept out of a reader's notebook."""

import logging
import warnings


def quiet_torchao() -> None:
    """Silence torchao's remarks; call it before whatever makes transformers load its model classes.

    Those load torchao where it is installed, which on a CPU warns of each GPU kernel that it cannot load.
    """
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Said of its source where Python compiles it at the first import, as in an installation that nobody may
    # write to.
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=r".*torchao")
