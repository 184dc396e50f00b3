"""Where the time of a run goes: the stacks of its threads, sampled while it runs.

    python examples/benchmark/stages.py OUTPUT.json upscale scene.tif --rgb pan.tif --model auto -o product.tif

runs the command line in this process and writes seconds by stage. A sample counts for the innermost module of
`STAGES` on a thread's stack, and is weighed by the processor time since the last one, so that waiting costs nothing.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

# Seconds between two samples.
INTERVAL_S = 0.01
# Stage of a part of a file's name; the innermost frame that fits decides.
STAGES = (
    ("importlib", "import"),
    ("dualsr_geo/models/networks/", "network"),
    ("dualsr_geo/degradation/", "consistency"),
    ("dualsr_geo/engine/tiles/encoding", "encode"),
    ("dualsr_geo/io/writers/geotiff", "finish"),
    ("dualsr_geo/io/writers/", "store"),
    ("dualsr_geo/io/readers/", "read"),
    ("dualsr_geo/io/alignment", "read"),
    ("dualsr_geo/models/methods/", "candidates"),
    ("dualsr_geo/fusion/", "candidates"),
    ("dualsr_geo/engine/tiles/", "rest of the tile"),
)
# A survey runs models, too: what is under it is the survey's.
OUTER = ("dualsr_geo/engine/scene_survey", "survey")


def stage_of(frame: FrameType | None) -> str | None:
    """Return the stage of a stack by its innermost frame, None for a thread without any."""
    stage = None
    while frame is not None:
        name = frame.f_code.co_filename
        if OUTER[0] in name:
            return OUTER[1]
        if stage is None:
            stage = next((s for part, s in STAGES if part in name), None)
        frame = frame.f_back
    return stage


class Sampler(threading.Thread):
    """Counts seconds of processor time by stage until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: Counter[str] = Counter()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Sample every `INTERVAL_S` seconds."""
        last = time.process_time()
        while not self._stopped.wait(INTERVAL_S):
            now = time.process_time()
            frames = [frame for thread, frame in sys._current_frames().items() if thread != self.ident]  # noqa: SLF001
            stages = [stage for stage in map(stage_of, frames) if stage is not None] or ["other"]
            for stage in stages:
                self.seconds[stage] += (now - last) / len(stages)
            last = now

    def stop(self) -> dict[str, float]:
        """End the sampling and return seconds by stage."""
        self._stopped.set()
        self.join()
        return {stage: round(seconds, 3) for stage, seconds in self.seconds.most_common()}


def main() -> None:
    """Run the command line under the sampler."""
    output, *arguments = sys.argv[1:]
    sampler = Sampler()
    sampler.start()
    from dualsr_geo.cli import main as command  # noqa: PLC0415  # the import is measured, too

    try:
        command(arguments, standalone_mode=False)
    finally:
        Path(output).write_text(json.dumps(sampler.stop()))


if __name__ == "__main__":
    main()
