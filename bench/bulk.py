"""Bulk throughput: sequential ``transformers.generate``, the bare engine and the whole service, in turn, same items.

``python -m bench.bulk --documents FILE.jsonl`` starts a stack of its own, submits the documents over HTTP, stops it.
Greedy, a fixed number of new tokens at most, prompts truncated to their first words.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from bench.report import Spread, save
from bench.stack import Stack, running
from engine.load import Loaded, load
from engine.loop import Engine, Options
from engine.request import Drafter, Failed, Finished, Request

MODEL = "smollm2-135m-instruct"
TEXT = "Summarise this document in one paragraph.\n\n{document}"
Tokens = list[list[int]]


def read_documents(path: Path, count: int, words: int) -> list[str]:
    """The first words of the first documents of a JSON Lines file."""
    lines = path.read_text().splitlines()[:count]
    return [" ".join(json.loads(line)["document"].split()[:words]) for line in lines]


def encode(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> Tokens:
    """Prompts as the service builds them for messages."""
    chats = [[{"role": "user", "content": TEXT.format(document=document)}] for document in documents]
    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    return [list(tokenizer(str(text), add_special_tokens=False)["input_ids"]) for text in texts]


def generate(network: PreTrainedModel, prompts: Tokens, max_tokens: int) -> Tokens:
    """One prompt after the other through ``transformers.generate``."""
    outputs = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            out = network.generate(  # type: ignore[operator]  # transformers hides the mixin's signature
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False
            )
        outputs.append(out[0, len(prompt) :].tolist())
    return outputs


def run_engine(engine: Engine, prompts: Tokens, max_tokens: int, drafter: Drafter = Drafter.AUTO) -> Tokens:
    """All prompts through the engine in this process."""
    for index, prompt in enumerate(prompts):
        engine.submit(Request(str(index), tuple(prompt), max_tokens, drafter=drafter))
    outputs: Tokens = [[] for _ in prompts]
    while not engine.is_idle:
        for event in engine.step():
            if isinstance(event, Failed):
                raise RuntimeError(event.message)
            if isinstance(event, Finished):
                outputs[int(event.id)] = list(event.tokens)
    return outputs


class Service:
    """A stack of its own, driven over HTTP."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{stack.port}", headers={"Authorization": f"Bearer {stack.key}"}, timeout=60
        )

    def submit(self, documents: Sequence[str], max_tokens: int, drafter: Drafter = Drafter.AUTO) -> list[str]:
        """Submit, wait to the end, fetch the texts."""
        inputs = [{"messages": [{"role": "user", "content": TEXT.format(document=one)}]} for one in documents]
        body = {"kind": "generate", "model": MODEL, "inputs": inputs, "parameters": {"max_tokens": max_tokens}}
        job = self._post("/v1/jobs", {**body, "priority": "bulk", "decoding": {"drafter": drafter}})
        while job["status"] in ("queued", "running"):
            job = self.http.get(f"/v1/jobs/{job['id']}", params={"wait": 20}).raise_for_status().json()
        lines = self.http.get(f"/v1/jobs/{job['id']}/results").raise_for_status().text.splitlines()
        items = sorted((json.loads(line) for line in lines), key=lambda item: int(item["index"]))
        return [str(item["output"]) for item in items]

    def _post(self, path: str, body: object) -> Any:
        return self.http.post(path, json=body).raise_for_status().json()

    def wait_ready(self) -> None:
        """Wait until one whole job has gone through."""
        self.submit(["warm up"], 4)


def load_demo(stack: Stack) -> Loaded:
    """The network that the stack serves, in this process."""
    return load(str(stack.home / "models" / MODEL), home=stack.home)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def measure(arguments: argparse.Namespace, loaded: Loaded, service: Service) -> dict[str, Any]:
    """Run the three arms in turn; the texts must agree but for near ties, which are counted."""
    documents = read_documents(arguments.documents, arguments.count, arguments.words)
    prompts = encode(loaded.tokenizer, documents)
    stock = AutoModelForCausalLM.from_pretrained(loaded.tokenizer_folder, dtype=torch.float32)
    options = Options(rows=arguments.rows)
    engine = Engine(loaded.network, options, eos=loaded.eos, decode=loaded.decode, is_measured=True)
    generate(stock, prompts[:1], 4)
    run_engine(engine, prompts[:2], 4)
    service.wait_ready()
    seconds: dict[str, list[float]] = {"generate": [], "engine": [], "service": []}
    texts: dict[str, list[str]] = {}
    for _ in range(arguments.rounds):
        took, tokens = timed(lambda: generate(stock, prompts, arguments.max_tokens))
        seconds["generate"].append(took)
        texts["generate"] = [loaded.decode(one) for one in tokens]
        took, tokens = timed(lambda: run_engine(engine, prompts, arguments.max_tokens))
        seconds["engine"].append(took)
        texts["engine"] = [loaded.decode(one) for one in tokens]
        took, texts["service"] = timed(lambda: service.submit(documents, arguments.max_tokens))
        seconds["service"].append(took)
    return {
        "items": len(prompts),
        "prompt_tokens": sum(map(len, prompts)),
        "max_tokens": arguments.max_tokens,
        "seconds": {arm: Spread.of(values) for arm, values in seconds.items()},
        "service_over_generate": Spread.of(_ratios(seconds["generate"], seconds["service"])),
        "engine_over_generate": Spread.of(_ratios(seconds["generate"], seconds["engine"])),
        "service_overhead": Spread.of([ratio - 1 for ratio in _ratios(seconds["service"], seconds["engine"])]),
        "equal_texts": {
            arm: sum(a == b for a, b in zip(texts["generate"], texts[arm], strict=True))
            for arm in ("engine", "service")
        },
    }


def _ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(first, second, strict=True)]


def table(results: dict[str, Any]) -> str:
    lines = ["| arm | seconds for all items | times generate | texts equal to generate's |", "|---|---|---|---|"]
    lines.append(f"| transformers.generate, one by one | {results['seconds']['generate']} | 1 | |")
    for arm in ("engine", "service"):
        ratio = results[f"{arm}_over_generate"]
        equal = f"{results['equal_texts'][arm]} of {results['items']}"
        lines.append(f"| {arm} | {results['seconds'][arm]} | {ratio} | {equal} |")
    lines.append(f"\nService over bare engine, extra time: {results['service_overhead']} (1 = 100 %)")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, required=True, help="JSON Lines with a member `document`")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--words", type=int, default=350)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    with running(arguments.port) as stack:
        results = measure(arguments, load_demo(stack), Service(stack))
    print(table(results))
    print(save("bulk", results, table(results)))


if __name__ == "__main__":
    main()
