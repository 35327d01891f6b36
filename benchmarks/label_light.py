"""Does AUROC on synthetic anomalies choose candidates that hold on real defects? A curve over the number of normals.

    BUDGETC_TEST_DATA=DIR python benchmarks/label_light.py [--quick]

Of the magnetic tiles only 20, 50 or 100 normals are given to budgetc, one picture a tile as far as there are tiles, in
two draws, and 400 in one; a gaussian detector at 96 px is fitted to those that are not held out. The same candidates
are ranked by proxy AUROC on selection, and scored on all real test pictures through the same files: Spearman's and
Kendall's correlation over candidates, and what the smallest candidate within .02 of the baseline's proxy AUROC loses on
real defects. Real defects choose nothing but what is named as their own choice. Candidates whose file does not score
like the network are left out, as in a compilation. `--quick`: one draw, four candidates.
"""

import argparse
import csv
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from line import Line  # beside this script
from scipy.stats import kendalltau, spearmanr

from budgetc.candidate import Written, build, finish, score_split
from budgetc.compiler.inputs import load_inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_gaussian
from budgetc.core.dataset import Dataset
from budgetc.core.plan import Plan, Prune, Quantize, Step, StoreBits, Truncate
from budgetc.core.statistics import auroc
from budgetc.errors import BudgetcError
from budgetc.load.datasets import load_test_part
from budgetc.measurement.quality import Scored, score_pixels
from budgetc.runtime.artifact import load_artifact
from budgetc.store.run_directory import RunDirectory
from budgetc.training.loop import Effort

SIDE = 96
DRAWS = {20: 2, 50: 2, 100: 2, 400: 1}
"""Number of normals -> draws of them."""
DROP = 0.02
"""Of AUROC that a choice may lose, as in the shipped budgets."""
CANDIDATES: tuple[tuple[Step, ...], ...] = (
    (), (Truncate(stages=5), Quantize()), (Truncate(stages=4), Quantize()), (Truncate(stages=3), Quantize()),
    (Truncate(stages=5, input=0.625), Quantize()), (Truncate(stages=5), Quantize(), StoreBits(bits=2.5)),
    (Truncate(stages=5), Prune(keep=0.5, epochs=0), Quantize()),
)  # fmt: skip
_QUICK = CANDIDATES[::2]


@dataclass(frozen=True)
class Row:
    """One candidate under both judges."""

    title: str
    size: int
    proxy: Scored
    """On selection."""
    real: Scored
    """On all test pictures."""

    @property
    def aurocs(self) -> tuple[float, float]:
        """Proxy, real."""
        return auroc(self.proxy.scores, self.proxy.labels), auroc(self.real.scores, self.real.labels)


def give_normals(source: Path, folder: Path, count: int, draw: int) -> Path:
    """A data set of `count` normals and nothing else, of as many tiles as possible."""
    with (source / "groups.csv").open(newline="") as table:
        tiles = {row["file"]: row["group"] for row in csv.DictReader(table) if row["file"].startswith("train/")}
    seen: dict[str, int] = {}
    ranked = list[tuple[int, int, str]]()
    for file in sorted(tiles, key=lambda name: hashlib.sha256(f"{draw}/{name}".encode()).digest()):
        ranked.append((seen.setdefault(tiles[file], 0), len(ranked), file))
        seen[tiles[file]] += 1
    chosen = [file for _, _, file in sorted(ranked)[:count]]
    (folder / "train" / "good").mkdir(parents=True)
    for file in chosen:
        shutil.copyfile(source / file, folder / file)
    lines = ["file,group", *(f"{file},{tiles[file]}" for file in chosen)]
    (folder / "groups.csv").write_text("\n".join(lines) + "\n")
    return folder


