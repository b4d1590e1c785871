"""Faults of the webhook: the API server then does what failurePolicy says, and no entry is stored unchanged."""

import hashlib
import resource
import ssl
import time
from collections.abc import Iterator

from tests.bed.guard import HOST, ready
from tests.bed.processes import wait_until
from tests.chaos.arena import POLICY
from tests.chaos.faults import Scene, fault
from tests.chaos.faults_controller import limited

WEBHOOK = "webhook"


@fault(WEBHOOK, "kill -9, and started again", seconds=1.0, quick=True)
def killed(scene: Scene) -> Iterator[None]:
    webhook = scene.arena.webhook
    webhook.child.kill()
    yield
    webhook.child.start()
    webhook.child.wait_until(lambda: ready(webhook.health_port), "the webhook is ready")


@fault(WEBHOOK, "event loop blocked for 8 s (SIGSTOP)", seconds=8.0)
def frozen(scene: Scene) -> Iterator[None]:
    scene.arena.webhook.child.pause()
    yield
    scene.arena.webhook.child.resume()


@fault(WEBHOOK, "certificate files half written for 5 s", seconds=5.0, forced=())
def half_certificate(scene: Scene) -> Iterator[None]:
    folder = scene.arena.folder
    pair = scene.arena.webhook.authority.serving(HOST)
    for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.private_key)):
        (folder / name).write_bytes(content[: len(content) // 2])
    yield
    for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.private_key)):
        (folder / name).write_bytes(content)


@fault(WEBHOOK, "policy file half written for 5 s", seconds=5.0)
def half_policy(scene: Scene) -> Iterator[None]:
    text = f"{POLICY}retries:\n  attempts: 3\n"
    scene.arena.policy.write_text(text[: len(text) // 2])
    yield
    scene.arena.policy.write_text(POLICY)
    time.sleep(1.0)


@fault(WEBHOOK, "no more file descriptors, while policy and certificate change", seconds=6.0)
def no_descriptors(scene: Scene) -> Iterator[None]:
    arena = scene.arena
    pair = arena.webhook.authority.serving(HOST)
    with limited(arena.webhook.child.pid, resource.RLIMIT_NOFILE, 3):
        arena.policy.write_text(f"{POLICY}# written while nothing could be read\n")
        for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.private_key)):
            (arena.folder / name).write_bytes(content)
        yield
    digest = hashlib.sha256(arena.policy.read_bytes()).hexdigest()[:12]
    log = arena.webhook.child.log
    wait_until(lambda: digest in log.read_text(), "the webhook reads the policy after all", 20)
    wait_until(lambda: pair.certificate == _served(scene), "the webhook serves the new certificate", 20)


def _served(scene: Scene) -> bytes:
    return ssl.get_server_certificate((HOST, scene.arena.webhook.port)).encode()
