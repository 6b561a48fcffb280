"""Batch prediction: a whole source in chunks, here or on Ray, that a killed run goes on with."""

from raymle.predict.run import MOST_QUARANTINED as MOST_QUARANTINED
from raymle.predict.run import plan as plan
from raymle.predict.run import predict as predict
