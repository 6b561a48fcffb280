"""Search: many trials, one winner, the same record that training returns."""

from raymle.tune.study import Found as Found
from raymle.tune.study import check as check
from raymle.tune.study import search as search
