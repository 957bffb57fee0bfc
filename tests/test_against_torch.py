"""The same numbers as PyTorch: optimizers, decay, gradients, losses, schedules, clipping.

Another program, by other people, cannot share our mistakes. All but one test are in float64,
where agreement to 1e-9 leaves room for rounding and for nothing else.
"""

from functools import partial

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.nn import activations
from chainrule.spec import KINDS

torch = pytest.importorskip("torch")
F, rates = torch.nn.functional, torch.optim.lr_scheduler
torch.set_num_threads(1)  # a pool of threads costs more than these small nets

FEATURES, CLASSES = 3, 4
BATCH, STEPS, EPOCHS = 8, 5, 4
ROWS = BATCH * STEPS - 3  # the last batch is short
DECAY = 0.1
CLASS_WEIGHT = (1.0, 2.5, 0.5, 3.0)

same = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)


# Networks ------------------------------------------------------------------------------------


class Residual(torch.nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


LAYERS = {
    nn.Sequential: lambda ours: torch.nn.Sequential(*map(counterpart, ours.layers)),
    nn.Residual: lambda ours: Residual(counterpart(ours.body)),
    nn.Affine: lambda ours: torch.nn.Linear(ours.inputs, ours.outputs),
    nn.BatchNorm: lambda ours: torch.nn.BatchNorm1d(
        ours.features, eps=ours.epsilon, momentum=1 - ours.momentum
    ),
    nn.ReLU: lambda ours: torch.nn.ReLU(),
    nn.LeakyReLU: lambda ours: torch.nn.LeakyReLU(ours.slope),
    nn.Sigmoid: lambda ours: torch.nn.Sigmoid(),
    nn.Tanh: lambda ours: torch.nn.Tanh(),
    nn.SiLU: lambda ours: torch.nn.SiLU(),
    nn.GELU: lambda ours: torch.nn.GELU(),
    nn.SELU: lambda ours: torch.nn.SELU(),
    nn.Softmax: lambda ours: torch.nn.Softmax(dim=1),
}


def counterpart(ours):
    return LAYERS[type(ours)](ours)


def twin(model, weights):
    """PyTorch's form of a model, with the same values in the same precision."""
    values = list(comparable(weights).values())
    theirs = counterpart(model).to(torch.from_numpy(values[0]).dtype)
    with torch.no_grad():
        for tensor, value in zip(state(theirs), values, strict=True):
            tensor.copy_(torch.from_numpy(value.T))
    return theirs


def comparable(weights):
    """The state that PyTorch has too; its running mean is the sum of our two parts."""
    found = dict(weights)
    for path in [path for path in weights if path.endswith("running_rest")]:
        found[path.replace("rest", "mean")] = found[path.replace("rest", "mean")] + found.pop(path)
        found.pop(path.replace("rest", "rows"))
    return found


def state(theirs):
    """What `Layer.leaves` has, in its order; PyTorch's matrices are [outputs, inputs]."""
    named = theirs.state_dict().items()
    return [tensor for name, tensor in named if not name.endswith("num_batches_tracked")]


def keep_our_statistics(net, momentum):
    """Have PyTorch's batch norm keep the mean and variance of all rows that it has seen, a batch
    of n rows multiplying the weights before it by momentum^(n/100)."""
    seen = []

    def after_a_batch(layer, inputs, _):
        if not layer.training:
            return
        keep = momentum ** min(1.0, len(inputs[0]) / 100)
        seen[:] = [(x, keep * w) for x, w in seen] + [(inputs[0].detach().double(), 1.0)]
        X = torch.cat([x for x, _ in seen])
        w = torch.cat([torch.full((len(x), 1), w, dtype=torch.double) for x, w in seen])
        mean = (w * X).sum(0) / w.sum()
        # Of the tensors themselves, which the gradient of the batch still needs, no value changes.
        layer.running_mean = mean.to(inputs[0].dtype)
        layer.running_var = ((w * (X - mean) ** 2).sum(0) / w.sum()).to(inputs[0].dtype)

    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.register_forward_hook(after_a_batch)


# Training steps --------------------------------------------------------------------------------


def expect_same_training(
    ours,
    theirs,
    weight_decay=0.0,
    their_decay=0.0,
    decay_by_hand=0.0,
    *,
    batch_norm=True,
    clip_norm=None,
    schedule=None,
    epochs=EPOCHS,
    dtype="float64",
    same=same,
):
    """Train a net and its twin on the same batches; losses, weights and running statistics agree.

    `theirs` and `schedule` are PyTorch's, still to be given the parameters and the optimizer.
    """
    random = np.random.default_rng(0)
    X = random.normal(size=(ROWS, FEATURES)).astype(dtype)
    y = random.integers(0, CLASSES, ROWS)
    norm = [nn.BatchNorm(6, momentum=0.8, epsilon=1e-3)] if batch_norm else []
    model = nn.Sequential(nn.Affine(FEATURES, 6), *norm, nn.Tanh(), nn.Affine(6, CLASSES))
    trainer = cr.Trainer(
        model,
        nn.SoftmaxCrossEntropy(),
        ours,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        engine="reference",  # the specification; another engine is compared with it
        dtype=dtype,
    )
    net = twin(model, trainer.weights())
    keep_our_statistics(net, 0.8)
    trainer.fit(X, y, epochs=epochs, batch_size=BATCH, shuffle=False)

    matrices = [W for W in net.parameters() if W.ndim == 2]
    others = [W for W in net.parameters() if W.ndim == 1]  # these decay nowhere below
    optimizer = theirs(
        [
            {"params": matrices, "weight_decay": their_decay},
            {"params": others, "weight_decay": 0.0},
        ]
    )
    scheduler = schedule(optimizer) if schedule else None
    rows, truth = torch.from_numpy(X), torch.from_numpy(y)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for x, t in zip(rows.split(BATCH), truth.split(BATCH), strict=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), t)
            loss.backward()
            total += len(x) * loss.item()
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
            if decay_by_hand:
                with torch.no_grad():
                    for W in matrices:
                        W.mul_(1 - optimizer.param_groups[0]["lr"] * decay_by_hand)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        losses.append(total / ROWS)

    same(trainer.history["loss"], losses)
    ours = comparable(trainer.weights())
    for (path, found), expected in zip(ours.items(), state(net), strict=True):
        same(found, expected.numpy().T, err_msg=path)
    with torch.no_grad():
        same(trainer.evaluate(X, y)["loss"], F.cross_entropy(net.eval()(rows), truth).item())


