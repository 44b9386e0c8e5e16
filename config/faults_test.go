package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// agree checks that Check finds a fault in b exactly if Load does, and the one that Load finds.
func agree(t *testing.T, b []byte, env func(string) (string, bool), err error) {
	t.Helper()
	c, faults, _ := check("f", b, env)
	if (err == nil) != (len(faults) == 0) || (c == nil) != (err != nil) {
		t.Errorf("Load says %v, Check %v, configuration %t", err, faults, c != nil)
	}
	if len(faults) > maxFaults {
		t.Errorf("%d faults", len(faults))
	}
	var e *Error
	if errors.As(err, &e) && len(faults) < maxFaults && !slices.Contains(faults, e.Reasons[0]) {
		t.Errorf("Load says %v, which is none of %v", e.Reasons[0], faults)
	}
}

func TestCheckTellsAllFaultsOnce(t *testing.T) {
	const file = `
runtime: {n_cores: many, drain_timeout: 10}
traces: {}
services:
  slim/0:
    node_id: ${env:NOBODY}
    domain: x
    dataplane:
      servers:
      - endpoint: ftp://1.2.3.4:5
        tls: {insecure: yes}
      - tls: {insecure: true}
      - endpoint: 0.0.0.0:5
        tls: {source: {type: fil}}
        max_frame_size: 4294967296
      - endpoint: host:5
        tls: {insecure: true}
        keepalive: {time: 10s, time: 20s}
      - nothing
  slim/1: {dataplane: {servers: []}}
`
	want := []string{
		"f:2:20: runtime.n_cores: invalid type: string \"many\", expected usize",
		"f:2:41: runtime.drain_timeout: invalid type: integer `10`, expected string",
		"f:3:1: traces: unknown key",
		"f:6:14: services.slim/0.node_id: environment variable not found: \"NOBODY\"",
		"f:7:5: services.slim/0.domain: unknown field `domain`",
		"f:10:9: services.slim/0.dataplane.servers[0].endpoint: invalid endpoint scheme: \"ftp://1.2.3.4:5\"",
		"f:11:25: services.slim/0.dataplane.servers[0].tls.insecure: invalid type: string \"yes\", expected a boolean",
		"f:12:9: services.slim/0.dataplane.servers[1]: missing field `endpoint`",
		"f:14:30: services.slim/0.dataplane.servers[2].tls.source.type: unknown variant `fil`",
		"f:15:25: services.slim/0.dataplane.servers[2].max_frame_size: invalid value",
		"f:16:9: services.slim/0.dataplane.servers[3].endpoint: invalid socket address syntax: \"host:5\"",
		"f:18:32: services.slim/0.dataplane.servers[3].keepalive: duplicate entry with key \"time\"",
		"f:19:9: services.slim/0.dataplane.servers[4]: invalid type: string \"nothing\", expected struct ServerConfig",
		"f:20:3: services.slim/1: no server or client configured",
	}
	c, faults, _ := check("f", []byte(file), noEnv)
	if c != nil {
		t.Error("a configuration with faults is given out")
	}
	var got []string
	for _, r := range faults {
		got = append(got, r.String())
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(want):
			t.Errorf("too much: %s", got[i])
		case i >= len(got):
			t.Errorf("missing: %s", want[i])
		case !strings.HasPrefix(got[i], want[i]):
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

// That a value is missing does not hide that the whole is not supported.
func TestMissingVariablesDoNotHideOtherFaults(t *testing.T) {
	const file = `services: {slim/0: {dataplane: {servers: [{endpoint: "1.2.3.4:5", tls: {insecure: true},
  auth: {type: basic, username: x, password: "${env:PASSWORD}"}}, {endpoint: "5.6.7.8", tls: {insecure: true}}]}, domain_name: a,
  controller: {servers: [{endpoint: "1.2.3.4:6", tls: {insecure: true}}]}}}
tracing: {opentelemetry: {enabled: true}}`
	_, faults, _ := check("f", []byte(file), noEnv)
	var got []string
	for _, r := range faults {
		got = append(got, r.Text)
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{`environment variable not found: "PASSWORD"`, "not supported yet: tracing.opentelemetry.enabled", `"5.6.7.8" is no IP:PORT`} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

// A file that is no YAML, or no mapping, has one fault.
func TestCheckOfNoConfiguration(t *testing.T) {
	for _, b := range []string{"a: [", "", "- 1", "x: {\n", "a: b: c", bomb()} {
		if _, faults, _ := check("f", []byte(b), noEnv); len(faults) != 1 {
			t.Errorf("%.40q: %v", b, faults)
		}
	}
	if _, faults, _ := Check("no/such/file", noEnv); len(faults) != 1 || faults[0].String() != "no/such/file: No such file or directory (os error 2)" {
		t.Errorf("a file that is not there: %v", faults)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	b := []byte("services: {slim/0: {dataplane: {servers: [" + strings.Repeat("1,", 10_000) + "]}}}")
	if _, faults, _ := check("f", b, noEnv); len(faults) != maxFaults {
		t.Errorf("%d faults, want %d", len(faults), maxFaults)
	}
	agree(t, b, noEnv, func() error { _, _, err := parse("f", b, noEnv); return err }())
}

// examples are our own files, decoded whatever is not supported in them.
func examples(t *testing.T) map[string]*Config {
	t.Helper()
	files, err := filepath.Glob("*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	env := func(string) (string, bool) { return "value", true }
	all := map[string]*Config{"default": Default()}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d := &decoder{file: "f", collect: true}
		c := d.read(b, env)
		if len(d.found) == 0 {
			all[path] = c
		}
		_, _, err = parse("f", b, env)
		agree(t, b, env, err)
	}
	return all
}

// forget takes out of a configuration what a shown one has not: places and secrets.
func forget(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			forget(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			forget(v.Index(i))
		}
	case reflect.Struct:
		if t := v.Type(); t == reflect.TypeFor[Position]() || t == reflect.TypeFor[Secret]() {
			v.SetZero()
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				forget(v.Field(i))
			}
		}
	}
}

// What is shown reads as the configuration that it shows, and shows no secret.
func TestShownConfigurationIsTheSame(t *testing.T) {
	all := examples(t)
	if len(all) < 20 {
		t.Fatalf("%d examples", len(all))
	}
	three, plain := uint64(3), defaultTLS()
	plain.Insecure = true
	all["odd"] = &Config{Runtime: Runtime{ThreadName: "0x10 # \u0085\x7f\n", DrainTimeout: 90*time.Minute + 7},
		Tracing: Tracing{LogLevel: "true", Filters: []string{"- x", "", "null", "1.5", "~", "a: b", "é", "\u2028"}},
		Services: []Service{{ID: "slim/0", NodeID: "010", DefaultGateway: "off", Dataplane: Endpoints{Servers: []Server{
			{Endpoint: "[::1]:0", TLS: plain, Auth: Auth{Type: "none"}, MaxStreams: &three, NegotiationTimeout: 1,
				Metadata: map[string]any{"b": []any{uint64(1), -2.5, true, []any{}, map[string]any{"c": "d"}}, "a b": "x"}}}}}}}
	for name, c := range all {
		shown := c.Show().YAML()
		d := &decoder{file: "f", collect: true}
		again := d.read(shown, noEnv)
		if len(d.found) > 0 {
			t.Errorf("%s: what is shown does not load: %v\n%s", name, d.found[0], shown)
			continue
		}
		if s := again.Show().YAML(); string(s) != string(shown) {
			t.Errorf("%s: shown again it is\n%s\nand was\n%s", name, s, shown)
		}
		again.File = c.File
		forget(reflect.ValueOf(c))
		forget(reflect.ValueOf(again))
		if !reflect.DeepEqual(again, c) {
			t.Errorf("%s: what is shown is another configuration\n got %+v\nwant %+v\n%s", name, again, c, shown)
		}
		if _, err := c.Show().MarshalJSON(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShownConfigurationHasNoSecrets(t *testing.T) {
	const file = `
services:
  slim/0:
    auth: {type: shared_secret, secret: SECRET1, id: me}
    dataplane:
      servers:
      - endpoint: 127.0.0.1:1
        tls: {source: {type: pem, cert: SECRET2, key: SECRET3}}
        auth: {type: basic, username: bob, password: SECRET4}
        metadata: {api_key: SECRET5, nested: {Token: [SECRET6]}, door: "${env:DOOR}", from: "http://user:SECRET17@host:9/"}
      clients:
      - endpoint: ws://user:SECRET7@host:1/?token=SECRET8&x=1
        headers: {Authorization: SECRET9, x-a: fine}
        proxy: {url: "http://SECRET10@proxy:1", username: bob, password: SECRET11, headers: {cookie: SECRET12}}
        auth: {type: oidc, issuer_url: x, client_secret: SECRET13, refresh_token: SECRET14}
      - endpoint: http://host:2
        auth: {type: jwt, key: {type: encoding, algorithm: HS256, format: pem, key: {data: SECRET15}}}
      - endpoint: http://host:3
        tls: {source: {type: file, cert: /path/cert, key: /path/key}}
`
	d := &decoder{file: "f", collect: true}
	c := d.read([]byte(file), func(string) (string, bool) { return "SECRET16", true })
	if len(d.found) > 0 {
		t.Fatal(d.found[0])
	}
	asJSON, err := c.Show().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(c.Show().YAML()), string(asJSON)} {
		if i := strings.Index(text, "SECRET"); i >= 0 {
			t.Errorf("%.12s is shown", text[i:])
		}
		for _, want := range []string{"bob", "fine", "/path/key", "redacted@host:1", "x=1"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not shown in\n%s", want, text)
			}
		}
	}
}
