package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/xds/endpoints"
	"istio.io/istio/pkg/wellknown"
)

const (
	httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	// What a cluster speaks that says nothing of it.
	plainHTTP = `{"explicitHttpConfig":{"httpProtocolOptions":{}}}`
)

// A describer writes the parts of one proxy's configuration. What has no field of its own goes into a digest.
type describer struct {
	verbose  bool
	waypoint bool
	// Routes that are written in the listener itself, by the name that they are given here.
	inline map[string]*route.RouteConfiguration
}

func (w *world) describe(asked Proxy, verbose bool) Description {
	proxy := w.proxy(asked)
	push := w.PushContext()
	d := &describer{verbose, proxy.Type == model.Waypoint, map[string]*route.RouteConfiguration{}}
	given := Description{Routes: map[string][]VHost{}, Clusters: map[string]Cluster{}}
	var inbound []proto.Message
	for _, each := range w.Listeners(proxy) {
		// All that a waypoint has is inbound.
		if each.TrafficDirection == envoy.TrafficDirection_INBOUND && !d.waypoint {
			inbound = append(inbound, each)
			continue
		}
		given.Listeners = append(given.Listeners, d.listener(each))
	}
	for _, each := range w.Clusters(proxy) {
		if strings.HasPrefix(each.Name, "inbound|") || each.Name == "InboundPassthroughCluster" {
			inbound = append(inbound, each)
			continue
		}
		given.Clusters[each.Name] = d.cluster(each, w, proxy)
	}
	// Equals come in any order.
	slices.SortFunc(given.Listeners, func(a, b Listener) int { return strings.Compare(a.Name, b.Name) })
	given.Inbound = d.digest(inbound...)
	resources, _ := w.ConfigGen.BuildHTTPRoutes(proxy, &model.PushRequest{Push: push}, given.routeNames())
	for _, each := range resources {
		read := &route.RouteConfiguration{}
		if each.Resource.UnmarshalTo(read) == nil {
			given.Routes[read.Name] = d.vhosts(read)
		}
	}
	for name, each := range d.inline {
		given.Routes[name] = d.vhosts(each)
	}
	if asked.DNSCapture {
		given.Names = map[string][]string{}
		for name, info := range w.ConfigGen.BuildNameTable(proxy, push).Table {
			given.Names[name] = info.Ips
		}
	}
	return given
}

