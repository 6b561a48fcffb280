"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A test asserts behaviour, never how fast a busy machine is.
settings.register_profile("raymle", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("raymle")
