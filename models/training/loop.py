"""What both trainings share: schedule, moving average, checkpoints, progress.

Owns the run folder's `checkpoint.pt`, written by rename so that a kill never leaves half a file.
"""

from __future__ import annotations

import copy
import math
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from .plan import Plan
from .progress import say

CHECKPOINT_EVERY_S = 90.0
LONGEST_STEP_S = 20.0  # more is a paused process, and a pause is no training
WARM_STEPS, TIMED_STEPS = 4, 12  # of an estimate; the first steps also start the loader and choose kernels

LossOf = Callable[[nn.Module, list[Tensor]], Tensor]


def pick_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_machine() -> str:
    """The class of this machine, for people to compare theirs with."""
    if pick_device().type == "cuda":
        return f"one {torch.cuda.get_device_name()}"
    threads = torch.get_num_threads()
    return f"{threads} {'thread' if threads == 1 else 'threads'} of a {platform.machine()} processor"


class Trainer:
    """A model with its optimiser, moving average and checkpoint."""

    def __init__(self, model: nn.Module, plan: Plan, runs: Path) -> None:
        """Begin, or go on from the checkpoint in `runs`."""
        folder = runs / plan.name
        self.averaged: nn.Module
        self.model: nn.Module
        self.device = pick_device()
        self.plan, self._path = plan, folder / "checkpoint.pt"
        torch.backends.cudnn.benchmark = True  # every batch of a plan has the same shape
        self.model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(requires_grad=False)
        decay = [p for p in model.parameters() if p.ndim > 1]
        rest = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, lr=plan.rate)
        self.step, self.spent_s, self.start = 0, 0.0, ""
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            self._resume()

    def _resume(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self._path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.spent_s = int(state["step"]), float(state["spent_s"])
        self.start = str(state.get("start", ""))
        say(f"resumed at step {self.step}")

    def start_from(self, model: nn.Module, *, name: str = "") -> None:
        """Begin with the weights of another training instead of random ones; `name` says whose, for the card."""
        self.start = name
        self.model.load_state_dict(model.state_dict())
        self.averaged.load_state_dict(model.state_dict())

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
            "start": self.start,
            "machine": describe_machine(),
        }
        partial = self._path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._path)

    def progress(self) -> float:
        """How much of the plan is done, 0..1: by steps or by time, whichever is further."""
        by_time = self.spent_s / (self.plan.minutes * 60) if self.plan.minutes else 0.0
        return min(max(self.step / self.plan.steps, by_time), 1.0)

    @property
    def is_done(self) -> bool:
        """Whether the plan is done."""
        return self.progress() >= 1.0

    def seconds_a_step(self, batches: Iterator[list[Tensor]], loss_of: LossOf) -> float:
        """Time a few steps. They move the weights, so do it on a trainer that is thrown away."""
        start = 0.0
        for number in range(WARM_STEPS + TIMED_STEPS):
            if number == WARM_STEPS:
                start = time.monotonic()
            self._advance([t.to(self.device, non_blocking=True) for t in next(batches)], loss_of)
        return (time.monotonic() - start) / TIMED_STEPS

    def _rate(self) -> float:
        """The learning rate now."""
        cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * self.progress())) / 2
        return self.plan.rate * cosine * min((self.step + 1) / self.plan.warm, 1.0)

    def run(self, batches: Iterator[list[Tensor]], loss_of: LossOf) -> None:
        """Train until the plan is done, saving and reporting on the way.

        Args:
            batches: Endless batches.
            loss_of: The loss of a model on a batch that is already on the device.
        """
        saved = reported = last = time.monotonic()
        total, count = 0.0, 0
        while not self.is_done:
            batch = [t.to(self.device, non_blocking=True) for t in next(batches)]
            total, count = total + self._advance(batch, loss_of), count + 1
            now = time.monotonic()
            self.spent_s, last = self.spent_s + min(now - last, LONGEST_STEP_S), now
            if now - reported > 20:
                self._report(total / count, count * self.plan.batch / (now - reported))
                reported, total, count = now, 0.0, 0
            if now - saved > CHECKPOINT_EVERY_S:
                self.save()
                saved = now
        self.save()

    def _advance(self, batch: list[Tensor], loss_of: LossOf) -> float:
        """One step; the loss."""
        self.model.train()
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate()
        loss = loss_of(self.model, batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self._optimiser.step()
        self.step += 1
        decay = min(self.plan.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, new in zip(self.averaged.state_dict().values(), self.model.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(new, 1 - decay)
                else:
                    mean.copy_(new)
        return float(loss.detach())

    def _report(self, loss: float, per_second: float) -> None:
        """One progress line with the time that is left."""
        done = max(self.progress(), 1e-6)
        left = self.spent_s * (1 - done) / done / 60
        say(
            f"step {self.step} ({done:.1%}) loss {loss:.4f} rate {self._rate():.2e} "
            f"{per_second:.0f} pictures/s, {left:.0f} min left"
        )
