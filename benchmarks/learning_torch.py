"""PyTorch's side of learning.py; runs in an environment with PyTorch and NumPy, without this project.

python learning_torch.py FOLDER MINUTES SEED eager|compiled
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from against_torch import torch_network
from learning_clock import DECAY, EMBEDDING, MOMENTUM, M, S, batches, learn


def initialise(model: torch.nn.Module) -> None:
    """The distribution that the other contenders begin with: Xavier's, uniform, by the inputs, with magnitude 2.

    With PyTorch's own, and class weights of N(0, 0.01) as arcface_torch has them, eager PyTorch was at 73.5 % after
    10,624 images where it is at 80.1 % after 10,240 with these.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))]
    for weight in [model.weight, *(layer.weight for layer in layers)]:
        bound = math.sqrt(2 / weight[0].numel())
        torch.nn.init.uniform_(weight, -bound, bound)
    for layer in layers:
        if layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)


def main() -> None:
    folder, minutes, seed, compiled = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "compiled"
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(seed)
    images, labels = np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    held_out = np.load(folder / "held_out.npy", mmap_mode="r")
    order = batches(len(images), seed)
    layout = torch.channels_last if compiled else torch.contiguous_format
    model = torch_network(int(labels.max()) + 1, EMBEDDING, S, M).train()
    initialise(model)
    model = model.to(memory_format=layout)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), 0.0, momentum=MOMENTUM, weight_decay=DECAY)

    def step(rate: float) -> None:
        positions, mirrored = next(order)
        data = torch.from_numpy(images[positions].astype(np.float32))
        data = torch.where(torch.from_numpy(mirrored)[:, None, None, None], data.flip(3), data)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = run(data.contiguous(memory_format=layout), torch.from_numpy(labels[positions]))
        loss.backward()
        optimizer.step()

    def embed() -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            parts = [
                model.network((torch.from_numpy(part.astype(np.float32)) - 127.5) * 0.0078125)
                for part in np.array_split(held_out, -(-len(held_out) // 64))
            ]
        model.train()
        return torch.cat(parts).numpy()

    learn(folder, minutes, step, embed)


if __name__ == "__main__":
    main()
