package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// server wraps one server entry, given as flow YAML, in a file; the entry begins at line 4 column 9.
func serverFile(entry string) string {
	return "services:\n  slim/0:\n    dataplane: {servers: [\n        " + entry + "]}\n"
}

// serviceFile wraps the body of service slim/0, which begins at line 3 column 5.
func serviceFile(body string) string { return "services:\n  slim/0:\n    " + body + "\n" }

// TestRefusals runs one file for each rule that makes upstream's node refuse a file, and compares the whole chain.
// Rules: P-conf-11, P-conf-12, P-conf-14, P-conf-17.
func TestRefusals(t *testing.T) {
	const (
		sv    = "error loading services | yaml parse error | "
		valid = "error loading services | validation error | "
		start = "failed to start service | datapath error | configuration error | "
		s0    = "services.slim/0.dataplane.servers[0]"
		c0    = "services.slim/0.dataplane.clients[0]"
	)
	const peer = sv + "f:3:73: services.slim/0.peers.discovery.peers[0].ca_pem: unknown field `ca_pem`, expected one of `node_id`, `endpoint`, " +
		"`origin`, `server_name`, `compression`, `rate_limit`, `tls`, `keepalive`, `proxy`, `connect_timeout`, `request_timeout`, " +
		"`buffer_size`, `headers`, `auth`, `backoff`, `metadata`, `link_id`, `require_header_mac`, `connection_type`"
	client := func(keys string) string {
		return serviceFile(`dataplane: {clients: [{endpoint: "http://x:1", ` + keys + `}]}`)
	}
	for _, tt := range []struct{ name, yaml, want string }{
		{"service id without slash", "services: {slim: {}}", "error loading services | invalid configuration - key id cannot be empty not valid | f:1:12: services.slim: a service id is KIND/NAME, such as slim/0, the name of lower-case letters, digits and dashes"},
		{"service name in capitals", "services: {slim/A: {}}", "error loading services | invalid configuration - key kind contains invalid character(s): A not valid | f:1:12: services.slim/A: a service id is KIND/NAME, such as slim/0, the name of lower-case letters, digits and dashes"},
		{"unknown service key", serviceFile("foo: 1"), sv + "f:3:5: services.slim/0.foo: unknown field `foo`, expected one of `node_id`, `domain_name`, `auth`, `dataplane`, `controller`, `peers`, `default_gateway`"},
		{"older name of domain_name", serviceFile("group_name: x"), sv + "f:3:5: services.slim/0.group_name: unknown field `group_name`, expected one of `node_id`, `domain_name`, `auth`, `dataplane`, `controller`, `peers`, `default_gateway`; did you mean `domain_name`?"},
		{"unknown dataplane key", serviceFile("dataplane: {server: []}"), sv + "f:3:17: services.slim/0.dataplane.server: unknown field `server`, expected one of `enforce_pqc`, `servers`, `clients`, `outbound_clients`; did you mean `servers`?"},
		{"listener without a list", serviceFile("dataplane: {endpoint: x}"), sv + "f:3:17: services.slim/0.dataplane.endpoint: unknown field `endpoint`, expected one of `enforce_pqc`, `servers`, `clients`, `outbound_clients`; it belongs in an entry of `servers` or `clients`"},
		{"servers in a service", serviceFile("servers: []"), sv + "f:3:5: services.slim/0.servers: unknown field `servers`, expected one of `node_id`, `domain_name`, `auth`, `dataplane`, `controller`, `peers`, `default_gateway`; it belongs in `dataplane`"},
		{"service at the root", "dataplane: {}", "failed to load configuration | invalid configuration - key dataplane not valid | f:1:1: dataplane: unknown key; it belongs in `services.slim/0`"},
		{"runtime key at the root", "drain_timeout: 1s", "failed to load configuration | invalid configuration - key drain_timeout not valid | f:1:1: drain_timeout: unknown key; it belongs in `runtime`"},
		{"flat tls key of a static peer", serviceFile("peers: {discovery: {type: static, peers: [{node_id: x, endpoint: y, ca_pem: z}]}}"), peer + "; it belongs in `tls.ca_source`, as {type: pem, data: TEXT}"},
		{"no endpoint at all", serviceFile("dataplane: {servers: []}"), "failed to start service | f:2:3: services.slim/0: no server or client configured"},
		{"gateway as bool", serviceFile("default_gateway: false"), sv + "f:3:22: services.slim/0.default_gateway: invalid type: boolean `false`, expected a Value::Tagged enum"},
		{"gateway no", serviceFile("default_gateway: no"), sv + "f:3:22: services.slim/0.default_gateway: unknown variant `no`, expected `auto` or `off`"},
		{"gateway null", serviceFile("default_gateway:"), sv + "f:3:21: services.slim/0.default_gateway: invalid type: unit value, expected a Value::Tagged enum"},

		{"no endpoint key", serverFile("{tls: {insecure: true}}"), sv + "f:4:9: " + s0 + ": missing field `endpoint`"},
		{"server a string", serverFile("foo"), sv + "f:4:9: " + s0 + ": invalid type: string \"foo\", expected struct ServerConfig"},
		{"wss without TLS", serverFile(`{endpoint: "wss://127.0.0.1:1/x", tls: {insecure: true}}`),
			start + "TLS config error | f:4:43: " + s0 + ".tls: a listener of wss:// has TLS: set `tls.source` and no `tls.insecure`, or write ws://"},
		{"empty endpoint", serverFile(`{endpoint: "", tls: {insecure: true}}`), start + "f:4:10: " + s0 + ".endpoint: missing grpc endpoint; write it as 0.0.0.0:46357 or \"[::1]:46357\""},
		{"host name to listen on", serverFile(`{endpoint: "host:1", tls: {insecure: true}}`), start + "endpoint parse error | f:4:10: " + s0 + ".endpoint: invalid socket address syntax: \"host:1\" is no IP:PORT; write it as 0.0.0.0:46357 or \"[::1]:46357\""},
		{"http scheme to listen on", serverFile(`{endpoint: "http://1.2.3.4:1", tls: {insecure: true}}`), start + "endpoint parse error | f:4:10: " + s0 + ".endpoint: invalid socket address syntax: \"http://1.2.3.4:1\" is no IP:PORT; write it without a scheme, such as 0.0.0.0:46357"},
		{"reference inside an endpoint is text", serverFile(`{endpoint: "0.0.0.0:${env:PORT}", tls: {insecure: true}}`), start + "endpoint parse error | f:4:10: " + s0 + ".endpoint: invalid socket address syntax: \"0.0.0.0:${env:PORT}\" is no IP:PORT; ${env:NAME} and ${file:PATH} work as a whole value only"},
		{"ftp scheme", serverFile(`{endpoint: "ftp://1.2.3.4:1"}`), valid + "f:4:10: " + s0 + ".endpoint: invalid endpoint scheme: \"ftp://1.2.3.4:1\""},
		{"secure without certificate", serverFile(`{endpoint: "127.0.0.1:0"}`), start + "TLS config error | f:4:10: " + s0 + ".tls: missing server cert or key: set `tls.source`, or `tls.insecure: true` for a listener without TLS"},
		{"null tls is secure", serverFile(`{endpoint: "127.0.0.1:0", tls: }`), start + "TLS config error | f:4:35: " + s0 + ".tls: missing server cert or key: set `tls.source`, or `tls.insecure: true` for a listener without TLS"},
		{"unknown auth type", serverFile(`{endpoint: "127.0.0.1:0", auth: {type: bassic}}`), sv + "f:4:48: " + s0 + ".auth.type: unknown variant `bassic`, expected one of `basic`, `jwt`, `oidc`, `spire`, `none`; did you mean `basic`?"},
		{"static_jwt is for clients", serverFile(`{endpoint: "127.0.0.1:0", auth: {type: static_jwt}}`), sv + "f:4:48: " + s0 + ".auth.type: unknown variant `static_jwt`, expected one of `basic`, `jwt`, `oidc`, `spire`, `none`"},
		{"auth without type", serverFile(`{endpoint: "127.0.0.1:0", auth: {basic: {}}}`), sv + "f:4:41: " + s0 + ".auth: missing field `type`, one of `basic`, `jwt`, `oidc`, `spire`, `none`"},
		{"auth null", serverFile(`{endpoint: "127.0.0.1:0", auth: }`), sv + "f:4:41: " + s0 + ".auth: invalid type: unit value, expected internally tagged enum AuthenticationConfig"},
		{"basic without name", serverFile(`{endpoint: "127.0.0.1:0", auth: {type: basic, password: x}}`), sv + "f:4:41: " + s0 + ".auth: missing field `username`"},
		{"password as number is not repeated", serverFile(`{endpoint: "127.0.0.1:0", auth: {type: basic, username: u, password: 123}}`), sv + "f:4:78: " + s0 + ".auth.password: invalid type: expected a string (a number must stand in quotes)"},
		{"audience as string", serverFile(`{endpoint: "127.0.0.1:0", auth: {type: jwt, claims: {aud: x}, key: {type: autoresolve}}}`), sv + "f:4:67: " + s0 + ".auth.claims.aud: invalid type: string \"x\", expected a sequence; write a list, such as [VALUE]"},
		{"two spellings of a claim", serverFile(`{endpoint: "127.0.0.1:0", auth: {type: jwt, claims: {sub: x, subject: y}, key: {type: autoresolve}}}`), sv + "f:4:61: " + s0 + ".auth.claims: duplicate field `subject`: sub is its other name"},
		{"policy with two keys", serverFile(`{endpoint: "127.0.0.1:0", auth: {type: oidc, issuer_url: x, policy: {cel: a, rego: b}}}`), sv + "f:4:77: " + s0 + ".auth.policy: expected a map with exactly one key, one of `cel`, `rego`, `rego_file`"},
		{"empty policy", serverFile(`{endpoint: "127.0.0.1:0", auth: {type: oidc, issuer_url: x, policy: {cel: ""}}}`), sv + "f:4:83: " + s0 + ".auth.policy.cel: rego policy compilation failed: it is empty"},
		{"tls version there is not", serverFile(`{endpoint: "127.0.0.1:0", tls: {tls_version: "1.3", source: {type: file, cert: a, key: b}}}`), start + "TLS config error | f:4:41: " + s0 + ".tls.tls_version: invalid tls version: 1.3; want tls1.2 or tls1.3"},
		{"tls source of unknown type", serverFile(`{endpoint: "127.0.0.1:0", tls: {source: {type: foo}}}`), sv + "f:4:56: " + s0 + ".tls.source.type: unknown variant `foo`, expected one of `pem`, `file`, `spire`, `none`"},
		{"reload interval as text", serverFile(`{endpoint: "127.0.0.1:0", tls: {reload_interval: 10s}}`), sv + "f:4:58: " + s0 + ".tls.reload_interval: invalid type: string \"10s\", expected struct Duration, a map of secs and nanos"},
		{"both names of one key", serverFile(`{endpoint: "127.0.0.1:0", negotiation_timeout_secs: 1, link_hmac_timeout_secs: 2}`), sv + "f:4:64: " + s0 + ": duplicate field `negotiation_timeout_secs`: link_hmac_timeout_secs is its other name"},
		{"null in free data", serverFile(`{endpoint: "127.0.0.1:0", metadata: {a: null}}`), sv + "f:4:49: " + s0 + ".metadata.a: data did not match any variant of untagged enum MetadataValue: unit value"},
		{"u32 overflow", serverFile(`{endpoint: "127.0.0.1:0", max_frame_size: 4294967296}`), sv + "f:4:51: " + s0 + ".max_frame_size: invalid value: integer `4294967296`, expected u32"},
		{"buffer with unit", serverFile(`{endpoint: "127.0.0.1:0", read_buffer_size: 4KiB}`), sv + "f:4:53: " + s0 + ".read_buffer_size: invalid type: string \"4KiB\", expected usize; write a whole number, without quotes, leading zeros or a unit"},
		{"keepalive a number", serverFile(`{endpoint: "127.0.0.1:0", keepalive: 5}`), sv + "f:4:46: " + s0 + ".keepalive: invalid type: integer `5`, expected struct KeepaliveServerParameters"},
		{"post-quantum needs tls1.3", serviceFile(`dataplane: {enforce_pqc: true, servers: [{endpoint: "127.0.0.1:0", tls: {insecure: true, tls_version: tls1.2}}]}`), valid + "f:3:47: " + s0 + ".tls.tls_version: enforce_pqc needs tls_version: tls1.3, found \"tls1.2\""},

		{"client with empty endpoint", serviceFile(`dataplane: {clients: [{endpoint: ""}]}`), valid + "f:3:28: " + c0 + ".endpoint: the endpoint is empty"},
		{"client with bad scheme", serviceFile(`dataplane: {clients: [{endpoint: "ftp://x"}]}`), valid + "f:3:28: " + c0 + ".endpoint: invalid endpoint scheme: \"ftp://x\""},
		{"max_delay as integer", client("backoff: {type: exponential, max_delay: 1500}"), sv + "f:3:92: " + c0 + ".backoff.max_delay: invalid type: integer `1500`, expected string; a duration needs a unit, such as 10s or 500ms"},
		{"compression in small letters", client("compression: gzip"), sv + "f:3:65: " + c0 + ".compression: unknown variant `gzip`, expected one of `Gzip`, `Zlib`, `Deflate`, `Snappy`, `Zstd`, `Lz4`, `None`, `Empty`; did you mean `Gzip`?"},
		{"kind local", client("connection_type: local"), sv + "f:3:69: " + c0 + ".connection_type: unknown variant `local`, expected one of `remote`, `peer`, `edge`"},
		{"header value as number", client("headers: {a: 1}"), sv + "f:3:65: " + c0 + ".headers.a: invalid type: integer `1`, expected a string; write it in quotes"},
		{"rate limit as fraction", client("rate_limit: 20"), sv + "f:3:64: " + c0 + ".rate_limit: invalid type: integer `20`, expected a string; write it in quotes"},
		{"a listener of an empty password", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true}, auth: {type: basic, username: x, password: ""}}`),
			start + "auth config error | internal auth error | f:4:58: " + s0 + ".auth.password: password cannot be empty"},
		{"a listener of an empty name", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true}, auth: {type: basic, username: "", password: x}}`),
			start + "auth config error | internal auth error | f:4:58: " + s0 + ".auth.username: username cannot be empty"},
		{"a listener of an empty issuer", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true}, auth: {type: jwt, claims: {issuer: ""}, key: {type: autoresolve}}}`),
			sv + "f:4:93: " + s0 + ".auth.claims.issuer: issuer cannot be empty: name whose tokens are taken, or leave the key out if they are anybody's"},
		{"a listener of nobody", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true}, auth: {type: spire, accepted_spiffe_ids: []}}`),
			sv + "f:4:99: " + s0 + ".auth.accepted_spiffe_ids: it names nobody: name whom to accept, or leave the key out if all of the trust domains are"},
		{"certificates of nobody", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true, client_ca: {type: spire, accepted_spiffe_ids: }}}`),
			sv + "f:4:103: " + s0 + ".tls.client_ca.accepted_spiffe_ids: it names nobody: name whom to accept, or leave the key out if all of the trust domains are"},
		{"unknown algorithm", client("auth: {type: jwt, key: {type: encoding, algorithm: FOO, format: pem, key: {data: x}}}"), sv + "f:3:103: " + c0 + ".auth.key.algorithm: unknown variant `FOO`, expected one of `HS256`, `HS384`, `HS512`, `ES256`, `ES384`, `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `EdDSA`"},

		{"telemetry client without endpoint", "tracing: {opentelemetry: {grpc: }}" + running, "invalid tracing configuration | yaml parse error | f:1:33: tracing.opentelemetry.grpc: missing field `endpoint`"},
		{"registration without secret", serviceFile("auth: {type: shared_secret}"), sv + "f:3:11: services.slim/0.auth: missing field `secret`"},
		{"registration key from nowhere", serviceFile("auth: {type: jwt, private_key: {foo: 1}, trusted_keys: {file: x}}"), sv + "f:3:37: services.slim/0.auth.private_key: unknown variant `foo`, expected `data` or `file`"},
		{"registration of unknown type", serviceFile("auth: {type: bar}"), sv + "f:3:18: services.slim/0.auth.type: unknown variant `bar`, expected one of `shared_secret`, `spire`, `jwt`"},
		{"peers without discovery", serviceFile("peers: {}"), sv + "f:3:12: services.slim/0.peers: missing field `discovery`"},
		{"no static peer", serviceFile("peers: {discovery: {type: static, peers: []}}"), sv + "f:3:46: services.slim/0.peers.discovery.peers: peers must not be empty"},
		{"DNS name with a scheme", serviceFile("peers: {discovery: {type: dns, name: 'http://x:1', port: 1}}"), sv + "f:3:42: services.slim/0.peers.discovery.name: \"http://x:1\" is no name of DNS, such as slim.default.svc.cluster.local: it has no scheme and no port"},
		{"empty DNS name", serviceFile("peers: {discovery: {type: dns, name: '', port: 1}}"), sv + "f:3:42: services.slim/0.peers.discovery.name: \"\" is no name of DNS, such as slim.default.svc.cluster.local: it has no scheme and no port"},
		{"DNS with port 0", serviceFile("peers: {discovery: {type: dns, name: x, port: 0}}"), sv + "f:3:51: services.slim/0.peers.discovery.port: a port that is dialled is 1 to 65535"},
		{"DNS without a pause", serviceFile("peers: {discovery: {type: dns, name: x, port: 1, interval: 1ns}}"), sv + "f:3:64: services.slim/0.peers.discovery.interval: the name is resolved every 100ms at most"},
		{"static peer with bad scheme", serviceFile("dataplane: {clients: [{endpoint: 'http://x'}]}\n    peers: {discovery: {type: static, peers: [{node_id: x, endpoint: 'ftp://u:pw@x'}]}}"), valid + "f:4:60: services.slim/0.peers.discovery.peers[0].endpoint: invalid endpoint scheme: \"ftp://redacted@x\""},
		{"static peer without an endpoint", serviceFile("dataplane: {clients: [{endpoint: 'http://x'}]}\n    peers: {discovery: {type: static, peers: [{node_id: x, endpoint: ''}]}}"), valid + "f:4:60: services.slim/0.peers.discovery.peers[0].endpoint: the endpoint is empty"},
		{"discovery of unknown type", serviceFile("peers: {discovery: {type: foo}}"), sv + "f:3:31: services.slim/0.peers.discovery.type: unknown variant `foo`, expected one of `static`, `kubernetes`, `dns`"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parse("f", []byte(tt.yaml), noEnv)
			if got := causes(t, err); got != tt.want {
				t.Errorf("parse(%q)\n got %s\nwant %s", tt.yaml, got, tt.want)
			}
		})
	}
}

