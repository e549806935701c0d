"""What Accelerate and PyTorch's profiler show of their own work, kept out of notebook 07."""

import warnings


def quiet_accelerate() -> None:
    """Hide the nameless progress bar of each shard that is loaded on several devices, and a remark.

    Accelerate's ``load_state_dict`` (1.15, utils/modeling.py) has no switch for its bars: it draws them where
    it finds tqdm. The remark is on ``acc_events`` of the profiler, which ``ProfileKwargs`` cannot set.
    """
    from accelerate.utils import modeling

    modeling.is_tqdm_available = lambda: False
    warnings.filterwarnings("ignore", message=".*acc_events", category=UserWarning)
