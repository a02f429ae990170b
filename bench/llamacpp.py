"""llama.cpp as an arm, one prompt after the other, from a GGUF file. Opt-in: the package is built from source.

From the demo model's own file (Q4_1) it decodes the very numbers that our loader expands to float32, but multiplies in
its own 8-bit kernels and keeps keys and values at 16 bits unless told otherwise: texts may part beyond our noise.
"""

from pathlib import Path

from bench.arms import Arm, Written
from bench.workloads import Work


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
