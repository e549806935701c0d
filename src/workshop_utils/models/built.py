"""The way to an ``Architecture`` for a type without a family file: build the model on torch's meta device.

Nothing is allocated or downloaded, and no code of a repository is run: only classes that transformers itself
brings. Costs the import of torch and transformers, a few seconds.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workshop_utils.errors import WorkshopError
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import SHAPE, Config
from workshop_utils.models.quiet import quiet_torchao

if TYPE_CHECKING:
    from collections.abc import Iterator

# Beyond every width or length of a published config; a model of this many values a row cannot be addressed.
LARGEST = 10**9
# Layers and single experts are built one by one.
MOST_MODULES = 2000
COUNTED = re.compile(r"(layers?|depth|blocks?|experts)$")
LAYER_COUNTS = {"num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"}
DEEPEST = 20
# Classes to try for a config that names none of its own, the ones that generate text first.
DECODERS = ("AutoModelForCausalLM", "AutoModel")
ENCODER_DECODERS = ("AutoModelForSeq2SeqLM", "AutoModelForSpeechSeq2Seq", "AutoModel")
WITH_TOWERS = ("AutoModelForMultimodalLM", "AutoModelForImageTextToText", *DECODERS)


def read_with_transformers(config: Config, families: Sequence[str]) -> Architecture:
    """Return the architecture of a model that transformers builds; WorkshopError where it cannot.

    ``families`` are the types that need no transformers, for the message.
    """
    model_type = config.text("model_type") or ""
    known = ", ".join(families)
    try:
        quiet_torchao()
        import torch
        import transformers
    except ImportError as error:
        raise WorkshopError(
            f"{config.where} is of model_type {model_type}, which takes torch and transformers to read; "
            f"install both, or choose a model of a type that does not: {known}."
        ) from error
    from workshop_utils.models.built_layers import read_built

    if model_type not in transformers.CONFIG_MAPPING:
        raise unknown_type(config, model_type, transformers.__version__, known)
    refuse_too_large(config.fields, config)
    with quiet(), torch.device("meta"):
        try:
            settings = transformers.CONFIG_MAPPING[model_type].from_dict(plain_fields(config.fields))
            # On the meta device, experts run in bfloat16 only, and sdpa wants to look into masks.
            model = model_class(settings)._from_config(
                settings, dtype=torch.bfloat16, attn_implementation="eager"
            )
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise WorkshopError(
                f"{config.where} cannot be built by transformers {transformers.__version__} as {model_type} "
                f"({type(error).__name__}: {reason}); use the config.json published with the model."
            ) from error
        try:
            return read_built(model, config)
        except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
            raise WorkshopError(
                f"{config.where} is of model_type {model_type}, which does not look like a language model to "
                f"transformers {transformers.__version__}; choose a model that generates text."
            ) from error


def unknown_type(config: Config, model_type: str, version: str, known: str) -> WorkshopError:
    """Return the error for a type that nobody knows, with the usual fields that the file lacks."""
    missing = [name for name in SHAPE if config.fields.get(name) is None]
    lacks = f" and add {', '.join(missing)}, which it lacks" if missing else ""
    return WorkshopError(
        f"{config.where} is of model_type {model_type}, which neither this workshop nor transformers "
        f"{version} knows; where it is shaped like a known type, write that into a copy{lacks}: {known}."
    )


def refuse_too_large(fields: Mapping[str, object], config: Config, depth: int = 1) -> None:
    """Raise WorkshopError for numbers that would keep the machine busy or that no model has."""
    if depth > DEEPEST:
        raise WorkshopError(
            f"{config.where} has sections nested more than {DEEPEST} deep; "
            "use the config.json published with the model."
        )
    for name, value in fields.items():
        if isinstance(value, dict):
            refuse_too_large(value, config, depth + 1)
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        most = MOST_MODULES if COUNTED.search(name) else LARGEST
        # Negative numbers count from the end: vision_feature_layer, for one.
        if abs(value) > most or (value < 0 and name in LAYER_COUNTS):
            raise WorkshopError(
                f"{config.where} has {name} {value}, and it must be from 0 to {most:,}; correct config.json."
            )


def plain_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields without those that choose code, devices or formats of the weights."""
    left_out = {"quantization_config", "auto_map", "_attn_implementation", "attn_implementation"}
    return {name: value for name, value in fields.items() if name not in left_out}


def model_class(settings: Any) -> Any:
    """Return the class that the config names, else one that takes it; LookupError where none does.

    Only classes of transformers itself count, whatever name the file gives.
    """
    import transformers

    for name in settings.architectures or ():
        named = getattr(transformers, str(name), None)
        is_model = isinstance(named, type) and issubclass(named, transformers.PreTrainedModel)
        if is_model and getattr(named, "config_class", None) is type(settings):
            return named
    names: tuple[str, ...] = DECODERS
    if settings.is_encoder_decoder:
        names = ENCODER_DECODERS
    elif settings.sub_configs:
        names = WITH_TOWERS
    for name in names:
        mapping = getattr(transformers, name)._model_mapping
        if type(settings) in mapping:
            chosen = mapping[type(settings)]
            return chosen[0] if isinstance(chosen, tuple) else chosen
    raise LookupError("no model class takes this config")


@contextmanager
def quiet() -> "Iterator[None]":
    """Keep transformers' remarks about missing kernels and defaults out of the reader's way."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
