"""The ways to ask a model, side by side: over HTTP, the ONNX file, `oltr predict`, and the plain forward pass.

    python benchmarks/serving.py --model resnet32 --side 32 --json
    python benchmarks/serving.py --model resnet10 --side 224 --images 256 --json

`http` is `mlflow models serve` on this machine, asked with image files in base64; `onnx` is onnxruntime on what
`oltr export --onnx` writes; both begin with the bytes of a file. `predict` reads files, decodes them in this process
and writes JSON lines. `plain` is the network alone, on pixels that lie in memory. Weights are random, images pieces
of two photographs; each way has `--threads` of the processor.

`p50_ms` and `p95_ms` are of one image at a time, `images_per_s` of batches of `--batch`, both against the clock on
the wall; `cpu_ms` is what an image of a batch costs the processor in all processes of that way, which other work on
the machine changes little. Turn by turn, medians; `ratios` are to `plain` of the same turn. `load` is that of the
machine before the first.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import torch
from input_pipeline import written  # this folder is where a script is started
from predict_folder import made, options_of_both

import oltr_core
from oltr_core import checkpoint
from oltr_core.images.decode import decode
from oltr_core.ingest.record import SourceAccess
from oltr_core.prediction import graph, images_at, opened, predict
from tasks.mlflow.model import SERVED

Way = Callable[[list[Path]], object]


def main() -> None:
    o = options()
    torch.set_num_threads(o.threads)
    model, load = made(o), round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = written(folder / "in", o)
        canvases = {path: model.card.transform.canvas(decode(path.read_bytes())) for path in files}

        def plain(some: list[Path]) -> object:
            with torch.no_grad():
                return model.network(model.card.transform(torch.stack([canvases[path] for path in some])))

        def by_predict(some: list[Path]) -> object:
            with opened(folder / f"{time.monotonic_ns()}.jsonl", "0000") as file:
                for prediction in predict(
                    images_at([str(p) for p in some], SourceAccess(folder)), model, "0000", o.batch
                ):
                    file.add(prediction)

        with over_http(model, folder, o.threads) as http:
            ways: dict[str, Way] = {"plain": plain, "onnx": onnx(model, folder, o.threads), "http": http}
            turns = []
            for _ in range(o.repeats + 1):  # the first warms up
                turn = {way: measured(ask, files, o) for way, ask in ways.items()}
                turns.append({**turn, "predict": measured(by_predict, files, o, alone=False)})
    print(json.dumps(summary(turns[1:], load, o)))


def measured(ask: Way, files: list[Path], o: argparse.Namespace, alone: bool = True) -> dict[str, float]:
    """Milliseconds of single images, images per second of batches, the processor's milliseconds for one of these."""
    found = {}
    if alone:
        times = []
        for path in files[: o.requests]:
            start = time.perf_counter()
            ask([path])
            times.append(1000 * (time.perf_counter() - start))
        found = {"p50_ms": float(np.percentile(times, 50)), "p95_ms": float(np.percentile(times, 95))}
    start, spent = time.perf_counter(), processor()
    for first in range(0, len(files), o.batch if alone else len(files)):
        ask(files[first : first + o.batch] if alone else files)
    seconds, spent = time.perf_counter() - start, processor() - spent
    return {**found, "images_per_s": len(files) / seconds, "cpu_ms": 1000 * spent / len(files)}


def processor() -> float:
    """Seconds of the processor that this process and those below it have had."""
    here = psutil.Process()
    return sum(sum(p.cpu_times()[:2]) for p in (here, *here.children(recursive=True)))


def onnx(model: checkpoint.Checkpoint, folder: Path, threads: int) -> Way:
    graph.write(folder / "model.onnx", model, "0000")
    limited = onnxruntime.SessionOptions()
    limited.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "model.onnx", limited, providers=["CPUExecutionProvider"])

    def ask(some: list[Path]) -> object:
        pixels = [model.card.transform.canvas(decode(path.read_bytes())) for path in some]
        return session.run(None, {"images": torch.stack(pixels).permute(0, 2, 3, 1).numpy()})

    return ask


@contextmanager
def over_http(model: checkpoint.Checkpoint, folder: Path, threads: int) -> Iterator[Way]:
    import mlflow

    checkpoint.save(folder / "model.safetensors", model.network, model.card)
    kept = {"checkpoint": (folder / "model.safetensors").as_uri()}
    code = [str(Path(oltr_core.__file__).parent)]
    mlflow.pyfunc.save_model(folder / "served", python_model=str(SERVED), artifacts=kept, code_paths=code)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [Path(sys.executable).parent / "mlflow", "models", "serve", "-m", folder / "served"]
    command += ["--env-manager", "local", "--port", port]
    address = f"http://127.0.0.1:{port}"

    def ask(some: list[Path]) -> object:
        rows = [{"image": base64.b64encode(path.read_bytes()).decode()} for path in some]
        body = json.dumps({"dataframe_records": rows}).encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            found = json.load(answer)["predictions"]
        assert all(row["error"] is None for row in found), found
        return found

    # it gives up a request after 60 seconds, which a busy machine needs for a large batch
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "600"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=2).close()
                break
            except OSError:
                if server.poll() is not None:
                    raise RuntimeError((folder / "log").read_text()) from None
                time.sleep(0.5)
        yield ask
    finally:
        server.terminate()
        server.wait()


def summary(turns: list[dict[str, dict[str, float]]], load: float, o: argparse.Namespace) -> dict:
    """Medians over the turns, and of each figure the ratio to that of the plain forward pass."""
    names = ("model", "side", "images", "batch", "requests", "threads", "repeats")
    result = {
        **{name: getattr(o, name) for name in names},
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "load": load,
    }
    for way in turns[0]:
        of = {k: [turn[way][k] for turn in turns] for k in turns[0][way]}
        result[way] = {k: round(statistics.median(values), 3) for k, values in of.items()}
        ratios = {k: [turn[way][k] / turn["plain"][k] for turn in turns] for k in of}
        result[way]["ratios"] = {k: round(statistics.median(values), 3) for k, values in ratios.items()}
    return result


def options() -> argparse.Namespace:
    parser = options_of_both(__doc__, images=1024)
    parser.add_argument("--requests", type=int, default=100, help="of one image each")
    parser.set_defaults(device="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
