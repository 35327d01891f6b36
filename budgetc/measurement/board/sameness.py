"""Whether results are of the very files that are asked about: detectors, pictures, and the scripts that measured."""

from collections.abc import Mapping

from budgetc.errors import InputRejected


def check_same(expected: Mapping[str, str], found: Mapping[str, str], where: object, again: str) -> None:
    """Refuse results of other files; both mappings are name in the job -> sha256, `again` says what to do.

    Raises:
        InputRejected: a file differs, is missing, or is one too many.
    """
    differ = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    scripts = [name for name in differ if name.endswith(".py")]
    if scripts:
        raise InputRejected(
            f"{where}: was measured by other scripts ({', '.join(scripts)}) than this budgetc has; make a new kit"
        )
    if differ:
        raise InputRejected(f"{where}: was measured with another {differ[0]}; {again}")
