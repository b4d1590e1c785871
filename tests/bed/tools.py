"""What the test bed needs that no Python package brings, and the Go module each thing comes from.

Every folder here with a `go.mod` pins one family of programs; versions are raised there.
"""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
KUBERNETES, ISTIO_API = "k8s.io/kubernetes", "istio.io/api"


@dataclass(frozen=True, slots=True)
class Tool:
    """A program built by `go build` from a package that the `go.mod` in `module` names as a tool, or that lies there.

    `cpu_minutes` is a first build with an empty Go cache, after the tools that stand before it. `cgo` needs a C
    compiler and what the package links.
    """

    name: str
    module: Path
    package: str
    cpu_minutes: float
    ldflags: str = "-s -w"
    tags: str = ""
    cgo: bool = False


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """A file copied as it is out of the Go module `path` that the `go.mod` in `module` requires."""

    name: str
    module: Path
    path: str
    file: str


def required(module: Path, path: str) -> str:
    """The version of the Go module `path` that the `go.mod` in `module` requires, such as "v1.36.3"."""
    lines = (line.removeprefix("require ").split() for line in (module / "go.mod").read_text().splitlines())
    return next(words[1] for words in lines if words[:1] == [path] and words[1:2] != ["=>"])


def kubernetes_tool(name: str, module: Path, cpu_minutes: float) -> Tool:
    """A program of Kubernetes that says the version which the `go.mod` in `module` requires."""
    version = required(module, KUBERNETES)
    major, minor, _ = version.removeprefix("v").split(".")
    stamp = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items())
    return Tool(name, module, f"{KUBERNETES}/cmd/{name}", cpu_minutes, f"-s -w {flags}")


def istio_crds(module: Path) -> ModuleFile:
    """The definitions of Istio's resources, of the version that the `go.mod` in `module` requires."""
    name = "customresourcedefinitions.gen.yaml"
    return ModuleFile(name, module, ISTIO_API, f"kubernetes/{name}")


KUBERNETES_VERSION = required(HERE, KUBERNETES)
KUBE_APISERVER = kubernetes_tool("kube-apiserver", HERE, 7)
KUBECTL = kubernetes_tool("kubectl", HERE, 1)
KUBE_CONTROLLER_MANAGER = kubernetes_tool("kube-controller-manager", HERE, 2)
KUBE_SCHEDULER = kubernetes_tool("kube-scheduler", HERE, 1)
KUBE_PROXY = kubernetes_tool("kube-proxy", HERE, 0.5)
KUBELET = kubernetes_tool("kubelet", HERE, 2)
ETCD = Tool("etcd", HERE / "etcd", "go.etcd.io/etcd/server/v3", 2)
HELM = Tool("helm", HERE / "helm", "helm.sh/helm/v3/cmd/helm", 5)
HELM_4 = Tool("helm4", HERE / "helm", "helm.sh/helm/v4/cmd/helm", 2)
"""The next major version, which applies server-side where the other one merges three ways."""
KUBECONFORM = Tool("kubeconform", HERE / "helm", "github.com/yannh/kubeconform/cmd/kubeconform", 1)
ISTIOD = Tool("pilot-discovery", HERE / "istiod", "istio.io/istio/pilot/cmd/pilot-discovery", 9)
ISTIOCTL = Tool("istioctl", HERE / "istiod", "istio.io/istio/istioctl/cmd/istioctl", 1)
PILOT_AGENT = Tool("pilot-agent", HERE / "istiod", "istio.io/istio/pilot/cmd/pilot-agent", 0.5)
"""Starts the Envoy of a sidecar, and writes the rules that redirect a pod's connections to it."""
ISTIO_GENERATOR = Tool("istio-generator", HERE / "generator", ".", 2)
"""Says what istiod gives a proxy, without a cluster: tests/harm asks it."""
REPORT_READER = Tool("report-reader", HERE / "reports", ".", 1)
"""Reads policy reports into the Go types of their makers, as programs do that show reports."""
IDLE_WEBHOOK = Tool("idle-webhook", HERE / "idle", ".", 0.5)
"""Decides nothing: what it adds to a create, any webhook does."""
_CONTAINERD, _CNI = "github.com/containerd/containerd/v2/cmd", "github.com/containernetworking/plugins/plugins"
_CONTAINERD_TAGS = "no_btrfs no_devmapper no_zfs"
CONTAINERD = Tool("containerd", HERE / "runtime", f"{_CONTAINERD}/containerd", 4, tags=_CONTAINERD_TAGS)
CONTAINERD_SHIM = Tool(
    "containerd-shim-runc-v2", HERE / "runtime", f"{_CONTAINERD}/containerd-shim-runc-v2", 0.5, tags=_CONTAINERD_TAGS
)
CTR = Tool("ctr", HERE / "runtime", f"{_CONTAINERD}/ctr", 0.5, tags=_CONTAINERD_TAGS)
RUNC = Tool("runc", HERE / "runtime", "github.com/opencontainers/runc", 0.5, tags="seccomp netgo osusergo", cgo=True)
"""With seccomp: the chart asks for the profile RuntimeDefault."""
CNI_LOOPBACK = Tool("loopback", HERE / "runtime", f"{_CNI}/main/loopback", 0.2)
CNI_PTP = Tool("ptp", HERE / "runtime", f"{_CNI}/main/ptp", 0.2)
CNI_HOST_LOCAL = Tool("host-local", HERE / "runtime", f"{_CNI}/ipam/host-local", 0.2)
COREDNS = Tool("coredns", HERE / "coredns", ".", 2)
PAUSE = Tool("pause", HERE / "pause", ".", 0.1)
"""The process that holds a pod's namespaces."""
ISTIO_CRDS = istio_crds(HERE / "istio")

