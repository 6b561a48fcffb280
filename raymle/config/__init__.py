"""The whole spec, a module a section: frozen pydantic models that know nothing of files or frameworks."""

from raymle.config.base import CONDITION as CONDITION
from raymle.config.base import Section as Section
from raymle.config.data import ColumnType as ColumnType
from raymle.config.data import DataConfig as DataConfig
from raymle.config.data import Fractions as Fractions
from raymle.config.data import SplitConfig as SplitConfig
from raymle.config.data import Task as Task
from raymle.config.evaluate import EvaluateConfig as EvaluateConfig
from raymle.config.evaluate import PromoteConfig as PromoteConfig
from raymle.config.model import ModelConfig as ModelConfig
from raymle.config.place import ClusterConfig as ClusterConfig
from raymle.config.place import TrackingConfig as TrackingConfig
from raymle.config.serve import ServeConfig as ServeConfig
from raymle.config.spec import Spec as Spec
from raymle.config.train import OptimizerConfig as OptimizerConfig
from raymle.config.train import TrainConfig as TrainConfig
from raymle.config.train import WorkersRange as WorkersRange
from raymle.config.tune import TuneConfig as TuneConfig
