"""The base of every type that is read from or written to disk."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable; refuses keys it does not know, and NaN and infinity, which JSON cannot hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
