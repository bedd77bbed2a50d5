"""A blinded human study of a run's test pictures (PRIP, appendix A.2): the page for annotators, and what they said."""

from experiments.study.result import StudyResult, study_result
from experiments.study.sheet import Study, make_study, write_study
from experiments.study.votes import read_key, read_votes

__all__ = ["Study", "StudyResult", "make_study", "read_key", "read_votes", "study_result", "write_study"]
