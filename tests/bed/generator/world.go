package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/networking/serviceentry"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/test"
)

const (
	domainSuffix = "cluster.local"
	// The newest version that the generator knows: what older proxies lack is left out for them.
	proxyVersion = "1.31.0"
)

// Of objects that have no creationTimestamp.
var undated = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A world is istiod's view of one cluster.
type world struct {
	*core.ConfigGenTest
	rejected []Rejected
}

// newWorld builds it from the objects that are valid. Only Kubernetes objects and Gateway API need the larger server,
// which takes twice as long.
func newWorld(t test.Failer, asked Request) *world {
	made := &world{rejected: []Rejected{}}
	var configs []config.Config
	var objects, entries []runtime.Object
	for index, manifest := range asked.Manifests {
		read, err := parse(manifest)
		switch {
		case err != nil:
			made.rejected = append(made.rejected, read.refusal(index, err))
		case !config.LabelsInRevision(read.kind.Labels, asked.Revision):
		case read.config == nil:
			objects = append(objects, read.object)
		default:
			configs = append(configs, *read.config)
			if read.object != nil {
				entries = append(entries, read.object)
			}
		}
	}
	if asked.Allocate {
		allocate(configs)
	}
	settings := meshSettings(t, asked.Mesh)
	if len(objects) == 0 {
		made.ConfigGenTest = core.NewConfigGenTest(t, core.TestOptions{Configs: configs, MeshConfig: settings})
	} else {
		made.ConfigGenTest = xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
			Configs:           configs,
			KubernetesObjects: append(objects, entries...),
			MeshConfig:        settings,
		}).ConfigGenTest
	}
	made.settle()
	return made
}

// settle takes the chance out of what istiod does: the services of an entry with several addresses come to it in any
// order, and only one of them gives the HTTP routes their address.
func (w *world) settle() {
	environment := w.Env()
	environment.ServiceDiscovery = ordered{environment.ServiceDiscovery}
	push := model.NewPushContext()
	push.InitContext(environment, nil, nil)
	environment.SetPushContext(push)
}

type ordered struct{ model.ServiceDiscovery }

func (o ordered) Services() []*model.Service {
	services := slices.Clone(o.ServiceDiscovery.Services())
	slices.SortStableFunc(services, func(a, b *model.Service) int {
		return cmp.Or(
			a.CreationTime.Compare(b.CreationTime),
			cmp.Compare(a.Hostname, b.Hostname),
			cmp.Compare(a.Attributes.Namespace, b.Attributes.Namespace),
			cmp.Compare(a.Attributes.K8sAttributes.ObjectName, b.Attributes.K8sAttributes.ObjectName),
			cmp.Compare(a.DefaultAddress, b.DefaultAddress),
		)
	})
	return services
}

// A manifest is either Istio's, with a config, or a Kubernetes object; a ServiceEntry is both, because HTTPRoutes look
// for their parents among the objects.
type manifest struct {
	kind   crd.IstioKind
	config *config.Config
	object runtime.Object
}

func (m manifest) refusal(index int, err error) Rejected {
	return Rejected{index, m.kind.Kind, m.kind.Namespace, m.kind.Name, err.Error()}
}

// parse reads a manifest, and validates it as istiod's webhook does (pkg/webhooks/validation/server).
func parse(raw json.RawMessage) (manifest, error) {
	var read manifest
	if err := json.Unmarshal(raw, &read.kind); err != nil {
		return read, fmt.Errorf("cannot decode: %w", err)
	}
	if read.kind.Namespace == "" && read.kind.Kind != "Namespace" {
		read.kind.Namespace = "default"
	}
	group := read.kind.GroupVersionKind()
	schema, known := collections.PilotGatewayAPI().FindByGroupKind(resource.FromKubernetesGVK(&group))
	if !known || strings.HasSuffix(group.Group, "gateway.networking.k8s.io") {
		return read, decode(raw, &read)
	}
	object, err := crd.ConvertObject(schema, &read.kind, domainSuffix)
	if err != nil {
		return read, err
	}
	if _, err := schema.ValidateConfig(*object); err != nil {
		return read, err
	}
	if object.CreationTimestamp.IsZero() {
		object.CreationTimestamp = undated
	}
	read.config = object
	// HTTPRoutes look for ServiceEntries, and the ambient index for both kinds, among the objects.
	if kind := schema.GroupVersionKind(); kind == gvk.ServiceEntry || kind == gvk.WorkloadEntry {
		return read, decode(raw, &read)
	}
	return read, nil
}

func decode(raw json.RawMessage, into *manifest) error {
	object, _, err := kube.IstioCodec.UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		return err
	}
	into.object = object
	if named, ok := object.(interface{ SetNamespace(string) }); ok && into.kind.Namespace != "" {
		named.SetNamespace(into.kind.Namespace)
	}
	return nil
}

func meshSettings(t test.Failer, given json.RawMessage) *meshconfig.MeshConfig {
	settings := mesh.DefaultMeshConfig()
	if len(given) == 0 {
		return settings
	}
	laid, err := mesh.ApplyMeshConfig(string(given), settings)
	if err != nil {
		t.Fatalf("mesh: %v", err)
	}
	return laid
}

// allocate writes addresses into the status of ServiceEntries, as istiod's controller does. An address depends on
// namespace, name and host alone, but for collisions.
func allocate(configs []config.Config) {
	order := make([]int, 0, len(configs))
	for index := range configs {
		if serviceentry.ShouldV2AutoAllocateIPFromConfig(configs[index]) {
			order = append(order, index)
		}
	}
	sort.Slice(order, func(i, j int) bool {
		a, b := configs[order[i]], configs[order[j]]
		return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
	})
	taken := map[uint32]bool{}
	for _, index := range order {
		status := &networking.ServiceEntryStatus{}
		for _, host := range configs[index].Spec.(*networking.ServiceEntry).Hosts {
			if strings.HasPrefix(host, "*") {
				continue
			}
			hash := fnv.New32a()
			fmt.Fprint(hash, configs[index].Namespace, "/", configs[index].Name, "/", host)
			number := hash.Sum32()%65000 + 1
			for taken[number] {
				number++
			}
			taken[number] = true
			status.Addresses = append(status.Addresses, &networking.ServiceEntryAddress{
				Host:  host,
				Value: fmt.Sprintf("240.240.%d.%d", number>>8, number&255),
			})
		}
		configs[index].Status = status
	}
}

func (w *world) proxy(asked Proxy) *model.Proxy {
	kinds := map[string]model.NodeType{"": model.SidecarProxy, "router": model.Router, "waypoint": model.Waypoint}
	kind, known := kinds[asked.Type]
	if !known {
		kind = model.NodeType(asked.Type)
	}
	metadata := &model.NodeMetadata{
		IstioVersion: proxyVersion,
		Namespace:    asked.Namespace,
		Labels:       asked.Labels,
		DNSCapture:   model.StringBool(asked.DNSCapture),
		ClusterID:    "Kubernetes",
	}
	if asked.HTTPProxyPort != 0 {
		metadata.HTTPProxyPort = strconv.Itoa(asked.HTTPProxyPort)
	}
	return w.SetupProxy(&model.Proxy{
		Type:            kind,
		ID:              "app." + asked.Namespace,
		IPAddresses:     []string{cmp.Or(asked.IP, "10.250.0.1")},
		ConfigNamespace: asked.Namespace,
		Labels:          asked.Labels,
		Metadata:        metadata,
	})
}