ENVOY_BOOTSTRAP = ModuleFile(
    "envoy_bootstrap.json", HERE / "istiod", "istio.io/istio", "tools/packaging/common/envoy_bootstrap.json"
)
"""The template that pilot-agent makes the first configuration of an Envoy from."""

OPEN_REPORTS = ModuleFile(
    "openreports.io_reports.yaml",
    HERE / "crds",
    "github.com/openreports/reports-api",
    "config/crd/openreports.io_reports.yaml",
)
POLICY_REPORTS = ModuleFile(
    "wgpolicyk8s.io_policyreports.yaml",
    HERE / "crds",
    "github.com/kyverno/kyverno",
    "config/crds/policyreport/wgpolicyk8s.io_policyreports.yaml",
)
"""The kind of report before that one, out of a product that writes it: its own module is no Go module any more."""

_CERT_MANAGER, _PROMETHEUS = (
    "github.com/cert-manager/cert-manager",
    "github.com/prometheus-operator/prometheus-operator",
)
GATEWAY_CRDS = tuple(
    ModuleFile(
        f"gateway.networking.k8s.io_{plural}.yaml",
        HERE / "istiod",
        "sigs.k8s.io/gateway-api",
        f"config/crd/standard/gateway.networking.k8s.io_{plural}.yaml",
    )
    for plural in ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "backendtlspolicies")
)
"""Definitions of the Gateway API's resources, which an ambient mesh has its waypoints in."""
OTHER_CRDS = (
    *(
        ModuleFile(
            f"cert-manager.io_{plural}.yaml", HERE / "crds", _CERT_MANAGER, f"deploy/crds/cert-manager.io_{plural}.yaml"
        )
        for plural in ("certificates", "issuers")
    ),
    *(
        ModuleFile(
            f"monitoring.coreos.com_{plural}.yaml",
            HERE / "crds",
            _PROMETHEUS,
            f"example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml",
        )
        for plural in ("servicemonitors", "prometheusrules")
    ),
    OPEN_REPORTS,
)
"""Definitions of resources that are made where their operators run."""
