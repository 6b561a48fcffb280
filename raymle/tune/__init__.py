"""Search: many trials, one winner, the same record that training returns."""

from raymle.tune.capacity import slots as slots
from raymle.tune.check import check as check
from raymle.tune.check import fits as fits
from raymle.tune.check import objectives as objectives
from raymle.tune.check import ways as ways
from raymle.tune.study import Candidate as Candidate
from raymle.tune.study import Searched as Searched
from raymle.tune.study import recalled as recalled
from raymle.tune.study import search as search
from raymle.tune.study import trial_runs as trial_runs
from raymle.tune.study import warm as warm
from raymle.tune.study import write_report as write_report
