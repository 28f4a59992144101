"""An engine: another one behind it, whose slow requests are written down.

engine.name=docs/examples/engine.py:start engine.options.slower_than=0.5
"""

import time
from dataclasses import replace
from pathlib import Path

from search.engines import Engine, Generation, Sampling
from search.engines.engine import EngineAround
from search.engines.starting import EngineSettings, start_engine


class Watched(EngineAround):
    """Args:
    engine: engine that does the work.
    limit: seconds from which on a request is slow.
    log: file that slow requests are written to.
    """

    def __init__(self, engine: Engine, limit: float, log: Path) -> None:
        super().__init__(engine)
        self.limit, self.log = limit, log

    async def generate(self, prompt_ids: list[int], sampling: Sampling) -> list[Generation]:
        begun = time.monotonic()
        found = await super().generate(prompt_ids, sampling)
        seconds = time.monotonic() - begun
        if seconds > self.limit:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(f"{seconds:.2f} s, {len(prompt_ids)} prompt tokens, n = {sampling.n}\n")
        return found

    def close(self) -> None:
        self.engine.close()


def start(settings: EngineSettings) -> Engine:
    """The transformers engine, watched; `engine.options` are ``slower_than`` in seconds and ``log``."""
    options = dict(settings.options)
    limit, log = float(options.pop("slower_than", 1.0)), Path(options.pop("log", "slow-requests.txt"))
    return Watched(start_engine("transformers", replace(settings, options=options)), limit, log)
