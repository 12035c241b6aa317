"""The library on eight devices: the numbers of one, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import da_jax
from tests.small_networks import CLASSES, images, linen_functions, variables

DEVICES, BATCH = 8, 16
LABELS = jnp.arange(BATCH) % CLASSES

CALLS = {
    "one step": {},
    "three steps": dict(steps=3, reference_batch=4),
    "plateau": dict(steps="traced"),
    "coin": dict(probability=0.5, with_key=True),
    "random start": dict(random_init=True, with_key=True, steps=2),
    "kl": dict(divergence="kl", update_state=False, steps=2),
    "noise": dict(function="noise", with_key=True),
    "fgsm": dict(function="fgsm"),
    "pgd": dict(function="pgd", steps=2),
}


def call(options, axis_name, x, labels, weights, of_teacher, key, steps):
    """One of the library's functions on (a device's share of) a batch."""
    options = dict(options)
    student, teacher = linen_functions(weights, of_teacher, axis_name)
    function = options.pop("function", "disagreement_augment")
    if options.pop("with_key", False):
        options["key"] = key
    if options.get("steps") == "traced":
        options["steps"] = steps
    other = labels if function in ("fgsm", "pgd") else teacher
    return getattr(da_jax, function)(
        x,
        student,
        other,
        student_state=weights["batch_stats"],
        axis_name=axis_name,
        **options,
    )


def arguments():
    x = jnp.asarray(images(BATCH, np.float64))
    weights, of_teacher = (variables(seed, jnp.float64) for seed in (0, 1))
    return x, LABELS, weights, of_teacher, jax.random.key(5), jnp.asarray(12)


def mesh():
    return jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))


def by_pmap(options):
    x, labels, *rest = arguments()
    split = [leaf.reshape(DEVICES, -1, *leaf.shape[1:]) for leaf in (x, labels)]
    mapped = jax.pmap(
        functools.partial(call, options, "batch"),
        axis_name="batch",
        in_axes=(0, 0, None, None, None, None),
    )(*split, *rest)
    first = jax.tree.map(lambda leaf: leaf[0], mapped)
    for leaf in jax.tree.leaves(mapped._replace(x=None)):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    return first._replace(x=mapped.x.reshape(x.shape))


def by_shard_map(options):
    everywhere = P()
    mapped = jax.shard_map(
        functools.partial(call, options, "batch"),
        mesh=mesh(),
        in_specs=(P("batch"), P("batch"), *[everywhere] * 4),
        out_specs=da_jax.Ascended(P("batch"), *[everywhere] * 4),
    )
    return jax.jit(mapped)(*arguments())


def by_sharding(options):
    x, labels, *rest = arguments()
    split = NamedSharding(mesh(), P("batch"))
    x, labels = (jax.device_put(leaf, split) for leaf in (x, labels))
    moved = jax.jit(functools.partial(call, options, None))(x, labels, *rest)
    assert len(moved.x.sharding.device_set) == DEVICES
    return moved


@pytest.mark.parametrize("how", [by_pmap, by_shard_map, by_sharding])
@pytest.mark.parametrize("name", CALLS)
def test_eight_devices_equal_one(x64, how, name):
    options = CALLS[name]
    one = jax.jit(functools.partial(call, options, None))(*arguments())
    eight = how(options)
    for found, expected in zip(
        jax.tree.leaves(eight), jax.tree.leaves(one), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    if name != "coin":
        assert np.abs(one.x - arguments()[0]).max() > 1e-3
