"""Splits in, a trained bundle out; the caller drives the epochs."""

from raymle.train.display import display as display
from raymle.train.trainer import Fitted as Fitted
from raymle.train.trainer import check as check
from raymle.train.trainer import count as count
from raymle.train.trainer import fit as fit
