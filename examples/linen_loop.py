"""KD and KD + DA in a loop of Flax Linen: `python examples/linen_loop.py`."""

import flax.linen as nn
import jax
import optax
from sklearn.datasets import load_digits

from da_jax import disagreement_augment, losses

images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 8, 8, 1) / 8 - 1).astype("float32")
x_test, y_test = images[1437:], labels[1437:]


class Network(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train):
        for stride in (1, 2):
            x = nn.Conv(self.width, (3, 3), stride)(x)
            x = nn.relu(nn.BatchNorm(not train)(x))
        return nn.Dense(10)(x.reshape(len(x), -1))


def fit(name, width, teacher=None, augment=False):
    network, optimizer = Network(width), optax.adam(1e-3)
    state = network.init(jax.random.key(0), x_test, True)
    training = (params := state.pop("params")), state, optimizer.init(params)

    @jax.jit
    def step(params, state, opt_state, x, y):
        def loss(params, x, state):
            def student(x, state):
                variables = {"params": params, **state}
                return network.apply(variables, x, True, mutable=[*state])

            if augment:  # no gradient passes through it
                up = disagreement_augment(x, student, teacher, student_state=state)
                x, state = up.x, up.state
            logits, state = student(x, state)
            targets = teacher(x) if teacher else logits  # or learn from labels
            return sum(losses.kd(logits, targets, y).values()), state

        gradient, state = jax.grad(loss, has_aux=True)(params, x, state)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, updates), state, opt_state

    for batch in jax.random.randint(jax.random.key(1), (500, 64), 0, 1437):
        training = step(*training, images[batch], labels[batch])
    trained = {"params": training[0], **training[1]}
    right = network.apply(trained, x_test, False).argmax(-1) == y_test
    print(f"{name}: {100 * right.mean():.2f} %")
    return lambda x: network.apply(trained, x, False)


teacher = fit("teacher", 32)
fit("KD", 8, teacher)
fit("KD + DA", 8, teacher, augment=True)
