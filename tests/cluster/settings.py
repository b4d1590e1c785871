"""Addresses of the cluster, and the configuration files of what runs on its nodes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

DNS_DOMAIN = "cluster.local"
DNS_ADDRESS = "10.0.0.10"
POD_NETWORK = "10.244.0.0/16"
API_ADDRESS = "10.99.0.1"
API_PORT = 6443
IMAGES = "containerd"
"""Folder of a node for images and what containers write."""
PAUSE_IMAGE = "localhost/pause:bed"
DNS_IMAGE = "localhost/coredns:bed"
OUTSIDE_DOMAIN = "partner.example"
OUTSIDE_DNS = "192.0.2.53"
"""Names of this domain are asked for at this address, where a test may have a DNS server of its own."""


@dataclass(frozen=True, slots=True)
class NodeName:
    """Names and addresses of the node with this number, from 1 on."""

    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"10.99.0.{self.number}"

    @property
    def pods(self) -> str:
        """The network of its pods."""
        return f"10.244.{self.number}.0/24"


def kubelet(node: NodeName, folder: Path, authority: Path) -> dict[str, Any]:
    """KubeletConfiguration. The machine's limits are others' business: nothing is evicted or collected."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "healthzBindAddress": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.name}",
        "failCgroupV1": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DNS_DOMAIN,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "2s",
        "oomScoreAdj": 0,
        "podLogsDir": str(folder / "pods"),
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "resolvConf": str(folder / "resolv.conf"),
        "volumePluginDir": str(folder / "plugins"),
    }


def proxy(node: NodeName, kubeconfig: Path) -> dict[str, Any]:
    """KubeProxyConfiguration. Limits of connection tracking belong to the whole machine and are left alone."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": node.address,
        "healthzBindAddress": f"{node.address}:10256",
        "metricsBindAddress": f"{node.address}:10249",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": POD_NETWORK,
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": node.name,
        "mode": "nftables",
        "oomScoreAdj": 0,
    }


def containerd(folder: Path, programs: Path) -> str:
    """config.toml of containerd: no registry is known, CNI comes from `programs`."""
    return f"""version = 3
root = "{folder / IMAGES}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{programs}"]
conf_dir = "{folder}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{programs}/runc"
SystemdCgroup = false
"""


def cni(node: NodeName) -> dict[str, Any]:
    """Pods get a veth pair each, an address of the node's network, and a route to everywhere through the node."""
    ranges = [[{"subnet": node.pods}]]
    address = {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{"type": "ptp", "ipMasq": False, "ipam": address}],
    }
