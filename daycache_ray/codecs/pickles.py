"""Any Python object by pickle, for regions whose writers are trusted: reading a pickle runs what its writer chose."""

from __future__ import annotations

import pickle
from typing import Any, Final

from daycache_ray.codecs.scalars import Encoded, Payload
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError
from daycache_ray.words.records import Codec

PICKLE: Final = int(Codec.PICKLE)


def encode(value: Any) -> Encoded:
    """Return the object pickled; raises InvalidValueError where it cannot be."""
    from ray import cloudpickle  # Takes lambdas and classes of __main__, too; Ray is there wherever a cache is.

    try:
        return PICKLE, cloudpickle.dumps(value, protocol=5)
    except Exception as error:
        raise InvalidValueError(
            f"a value of type '{type(value).__qualname__}' cannot be pickled: {error}; store its data instead"
        ) from error


def decode(payload: Payload) -> Any:
    """Return the object; raises CorruptRecordError where its bytes, or its class in this process, are not there."""
    try:
        return pickle.loads(payload)
    except Exception as error:
        raise CorruptRecordError(
            f"a pickled value cannot be read: {type(error).__name__}: {error}; is its class importable here?"
        ) from error


def refuse(payload: Payload) -> Any:
    """Raise InvalidValueError: the reader has not allowed pickle."""
    raise InvalidValueError(
        "the entry holds a pickle, and reading one runs code of its writer; where all writers are trusted, set "
        "allow_pickle=True in the region"
    )
