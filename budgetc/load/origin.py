"""What a bundle was made of, for the report."""

from typing import Annotated, Literal

from pydantic import Field

from budgetc.core.frozen import Frozen

How = Literal["weights", "onnx", "trusted code", "factory"]
"""`trusted code`: the file was run, because its digest was named. `factory`: a function of the user's."""


class Origin(Frozen):
    """A file, or a factory, of somebody else."""

    how: How
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    """Of the (first) file; None of a factory that was given none."""
    factory: Annotated[str, Field(max_length=500)] | None = None
    """`package.module:name`."""

    @property
    def title(self) -> str:
        """What its digest is of."""
        return f"model source ({self.how if self.factory is None else self.factory})"
