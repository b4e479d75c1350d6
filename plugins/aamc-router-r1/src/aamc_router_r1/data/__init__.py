"""Training data: records in the published format, as a dataset."""

from aamc_router_r1.data.records import parse_record, read_records
from aamc_router_r1.data.tasks import Consultation, RoutingDataset, RoutingTask, as_dataset, tasks_of

__all__ = ["Consultation", "RoutingDataset", "RoutingTask", "as_dataset", "parse_record", "read_records", "tasks_of"]