func TestUnknownKeyOfStaticPeerIsRefused(t *testing.T) {
	_, _, err := parse("f", []byte(serviceFile("peers: {discovery: {type: static, peers: [{node_id: x, endpoint: y, foo: z}]}}")), noEnv)
	want := "error loading services | yaml parse error | f:3:73: services.slim/0.peers.discovery.peers[0].foo: unknown field `foo`, expected one of `node_id`, `endpoint`,"
	if got := causes(t, err); !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s…", got, want)
	}
}

// TestUnsupported pins that a feature is refused when it is used, by key path, and never when it is written as unused.
func TestUnsupported(t *testing.T) {
	const listener = `endpoint: "127.0.0.1:0", tls: {insecure: true}`
	for _, tt := range []struct {
		name, yaml string
		want       []string // key paths
	}{
		{"clients", serviceFile(`dataplane: {clients: [{endpoint: "http://x:1"}, {endpoint: "unix:///x", tls: {insecure: true}}]}`), nil},
		{"clients with TLS", serviceFile(`dataplane: {clients: [{endpoint: "https://x:1"}, {endpoint: "https://x", tls: {insecure: true}}]}`), nil},
		{"clients with WebSocket", serviceFile(`dataplane: {clients: [{endpoint: "ws://x:1"}, {endpoint: "wss://x"}]}`), nil},
		{"clients with SPIRE", serviceFile(`dataplane: {clients: [{endpoint: "https://x:1", tls: {source: {type: spire}, ca_source: {type: spire}}}]}`), nil},
		{"clients with credentials", serviceFile(`dataplane: {clients: [{endpoint: "http://x:1", auth: {type: spire}}]}`), nil},
		{"empty clients", serviceFile("dataplane: {clients: [], outbound_clients: , servers: [{" + listener + "}]}"), nil},
		{"controller", serviceFile("dataplane: {servers: [{" + listener + "}]}\n    controller: {servers: [{" + listener + "}]}"), nil},
		{"credentials of a key of one's own", serviceFile("domain_name: a\n    dataplane: {servers: [{" + listener + "}]}\n    controller: {servers: [{" + listener + "}]}\n" +
			"    auth: {type: jwt, private_key: {data: a}, trusted_keys: {data: b}}"), nil},
		{"default controller", serviceFile("dataplane: {servers: [{" + listener + "}]}\n    controller: {servers: [], clients: }"), nil},
		{"peers", serviceFile("dataplane: {servers: [{" + listener + "}]}\n    peers: {discovery: {type: kubernetes, namespace: a, service_name: b, port: 1}}"), nil},
		{"null peers", serviceFile("dataplane: {servers: [{" + listener + "}]}\n    peers:"), nil},
		{"registration without controller is not looked at", serviceFile("dataplane: {servers: [{" + listener + "}]}\n    auth: {type: shared_secret, secret: x}"), nil},
		{"telemetry", "tracing: {opentelemetry: {enabled: true}}" + running, []string{"tracing.opentelemetry.enabled"}},
		{"telemetry off", "tracing: {opentelemetry: {enabled: false, grpc: {endpoint: x}, environment: y}}" + running, nil},
		{"tls", serverFile(`{endpoint: "127.0.0.1:0", tls: {source: {type: file, cert: a, key: b}, client_ca: {type: pem, data: c}}}`), nil},
		{"tls by a workload API", serverFile(`{endpoint: "127.0.0.1:0", tls: {source: {type: spire}, client_ca: {type: spire}}}`), nil},
		{"insecure goes before the source", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true, source: {type: file, cert: a, key: b}}}`), nil},
		{"auth", serverFile(`{` + listener + `, auth: {type: spire}}`), nil},
		{"auth none", serverFile(`{` + listener + `, auth: {type: none}}`), nil},
		{"web socket", serverFile(`{endpoint: "ws://0.0.0.0:1", tls: {insecure: true}}`), nil},
		{"unix socket", serverFile(`{endpoint: "unix:///x", tls: {insecure: true}}`), nil},
		{"telemetry beside a full service", "tracing: {opentelemetry: {enabled: true}}\n" + serviceFile("peers: {discovery: {type: kubernetes, namespace: a, service_name: b, port: 1}}\n"+
			"    controller: {servers: [{"+listener+"}]}\n    domain_name: a\n    auth: {type: jwt, private_key: {data: a}, trusted_keys: {data: b}}\n"+
			`    dataplane: {clients: [{endpoint: "wss://x:1", auth: {type: spire}}], servers: [{auth: {type: spire}, endpoint: "127.0.0.1:0", tls: {client_ca: {type: spire}, source: {type: spire}}}]}`),
			[]string{"tracing.opentelemetry.enabled"}},
		{"listeners that differ", serverFile(`{` + listener + `}, {` + listener + `, keepalive: {time: 1s}}`), nil},
		{"listeners that agree", serverFile(`{` + listener + `, max_frame_size: 1}, {` + listener + `, max_frame_size: 1}`), nil},
		{"post-quantum links", serviceFile("dataplane: {enforce_pqc: true, servers: [{" + listener + "}]}"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parse("f", []byte(tt.yaml), noEnv)
			var got []string
			if e, ok := err.(*Error); ok {
				for _, r := range e.Reasons {
					if r.Text != "not supported yet: "+r.Path || r.Position.Line == 0 {
						t.Errorf("unexpected refusal %s", r)
					}
					got = append(got, r.Path)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("refused %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

// Rules: P-conf-7.
func TestWarnings(t *testing.T) {
	const listener = `endpoint: "127.0.0.1:0", tls: {insecure: true}`
	const s0, c0 = "services.slim/0.dataplane.servers[0]", "services.slim/0.dataplane.clients[0]"
	for _, tt := range []struct {
		name, yaml string
		want       []string
	}{
		{"nothing odd", serverFile("{" + listener + "}"), nil},
		{"misspelt server key", serverFile("{" + listener + ", kepalive: {}}"), []string{"f:4:58: " + s0 + ".kepalive: unknown key is ignored; did you mean `keepalive`?"}},
		{"swapped letters", serverFile("{" + listener + ", metadtaa: {}}"), []string{"f:4:58: " + s0 + ".metadtaa: unknown key is ignored; did you mean `metadata`?"}},
		{"key of nothing", serverFile("{" + listener + ", zzz: {}}"), []string{"f:4:58: " + s0 + ".zzz: unknown key is ignored"}},
		{"merge key", serverFile("{" + listener + ", <<: {}}"), []string{"f:4:58: " + s0 + ".<<: unknown key is ignored"}},
		{"old flat tls key", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true, cert_file: x}}`), []string{"f:4:57: " + s0 + ".tls.cert_file: unknown key is ignored; it belongs in `tls.source`, as {type: file, cert: PATH, key: PATH}"}},
		{"old flat tls key in the server", serverFile(`{` + listener + `, key_pem: x}`), []string{"f:4:58: " + s0 + ".key_pem: unknown key is ignored; it belongs in `tls.source`, as {type: pem, cert: TEXT, key: TEXT}"}},
		{"old flat tls root of a server", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true, ca_file: x}}`), []string{"f:4:57: " + s0 + ".tls.ca_file: unknown key is ignored; it belongs in `tls.client_ca`, as {type: file, path: PATH}, to ask clients for certificates"}},
		{"key of a block in the server", serverFile(`{` + listener + `, tls_version: tls1.2, time: 1s}`), []string{
			"f:4:58: " + s0 + ".tls_version: unknown key is ignored; it belongs in `tls`", "f:4:79: " + s0 + ".time: unknown key is ignored; it belongs in `keepalive`"}},
		{"roots of a server", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true, ca_source: {type: file, path: x}}}`),
			[]string{"f:4:57: " + s0 + ".tls.ca_source: has no effect on a server; clients are asked for certificates with `client_ca`"}},
		{"a policy that is null", serverFile("{" + listener + `, auth: {type: oidc, issuer_url: "https://x", audience: y, policy: }}`),
			[]string{"f:4:123: " + s0 + ".auth.policy: it says nothing, and passes for none: whoever has a good token is let in"}},
		{"unused buffer size", serverFile("{" + listener + ", read_buffer_size: 1}"), []string{"f:4:58: " + s0 + ".read_buffer_size: has no effect"}},
		{"connection age", serverFile("{" + listener + ", keepalive: {max_connection_age: 2h}}"), nil},
		{"age of a web socket", serverFile(`{endpoint: "ws://h", tls: {insecure: true}, keepalive: {max_connection_age: 2h}}`), []string{"f:4:65: " + s0 + ".keepalive.max_connection_age: has no effect on a listener of WebSocket"}},
		{"roots of the system at a server", serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true, include_system_ca_certs_pool: false}}`),
			[]string{"f:4:57: " + s0 + ".tls.include_system_ca_certs_pool: has no effect on a server: clients are asked for certificates with `client_ca` only"}},
		{"gateway", serviceFile("default_gateway: off\n    dataplane: {servers: [{" + listener + "}]}"), []string{"f:3:5: services.slim/0.default_gateway: has no effect in a node of its own, from whose inside nobody publishes"}},
		{"data for a control plane", serverFile("{" + listener + ", metadata: {a: b}}"), []string{"f:4:58: " + s0 + ".metadata: has no effect without a controller"}},
		{"limits of requests", serviceFile("dataplane: {clients: [{endpoint: 'http://x:1', rate_limit: 1/1, buffer_size: 1, metadata: {a: 1}}]}"), []string{
			"f:3:52: " + c0 + ".rate_limit: has no effect: a link makes one request", "f:3:69: " + c0 + ".buffer_size: has no effect: a link makes one request",
			"f:3:85: " + c0 + ".metadata: has no effect"}},
		{"compression that is not to be had", serviceFile("dataplane: {clients: [{endpoint: 'http://a:1', compression: Lz4}]}"),
			[]string{"f:3:52: services.slim/0.dataplane.clients[0].compression: has no effect: nodes compress with Gzip, Zstd or Snappy"}},
		{"compression", serviceFile("dataplane: {clients: [{endpoint: 'http://a:1', compression: Zstd}, {endpoint: 'http://a:2', compression: Empty}]}"), nil},
		{"http2_only false", serverFile("{" + listener + ", http2_only: false}"), []string{"f:4:58: " + s0 + ".http2_only: has no effect: a listener speaks HTTP/2 only"}},
		{"http2_only true", serverFile("{" + listener + ", http2_only: true}"), nil},
		{"frame size out of range", serverFile("{" + listener + ", max_frame_size: 16}"), []string{"f:4:58: " + s0 + ".max_frame_size: is out of 1 to 15 MiB: the default is used"}},
		{"templates for nobody", serviceFile("dataplane: {servers: [{" + listener + "}], outbound_clients: [{endpoint: \"\"}]}"), []string{"f:3:78: services.slim/0.dataplane.outbound_clients: has no effect without a controller"}},
		{"values of the first server", serverFile("{" + listener + "}, {" + listener + ", require_header_mac: false}"), []string{"f:4:60: services.slim/0.dataplane.servers[1]: require_header_mac and negotiation_timeout_secs are those of the first server"}},
		{"reference inside a value", "runtime: {thread_name: 'a${env:X}'}" + running, []string{
			"f:1:24: runtime.thread_name: the reference in it is not replaced: ${env:NAME} and ${file:PATH} work as a whole value only"}},
		{"reference with a space before it", serverFile("{" + listener + ", metadata: {a: [' ${file:x}']}}"), []string{
			"f:4:58: " + s0 + ".metadata: has no effect without a controller",
			"f:4:73: " + s0 + ".metadata.a[0]: the reference in it is not replaced: ${env:NAME} and ${file:PATH} work as a whole value only"}},
		{"other text with a dollar", "runtime: {thread_name: 'a$b${x}${'}" + running, nil},
		{"telemetry beside a full service", serverFile("{zzz: 1, " + listener + ", yyy: 2}"), []string{"f:4:10: " + s0 + ".zzz: unknown key is ignored", "f:4:66: " + s0 + ".yyy: unknown key is ignored"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, warnings, err := parse("f", []byte(tt.yaml), noEnv)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, w.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("parse(%q) warns\n%s\nwant\n%s", tt.yaml, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// A number that is refused is not also said to be 0.
func TestRefusedNumberGivesNoWarning(t *testing.T) {
	for _, key := range []string{"max_frame_size", "max_concurrent_streams", "max_header_list_size"} {
		for _, value := range []string{"-1", "x", "1.5", "4294967296"} {
			_, warnings, err := parse("f", []byte(serverFile("{endpoint: '127.0.0.1:0', tls: {insecure: true}, "+key+": "+value+"}")), noEnv)
			if err == nil || len(warnings) != 0 {
				t.Errorf("%s: %s: error %v, warnings %v", key, value, err, warnings)
			}
		}
	}
}

// Rules: P-conf-15.
func TestDefaultsAreUpstreams(t *testing.T) {
	c, _, err := parse("f", []byte(serverFile(`{endpoint: "127.0.0.1:0", tls: {insecure: true}}`)), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Services[0].Dataplane.Servers[0]
	got := fmt.Sprintf("%+v %+v %v %v %v %v %v", c.Runtime, s.Keepalive, s.MaxFrameSize, s.MaxStreams, s.RequireHeaderMAC,
		s.NegotiationTimeout, c.Services[0].DefaultGateway)
	const want = "{Cores:0 ThreadName:slim DrainTimeout:10s} {Time:2m0s Timeout:20s MaxAge:2h0m0s MaxIdle:1h0m0s MaxAgeWait:5m0s} " +
		"<nil> <nil> true 5 auto"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !slices.Equal(c.Tracing.Filters, DefaultFilters()) || c.Tracing.LogLevel != "info" || !c.Tracing.ThreadNames || c.Tracing.ThreadIDs {
		t.Errorf("tracing defaults are %+v", c.Tracing)
	}
}

// Rules: P-conf-15.
func TestClientDefaultsAreUpstreams(t *testing.T) {
	d := &decoder{context: contextServices}
	n := d.tree([]byte(`{endpoint: "http://x", keepalive: {}, backoff: {type: exponential}}`))
	c := d.client(n, "c", lenient)
	if d.err != nil {
		t.Fatal(d.err)
	}
	got := fmt.Sprintf("%+v %+v %s %v %v %s", *c.Keepalive, c.Backoff, c.ConnectionType, c.RequireHeaderMAC, c.TLS.SystemCAs, c.TLS.Version)
	const want = "{TCP:1m0s HTTP2:1m0s Timeout:10s WhileIdle:false} " +
		"{Type:exponential Base:100 Factor:1 MaxDelay:1s Jitter:false Interval:0s MaxAttempts:<nil>} edge true true tls1.3"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	bare := d.client(d.tree([]byte(`{endpoint: ""}`)), "c", lenient)
	if b := bare.Backoff; b.Type != "fixed_interval" || b.Interval.Seconds() != 2 || bare.Keepalive != nil {
		t.Errorf("client without keys: backoff %+v, keepalive %v; want fixed 2 s and none", b, bare.Keepalive)
	}
}

// Rules: P-conf-10.
func TestServicesKeepFileOrder(t *testing.T) {
	body := ` {dataplane: {servers: [{endpoint: "127.0.0.1:0", tls: {insecure: true}}]}}`
	c, _, err := parse("f", []byte("services:\n  slim/b:"+body+"\n  other_1/:"+body+"\n  slim/a:"+body), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range c.Services {
		ids = append(ids, s.ID)
	}
	if want := []string{"slim/b", "other_1/", "slim/a"}; !slices.Equal(ids, want) {
		t.Errorf("services %q, want %q", ids, want)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	d := &decoder{context: contextServices}
	c := d.client(d.tree([]byte(`{endpoint: x, auth: {type: basic, username: u, password: hunter2}}`)), "c", lenient)
	if c.Auth.Password.Reveal() != "hunter2" {
		t.Errorf("Reveal = %q", c.Auth.Password.Reveal())
	}
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c.Auth.Password)} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("the password shows in %s", s)
		}
	}
}

// A file that is refused tells its warnings, too: they often say why.
func TestWarningsComeWithAnError(t *testing.T) {
	const listener = `endpoint: "127.0.0.1:0", tls: {insecure: true}`
	const s0 = "services.slim/0.dataplane.servers[0]"
	for _, tt := range []struct {
		name, yaml, err string
		want            []string
	}{
		{"the required key is the misspelt one", serverFile("{endpiont: \"127.0.0.1:0\", tls: {insecure: true}}"), "missing field `endpoint`",
			[]string{"f:4:10: " + s0 + ".endpiont: unknown key is ignored; did you mean `endpoint`?"}},
		{"after the error", serverFile("{endpoint: 5, kepalive: {}}"), "invalid type: integer `5`",
			[]string{"f:4:23: " + s0 + ".kepalive: unknown key is ignored; did you mean `keepalive`?"}},
		{"inside a block of kinds after the error", serverFile("{endpoint: 5, auth: {type: none, x: 1}}"), "invalid type: integer `5`",
			[]string{"f:4:42: " + s0 + ".auth.x: unknown key is ignored"}},
		{"not inside a block of no known kind", serverFile("{endpoint: 5, auth: {type: nine, x: 1}}"), "invalid type: integer `5`", nil},
		{"in another block", "runtime: {n_cores: x}\n" + serverFile("{"+listener+", zzz: 1}"), "invalid type: string \"x\"",
			[]string{"f:5:58: " + s0 + ".zzz: unknown key is ignored"}},
		{"in another service", "services:\n  slim: {}\n  slim/1: {dataplane: {servers: [{" + listener + ", zzz: 1}]}}", "id cannot be empty",
			[]string{"f:3:83: services.slim/1.dataplane.servers[0].zzz: unknown key is ignored"}},
		{"a reference failed", serverFile("{" + listener + ", zzz: \"${env:X}\"}"), "environment variable not found",
			[]string{"f:4:58: " + s0 + ".zzz: unknown key is ignored"}},
		{"templates of a broken controller are no warning", serviceFile("controller: 5\n    dataplane: {servers: [{" + listener + "}], outbound_clients: [{endpoint: \"\"}]}"),
			"invalid type: integer `5`", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, warnings, err := parse("f", []byte(tt.yaml), noEnv)
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %s", err, tt.err)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, w.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("parse(%q) warns\n%s\nwant\n%s", tt.yaml, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// A node is linked with 256 others at most: a longer list is warned of. Rules: P-disc-1.
func TestMoreReplicasThanCanBeLinked(t *testing.T) {
	for _, n := range []int{257, 258} {
		var list strings.Builder
		for i := range n {
			fmt.Fprintf(&list, "{node_id: r%d, endpoint: 'http://h%d:1', tls: {insecure: true}}, ", i, i)
		}
		_, warnings, err := parse("f", []byte(serviceFile("node_id: r0\n    dataplane: {servers: [{endpoint: \"127.0.0.1:0\", tls: {insecure: true}}]}\n    peers: {topology: full_mesh, discovery: {type: static, peers: ["+list.String()+"]}}")), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(fmt.Sprint(warnings), "258 replicas"); warned != (n > 257) {
			t.Errorf("%d replicas: warnings %v", n, warnings)
		}
	}
}
