"""A node of the cluster: namespaces of its own for mounts and, from the second on, for its network; four programs."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

from tests.bed.processes import Child, wait_until
from tests.cluster import cgroups, settings
from tests.cluster.sandbox import Place, Sandbox, program_of
from tests.cluster.settings import NodeName

SOCKET = "/run/containerd/containerd.sock"
BRIDGE = "nodes"
LINK = "eth0"
FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward"


class Node:
    """Started step by step by the cluster: namespaces, network, container runtime, kubelet and proxy."""

    def __init__(self, sandbox: Sandbox, name: NodeName) -> None:
        self.name = name
        self.folder = sandbox.folder / name.name
        self._bin = sandbox.folder / "bin"
        self.folder.mkdir()
        self.place = self._new_place(sandbox)
        cgroups.create_for_pods(sandbox.place.groups, name.name)
        self._mount()

    def become_bridge(self) -> None:
        """Let the other nodes reach this one, and through it all Services: only the first node does."""
        self._shell(
            f"ip link add {BRIDGE} type bridge",
            f"ip address add {self.name.address}/24 dev {BRIDGE}",
            f"ip link set {BRIDGE} up",
            # An address of a Service becomes a pod's on its way out, but only where there is a way.
            f"ip route add default dev {BRIDGE}",
        )

    def attach(self, first: "Node") -> None:
        """Connect this node to the first one, with routes to each other's pods."""
        inside = Path(f"/proc/{self.place.node}/status").read_text().split("NSpid:")[1].splitlines()[0].split()[-1]
        first._shell(
            f"ip link add {self.name.name} type veth peer name {LINK} netns {inside}",
            f"ip link set {self.name.name} master {BRIDGE} up",
            f"ip route add {self.name.pods} via {self.name.address}",
        )
        self._shell(f"ip address add {self.name.address}/24 dev {LINK}")
        self.mend_network(first.name)

    def start_runtime(self) -> None:
        """Start containerd."""
        (self.folder / "containerd.toml").write_text(settings.containerd(self.folder, self._bin))
        self.containerd = self._child("containerd", f"--config={self.folder / 'containerd.toml'}").start()

    def wait_for_runtime(self) -> None:
        """Wait until containerd answers."""
        self.containerd.wait_until(self._answers, "containerd answers")

    def load(self, *archives: Path) -> None:
        """Put the images of OCI archives onto the node."""
        for archive in archives:
            self._ctr("images", "import", archive)

    def tag(self, name: str, alias: str) -> None:
        """Give an image that was loaded another name."""
        self._ctr("images", "tag", "--force", name, alias)

    def start(self, kubelet: Path, proxy: Path, authority: Path) -> None:
        """Start the kubelet and the proxy with their kubeconfigs."""
        self._write("kubelet.json", settings.kubelet(self.name, self.folder, authority))
        self._write("proxy.json", settings.proxy(self.name, proxy))
        self.kubelet = self._child(
            "kubelet",
            f"--config={self.folder / 'kubelet.json'}",
            f"--kubeconfig={kubelet}",
            f"--hostname-override={self.name.name}",
            f"--node-ip={self.name.address}",
        ).start()
        self.proxy = self._child("kube-proxy", f"--config={self.folder / 'proxy.json'}").start()

    def images(self) -> list[str]:
        """Names of the images that the node has."""
        return self._ctr("images", "list", "--quiet").split()

    def kill_container(self, name: str) -> None:
        """End the first process of a container with SIGKILL."""
        for line in self._ctr("tasks", "list").splitlines():
            container, process, *_ = line.split()
            if container == name:
                self.place.run("kill", "-KILL", process)

    def pause_kubelet(self) -> None:
        """Freeze the kubelet."""
        self._signal_kubelet("STOP")

    def resume_kubelet(self) -> None:
        """Let it go on."""
        self._signal_kubelet("CONT")

    def _signal_kubelet(self, name: str) -> None:
        process = program_of(self.kubelet)
        assert process
        os.kill(process, getattr(signal, f"SIG{name}"))

    def cut_network(self) -> None:
        """Take the node off the network; not for the first one, where the API server is."""
        self._shell(f"ip link set {LINK} down")

    def mend_network(self, first: NodeName) -> None:
        """Put it back, with the routes that went with the link."""
        self._shell(
            f"ip link set {LINK} up",
            f"ip route replace default via {first.address}",
            f"ip route replace {first.pods} via {first.address}",
        )

    def _new_place(self, sandbox: Sandbox) -> Place:
        own = ["--mount"] if self.name.number == 1 else ["--mount", "--net"]
        holder = sandbox.place.child(
            "unshare", "--propagation=private", *own, "sleep", "infinity", log=self.folder / "holder.log"
        ).start()
        self._holder = holder
        wait_until(lambda: program_of(holder) is not None, "the node's namespaces are there", 20)
        process = program_of(holder)
        assert process
        wait_until(lambda: _is_apart(process, sandbox.place.init), "the node has mounts of its own", 20)
        return replace(sandbox.place, node=process)

    def _mount(self) -> None:
        for name in ("var/lib", "var/log", "var/tmp", "cni", settings.IMAGES):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "var/run").symlink_to("/run")
        (self.folder / "resolv.conf").touch()
        self._write("cni/pods.conflist", settings.cni(self.name))
        self._shell(
            "mount --make-rshared /",
            "mount -t tmpfs tmpfs /run",
            f"mount --bind {self.folder / 'var'} /var",
            # The files of images, tens of thousands, are gone with the mount; to remove them from a disk takes long.
            f"mount -t tmpfs tmpfs {self.folder / settings.IMAGES}",
            "ip link set lo up",
            FORWARD,
        )

    def _child(self, program: str, *arguments: str) -> Child:
        # containerd looks for its shim, and the shim for runc, on the PATH.
        path = f"PATH={self._bin}:{os.environ['PATH']}:/usr/sbin:/sbin"
        command = ["env", path, str(self._bin / program), *arguments]
        return self.place.child(*command, log=self.folder / f"{program}.log")

    def _answers(self) -> bool:
        try:
            self._ctr("version")
        except Exception:
            return False
        return True

    def _ctr(self, *arguments: str | Path) -> str:
        return self.place.run(self._bin / "ctr", f"--address={SOCKET}", "--namespace=k8s.io", *arguments)

    def _shell(self, *commands: str) -> None:
        """Run commands one after the other, in one process: entering namespaces costs more than they do."""
        self.place.run("sh", "-e", "-c", "\n".join(commands))

    def _write(self, name: str, content: object) -> None:
        (self.folder / name).write_text(json.dumps(content, indent=1))


def _is_apart(process: int, init: int) -> bool:
    return Path(f"/proc/{process}/ns/mnt").readlink() != Path(f"/proc/{init}/ns/mnt").readlink()
