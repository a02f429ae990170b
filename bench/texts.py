"""Texts as the full network writes them, in token ids, to replay drafters on (``bench.lookup``).

``python -m bench.texts --model FOLDER --documents FILE.jsonl ... --out FILE.json``. Four workloads: summaries of the
documents, free writing, the same sampled, and the engine's own modules to be repeated with comments.
"""

import argparse
import json
from pathlib import Path

import torch

import engine
from bench.bulk import TEXT, read_documents
from engine.load import Loaded, load
from engine.loop import Engine, Options
from engine.request import Drafter, Finished, Request, Sampling

TOPICS = (
    "a lighthouse keeper",
    "the history of bread",
    "why the sky is blue",
    "a letter to a friend who moved abroad",
    "how to learn to swim",
    "a day in the life of a bee",
    "the first city on Mars",
    "how a bill becomes law",
    "two rivals who become friends",
    "what makes a good teacher",
    "a storm at sea",
    "how to plan a garden",
)
CODE = "Repeat this Python module and add a comment to each function.\n\n```python\n{module}\n```"


def asked(documents: list[str]) -> dict[str, list[str]]:
    """The messages of each workload."""
    modules = sorted(Path(str(engine.__file__)).parent.glob("*.py"))[1:15]
    free = [f"Write about {topic}." for topic in TOPICS]
    return {
        "summary": [TEXT.format(document=document) for document in documents],
        "free": free,
        "sampled": free,
        "code": [CODE.format(module="\n".join(path.read_text().splitlines()[:60])) for path in modules],
    }


def requests(loaded: Loaded, documents: list[str], max_tokens: int) -> list[Request]:
    """Plain requests, named by workload and number."""
    found = []
    for workload, messages in asked(documents).items():
        sampling = Sampling(0.8, top_p=0.95, seed=7) if workload == "sampled" else Sampling()
        for number, message in enumerate(messages):
            chat = [{"role": "user", "content": message}]
            text = loaded.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            prompt = tuple(loaded.tokenizer(str(text), add_special_tokens=False)["input_ids"])
            found.append(Request(f"{workload}/{number}", prompt, max_tokens, sampling, drafter=Drafter.PLAIN))
    return found


def write(loaded: Loaded, everything: list[Request]) -> list[dict[str, object]]:
    """What the network answers."""
    decoder = Engine(loaded.network, Options(), eos=loaded.eos)
    prompts = {request.id: request.prompt for request in everything}
    for request in everything:
        decoder.submit(request)
    texts: list[dict[str, object]] = []
    while not decoder.is_idle:
        ended = [event for event in decoder.step() if isinstance(event, Finished)]
        texts += [{"workload": one.id.split("/")[0], "prompt": prompts[one.id], "output": one.tokens} for one in ended]
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with safetensors")
    parser.add_argument("--documents", type=Path, nargs="+", required=True, help="JSON Lines with a member `document`")
    parser.add_argument("--count", type=int, default=12, help="documents of each file")
    parser.add_argument("--words", type=int, default=500)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    documents = [one for path in arguments.documents for one in read_documents(path, arguments.count, arguments.words)]
    loaded = load(str(arguments.model), home=arguments.out.parent)
    arguments.out.write_text(json.dumps(write(loaded, requests(loaded, documents, arguments.max_tokens))))


if __name__ == "__main__":
    main()
