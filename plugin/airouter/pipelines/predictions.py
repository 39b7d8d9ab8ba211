"""What a model answers on each patch of a plan, in the order of the plan."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from airouter.imaging.patches import Patch, PatchPlan
from airouter.pipelines.parallel import in_order, workers
from airouter.ports import Predictor, ProgressSink

Answer = TypeVar("Answer")


def predictions(
    plan: PatchPlan,
    predict: Predictor,
    threads: float | None,
    progress: ProgressSink,
    finish: Callable[[int, Patch, NDArray[np.float32]], Answer],
) -> Iterator[Answer]:
    """`finish(number, patch, output)` of every patch; the patches of a batch are read and given to the model together.

    A thread does all of it for a batch, `finish` included, so what that keeps of a patch decides how much memory is
    used: it must be safe in several threads. `threads` as the parameter `workers`. Progress is told in patches.
    Raises ModelOutputError, PixelDataError, ArchiveError, and JobCanceled from `progress`.
    """
    size, total = max(1, predict.model.input.batch), len(plan)

    def analyse(numbers: Sequence[int]) -> list[Answer]:
        patches = [plan.read(number) for number in numbers]
        outputs = predict.predict([patch.pixels for patch in patches])
        return [finish(n, patch, output) for n, patch, output in zip(numbers, patches, outputs, strict=True)]

    progress(0, total, "patches")
    done = 0
    for answers in in_order(
        analyse, (range(start, min(start + size, total)) for start in range(0, total, size)), workers(threads)
    ):
        yield from answers
        done += len(answers)
        progress(done, total, "patches")