# An ε far from 0 shows whether it stands inside or outside of the root.
RULES = [
    (optim.SGD(lr=0.1), partial(torch.optim.SGD, lr=0.1)),
    (optim.Momentum(lr=0.1, momentum=0.8), partial(torch.optim.SGD, lr=0.1, momentum=0.8)),
    (
        optim.Nesterov(lr=0.1, momentum=0.8),
        partial(torch.optim.SGD, lr=0.1, momentum=0.8, nesterov=True),
    ),
    (optim.AdaGrad(lr=0.1, epsilon=1e-3), partial(torch.optim.Adagrad, lr=0.1, eps=1e-3)),
    (
        optim.RMSProp(lr=0.02, rho=0.9, epsilon=1e-3),
        partial(torch.optim.RMSprop, lr=0.02, alpha=0.9, eps=1e-3),
    ),
    (
        optim.Adam(lr=0.02, beta1=0.8, beta2=0.95, epsilon=1e-3),
        partial(torch.optim.Adam, lr=0.02, betas=(0.8, 0.95), eps=1e-3),
    ),
]

# The trainer's decay; PyTorch's own, which is coupled in all rules but AdamW; and one by hand.
DECAYS = {
    "no decay": (0.0, 0.0, 0.0),
    "coupled": (DECAY, DECAY, 0.0),
    "decoupled": (optim.Decoupled(DECAY), 0.0, DECAY),
}

# AdamW's decay is its own: the trainer refuses another one beside it.
RULES_WITH_DECAY = {
    f"{type(ours).__name__}, {name}": (ours, theirs, *decay)
    for ours, theirs in RULES
    for name, decay in DECAYS.items()
} | {
    f"AdamW, {name}": (
        optim.AdamW(lr=0.02, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=strength),
        partial(torch.optim.AdamW, lr=0.02, betas=(0.8, 0.95), eps=1e-3),
        0.0,
        strength,
    )
    for name, strength in [("no decay", 0.0), ("decoupled", DECAY)]
}

every_rule = pytest.mark.parametrize("rule", RULES_WITH_DECAY.values(), ids=RULES_WITH_DECAY.keys())


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])
@every_rule
def test_twenty_steps(rule, batch_norm):
    expect_same_training(*rule, batch_norm=batch_norm)


@pytest.mark.parametrize(
    ("batch_norm", "tolerance"), [(False, 2e-5), (True, 5e-4)], ids=["plain", "batch norm"]
)
@every_rule
def test_fifty_steps_in_float32(rule, batch_norm, tolerance):
    """Before batch norm a bias has the gradient 0, so what moves it is rounding, of about 6e-8: in
    50 steps at a rate of 0.1, divided by AdaGrad's ε, up to 3e-4."""
    expect_same_training(
        *rule,
        batch_norm=batch_norm,
        epochs=50 // STEPS,
        dtype="float32",
        same=partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance),
    )


