package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// checked runs slim config check, and returns what it prints.
func checked(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	r := newRig()
	code = r.program.run(t.Context(), append([]string{"config", "check"}, args...))
	return code, r.out.String() + r.errs.String()
}

// A file is valid if a node would start with it: what it names is loaded, and told of in the words of a start.
func TestConfigCheckLoadsWhatAStartWould(t *testing.T) {
	dir := t.TempDir()
	ca := certstest.NewIssuer(t, "ca", false)
	cert, key := ca.Pair("node")
	_, other := ca.Pair("other")
	certstest.Write(t, dir, map[string]string{"cert.pem": cert, "key.pem": key, "other.pem": other, "ca.pem": ca.PEM,
		"locked.pem": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"})
	at := func(name string) string { return filepath.Join(dir, name) }
	own := func(cert, key string, more ...string) string {
		return "{endpoint: '127.0.0.1:7', tls: {" + strings.Join(append([]string{fmt.Sprintf("source: {type: file, cert: %s, key: %s}", at(cert), at(key))}, more...), ", ") + "}}"
	}
	dialled := func(tls string) string { return "{endpoint: 'https://far:1', tls: {" + tls + "}}" }
	for name, tt := range map[string]struct {
		servers, clients []string
		want             []string
	}{
		"good": {servers: []string{own("cert.pem", "key.pem", "client_ca: {type: file, path: "+at("ca.pem")+"}"), plain("unix:///none/s?mode=0660")},
			clients: []string{dialled("ca_source: {type: file, path: " + at("ca.pem") + "}")}},
		"an encrypted key": {servers: []string{own("cert.pem", "locked.pem")}, want: []string{"servers[0].tls.source.key: " + at("locked.pem") + ": the key is encrypted with a password"}},
		"another's key":    {servers: []string{own("cert.pem", "other.pem")}, want: []string{"servers[0].tls.source.key: " + at("other.pem") + ": private key does not match"}},
		"swapped":          {servers: []string{own("key.pem", "cert.pem")}, want: []string{"servers[0].tls.source.cert: " + at("key.pem") + ": no certificate in it"}},
		"a missing file":   {servers: []string{own("none.pem", "key.pem")}, want: []string{"servers[0].tls.source.cert: " + at("none.pem") + ": no such file"}},
		"a key as authority": {servers: []string{own("cert.pem", "key.pem", "client_ca: {type: file, path: "+at("key.pem")+"}")},
			want: []string{"servers[0].tls.client_ca.path: " + at("key.pem") + ": no certificate in it"}},
		"a client's, and its proxy's": {clients: []string{dialled("ca_source: {type: file, path: " + at("none.pem") + "}"),
			"{endpoint: 'http://far:2', proxy: {url: 'https://proxy:1', tls: {ca_source: {type: file, path: " + at("none.pem") + "}}}}"},
			want: []string{"clients[0].tls.ca_source.path: " + at("none.pem"), "clients[1].proxy.tls.ca_source.path: " + at("none.pem")}},
		"one address twice": {servers: []string{plain("0.0.0.0:7"), own("none.pem", "key.pem")},
			want: []string{"servers[1].endpoint: listen on 127.0.0.1:7: 0.0.0.0:7, which is in the list before, includes it", "servers[1].tls.source.cert: "}},
		"one path twice": {servers: []string{plain("unix:///none/s"), plain("unix:///none/s?mode=0600")}, want: []string{"servers[1].endpoint: listen on unix:///none/s?mode=0600: the address is listed twice"}},
		"a wrong mode":   {servers: []string{plain("unix:///none/s?mode=9")}, want: []string{`servers[0].endpoint: listen on unix:///none/s?mode=9: mode "9" of the unix socket is no permission`}},
		"a long path":    {servers: []string{plain("unix:///" + strings.Repeat("x", 128))}, want: []string{"the path of the unix socket has 129 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "node.yaml")
			if err := os.WriteFile(file, []byte(serviceText(tt.servers, tt.clients)), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out := checked(t, file)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if tt.want == nil {
				if code != cli.ExitOK || out != file+": valid\n" {
					t.Errorf("exit %d: %s", code, out)
				}
				return
			}
			if code != cli.ExitError || len(lines) != len(tt.want) {
				t.Fatalf("exit %d, %d lines, want %d:\n%s", code, len(lines), len(tt.want), out)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(lines[i], file+":") || !strings.Contains(lines[i], want) {
					t.Errorf("line %s\nwant %s", lines[i], want)
				}
			}
			r := newRig() // a start says one of them, in the same words
			r.start = startNode
			if code := r.program.run(t.Context(), []string{"--config", file}); code != cli.ExitError {
				t.Fatalf("it starts: exit %d", code)
			}
			said := false
			for _, l := range lines {
				said = said || strings.Contains(r.errs.String(), l)
			}
			if !said {
				t.Errorf("a start says\n%swhich is none of\n%s", &r.errs, out)
			}
		})
	}
}

// Endpoints of two services of one file are in each other's way, too; findings in JSON have their parts.
func TestConfigCheckAcrossServices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	text := "services:\n  slim/a:\n    dataplane: {servers: [" + plain("127.0.0.1:7") + "]}\n  slim/b:\n    dataplane: {servers: [" + plain("127.0.0.1:8") + ", " + plain("0.0.0.0:7") + "]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := checked(t, "--output", "json", file)
	var found []finding
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != cli.ExitError || len(found) != 1 {
		t.Fatalf("%v, exit %d: %s", err, code, out)
	}
	f := found[0]
	if f.File != file || f.Line != 5 || f.Key != "services.slim/b.dataplane.servers[1].endpoint" || !strings.HasPrefix(f.Text, "listen on 0.0.0.0:7: it includes 127.0.0.1:7") {
		t.Errorf("%+v", f)
	}
}

// A start that is refused says that the file has more faults, and what comes first in it.
func TestStartTellsOfOtherFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	text := "services:\n  slim/0:\n    pubsub:\n      servers: []\n    controller:\n      server: []\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                  "all of them: slim config check " + file + ")",
		"--log-format json": `"all":"slim config check ` + file + `"`,
	} {
		r := newRig()
		code := r.program.run(t.Context(), append(strings.Fields(args), "--config", file))
		for _, x := range []string{want, "pubsub", "controller"} {
			if code != cli.ExitError || !strings.Contains(r.errs.String(), x) {
				t.Errorf("exit %d, no %q in\n%s", code, x, &r.errs)
			}
		}
	}
}