func (d Description) routeNames() []string {
	names := map[string]bool{}
	for _, each := range d.Listeners {
		chains := each.Chains
		if each.Default != nil {
			chains = append([]Chain{*each.Default}, chains...)
		}
		for _, chain := range chains {
			if chain.Route != "" {
				names[chain.Route] = true
			}
		}
	}
	out := make([]string, 0, len(names))
	for name := range names {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

func (d *describer) listener(given *listener.Listener) Listener {
	made := Listener{Name: given.Name, Chains: []Chain{}}
	addresses := []*envoy.Address{given.Address}
	for _, additional := range given.AdditionalAddresses {
		addresses = append(addresses, additional.Address)
	}
	for _, each := range addresses {
		made.Addresses = append(made.Addresses, each.GetSocketAddress().GetAddress())
	}
	made.Port = given.Address.GetSocketAddress().GetPortValue()
	for number, chain := range given.FilterChains {
		name := fmt.Sprintf("%s#%d", given.Name, number)
		if d.waypoint {
			name = chain.Name // says which host and port it is about
		}
		made.Chains = append(made.Chains, d.chain(chain, name))
	}
	if given.DefaultFilterChain != nil {
		chain := d.chain(given.DefaultFilterChain, given.Name+"#default")
		made.Default = &chain
	}
	rest := proto.Clone(given).(*listener.Listener)
	rest.FilterChains, rest.DefaultFilterChain, rest.Name = nil, nil, ""
	rest.AccessLog, rest.StatPrefix, rest.Metadata = nil, "", nil
	for _, filter := range rest.ListenerFilters {
		made.Inspectors = append(made.Inspectors, filter.Name)
	}
	rest.ListenerFilters, rest.ListenerFiltersTimeout, rest.ContinueOnListenerFiltersTimeout = nil, nil, false
	made.Rest = d.digest(rest)
	return made
}

func (d *describer) chain(given *listener.FilterChain, name string) Chain {
	made := Chain{Match: d.match(given.FilterChainMatch)}
	rest := proto.Clone(given).(*listener.FilterChain)
	rest.Name, rest.FilterChainMatch, rest.Metadata = "", nil, nil
	rest.Filters = slices.DeleteFunc(rest.Filters, readsAlong)
	if rest.TransportSocket == nil {
		rest.TransportSocketConnectTimeout = nil // bounds a handshake that there is not
	}
	for _, filter := range rest.Filters {
		switch filter.Name {
		case wellknown.HTTPConnectionManager:
			d.httpFilter(filter, name, &made)
		case wellknown.TCPProxy:
			d.tcpFilter(filter, &made)
		}
	}
	made.Rest = d.digest(rest)
	return made
}

// readsAlong says whether a filter only counts: Envoy's for MongoDB passes all bytes on, also those of another protocol,
// and istiod configures no faults for it.
func readsAlong(filter *listener.Filter) bool {
	return filter.Name == wellknown.MongoProxy
}

func (d *describer) httpFilter(filter *listener.Filter, name string, into *Chain) {
	manager := &hcm.HttpConnectionManager{}
	if filter.GetTypedConfig().UnmarshalTo(manager) != nil {
		return
	}
	if named := manager.GetRds(); named != nil {
		into.Route = named.RouteConfigName
	} else {
		into.Route = name
		d.inline[name] = manager.GetRouteConfig()
	}
	manager.StatPrefix, manager.RouteSpecifier, manager.AccessLog = "", nil, nil
	repack(filter, manager)
}

func (d *describer) tcpFilter(filter *listener.Filter, into *Chain) {
	proxy := &tcp.TcpProxy{}
	if filter.GetTypedConfig().UnmarshalTo(proxy) != nil {
		return
	}
	if name := proxy.GetCluster(); name != "" {
		into.Clusters = []Weighted{{name, 1}}
	}
	for _, each := range proxy.GetWeightedClusters().GetClusters() {
		into.Clusters = append(into.Clusters, Weighted{each.Name, each.Weight})
	}
	into.Idle, into.Age = seconds(proxy.IdleTimeout), seconds(proxy.MaxDownstreamConnectionDuration)
	proxy.StatPrefix, proxy.ClusterSpecifier, proxy.AccessLog = "", nil, nil
	proxy.IdleTimeout, proxy.MaxDownstreamConnectionDuration = nil, nil
	repack(filter, proxy)
}

func repack(filter *listener.Filter, message proto.Message) {
	packed := &anypb.Any{}
	if anypb.MarshalFrom(packed, message, proto.MarshalOptions{Deterministic: true}) == nil {
		filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: packed}
	}
}

func (d *describer) match(given *listener.FilterChainMatch) Match {
	made := Match{
		Port:         given.GetDestinationPort().GetValue(),
		ServerNames:  given.GetServerNames(),
		Transport:    given.GetTransportProtocol(),
		Applications: given.GetApplicationProtocols(),
	}
	for _, prefix := range given.GetPrefixRanges() {
		made.Prefixes = append(made.Prefixes, fmt.Sprintf("%s/%d", prefix.AddressPrefix, prefix.PrefixLen.GetValue()))
	}
	if given != nil {
		rest := proto.Clone(given).(*listener.FilterChainMatch)
		rest.DestinationPort, rest.ServerNames, rest.TransportProtocol = nil, nil, ""
		rest.ApplicationProtocols, rest.PrefixRanges = nil, nil
		made.Other = text(rest)
	}
	return made
}

func (d *describer) vhosts(given *route.RouteConfiguration) []VHost {
	made := []VHost{}
	for _, each := range given.GetVirtualHosts() {
		vhost := VHost{Name: each.Name, Domains: each.Domains, Routes: []Route{}}
		for _, one := range each.Routes {
			vhost.Routes = append(vhost.Routes, d.route(one))
		}
		rest := proto.Clone(each).(*route.VirtualHost)
		rest.Name, rest.Domains, rest.Routes = "", nil, nil
		vhost.Rest = d.digest(rest)
		made = append(made, vhost)
	}
	return made
}

func (d *describer) route(given *route.Route) Route {
	made := Route{Match: pathMatch(given.Match)}
	rest := proto.Clone(given).(*route.Route)
	rest.Name, rest.Metadata, rest.Decorator, rest.Match = "", nil, nil, nil
	action := rest.GetRoute()
	if action == nil {
		made.Direct = text(rest)
		return made
	}
	if name := action.GetCluster(); name != "" {
		made.Clusters = []Weighted{{name, 1}}
	}
	for _, each := range action.GetWeightedClusters().GetClusters() {
		made.Clusters = append(made.Clusters, Weighted{each.Name, each.Weight.GetValue()})
	}
	made.Timeout = seconds(action.Timeout)
	made.GRPCTimeout = seconds(action.MaxGrpcTimeout)
	made.StreamDuration = seconds(action.GetMaxStreamDuration().GetMaxStreamDuration())
	made.Retry = d.retry(action.RetryPolicy)
	if action.GetWeightedClusters() == nil {
		action.ClusterSpecifier = nil
	}
	action.Timeout, action.MaxGrpcTimeout, action.MaxStreamDuration, action.RetryPolicy = nil, nil, nil, nil
	// How a call fails whose cluster is not there.
	action.ClusterNotFoundResponseCode = 0
	made.Rest = d.digest(rest)
	return made
}

// pathMatch writes what a route asks of a request; that case counts is Envoy's default, which Istio sets in some routes.
func pathMatch(given *route.RouteMatch) string {
	match := proto.Clone(given).(*route.RouteMatch)
	if match.GetCaseSensitive().GetValue() {
		match.CaseSensitive = nil
	}
	return text(match)
}

func (d *describer) retry(given *route.RetryPolicy) *Retry {
	if given == nil {
		return nil
	}
	made := &Retry{
		On:       []string{},
		Attempts: given.NumRetries.GetValue(),
		PerTry:   seconds(given.PerTryTimeout),
		Codes:    given.RetriableStatusCodes,
		Backoff:  seconds(given.RetryBackOff.GetBaseInterval()),
	}
	if given.RetryOn != "" {
		made.On = strings.Split(given.RetryOn, ",")
	}
	rest := proto.Clone(given).(*route.RetryPolicy)
	rest.RetryOn, rest.NumRetries, rest.PerTryTimeout = "", nil, nil
	rest.RetriableStatusCodes, rest.RetryBackOff = nil, nil
	made.Rest = d.digest(rest)
	return made
}

func (d *describer) cluster(given *cluster.Cluster, w *world, proxy *model.Proxy) Cluster {
	made := Cluster{Type: given.GetType().String()}
	if custom := given.GetClusterType(); custom != nil {
		made.Type = custom.Name
	}
	assignment := given.LoadAssignment
	if given.GetType() == cluster.Cluster_EDS {
		builder := endpoints.NewEndpointBuilder(given.Name, proxy, w.PushContext())
		assignment = builder.BuildClusterLoadAssignment(w.Env().EndpointIndex)
	}
	made.Endpoints = addresses(assignment)
	services := given.Metadata.GetFilterMetadata()["istio"].GetFields()["services"].GetListValue().GetValues()
	if len(services) > 0 {
		fields := services[0].GetStructValue().GetFields()
		made.Host, made.Namespace = fields["host"].GetStringValue(), fields["namespace"].GetStringValue()
	}
	if made.Host == "" {
		_, _, host, _ := model.ParseSubsetKey(given.Name)
		made.Host = string(host)
	}
	made.PortOverride = given.GetOriginalDstLbConfig().GetUpstreamPortOverride().GetValue()
	d.connections(given, sockets(given, assignment), &made)
	return made
}

// sockets returns what the endpoints of a cluster are spoken to through, where that is not plain text.
func sockets(given *cluster.Cluster, assignment *endpoint.ClusterLoadAssignment) []proto.Message {
	var made []proto.Message
	if given.TransportSocket != nil {
		made = append(made, given.TransportSocket)
	}
	for index, match := range given.TransportSocketMatches {
		used := false
		for _, locality := range assignment.GetEndpoints() {
			for _, each := range locality.LbEndpoints {
				used = used || socketOf(given.TransportSocketMatches, each) == index
			}
		}
		if used && match.TransportSocket.GetName() != wellknown.TransportSocketRawBuffer {
			made = append(made, match.TransportSocket)
		}
	}
	return made
}

func socketOf(matches []*cluster.Cluster_TransportSocketMatch, of *endpoint.LbEndpoint) int {
	has := of.GetMetadata().GetFilterMetadata()["envoy.transport_socket_match"].GetFields()
	return slices.IndexFunc(matches, func(match *cluster.Cluster_TransportSocketMatch) bool {
		for name, value := range match.GetMatch().GetFields() {
			if !proto.Equal(has[name], value) {
				return false
			}
		}
		return true
	})
}

// connections describes what a connectionPool sets, and apart from that everything that neither the resolution nor
// the pool has a say in.
func (d *describer) connections(given *cluster.Cluster, sockets []proto.Message, made *Cluster) {
	pool := &cluster.Cluster{
		ConnectTimeout:            given.ConnectTimeout,
		CircuitBreakers:           given.CircuitBreakers,
		UpstreamConnectionOptions: given.UpstreamConnectionOptions,
	}
	rest := proto.Clone(given).(*cluster.Cluster)
	options := &upstream.HttpProtocolOptions{}
	if packed := rest.TypedExtensionProtocolOptions[httpOptions]; packed != nil && packed.UnmarshalTo(options) == nil {
		common := &upstream.HttpProtocolOptions{CommonHttpProtocolOptions: options.CommonHttpProtocolOptions}
		if packed, err := anypb.New(common); err == nil && options.CommonHttpProtocolOptions != nil {
			pool.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: packed}
		}
		options.CommonHttpProtocolOptions = nil
		if len(sockets) > 0 && options.UpstreamHttpProtocolOptions != nil {
			sockets = append(sockets, options.UpstreamHttpProtocolOptions)
		}
		options.UpstreamHttpProtocolOptions = nil
		if made.HTTP = text(options); made.HTTP == plainHTTP {
			made.HTTP = ""
		}
		delete(rest.TypedExtensionProtocolOptions, httpOptions)
	}
	if len(sockets) > 0 {
		made.TLS = d.digest(sockets...)
	}
	made.Pool = text(pool)
	rest.Name, rest.AltStatName, rest.Metadata = "", "", nil
	rest.ConnectTimeout, rest.CircuitBreakers, rest.UpstreamConnectionOptions = nil, nil, nil
	rest.TransportSocket, rest.TransportSocketMatches, rest.TrackTimeoutBudgets = nil, nil, false
	rest.ClusterDiscoveryType, rest.LoadAssignment, rest.EdsClusterConfig = nil, nil, nil
	rest.LbPolicy, rest.LbConfig, rest.LoadBalancingPolicy = 0, nil, nil
	rest.DnsRefreshRate, rest.RespectDnsTtl, rest.DnsLookupFamily, rest.DnsJitter = nil, false, 0, nil
	rest.CleanupInterval = nil
	made.Rest = d.digest(rest)
}

