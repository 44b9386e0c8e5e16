package config

import "maps"

// What took the place of the flat TLS keys of older files.
const (
	fileSource   = "`tls.source`, as {type: file, cert: PATH, key: PATH}"
	pemSource    = "`tls.source`, as {type: pem, cert: TEXT, key: TEXT}"
	fileCA       = "`tls.ca_source`, as {type: file, path: PATH}"
	pemCA        = "`tls.ca_source`, as {type: pem, data: TEXT}"
	fileClientCA = "`tls.client_ca`, as {type: file, path: PATH}"
	pemClientCA  = "`tls.client_ca`, as {type: pem, data: TEXT}"
	toAskClients = ", to ask clients for certificates"
)

var (
	flatTLS = map[string]string{
		"cert_file": fileSource, "key_file": fileSource, "cert_pem": pemSource, "key_pem": pemSource,
	}
	flatServerTLS = merge(flatTLS, map[string]string{
		"client_ca_file": fileClientCA, "client_ca_pem": pemClientCA,
		"ca_file": fileClientCA + toAskClients, "ca_pem": pemClientCA + toAskClients,
	})
	flatClientTLS = merge(flatTLS, map[string]string{"ca_file": fileCA, "ca_pem": pemCA})

	serverPlaces = merge(flatServerTLS,
		keysOf("`tls`", "insecure", "source", "ca_source", "client_ca", "tls_version", "include_system_ca_certs_pool"),
		keysOf("`keepalive`", "time", "timeout", "max_connection_idle", "max_connection_age", "max_connection_age_grace"),
		keysOf("`auth`", "username", "password"))
	clientPlaces = merge(flatClientTLS,
		keysOf("`tls`", "insecure", "insecure_skip_verify", "source", "ca_source", "tls_version", "include_system_ca_certs_pool"),
		keysOf("`keepalive`", "tcp_keepalive", "http2_keepalive", "keep_alive_while_idle"),
		keysOf("`auth`", "username", "password"),
		keysOf("`backoff`", "interval", "max_attempts", "max_delay"))

	// places has the keys that belong elsewhere by the block they stand in, under the name that upstream's errors give it:
	// a key at the wrong level is spelt right, so that the nearest known key would lead astray.
	places = map[string]map[string]string{
		"struct TlsServerConfig": flatServerTLS,
		"struct TlsClientConfig": flatClientTLS,
		"struct ServerConfig":    serverPlaces,
		"struct ClientConfig":    clientPlaces,
		"struct StaticPeer":      clientPlaces,

		"struct EndpointsConfig":      keysOf("an entry of `servers` or `clients`", "endpoint", "tls", "keepalive", "metadata"),
		"struct ServiceConfiguration": keysOf("`dataplane`", "servers", "clients", "outbound_clients", "enforce_pqc"),
		"struct TracingConfiguration": keysOf("`opentelemetry`",
			"enabled", "grpc", "service_name", "service_version", "environment", "metrics_interval_secs"),
		"root": merge(
			keysOf("`services.slim/0.dataplane`", "servers", "clients"),
			keysOf("`services.slim/0`", "dataplane", "controller", "peers", "node_id", "domain_name"),
			keysOf("`runtime`", "n_cores", "thread_name", "drain_timeout"),
			keysOf("`tracing`", "log_level", "display_thread_names", "display_thread_ids", "filters", "opentelemetry")),
	}
)

// former has keys of older files by the block they stood in, with what they are called now: no spelling distance finds it.
var former = map[string]map[string]string{
	"root": {
		"server": "`services.slim/0.dataplane.servers`, a list", "client": "`services.slim/0.dataplane.clients`, a list",
		"pubsub": "`services.slim/0.dataplane`", "gateway": "`services.slim/0`", "gateway/0": "`services.slim/0`",
		"group_name": "`services.slim/0.domain_name`",
	},
	"struct ServiceConfiguration": {
		"pubsub": "`dataplane`", "server": "`dataplane.servers`, a list", "client": "`dataplane.clients`, a list",
	},
}

func keysOf(place string, keys ...string) map[string]string {
	m := make(map[string]string, len(keys))
	for _, k := range keys {
		m[k] = place
	}
	return m
}

func merge(parts ...map[string]string) map[string]string {
	m := map[string]string{}
	for _, p := range parts {
		maps.Copy(m, p)
	}
	return m
}

// gone has keys of older files that nothing stands for any more, with what is so without them.
var gone = map[string]map[string]string{
	"struct ServerConfig": {"max_recv_msg_size": "remove it: a message has 4 MiB at most by gRPC"},
	"struct ClientConfig": {"max_recv_msg_size": "remove it: a message has 4 MiB at most by gRPC"},
	"struct KeepaliveServerParameters": {
		"permit_without_stream": "remove it: it is now `keep_alive_while_idle` in `keepalive` of a client, and a server has none",
	},
}

// lead says of an unknown key of a block where it belongs, or which known key it most likely stands for.
func (r *Reason) lead(block, key string, known []string) {
	if place := places[block][key]; place != "" {
		r.Hint = "it belongs in " + place
		return
	}
	if now := former[block][key]; now != "" {
		r.Hint = "it is now " + now
		return
	}
	if r.Hint = gone[block][key]; r.Hint != "" {
		return
	}
	r.Nearest = nearest(key, known)
}
