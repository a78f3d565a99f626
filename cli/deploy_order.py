"""What one `fer-edge deploy` or `package` asks for, put together from bundle, configuration and plan."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_edge.devices.deploy import Board, Step
    from fer_edge.devices.deploy_plan import Plan, Wish
    from fer_edge.devices.deploy_probe import Probe
    from fer_edge.devices.inventory import Host
    from fer_edge.devices.payload import Payload, PayloadOrder
    from fer_edge.edge_runtime.bundle import Bundle

_ONE_AT_A_TIME = threading.Lock()
"""Boards of a fleet want the same packages; they are fetched by the first."""


@dataclass(frozen=True, slots=True)
class Order:
    """The command line's words; `profile` is "auto" for the one that fits."""

    bundle: Path | None = None
    camera: str | None = None
    profile: str = "auto"
    config: Path | None = None
    engine: str | None = None
    precision: str | None = None
    sign: Path | None = None
    dry_run: bool = False
    online: bool = False
    bench_s: float = 10.0

    def deploy(self, board: "Board", probe: "Probe", host: "Host", say: "Callable[[Step], None]") -> dict[str, Any]:
        """Deploy to a board, or say what would be done; the agent's result, or {} after a dry run."""
        from fer_edge.cli.deploy_screen import print_plan
        from fer_edge.devices.deploy import Step
        from fer_edge.devices.deploy_plan import plan

        order = self.for_host(host.own)
        bundle, given = order.opened(), order.given()
        made = plan(probe, order.wish(given))
        payload_order = order.payload_order(made, bundle, given)
        if self.dry_run:
            where = "fetched by the board itself" if self.online else "built here for it"
            print_plan(made, f"{bundle.name} ({bundle.sha256[:8]})", where)
            return {}
        for note in made.notes:
            say(Step("", "note", note))
        payload = make(payload_order, lambda text: say(Step("packages", "note", text)))
        return board.install(payload)

    def for_host(self, own: Mapping[str, str]) -> "Order":
        """The order with what an inventory says of one board."""
        told: dict[str, Any] = {name: own[name] for name in ("camera", "profile") if name in own}
        return replace(self, **told | {name: Path(own[name]) for name in ("config", "bundle") if name in own})

    def opened(self) -> "Bundle":
        """The bundle, checked."""
        from fer_edge.edge_runtime.bundle import Bundle

        return Bundle.open(self.bundle)

    def given(self) -> dict[str, Any]:
        """The run's configuration as the user gave it; flags win."""
        from fer_edge.edge_runtime.config import load_config

        given = load_config(self.config) if self.config else {}
        flags = {"source": self.camera, "engine": self.engine, "precision": self.precision}
        return given | {name: value for name, value in flags.items() if value is not None}

    def wish(self, given: Mapping[str, Any]) -> "Wish":
        """What the plan has to heed."""
        from fer_edge.devices.deploy_plan import Wish

        engine = given.get("engine")
        return Wish(
            profile=None if self.profile == "auto" else self.profile,
            camera=given.get("source") or None,
            engine=None if engine == "auto" else engine,
            precision=given.get("precision"),
            threads=given.get("threads"),
            signed=self.sign is not None,
        )

    def payload_order(self, plan: "Plan", bundle: "Bundle", given: Mapping[str, Any]) -> "PayloadOrder":
        """What to put into the release.

        Raises:
            BundleError: the bundle has no such variant.
            ConfigError: see `board_config`.
        """
        from fer_edge.devices.frame import redacted
        from fer_edge.devices.payload import PayloadOrder
        from fer_edge.edge_runtime.board_config import board_config
        from fer_edge.edge_runtime.vocabulary import Precision

        bundle.find(plan.engine, Precision(plan.precision))
        profile = plan.match.profile
        defaults = profile.defaults() | {"source": plan.camera, "threads": plan.threads}
        made = board_config({**given, "engine": plan.engine, "precision": plan.precision}, defaults)
        return PayloadOrder(
            bundle=bundle.path,
            bundle_name=bundle.name,
            bundle_sha256=bundle.sha256,
            run_toml=made.toml,
            carried=made.carried,
            wheels=plan.wheels,
            profile=profile.name,
            memory_max_bytes=plan.match.memory_max_bytes,
            camera=redacted(made.values.source),
            camera_timeout_s=made.values.camera_timeout_s,
            engine=plan.engine,
            precision=plan.precision,
            system_site_packages=plan.system_site_packages,
            online=self.online,
            bench_s=self.bench_s,
            key=self.sign,
        )


def make(order: "PayloadOrder", say: Callable[[str], None]) -> "Payload":
    """The release, made by one thread at a time."""
    from fer_edge.devices.payload import make_payload

    with _ONE_AT_A_TIME:
        return make_payload(order, say)
