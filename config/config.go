// Package config reads the YAML files of upstream's node (slim 3.4.6) into typed values: the same keys, defaults,
// scalar rules, value providers and refusals, with the position of whatever is wrong.
//
// Load works in four steps: bytes to a tree of plain values (tree.go, scalar.go), providers replaced in the whole tree
// (provider.go), tree to types (decode.go and one file for each block of the schema), checks over the whole (check.go).
// Known keys whose feature this node does not have are refused by name; keys upstream ignores become warnings.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/internal/watch"
)

// MaxFileSize bounds a configuration file, and each file that ${file:} names, in bytes.
const MaxFileSize = 4 << 20

// Config is one configuration file, decoded. Immutable after Load.
type Config struct {
	// File is the path as given to Load; "" for Default.
	File     string
	Runtime  Runtime
	Tracing  Tracing
	Services []Service // in file order, at least one
}

// Position is a place in a file; both numbers count from 1. The zero value is "no place".
type Position struct{ Line, Column int }

func (p Position) compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// Runtime is the `runtime` block.
type Runtime struct {
	Cores        uint64        // threads that run at once; 0: all
	ThreadName   string        // name of worker threads in log lines
	DrainTimeout time.Duration // time all services together may take to stop
}

// Tracing is the `tracing` block.
type Tracing struct {
	LogLevel      string   // any text; what is no level behaves as info
	ThreadNames   bool     // show a thread name in log lines
	ThreadIDs     bool     // show a thread id in log lines
	Filters       []string // "module" or "module=level"
	OpenTelemetry OpenTelemetry
}

// OpenTelemetry is the `tracing.opentelemetry` block.
type OpenTelemetry struct {
	Enabled         bool
	Endpoint        string // of the `grpc` client entry; "": OTEL_* variables or http://localhost:4317
	ServiceName     string
	ServiceVersion  string
	Environment     string
	MetricsInterval uint64 // seconds
}

// DefaultFilters returns the module names that `tracing.filters` holds when the key is absent.
func DefaultFilters() []string {
	return []string{
		"slim_datapath", "slim_service", "slim_controller", "slim_auth", "slim_config", "slim_mls", "slim_session",
		"slim_signal", "slim_tracing", "_slim_bindings", "slim_testing", "slim", "slim_examples", "sdk_mock", "client",
		"channel",
	}
}

func defaultTracing() Tracing {
	return Tracing{LogLevel: "info", ThreadNames: true, Filters: DefaultFilters(), OpenTelemetry: defaultTelemetry()}
}

func defaultTelemetry() OpenTelemetry {
	return OpenTelemetry{
		ServiceName: "slim-data-plane", ServiceVersion: "v0.1.0", Environment: "development", MetricsInterval: 30,
	}
}

func defaultRuntime() Runtime {
	return Runtime{ThreadName: "slim", DrainTimeout: 10 * time.Second}
}

// DefaultEndpoint is where a node without configuration listens.
const DefaultEndpoint = "127.0.0.1:46357"

// Default returns the configuration of a node started without a file: service slim/0 with one insecure listener on
// DefaultEndpoint. Upstream has no such mode.
func Default() *Config {
	s := defaultServer()
	s.Endpoint = DefaultEndpoint
	s.TLS.Insecure = true
	return &Config{
		Runtime: defaultRuntime(), Tracing: defaultTracing(),
		Services: []Service{{ID: "slim/0", DefaultGateway: "auto", Dataplane: Endpoints{Servers: []Server{s}}}},
	}
}

// Load reads the file at path. Environment variables are looked up with env, files relative to the working directory.
// Warnings come in file order, also with an error: those of the whole file, if it is YAML. A non-nil error is an
// *Error; the Config is nil then.
func Load(path string, env func(string) (string, bool)) (*Config, []Warning, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, nil, &Error{Context: []string{contextLoad, "io error"}, Reasons: []Reason{{File: path, Text: ioText(err)}}}
	}
	return parse(path, b, env)
}

// parse is Load behind the file system; `${file:}` still reads files.
func parse(path string, b []byte, env func(string) (string, bool)) (*Config, []Warning, error) {
	d := &decoder{file: path, context: contextLoad}
	c := d.read(b, env)
	if d.err == nil && len(d.refused) > 0 {
		d.err = &Error{Context: []string{d.refusedContext}, Reasons: d.refused}
	}
	if d.err != nil {
		return nil, d.warnings, d.err
	}
	return c, d.warnings, nil
}