def judge(data: Path, folder: Path, real: Dataset, plans: Sequence[tuple[Step, ...]]) -> Iterator[Row]:
    """Every candidate fitted to the normals of `data`."""
    model = folder / "model.pt"
    train_bundle(new_gaussian((SIDE, SIDE)), data=data, out=model, effort=Effort(1, 1e-3, 0))
    with RunDirectory.open(folder / "run") as run:
        shop = make_workshop(load_inputs(model, "host-cpu", data), run)
        for steps in plans:
            plan = Plan(recipe="label-light", steps=steps, seed=0)
            try:
                written = finish(build(plan, shop, 1.0), shop, run.path / "candidates" / plan.id)
            except BudgetcError as error:
                print(f"{plan.title()} is left out: {error}", file=sys.stderr)
                continue
            yield Row(plan.title(), written.size, score_split(written, shop, "selection"), score_real(written, real))


def score_real(written: Written, real: Dataset) -> Scored:
    """All test pictures through the file."""
    artifact = load_artifact(written.directory, cache=False)
    images = real.images("confirmation", (artifact.spec.height, artifact.spec.width))
    return Scored("test", real.samples["confirmation"], score_pixels(artifact, images), "host")


def chosen(rows: Sequence[Row], by: int) -> Row:
    """The smallest within .02 of the first row, which is unchanged, by proxy (0) or real (1) AUROC."""
    floor = rows[0].aurocs[by] - DROP
    return min((row for row in rows if row.aurocs[by] >= floor), key=lambda row: row.size)


def show(rows: Sequence[Row], count: int, draw: int) -> None:
    """A line a candidate, then what the proxy is worth."""
    name, n = f"magnetic-tile {count} normals, draw {draw}", len(rows[0].real.scores)
    held = sum(sample.label == 0 for sample in rows[0].proxy.samples)
    for row in rows:
        proxy, real = row.aurocs
        Line(f"{name}: {row.title}, real AUROC", round(real, 4), "reported", True, "1", n,
             f"proxy {proxy:.4f} on selection ({held} held-out normals), {row.size} B").show()  # fmt: skip
    proxies, reals = np.array([row.aurocs for row in rows]).T
    Line(f"{name}: Spearman of proxy and real AUROC over candidates", round(float(spearmanr(proxies, reals)[0]), 3),
         "reported", True, "1", len(rows), f"Kendall {kendalltau(proxies, reals)[0]:.3f}").show()  # fmt: skip
    agreed = np.array([float(spearmanr(rows[0].proxy.scores, row.proxy.scores)[0]) for row in rows])
    Line(f"{name}: Spearman of rank agreement with the baseline and real AUROC over candidates",
         round(float(spearmanr(agreed, reals)[0]), 3), "reported", True, "1", len(rows), "").show()  # fmt: skip
    mine, theirs = chosen(rows, 0), chosen(rows, 1)
    loss = reals[0] - mine.aurocs[1]
    Line(f"{name}: real AUROC lost by the proxy's choice", round(float(loss), 4), f"<= {DROP}", bool(loss <= DROP), "1",
         n, f"{mine.title}, {mine.size} B of {rows[0].size} B; real defects would choose {theirs.title}, "
         f"{theirs.size} B, losing {reals[0] - theirs.aurocs[1]:.4f}").show()  # fmt: skip
    agree = spearmanr(rows[0].real.scores, mine.real.scores)[0]
    Line(f"{name}: rank agreement of the choice with the baseline on real pictures", round(float(agree), 3), "reported",
         True, "1", n, "Spearman").show()  # fmt: skip


def main() -> None:
    """All numbers of normals, all draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one draw, four candidates")
    quick = parser.parse_args().quick
    source = Path(os.environ["BUDGETC_TEST_DATA"]) / "magnetic-tile"
    real = load_test_part(source)
    for draw in range(1 if quick else max(DRAWS.values())):
        for count in (count for count, draws in DRAWS.items() if draw < draws):
            with tempfile.TemporaryDirectory() as scratch:
                data = give_normals(source, Path(scratch) / "data", count, draw)
                show(list(judge(data, Path(scratch), real, _QUICK if quick else CANDIDATES)), count, draw)


if __name__ == "__main__":
    main()
