"""What counts as the time of a picture."""

from time import sleep

from budgetc.runtime.device_worker import STAGES, time_calls


class Slow:
    """Takes 4 ms to decode, 2 ms to compute and 6 ms to judge."""

    def prepare(self, data: bytes) -> bytes:
        sleep(0.004)
        return data

    def run(self, inputs: bytes) -> bytes:
        sleep(0.002)
        return inputs

    def judge(self, outputs: bytes) -> None:
        sleep(0.006)


def test_decoding_and_judging_count() -> None:
    """A latency is from encoded bytes to the judged score, and the stages are its parts."""
    times = time_calls(Slow(), [b"picture"], 3)
    *parts, whole = (times[stage] for stage in STAGES)
    for stages, total in zip(zip(*parts, strict=True), whole, strict=True):
        assert all(found >= least for found, least in zip(stages, (4, 2, 6), strict=True))
        assert abs(sum(stages) - total) < 1e-6
