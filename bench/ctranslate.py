"""CTranslate2 as an arm: converts a folder of safetensors once and decodes greedily in batches."""

from pathlib import Path

from transformers import AutoTokenizer

from bench.arms import Arm, Written
from bench.workloads import Work


def ctranslate(folder: Path, batch: int, home: Path, device: str, threads: int) -> Arm:
    """Batches of ``batch`` prompts, sorted by length as the library does by itself; float32 on a CPU, else 16 bit.

    Raises: ImportError where the ``bench`` extras are not installed.
    """
    import ctranslate2  # noqa: PLC0415  an optional peer
    from ctranslate2.converters import TransformersConverter  # noqa: PLC0415

    made = home / f"ctranslate2-{folder.name}"
    if not (made / "model.bin").exists():
        TransformersConverter(str(folder)).convert(str(made), force=True)
    kind = device.partition(":")[0]
    compute = "float32" if kind == "cpu" else "auto"
    generator = ctranslate2.Generator(str(made), device=kind, intra_threads=threads, compute_type=compute)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def arm(work: Work) -> Written:
        nothing = [len(tokenizer) - 1]  # some token has to end a text; no text here contains the last one
        results = generator.generate_batch(
            [tokenizer.convert_ids_to_tokens(list(prompt)) for prompt in work.prompts],
            max_batch_size=batch,
            max_length=work.max_tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=sorted(work.eos) or nothing,
        )
        return Written([one.sequences_ids[0] for one in results])

    return arm
