"""The learning curves of a run as a picture."""

from pathlib import Path

from fer_edge.devices.files import replacing_file


def draw_curves(history: list[dict[str, float]], best: int, path: Path) -> None:
    """Loss and, where there is one, accuracy by epoch, the chosen epoch marked; written as PNG."""
    from matplotlib.figure import Figure  # the object interface: no window system, no global state

    epochs = [row["epoch"] for row in history]
    labels = {"loss": "loss", "accuracy": "top-1 accuracy"}
    shown = {name: label for name, label in labels.items() if name in history[0]}
    figure = Figure(figsize=(5 * len(shown), 4), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        axes.plot(epochs, [row[name] for row in history], label="training (augmented)", color="#8a8f98")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], label="validation", color="#0b6bcb")
        axes.axvline(best, linestyle=":", color="#c2410c", label=f"chosen: epoch {best}")
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
