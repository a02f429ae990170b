"""The tree in the docstring of `models.errors` is the tree of its classes."""

import re

from models import errors


def test_the_docstring_draws_the_tree() -> None:
    drawn = re.findall(r"^[│├└─ ]*([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}

    assert {name for name in drawn if name in classes} == classes
    assert all(issubclass(getattr(errors, name), errors.RegistryError) for name in classes)


def test_messages_are_for_people() -> None:
    assert str(errors.JobNotFound("job_1")) == "no such job: job_1"
    assert str(errors.KeyNotFound("key_1")) == "no such API key: key_1"
    assert str(errors.ModelExists("tiny")) == "a model named tiny is registered already"
    assert str(errors.LeaseLost("job_1", 2, 3)) == "shard job_1/2 is not held at epoch 3 any more"
