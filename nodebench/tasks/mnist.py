"""``mnist``: the ODE-Net against the residual network and the rest of Table 1."""

import math
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from nodebench.errors import BadInput
from nodebench.models import digits
from nodebench.solvers import Solve, StepControl
from nodebench.spec import DataSource, Gradient, Preset
from nodebench.spec.trial import EVERY_DTYPE
from nodebench.tasks import digit_data
from nodebench.tasks.attacks import Loss, fast_gradient_sign, projected_gradient, with_noise
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Setup, Task
from nodebench.tasks.regularised import RegularisedOptions, regularised

_SCRIPT = "torchdiffeq examples/odenet_mnist.py"
_NO_ODE: frozenset[Gradient] = frozenset()

_BUILD: dict[str, Callable[[Solve], nn.Module]] = {
    "odenet": digits.ode_net,
    "resnet": lambda _: digits.res_net(6),
    "rknet": digits.ode_net,
    "mlp": lambda _: digits.mlp(),
    "no-block": lambda _: digits.res_net(0),
    "resnet-1": lambda _: digits.res_net(1),
    "resnet-tied": lambda _: digits.tied_res_net(6),
    "augmented": digits.augmented_ode_net,
    "relu-field": digits.relu_field_net,
    "resnet-augmented": lambda _: digits.augmented_res_net(6),
}


