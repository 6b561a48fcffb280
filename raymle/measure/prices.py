"""What a node costs for an hour: list prices, and the arithmetic.

The table is dated. Prices change, differ by region, and know nothing of discounts, disks and traffic: check them with
the provider, or give your own with ``cluster.dollars_per_hour``.
"""

DATE = "2026-11"
"""The month of the list: on demand, Linux, in the providers' large regions of the United States."""
DOLLARS_PER_HOUR = {
    # AWS, us-east-1: processors, then accelerators
    "m5.large": 0.096, "m5.xlarge": 0.192, "m5.2xlarge": 0.384, "m5.4xlarge": 0.768,
    "m6i.large": 0.096, "m6i.xlarge": 0.192, "m6i.2xlarge": 0.384, "m6i.4xlarge": 0.768,
    "m7i.large": 0.1008, "m7i.xlarge": 0.2016, "m7i.2xlarge": 0.4032, "m7i.4xlarge": 0.8064,
    "c5.large": 0.085, "c5.xlarge": 0.17, "c5.2xlarge": 0.34, "c5.4xlarge": 0.68,
    "c6i.large": 0.085, "c6i.xlarge": 0.17, "c6i.2xlarge": 0.34, "c6i.4xlarge": 0.68,
    "r5.large": 0.126, "r5.xlarge": 0.252, "r5.2xlarge": 0.504, "r5.4xlarge": 1.008,
    "g4dn.xlarge": 0.526, "g4dn.2xlarge": 0.752, "g4dn.12xlarge": 3.912,
    "g5.xlarge": 1.006, "g5.2xlarge": 1.212, "g5.12xlarge": 5.672,
    "g6.xlarge": 0.8048, "g6.2xlarge": 0.9776, "p4d.24xlarge": 21.9576, "p5.48xlarge": 55.04,
    # GCP, us-central1
    "e2-standard-2": 0.067, "e2-standard-4": 0.134, "e2-standard-8": 0.2681,
    "n2-standard-2": 0.0971, "n2-standard-4": 0.1942, "n2-standard-8": 0.3885, "n2-standard-16": 0.7769,
    "c2-standard-4": 0.2088, "c2-standard-8": 0.4176,
    "g2-standard-4": 0.7069, "g2-standard-8": 0.8536, "a2-highgpu-1g": 3.6734, "a2-highgpu-8g": 29.3871,
    "a3-highgpu-8g": 88.49,
    # Azure, East US
    "Standard_D2s_v5": 0.096, "Standard_D4s_v5": 0.192, "Standard_D8s_v5": 0.384, "Standard_D16s_v5": 0.768,
    "Standard_F4s_v2": 0.169, "Standard_F8s_v2": 0.338, "Standard_E4s_v5": 0.252, "Standard_E8s_v5": 0.504,
    "Standard_NC4as_T4_v3": 0.526, "Standard_NC24ads_A100_v4": 3.673, "Standard_ND96isr_H100_v5": 98.32,
}  # fmt: skip
"""Dollars for an hour of one node, by its provider's name of the type."""
SECONDS = 3600


def per_hour(instance: str | None, given: float | None) -> float | None:
    """Return the dollars that one node costs for an hour: what is given, else the list's price; None is unknown."""
    if given is not None:
        return given
    return DOLLARS_PER_HOUR.get(instance) if instance else None


def cost(seconds: float, per_hour: float) -> float:
    """Return the dollars of so many seconds of one node."""
    return seconds * per_hour / SECONDS