@pytest.mark.parametrize("limit", [0.05, 0.5, 100.0], ids=["always", "at times", "never"])
def test_clipping_by_the_global_norm(limit):
    """The gradient of the data is clipped, and decay comes on top."""
    expect_same_training(*RULES[0], *DECAYS["coupled"], clip_norm=limit)


# Gradients -------------------------------------------------------------------------------------

ACTIVATIONS = [kind for kind in KINDS.values() if kind.__module__ == activations.__name__]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients(activation, training):
    model = nn.Sequential(
        nn.Affine(FEATURES, 5),
        nn.BatchNorm(5, epsilon=1e-3),
        activation(),
        nn.Residual(nn.Sequential(nn.Affine(5, 5), activation())),
        nn.Affine(5, 2),
    )
    x, t = cr.batch(FEATURES), cr.batch(2)
    seed, step = cr.scalar(0, dtype="int"), cr.scalar(0, dtype="int")
    Y = model(x, nn.Training(seed, step) if training else nn.EVALUATION)
    parameters = [W for W in model.leaves().values() if W.op.name == "parameter"]
    gradients = cr.grad(nn.MeanSquaredError().rows(Y, t).mean(), [x, *parameters])

    random = np.random.default_rng(0)
    X, T = random.normal(size=(9, FEATURES)), random.normal(size=(9, 2))
    values = {  # noise, because zeros and ones hide mistakes
        leaf: value + 0.1 * random.normal(size=value.shape)
        for leaf, value in nn.initial_values(model).items()
    }
    weights = {path: values[leaf] for path, leaf in model.leaves().items()}
    net = twin(model, weights).train(training)
    rows = torch.tensor(X, requires_grad=True)
    F.mse_loss(net(rows), torch.tensor(T)).backward()
    expected = [rows.grad.numpy(), *(W.grad.numpy().T for W in net.parameters())]
    for leaf, gradient, theirs in zip([x, *parameters], gradients, expected, strict=True):
        same(gradient.numpy(values | {x: X, t: T}), theirs, err_msg=repr(leaf))


# Losses ----------------------------------------------------------------------------------------


def targets(kind):
    random = np.random.default_rng(0)
    return {
        "class numbers": random.integers(0, CLASSES, ROWS),
        "one-hot": np.eye(CLASSES)[random.integers(0, CLASSES, ROWS)],
        "probabilities": random.dirichlet(np.ones(CLASSES), ROWS),
        "labels": random.integers(0, 2, (ROWS, CLASSES)).astype(float),
        "soft labels": random.uniform(size=(ROWS, CLASSES)),
        "reals": random.normal(size=(ROWS, CLASSES)),
    }[kind]


def weighted_labels(Y, T):
    weight = torch.where(T == 1, 3.0, 0.5).double()
    return F.binary_cross_entropy_with_logits(Y, T, weight, reduction="sum") / weight.sum()


def weighted_one_hot(Y, T):
    return F.cross_entropy(Y, T.argmax(dim=1), torch.tensor(CLASS_WEIGHT).double())


smooth = partial(F.cross_entropy, label_smoothing=0.1)
# Class weights with probabilities or smoothing are left out: here they weigh a row as a whole, by
# its target; PyTorch weighs each class's share of the row's loss. For soft labels likewise.
LOSSES = [
    (nn.SoftmaxCrossEntropy(), "class numbers", F.cross_entropy),
    (nn.SoftmaxCrossEntropy(), "probabilities", F.cross_entropy),
    (nn.SoftmaxCrossEntropy(label_smoothing=0.1), "class numbers", smooth),
    (nn.SoftmaxCrossEntropy(label_smoothing=0.1), "probabilities", smooth),
    (
        nn.SoftmaxCrossEntropy(class_weight=CLASS_WEIGHT),
        "class numbers",
        partial(F.cross_entropy, weight=torch.tensor(CLASS_WEIGHT).double()),
    ),
    (nn.SoftmaxCrossEntropy(class_weight=CLASS_WEIGHT), "one-hot", weighted_one_hot),
    (nn.SigmoidCrossEntropy(), "labels", F.binary_cross_entropy_with_logits),
    (nn.SigmoidCrossEntropy(), "soft labels", F.binary_cross_entropy_with_logits),
    (nn.SigmoidCrossEntropy(class_weight=(0.5, 3.0)), "labels", weighted_labels),
    (nn.MeanSquaredError(), "reals", F.mse_loss),
    (nn.MeanAbsoluteError(), "reals", F.l1_loss),
    (nn.Huber(delta=0.7), "reals", partial(F.huber_loss, delta=0.7)),
]


