"""Raw records in, events as columns out: parse, check, replace identifiers by pseudonyms."""

from operators.decode.pseudonym import Pseudonymizer
from operators.decode.stage import Decode, DecodeConfig

__all__ = ["Decode", "DecodeConfig", "Pseudonymizer"]
