"""KD and KD + DA in a loop of Equinox: `python examples/equinox_loop.py`."""

import equinox as eqx
import jax
import optax
from sklearn.datasets import load_digits

from da_jax import disagreement_augment, losses

images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 1, 8, 8) / 8 - 1).astype("float32")
x_test, y_test = images[1437:], labels[1437:]


def network(width):
    layers, key = [], jax.random.key(0)
    for inputs, stride in ((1, 1), (width, 2)):
        layers.append(eqx.nn.Conv2d(inputs, width, 3, stride, 1, key=key))
        layers.append(eqx.nn.BatchNorm(width, "batch", mode="batch"))
        layers.append(eqx.nn.Lambda(jax.nn.relu))
    layers.append(eqx.nn.Lambda(jax.numpy.ravel))
    return eqx.nn.Sequential([*layers, eqx.nn.Linear(16 * width, 10, key=key)])


def forward(model, x, state):
    return jax.vmap(model, (0, None), (0, None), axis_name="batch")(x, state)


def fit(name, width, teacher=None, augment=False):
    (model, state), optimizer = eqx.nn.make_with_state(network)(width), optax.adam(1e-3)
    training = (model, state, optimizer.init(eqx.filter(model, eqx.is_array)))

    @eqx.filter_jit
    def step(model, state, opt_state, x, y):
        if augment:
            student = jax.tree_util.Partial(forward, model)
            up = disagreement_augment(x, student, teacher, student_state=state)
            x, state = up.x, up.state

        def loss(model):
            logits, after = forward(model, x, state)
            targets = teacher(x) if teacher else logits  # or learn from labels
            return sum(losses.kd(logits, targets, y).values()), after

        gradient, state = eqx.filter_grad(loss, has_aux=True)(model)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return eqx.apply_updates(model, updates), state, opt_state

    for batch in jax.random.randint(jax.random.key(1), (500, 64), 0, 1437):
        training = step(*training, images[batch], labels[batch])
    model, state = eqx.nn.inference_mode(training[0]), training[1]
    right = forward(model, x_test, state)[0].argmax(-1) == y_test
    print(f"{name}: {100 * right.mean():.2f} %")
    return lambda x: forward(model, x, state)[0]


teacher = fit("teacher", 32)
fit("KD", 8, teacher)
fit("KD + DA", 8, teacher, augment=True)
