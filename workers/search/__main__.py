"""`python -m workers.search --study NAME --layers N ...`: keeps the notebook of one search, a line of JSON at a time.

Reads entries from stdin and ends with it, so that what was on its way is kept although the node was killed. Says first
what is known, then answers: of a record that it is kept, of a question what to score next. The database's address comes
from the environment, for it holds a password. One thread: a proposal of the Gaussian process takes torch and scipy.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from engine.search.trial import Source
from engine.skipset import SkipSet
from workers.logs import configure
from workers.search.optimiser import Sampler, StudyNotebook, fail_abandoned, open_study
from workers.search.storage import open_storage
from workers.settings import WorkerSettings
from workers.wire.searches import Json, parse_trial, trial_json


def main(arguments: Sequence[str]) -> int:
    """Serve until stdin ends."""
    options = _parse(arguments)
    settings = WorkerSettings.from_env()
    configure(settings.log_level)
    study = open_study(open_storage(settings.need_database()), options.study)
    # Whoever holds the search's lease is alone: all that runs under another name was left behind.
    fail_abandoned(study, lambda owner: owner == options.owner)
    notebook = StudyNotebook(study, options.layers, options.owner, Sampler(options.sampler), options.seed)
    with suppress(BrokenPipeError):  # the node is gone; what it sent is kept all the same
        for answer in answers(notebook, options.layers, map(json.loads, sys.stdin)):
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    fail_abandoned(study, lambda owner: owner != options.owner)  # what we took on and did not come to
    return 0


def answers(notebook: StudyNotebook, layers: int, entries: Iterable[Json]) -> Iterator[Json]:
    """What is known, then an answer to every entry that wants one."""
    known = [trial_json(trial, layers) for trial in notebook.trials()]
    yield {"do": "known", "trials": known, "can_propose": notebook.can_propose}
    for entry in entries:
        match entry["do"]:
            case "claim":
                notebook.claim(SkipSet.from_bits(entry["bits"]), Source(entry["source"]))
            case "record":
                trial = parse_trial(entry)
                if notebook.claim(trial.skip_set, trial.source):  # it has been, unless the process was replaced
                    notebook.record(trial)
                yield {"do": "noted"}
            case "propose":
                proposal = notebook.propose(map(SkipSet.from_bits, entry["free"]))
                yield {"do": "proposed", "bits": None if proposal is None else proposal.bits(layers)}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.search")
    parser.add_argument("--study", required=True)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--owner", required=True, help="worker and epoch")
    parser.add_argument("--sampler", choices=[kind.value for kind in Sampler], required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