@pytest.mark.parametrize("weighted", [False, True], ids=["all alike", "sample weights"])
@pytest.mark.parametrize(
    ("loss", "target", "theirs"), LOSSES, ids=[f"{loss}, {target}" for loss, target, _ in LOSSES]
)
def test_loss_and_its_gradient(loss, target, theirs, weighted):
    """Rows of the identity make the weights the predictions, so that a step of rate 1 subtracts
    the gradient by the predictions. A sample weight of 3 is three copies of the row."""
    copies = np.random.default_rng(1).integers(0, 4, ROWS) if weighted else np.ones(ROWS, int)
    model = nn.Affine(ROWS, CLASSES, init=3.0, bias=False)
    trainer = cr.Trainer(model, loss, optim.SGD(lr=1.0), engine="reference", dtype="float64")
    trainer.initialize(np.eye(ROWS))
    Y, T = trainer.weights()["W"], targets(target)
    if target == "reals":
        T[0] = Y[0]  # |e| has a kink at 0
    # Half of the copies: only the proportions of weights count.
    data = {"X": np.eye(ROWS), "y": T, "sample_weight": copies / 2 if weighted else None}
    evaluated = trainer.evaluate(**data)["loss"]
    trained = trainer.fit(**data, epochs=1, batch_size=ROWS, shuffle=False)["loss"]

    predictions, copies = torch.tensor(Y, requires_grad=True), torch.tensor(copies)
    expected = theirs(
        predictions.repeat_interleave(copies, dim=0),
        torch.tensor(T).repeat_interleave(copies, dim=0),
    )
    expected.backward()
    same([evaluated, *trained], expected.item())
    same(Y - trainer.weights()["W"], predictions.grad.numpy())


# Schedules -------------------------------------------------------------------------------------

TIMES = EPOCHS * STEPS
SCHEDULES = [
    (optim.Step(0.05, every=2, factor=0.3), partial(rates.StepLR, step_size=2 * STEPS, gamma=0.3)),
    (optim.Cosine(0.05, end=0.01), partial(rates.CosineAnnealingLR, T_max=TIMES, eta_min=0.01)),
    (
        optim.OneCycle(0.05, rise=0.25, divide=10.0, final_divide=50.0),
        partial(
            rates.OneCycleLR,
            max_lr=0.05,
            # PyTorch counts the rates, of which there is one more than steps between them.
            total_steps=TIMES + 1,
            pct_start=(0.25 * TIMES + 1) / (TIMES + 1),
            div_factor=10.0,
            final_div_factor=50.0,
            cycle_momentum=False,
        ),
    ),
]
DEFINED_DIFFERENTLY = {
    optim.Constant: "PyTorch's ConstantLR is a factor that ends after some epochs",
    optim.Piecewise: "PyTorch has none",
    optim.Warmup: "starts at 0, which PyTorch's LinearLR refuses",
}
every_schedule = pytest.mark.parametrize(
    ("ours", "theirs"), SCHEDULES, ids=[type(ours).__name__ for ours, _ in SCHEDULES]
)


@every_schedule
def test_schedule(ours, theirs):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.05)
    scheduler = theirs(optimizer)
    for time in range(TIMES + 1):
        same(ours(time / STEPS, EPOCHS), scheduler.get_last_lr()[0], err_msg=f"at time {time}")
        if time < TIMES:
            optimizer.step()
            scheduler.step()


@every_schedule
def test_steps_follow_the_schedule(ours, theirs):
    """And so does decoupled decay. Momentum would differ: PyTorch's v holds gradients, to which a
    new rate applies at once, and the book's holds steps, made at the rates of their time."""
    expect_same_training(
        optim.AdamW(lr=ours, epsilon=1e-3, weight_decay=DECAY),
        partial(torch.optim.AdamW, lr=0.05, eps=1e-3),
        their_decay=DECAY,
        schedule=theirs,
    )


# Completeness ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "compared"),
    [
        (optim.Optimizer, {type(ours) for ours, *_ in RULES_WITH_DECAY.values()}),
        (optim.Schedule, {type(ours) for ours, _ in SCHEDULES} | DEFINED_DIFFERENTLY.keys()),
        (nn.Loss, {type(ours) for ours, *_ in LOSSES}),
    ],
)
def test_nothing_is_left_out(base, compared):
    """A new class fails here until it has its counterpart above."""
    ours = {
        kind
        for kind in KINDS.values()
        if issubclass(kind, base) and kind.__module__.startswith("chainrule.")
    }
    assert ours - {base} == compared