// read takes the file b apart.
func (d *decoder) read(b []byte, env func(string) (string, bool)) *Config {
	root := d.tree(b)
	c := &Config{File: d.file, Runtime: defaultRuntime(), Tracing: defaultTracing()}
	if d.err == nil || d.collect && !d.broken {
		b := d.root(root)
		if d.collect && root.kind != mapKind {
			return c
		}
		resolve(d, root, env)
		d.blocks(c, b, root) // after an error for its warnings: an ignored key often tells why another is missing
	}
	d.decoded = len(d.found)
	if d.err == nil || d.collect && !d.broken {
		d.check(c)
	}
	d.inFileOrder()
	return c
}

// blocks are the values of the root's keys; nil: absent.
type blocks struct{ runtime, tracing, services *node }

// root reads the root's keys. Upstream looks at them before it replaces references. Rules: P-conf-3.
func (d *decoder) root(n *node) (b blocks) {
	if n.kind != mapKind {
		d.fail(n, "", "invalid configuration - impossible to parse yaml", "expected a mapping, found "+n.describe())
		return b
	}
	keys := []string{"tracing", "runtime", "services"}
	for _, e := range n.entries {
		if e.key.kind != stringKind {
			d.fail(e.key, "", "invalid configuration - impossible to parse yaml", "key "+e.key.describe()+" is not a string")
			continue
		}
		switch e.key.str {
		case "tracing":
			b.tracing = e.val
		case "runtime":
			b.runtime = e.val
		case "services":
			b.services = e.val
		default:
			d.fail(e.key, e.key.str, "invalid configuration - key "+e.key.str+" not valid", "unknown key").
				lead("root", e.key.str, keys)
		}
	}
	return b
}

// blocks decodes one block after the other: the first error is that of the first block that fails.
func (d *decoder) blocks(c *Config, b blocks, root *node) {
	d.context = contextRuntime
	if b.runtime != nil {
		d.runtime(&c.Runtime, b.runtime)
	}
	d.context = contextTracing
	if b.tracing != nil {
		d.tracing(&c.Tracing, b.tracing)
	}
	d.context = contextServices
	d.services(c, b.services, root)
}

func (d *decoder) runtime(r *Runtime, n *node) {
	o := d.object(n, "runtime", "struct RuntimeConfiguration", strict)
	o.uint("n_cores", "usize", 64, &r.Cores)
	o.str("thread_name", &r.ThreadName)
	o.duration("drain_timeout", &r.DrainTimeout)
	o.end()
}

func (d *decoder) tracing(t *Tracing, n *node) {
	o := d.object(n, "tracing", "struct TracingConfiguration", strict)
	o.str("log_level", &t.LogLevel)
	o.bool("display_thread_names", &t.ThreadNames)
	o.bool("display_thread_ids", &t.ThreadIDs)
	o.strs("filters", &t.Filters)
	if v := o.get("opentelemetry"); v != nil {
		d.telemetry(&t.OpenTelemetry, v)
	}
	o.end()
}

func (d *decoder) telemetry(t *OpenTelemetry, n *node) {
	const path = "tracing.opentelemetry"
	o := d.object(n, path, "struct OpenTelemetryConfig", strict)
	o.bool("enabled", &t.Enabled)
	if v := o.get("grpc"); v != nil {
		c := d.client(v, path+".grpc", lenient)
		t.Endpoint = c.Endpoint
	}
	o.str("service_name", &t.ServiceName)
	o.str("service_version", &t.ServiceVersion)
	o.str("environment", &t.Environment)
	o.uint("metrics_interval_secs", "u64", 64, &t.MetricsInterval)
	o.end()
	if t.Enabled {
		d.unsupported(o.at("enabled"), path+".enabled")
	}
}

// readFile reads a file of at most MaxFileSize bytes that must be UTF-8.
func readFile(path string) ([]byte, error) {
	b, err := watch.Read(path, MaxFileSize)
	if err == nil && !utf8.Valid(b) {
		return nil, errors.New("stream did not contain valid UTF-8")
	}
	return b, err
}

// ioText spells an operating system error as upstream does: reason and number, without the call.
func ioText(err error) string {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return err.Error()
	}
	text := no.Error()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text = "No such file or directory"
	case errors.Is(err, fs.ErrPermission):
		text = "Permission denied"
	case no == syscall.EISDIR:
		text = "Is a directory"
	}
	return fmt.Sprintf("%s (os error %d)", text, int(no))
}
