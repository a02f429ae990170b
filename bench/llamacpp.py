"""llama.cpp as an arm, one prompt after the other, from a GGUF file. Opt-in: the package is built from source.

From the demo model's own file (Q4_1) it decodes the very numbers that our loader expands to float32, but multiplies in
its own 8-bit kernels and keeps keys and values at 16 bits unless told otherwise: texts may part beyond our noise. The
same numbers are written out at 32 and 16 bits, and rounded to 8, by its own tool.
"""

from functools import cache
from pathlib import Path
from typing import Any

from bench.arms import Arm, Written
from bench.workloads import Work

KINDS = {"llama.cpp": None, "llama.cpp-f32": 0, "llama.cpp-f16": 1, "llama.cpp-q8": 7}
"""Arms by name: the file's own numbers, and those of ``llama_ftype`` ALL_F32, MOSTLY_F16 and MOSTLY_Q8_0."""


def rewritten(file: Path, name: str, home: Path) -> Path:
    """The file with its numbers in the format of one of ``KINDS``, made once in ``home``.

    Raises: KeyError for another name, ValueError when llama.cpp refuses the file.
    """
    kind = KINDS[name]
    if kind is None:
        return file
    import llama_cpp  # noqa: PLC0415  an optional peer that takes minutes to build

    made = home / f"{file.stem}.{name}.gguf"
    if not made.exists():
        _silence(llama_cpp)
        options = llama_cpp.llama_model_quantize_default_params()
        options.ftype, options.allow_requantize = kind, True
        unfinished = made.with_suffix(".part")
        if llama_cpp.llama_model_quantize(str(file).encode(), str(unfinished).encode(), options):
            raise ValueError(f"llama.cpp cannot write {file} as {name}")
        unfinished.rename(made)
    return made


@cache
def _silence(llama_cpp: Any) -> Any:
    """It logs a line for every tensor. The callback is kept, as llama.cpp holds no reference to it."""
    callback = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(callback, None)
    return callback


def llamacpp(file: Path, threads: int, length: int = 2048) -> Arm:
    """Greedy, keys and values at 32 bits.

    Raises: ImportError where llama-cpp-python is not installed.
    """
    import llama_cpp  # noqa: PLC0415  an optional peer that takes minutes to build

    model = llama_cpp.Llama(
        str(file),
        n_ctx=length,
        n_threads=threads,
        n_threads_batch=threads,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        verbose=False,
    )

    def text(prompt: tuple[int, ...], work: Work) -> list[int]:
        model.reset()
        out: list[int] = []
        for token in model.generate(list(prompt), temp=0.0, top_k=1, repeat_penalty=1.0, reset=False):
            if token in work.eos:
                break
            out.append(token)
            if len(out) == work.max_tokens:
                break
        return out

    return lambda work: Written([text(prompt, work) for prompt in work.prompts])