class MnistOptions(RegularisedOptions):
    """Options of ``mnist``; the defaults are the public script's."""

    epochs: int = Field(160, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    # ``steps``: the learning rate falls tenfold at each of ``decay_epochs``. ``cosine``: it falls from step to step,
    # along half a cosine, to 0.
    schedule: Literal["steps", "cosine"] = "steps"
    decay_epochs: str = "60,100,140"
    # Warm-up: over these first epochs, the scheduled learning rate is multiplied by a factor that rises linearly to 1.
    # Training that starts at a high rate can lose several epochs for some seeds.
    warmup_epochs: int = Field(0, ge=0)
    # The loss is multiplied by this factor and the learning rate divided by it: in exact arithmetic, training is the
    # same, but the adjoint's absolute tolerance has another effect. A summed loss is the mean times the batch size.
    loss_scale: float = Field(1.0, gt=0)
    augment: bool = True  # random crops of the padded image
    train_images: int | None = Field(None, ge=1)  # None: all there are
    test_images: int | None = Field(None, ge=1)
    probe_images: int = Field(16, ge=1)
    # Standard deviation of Gaussian noise, and greatest change of a pixel by an attack, for tests after the last epoch;
    # pixels are in [0, 1]. 0 leaves the test out.
    noise: float = Field(0.0, ge=0)
    attack: float = Field(0.0, ge=0, le=1)

    @field_validator("decay_epochs")
    @classmethod
    def _whole_numbers(cls, text: str) -> str:
        parts = [part.strip() for part in text.split(",")] if text else []
        if not all(part.isdecimal() for part in parts):
            raise ValueError("comma-separated whole numbers, for example 60,100,140")
        return ",".join(parts)

    def decay_boundaries(self) -> list[int]:
        """The epochs at which the learning rate falls."""
        return [int(epoch) for epoch in self.decay_epochs.split(",") if epoch]


class Mnist(Task):
    """Classify handwritten digits: Chen et al. 2018, Table 1."""

    name = "mnist"
    about = "classify handwritten digits: ODE-Net against ResNet and the rest of Table 1"
    source = f"Chen et al. 2018, arXiv 1806.07366, section 3; {_SCRIPT}"
    models = {
        "odenet": ModelInfo("one ODE block between stem and head", _SCRIPT),
        "resnet": ModelInfo("six residual blocks", _SCRIPT, _NO_ODE),
        "rknet": ModelInfo(
            "the ODE-Net, backpropagated through the solver",
            "Chen et al. 2018, Table 1",
            frozenset({Gradient.DIRECT}),
        ),
        "mlp": ModelInfo("one hidden layer of 300", "LeCun et al. 1998, in Chen et al. 2018, Table 1", _NO_ODE),
        "no-block": ModelInfo("stem and head alone", "torchdiffeq issue 32", _NO_ODE),
        "resnet-1": ModelInfo("one residual block", "torchdiffeq issue 25", _NO_ODE),
        "resnet-tied": ModelInfo("one residual block, applied six times", "torchdiffeq issue 25", _NO_ODE),
        "augmented": ModelInfo(
            f"the ODE-Net with {digits.EXTRA} more channels that start at 0", "Dupont et al. 2019, arXiv 1904.01681"
        ),
        "relu-field": ModelInfo(
            "an ODE block of one random convolution and a ReLU on the images, and a random head",
            "Gholami et al. 2019, arXiv 1902.10298, Figure 1",
        ),
        "resnet-augmented": ModelInfo("six residual blocks with the same extra channels", "a control", _NO_ODE),
    }
    options = MnistOptions
    presets = {
        Preset.SMOKE: MnistOptions(
            epochs=1,
            batch_size=16,
            decay_epochs="",
            augment=False,
            train_images=64,
            test_images=32,
            probe_images=4,
        ),
        Preset.QUICK: MnistOptions(
            epochs=8,
            batch_size=64,
            schedule="cosine",
            decay_epochs="",
            warmup_epochs=1,
            augment=False,
            train_images=4000,
            test_images=1000,
        ),
        Preset.PAPER: MnistOptions(),
    }
    rtol = atol = 1e-3
    # Without a step size torchdiffeq would cross [0, 1] in one step.
    step_size = 0.25
    reference = StepControl(method="dopri5", rtol=1e-7, atol=1e-7, land_on_outputs=True)
    headlines = ("test_error",)
    datasets = digit_data.DATASETS
    dtypes = EVERY_DTYPE
    brief = {"epochs": 1, "decay_epochs": "", "warmup_epochs": 0, "train_images": 320, "test_images": 100}

    def dataset(self, wanted: str | None, source: DataSource, preset: Preset) -> str:
        """Return the 5,000 digits that come with the package, or the full set if ``source`` has it."""
        name = digit_data.locate(wanted, source)
        if preset is Preset.PAPER and name != digit_data.FULL:
            raise BadInput("preset 'paper' of task mnist needs the full MNIST: add --data DIR or --download")
        return name

    def build(self, setup: Setup) -> Experiment:
        """Build the training of one of the networks."""
        return _Classification(setup)


class _Classification(Experiment):
    def __init__(self, setup: Setup) -> None:
        options: MnistOptions = setup.options
        self._options = options
        data = digit_data.load(
            setup.dataset or digit_data.EMBEDDED, setup.source, options.train_images, options.test_images
        )
        self.data = data.card
        self._images = data.train_images.to(setup.device, setup.dtype)
        self._labels = data.train_labels.to(setup.device)
        self._test = data.test_images.to(setup.device, setup.dtype), data.test_labels.to(setup.device)
        torch.manual_seed(setup.seed)
        self._solve = regularised(setup.solve, options)
        self.model = _BUILD[setup.model](self._solve).to(setup.device, setup.dtype)
        rate = options.learning_rate / options.loss_scale
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=options.momentum)
        self._order = torch.Generator().manual_seed(setup.seed)
        self.generators = {"order": self._order}
        self.epochs = options.epochs
        self._is_last = False
        self.steps_per_epoch = max(1, len(self._labels) // options.batch_size)
        self.probe = self._images[: options.probe_images], self._labels[: options.probe_images]

    def begin_epoch(self, epoch: int) -> None:
        """Store whether the epoch is the last one."""
        self._is_last = epoch == self.epochs - 1

    def _set_rate(self, epoch: int, step: int) -> None:
        """Set the learning rate of a step of an epoch."""
        options, done = self._options, epoch + step / self.steps_per_epoch
        if options.schedule == "steps":
            rate = 0.1 ** sum(epoch >= boundary for boundary in options.decay_boundaries())
        else:
            rate = (1 + math.cos(math.pi * done / self.epochs)) / 2
        if done < options.warmup_epochs:
            rate *= (done + 1 / self.steps_per_epoch) / options.warmup_epochs
        assert self.optimizer is not None
        for group in self.optimizer.param_groups:
            group["lr"] = rate * options.learning_rate / options.loss_scale

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield whole batches only; the epoch leaves out the remaining images, as in the script."""
        size = self._options.batch_size
        order = torch.randperm(len(self._labels), generator=self._order)
        for i in range(self.steps_per_epoch):
            self._set_rate(epoch, i)
            rows = order[i * size : (i + 1) * size].to(self._labels.device)
            images = self._images[rows]
            yield (self._random_crop(images) if self._options.augment else images), self._labels[rows]

    def _random_crop(self, images: Tensor, padding: int = 4) -> Tensor:
        """Pad each image and crop it at a random position, like torchvision's RandomCrop(28, padding=4)."""
        n, _, height, width = images.shape
        padded = functional.pad(images, (padding,) * 4)
        offsets = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=self._order).to(images.device)
        rows = offsets[0] + torch.arange(height, device=images.device)
        columns = offsets[1] + torch.arange(width, device=images.device)
        which = torch.arange(n, device=images.device)[:, None, None]
        return padded[which, 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy and penalties, scaled."""
        images, labels = batch
        entropy = functional.cross_entropy(model(images), labels)
        return self._options.loss_scale * (entropy + self._solve.take_penalty())

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Error and loss over the whole test set."""
        wrong, loss = list[Tensor](), 0.0
        images, labels = self._test
        for x, y in zip(images.split(250), labels.split(250), strict=True):
            logits = model(x)
            wrong.append(logits.argmax(1) != y)
            loss += functional.cross_entropy(logits, y, reduction="sum").item()
        self.wrong = torch.cat(wrong)
        found = {"test_error": 100 * int(self.wrong.sum()) / len(labels), "test_loss": loss / len(labels)}
        return found | self._robustness(model)

    def _robustness(self, model: nn.Module) -> dict[str, float | None]:
        """Errors on perturbed test images, None before the last epoch."""
        epsilon, perturbed = self._options.attack, dict[str, Callable[[Loss, Tensor], Tensor]]()
        if self._options.noise:
            perturbed["noise_error"] = lambda _, x: with_noise(x, self._options.noise)
        if epsilon:
            perturbed["fgsm_error"] = lambda loss, x: fast_gradient_sign(loss, x, epsilon)
            perturbed["pgd_error"] = lambda loss, x: projected_gradient(loss, x, epsilon)
        if not self._is_last:
            return dict.fromkeys(perturbed)
        return {name: self._error(model, perturb) for name, perturb in perturbed.items()}

    def _error(self, model: nn.Module, perturb: Callable[[Loss, Tensor], Tensor]) -> float:
        """Percentage of perturbed test images that the model misclassifies."""
        wrong, (images, labels) = 0, self._test
        for x, y in zip(images.split(250), labels.split(250), strict=True):

            def loss(some: Tensor, of: Tensor = y) -> Tensor:
                return functional.cross_entropy(model(some), of, reduction="sum")

            wrong += int((model(perturb(loss, x)).argmax(1) != y).sum())
        return 100 * wrong / len(labels)
