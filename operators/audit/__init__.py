"""The audit trail: one HMAC chain per flow and input partition, and its verifier."""

from operators.audit.chain import Chain, Head, derive_key, key_id
from operators.audit.verify import Fault, Finding, Verifier

__all__ = ["Chain", "Fault", "Finding", "Head", "Verifier", "derive_key", "key_id"]
