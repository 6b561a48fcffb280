"""Search: many trials, one winner, the same record that training returns."""

from raymle.tune.check import check as check
from raymle.tune.check import objectives as objectives
from raymle.tune.study import Candidate as Candidate
from raymle.tune.study import Searched as Searched
from raymle.tune.study import search as search
