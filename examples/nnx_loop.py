"""KD and KD + DA in a loop of Flax NNX: `python examples/nnx_loop.py`."""

import jax
import optax
from flax import nnx
from sklearn.datasets import load_digits

from da_jax import disagreement_augment, losses

images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 8, 8, 1) / 8 - 1).astype("float32")
x_test, y_test = images[1437:], labels[1437:]


def network(width, rngs):
    layers = []
    for inputs, stride in ((1, 1), (width, 2)):
        layers.append(nnx.Conv(inputs, width, (3, 3), stride, rngs=rngs))
        layers.append(nnx.BatchNorm(width, rngs=rngs))
        layers.append(nnx.relu)
    layers.append(lambda x: x.reshape(len(x), -1))
    return nnx.Sequential(*layers, nnx.Linear(16 * width, 10, rngs=rngs))


def fit(name, width, teacher=None, augment=False):
    model = network(width, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        if augment:
            graphdef, params, state = nnx.split(model, nnx.Param, ...)

            def student(x, state):
                student = nnx.merge(graphdef, params, state)
                return student(x), nnx.state(student, nnx.Not(nnx.Param))

            up = disagreement_augment(x, student, teacher, student_state=state)
            nnx.update(model, up.state)
            x = up.x

        def loss(model):
            logits = model(x)
            targets = teacher(x) if teacher else logits  # or learn from labels
            return sum(losses.kd(logits, targets, y).values())

        optimizer.update(model, nnx.grad(loss)(model))

    for batch in jax.random.randint(jax.random.key(1), (500, 64), 0, 1437):
        step(model, optimizer, images[batch], labels[batch])
    model.eval()
    print(f"{name}: {100 * (model(x_test).argmax(-1) == y_test).mean():.2f} %")
    return model


teacher = fit("teacher", 32)
fit("KD", 8, teacher)
fit("KD + DA", 8, teacher, augment=True)
