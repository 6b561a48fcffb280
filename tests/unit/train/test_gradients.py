"""Gradients of a module as one tensor, and back."""

import torch
from small_net import Net

from raymle.train.backends.gradients import Flat


def summed(flat, parameters, workers):
    """What every worker is left with when all of them hold the same gradients."""
    flat.pack(parameters).mul_(workers)
    flat.unpack(parameters, workers)
    return [parameter.grad.clone() for parameter in parameters]


def test_the_mean_of_equal_gradients_is_the_gradient_in_every_step():
    parameters, flat = list(Net().parameters()), Flat()
    for step in range(3):
        for place, parameter in enumerate(parameters):
            parameter.grad = torch.full_like(parameter, 10.0 * step + place)
        for place, mean in enumerate(summed(flat, parameters, 3)):
            assert torch.equal(mean, torch.full_like(mean, 10.0 * step + place))


def test_a_weight_without_a_gradient_takes_part_as_zeros():
    parameters = list(Net().parameters())
    for parameter in parameters[1:]:
        parameter.grad = torch.ones_like(parameter)
    means = summed(Flat(), parameters, 2)
    assert not means[0].any()
    assert all(torch.equal(mean, torch.ones_like(mean)) for mean in means[1:])


def test_other_weights_and_number_formats_may_follow():
    flat = Flat()
    for parameters in (list(Net().parameters()), list(Net().bfloat16().parameters())[:2]):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 2.0)
        for parameter, mean in zip(parameters, summed(flat, parameters, 2), strict=True):
            assert torch.equal(mean, torch.full_like(parameter, 2.0))
