"""Stands in for ``python``: plays vLLM's server, rftt and launchers of training, and is the real interpreter for the rest.

The server's name of a model says how it behaves: ``slow`` is never up, ``broken`` ends at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def flag(name: str) -> str:
    return sys.argv[len(sys.argv) - 1 - sys.argv[::-1].index(name) + 1]


def main() -> None:
    module = sys.argv[2] if sys.argv[1:2] == ["-m"] else ""
    if module.startswith("vllm."):
        print(json.dumps({"argv": sys.argv[3:], "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}), flush=True)
        if flag("--model") == "broken":
            sys.exit("no such model")
        if flag("--model") == "slow":
            signal.pause()
        HTTPServer(("127.0.0.1", int(flag("--port"))), Health).serve_forever()
    elif module in ("torch.distributed.run", "deepspeed.launcher.runner"):
        print(json.dumps([module, *sys.argv[3:]]), flush=True)
    elif module == "rftt.cli":
        try:
            print(json.dumps(sys.argv[3:]), flush=True)
            if os.environ.get("SEARCH_WAITS"):
                signal.pause()
        except KeyboardInterrupt:
            sys.exit(1)
    else:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])


main()
