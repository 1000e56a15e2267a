"""The runners that ours is measured against, at their best: sorted, padded to few shapes, one thread; see tagger_child.py.

All get texts, tokenise them, and answer for the same body weights (tagger_twin.py). The pipeline is what most people
write; the others are as fast as we could make them. openvino and onnxruntime live in an environment of their own
(`make bench-peers`): the product never needs them.
"""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.tagger_child import Answer, Made, Runner
from groundswell.tagging import Text
from models.labels import SENTIMENTS

BATCH = 32
PAD_TO = 8  # few shapes: every one of these libraries prepares something for each new one

Ids = NDArray[np.int64]
# `[texts, tokens]` ids and mask to `[texts, 3]` logits.
Forward = Callable[[Ids, Ids], NDArray[np.float32]]


def make(home: str, twin: Path) -> Made:
    """The runners of one home. Raises ImportError where its library is missing."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    made: Mapping[str, Runner] = {
        "pipeline": pipeline,
        "transformers_bf16": transformers_bf16,
        "openvino": openvino,
        "onnxruntime": onnxruntime,
    }[home](twin)
    return made, {"version": version(home)}


def version(home: str) -> str:
    library = {"openvino": "openvino", "onnxruntime": "onnxruntime"}.get(home, "transformers")
    return f"{library} {importlib.import_module(library).__version__}"


def pipeline(twin: Path) -> dict[str, Runner]:
    """transformers' own, float32, as its documentation shows it: one by one, and in batches of 32 as they come."""
    transformers, model = loaded(twin)
    tokenizer = transformers.AutoTokenizer.from_pretrained(twin, local_files_only=True)
    pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device=-1)

    def run(texts: Sequence[Text], batch: int) -> Answer:
        said = pipe([text.whole for text in texts], batch_size=batch, truncation=True)
        by_name = [{one["label"]: float(one["score"]) for one in each} for each in said]
        return Answer([[each[name] for name in SENTIMENTS] for each in by_name])

    return {"pipeline_one_by_one": lambda texts: run(texts, 1), "pipeline_batch32": lambda texts: run(texts, BATCH)}


def transformers_bf16(twin: Path) -> dict[str, Runner]:
    """The transformers forward in bfloat16."""
    torch = importlib.import_module("torch")
    _, model = loaded(twin)
    model = model.to(torch.bfloat16)

    def forward(ids: Ids, mask: Ids) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = model(torch.from_numpy(ids), torch.from_numpy(mask)).logits.float().numpy()
        return logits

    return {"transformers_bf16": sorted_runner(twin, forward)}


def openvino(twin: Path) -> dict[str, Runner]:
    library: Any = importlib.import_module("openvino")
    core = library.Core()
    options = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(twin / "model.onnx"), "CPU", options)
    request = compiled.create_infer_request()

    def forward(ids: Ids, mask: Ids) -> NDArray[np.float32]:
        found = request.infer({"input_ids": ids, "attention_mask": mask})
        return np.array(next(iter(found.values())), np.float32)

    return {"openvino_bf16": sorted_runner(twin, forward)}


def onnxruntime(twin: Path) -> dict[str, Runner]:
    """In float32, and with weights quantised to int8 a channel, activations as they come (the best of its recipes)."""
    library: Any = importlib.import_module("onnxruntime")
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    small = twin / "model-int8.onnx"
    if not small.exists():
        quantization.quantize_dynamic(
            twin / "model.onnx", small, per_channel=True, weight_type=quantization.QuantType.QInt8
        )

    def session(path: Path) -> Forward:
        options = library.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        ready = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def forward(ids: Ids, mask: Ids) -> NDArray[np.float32]:
            (logits,) = ready.run(None, {"input_ids": ids, "attention_mask": mask})
            return np.asarray(logits, np.float32)

        return forward

    return {
        "onnxruntime_fp32": sorted_runner(twin, session(twin / "model.onnx")),
        "onnxruntime_int8": sorted_runner(twin, session(small)),
    }


def loaded(twin: Path) -> tuple[Any, Any]:
    """transformers, and the twin in float32 on one thread."""
    import torch
    import transformers

    from bench.tagger_twin import MeanBert

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model: Any = MeanBert.from_pretrained(twin, local_files_only=True)
    return transformers, model.eval()


def sorted_runner(twin: Path, forward: Forward) -> Runner:
    """Batches of 32, sorted by length over all texts of a turn, padded to a multiple of 8; the fastest tokeniser."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(twin / "tokenizer.json"))
    tokenizer.no_padding()

    def run(texts: Sequence[Text]) -> Answer:
        found = [encoding.ids for encoding in tokenizer.encode_batch_fast([text.whole for text in texts])]
        p = np.zeros((len(texts), len(SENTIMENTS)), np.float32)
        ranked = sorted(range(len(found)), key=lambda n: len(found[n]))
        for start in range(0, len(ranked), BATCH):
            batch = ranked[start : start + BATCH]
            ids, mask = padded([found[n] for n in batch])
            logits = forward(ids, mask)
            powers = np.exp(logits - logits.max(-1, keepdims=True))
            p[batch] = powers / powers.sum(-1, keepdims=True)
        return Answer(p.tolist())

    return run


def padded(rows: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
    """Ids and mask `[rows, longest rounded up to PAD_TO]`."""
    width = -(-max(map(len, rows)) // PAD_TO) * PAD_TO
    ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row
        mask[n, : len(row)] = 1
    return ids, mask
