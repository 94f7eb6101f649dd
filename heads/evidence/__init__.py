"""Evidence: did transfer help, and can a head and its data be trusted? From stored features, in minutes."""

from heads.evidence.evaluation import is_current, read_evaluation, write_evaluation
from heads.evidence.gathering import gather_evidence, sample_of
from heads.evidence.subject import Settings

__all__ = ["Settings", "gather_evidence", "is_current", "read_evaluation", "sample_of", "write_evaluation"]