func addresses(given *endpoint.ClusterLoadAssignment) []Endpoint {
	var made []Endpoint
	for _, locality := range given.GetEndpoints() {
		for _, each := range locality.LbEndpoints {
			socket := each.GetEndpoint().GetAddress().GetSocketAddress()
			made = append(made, Endpoint{socket.GetAddress(), socket.GetPortValue(), each.LoadBalancingWeight.GetValue()})
		}
	}
	return made
}

func seconds(given *durationpb.Duration) *float64 {
	if given == nil {
		return nil
	}
	value := given.AsDuration().Seconds()
	return &value
}

// text writes a message as JSON that is the same each time (protojson varies its white space on purpose).
func text(message proto.Message) string {
	raw, err := protojson.Marshal(message)
	var compact bytes.Buffer
	if err != nil || json.Compact(&compact, raw) != nil {
		return fmt.Sprintf("%v", err)
	}
	if compact.String() == "{}" {
		return ""
	}
	return compact.String()
}

func (d *describer) digest(messages ...proto.Message) string {
	if d.verbose {
		var parts []string
		for _, message := range messages {
			parts = append(parts, text(message))
		}
		return strings.Join(parts, " ")
	}
	hash := sha256.New()
	for _, message := range messages {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
		if err != nil {
			return err.Error()
		}
		hash.Write(raw)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}
