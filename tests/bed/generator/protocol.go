package main

import "encoding/json"

// Request is one cluster, and the proxies whose configuration is wanted.
type Request struct {
	ID int `json:"id"`
	// Kubernetes objects; those without a namespace are in "default".
	Manifests []json.RawMessage `json:"manifests"`
	Proxies   []Proxy           `json:"proxies"`
	// Fields of MeshConfig, laid over its defaults.
	Mesh json.RawMessage `json:"mesh,omitempty"`
	// The revision of this istiod: objects with another istio.io/rev do not count. Empty: all count.
	Revision string `json:"revision,omitempty"`
	// Whether eligible ServiceEntries have an address allocated, as istiod's controller does it in their status.
	Allocate bool `json:"allocate,omitempty"`
	// Whether what is otherwise a digest is written out.
	Verbose bool `json:"verbose,omitempty"`
}

// Proxy is one proxy of the mesh.
type Proxy struct {
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels,omitempty"`
	// sidecar (default), router or waypoint.
	Type string `json:"type,omitempty"`
	// Whether it answers DNS queries of the application.
	DNSCapture bool `json:"dnsCapture,omitempty"`
	// Its address, by which istiod knows what a waypoint serves. Empty: one that no object has.
	IP string `json:"ip,omitempty"`
	// Where it is an HTTP proxy to the application; 0: nowhere.
	HTTPProxyPort int `json:"httpProxyPort,omitempty"`
}

// Answer is what istiod gives each proxy of a request, in the order of the request.
type Answer struct {
	ID       int           `json:"id"`
	Error    string        `json:"error,omitempty"`
	Rejected []Rejected    `json:"rejected"`
	Proxies  []Description `json:"proxies"`
}

// Rejected is an object that istiod's validation rejects. Index counts the manifests of the request.
type Rejected struct {
	Index     int    `json:"index"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Reason    string `json:"reason"`
}

// Description is the configuration of one proxy, as far as it is about what its application calls.
type Description struct {
	Listeners []Listener          `json:"listeners"`
	Routes    map[string][]VHost  `json:"routes"`
	Clusters  map[string]Cluster  `json:"clusters"`
	Names     map[string][]string `json:"names,omitempty"`
	Inbound   string              `json:"inbound"`
}

// Listener takes the connections to its addresses and port.
type Listener struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Port      uint32   `json:"port"`
	Chains    []Chain  `json:"chains"`
	Default   *Chain   `json:"default,omitempty"`
	// The filters that look at the first bytes of a connection.
	Inspectors []string `json:"inspectors,omitempty"`
	Rest       string   `json:"rest"`
}

// Chain is what becomes of the connections that match. It has either a route or clusters.
type Chain struct {
	Match Match `json:"match"`
	// The name of the HTTP routes.
	Route    string     `json:"route,omitempty"`
	Clusters []Weighted `json:"clusters,omitempty"`
	// Idle time and age at which TCP connections are closed, in seconds.
	Idle *float64 `json:"idle,omitempty"`
	Age  *float64 `json:"age,omitempty"`
	Rest string   `json:"rest"`
}

// Match is what a chain asks of a connection.
type Match struct {
	Port         uint32   `json:"port,omitempty"`
	Prefixes     []string `json:"prefixes,omitempty"`
	ServerNames  []string `json:"serverNames,omitempty"`
	Transport    string   `json:"transport,omitempty"`
	Applications []string `json:"applications,omitempty"`
	// Whether it asks for something else.
	Other string `json:"other,omitempty"`
}

// Weighted is a cluster and its share.
type Weighted struct {
	Cluster string `json:"cluster"`
	Weight  uint32 `json:"weight"`
}

// VHost is a virtual host of HTTP routes.
type VHost struct {
	Name    string   `json:"name"`
	Domains []string `json:"domains"`
	Routes  []Route  `json:"routes"`
	Rest    string   `json:"rest"`
}

// Route is one HTTP route: the first whose match holds is taken.
type Route struct {
	Match    string     `json:"match"`
	Clusters []Weighted `json:"clusters,omitempty"`
	// What else it does: redirect or respond by itself.
	Direct string `json:"direct,omitempty"`
	// In seconds; null: not set, which is 15 in Envoy, and 0 is none.
	Timeout        *float64 `json:"timeout"`
	GRPCTimeout    *float64 `json:"grpcTimeout,omitempty"`
	StreamDuration *float64 `json:"streamDuration,omitempty"`
	Retry          *Retry   `json:"retry"`
	Rest           string   `json:"rest"`
}

// Retry is when and how a request is tried again.
type Retry struct {
	On       []string `json:"on"`
	Attempts uint32   `json:"attempts"`
	// In seconds.
	PerTry  *float64 `json:"perTry,omitempty"`
	Codes   []uint32 `json:"codes,omitempty"`
	Backoff *float64 `json:"backoff,omitempty"`
	Rest    string   `json:"rest"`
}

// Cluster is where connections go.
type Cluster struct {
	// Envoy's discovery type, or the name of an extension.
	Type      string     `json:"type"`
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Host and namespace of the service.
	Host      string `json:"host,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Whether it speaks HTTP/2, or what its client speaks.
	HTTP string `json:"http,omitempty"`
	// The port instead of the one that was dialled.
	PortOverride uint32 `json:"portOverride,omitempty"`
	// Everything that a connectionPool sets.
	Pool string `json:"pool,omitempty"`
	TLS  string `json:"tls,omitempty"`
	Rest string `json:"rest"`
}

// Endpoint is one address of a cluster.
type Endpoint struct {
	Address string `json:"address"`
	Port    uint32 `json:"port"`
	Weight  uint32 `json:"weight,omitempty"`
}
