"""One of several processes that train the toy; the first call is stopped by a signal to one of them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from toy_training import toy_run

from aasp.training import engine

run, shard = Path(sys.argv[1]), sys.argv[2] == "sharded"
first_call = not (run / "checkpoints").exists() or not any((run / "checkpoints").glob("step-*"))
first_call = first_call and run.name != "whole"
signals = {4: signal.SIGTERM} if first_call and os.environ["RANK"] == "1" else {}
result = toy_run(run, size=2, noisy=False, precision="fp32", signals=signals, shard=shard, checkpoint_every=15)
assert (5 <= result.step <= 10 and result.exit_code == 75) if first_call else (result.step, result.exit_code) == (20, 0)

engine.leave()
if shard:
    # DTensor's caches keep the mesh, and it the group's threads, which may abort a process whose interpreter goes down.
    # The library never shards on processors; here nothing is left to do.
    sys.stdout.flush()
    os._exit(0)
if sys.platform == "linux":
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    assert not any("gloo" in name for name in threads), threads
