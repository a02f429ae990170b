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
from models.database import Database, connect
from models.sharing import is_held
from workers.logs import configure
from workers.search.optimiser import IsAlive, Sampler, StudyNotebook, fail_abandoned, open_study
from workers.search.owner import Owner
from workers.search.storage import open_storage
from workers.settings import WorkerSettings
from workers.wire.searches import Json, parse_trial, trial_json

STATEMENT_TIMEOUT_MS = 10_000


def main(arguments: Sequence[str]) -> int:
    """Serve until stdin ends."""
    options = _parse(arguments)
    settings = WorkerSettings.from_env()
    configure(settings.log_level)
    study = open_study(open_storage(settings.need_database()), options.study)
    database = connect(
        settings.need_database(),
        pool_size=1,
        application_name="skim-search",
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    is_alive = alive_by(database, options.owner)
    fail_abandoned(study, is_alive)
    notebook = StudyNotebook(study, options.layers, options.owner, Sampler(options.sampler), options.seed, is_alive)
    with suppress(BrokenPipeError):  # the node is gone; what it sent is kept all the same
        for answer in answers(notebook, options.layers, map(json.loads, sys.stdin)):
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    fail_abandoned(study, lambda owner: owner != options.owner)  # what we took on and did not come to
    database.close()
    return 0


def alive_by(database: Database, own: str) -> IsAlive:
    """Whether an owner may still score what it claimed: by the lease of its shard."""

    def is_alive(name: str) -> bool:
        if name == own:
            return True
        try:
            owner = Owner.parse(name)
        except ValueError:
            return False
        with database.session() as session:
            return is_held(session, owner.ref, owner.epoch)

    return is_alive


def answers(notebook: StudyNotebook, layers: int, entries: Iterable[Json]) -> Iterator[Json]:
    """What is known, then an answer to every entry that wants one."""
    yield _known(notebook, layers)
    for entry in entries:
        match entry["do"]:
            case "look":
                yield _known(notebook, layers)
            case "costs":
                notebook.price(entry["costs"])
            case "plan":
                sets = [SkipSet.from_bits(bits) for bits in entry["sets"]]
                notebook.plan(sets, Source(entry["source"]), entry["prompts"])
            case "claim":
                notebook.claim(SkipSet.from_bits(entry["bits"]), Source(entry["source"]), entry["prompts"])
            case "ask":
                yield _asked(notebook, layers, entry)
            case "help":
                work = notebook.help()
                found = {} if work is None else {"source": work.source.value, "prompts": work.prompts}
                yield {"do": "work", "bits": None if work is None else work.skip_set.bits(layers), **found}
            case "record":
                trial = parse_trial(entry)
                # It has been claimed, unless the process was replaced.
                if notebook.claim(trial.skip_set, trial.source, trial.prompts):
                    notebook.record(trial)
                yield {"do": "noted"}
            case "propose":
                proposal = notebook.propose(map(SkipSet.from_bits, entry["free"]))
                yield {"do": "proposed", "bits": None if proposal is None else proposal.bits(layers)}


def _known(notebook: StudyNotebook, layers: int) -> Json:
    known = [trial_json(trial, layers) for trial in notebook.trials()]
    return {"do": "known", "trials": known, "can_propose": notebook.can_propose, "costs": notebook.costs}


def _asked(notebook: StudyNotebook, layers: int, entry: Json) -> Json:
    """Whether a set is the asker's now; else its trial, None while somebody else has it."""
    skip_set, prompts = SkipSet.from_bits(entry["bits"]), entry["prompts"]
    is_yours = notebook.claim(skip_set, Source(entry["source"]), prompts)
    trial = None if is_yours else notebook.find(skip_set, prompts)
    told = None if trial is None else trial_json(trial, layers)
    return {"do": "claimed", "bits": entry["bits"], "is_yours": is_yours, "trial": told}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.search")
    parser.add_argument("--study", required=True)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--owner", required=True, help="job, shard and epoch")
    parser.add_argument("--sampler", choices=[kind.value for kind in Sampler], required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
